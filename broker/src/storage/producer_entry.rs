//! What a partition remembers of one producer: its epoch, its last five batches, its open transaction.
//!
//! Owns the circle of sequence numbers and the search for a repeat among them. Does not decide what happens to a batch
//! (`producer_state.rs` does) or how an entry is kept in a file (`producer_snapshot.rs`).
//!
//! Invariant: the batches remembered are of the newest epoch, oldest first, at most [`WINDOW_BATCHES`].

use super::open_transactions::EndTxnMarker;
use crate::types::{Offset, ProducerId};

/// How many of a producer's last batches are remembered: what a client may have in flight with idempotence.
pub const WINDOW_BATCHES: usize = 5;

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
    pub(super) fn offset_delta(&self) -> i32 {
        i32::try_from(self.last_offset.0.saturating_sub(self.base_offset.0)).unwrap_or(i32::MAX)
    }

    /// Sequence of the last record.
    pub fn last_sequence(&self) -> i32 {
        self.first_sequence.wrapping_add(self.offset_delta()) & SEQUENCE_MASK
    }
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

    /// Forgets what was appended from `end_offset` on, as far as that can be told; whether anything is left.
    pub(super) fn keep_before(&mut self, end_offset: Offset) -> bool {
        if self.last_update_offset < end_offset {
            return true;
        }
        let before = self.clone();
        (self.window_len, self.known_run) = (0, 0);
        for batch in before.batches().iter().filter(|batch| batch.last_offset < end_offset) {
            self.push(*batch);
            self.last_timestamp = batch.timestamp;
            self.last_update_offset = batch.last_offset;
        }
        self.current_txn_first_offset = self.current_txn_first_offset.filter(|first_offset| *first_offset < end_offset);
        self.window_len > 0
    }

    pub(super) fn begin_epoch(&mut self, producer_epoch: i16) {
        if self.producer_epoch != producer_epoch {
            self.producer_epoch = producer_epoch;
            self.window = [BatchMetadata::default(); WINDOW_BATCHES];
            self.window_len = 0;
            self.known_run = 0;
        }
    }

    pub(super) fn find_duplicate(&self, batch: &ProducerBatch) -> Option<&BatchMetadata> {
        self.batches()
            .iter()
            .find(|seen| seen.first_sequence() == batch.first_sequence && seen.last_sequence == batch.last_sequence())
    }

    /// Whether every sequence of the batch is known to be in the log and lies before the window.
    pub(super) fn is_before_window(&self, batch: &ProducerBatch) -> bool {
        let (Some(oldest), Some(last)) = (self.batches().first(), self.last_sequence()) else { return false };
        let back = |sequence: i32| last.wrapping_sub(sequence) & SEQUENCE_MASK;
        let (first, end) = (back(batch.first_sequence), back(batch.last_sequence()));
        end > back(oldest.first_sequence()) && first >= end && (first as u32) < self.known_run
    }
}

/// The sequence number behind one; the last is followed by 0.
pub(super) fn next_sequence(sequence: i32) -> i32 {
    sequence.wrapping_add(1) & SEQUENCE_MASK
}
