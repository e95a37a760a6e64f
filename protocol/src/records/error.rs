//! What can be wrong with a record batch, down to the field.

use thiserror::Error;

/// Why bytes are not a sound record batch.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BatchError {
    /// Fewer bytes than the header or the declared length needs.
    #[error("the batch needs {needed} bytes, {left} are there")]
    Truncated {
        /// Bytes needed.
        needed: usize,
        /// Bytes there are.
        left: usize,
    },
    /// A length that leaves no room for the header.
    #[error("batch length {length} is below the minimum of 49")]
    BadLength {
        /// The declared length.
        length: i32,
    },
    /// Another format version than 2.
    #[error("format version (magic) {magic} is not 2")]
    BadMagic {
        /// The declared version.
        magic: i8,
    },
    /// The checksum does not fit the bytes.
    #[error("the CRC-32C of the batch is {actual:08x}, its header says {declared:08x}")]
    BadCrc {
        /// What the header says.
        declared: u32,
        /// What the bytes give.
        actual: u32,
    },
    /// A codec that does not exist.
    #[error("compression codec {codec} is unknown")]
    UnknownCodec {
        /// The three bits.
        codec: u8,
    },
    /// The compressed records do not decompress.
    #[error("the {codec} records of the batch are damaged: {reason}")]
    Decompression {
        /// The codec.
        codec: super::Compression,
        /// What the codec says.
        reason: String,
    },
    /// Decompressed records would be larger than allowed.
    #[error("the records of the batch decompress to more than {limit} bytes")]
    TooLargeDecompressed {
        /// The limit in bytes.
        limit: usize,
    },
    /// Records that another codec makes larger than allowed.
    #[error("the records of the batch compress to {size} bytes, {limit} are allowed")]
    TooLargeCompressed {
        /// The size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Bytes that belong to nothing behind the compressed records.
    #[error("{bytes} bytes follow the compressed records")]
    TrailingBytes {
        /// How many.
        bytes: usize,
    },
    /// Fewer records than the header says.
    #[error("the header says {declared} records, there are {actual}")]
    TooFewRecords {
        /// What the header says.
        declared: i32,
        /// How many there are.
        actual: i32,
    },
    /// Bytes of more records than the header says.
    #[error("bytes of more than the {declared} records of the header follow")]
    TooManyRecords {
        /// What the header says.
        declared: i32,
    },
    /// A count that no batch has.
    #[error("record count {count} with a last offset delta of {last_offset_delta}")]
    BadCount {
        /// The declared count.
        count: i32,
        /// The declared delta.
        last_offset_delta: i32,
    },
    /// A record that does not make sense.
    #[error("record {index}: {error}")]
    Record {
        /// Which, from 0.
        index: i32,
        /// What is wrong with it.
        error: RecordError,
    },
}

/// What is wrong with one record.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The bytes end inside of it.
    #[error("it ends in the middle")]
    Truncated,
    /// A variable-length integer that does not end or does not fit.
    #[error("a variable-length integer does not end")]
    BadVarint,
    /// A length that nothing has.
    #[error("{what} has the length {length}")]
    BadLength {
        /// Of what.
        what: &'static str,
        /// The length as declared.
        length: i32,
    },
    /// Its fields take more or fewer bytes than its length says.
    #[error("its fields take {actual} bytes, its length says {declared}")]
    LengthMismatch {
        /// What its length says.
        declared: i32,
        /// What its fields take.
        actual: i64,
    },
    /// An offset delta out of order.
    #[error("its offset delta is {actual}, {expected} is due")]
    BadOffsetDelta {
        /// The delta as declared.
        actual: i32,
        /// The one that was due.
        expected: i32,
    },
    /// The codec fails in the middle of it; the batch's error says how.
    #[error("it does not decompress")]
    Undecodable,
}
