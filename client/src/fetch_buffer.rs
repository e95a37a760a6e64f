//! The partitions of a consumer: where each stands, and the batches that wait to be consumed.
//!
//! Pure: no I/O, no clock, no waiting. Owns the positions, what a broker's answer means for them, and the order in which
//! batches are handed out (round robin over the partitions). Requests are the fetcher's.
//!
//! Invariants: batches of a partition, and the error that stopped it, are handed out in the order of their offsets, each
//! once; what was fetched before a partition was sought or assigned anew (an older `generation`) is never handed out;
//! `bytes` is the sum of the sizes of all batches here.

mod assignment;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ottla_protocol::messages::fetch::PartitionData;
use ottla_protocol::records::{BatchView, batches_lenient};
use ottla_protocol::{ApiKey, ErrorCode, Records};

use crate::clock::Instant;
use crate::config::{ConsumerConfig, IsolationLevel, OffsetReset};
use crate::fetched_batch::{FetchedBatch, corrupt};
use crate::metadata::error_of;
use crate::offsets::{ListedOffset, OffsetSpec};
use crate::transactions_seen::Transactions;
use crate::{Error, OffsetAndMetadata, TopicPartition};

pub(crate) use assignment::Start;

/// What a consumer accepts, and how.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) auto_offset_reset: OffsetReset,
    pub(crate) isolation_level: IsolationLevel,
    pub(crate) check_crcs: bool,
    pub(crate) partition_bytes: usize,
    pub(crate) decompressed_bytes_max: usize,
}

impl From<&ConsumerConfig> for Rules {
    fn from(config: &ConsumerConfig) -> Self {
        Rules {
            auto_offset_reset: config.auto_offset_reset,
            isolation_level: config.isolation_level,
            check_crcs: config.check_crcs,
            partition_bytes: config.max_partition_fetch_bytes,
            decompressed_bytes_max: config.decompressed_batch_bytes_max,
        }
    }
}

/// Which state of a partition a request was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) generation: u64,
    pub(crate) offset: i64,
}

/// A partition that wants to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanting {
    pub(crate) partition: TopicPartition,
    pub(crate) asked: Asked,
    /// It has enough that waits to be consumed.
    pub(crate) full: bool,
}

#[derive(Debug)]
pub(crate) struct FetchBuffer {
    rules: Rules,
    partitions: BTreeMap<TopicPartition, Partition>,
    /// The partitions that have something to hand out, in the order of their turns.
    turns: VecDeque<TopicPartition>,
    /// What is wrong with no partition in particular.
    errors: VecDeque<Error>,
    bytes: usize,
    generation: u64,
    /// Partitions that were taken away while they were paused, and may be back at once.
    paused_before: BTreeSet<TopicPartition>,
    /// Nothing more will come.
    closed: bool,
}

#[derive(Debug)]
struct Partition {
    generation: u64,
    /// The next offset to fetch.
    position: Position,
    /// The next offset to hand out, -1 while it is not known.
    consumed: i64,
    /// The term in which the record before it was written, -1 if unknown.
    consumed_epoch: i32,
    paused: bool,
    /// An error was reported that would only come again.
    halted: bool,
    retry_at: Option<Instant>,
    failures: u32,
    /// What waits to be handed out; an error is the last of it.
    fetched: VecDeque<Result<FetchedBatch, Error>>,
    bytes: usize,
    high_watermark: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    Offset(i64),
    /// To be asked for.
    Unknown(OffsetSpec),
    /// Being asked for.
    Asked(OffsetSpec),
    /// Nobody knows, until it is sought.
    Nowhere,
}

impl FetchBuffer {
    pub(crate) fn new(rules: Rules) -> Self {
        FetchBuffer {
            rules,
            partitions: BTreeMap::new(),
            turns: VecDeque::new(),
            errors: VecDeque::new(),
            bytes: 0,
            generation: 0,
            paused_before: BTreeSet::new(),
            closed: false,
        }
    }

