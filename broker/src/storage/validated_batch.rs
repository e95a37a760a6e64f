//! A record batch that may be appended: its header, and the records as they came from the wire.
//!
//! Owns the split into the 61 bytes that the broker may change and the bytes that it never copies. Does not check
//! anything: only `validate.rs` (for clients) and coordinators (for what they write themselves) make one.
//!
//! Invariant: header and records are those of one well-formed batch whose CRC is right for them. The log sets base offset
//! and leader epoch, which the CRC does not cover.

use bytes::Bytes;

use super::batch_header::{BatchHeader, HEADER_BYTES};
use super::open_transactions::EndTxnMarker;
use super::producer_state::ProducerBatch;
use crate::types::{LeaderEpoch, Offset};

/// A record batch that may be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatedBatch {
    header: [u8; HEADER_BYTES],
    records: Bytes,
    end_txn_marker: Option<EndTxnMarker>,
}

impl ValidatedBatch {
    /// Takes the header of a batch and what follows it, both checked.
    ///
    /// # Panics
    /// The header is none, or its length is not that of the records: a bug of the caller, never the input's.
    pub fn new(header: [u8; HEADER_BYTES], records: Bytes) -> ValidatedBatch {
        let batch = ValidatedBatch { header, records, end_txn_marker: None };
        let size_bytes = BatchHeader::parse(&batch.header).map(|header| header.size_bytes as usize);
        assert_eq!(size_bytes, Some(batch.size_bytes()), "the header of a validated batch fits its records");
        batch
    }

    /// Says that this is a control batch which ends a transaction.
    #[must_use]
    pub fn with_end_txn_marker(mut self, marker: EndTxnMarker) -> ValidatedBatch {
        self.end_txn_marker = Some(marker);
        self
    }

    /// Header and records.
    pub fn size_bytes(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }

    /// The header as it is to be written.
    pub fn header(&self) -> &[u8; HEADER_BYTES] {
        &self.header
    }

    /// What follows the header.
    pub fn records(&self) -> &Bytes {
        &self.records
    }

    /// Sets what the CRC does not cover.
    pub(super) fn place(&mut self, base_offset: Offset, leader_epoch: LeaderEpoch) {
        self.header[..8].copy_from_slice(&base_offset.0.to_be_bytes());
        self.header[12..16].copy_from_slice(&leader_epoch.0.to_be_bytes());
    }

    pub(super) fn parsed(&self) -> BatchHeader {
        BatchHeader::parse(&self.header).expect("checked when it was made; placing sets no negative offset")
    }

    /// What producer state needs to know; `None` for a batch without a producer.
    pub(super) fn producer_batch(&self, header: &BatchHeader) -> Option<ProducerBatch> {
        header.producer_batch(self.end_txn_marker)
    }
}
