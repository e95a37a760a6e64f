//! What compaction makes of a batch: fewer records at their old offsets, none of them encoded again.
//!
//! Owns the bytes of such a batch: the records that stay are copied as they are (only their timestamp deltas change where a
//! delete horizon takes the place of the base timestamp, KIP-534), first and last offset, producer and sequence stay those
//! of the whole batch. Does not own which records stay.
//!
//! Invariant: a compacted batch covers the offsets that the whole one covered, or more where it is extended over those of
//! batches that are gone: so the offsets of a log stay dense, and a wrong one shows in its neighbours.

use std::borrow::Cow;
use std::ops::Range;

use super::batch::{BatchView, HEADER_BYTES, TimestampType};
use super::compression::Compression;
use super::crc32c::crc32c;
use super::error::{BatchError, RecordError};
use super::source::{SliceSource, Source};
use super::varint::{put_varint, put_varlong, varlong_size};

const LENGTH_PREFIX_BYTES: usize = 12;
const COMPRESSION_BITS: i16 = 0x07;
const TRANSACTIONAL_BIT: i16 = 0x10;
const DELETE_HORIZON_BIT: i16 = 0x40;
const NO_TIMESTAMP: i64 = -1;

/// What has to be known of a record to keep it or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordSummary<'a> {
    /// Its offset in the partition.
    pub offset: i64,
    /// Its key, or `None` for null.
    pub key: Option<&'a [u8]>,
    /// Its value is null: it deletes what had its key.
    pub is_tombstone: bool,
}

/// What is left of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compacted {
    /// Every record, as it was.
    Unchanged,
    /// A batch with fewer records, or with a delete horizon.
    Fewer(Vec<u8>),
    /// No record.
    Nothing,
}

/// A record within decompressed ones.
struct RawRecord {
    /// With its length in front.
    whole: Range<usize>,
    /// Behind its length: one byte of attributes, then the timestamp delta.
    body: usize,
    /// Behind the timestamp delta.
    rest: usize,
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<Range<usize>>,
    is_tombstone: bool,
}