    /// Behind what was handed out of each partition, where that is known.
    pub(crate) fn positions(&self) -> BTreeMap<TopicPartition, OffsetAndMetadata> {
        let known = self.partitions.iter().filter(|(_, partition)| partition.consumed >= 0);
        let position = |partition: &Partition| {
            let leader_epoch = partition.consumed_epoch;
            OffsetAndMetadata { leader_epoch, ..OffsetAndMetadata::new(partition.consumed) }
        };
        known.map(|(location, partition)| (location.clone(), position(partition))).collect()
    }

    pub(crate) fn assignment(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.keys()
    }

    /// Goes on from `offset`.
    pub(crate) fn seek(&mut self, location: &TopicPartition, offset: i64) -> Result<(), Error> {
        self.generation += 1;
        let generation = self.generation;
        let partition = self.partition_mut(location)?;
        partition.generation = generation;
        partition.position = Position::Offset(offset);
        partition.consumed = offset;
        partition.consumed_epoch = -1;
        partition.halted = false;
        partition.retry_at = None;
        let freed = std::mem::take(&mut partition.bytes);
        partition.fetched.clear();
        self.bytes -= freed;
        self.turns.retain(|turn| turn != location);
        Ok(())
    }

    /// Hands out nothing of a partition, and fetches nothing, until it is resumed. What was fetched stays.
    pub(crate) fn set_paused(&mut self, location: &TopicPartition, paused: bool) -> Result<(), Error> {
        let partition = self.partition_mut(location)?;
        partition.paused = paused;
        if !paused {
            partition.halted = false;
        }
        Ok(())
    }

    /// The next offset to be handed out.
    pub(crate) fn consumed(&self, location: &TopicPartition) -> Result<i64, Error> {
        let partition = self.partitions.get(location);
        let partition = partition.ok_or_else(|| Error::NotAssigned { partition: location.clone() })?;
        match partition.consumed {
            unknown if unknown < 0 => Err(Error::PositionUnknown { partition: location.clone() }),
            consumed => Ok(consumed),
        }
    }

    /// The end of what may be consumed, as the last fetch told it; -1 before the first.
    pub(crate) fn high_watermark(&self, location: &TopicPartition) -> i64 {
        self.partitions.get(location).map_or(-1, |partition| partition.high_watermark)
    }

    /// Hands out an error that is about no partition in particular.
    pub(crate) fn report(&mut self, error: Error) {
        self.errors.push_back(error);
    }

    /// Says that nothing more will come.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// Stops a partition at `offset` until it is sought or resumed.
    pub(crate) fn halt(&mut self, location: &TopicPartition, offset: i64) {
        // An assigned partition only; there is nothing to stop otherwise.
        if self.seek(location, offset).is_ok()
            && let Some(partition) = self.partitions.get_mut(location)
        {
            partition.halted = true;
        }
    }

