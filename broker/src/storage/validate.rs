//! Turns the bytes of a produce request into a [`ValidatedBatch`], or says what is wrong with them.
//!
//! Pure: no I/O, no state; the clock is an argument. Every record is walked, compressed or not, so that what the log keeps
//! can be read by any client. The bytes are kept as they came unless the topic asks for another codec; only the header is
//! rewritten, where the topic stamps the time or the producer understated it.
//!
//! Stricter than Kafka 4.3 where it accepts what readers then stumble over: offset deltas must be 0, 1, 2 and so on, the
//! decompressed size is bounded, nothing may follow the compressed records.

use bytes::Bytes;
use ottla_protocol::records::{
    BatchError, BatchSummary, BatchView, Compression, OffsetDeltas, RecordShape, TimestampType, crc32c_of_parts,
};
use thiserror::Error;

use super::batch_header::{CRC_COVERS_FROM, HEADER_BYTES, LENGTH_OVERHEAD, LOG_APPEND_TIME_BIT};
use super::validated_batch::ValidatedBatch;
use crate::config::{MessageTimestampType, StoredCompression, TopicConfig};

/// Record errors that are listed one by one; the rest is only counted.
const RECORD_ERRORS_MAX: usize = 1_000;
/// The timestamp of a record that has none.
const NO_TIMESTAMP: i64 = -1;
/// The bits of the attributes that name the codec.
const CODEC_BITS: i16 = 0x07;

/// What a topic demands of the batches that are produced to it.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidateRules {
    /// Largest batch in bytes, as produced and as stored.
    pub max_message_bytes: usize,
    /// Largest size in bytes of a batch's records when decompressed.
    pub max_decompressed_bytes: usize,
    /// Every record needs a key.
    pub compacted: bool,
    /// The broker stamps the records.
    pub log_append_time: bool,
    /// How many milliseconds a timestamp may lie behind the broker's clock.
    pub timestamp_before_max_ms: i64,
    /// How many milliseconds a timestamp may lie ahead of the broker's clock.
    pub timestamp_after_max_ms: i64,
    /// The codec to store batches with, `None` for the producer's.
    pub stored_compression: Option<Compression>,
    /// The level of that codec.
    pub compression_level: Option<i32>,
}

impl ValidateRules {
    /// The rules that follow from a topic's configuration.
    pub fn new(config: &TopicConfig, max_decompressed_bytes: usize) -> Self {
        let (stored_compression, compression_level) = match config.compression_type {
            StoredCompression::Producer => (None, None),
            StoredCompression::Uncompressed => (Some(Compression::None), None),
            StoredCompression::Gzip => (Some(Compression::Gzip), Some(config.compression_gzip_level)),
            StoredCompression::Snappy => (Some(Compression::Snappy), None),
            StoredCompression::Lz4 => (Some(Compression::Lz4), Some(config.compression_lz4_level)),
            StoredCompression::Zstd => (Some(Compression::Zstd), Some(config.compression_zstd_level)),
        };
        Self {
            max_message_bytes: usize::try_from(config.max_message_bytes).unwrap_or(0),
            max_decompressed_bytes,
            compacted: config.cleanup_policy.compact,
            log_append_time: config.message_timestamp_type == MessageTimestampType::LogAppendTime,
            timestamp_before_max_ms: config.message_timestamp_before_max_ms,
            timestamp_after_max_ms: config.message_timestamp_after_max_ms,
            stored_compression,
            compression_level,
        }
    }
}

/// A record that was refused, by its place in the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRecord {
    /// From 0.
    pub batch_index: i32,
    /// Why, for people.
    pub reason: String,
}