impl BatchView {
    /// Looks at each record, of which at most `limit` decompressed bytes are made.
    ///
    /// # Errors
    /// The records do not decompress, or one of them is broken.
    pub fn for_each_record(&self, limit: usize, mut visit: impl FnMut(RecordSummary<'_>)) -> Result<(), BatchError> {
        let plain = self.plain(limit)?;
        self.raw_records(&plain, |record| visit(self.summary(&plain, &record)))
    }

    /// The batch with the records that `keep` keeps. With a `delete_horizon_ms` (milliseconds since 1970) it says from when on
    /// its tombstones may go.
    ///
    /// # Errors
    /// The records do not decompress into `limit` bytes, one of them is broken, or the codec fails.
    pub fn compact(
        &self,
        limit: usize,
        delete_horizon_ms: Option<i64>,
        mut keep: impl FnMut(RecordSummary<'_>) -> bool,
    ) -> Result<Compacted, BatchError> {
        self.compact_together(limit, delete_horizon_ms, |records| records.iter().map(|record| keep(*record)).collect())
    }

    /// The same, where all records are looked at together: `keep` says for each of them, in order, whether it stays.
    ///
    /// # Errors
    /// As [`BatchView::compact`].
    pub fn compact_together(
        &self,
        limit: usize,
        delete_horizon_ms: Option<i64>,
        keep: impl FnOnce(&[RecordSummary<'_>]) -> Vec<bool>,
    ) -> Result<Compacted, BatchError> {
        let plain = self.plain(limit)?;
        let horizon =
            delete_horizon_ms.filter(|horizon| !self.has_delete_horizon() || *horizon != self.base_timestamp());
        let (mut records, mut summaries) = (Vec::new(), Vec::new());
        self.raw_records(&plain, |record| {
            summaries.push(self.summary(&plain, &record));
            records.push(record);
        })?;
        let stays = keep(&summaries);
        let kept: Vec<&RawRecord> =
            records.iter().zip(stays).filter_map(|(record, stays)| stays.then_some(record)).collect();
        if kept.is_empty() {
            return Ok(Compacted::Nothing);
        }
        if kept.len() == records.len() && horizon.is_none() {
            return Ok(Compacted::Unchanged);
        }
        let timestamp = |record: &RawRecord| self.base_timestamp().wrapping_add(record.timestamp_delta);
        let max_timestamp = kept.iter().map(|record| timestamp(record)).max().unwrap_or(NO_TIMESTAMP);
        let mut payload = Vec::with_capacity(plain.len());
        for record in &kept {
            match horizon {
                Some(horizon) => {
                    put_with_timestamp(&mut payload, &plain, record, timestamp(record).wrapping_sub(horizon));
                }
                None => payload.extend_from_slice(&plain[record.whole.clone()]),
            }
        }
        let codec = self.compression()?;
        let payload = match codec {
            Compression::None => payload,
            _ => codec
                .compress(&payload, None)
                .map_err(|error| BatchError::Decompression { codec, reason: error.to_string() })?,
        };
        let mut batch = Vec::with_capacity(HEADER_BYTES + payload.len());
        batch.extend_from_slice(&self.bytes()[..HEADER_BYTES]);
        batch.extend_from_slice(&payload);
        if let Some(horizon) = horizon {
            put(&mut batch, 21, &(self.attributes() | DELETE_HORIZON_BIT).to_be_bytes());
            put(&mut batch, 27, &horizon.to_be_bytes());
        }
        if self.timestamp_type() == TimestampType::CreateTime {
            put(&mut batch, 35, &max_timestamp.to_be_bytes());
        }
        put(&mut batch, 57, &(kept.len() as i32).to_be_bytes());
        seal(&mut batch);
        Ok(Compacted::Fewer(batch))
    }

    /// The batch without any record: it keeps its offsets, and what is known of its producer. It is part of no transaction any
    /// more, whose marker may go before it does.
    pub fn without_records(&self) -> Vec<u8> {
        let mut batch = self.bytes()[..HEADER_BYTES].to_vec();
        put(&mut batch, 21, &(self.attributes() & !(COMPRESSION_BITS | TRANSACTIONAL_BIT)).to_be_bytes());
        if self.timestamp_type() == TimestampType::CreateTime {
            put(&mut batch, 35, &NO_TIMESTAMP.to_be_bytes());
        }
        put(&mut batch, 57, &0_i32.to_be_bytes());
        seal(&mut batch);
        batch
    }

    fn plain(&self, limit: usize) -> Result<Cow<'_, [u8]>, BatchError> {
        let payload = &self.bytes()[HEADER_BYTES..];
        Ok(match self.compression()? {
            Compression::None => Cow::Borrowed(payload),
            codec => Cow::Owned(codec.decompress(payload, limit)?),
        })
    }

    fn summary<'a>(&self, plain: &'a [u8], record: &RawRecord) -> RecordSummary<'a> {
        RecordSummary {
            offset: self.base_offset().saturating_add(i64::from(record.offset_delta)),
            key: record.key.clone().map(|key| &plain[key]),
            is_tombstone: record.is_tombstone,
        }
    }

    fn raw_records(&self, plain: &[u8], mut visit: impl FnMut(RawRecord)) -> Result<(), BatchError> {
        let mut at = 0;
        for index in 0..self.record_count() {
            let record = raw_record(plain, at).map_err(|error| BatchError::Record { index, error })?;
            at = record.whole.end;
            visit(record);
        }
        Ok(())
    }
}

/// An empty batch over offsets at which there is nothing any more; without a producer and without a time.
///
/// # Panics
/// `offsets` is empty or has more than 2^31 of them.
pub fn empty_batch(offsets: Range<i64>, partition_leader_epoch: i32) -> Vec<u8> {
    let last_offset_delta = i32::try_from(offsets.end - offsets.start - 1).expect("offsets of one segment");
    assert!(last_offset_delta >= 0, "an empty batch covers at least one offset");
    let mut batch = vec![0; HEADER_BYTES];
    put(&mut batch, 0, &offsets.start.to_be_bytes());
    put(&mut batch, 12, &partition_leader_epoch.to_be_bytes());
    batch[16] = 2;
    put(&mut batch, 23, &last_offset_delta.to_be_bytes());
    put(&mut batch, 27, &NO_TIMESTAMP.to_be_bytes());
    put(&mut batch, 35, &NO_TIMESTAMP.to_be_bytes());
    put(&mut batch, 43, &(-1_i64).to_be_bytes());
    put(&mut batch, 51, &(-1_i16).to_be_bytes());
    put(&mut batch, 53, &(-1_i32).to_be_bytes());
    seal(&mut batch);
    batch
}

/// Makes a batch cover the offsets up to `next_offset` too, at which there is nothing any more.
///
/// # Panics
/// `batch` is shorter than a header, or the offsets are more than 2^31.
pub fn extend_to(batch: &mut [u8], next_offset: i64) {
    let base = i64::from_be_bytes(batch[..8].try_into().expect("eight bytes"));
    let delta = i32::try_from(next_offset - base - 1).expect("offsets of one segment");
    put(batch, 23, &delta.to_be_bytes());
    seal(batch);
}

/// Length and checksum.
fn seal(batch: &mut [u8]) {
    let length = i32::try_from(batch.len() - LENGTH_PREFIX_BYTES).expect("a batch is below 2 GiB");
    put(batch, 8, &length.to_be_bytes());
    let crc = crc32c(&batch[21..]);
    put(batch, 17, &crc.to_be_bytes());
}

fn put(batch: &mut [u8], at: usize, field: &[u8]) {
    batch[at..at + field.len()].copy_from_slice(field);
}

fn raw_record(plain: &[u8], at: usize) -> Result<RawRecord, RecordError> {
    let mut source = SliceSource::new(&plain[at..]);
    let length = source.required_length("a record")?;
    let body = at + source.offset();
    let end = body.checked_add(length).filter(|&end| end <= plain.len()).ok_or(RecordError::Truncated)?;
    // Fields are read within the record only, so that none can reach into the next one.
    let mut source = SliceSource::new(&plain[body..end]);
    source.skip(1)?; // attributes, of which none are in use
    let timestamp_delta = source.varlong()?;
    let rest = body + source.offset();
    let offset_delta = source.varint()?;
    let key = match source.length("a key")? {
        Some(length) => {
            let start = body + source.offset();
            source.skip(length)?;
            Some(start..start + length)
        }
        None => None,
    };
    let is_tombstone = source.length("a value")?.is_none();
    Ok(RawRecord { whole: at..end, body, rest, timestamp_delta, offset_delta, key, is_tombstone })
}

fn put_with_timestamp(into: &mut Vec<u8>, plain: &[u8], record: &RawRecord, timestamp_delta: i64) {
    let rest = &plain[record.rest..record.whole.end];
    put_varint(into, (1 + varlong_size(timestamp_delta) + rest.len()) as i32);
    into.push(plain[record.body]);
    put_varlong(into, timestamp_delta);
    into.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::records::{BatchBuilder, BatchFields, Header};

    const LIMIT: usize = 1 << 20;
    const CODECS: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    fn view(bytes: Vec<u8>) -> BatchView {
        let (view, rest) = BatchView::split(&Bytes::from(bytes)).unwrap();
        assert!(rest.is_empty());
        view.check_crc().unwrap();
        view
    }

    /// Keys k0 to k9 at offsets 100 to 109; the value of k5 is null.
    fn batch(compression: Compression) -> BatchView {
        let mut builder = BatchBuilder::new();
        for n in 0..10 {
            let headers = [Header { key: "h".to_owned(), value: Some(Bytes::from(vec![n as u8])) }];
            let value = format!("value {n}");
            let value = (n != 5).then_some(value.as_bytes());
            builder.append(1_000 + n, Some(format!("k{n}").as_bytes()), value, &headers);
        }
        let fields = BatchFields {
            base_offset: 100,
            partition_leader_epoch: 3,
            compression,
            producer_id: 7,
            producer_epoch: 1,
            base_sequence: 40,
            ..Default::default()
        };
        view(builder.build(&fields).unwrap().to_vec())
    }

    #[test]
    fn records_that_stay_are_the_same_at_their_offsets_in_every_codec() {
        for codec in CODECS {
            let whole = batch(codec);
            let before: Vec<_> = whole.records(LIMIT).unwrap().map(Result::unwrap).collect();
            let Compacted::Fewer(bytes) = whole.compact(LIMIT, None, |record| record.offset % 3 == 0).unwrap() else {
                panic!("{codec}: some records are gone")
            };
            let fewer = view(bytes);
            let after: Vec<_> = fewer.records(LIMIT).unwrap().map(Result::unwrap).collect();
            let expected: Vec<_> = before.into_iter().filter(|record| record.offset % 3 == 0).collect();
            assert_eq!(after, expected, "{codec}");
            assert_eq!((fewer.base_offset(), fewer.last_offset(), fewer.base_sequence()), (100, 109, 40));
            assert_eq!((fewer.producer_id(), fewer.partition_leader_epoch()), (7, 3));
            assert_eq!(fewer.compression(), Ok(codec));
            assert_eq!(whole.compact(LIMIT, None, |_| true), Ok(Compacted::Unchanged));
            assert_eq!(whole.compact(LIMIT, None, |_| false), Ok(Compacted::Nothing));
        }
    }

    #[test]
    fn a_delete_horizon_takes_the_place_of_the_base_timestamp_and_records_keep_their_times() {
        for codec in CODECS {
            let whole = batch(codec);
            let before: Vec<_> = whole.records(LIMIT).unwrap().map(Result::unwrap).collect();
            let Compacted::Fewer(bytes) = whole.compact(LIMIT, Some(9_999_999), |_| true).unwrap() else {
                panic!("a horizon is a change")
            };
            let marked = view(bytes);
            assert!(marked.has_delete_horizon());
            assert_eq!((marked.base_timestamp(), marked.max_timestamp()), (9_999_999, 1_009));
            let after: Vec<_> = marked.records(LIMIT).unwrap().map(Result::unwrap).collect();
            assert_eq!(after, before, "{codec}");
            assert_eq!(marked.compact(LIMIT, Some(9_999_999), |_| true), Ok(Compacted::Unchanged));
        }
    }

    #[test]
    fn summaries_tell_keys_and_tombstones() {
        let mut seen = Vec::new();
        batch(Compression::Zstd)
            .for_each_record(LIMIT, |record| {
                seen.push((record.offset, record.key.unwrap().to_vec(), record.is_tombstone));
            })
            .unwrap();
        let expected: Vec<_> = (0..10).map(|n| (100 + n, format!("k{n}").into_bytes(), n == 5)).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_is_empty_covers_its_offsets() {
        let none = view(batch(Compression::Lz4).without_records());
        assert_eq!((none.record_count(), none.base_offset(), none.last_offset(), none.producer_id()), (0, 100, 109, 7));
        assert_eq!(none.records(LIMIT).unwrap().count(), 0);
        let filler = view(empty_batch(5..12, 2));
        assert_eq!((filler.record_count(), filler.base_offset(), filler.last_offset()), (0, 5, 11));
        let mut extended = batch(Compression::None).bytes().to_vec();
        extend_to(&mut extended, 500);
        let extended = view(extended);
        assert_eq!((extended.last_offset(), extended.record_count()), (499, 10));
        assert_eq!(extended.records(LIMIT).unwrap().map(|record| record.unwrap().offset).max(), Some(109));
    }

    #[test]
    fn broken_records_are_errors() {
        let whole = batch(Compression::None);
        for at in HEADER_BYTES..whole.size_in_bytes() {
            for wrong in [0x00, 0x7f, 0xff] {
                let mut bytes = whole.bytes().to_vec();
                bytes[at] = wrong;
                seal(&mut bytes);
                // Whatever it says, it ends.
                let _ = view(bytes).compact(LIMIT, None, |record| record.offset % 2 == 0);
            }
        }
        let mut short = whole.bytes()[..whole.size_in_bytes() - 5].to_vec();
        seal(&mut short);
        assert!(matches!(view(short).compact(LIMIT, None, |_| true), Err(BatchError::Record { index: 9, .. })));
    }
}
