//! Records as applications see them, read out of a batch.

use bytes::Bytes;

use super::batch::{BatchView, HEADER_BYTES, TimestampType};
use super::compression::Compression;
use super::error::{BatchError, RecordError};
use super::source::{SliceSource, Source};

/// A name and a value beside a record's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The name; need not be unique within a record. Bytes that are not UTF-8 read as U+FFFD.
    pub key: String,
    /// The value, or null.
    pub value: Option<Bytes>,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// The key, or null.
    pub key: Option<Bytes>,
    /// The value, or null.
    pub value: Option<Bytes>,
    /// The headers, in order.
    pub headers: Vec<Header>,
}

impl BatchView {
    /// The records of the batch. Keys and values are slices of the batch, or of its decompressed form, of which at most
    /// `limit` bytes are made.
    ///
    /// # Errors
    /// The records do not decompress; what is wrong with single ones comes from the iterator.
    pub fn records(&self, limit: usize) -> Result<RecordIter, BatchError> {
        let payload = match self.compression()? {
            Compression::None => self.payload(),
            codec => Bytes::from(codec.decompress(&self.bytes()[HEADER_BYTES..], limit)?),
        };
        Ok(RecordIter {
            payload,
            position: 0,
            base_offset: self.base_offset(),
            base_timestamp: self.base_timestamp(),
            append_time: (self.timestamp_type() == TimestampType::LogAppendTime).then(|| self.max_timestamp()),
            index: 0,
            count: self.record_count(),
        })
    }
}

/// Iterates over the records of a batch. Ends after the first error.
#[derive(Debug)]
pub struct RecordIter {
    payload: Bytes,
    position: usize,
    base_offset: i64,
    base_timestamp: i64,
    append_time: Option<i64>,
    index: i32,
    count: i32,
}

impl RecordIter {
    fn read(&mut self) -> Result<Record, RecordError> {
        let rest = self.payload.slice(self.position..);
        let mut length = SliceSource::new(&rest);
        let declared = length.required_length("a record")?;
        let start = length.offset();
        // Fields are read within the record only, so that none can reach into the next one.
        let end = start.checked_add(declared).filter(|&end| end <= rest.len()).ok_or(RecordError::Truncated)?;
        let record = rest.slice(start..end);
        let mut fields = Fields { source: SliceSource::new(&record), record: &record };
        fields.source.skip(1)?; // attributes, of which none are in use
        let timestamp_delta = fields.source.varlong()?;
        let offset_delta = fields.source.varint()?;
        let key = fields.bytes("a key")?;
        let value = fields.bytes("a value")?;
        let headers = fields.headers()?;
        let actual = fields.source.offset();
        if actual != declared {
            let declared = i32::try_from(declared).unwrap_or(i32::MAX);
            return Err(RecordError::LengthMismatch { declared, actual: actual as i64 });
        }
        self.position += end;
        Ok(Record {
            offset: self.base_offset.saturating_add(i64::from(offset_delta)),
            timestamp: self.append_time.unwrap_or_else(|| self.base_timestamp.wrapping_add(timestamp_delta)),
            key,
            value,
            headers,
        })
    }
}

impl Iterator for RecordIter {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.count {
            return None;
        }
        let index = self.index;
        self.index += 1;
        Some(self.read().map_err(|error| {
            self.index = self.count;
            BatchError::Record { index, error }
        }))
    }
}

/// Headers that room is made for before they are seen.
const HEADERS_EXPECTED_MAX: usize = 64;

struct Fields<'a> {
    source: SliceSource<'a>,
    record: &'a Bytes,
}

impl Fields<'_> {
    fn bytes(&mut self, what: &'static str) -> Result<Option<Bytes>, RecordError> {
        let Some(length) = self.source.length(what)? else { return Ok(None) };
        let start = self.source.offset();
        self.source.skip(length)?;
        Ok(Some(self.record.slice(start..start + length)))
    }

    fn headers(&mut self) -> Result<Vec<Header>, RecordError> {
        let count = self.source.required_length("the header list")?;
        let mut headers = Vec::with_capacity(count.min(HEADERS_EXPECTED_MAX));
        for _ in 0..count {
            let key = self.bytes("a header key")?.ok_or(RecordError::BadLength { what: "a header key", length: -1 })?;
            // Brokers keep names that are not UTF-8: one such record must not make the partition unreadable.
            let key = String::from_utf8_lossy(&key).into_owned();
            headers.push(Header { key, value: self.bytes("a header value")? });
        }
        Ok(headers)
    }
}
