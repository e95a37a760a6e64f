//! Idempotence and transactions of one partition: what each producer wrote last, and which transactions are open.
//!
//! Owns the rules by which a batch with a producer id is appended, recognised as a repeat or refused, and the first offsets
//! of open transactions, from which the last stable offset follows. Does not own files (`producer_snapshot.rs` is the
//! format, the log decides when one is written), nor the validation of a batch's bytes.
//!
//! Invariant: the state is a function of the batches in the log, in offset order, up to [`ProducerState::end_offset`].
//! [`ProducerState::check`] never changes it, [`ProducerState::update`] is the only thing that does as a batch is
//! appended, and recovery calls the same `update`; so a rebuilt state answers as the lost one did.
//!
//! Two deliberate differences from Kafka. A batch wholly older than the window of five is answered with
//! DUPLICATE_SEQUENCE_NUMBER, which clients take for success, but only when every sequence of it is known to be in the log;
//! otherwise it is a gap. And a producer expires by the broker's clock at its last append, not by its records' timestamps:
//! events of the year before would otherwise lose their deduplication at once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use thiserror::Error;

use crate::types::{Offset, ProducerId};

/// How many of a producer's last batches are remembered: what a client may have in flight with idempotence.
pub const WINDOW_BATCHES: usize = 5;

/// Producers that every partition may remember whatever the others hold, so that a flood of producer ids in one partition
/// cannot take deduplication away from the regular producers of another.
pub const RESERVED_PRODUCERS_PER_PARTITION: usize = 16;

/// Sequence numbers run from 0 to this and start again at 0.
const SEQUENCE_MASK: i32 = i32::MAX;

/// Known runs are not counted beyond this: it tells "behind" from "ahead" in the circle of 2^31 sequence numbers.
pub(super) const KNOWN_RUN_MAX: u32 = 1 << 30;

/// What producer state needs to know of one batch that carries a producer id. Offsets are those that it has, or is to have, in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerBatch {
    /// The producer, never negative.
    pub producer_id: ProducerId,
    /// Its epoch; a higher one fences the lower.
    pub producer_epoch: i16,
    /// Sequence of the first record; -1 in control batches.
    pub first_sequence: i32,
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// Largest timestamp of the batch, in milliseconds since 1970.
    pub max_timestamp: i64,
    /// Whether the batch belongs to a transaction.
    pub is_transactional: bool,
    /// The end of a transaction, when this is a control batch that holds one.
    pub end_txn_marker: Option<EndTxnMarker>,
}

impl ProducerBatch {
    fn offset_delta(&self) -> i32 {
        i32::try_from(self.last_offset.0.saturating_sub(self.base_offset.0)).unwrap_or(i32::MAX)
    }

    /// Sequence of the last record.
    pub fn last_sequence(&self) -> i32 {
        self.first_sequence.wrapping_add(self.offset_delta()) & SEQUENCE_MASK
    }
}

/// A control record that ends a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTxnMarker {
    /// Commit or abort.
    pub is_commit: bool,
    /// Epoch of the transaction coordinator that wrote it.
    pub coordinator_epoch: i32,
}

impl EndTxnMarker {
    /// Reads a control record: key `version int16, type int16`, value `version int16, coordinator epoch int32`.
    /// `None` when it is of another type than abort (0) and commit (1), or too short; longer ones of later versions are read.
    pub fn parse(key: &[u8], value: &[u8]) -> Option<Self> {
        let kind = i16::from_be_bytes(key.get(2..4)?.try_into().ok()?);
        let coordinator_epoch = i32::from_be_bytes(value.get(2..6)?.try_into().ok()?);
        match kind {
            0 => Some(Self { is_commit: false, coordinator_epoch }),
            1 => Some(Self { is_commit: true, coordinator_epoch }),
            _ => None,
        }
    }
}

/// What is to be done with a batch that [`ProducerState::check`] found in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Append it.
    Append,
    /// It is in the log already: append nothing and answer with what was answered then.
    Duplicate {
        /// Offset of the first record as it was appended.
        base_offset: Offset,
        /// Offset of the last record as it was appended.
        last_offset: Offset,
        /// Largest timestamp of the batch as it was appended, in milliseconds since 1970.
        timestamp: i64,
    },
}

/// A transaction that a marker has just ended, for the transaction index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompletedTxn {
    /// The producer whose transaction it was.
    pub producer_id: ProducerId,
    /// Its first record's offset.
    pub first_offset: Offset,
    /// The marker's offset.
    pub last_offset: Offset,
    /// Aborted ones go into the transaction index.
    pub is_aborted: bool,
    /// First offset of the oldest transaction that is still open, or the offset after the marker.
    pub last_stable_offset: Offset,
}

