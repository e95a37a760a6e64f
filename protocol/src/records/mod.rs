//! Record batches of format version 2: reading them without copying, checking them deeply, building them.
//!
//! The format is Kafka's since KIP-98: a header of 61 bytes, of which a CRC-32C covers all from the attributes on, and then the
//! records, compressed together or not at all.

mod batch;
mod builder;
mod check;
mod compact;
mod compression;
mod crc32c;
mod decoder;
mod error;
mod recompress;
mod record;
mod source;
mod varint;

pub use batch::{BatchView, Batches, HEADER_BYTES, TimestampType, batches, batches_lenient, with_producer};
pub use builder::{BatchBuilder, BatchFields};
pub use check::{BatchSummary, OffsetDeltas, RecordShape};
pub use compact::{CompactedBatch, PlainRecords, RecordPlace, RecordSummary, empty_batch, extend_to};
pub use compression::Compression;
pub use crc32c::{Crc32c, crc32c, crc32c_of_parts};
pub use error::{BatchError, RecordError};
pub use record::{Header, Record, RecordIter};
