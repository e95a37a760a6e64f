//! Where records wait: one open batch for each partition, and the full ones behind which it waits.
//!
//! Owns the choice of the partition, the limits of size, linger and memory, and the list of everything that is not yet
//! settled. Pure: time comes in as an argument, there is no I/O, and nothing here waits. Sequence numbers, retries and
//! requests are the sender's. Invariants: records of one partition leave in the order in which they came; `used` is the
//! sum of the sizes of all unsettled batches and never exceeds `buffer_memory`.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::records::{BatchBuilder, HEADER_BYTES};

use crate::clock::Instant;
use crate::config::ProducerConfig;
use crate::delivery::{BatchAcknowledged, BatchDelivery, Delivery};
use crate::metadata::TopicMetadata;
use crate::partitioner::{STICKY_BYTES, StickyPartition, partition_for_key};
use crate::{Error, ProducerRecord, TopicPartition};

/// The limits that the accumulator keeps.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) batch_bytes: usize,
    pub(crate) linger: Duration,
    pub(crate) max_request_bytes: usize,
    pub(crate) buffer_memory: usize,
    pub(crate) delivery_timeout: Duration,
}

impl From<&ProducerConfig> for Limits {
    fn from(config: &ProducerConfig) -> Self {
        Limits {
            batch_bytes: config.batch_bytes,
            linger: config.linger,
            max_request_bytes: config.max_request_bytes,
            buffer_memory: config.buffer_memory,
            delivery_timeout: config.delivery_timeout,
        }
    }
}

/// Records for one partition that will be one batch on the wire.
#[derive(Debug)]
pub(crate) struct ProducerBatch {
    /// Rises with every batch of this producer.
    pub(crate) number: u64,
    pub(crate) builder: BatchBuilder,
    pub(crate) delivery: Arc<BatchDelivery>,
    pub(crate) created: Instant,
    /// Uncompressed bytes, counted against `buffer_memory` until the batch is settled.
    pub(crate) size: usize,
    pub(crate) records: u32,
}

/// What became of a record that was taken.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) delivery: Delivery,
    /// There is something new for the sender: a batch to time, or one that is full.
    pub(crate) wake_sender: bool,
}

/// Why a record was not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The topic's partitions are not known here (or the one asked for is not).
    UnknownPartition,
    /// No memory until a batch is settled. All batches were made ready, so that this will be.
    Full,
    /// It cannot be taken at all.
    Never(Error),
}

#[derive(Debug)]
pub(crate) struct Accumulator {
    limits: Limits,
    topics: HashMap<Arc<str>, TopicBuffer>,
    /// The partitions that have a batch here.
    active: BTreeSet<TopicPartition>,
    /// Every batch that is not settled, here or with the sender.
    unsettled: HashMap<u64, Arc<BatchDelivery>>,
    used: usize,
    next_number: u64,
    /// Why no record is taken any more.
    refusal: Option<Error>,
}

#[derive(Debug, Default)]
struct TopicBuffer {
    partitions: Vec<PartitionBuffer>,
    /// The partitions that records without a key may go to.
    available: Vec<i32>,
    sticky: StickyPartition,
}

#[derive(Debug, Default)]
struct PartitionBuffer {
    /// Takes no more records. In order, the oldest first.
    sealed: VecDeque<ProducerBatch>,
    open: Option<ProducerBatch>,
    /// The size of the batch before, as a guess of the next one's.
    last_size: usize,
}

impl PartitionBuffer {
    fn seal(&mut self) {
        if let Some(open) = self.open.take() {
            self.last_size = open.builder.size_in_bytes();
            self.sealed.push_back(open);
        }
    }

    fn is_empty(&self) -> bool {
        self.open.is_none() && self.sealed.is_empty()
    }

    fn oldest(&self) -> Option<&ProducerBatch> {
        self.sealed.front().or(self.open.as_ref())
    }

    /// When its first batch may be sent; `None` when there is none.
    fn ready_at(&self, linger: Duration) -> Option<Instant> {
        match (self.sealed.front(), &self.open) {
            (Some(sealed), _) => Some(sealed.created),
            (None, Some(open)) => Some(open.created + linger),
            (None, None) => None,
        }
    }
}

impl Accumulator {
    pub(crate) fn new(limits: Limits) -> Self {
        Accumulator {
            limits,
            topics: HashMap::new(),
            active: BTreeSet::new(),
            unsettled: HashMap::new(),
            used: 0,
            next_number: 0,
            refusal: None,
        }
    }