/// Why a batch is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProducerStateError {
    /// A gap or an overlap: OUT_OF_ORDER_SEQUENCE_NUMBER.
    #[error(
        "producer {producer_id} epoch {producer_epoch}: batch starts at sequence {first_sequence}, expected {expected}"
    )]
    OutOfOrderSequence {
        /// The producer.
        producer_id: ProducerId,
        /// The batch's epoch.
        producer_epoch: i16,
        /// The batch's first sequence.
        first_sequence: i32,
        /// The only first sequence that would have been appended.
        expected: i32,
    },
    /// Appended before, but too long ago to know where: DUPLICATE_SEQUENCE_NUMBER.
    #[error(
        "producer {producer_id} epoch {producer_epoch}: sequences {first_sequence} to {last_sequence} were appended before the last {WINDOW_BATCHES} batches, which start at {window_start}"
    )]
    DuplicateSequence {
        /// The producer.
        producer_id: ProducerId,
        /// The batch's epoch.
        producer_epoch: i16,
        /// The batch's first sequence.
        first_sequence: i32,
        /// The batch's last sequence.
        last_sequence: i32,
        /// First sequence of the oldest batch remembered.
        window_start: i32,
    },
    /// A newer epoch of this producer was here before: INVALID_PRODUCER_EPOCH.
    #[error("producer {producer_id}: epoch {producer_epoch} is fenced by epoch {current_epoch}")]
    InvalidProducerEpoch {
        /// The producer.
        producer_id: ProducerId,
        /// The batch's epoch.
        producer_epoch: i16,
        /// The newest epoch seen.
        current_epoch: i16,
    },
    /// A batch outside of the producer's open transaction: INVALID_TXN_STATE.
    #[error(
        "producer {producer_id}: non-transactional batch while its transaction from offset {first_offset:?} is open"
    )]
    InvalidTxnState {
        /// The producer.
        producer_id: ProducerId,
        /// First offset of the open transaction.
        first_offset: Offset,
    },
    /// A marker by a coordinator that has been replaced: TRANSACTION_COORDINATOR_FENCED.
    #[error(
        "producer {producer_id}: marker of coordinator epoch {coordinator_epoch}, epoch {current_epoch} was here before"
    )]
    TransactionCoordinatorFenced {
        /// The producer.
        producer_id: ProducerId,
        /// The marker's coordinator epoch.
        coordinator_epoch: i32,
        /// The newest coordinator epoch seen for this producer.
        current_epoch: i32,
    },
    /// Every place for a producer is held by an open transaction, which cannot be forgotten.
    #[error("the partition remembers at most {limit} producers, and all of them have an open transaction")]
    TooManyOpenTransactions {
        /// Producers that a partition remembers.
        limit: usize,
    },
}

/// Where one batch of a producer lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatchMetadata {
    /// Sequence of the last record.
    pub last_sequence: i32,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// Last offset less first offset; the same holds for sequences.
    pub offset_delta: i32,
    /// Largest timestamp, in milliseconds since 1970.
    pub timestamp: i64,
}

impl BatchMetadata {
    /// Sequence of the first record.
    pub fn first_sequence(&self) -> i32 {
        self.last_sequence.wrapping_sub(self.offset_delta) & SEQUENCE_MASK
    }

    /// Offset of the first record.
    pub fn first_offset(&self) -> Offset {
        Offset(self.last_offset.0.saturating_sub(i64::from(self.offset_delta)))
    }

    fn records(&self) -> u32 {
        self.offset_delta.unsigned_abs().saturating_add(1)
    }
}

/// What a partition remembers of one producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerEntry {
    /// The newest epoch seen.
    pub producer_epoch: i16,
    /// The newest epoch of a coordinator that ended one of its transactions; -1 when none did.
    pub coordinator_epoch: i32,
    /// Largest timestamp of its last batch, or that of its last marker, in milliseconds since 1970.
    pub last_timestamp: i64,
    /// First offset of its open transaction.
    pub current_txn_first_offset: Option<Offset>,
    /// Offset of its last record or marker: the order in which producers were last heard of.
    pub last_update_offset: Offset,
    /// The broker's clock when it was last heard of, in milliseconds since 1970; what it expires by.
    pub last_update_ms: i64,
    /// How many sequences up to the last one are known to be in the log without a gap.
    pub(super) known_run: u32,
    window: [BatchMetadata; WINDOW_BATCHES],
    window_len: u8,
}

