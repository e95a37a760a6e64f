//! The transactions of one partition that are not stable yet: those that are open, and those whose marker may still be lost.
//!
//! Owns their first offsets, from which the last stable offset follows, and what a control record says. Does not own which
//! producer may begin or end one (`producer_state.rs` decides) or the index of aborted ones (`txn_index.rs`).
//!
//! Invariant: an open transaction has one first offset, and an ended one is unstable until the high watermark has passed its
//! marker.

use std::collections::BTreeMap;

use crate::types::{Offset, ProducerId};

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

/// The unstable transactions of one partition.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct OpenTransactions {
    /// Open ones by first offset.
    ongoing: BTreeMap<Offset, ProducerId>,
    /// Ended ones whose marker is not below the high watermark yet: first offset to the marker's.
    unreplicated: BTreeMap<Offset, Offset>,
}

impl OpenTransactions {
    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.ongoing.len()
    }

    /// A producer's first record of a transaction is in the log.
    pub(super) fn begin(&mut self, first_offset: Offset, producer_id: ProducerId) {
        self.ongoing.insert(first_offset, producer_id);
    }

    /// What a marker at `marker_offset` makes of the transaction that began at `first_offset`. Changes nothing.
    pub(super) fn completed_by(
        &self,
        marker: EndTxnMarker,
        marker_offset: Offset,
        producer_id: ProducerId,
        first_offset: Offset,
    ) -> CompletedTxn {
        let others = self.ongoing.keys().copied().find(|first| *first != first_offset);
        CompletedTxn {
            producer_id,
            first_offset,
            last_offset: marker_offset,
            is_aborted: !marker.is_commit,
            last_stable_offset: others.unwrap_or(Offset(marker_offset.0.saturating_add(1))),
        }
    }

    /// The marker of a transaction is in the log.
    pub(super) fn end(&mut self, completed: &CompletedTxn) {
        self.ongoing.remove(&completed.first_offset);
        self.unreplicated.insert(completed.first_offset, completed.last_offset);
    }

    /// First offset of the oldest transaction that is open, or whose end is not below the high watermark yet.
    pub(super) fn first_unstable_offset(&self) -> Option<Offset> {
        let (ongoing, unreplicated) = (self.ongoing.keys().next(), self.unreplicated.keys().next());
        ongoing.into_iter().chain(unreplicated).min().copied()
    }

    /// Transactions whose marker lies below the high watermark are stable from now on.
    pub(super) fn on_high_watermark_updated(&mut self, high_watermark: Offset) {
        // Not `retain`: this is called for each append, and there is nearly never anything to do.
        while let Some(first) = self.unreplicated.iter().find(|(_, last)| **last < high_watermark).map(|(f, _)| *f) {
            self.unreplicated.remove(&first);
        }
    }

    /// The open ones, by first offset, with their producers.
    #[cfg(test)]
    pub(super) fn ongoing(&self) -> &BTreeMap<Offset, ProducerId> {
        &self.ongoing
    }

    pub(super) fn clear(&mut self) {
        self.ongoing.clear();
        self.unreplicated.clear();
    }
}