    /// Makes a topic's partitions known. A topic never has fewer than before while records wait for them.
    pub(crate) fn set_topic(&mut self, topic: &TopicMetadata) {
        let buffer = self.topics.entry(topic.name.clone()).or_default();
        if buffer.partitions.len() < topic.partitions.len() {
            buffer.partitions.resize_with(topic.partitions.len(), PartitionBuffer::default);
        }
        let unused = buffer.partitions.iter().rev().take_while(|partition| partition.is_empty()).count();
        let used = buffer.partitions.len() - unused;
        buffer.partitions.truncate(topic.partitions.len().max(used));
        buffer.available = topic.available();
    }

    /// Appends a record to the open batch of its partition. `now` is asked only when that batch is a new one.
    pub(crate) fn append(
        &mut self,
        record: &ProducerRecord,
        timestamp: i64,
        now: impl FnOnce() -> Instant,
    ) -> Result<Appended, Refused> {
        if let Some(refusal) = &self.refusal {
            return Err(Refused::Never(refusal.clone()));
        }
        let size = BatchBuilder::record_size_max(record.key.as_deref(), record.value.as_deref(), &record.headers);
        if HEADER_BYTES + size > self.limits.max_request_bytes {
            return Err(Refused::Never(Error::RecordTooLarge {
                topic: record.topic.clone(),
                size: HEADER_BYTES + size,
                limit: self.limits.max_request_bytes,
            }));
        }
        // With room for a new batch's header, so that the limit holds whichever batch it goes to.
        if self.used + HEADER_BYTES + size > self.limits.buffer_memory {
            self.seal_all();
            return Err(Refused::Full);
        }
        let buffer = self.topics.get_mut(&record.topic).ok_or(Refused::UnknownPartition)?;
        let index = buffer.partition_of(record, size, self.limits.batch_bytes)?;
        let partition = buffer.partitions.get_mut(index as usize).ok_or(Refused::UnknownPartition)?;

        let mut wake_sender = false;
        if partition.open.as_ref().is_some_and(|open| open.size + size > self.limits.batch_bytes) {
            partition.seal();
            wake_sender = true;
        }
        let open = match &mut partition.open {
            Some(open) => open,
            none => {
                let location = TopicPartition { topic: record.topic.clone(), partition: index };
                let delivery = BatchDelivery::new(location.clone());
                self.active.insert(location);
                self.next_number += 1;
                self.unsettled.insert(self.next_number, delivery.clone());
                self.used += HEADER_BYTES;
                wake_sender = true;
                none.insert(ProducerBatch {
                    number: self.next_number,
                    builder: BatchBuilder::with_capacity(expected_bytes(partition.last_size, self.limits.batch_bytes)),
                    delivery,
                    created: now(),
                    size: HEADER_BYTES,
                    records: 0,
                })
            }
        };
        open.builder.append(timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers);
        let delivery = Delivery::new(open.delivery.clone(), open.records, timestamp);
        open.records += 1;
        open.size += size;
        self.used += size;
        if open.size >= self.limits.batch_bytes {
            partition.seal();
            wake_sender = true;
        }
        Ok(Appended { delivery, wake_sender })
    }

    /// Takes no more records, for this reason. What was taken stays.
    pub(crate) fn refuse(&mut self, refusal: Error) {
        self.refusal.get_or_insert(refusal);
    }

    /// Fails everything that is not settled, wherever it is; returns how many batches that are.
    pub(crate) fn fail_all(&mut self, error: &Error) -> usize {
        for partition in self.topics.values_mut().flat_map(|topic| &mut topic.partitions) {
            *partition = PartitionBuffer::default();
        }
        self.active.clear();
        self.used = 0;
        let unsettled = std::mem::take(&mut self.unsettled);
        unsettled.values().for_each(|delivery| delivery.settle(Err(error.clone())));
        unsettled.len()
    }