impl ProducerEntry {
    pub(super) fn new(producer_epoch: i16, now_ms: i64) -> Self {
        Self {
            producer_epoch,
            coordinator_epoch: -1,
            last_timestamp: -1,
            current_txn_first_offset: None,
            last_update_offset: Offset(-1),
            last_update_ms: now_ms,
            known_run: 0,
            window: [BatchMetadata::default(); WINDOW_BATCHES],
            window_len: 0,
        }
    }

    /// The batches remembered, oldest first, at most [`WINDOW_BATCHES`], all of the newest epoch.
    pub fn batches(&self) -> &[BatchMetadata] {
        &self.window[..usize::from(self.window_len)]
    }

    /// The last sequence of the newest epoch; `None` when that epoch has written nothing yet.
    pub fn last_sequence(&self) -> Option<i32> {
        self.batches().last().map(|batch| batch.last_sequence)
    }

    pub(super) fn push(&mut self, batch: BatchMetadata) {
        let follows = self.last_sequence().is_some_and(|last| next_sequence(last) == batch.first_sequence());
        let run_before = if follows { self.known_run } else { 0 };
        self.known_run = run_before.saturating_add(batch.records()).min(KNOWN_RUN_MAX);
        if usize::from(self.window_len) == WINDOW_BATCHES {
            self.window.rotate_left(1);
            self.window[WINDOW_BATCHES - 1] = batch;
        } else {
            self.window[usize::from(self.window_len)] = batch;
            self.window_len += 1;
        }
    }

    fn begin_epoch(&mut self, producer_epoch: i16) {
        if self.producer_epoch != producer_epoch {
            self.producer_epoch = producer_epoch;
            self.window = [BatchMetadata::default(); WINDOW_BATCHES];
            self.window_len = 0;
            self.known_run = 0;
        }
    }

    fn find_duplicate(&self, batch: &ProducerBatch) -> Option<&BatchMetadata> {
        self.batches()
            .iter()
            .find(|seen| seen.first_sequence() == batch.first_sequence && seen.last_sequence == batch.last_sequence())
    }

    /// Whether every sequence of the batch is known to be in the log and lies before the window.
    fn is_before_window(&self, batch: &ProducerBatch) -> bool {
        let (Some(oldest), Some(last)) = (self.batches().first(), self.last_sequence()) else { return false };
        let back = |sequence: i32| last.wrapping_sub(sequence) & SEQUENCE_MASK;
        let (first, end) = (back(batch.first_sequence), back(batch.last_sequence()));
        end > back(oldest.first_sequence()) && first >= end && (first as u32) < self.known_run
    }
}

/// How many producers all partitions together may remember beyond the [`RESERVED_PRODUCERS_PER_PARTITION`] of each.
#[derive(Debug)]
pub struct ProducerBudget {
    max: usize,
    taken: AtomicUsize,
}

impl ProducerBudget {
    /// A budget of `max` producers.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, taken: AtomicUsize::new(0) })
    }

    /// How many producers of the budget are remembered now.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    fn try_take(&self) -> bool {
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| (taken < self.max).then_some(taken + 1))
            .is_ok()
    }

    fn give_back(&self, count: usize) {
        self.taken.fetch_sub(count, Ordering::Relaxed);
    }
}

/// How many producers a partition remembers. Beyond it, the longest idle ones without an open transaction are forgotten:
/// what Kafka does to them when they expire, so a client that comes back is taken with any first sequence. An entry costs
/// about 250 bytes.
#[derive(Debug, Clone)]
pub struct ProducerLimits {
    /// Producers of one partition, at least 1.
    pub producers_per_partition_max: usize,
    /// What the partitions of the broker share.
    pub budget: Arc<ProducerBudget>,
}

impl Default for ProducerLimits {
    /// 10,000 producers in a partition and 200,000 in the broker: 50 MB at most.
    fn default() -> Self {
        Self { producers_per_partition_max: 10_000, budget: ProducerBudget::new(200_000) }
    }
}

/// The producers of one partition. See the module's text for what it promises.
#[derive(Debug)]
pub struct ProducerState {
    entries: HashMap<ProducerId, ProducerEntry>,
    /// Open transactions by first offset.
    ongoing_txns: BTreeMap<Offset, ProducerId>,
    /// Ended ones whose marker is not below the high watermark yet: first offset to the marker's.
    unreplicated_txns: BTreeMap<Offset, Offset>,
    end_offset: Offset,
    limits: ProducerLimits,
    /// Places taken from the shared budget; never fewer than entries beyond the reserved ones need.
    places_taken: usize,
}

