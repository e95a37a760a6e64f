//! The promise that a record's fate will be known: one shared cell for a whole batch, and a small handle for each record.
//!
//! Owns the waking of those who wait. Invariant: a batch is settled exactly once, by success or failure, and never
//! changes after, or it is split, and so are its parts; whoever holds a handle learns it whenever he asks.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::{Error, TopicPartition};

/// Where an acknowledged record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordMetadata {
    /// The partition it went to.
    pub partition: i32,
    /// Its offset. -1 when the broker does not say: with [`Acks::None`](crate::Acks::None), and for a repetition
    /// so late that the broker only knows that it has the record.
    pub offset: i64,
    /// Its time in the log, in milliseconds since 1970: the record's own, or the broker's where the topic's
    /// `message.timestamp.type` is `LogAppendTime`.
    pub timestamp: i64,
}

/// What the broker said about a whole batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchAcknowledged {
    /// The offset of the first record, -1 if unknown.
    pub base_offset: i64,
    /// The broker's time for all records, -1 where each keeps its own.
    pub log_append_time: i64,
}

/// What became of a batch.
#[derive(Debug)]
enum Fate {
    Settled(Result<BatchAcknowledged, Error>),
    /// It went on in parts, each with the index of its first record.
    Split(Vec<(u32, Arc<BatchDelivery>)>),
}

/// The fate of one batch, shared by the producer and the handles of its records.
#[derive(Debug)]
pub(crate) struct BatchDelivery {
    partition: TopicPartition,
    fate: OnceLock<Fate>,
    /// One waker for each handle that waits. Taken, and never added to again, when the batch is settled.
    waiting: Mutex<Vec<Waker>>,
}

impl BatchDelivery {
    pub(crate) fn new(partition: TopicPartition) -> Arc<Self> {
        Arc::new(BatchDelivery { partition, fate: OnceLock::new(), waiting: Mutex::default() })
    }

    pub(crate) fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// Settles the batch and wakes everybody. Only the first call counts.
    pub(crate) fn settle(&self, outcome: Result<BatchAcknowledged, Error>) {
        self.decide(Fate::Settled(outcome));
    }

    /// Lets parts of so many records each take the batch's place.
    pub(crate) fn split(&self, counts: &[u32]) -> Vec<Arc<BatchDelivery>> {
        let parts: Vec<Arc<BatchDelivery>> =
            counts.iter().map(|_| BatchDelivery::new(self.partition.clone())).collect();
        let mut first = 0;
        let mut indexed = Vec::new();
        for (part, count) in parts.iter().zip(counts) {
            indexed.push((first, part.clone()));
            first += count;
        }
        self.decide(Fate::Split(indexed));
        parts
    }