/// Why a batch was refused. Each variant has one error code; see `api/error_map.rs`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ValidateError {
    /// No batch, or more than one.
    #[error("a produce request has exactly one record batch a partition: {0}")]
    NotOneBatch(&'static str),
    /// Damaged on the way: length, version or checksum. Sending it again may help.
    #[error("{0}")]
    Corrupt(BatchError),
    /// Sent as it is, and not a batch that a log can keep.
    #[error("{0}")]
    InvalidRecord(BatchError),
    /// Header fields that contradict each other or that only a broker may set.
    #[error("{0}")]
    InvalidHeader(String),
    /// Larger than the topic takes.
    #[error("the batch has {size} bytes, max.message.bytes is {limit}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The topic's limit.
        limit: usize,
    },
    /// A codec that does not exist.
    #[error("compression codec {codec} is unknown")]
    UnknownCodec {
        /// The three bits of the attributes.
        codec: u8,
    },
    /// A batch of a transaction that this partition does not know of.
    #[error("the batch is transactional and its producer has no open transaction here")]
    NoTransaction,
    /// Records without a key on a compacted topic.
    #[error("{} records have no key, which a compacted topic needs (first: record {})", .total, .records[0].batch_index)]
    KeysMissing {
        /// The first of them.
        records: Vec<RefusedRecord>,
        /// How many there are.
        total: usize,
    },
    /// Records whose timestamps the topic does not take, and those without a key beside them: as Kafka, one bad timestamp
    /// decides about the error of the batch.
    #[error("{} records were refused, at least one for its timestamp (first: {})", .total, .records[0].reason)]
    InvalidTimestamp {
        /// The first of them.
        records: Vec<RefusedRecord>,
        /// How many there are.
        total: usize,
    },
}

impl ValidateError {
    /// The records that were refused one by one (KIP-467).
    pub fn refused_records(&self) -> &[RefusedRecord] {
        match self {
            Self::KeysMissing { records, .. } | Self::InvalidTimestamp { records, .. } => records,
            _ => &[],
        }
    }
}

/// Checks what a client produced to one partition. `now_ms` is the broker's clock, in milliseconds since 1970.
///
/// # Errors
/// The first rule that the bytes break.
pub fn validate(records: &Bytes, rules: &ValidateRules, now_ms: i64) -> Result<ValidatedBatch, ValidateError> {
    let batch = one_batch(records)?;
    check_header(&batch, rules)?;
    batch.check_crc().map_err(ValidateError::Corrupt)?;
    let codec = batch.compression().map_err(as_invalid)?;
    let mut findings = Findings::new(&batch, rules, now_ms);
    let summary = batch
        .check_records(OffsetDeltas::Dense, rules.max_decompressed_bytes, |record| findings.see(record))
        .map_err(as_invalid)?;
    findings.verdict()?;
    let stored = match rules.stored_compression.filter(|&stored| stored != codec) {
        Some(codec) => {
            let limit = rules.max_message_bytes.saturating_sub(HEADER_BYTES);
            let records = batch.recompress(codec, rules.compression_level, &summary, limit).map_err(as_invalid)?;
            Stored { codec, records: Bytes::from(records) }
        }
        None => Stored { codec, records: batch.payload() },
    };
    Ok(finish(&batch, stored, &summary, rules, now_ms))
}

fn one_batch(records: &Bytes) -> Result<BatchView, ValidateError> {
    if records.is_empty() {
        return Err(ValidateError::NotOneBatch("there is none"));
    }
    match BatchView::split(records) {
        Ok((batch, rest)) if rest.is_empty() => Ok(batch),
        Ok(_) => Err(ValidateError::NotOneBatch("more bytes follow the first one")),
        Err(error @ BatchError::BadMagic { magic: 0 | 1 }) => Err(ValidateError::InvalidRecord(error)),
        Err(error) => Err(ValidateError::Corrupt(error)),
    }
}

fn check_header(batch: &BatchView, rules: &ValidateRules) -> Result<(), ValidateError> {
    let (size, limit) = (batch.size_in_bytes(), rules.max_message_bytes);
    if size > limit {
        return Err(ValidateError::TooLarge { size, limit });
    }
    let refuse = |why: String| Err(ValidateError::InvalidHeader(why));
    if batch.base_offset() != 0 {
        return refuse(format!("the base offset of a produced batch is 0, not {}", batch.base_offset()));
    }
    if batch.is_control() {
        return refuse("only brokers write control batches".to_owned());
    }
    if batch.has_delete_horizon() {
        return refuse("only brokers set a delete horizon".to_owned());
    }
    if batch.producer_id() >= 0 && (batch.base_sequence() < 0 || batch.producer_epoch() < 0) {
        return refuse(format!(
            "producer {} sent sequence {} and epoch {}: an idempotent batch has both",
            batch.producer_id(),
            batch.base_sequence(),
            batch.producer_epoch()
        ));
    }
    if batch.is_transactional() {
        return Err(ValidateError::NoTransaction);
    }
    Ok(())
}

/// Sound to the checksum, so it was sent as it is: trying again will not help.
fn as_invalid(error: BatchError) -> ValidateError {
    match error {
        BatchError::UnknownCodec { codec } => ValidateError::UnknownCodec { codec },
        BatchError::TooLargeCompressed { size, limit } => {
            ValidateError::TooLarge { size: HEADER_BYTES + size, limit: HEADER_BYTES + limit }
        }
        error => ValidateError::InvalidRecord(error),
    }
}

