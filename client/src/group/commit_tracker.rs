//! Which offsets are to be committed, which are on their way, and who waits for them.
//!
//! Pure: no I/O, no clock. Each offer has a ticket, which rises. Invariants: at most one request is on its way, so that the
//! offsets that a broker takes in for a partition are in the order of their offers; a later offer for a partition takes the
//! place of one that was not sent; who waits is told of success only once every partition that was meant is committed by
//! that offer or a later one, and is told exactly once.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::oneshot;

use crate::clock::Instant;
use crate::{Error, OffsetAndMetadata, TopicPartition};

/// What came of one partition of a commit.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    Committed,
    /// It may pass: the same again later.
    Retry(Error),
    Failed(Error),
}

/// Told once all is settled: of the first failure, if there is one.
pub(crate) type Settled = oneshot::Receiver<Result<(), Error>>;

#[derive(Debug, Default)]
pub(crate) struct CommitTracker {
    partitions: BTreeMap<TopicPartition, Entry>,
    waiting: Vec<Waiting>,
    last_ticket: u64,
    in_flight: bool,
    retry_at: Option<Instant>,
    failures: u32,
    last_error: Option<Error>,
}

#[derive(Debug, Default)]
struct Entry {
    pending: Option<Offer>,
    sent: Option<Offer>,
    committed: Option<OffsetAndMetadata>,
}

#[derive(Debug, Clone)]
struct Offer {
    ticket: u64,
    offset: OffsetAndMetadata,
}

#[derive(Debug)]
struct Waiting {
    /// The partitions that are open, each with the offer that has to be settled, by its own outcome or a later one's.
    partitions: BTreeMap<TopicPartition, u64>,
    failure: Option<Error>,
    settled: oneshot::Sender<Result<(), Error>>,
}

impl CommitTracker {
    /// Puts offsets in line.
    pub(crate) fn offer(&mut self, offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>) {
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        for (partition, offset) in offsets {
            self.partitions.entry(partition).or_default().pending = Some(Offer { ticket, offset });
        }
    }

    /// Puts positions in line, save those that are committed, or on their way, already.
    pub(crate) fn offer_positions(&mut self, positions: BTreeMap<TopicPartition, OffsetAndMetadata>) {
        let is_new = |(partition, position): &(TopicPartition, OffsetAndMetadata)| {
            let Some(entry) = self.partitions.get(partition) else { return true };
            entry.latest().map(|offer| &offer.offset).or(entry.committed.as_ref()) != Some(position)
        };
        let new: Vec<_> = positions.into_iter().filter(is_new).collect();
        if !new.is_empty() {
            self.offer(new);
        }
    }

    /// Waits for all that is in line or on its way of these partitions.
    pub(crate) fn settled(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) -> Settled {
        // Those who no longer wait are forgotten: what is here is bounded by the callers that do.
        self.waiting.retain(|waiting| !waiting.settled.is_closed());
        let latest = |partition: TopicPartition| {
            let ticket = self.partitions.get(&partition)?.latest()?.ticket;
            Some((partition, ticket))
        };
        let partitions: BTreeMap<TopicPartition, u64> = partitions.into_iter().filter_map(latest).collect();
        let (settled, receiver) = oneshot::channel();
        if partitions.is_empty() {
            // The receiver is here.
            let _ = settled.send(Ok(()));
        } else {
            self.waiting.push(Waiting { partitions, failure: None, settled });
        }
        receiver
    }

    /// All partitions of which something is in line or on its way.
    pub(crate) fn open(&self) -> BTreeSet<TopicPartition> {
        self.partitions
            .iter()
            .filter(|(_, entry)| entry.latest().is_some())
            .map(|(partition, _)| partition.clone())
            .collect()
    }

    /// When the next request may go out; `None` while there is nothing to send or one is on its way.
    pub(crate) fn ready_at(&self, now: Instant) -> Option<Instant> {
        let waiting = self.partitions.values().any(|entry| entry.pending.is_some());
        (waiting && !self.in_flight).then(|| self.retry_at.unwrap_or(now).max(now))
    }

