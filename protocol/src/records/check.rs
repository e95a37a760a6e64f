//! The deep check of a batch: every record is walked, compressed or not, without being kept.
//!
//! Takes time linear in the bytes that come out of the decompressor, which the caller bounds, and constant memory.

use super::batch::{BatchView, HEADER_BYTES, TimestampType};
use super::compression::Compression;
use super::decoder::{Decoder, decompression_error};
use super::error::{BatchError, RecordError};
use super::source::{SliceSource, Source, StreamSource};
use super::varint::{Head, read_varint};

/// Which offset deltas are sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetDeltas {
    /// 0, 1, 2 and so on: what a producer sends.
    Dense,
    /// Rising: what compaction leaves.
    Rising,
}

/// What the walk over the records found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSummary {
    /// How many records there are.
    pub record_count: i32,
    /// The highest timestamp, in milliseconds since 1970; -1 when no record has one.
    pub max_timestamp: i64,
    /// The offset delta of the first record with that timestamp.
    pub offset_delta_of_max_timestamp: i32,
    /// Bytes of all records, decompressed.
    pub records_bytes: u64,
}

/// What the walk tells of each record.
#[derive(Debug, Clone, Copy)]
pub struct RecordShape {
    /// Which it is, from 0.
    pub index: i32,
    /// Its timestamp, in milliseconds since 1970.
    pub timestamp: i64,
    /// Whether its key is null.
    pub key_is_null: bool,
}

impl BatchView {
    /// Walks every record: lengths, counts, deltas, and no byte too many or too few. Decompresses at most `limit` bytes.
    /// `see` is told of each record in turn.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check_records(
        &self,
        deltas: OffsetDeltas,
        limit: usize,
        see: impl FnMut(RecordShape),
    ) -> Result<BatchSummary, BatchError> {
        let payload = &self.bytes()[HEADER_BYTES..];
        let codec = self.compression()?;
        if codec == Compression::None {
            return self.walk(&mut SliceSource::new(payload), deltas, see);
        }
        let mut source = StreamSource::new(Decoder::new(codec, payload, limit));
        let walked = self.walk(&mut source, deltas, see);
        if let Some(failure) = source.failure.take() {
            return Err(decompression_error(codec, limit, &failure));
        }
        let summary = walked?;
        match source.into_inner().unread() {
            0 => Ok(summary),
            bytes => Err(BatchError::TrailingBytes { bytes }),
        }
    }

    fn walk(
        &self,
        source: &mut impl Source,
        deltas: OffsetDeltas,
        mut see: impl FnMut(RecordShape),
    ) -> Result<BatchSummary, BatchError> {
        let declared = self.record_count();
        let last_delta = self.last_offset_delta();
        let fits = match deltas {
            OffsetDeltas::Dense => declared > 0 && last_delta == declared - 1,
            OffsetDeltas::Rising => declared >= 0 && last_delta >= declared.saturating_sub(1),
        };
        if !fits {
            return Err(BatchError::BadCount { count: declared, last_offset_delta: last_delta });
        }
        let append_time = (self.timestamp_type() == TimestampType::LogAppendTime).then(|| self.max_timestamp());
        let mut walker = Walker { base_timestamp: self.base_timestamp(), append_time, deltas, due: 0 };
        let mut summary =
            BatchSummary { record_count: 0, max_timestamp: -1, offset_delta_of_max_timestamp: 0, records_bytes: 0 };
        for index in 0..declared {
            let located = |error| BatchError::Record { index, error };
            // The end between two records is another mistake than one in the middle of a record.
            if source.is_at_end().map_err(located)? {
                return Err(BatchError::TooFewRecords { declared, actual: index });
            }
            let record = walker.record(source).map_err(located)?;
            if record.offset_delta > last_delta {
                let error = RecordError::BadOffsetDelta { actual: record.offset_delta, expected: last_delta };
                return Err(located(error));
            }
            see(RecordShape { index, timestamp: record.timestamp, key_is_null: record.key_is_null });
            if index == 0 || record.timestamp > summary.max_timestamp {
                summary.max_timestamp = record.timestamp;
                summary.offset_delta_of_max_timestamp = record.offset_delta;
            }
            summary.record_count += 1;
        }
        summary.records_bytes = source.position();
        // Asking for one byte more also makes a decompressor check its own trailer.
        match source.is_at_end() {
            Ok(true) => Ok(summary),
            Ok(false) => Err(BatchError::TooManyRecords { declared }),
            Err(error) => Err(BatchError::Record { index: declared, error }),
        }
    }
}

