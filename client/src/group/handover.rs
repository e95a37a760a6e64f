//! One hand-over of partitions: commits, the listener's part, and the positions of what is new.
//!
//! Owns the order of these steps. Runs as a task that the consumer starts from within a call for records, when everything
//! handed out before is processed. Invariant: what is revoked can be committed until the listener is done with it, and
//! nothing of it is handed out or committed from then on, before the group is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::coordinator::Coordinator;
use super::listener::StartPositions;
use super::offset_calls::{fetch_offsets, may_pass};
use super::shared::{GroupShared, Handover, Intent};
use crate::cluster::Cluster;
use crate::config::{ConsumerConfig, IsolationLevel, OffsetReset};
use crate::fetch_buffer::Start;
use crate::offsets::OffsetSpec;
use crate::{Error, OffsetAndMetadata, SeekTo, TopicPartition};

/// What every hand-over of a consumer needs.
#[derive(Debug, Clone)]
pub(crate) struct Handovers {
    pub(crate) shared: Arc<GroupShared>,
    pub(crate) cluster: Cluster,
    pub(crate) coordinator: Coordinator,
    pub(crate) reset: OffsetReset,
    pub(crate) isolation_level: IsolationLevel,
    pub(crate) commit_timeout: Duration,
}

impl Handovers {
    pub(crate) fn new(
        shared: Arc<GroupShared>,
        cluster: Cluster,
        coordinator: Coordinator,
        config: &ConsumerConfig,
    ) -> Self {
        Handovers {
            commit_timeout: config.client.api_timeout.min(shared.config.max_poll_interval),
            shared,
            cluster,
            coordinator,
            reset: config.auto_offset_reset,
            isolation_level: config.isolation_level,
        }
    }

    /// Carries out one hand-over. `positions` are those behind what is processed.
    pub(crate) async fn run(self, handover: Handover, positions: BTreeMap<TopicPartition, OffsetAndMetadata>) {
        let Handover { change, done } = handover;
        let listener = self.shared.state.lock().listener.clone();
        if change.lost {
            self.shared.give_up(&change.revoked, "this member was away for too long, and others have its partitions");
            listener.lost(change.revoked.into_iter().collect()).await;
        } else if !change.revoked.is_empty() {
            if self.shared.config.enable_auto_commit {
                self.shared.offer_positions(positions);
            }
            self.settle_commits(&change.revoked).await;
            listener.revoked(change.revoked.iter().cloned().collect()).await;
            self.settle_commits(&change.revoked).await;
            self.shared.give_up(&change.revoked, "the partition went to another member");
        }
        if !change.assigned.is_empty() {
            for partition in &change.assigned {
                self.cluster.want_topic(&partition.topic);
            }
            let starts = listener.assigned(change.assigned.iter().cloned().collect()).await;
            self.start(change.assigned, starts).await;
        }
        // A task that is gone needs no news.
        let _ = done.send(());
    }

    /// Waits until nothing of these partitions is in line to be committed; not for ever, since others wait for them.
    async fn settle_commits(&self, partitions: &BTreeSet<TopicPartition>) {
        let settled = self.shared.settled(Some(partitions));
        let reason = match tokio::time::timeout(self.commit_timeout, settled).await {
            Ok(Ok(Ok(()))) => return,
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(_)) => return,
            Err(_) => format!("no answer within {:?}", self.commit_timeout),
        };
        let group = &self.shared.config.group_id;
        tracing::warn!(group, reason, "not all offsets were committed before partitions go to others");
    }

    /// Adds partitions to those that are fetched, each where the listener says, at its committed offset, or by the policy
    /// for partitions that have none.
    async fn start(&self, partitions: BTreeSet<TopicPartition>, starts: StartPositions) {
        let ask: BTreeSet<TopicPartition> =
            partitions.iter().filter(|partition| !starts.contains_key(partition)).cloned().collect();
        let committed = match self.committed(&ask).await {
            Ok(Some(committed)) => committed,
            // The membership is over: what was assigned is lost before it began.
            Ok(None) => return,
            Err(error) => ask.iter().map(|partition| (partition.clone(), Err(error.clone()))).collect(),
        };
        let mut state = self.shared.state.lock();
        let mut buffer = self.shared.fetch.buffer.lock();
        for partition in partitions {
            let start = match (starts.get(&partition), committed.get(&partition)) {
                (Some(SeekTo::Offset(offset)), _) => Start::At(OffsetAndMetadata::new(*offset)),
                (Some(SeekTo::Beginning), _) => Start::Ask(OffsetSpec::Earliest),
                (Some(SeekTo::End), _) => Start::Ask(OffsetSpec::Latest),
                (Some(SeekTo::Timestamp(time)), _) => Start::Ask(OffsetSpec::Timestamp(*time)),
                (None, Some(Ok(Some(committed)))) => {
                    state.commits.remember(partition.clone(), committed.clone());
                    Start::At(committed.clone())
                }
                (None, Some(Err(error))) => Start::Nowhere(error.clone()),
                (None, _) => match self.reset {
                    OffsetReset::Earliest => Start::Ask(OffsetSpec::Earliest),
                    OffsetReset::Latest => Start::Ask(OffsetSpec::Latest),
                    OffsetReset::None => Start::Nowhere(Error::NoCommittedOffset {
                        partition: partition.clone(),
                        group: self.shared.config.group_id.as_str().into(),
                    }),
                },
            };
            buffer.add(partition, start);
        }
        buffer.forget_pauses();
        drop(buffer);
        drop(state);
        self.shared.fetch.wake.notify_one();
        self.shared.fetch.fetched.notify_one();
    }

    /// What the group has committed, asked for until there is an answer; `None` when there is no more reason to ask.
    async fn committed(&self, partitions: &BTreeSet<TopicPartition>) -> Result<Option<Committed>, Error> {
        if partitions.is_empty() {
            return Ok(Some(Committed::new()));
        }
        let group = self.shared.config.group_id.as_str();
        let timeout = self.cluster.config().request_timeout;
        let stable = self.isolation_level == IsolationLevel::ReadCommitted;
        let mut backoff = self.cluster.backoff();
        loop {
            let identity = {
                let state = self.shared.state.lock();
                if state.identity.is_none() || state.intent == Intent::Leave {
                    return Ok(None);
                }
                state.identity.clone()
            };
            match fetch_offsets(&self.coordinator, group, identity.as_ref(), partitions, stable, timeout).await {
                Ok(committed) => {
                    return Ok(Some(
                        committed.into_iter().map(|(partition, offset)| (partition, Ok(offset))).collect(),
                    ));
                }
                Err(error) if may_pass(&error) => {
                    tracing::warn!(group, %error, "the committed offsets could not be had, will be asked for again");
                    tokio::time::sleep(backoff.next()).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

type Committed = BTreeMap<TopicPartition, Result<Option<OffsetAndMetadata>, Error>>;
