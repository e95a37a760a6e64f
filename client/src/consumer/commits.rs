//! Committing, and asking what is committed.

use std::collections::{BTreeMap, BTreeSet};

use super::Consumer;
use super::attendance::Attendance;
use crate::clock;
use crate::config::IsolationLevel;
use crate::group::{Committer, OffsetAndMetadata, fetch_offsets};
use crate::{ConsumerRecord, Error, TopicPartition};

impl Consumer {
    /// Commits the positions behind everything that was handed out, and waits until the group has them.
    ///
    /// # Errors
    /// [`Error::NoGroup`]; those of [`Committer::commit`].
    pub async fn commit(&self) -> Result<(), Error> {
        let group = self.attendance()?;
        group.committer.commit(self.positions()).await
    }

    /// Puts the positions behind everything that was handed out in line to be committed, and returns at once. A later one
    /// takes the place of one that was not sent yet; `close` waits for the last one.
    ///
    /// # Errors
    /// [`Error::NoGroup`]; those of [`Committer::commit_async`].
    pub fn commit_async(&self) -> Result<(), Error> {
        self.attendance()?.committer.commit_async(self.positions())
    }

    /// Commits that this record, and all before it in its partition, are processed, and waits until the group has it.
    ///
    /// # Errors
    /// [`Error::NoGroup`]; those of [`Committer::commit`].
    pub async fn commit_record(&self, record: &ConsumerRecord) -> Result<(), Error> {
        self.commit_offsets([(record.topic_partition(), OffsetAndMetadata::after(record))]).await
    }

    /// Puts the same in line, and returns at once, as [`Consumer::commit_async`].
    ///
    /// # Errors
    /// [`Error::NoGroup`]; those of [`Committer::commit_async`].
    pub fn commit_record_async(&self, record: &ConsumerRecord) -> Result<(), Error> {
        let offset = (record.topic_partition(), OffsetAndMetadata::after(record));
        self.attendance()?.committer.commit_async([offset])
    }

    /// Commits these offsets, and waits until the group has them.
    ///
    /// # Errors
    /// [`Error::NoGroup`]; those of [`Committer::commit`].
    pub async fn commit_offsets(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>,
    ) -> Result<(), Error> {
        self.attendance()?.committer.commit(offsets).await
    }

    /// Commits from other tasks, or from a [`RebalanceListener`](crate::RebalanceListener).
    ///
    /// # Errors
    /// [`Error::NoGroup`].
    pub fn committer(&self) -> Result<Committer, Error> {
        Ok(self.attendance()?.committer.clone())
    }

    /// What the group has committed for these partitions, whoever reads them now; `None` where there is nothing.
    ///
    /// # Errors
    /// [`Error::NoGroup`]; [`Error::Broker`] and those of reaching the coordinator, after the API timeout.
    pub async fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Option<OffsetAndMetadata>>, Error> {
        let group = self.attendance()?;
        let partitions: BTreeSet<TopicPartition> = partitions.iter().cloned().collect();
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let timeout = self.cluster.config().request_timeout;
        let stable = self.config.isolation_level == IsolationLevel::ReadCommitted;
        let name = &group.shared.config.group_id;
        self.cluster.retrying(|| fetch_offsets(&group.coordinator, name, None, &partitions, stable, timeout)).await
    }

    /// Ends the consumer. With a group: commits what is processed (if that is automatic), waits for all commits in line,
    /// gives the partitions up and leaves, for at most `request_timeout`. Static members do not leave (KIP-345).
    ///
    /// Dropping the consumer ends it, too, but as one that was killed: without last commits, and the group waits for its
    /// session to end.
    pub async fn close(mut self) {
        if self.group.is_none() {
            return;
        }
        let deadline = clock::now() + self.config.client.request_timeout;
        if tokio::time::timeout_at(deadline, self.finish()).await.is_err() {
            tracing::warn!(
                "a consumer was closed without having left its group: the coordinator did not answer in time"
            );
        }
    }

    async fn finish(&mut self) {
        self.unsubscribe().await;
        let Some(group) = &self.group else { return };
        if group.shared.config.enable_auto_commit {
            // Partitions assigned by hand; others are committed and given up by now.
            group.shared.offer_positions(self.positions());
        }
        let settled = group.shared.settled(None);
        if let Ok(Err(error)) = settled.await {
            tracing::warn!(%error, "not all offsets were committed before the consumer was closed");
        }
    }

    pub(super) fn attendance(&self) -> Result<&Attendance, Error> {
        self.group.as_ref().ok_or(Error::NoGroup)
    }

    /// Behind what was handed out.
    pub(super) fn positions(&self) -> BTreeMap<TopicPartition, OffsetAndMetadata> {
        let mut positions = self.shared.buffer.lock().positions();
        if let Some(current) = &self.current {
            positions.insert(current.location().clone(), current.committable());
        }
        positions
    }
}
