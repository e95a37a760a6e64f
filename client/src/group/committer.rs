//! Commits, from wherever the results are stored.

use std::sync::Arc;
use std::time::Duration;

use super::commit_tracker::Settled;
use super::shared::GroupShared;
use crate::{ConsumerRecord, Error, TopicPartition};

/// How far a group has read in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OffsetAndMetadata {
    /// The offset of the next record to be read.
    pub offset: i64,
    /// The term in which the record before it was written, -1 if unknown.
    pub leader_epoch: i32,
    /// The caller's own words; at most the broker's `offset.metadata.max.bytes`.
    pub metadata: String,
}

impl OffsetAndMetadata {
    /// This offset and nothing else.
    #[must_use]
    pub fn new(offset: i64) -> Self {
        OffsetAndMetadata { offset, leader_epoch: -1, metadata: String::new() }
    }

    /// Behind a record: what to commit once it is processed.
    #[must_use]
    pub fn after(record: &ConsumerRecord) -> Self {
        let leader_epoch = record.leader_epoch;
        OffsetAndMetadata { offset: record.offset.saturating_add(1), leader_epoch, metadata: String::new() }
    }

    /// The same with words of the caller's own.
    #[must_use]
    pub fn metadata(mut self, metadata: impl Into<String>) -> Self {
        self.metadata = metadata.into();
        self
    }
}

/// Commits for a consumer, from any task: got from [`Consumer::committer`](crate::Consumer::committer). Cheap to clone.
#[derive(Debug, Clone)]
pub struct Committer {
    shared: Arc<GroupShared>,
    timeout: Duration,
}

impl Committer {
    pub(crate) fn new(shared: Arc<GroupShared>, timeout: Duration) -> Self {
        Committer { shared, timeout }
    }

    /// Commits these offsets and waits until the group has them: they survive what the broker's `offsets` topic survives.
    /// What may pass is repeated until the API timeout. Dropping the future does not take the offsets out of line.
    ///
    /// # Errors
    /// [`Error::CommitFailed`] when a partition is no longer this consumer's; [`Error::Broker`]; the latest error that
    /// might have passed, when the time is over.
    pub async fn commit(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, crate::OffsetAndMetadata)>,
    ) -> Result<(), Error> {
        let settled = self.shared.offer(offsets.into_iter().collect())?;
        self.wait_for(settled).await
    }

    /// Puts these offsets in line and returns at once. What is in line is committed as soon as the coordinator answers;
    /// a later offset of a partition takes the place of one that was not sent yet. `close` waits for the last ones.
    ///
    /// # Errors
    /// [`Error::CommitFailed`] when a partition is no longer this consumer's. Later refusals come in the stream of records.
    pub fn commit_async(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, crate::OffsetAndMetadata)>,
    ) -> Result<(), Error> {
        self.shared.offer(offsets.into_iter().collect()).map(drop)
    }

    async fn wait_for(&self, settled: Settled) -> Result<(), Error> {
        match tokio::time::timeout(self.timeout, settled).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Error::Closed),
            Err(_) => {
                let late = || self.shared.refusals.commit_failed("the coordinator did not answer in time");
                Err(self.shared.state.lock().commits.last_error().unwrap_or_else(late))
            }
        }
    }
}