    /// The next batch or error: of the partition whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<Result<FetchedBatch, Error>> {
        if let Some(error) = self.errors.pop_front() {
            return Some(Err(error));
        }
        let paused = |turn: &TopicPartition| self.partitions.get(turn).is_none_or(|partition| partition.paused);
        let Some(index) = self.turns.iter().position(|turn| !paused(turn)) else {
            return self.closed.then_some(Err(Error::Closed));
        };
        let location = self.turns.remove(index)?;
        let partition = self.partitions.get_mut(&location)?;
        let fetched = partition.fetched.pop_front()?;
        if let Ok(batch) = &fetched {
            partition.bytes -= batch.size_in_bytes();
            self.bytes -= batch.size_in_bytes();
            partition.consumed = batch.next_offset();
            partition.consumed_epoch = batch.leader_epoch();
        }
        match partition.position {
            // Behind the last batch there may have been some that are not for the consumer to see.
            Position::Offset(position) if partition.fetched.is_empty() => partition.consumed = position,
            _ if partition.fetched.is_empty() => {}
            _ => self.turns.push_back(location),
        }
        Some(fetched)
    }

    /// Takes back what is left of a batch that was handed out last of its partition.
    pub(crate) fn push_front(&mut self, batch: FetchedBatch) {
        let Some(partition) = self.partitions.get_mut(batch.partition()) else { return };
        partition.consumed = batch.start_offset();
        partition.consumed_epoch = batch.epoch_before_start();
        partition.bytes += batch.size_in_bytes();
        self.bytes += batch.size_in_bytes();
        self.turns.retain(|turn| turn != batch.partition());
        self.turns.push_front(batch.partition().clone());
        partition.fetched.push_front(Ok(batch));
    }

    /// Bytes that wait to be consumed.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The partitions that may be fetched (or could, if they were not full), and when the next one that failed may be.
    pub(crate) fn wanting(&self, now: Instant) -> (Vec<Wanting>, Option<Instant>) {
        let mut wanting = Vec::new();
        let mut retry: Option<Instant> = None;
        for (location, partition) in &self.partitions {
            let Position::Offset(offset) = partition.position else { continue };
            if partition.paused || partition.halted {
                continue;
            }
            if let Some(retry_at) = partition.retry_at.filter(|retry_at| *retry_at > now) {
                retry = Some(retry.map_or(retry_at, |retry| retry.min(retry_at)));
                continue;
            }
            let asked = Asked { generation: partition.generation, offset };
            let full = partition.bytes >= self.rules.partition_bytes;
            wanting.push(Wanting { partition: location.clone(), asked, full });
        }
        (wanting, retry)
    }

    /// Takes the questions for the positions that are not known, each with the generation that it belongs to.
    pub(crate) fn take_questions(&mut self) -> BTreeMap<TopicPartition, (u64, OffsetSpec)> {
        let mut questions = BTreeMap::new();
        for (location, partition) in &mut self.partitions {
            if let Position::Unknown(spec) = partition.position {
                partition.position = Position::Asked(spec);
                questions.insert(location.clone(), (partition.generation, spec));
            }
        }
        questions
    }

    /// Takes in the answer to such a question.
    pub(crate) fn located(&mut self, location: &TopicPartition, generation: u64, answer: Result<ListedOffset, Error>) {
        let Some(partition) = self.partitions.get_mut(location) else { return };
        let Position::Asked(spec) = partition.position else { return };
        if partition.generation != generation {
            return;
        }
        match answer {
            // No record is as late as was asked for.
            Ok(listed) if listed.offset < 0 => partition.position = Position::Unknown(OffsetSpec::Latest),
            Ok(listed) => {
                tracing::info!(partition = %location, offset = listed.offset, "position reset");
                partition.position = Position::Offset(listed.offset);
                partition.consumed = listed.offset;
            }
            Err(error) if error.is_retriable() => partition.position = Position::Unknown(spec),
            Err(error) => {
                partition.position = Position::Unknown(spec);
                self.stop(location, error);
            }
        }
    }

    /// Takes in one partition of an answer. Returns whether the metadata is out of date. `retry_at` is when a partition
    /// that failed may be fetched again after so many failures.
    pub(crate) fn accept(
        &mut self,
        location: &TopicPartition,
        asked: Asked,
        data: PartitionData,
        address: &Arc<str>,
        retry_at: impl FnOnce(u32) -> Instant,
    ) -> bool {
        let Some(partition) = self.partitions.get_mut(location) else { return false };
        let current = Position::Offset(asked.offset);
        if partition.generation != asked.generation || partition.position != current {
            return false;
        }
        let Some(code) = error_of(data.error_code) else {
            partition.failures = 0;
            partition.high_watermark = match self.rules.isolation_level {
                IsolationLevel::ReadCommitted => data.last_stable_offset,
                IsolationLevel::ReadUncommitted => data.high_watermark,
            };
            self.accept_records(location, asked.offset, data);
            return false;
        };
        match code {
            ErrorCode::OffsetOutOfRange => {
                self.out_of_range(location, asked.offset, data.log_start_offset);
                false
            }
            // A repetition brings no other bytes.
            ErrorCode::CorruptMessage => {
                let (partition, reason) = (location.clone(), format!("{address} refuses it with {code}"));
                let damaged = Error::CorruptBatch { partition, offset: asked.offset, next_offset: -1, reason };
                self.stop(location, damaged);
                false
            }
            code if code.is_retriable() => {
                tracing::debug!(partition = %location, %code, "fetch failed, will be repeated");
                partition.failures = partition.failures.saturating_add(1);
                partition.retry_at = Some(retry_at(partition.failures));
                true
            }
            _ => {
                self.stop(location, Error::broker(ApiKey::Fetch, data.error_code, address, location, None));
                false
            }
        }
    }

    fn out_of_range(&mut self, location: &TopicPartition, offset: i64, log_start: i64) {
        let Some(partition) = self.partitions.get_mut(location) else { return };
        let spec = match self.rules.auto_offset_reset {
            OffsetReset::Earliest => OffsetSpec::Earliest,
            OffsetReset::Latest => OffsetSpec::Latest,
            OffsetReset::None => {
                let partition = location.clone();
                return self.stop(location, Error::OffsetOutOfRange { partition, offset, log_start });
            }
        };
        tracing::warn!(partition = %location, offset, log_start, reset = ?spec, "position out of range");
        partition.position = Position::Unknown(spec);
    }

    fn accept_records(&mut self, location: &TopicPartition, offset: i64, data: PartitionData) {
        let Records::Bytes(bytes) = data.records else { return };
        if bytes.is_empty() {
            return;
        }
        let mut transactions = Transactions::new(self.rules.isolation_level, data.aborted_transactions);
        let mut position = offset;
        let mut failure = None;
        let mut seen = false;
        for batch in batches_lenient(bytes) {
            seen = true;
            let view = match batch {
                Ok(view) => view,
                Err(error) => {
                    let (partition, reason) = (location.clone(), error.to_string());
                    failure = Some(Error::CorruptBatch { partition, offset: position, next_offset: -1, reason });
                    break;
                }
            };
            // A broker may begin with batches before the offset asked for.
            if view.last_offset() < position {
                continue;
            }
            if let Err(reason) = self.check(&view) {
                failure = Some(corrupt(location, &view, reason));
                break;
            }
            let start = position;
            position = view.last_offset().saturating_add(1);
            if transactions.is_visible(&view) {
                let batch = FetchedBatch::new(location.clone(), view, start, self.rules.decompressed_bytes_max);
                self.push(location, Ok(batch));
            }
        }
        if !seen {
            let partition = location.clone();
            let reason = "the broker sent less than one whole batch".to_owned();
            failure = Some(Error::CorruptBatch { partition, offset, next_offset: -1, reason });
        }
        if let Some(partition) = self.partitions.get_mut(location) {
            partition.position = Position::Offset(position);
            if partition.fetched.is_empty() {
                // Whatever came is not for the consumer to see.
                partition.consumed = partition.consumed.max(position);
            }
        }
        if let Some(failure) = failure {
            self.stop(location, failure);
        }
    }

    fn check(&self, view: &BatchView) -> Result<(), String> {
        view.compression().map_err(|error| error.to_string())?;
        if self.rules.check_crcs {
            view.check_crc().map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Fetches no more of a partition until it is sought or resumed, and says why once all before is handed out.
    fn stop(&mut self, location: &TopicPartition, error: Error) {
        if let Some(partition) = self.partitions.get_mut(location) {
            partition.halted = true;
        }
        self.push(location, Err(error));
    }

    fn push(&mut self, location: &TopicPartition, fetched: Result<FetchedBatch, Error>) {
        let Some(partition) = self.partitions.get_mut(location) else { return };
        if partition.fetched.is_empty() {
            self.turns.push_back(location.clone());
        }
        if let Ok(batch) = &fetched {
            partition.bytes += batch.size_in_bytes();
            self.bytes += batch.size_in_bytes();
        }
        partition.fetched.push_back(fetched);
    }

    fn partition_mut(&mut self, location: &TopicPartition) -> Result<&mut Partition, Error> {
        let not_assigned = || Error::NotAssigned { partition: location.clone() };
        self.partitions.get_mut(location).ok_or_else(not_assigned)
    }
}

#[cfg(test)]
#[path = "fetch_buffer_test.rs"]
mod tests;