impl ProducerState {
    /// A state that knows no producer.
    pub fn new(limits: ProducerLimits) -> Self {
        Self {
            entries: HashMap::new(),
            ongoing_txns: BTreeMap::new(),
            unreplicated_txns: BTreeMap::new(),
            end_offset: Offset(0),
            limits,
            places_taken: 0,
        }
    }

    /// Decides about a batch of a client or a coordinator before it is appended. Changes nothing.
    ///
    /// # Errors
    /// The reason for which the batch must not be appended.
    pub fn check(&self, batch: &ProducerBatch) -> Result<Verdict, ProducerStateError> {
        let Some(entry) = self.entries.get(&batch.producer_id) else {
            // Any first sequence will do: what this partition knew of the producer may have expired.
            return match batch.is_transactional && self.ongoing_txns.len() >= self.limits.producers_per_partition_max {
                true => {
                    Err(ProducerStateError::TooManyOpenTransactions { limit: self.limits.producers_per_partition_max })
                }
                false => Ok(Verdict::Append),
            };
        };
        if batch.producer_epoch < entry.producer_epoch {
            return Err(ProducerStateError::InvalidProducerEpoch {
                producer_id: batch.producer_id,
                producer_epoch: batch.producer_epoch,
                current_epoch: entry.producer_epoch,
            });
        }
        if let Some(marker) = batch.end_txn_marker {
            return match marker.coordinator_epoch < entry.coordinator_epoch {
                true => Err(ProducerStateError::TransactionCoordinatorFenced {
                    producer_id: batch.producer_id,
                    coordinator_epoch: marker.coordinator_epoch,
                    current_epoch: entry.coordinator_epoch,
                }),
                false => Ok(Verdict::Append),
            };
        }
        let last_sequence = match batch.producer_epoch == entry.producer_epoch {
            true => entry.last_sequence(),
            false => None,
        };
        let expected = last_sequence.map_or(0, next_sequence);
        if last_sequence.is_some() {
            if let Some(seen) = entry.find_duplicate(batch) {
                return Ok(Verdict::Duplicate {
                    base_offset: seen.first_offset(),
                    last_offset: seen.last_offset,
                    timestamp: seen.timestamp,
                });
            }
            if batch.first_sequence != expected && entry.is_before_window(batch) {
                return Err(ProducerStateError::DuplicateSequence {
                    producer_id: batch.producer_id,
                    producer_epoch: batch.producer_epoch,
                    first_sequence: batch.first_sequence,
                    last_sequence: batch.last_sequence(),
                    window_start: entry.batches()[0].first_sequence(),
                });
            }
        }
        if batch.first_sequence != expected {
            return Err(ProducerStateError::OutOfOrderSequence {
                producer_id: batch.producer_id,
                producer_epoch: batch.producer_epoch,
                first_sequence: batch.first_sequence,
                expected,
            });
        }
        match entry.current_txn_first_offset {
            Some(first_offset) if !batch.is_transactional => {
                Err(ProducerStateError::InvalidTxnState { producer_id: batch.producer_id, first_offset })
            }
            _ => Ok(Verdict::Append),
        }
    }

    /// Takes note of a batch that is in the log now: just appended, or read back by recovery. Checks nothing, since what is
    /// in the log is so. `now_ms` is the broker's clock.
    ///
    /// Returns the transaction that the batch ended.
    pub fn update(&mut self, batch: &ProducerBatch, now_ms: i64) -> Option<CompletedTxn> {
        if !self.entries.contains_key(&batch.producer_id) {
            self.make_room();
        }
        let entry =
            self.entries.entry(batch.producer_id).or_insert_with(|| ProducerEntry::new(batch.producer_epoch, now_ms));
        entry.begin_epoch(batch.producer_epoch);
        entry.last_timestamp = batch.max_timestamp;
        entry.last_update_offset = batch.last_offset;
        entry.last_update_ms = now_ms;
        self.end_offset = self.end_offset.max(Offset(batch.last_offset.0.saturating_add(1)));

        let Some(marker) = batch.end_txn_marker else {
            entry.push(BatchMetadata {
                last_sequence: batch.last_sequence(),
                last_offset: batch.last_offset,
                offset_delta: batch.offset_delta(),
                timestamp: batch.max_timestamp,
            });
            if batch.is_transactional && entry.current_txn_first_offset.is_none() {
                entry.current_txn_first_offset = Some(batch.base_offset);
                self.ongoing_txns.insert(batch.base_offset, batch.producer_id);
            }
            return None;
        };
        entry.coordinator_epoch = marker.coordinator_epoch;
        let first_offset = entry.current_txn_first_offset.take()?;
        self.ongoing_txns.remove(&first_offset);
        self.unreplicated_txns.insert(first_offset, batch.last_offset);
        Some(CompletedTxn {
            producer_id: batch.producer_id,
            first_offset,
            last_offset: batch.last_offset,
            is_aborted: !marker.is_commit,
            last_stable_offset: self
                .ongoing_txns
                .keys()
                .next()
                .copied()
                .unwrap_or(Offset(batch.last_offset.0.saturating_add(1))),
        })
    }