struct Walker {
    base_timestamp: i64,
    append_time: Option<i64>,
    deltas: OffsetDeltas,
    /// The lowest offset delta that the next record may have.
    due: i32,
}

struct Walked {
    timestamp: i64,
    offset_delta: i32,
    key_is_null: bool,
}

/// What nearly every record is: sound, wholly in the window, without headers.
struct SimpleRecord {
    timestamp_delta: i64,
    offset_delta: i32,
    key_is_null: bool,
    size_bytes: usize,
}

impl SimpleRecord {
    /// The record at the start of `window`; `None` if there is anything else, whatever that is.
    #[inline(always)]
    fn read(window: &[u8]) -> Option<SimpleRecord> {
        let mut head = Head::of(window)?;
        let declared = head.varint()?;
        let size_bytes = head.at + usize::try_from(declared).ok()?;
        head.at += 1; // attributes, of which none are in use
        let timestamp_delta = head.varlong()?;
        let offset_delta = head.varint()?;
        let key_length = head.varint()?;
        let mut at = head.at + length_bytes(key_length)?;
        let (value_length, value_length_bytes) = read_varint(window.get(at..)?).ok()??;
        at += value_length_bytes + length_bytes(value_length)?;
        let has_no_headers = at + 1 == size_bytes && *window.get(at)? == 0;
        has_no_headers.then_some(SimpleRecord {
            timestamp_delta,
            offset_delta,
            key_is_null: key_length == -1,
            size_bytes,
        })
    }
}

/// Bytes that follow a length, which is -1 for null.
#[inline(always)]
fn length_bytes(length: i32) -> Option<usize> {
    if length == -1 { Some(0) } else { usize::try_from(length).ok() }
}

impl Walker {
    #[inline(always)]
    fn record<S: Source>(&mut self, source: &mut S) -> Result<Walked, RecordError> {
        match SimpleRecord::read(source.window()) {
            Some(simple) if self.is_sound(simple.offset_delta) => {
                source.consume(simple.size_bytes);
                Ok(self.walked(simple.timestamp_delta, simple.offset_delta, simple.key_is_null))
            }
            // Field by field, which also tells what is wrong.
            _ => self.any_record(source),
        }
    }

    #[inline]
    fn is_sound(&self, offset_delta: i32) -> bool {
        match self.deltas {
            OffsetDeltas::Dense => offset_delta == self.due,
            OffsetDeltas::Rising => offset_delta >= self.due,
        }
    }

    #[inline]
    fn walked(&mut self, timestamp_delta: i64, offset_delta: i32, key_is_null: bool) -> Walked {
        self.due = offset_delta.saturating_add(1);
        let timestamp = self.append_time.unwrap_or_else(|| self.base_timestamp.wrapping_add(timestamp_delta));
        Walked { timestamp, offset_delta, key_is_null }
    }

    #[inline(never)]
    fn any_record<S: Source>(&mut self, source: &mut S) -> Result<Walked, RecordError> {
        let declared = source.varint()?;
        if declared < 0 {
            return Err(RecordError::BadLength { what: "a record", length: declared });
        }
        let start = source.position();
        source.skip(1)?; // attributes, of which none are in use
        let timestamp_delta = source.varlong()?;
        let offset_delta = source.varint()?;
        if !self.is_sound(offset_delta) {
            return Err(RecordError::BadOffsetDelta { actual: offset_delta, expected: self.due });
        }
        let key = source.length("a key")?;
        source.skip(key.unwrap_or(0))?;
        let value = source.length("a value")?;
        source.skip(value.unwrap_or(0))?;
        // Each header takes bytes of its own, so that a huge number ends with the bytes, not in memory.
        for _ in 0..source.required_length("the header list")? {
            let key = source.required_length("a header key")?;
            source.skip(key)?;
            let value = source.length("a header value")?;
            source.skip(value.unwrap_or(0))?;
        }
        let actual = i64::try_from(source.position() - start).unwrap_or(i64::MAX);
        if actual != i64::from(declared) {
            return Err(RecordError::LengthMismatch { declared, actual });
        }
        Ok(self.walked(timestamp_delta, offset_delta, key.is_none()))
    }
}

#[cfg(test)]
#[path = "check_test.rs"]
mod tests;
