//! Records as applications see them, read out of a batch.

use bytes::Bytes;

use super::batch::{BatchView, TimestampType};
use super::compression::Compression;
use super::error::{BatchError, RecordError};
use super::source::{SliceSource, Source};

/// A name and a value beside a record's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The name; need not be unique within a record.
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
            codec => Bytes::from(codec.decompress(&self.payload(), limit)?),
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
        let payload = self.payload.slice(self.position..);
        let mut source = SliceSource::new(&payload);
        let length = source.required_length("a record")?;
        if length > source.remaining() {
            return Err(RecordError::Truncated);
        }
        let end = source.position() + length;
        let mut source = Fields { source, payload: &payload, end };
        source.attributes()?;
        let timestamp_delta = source.source.varlong()?;
        let offset_delta = source.source.varint()?;
        let key = source.bytes("a key")?;
        let value = source.bytes("a value")?;
        let headers = source.headers()?;
        if source.source.position() != end {
            let start = end - length;
            let actual = source.source.position() as i64 - start as i64;
            return Err(RecordError::LengthMismatch { declared: length as i32, actual });
        }
        self.position += end;
        Ok(Record {
            offset: self.base_offset.saturating_add(i64::from(offset_delta)),
            timestamp: self.append_time.unwrap_or_else(|| self.base_timestamp.saturating_add(timestamp_delta)),
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

struct Fields<'a> {
    source: SliceSource<'a>,
    payload: &'a Bytes,
    end: usize,
}

impl Fields<'_> {
    fn attributes(&mut self) -> Result<(), RecordError> {
        self.source.byte()?.ok_or(RecordError::Truncated).map(drop)
    }

    fn bytes(&mut self, what: &'static str) -> Result<Option<Bytes>, RecordError> {
        let Some(length) = self.source.length(what)? else { return Ok(None) };
        let start = self.source.position();
        self.source.skip(length)?;
        Ok(Some(self.payload.slice(start..start + length)))
    }

    fn headers(&mut self) -> Result<Vec<Header>, RecordError> {
        let count = self.source.varint()?;
        let count =
            usize::try_from(count).map_err(|_| RecordError::BadLength { what: "the header list", length: count })?;
        // Two bytes is the least that a header takes.
        if count > self.end.saturating_sub(self.source.position()) / 2 {
            return Err(RecordError::Truncated);
        }
        let mut headers = Vec::with_capacity(count);
        for _ in 0..count {
            let key = self.bytes("a header key")?.ok_or(RecordError::BadLength { what: "a header key", length: -1 })?;
            let key = String::from_utf8(key.into()).map_err(|_| RecordError::HeaderKeyNotUtf8)?;
            headers.push(Header { key, value: self.bytes("a header value")? });
        }
        Ok(headers)
    }
}