    /// Takes what the next request is to carry.
    pub(crate) fn take(&mut self) -> Vec<(TopicPartition, OffsetAndMetadata)> {
        assert!(!self.in_flight, "one commit at a time");
        let mut offsets = Vec::new();
        for (partition, entry) in &mut self.partitions {
            if let Some(offer) = entry.pending.take() {
                offsets.push((partition.clone(), offer.offset.clone()));
                entry.sent = Some(offer);
            }
        }
        self.in_flight = !offsets.is_empty();
        offsets
    }

    /// Takes in what came of that request. `retry_at` is when to send again after so many failures in a row. Returns the
    /// failures that nobody waits for.
    pub(crate) fn answered(
        &mut self,
        outcome: impl Fn(&TopicPartition) -> Outcome,
        retry_at: impl FnOnce(u32) -> Instant,
    ) -> Vec<(TopicPartition, Error)> {
        self.in_flight = false;
        let mut retry = None;
        let mut unheard = Vec::new();
        let sent: Vec<(TopicPartition, Offer)> = self
            .partitions
            .iter_mut()
            .filter_map(|(partition, entry)| Some((partition.clone(), entry.sent.take()?)))
            .collect();
        for (partition, offer) in sent {
            match outcome(&partition) {
                Outcome::Committed => {
                    if let Some(entry) = self.partitions.get_mut(&partition) {
                        entry.committed = Some(offer.offset);
                    }
                    self.settle(&partition, offer.ticket, None);
                }
                Outcome::Retry(error) => {
                    retry = Some(error);
                    if let Some(entry) = self.partitions.get_mut(&partition) {
                        entry.pending.get_or_insert(offer);
                    }
                }
                Outcome::Failed(error) => {
                    if !self.settle(&partition, offer.ticket, Some(&error)) {
                        unheard.push((partition, error));
                    }
                }
            }
        }
        match retry {
            Some(error) => {
                self.failures = self.failures.saturating_add(1);
                self.retry_at = Some(retry_at(self.failures));
                self.last_error = Some(error);
            }
            None => (self.failures, self.retry_at, self.last_error) = (0, None, None),
        }
        unheard
    }

    /// Commits nothing more of these partitions; what is open of them fails.
    pub(crate) fn forget<'a>(&mut self, partitions: impl IntoIterator<Item = &'a TopicPartition>, error: &Error) {
        for partition in partitions {
            if self.partitions.remove(partition).is_some_and(|entry| entry.latest().is_some()) {
                self.settle(partition, self.last_ticket, Some(error));
            }
        }
    }

    /// The same of all partitions.
    pub(crate) fn forget_all(&mut self, error: &Error) {
        let all: Vec<TopicPartition> = self.partitions.keys().cloned().collect();
        self.forget(&all, error);
    }

    /// Remembers what the broker has, so that it is not committed again.
    pub(crate) fn remember(&mut self, partition: TopicPartition, committed: OffsetAndMetadata) {
        self.partitions.entry(partition).or_default().committed = Some(committed);
    }

    /// Why the latest attempt has to be repeated.
    pub(crate) fn last_error(&self) -> Option<Error> {
        self.last_error.clone()
    }

    /// Tells those who wait for this partition; returns whether there are any.
    fn settle(&mut self, partition: &TopicPartition, ticket: u64, failure: Option<&Error>) -> bool {
        let mut heard = false;
        let mut index = 0;
        while index < self.waiting.len() {
            let waiting = &mut self.waiting[index];
            if waiting.partitions.get(partition).is_some_and(|needed| *needed <= ticket) {
                heard |= !waiting.settled.is_closed();
                waiting.partitions.remove(partition);
                waiting.failure = waiting.failure.take().or_else(|| failure.cloned());
                if waiting.partitions.is_empty() {
                    let done = self.waiting.swap_remove(index);
                    // Whoever no longer waits does not care.
                    let _ = done.settled.send(done.failure.map_or(Ok(()), Err));
                    continue;
                }
            }
            index += 1;
        }
        heard
    }
}

impl Entry {
    /// The latest offer that is not settled.
    fn latest(&self) -> Option<&Offer> {
        self.pending.as_ref().or(self.sent.as_ref())
    }
}

#[cfg(test)]
#[path = "commit_tracker_test.rs"]
mod tests;