    /// The topics whose partitions are known here.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.topics.keys()
    }

    /// Makes every batch ready now, whatever its linger.
    pub(crate) fn seal_all(&mut self) {
        for location in &self.active {
            let buffer = self.topics.get_mut(&location.topic).map(|topic| &mut topic.partitions);
            if let Some(partition) = buffer.and_then(|partitions| partitions.get_mut(location.partition as usize)) {
                partition.seal();
            }
        }
    }

    /// The partitions that have a batch here, each with the time from which it may be sent.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (&TopicPartition, Instant)> {
        self.active.iter().filter_map(|location| {
            let ready_at = self.partition(location)?.ready_at(self.limits.linger)?;
            Some((location, ready_at))
        })
    }

    /// Takes the oldest batch of a partition, if it may be sent now and is no larger than `room`.
    pub(crate) fn take(&mut self, location: &TopicPartition, now: Instant, room: usize) -> Option<ProducerBatch> {
        let linger = self.limits.linger;
        let partition = self.partition(location)?;
        if partition.ready_at(linger)? > now || partition.oldest()?.size > room {
            return None;
        }
        self.take_oldest(location)
    }

    /// Takes the batches whose delivery timeout has passed, and tells when the next one will.
    pub(crate) fn take_expired(&mut self, now: Instant) -> (Vec<ProducerBatch>, Option<Instant>) {
        let timeout = self.limits.delivery_timeout;
        let mut expired = Vec::new();
        let mut next: Option<Instant> = None;
        for location in self.active.clone() {
            while let Some(created) = self.partition(&location).and_then(PartitionBuffer::oldest).map(|b| b.created) {
                if created + timeout > now {
                    next = Some(next.map_or(created + timeout, |next| next.min(created + timeout)));
                    break;
                }
                expired.extend(self.take_oldest(&location));
            }
        }
        (expired, next)
    }

    /// Settles a batch that came from here, and frees its memory.
    pub(crate) fn settle(&mut self, number: u64, size: usize, outcome: Result<BatchAcknowledged, Error>) {
        if let Some(delivery) = self.unsettled.remove(&number) {
            self.used -= size;
            if let Err(error) = &outcome
                && Arc::strong_count(&delivery) == 1
            {
                tracing::warn!(%error, "a batch of records failed, and nobody waits for its delivery");
            }
            delivery.settle(outcome);
        }
    }

    /// Lets parts of so many records each take the place of a batch that came from here; returns their numbers, or `None`
    /// for a batch that is settled already. Its memory is theirs.
    pub(crate) fn split(&mut self, number: u64, counts: &[u32]) -> Option<Vec<u64>> {
        let whole = self.unsettled.remove(&number)?;
        let numbered = |part: Arc<BatchDelivery>| {
            self.next_number += 1;
            self.unsettled.insert(self.next_number, part);
            self.next_number
        };
        Some(whole.split(counts).into_iter().map(numbered).collect())
    }

    /// The deliveries of everything that is not settled, here or with the sender.
    pub(crate) fn unsettled(&self) -> Vec<Arc<BatchDelivery>> {
        self.unsettled.values().cloned().collect()
    }

    /// Whether there is anything left that was taken and not settled.
    pub(crate) fn is_settled(&self) -> bool {
        self.unsettled.is_empty()
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    fn partition(&self, location: &TopicPartition) -> Option<&PartitionBuffer> {
        self.topics.get(&location.topic)?.partitions.get(location.partition as usize)
    }

    fn take_oldest(&mut self, location: &TopicPartition) -> Option<ProducerBatch> {
        let partition = self.topics.get_mut(&location.topic)?.partitions.get_mut(location.partition as usize)?;
        if partition.sealed.is_empty() {
            partition.seal();
        }
        let batch = partition.sealed.pop_front();
        if partition.is_empty() {
            self.active.remove(location);
        }
        batch
    }
}

/// Bytes to make room for in a new batch after one of `last_size`. A little more than that, since a buffer that is some bytes
/// too short is copied into one of twice its size; but no more than a batch may have.
fn expected_bytes(last_size: usize, batch_bytes: usize) -> usize {
    (last_size + last_size / 4).min(batch_bytes)
}

impl TopicBuffer {
    fn partition_of(&mut self, record: &ProducerRecord, size: usize, batch_bytes: usize) -> Result<i32, Refused> {
        if self.partitions.is_empty() {
            return Err(Refused::UnknownPartition);
        }
        Ok(match (record.partition, &record.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partition_for_key(key, self.partitions.len()),
            (None, None) => self.sticky.next(size, batch_bytes.min(STICKY_BYTES), &self.available),
        })
    }
}

#[cfg(test)]
#[path = "accumulator_test.rs"]
mod tests;
