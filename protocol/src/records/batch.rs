//! One record batch, seen through its header without copying.
//!
//! Invariant: a [`BatchView`] holds exactly the bytes that its length declares, at least a header, of format version 2.
//! Nothing else of it has been checked; see [`BatchView::check_crc`] and `check.rs`.

use bytes::{Bytes, BytesMut};

use super::compression::Compression;
use super::crc32c::crc32c;
use super::error::BatchError;

/// Bytes of the header, up to the first record.
pub const HEADER_BYTES: usize = 61;
/// Bytes in front of what the batch length counts.
const LENGTH_PREFIX_BYTES: usize = 12;
/// Where the bytes start that the CRC covers.
const CRC_COVERS_FROM: usize = 21;

/// Attribute bits.
const TIMESTAMP_TYPE_BIT: i16 = 0x08;
const TRANSACTIONAL_BIT: i16 = 0x10;
const CONTROL_BIT: i16 = 0x20;
const DELETE_HORIZON_BIT: i16 = 0x40;

/// Whose clock stamped the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, as it appended them.
    LogAppendTime,
}

/// A record batch of format version 2.
#[derive(Clone, PartialEq, Eq)]
pub struct BatchView {
    bytes: Bytes,
}

impl std::fmt::Debug for BatchView {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("BatchView")
            .field("base_offset", &self.base_offset())
            .field("record_count", &self.record_count())
            .field("size_in_bytes", &self.size_in_bytes())
            .finish_non_exhaustive()
    }
}

impl BatchView {
    /// Takes the batch at the start of `bytes` and returns it with what follows it.
    ///
    /// # Errors
    /// Its length or its version is wrong.
    pub fn split(bytes: &Bytes) -> Result<(Self, Bytes), BatchError> {
        let size = declared_size(bytes)?;
        let batch = Self { bytes: bytes.slice(..size) };
        if batch.magic() != 2 {
            return Err(BatchError::BadMagic { magic: batch.magic() });
        }
        Ok((batch, bytes.slice(size..)))
    }

    /// The whole batch.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What follows the header: records, compressed or not.
    pub fn payload(&self) -> Bytes {
        self.bytes.slice(HEADER_BYTES..)
    }

    /// Bytes of header and records.
    pub fn size_in_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The offset of the first record; producers write 0.
    pub fn base_offset(&self) -> i64 {
        i64::from_be_bytes(self.field(0))
    }

    /// The offset of the last record.
    pub fn last_offset(&self) -> i64 {
        self.base_offset().saturating_add(i64::from(self.last_offset_delta()))
    }

    /// The leader epoch that the broker wrote; not covered by the CRC.
    pub fn partition_leader_epoch(&self) -> i32 {
        i32::from_be_bytes(self.field(12))
    }

    /// The format version.
    pub fn magic(&self) -> i8 {
        self.bytes[16] as i8
    }

    /// The checksum that the header declares.
    pub fn crc(&self) -> u32 {
        u32::from_be_bytes(self.field(17))
    }

    /// Codec, timestamp type and flags.
    pub fn attributes(&self) -> i16 {
        i16::from_be_bytes(self.field(21))
    }

    /// The codec.
    ///
    /// # Errors
    /// There is no such codec.
    pub fn compression(&self) -> Result<Compression, BatchError> {
        Compression::from_attributes(self.attributes())
    }

