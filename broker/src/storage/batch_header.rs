//! The 61 bytes in front of every record batch (v2), as they lie in a segment. Owns their layout and the checks that need
//! nothing but them; records and checksums of whole batches belong to `ottla_protocol::records`.
//!
//! ```text
//!  0 base offset i64 | 8 batch length i32 (from 12 on) | 12 partition leader epoch i32 | 16 magic i8 | 17 CRC-32C u32 (of 21..)
//! 21 attributes i16 | 23 last offset delta i32 | 27 base timestamp i64 | 35 max timestamp i64 | 43 producer id i64
//! 51 producer epoch i16 | 53 base sequence i32 | 57 record count i32 | 61 records
//! ```

use super::open_transactions::EndTxnMarker;
use super::producer_state::ProducerBatch;
use crate::types::{LeaderEpoch, Offset, ProducerId};

/// The size of the header.
pub const HEADER_BYTES: usize = 61;
/// Base offset and batch length: what the batch length does not count.
pub(super) const LENGTH_OVERHEAD: usize = 12;
const LENGTH_AT: usize = 8;
const LEADER_EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
/// Where the bytes start that the CRC covers.
pub(super) const CRC_COVERS_FROM: usize = 21;

pub(super) const LOG_APPEND_TIME_BIT: i16 = 1 << 3;
const TRANSACTIONAL_BIT: i16 = 1 << 4;
const CONTROL_BIT: i16 = 1 << 5;

/// What the header of a batch says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchHeader {
    pub(super) base_offset: Offset,
    /// The whole batch with its header.
    pub(super) size_bytes: u32,
    pub(super) leader_epoch: LeaderEpoch,
    pub(super) crc: u32,
    pub(super) attributes: i16,
    pub(super) last_offset_delta: i32,
    pub(super) base_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) producer_id: ProducerId,
    pub(super) producer_epoch: i16,
    pub(super) base_sequence: i32,
    pub(super) record_count: i32,
}

fn at<const N: usize>(bytes: &[u8; HEADER_BYTES], start: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[start..start + N]);
    field
}

impl BatchHeader {
    /// Reads a header; `None` if no batch can start like this.
    pub(super) fn parse(bytes: &[u8]) -> Option<BatchHeader> {
        let bytes: &[u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
        let length = usize::try_from(i32::from_be_bytes(at(bytes, LENGTH_AT))).ok()?;
        let header = BatchHeader {
            base_offset: Offset(i64::from_be_bytes(at(bytes, 0))),
            size_bytes: u32::try_from(length + LENGTH_OVERHEAD).ok()?,
            leader_epoch: LeaderEpoch(i32::from_be_bytes(at(bytes, LEADER_EPOCH_AT))),
            crc: u32::from_be_bytes(at(bytes, CRC_AT)),
            attributes: i16::from_be_bytes(at(bytes, CRC_COVERS_FROM)),
            last_offset_delta: i32::from_be_bytes(at(bytes, 23)),
            base_timestamp: i64::from_be_bytes(at(bytes, 27)),
            max_timestamp: i64::from_be_bytes(at(bytes, 35)),
            producer_id: ProducerId(i64::from_be_bytes(at(bytes, 43))),
            producer_epoch: i16::from_be_bytes(at(bytes, 51)),
            base_sequence: i32::from_be_bytes(at(bytes, 53)),
            record_count: i32::from_be_bytes(at(bytes, 57)),
        };
        let plausible = bytes[MAGIC_AT] == 2
            && header.size_bytes as usize >= HEADER_BYTES
            && header.base_offset >= Offset::ZERO
            && header.last_offset_delta >= 0;
        plausible.then_some(header)
    }

    /// The offset of the last record.
    pub(super) fn last_offset(&self) -> Offset {
        self.base_offset.plus(i64::from(self.last_offset_delta))
    }

    /// The offset after the last record.
    pub(super) fn next_offset(&self) -> Offset {
        self.last_offset().next()
    }

    /// What producer state needs to know; `None` for a batch without a producer.
    pub(super) fn producer_batch(&self, end_txn_marker: Option<EndTxnMarker>) -> Option<ProducerBatch> {
        self.producer_id.is_some().then(|| ProducerBatch {
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            first_sequence: self.base_sequence,
            base_offset: self.base_offset,
            last_offset: self.last_offset(),
            max_timestamp: self.max_timestamp,
            is_transactional: self.is_transactional(),
            end_txn_marker,
        })
    }

    /// The timestamp of all records, if the broker set it.
    pub(super) fn log_append_time(&self) -> Option<i64> {
        (self.attributes & LOG_APPEND_TIME_BIT != 0).then_some(self.max_timestamp)
    }

    pub(super) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    pub(super) fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes() -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&7i64.to_be_bytes());
        bytes[8..12].copy_from_slice(&100i32.to_be_bytes());
        bytes[12..16].copy_from_slice(&3i32.to_be_bytes());
        bytes[16] = 2;
        bytes[21..23].copy_from_slice(&(TRANSACTIONAL_BIT | CONTROL_BIT).to_be_bytes());
        bytes[23..27].copy_from_slice(&4i32.to_be_bytes());
        bytes
    }

    #[test]
    fn fields_are_read_at_their_places() {
        let header = BatchHeader::parse(&bytes()).unwrap();
        assert_eq!((header.base_offset, header.size_bytes, header.leader_epoch), (Offset(7), 112, LeaderEpoch(3)));
        assert_eq!((header.last_offset(), header.next_offset()), (Offset(11), Offset(12)));
        assert!(header.is_transactional() && header.is_control());
    }

    #[test]
    fn what_no_batch_can_say_is_refused() {
        assert_eq!(BatchHeader::parse(&bytes()[..60]), None);
        assert_eq!(BatchHeader::parse(&[0; 100]), None, "zeros, as an unwritten page has");
        for (place, field) in [(8, 48i32), (8, -1), (23, -1)] {
            let mut bytes = bytes();
            bytes[place..place + 4].copy_from_slice(&field.to_be_bytes());
            assert_eq!(BatchHeader::parse(&bytes), None, "{field} at {place}");
        }
        let mut negative = bytes();
        negative[0] = 0xff;
        assert_eq!(BatchHeader::parse(&negative), None);
        let mut magic = bytes();
        magic[16] = 1;
        assert_eq!(BatchHeader::parse(&magic), None);
    }
}
