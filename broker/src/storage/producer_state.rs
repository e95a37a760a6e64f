//! Idempotence and transactions of one partition: what each producer wrote last, and which transactions are open.
//!
//! Owns the rules by which a batch with a producer id is appended, recognised as a repeat or refused, and the bounds on how
//! many producers are remembered. What is remembered of one is `producer_entry.rs`, the transactions that are not stable yet
//! are `open_transactions.rs`. Does not own files (`producer_snapshot.rs` is the format, the log decides when one is
//! written), nor the validation of a batch's bytes.
//!
//! Invariant: the state is a function of the batches in the log, in offset order, up to [`ProducerState::end_offset`].
//! [`ProducerState::check`] never changes it, [`ProducerState::update`] is the only thing that does as a batch is
//! appended, and recovery calls the same `update`; so a rebuilt state answers as the lost one did.
//!
//! Two deliberate differences from Kafka. A batch wholly older than the window of five is answered with
//! DUPLICATE_SEQUENCE_NUMBER, which clients take for success, but only when every sequence of it is known to be in the log;
//! otherwise it is a gap. And a producer expires by the broker's clock at its last append, not by its records' timestamps:
//! events of the year before would otherwise lose their deduplication at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use thiserror::Error;

use super::open_transactions::OpenTransactions;
use super::producer_entry::next_sequence;
use crate::types::{Offset, ProducerId};

pub use super::open_transactions::{CompletedTxn, EndTxnMarker};
pub use super::producer_entry::{BatchMetadata, ProducerBatch, ProducerEntry, WINDOW_BATCHES};

/// Producers that every partition may remember whatever the others hold, so that a flood of producer ids in one partition
/// cannot take deduplication away from the regular producers of another.
pub const RESERVED_PRODUCERS_PER_PARTITION: usize = 16;

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
    open_transactions: OpenTransactions,
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
            open_transactions: OpenTransactions::default(),
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
            return match batch.is_transactional
                && self.open_transactions.len() >= self.limits.producers_per_partition_max
            {
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

    /// The transaction that a batch would end once it is in the log. Changes nothing.
    pub fn completed_by(&self, batch: &ProducerBatch) -> Option<CompletedTxn> {
        let marker = batch.end_txn_marker?;
        let first_offset = self.entries.get(&batch.producer_id)?.current_txn_first_offset?;
        Some(self.open_transactions.completed_by(marker, batch.last_offset, batch.producer_id, first_offset))
    }

    /// Takes note of a batch that is in the log now: just appended, or read back by recovery. Checks nothing, since what is
    /// in the log is so. `now_ms` is the broker's clock.
    ///
    /// Returns the transaction that the batch ended.
    pub fn update(&mut self, batch: &ProducerBatch, now_ms: i64) -> Option<CompletedTxn> {
        let completed = self.completed_by(batch);
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
                self.open_transactions.begin(batch.base_offset, batch.producer_id);
            }
            return None;
        };
        entry.coordinator_epoch = marker.coordinator_epoch;
        entry.current_txn_first_offset = None;
        self.open_transactions.end(completed.as_ref()?);
        completed
    }

    /// First offset of the oldest transaction that is open, or whose end is not below the high watermark yet. The last
    /// stable offset is this, or the high watermark when there is none.
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        self.open_transactions.first_unstable_offset()
    }

    /// Transactions whose marker lies below the high watermark are stable from now on.
    pub fn on_high_watermark_updated(&mut self, high_watermark: Offset) {
        self.open_transactions.on_high_watermark_updated(high_watermark);
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

    /// Lets go of the transactions that are open, where no record of them is left in the log. What repeats are recognised by stays.
    pub fn forget_open_transactions(&mut self) {
        self.entries.values_mut().for_each(|entry| entry.current_txn_first_offset = None);
        self.open_transactions.clear();
    }

    /// Forgets what was appended from `end_offset` on, as far as that can be told: batches that the later ones have pushed out of a window
    /// are not back, and a producer with none left is forgotten, as is a transaction that has ended since.
    pub(super) fn keep_before(&mut self, end_offset: Offset) {
        self.entries.retain(|_, entry| entry.keep_before(end_offset));
        self.open_transactions.clear();
        for (id, entry) in &self.entries {
            if let Some(first_offset) = entry.current_txn_first_offset {
                self.open_transactions.begin(first_offset, *id);
            }
        }
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
            self.open_transactions.begin(first_offset, producer_id);
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

#[cfg(test)]
#[path = "producer_state_test.rs"]
mod tests;