    fn decide(&self, fate: Fate) {
        if self.fate.set(fate).is_ok() {
            let waiting = std::mem::take(&mut *self.waiting.lock());
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// Ready when decided. `slot` is the caller's place among those who wait, kept between polls.
    fn poll_fate(&self, slot: &mut Option<usize>, context: &Context<'_>) -> Poll<&Fate> {
        if let Some(fate) = self.fate.get() {
            return Poll::Ready(fate);
        }
        let mut waiting = self.waiting.lock();
        // Settled between the look and the lock: the wakers are gone, so that one added now would sleep for ever.
        if let Some(fate) = self.fate.get() {
            return Poll::Ready(fate);
        }
        match slot {
            Some(slot) => waiting[*slot].clone_from(context.waker()),
            None => {
                *slot = Some(waiting.len());
                waiting.push(context.waker().clone());
            }
        }
        Poll::Pending
    }

    /// Returns when the batch is settled, however, with all its parts.
    pub(crate) async fn settled(&self) {
        let mut slot = None;
        let parts = std::future::poll_fn(|context| {
            self.poll_fate(&mut slot, context).map(|fate| match fate {
                Fate::Settled(_) => Vec::new(),
                Fate::Split(parts) => parts.iter().map(|(_, part)| part.clone()).collect(),
            })
        });
        for part in parts.await {
            Box::pin(part.settled()).await;
        }
    }
}

/// The future fate of one record. Dropping it changes nothing: the record is sent all the same.
#[derive(Debug)]
pub struct Delivery {
    batch: Arc<BatchDelivery>,
    /// The record's place in its batch, from 0.
    index: u32,
    slot: Option<usize>,
    /// The record's own time.
    timestamp: i64,
}

impl Delivery {
    pub(crate) fn new(batch: Arc<BatchDelivery>, index: u32, timestamp: i64) -> Self {
        Delivery { batch, index, slot: None, timestamp }
    }

    /// The partition that was chosen for the record.
    #[must_use]
    pub fn partition(&self) -> &TopicPartition {
        &self.batch.partition
    }

    fn resolve(&self, outcome: &Result<BatchAcknowledged, Error>) -> Result<RecordMetadata, Error> {
        let acknowledged = outcome.as_ref().map_err(Error::clone)?;
        let offset = match acknowledged.base_offset {
            unknown if unknown < 0 => -1,
            base => base.saturating_add(i64::from(self.index)),
        };
        let timestamp = if acknowledged.log_append_time >= 0 { acknowledged.log_append_time } else { self.timestamp };
        Ok(RecordMetadata { partition: self.batch.partition.partition, offset, timestamp })
    }
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            let batch = this.batch.clone();
            let parts = match batch.poll_fate(&mut this.slot, context) {
                Poll::Ready(Fate::Settled(outcome)) => return Poll::Ready(this.resolve(outcome)),
                Poll::Ready(Fate::Split(parts)) => parts,
                Poll::Pending => return Poll::Pending,
            };
            let part = parts.partition_point(|(first, _)| *first <= this.index).saturating_sub(1);
            let (first, part) = &parts[part];
            this.index -= first;
            this.batch = part.clone();
            this.slot = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Arc<BatchDelivery> {
        BatchDelivery::new(TopicPartition::new("t", 3))
    }

    #[tokio::test]
    async fn every_record_of_a_batch_gets_its_own_offset() {
        let batch = batch();
        let waiting: Vec<_> =
            (0..3).map(|index| tokio::spawn(Delivery::new(batch.clone(), index, 1000 + i64::from(index)))).collect();
        tokio::task::yield_now().await;
        batch.settle(Ok(BatchAcknowledged { base_offset: 40, log_append_time: -1 }));
        for (index, handle) in waiting.into_iter().enumerate() {
            let index = index as i64;
            let expected = RecordMetadata { partition: 3, offset: 40 + index, timestamp: 1000 + index };
            assert_eq!(handle.await.unwrap().unwrap(), expected);
        }
        assert_eq!(Delivery::new(batch, 9, 5).await.unwrap().offset, 49, "a late question is answered too");
    }

    #[tokio::test]
    async fn a_failure_reaches_everybody_and_is_final() {
        let batch = batch();
        batch.settle(Err(Error::Closed));
        batch.settle(Ok(BatchAcknowledged { base_offset: 1, log_append_time: -1 }));
        assert!(matches!(Delivery::new(batch.clone(), 0, 0).await, Err(Error::Closed)));
        batch.settled().await;
    }

    #[tokio::test]
    async fn the_records_of_a_split_batch_follow_their_parts() {
        let batch = batch();
        let waiting = tokio::spawn(Delivery::new(batch.clone(), 4, 0));
        let flushed = tokio::spawn({
            let batch = batch.clone();
            async move { batch.settled().await }
        });
        tokio::task::yield_now().await;
        let parts = batch.split(&[2, 3]);
        let smaller = parts[1].split(&[1, 2]);
        parts[0].settle(Ok(BatchAcknowledged { base_offset: 40, log_append_time: -1 }));
        smaller[0].settle(Err(Error::Closed));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished() && !flushed.is_finished());
        smaller[1].settle(Ok(BatchAcknowledged { base_offset: 90, log_append_time: -1 }));
        assert_eq!(waiting.await.unwrap().unwrap().offset, 91);
        flushed.await.unwrap();
        assert_eq!(Delivery::new(batch.clone(), 1, 0).await.unwrap().offset, 41);
        assert!(Delivery::new(batch, 2, 0).await.is_err());
    }

    #[tokio::test]
    async fn the_brokers_time_wins_and_an_unknown_offset_stays_unknown() {
        let batch = batch();
        batch.settle(Ok(BatchAcknowledged { base_offset: -1, log_append_time: 77 }));
        let record = Delivery::new(batch, 5, 1).await.unwrap();
        assert_eq!((record.offset, record.timestamp), (-1, 77));
    }

    #[tokio::test]
    async fn a_handle_moved_to_another_task_is_woken_there() {
        let batch = batch();
        let mut delivery = Delivery::new(batch.clone(), 0, 0);
        let pending = std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut delivery).poll(context).is_pending()));
        assert!(pending.await);
        let moved = tokio::spawn(delivery);
        tokio::task::yield_now().await;
        batch.settle(Ok(BatchAcknowledged { base_offset: 0, log_append_time: -1 }));
        moved.await.unwrap().unwrap();
    }
}