    /// Whose clock stamped the records.
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes() & TIMESTAMP_TYPE_BIT == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// True for a batch of a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes() & TRANSACTIONAL_BIT != 0
    }

    /// True for the markers that brokers write.
    pub fn is_control(&self) -> bool {
        self.attributes() & CONTROL_BIT != 0
    }

    /// True when the base timestamp is the time from which on tombstones may go (KIP-534).
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes() & DELETE_HORIZON_BIT != 0
    }

    /// The last record's offset less the base offset.
    pub fn last_offset_delta(&self) -> i32 {
        i32::from_be_bytes(self.field(23))
    }

    /// What the records' timestamps are relative to, in milliseconds since 1970.
    pub fn base_timestamp(&self) -> i64 {
        i64::from_be_bytes(self.field(27))
    }

    /// The highest timestamp, in milliseconds since 1970.
    pub fn max_timestamp(&self) -> i64 {
        i64::from_be_bytes(self.field(35))
    }

    /// The idempotent producer, or -1.
    pub fn producer_id(&self) -> i64 {
        i64::from_be_bytes(self.field(43))
    }

    /// Its epoch, or -1.
    pub fn producer_epoch(&self) -> i16 {
        i16::from_be_bytes(self.field(51))
    }

    /// The sequence number of the first record, or -1.
    pub fn base_sequence(&self) -> i32 {
        i32::from_be_bytes(self.field(53))
    }

    /// How many records the header declares.
    pub fn record_count(&self) -> i32 {
        i32::from_be_bytes(self.field(57))
    }

    /// Compares the checksum with the bytes that it covers.
    ///
    /// # Errors
    /// They do not agree.
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let actual = crc32c(&self.bytes[CRC_COVERS_FROM..]);
        let declared = self.crc();
        if actual == declared { Ok(()) } else { Err(BatchError::BadCrc { declared, actual }) }
    }

    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        self.bytes[at..at + N].try_into().expect("the header is there")
    }
}

/// The same batch as if another producer had sent it, or the same one under other sequence numbers: what is left to
/// change in a batch that was built.
///
/// # Panics
/// `batch` is shorter than a batch's header.
pub fn with_producer(batch: Bytes, producer_id: i64, producer_epoch: i16, base_sequence: i32) -> Bytes {
    let mut bytes = BytesMut::from(batch);
    bytes[43..51].copy_from_slice(&producer_id.to_be_bytes());
    bytes[51..53].copy_from_slice(&producer_epoch.to_be_bytes());
    bytes[53..57].copy_from_slice(&base_sequence.to_be_bytes());
    let crc = crc32c(&bytes[CRC_COVERS_FROM..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.freeze()
}

/// The size of the batch at the start of `bytes`, when all of it is there.
fn declared_size(bytes: &[u8]) -> Result<usize, BatchError> {
    let left = bytes.len();
    let truncated = |needed| BatchError::Truncated { needed, left };
    let prefix = bytes.first_chunk::<LENGTH_PREFIX_BYTES>().ok_or(truncated(HEADER_BYTES))?;
    let length = i32::from_be_bytes([prefix[8], prefix[9], prefix[10], prefix[11]]);
    let size = usize::try_from(length).unwrap_or(0) + LENGTH_PREFIX_BYTES;
    if length < 0 || size < HEADER_BYTES {
        // Older formats have shorter headers: say what it is rather than what it is not.
        if let Some(&magic) = bytes.get(16).filter(|&&magic| magic < 2 && length >= 14) {
            return Err(BatchError::BadMagic { magic: magic as i8 });
        }
        return Err(BatchError::BadLength { length });
    }
    if size > left {
        return Err(truncated(size));
    }
    Ok(size)
}

/// The batches in some bytes, one after the other.
#[derive(Debug)]
pub struct Batches {
    rest: Bytes,
    /// A batch that is cut off ends the iteration instead of being an error.
    lenient: bool,
}

/// Every batch in `bytes`, which must hold nothing else.
pub fn batches(bytes: Bytes) -> Batches {
    Batches { rest: bytes, lenient: false }
}

/// The whole batches in `bytes`; the last one may be cut off, as a fetch may return it.
pub fn batches_lenient(bytes: Bytes) -> Batches {
    Batches { rest: bytes, lenient: true }
}

impl Iterator for Batches {
    type Item = Result<BatchView, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match BatchView::split(&self.rest) {
            Ok((batch, rest)) => {
                self.rest = rest;
                Some(Ok(batch))
            }
            Err(error) => {
                self.rest = Bytes::new();
                let cut_off = self.lenient && matches!(error, BatchError::Truncated { .. });
                (!cut_off).then_some(Err(error))
            }
        }
    }
}