    /// First offset of the oldest transaction that is open, or whose end is not below the high watermark yet. The last
    /// stable offset is this, or the high watermark when there is none.
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        let ongoing = self.ongoing_txns.keys().next();
        let unreplicated = self.unreplicated_txns.keys().next();
        ongoing.into_iter().chain(unreplicated).min().copied()
    }

    /// Transactions whose marker lies below the high watermark are stable from now on.
    pub fn on_high_watermark_updated(&mut self, high_watermark: Offset) {
        // Not `retain`: this is called for each append, and there is nearly never anything to do.
        while let Some(first) = self.unreplicated_txns.iter().find(|(_, last)| **last < high_watermark).map(|(f, _)| *f)
        {
            self.unreplicated_txns.remove(&first);
        }
    }

    /// Forgets producers that were not heard of for `expiration_ms` (`producer.id.expiration.ms`) and have no transaction
    /// open. Returns how many.
    pub fn remove_expired(&mut self, now_ms: i64, expiration_ms: i64) -> usize {
        let before = self.entries.len();
        self.entries.retain(|_, entry| {
            entry.current_txn_first_offset.is_some() || now_ms.saturating_sub(entry.last_update_ms) < expiration_ms
        });
        self.give_back_places();
        before - self.entries.len()
    }

    /// Forgets everything, for a rebuild that starts at `end_offset`.
    pub fn reset(&mut self, end_offset: Offset) {
        self.entries.clear();
        self.ongoing_txns.clear();
        self.unreplicated_txns.clear();
        self.end_offset = end_offset;
        self.give_back_places();
    }

    /// The offset after the last batch that this state accounts for. Batches without a producer id move it through
    /// [`ProducerState::advance_end_offset`].
    pub fn end_offset(&self) -> Offset {
        self.end_offset
    }

    /// Says that everything below `end_offset` is accounted for. Never goes back.
    pub fn advance_end_offset(&mut self, end_offset: Offset) {
        self.end_offset = self.end_offset.max(end_offset);
    }

    /// What is remembered of a producer.
    pub fn get(&self, producer_id: ProducerId) -> Option<&ProducerEntry> {
        self.entries.get(&producer_id)
    }

    /// All producers remembered, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerEntry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    /// How many producers are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no producer is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Puts an entry of a snapshot back.
    pub(super) fn insert_loaded(&mut self, producer_id: ProducerId, entry: ProducerEntry) {
        self.make_room();
        if let Some(first_offset) = entry.current_txn_first_offset {
            self.ongoing_txns.insert(first_offset, producer_id);
        }
        self.entries.insert(producer_id, entry);
    }

    fn make_room(&mut self) {
        if self.entries.len() >= self.limits.producers_per_partition_max {
            self.forget_longest_idle();
        }
        while self.entries.len() >= RESERVED_PRODUCERS_PER_PARTITION + self.places_taken {
            if self.limits.budget.try_take() {
                self.places_taken += 1;
            } else if !self.forget_longest_idle() {
                // Only open transactions are left, whose number `check` bounds.
                break;
            }
        }
    }

    /// Forgets a sixteenth of the producers, so that the scan is paid once in many new producers. Whether there was one to forget.
    fn forget_longest_idle(&mut self) -> bool {
        let mut idle: Vec<(Offset, ProducerId)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.current_txn_first_offset.is_none())
            .map(|(id, entry)| (entry.last_update_offset, *id))
            .collect();
        if idle.is_empty() {
            return false;
        }
        let count = (idle.len() / 16).max(1);
        idle.select_nth_unstable(count - 1);
        for (_, id) in &idle[..count] {
            self.entries.remove(id);
        }
        true
    }

    fn give_back_places(&mut self) {
        let needed = self.entries.len().saturating_sub(RESERVED_PRODUCERS_PER_PARTITION).min(self.places_taken);
        self.limits.budget.give_back(self.places_taken - needed);
        self.places_taken = needed;
    }
}

impl Drop for ProducerState {
    fn drop(&mut self) {
        self.limits.budget.give_back(self.places_taken);
    }
}

fn next_sequence(sequence: i32) -> i32 {
    sequence.wrapping_add(1) & SEQUENCE_MASK
}

#[cfg(test)]
#[path = "producer_state_test.rs"]
mod tests;