/// What the walk over the records turns up beside their form.
struct Findings<'a> {
    rules: &'a ValidateRules,
    now_ms: i64,
    /// The batch says that a broker stamped it.
    claims_append_time: bool,
    refused: Vec<RefusedRecord>,
    refused_total: usize,
    timestamp_refused: bool,
}

impl<'a> Findings<'a> {
    fn new(batch: &BatchView, rules: &'a ValidateRules, now_ms: i64) -> Self {
        let claims_append_time = batch.timestamp_type() == TimestampType::LogAppendTime;
        Self { rules, now_ms, claims_append_time, refused: Vec::new(), refused_total: 0, timestamp_refused: false }
    }

    #[inline]
    fn see(&mut self, record: RecordShape) {
        if record.key_is_null && self.rules.compacted {
            self.refuse(record, || "a compacted topic needs a key".to_owned());
        } else if self.claims_append_time {
            self.timestamp_refused = true;
            self.refuse(record, || "only brokers stamp records with the time of the append".to_owned());
        } else if !self.timestamp_is_within_bounds(record.timestamp) {
            self.timestamp_refused = true;
            let (rules, now_ms) = (self.rules, self.now_ms);
            self.refuse(record, || {
                format!(
                    "timestamp {} is not within {} ms before and {} ms after the broker's clock, {now_ms}",
                    record.timestamp, rules.timestamp_before_max_ms, rules.timestamp_after_max_ms
                )
            });
        }
    }

    #[inline]
    fn timestamp_is_within_bounds(&self, timestamp: i64) -> bool {
        if self.rules.log_append_time || timestamp == NO_TIMESTAMP {
            return true;
        }
        // A distance beyond 64 bits is beyond every bound.
        self.now_ms.checked_sub(timestamp).is_some_and(|age_ms| {
            age_ms <= self.rules.timestamp_before_max_ms && age_ms >= self.rules.timestamp_after_max_ms.saturating_neg()
        })
    }

    /// `reason` is asked for only while it is listed: a batch can hold tens of millions of records to refuse.
    #[cold]
    fn refuse(&mut self, record: RecordShape, reason: impl FnOnce() -> String) {
        self.refused_total += 1;
        if self.refused.len() < RECORD_ERRORS_MAX {
            self.refused.push(RefusedRecord { batch_index: record.index, reason: reason() });
        }
    }

    fn verdict(self) -> Result<(), ValidateError> {
        let (records, total) = (self.refused, self.refused_total);
        match total {
            0 => Ok(()),
            _ if self.timestamp_refused => Err(ValidateError::InvalidTimestamp { records, total }),
            _ => Err(ValidateError::KeysMissing { records, total }),
        }
    }
}

/// The records as the log is to keep them.
struct Stored {
    codec: Compression,
    records: Bytes,
}

/// Writes what the log is to have into a copy of the header, with a new checksum where anything changed.
fn finish(
    batch: &BatchView,
    stored: Stored,
    summary: &BatchSummary,
    rules: &ValidateRules,
    now_ms: i64,
) -> ValidatedBatch {
    let mut header: [u8; HEADER_BYTES] =
        batch.bytes()[..HEADER_BYTES].try_into().expect("a batch view holds a whole header");
    let length = i32::try_from(HEADER_BYTES + stored.records.len() - LENGTH_OVERHEAD)
        .expect("it is within max.message.bytes, which is an i32");
    let kept = batch.attributes() & !(CODEC_BITS | LOG_APPEND_TIME_BIT);
    let stamp = if rules.log_append_time { LOG_APPEND_TIME_BIT } else { 0 };
    let attributes = kept | stamp | stored.codec as i16;
    let max_timestamp = if rules.log_append_time { now_ms } else { summary.max_timestamp.max(NO_TIMESTAMP) };
    header[8..12].copy_from_slice(&length.to_be_bytes());
    header[21..23].copy_from_slice(&attributes.to_be_bytes());
    header[35..43].copy_from_slice(&max_timestamp.to_be_bytes());
    if header[8..] != batch.bytes()[8..HEADER_BYTES] {
        let crc = crc32c_of_parts(&[&header[CRC_COVERS_FROM..], &stored.records]);
        header[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    ValidatedBatch::new(header, stored.records)
}

#[cfg(test)]
#[path = "validate_test.rs"]
mod tests;
