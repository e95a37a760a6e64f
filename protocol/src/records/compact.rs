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
use super::varint::{Head, put_varint, put_varlong, read_varint, varlong_size};

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
    /// Where it lies in its batch.
    pub place: RecordPlace,
}

/// What is needed to keep a record of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordPlace {
    start: usize,
    end: usize,
    timestamp_delta: i64,
}

/// Where a record lies within decompressed ones.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    /// With its length in front.
    whole: Range<usize>,
    /// Behind its length: one byte of attributes, then the timestamp delta.
    body: usize,
    /// Behind the timestamp delta.
    rest: usize,
    timestamp_delta: i64,
}

/// The records of a batch, decompressed once for all that is done with them.
#[derive(Debug)]
pub struct PlainRecords<'a> {
    batch: &'a BatchView,
    plain: Cow<'a, [u8]>,
}

impl PlainRecords<'_> {
    /// Looks at each record, in order.
    ///
    /// # Errors
    /// One of them is broken; those before it were looked at.
    pub fn for_each(&self, mut visit: impl FnMut(RecordSummary<'_>)) -> Result<(), BatchError> {
        let base_offset = self.batch.base_offset();
        let mut at = 0;
        for index in 0..self.batch.record_count() {
            let located = |error| BatchError::Record { index, error };
            let frame = read_frame(&self.plain, at).map_err(located)?;
            visit(summary(&self.plain, &frame, base_offset).map_err(located)?);
            at = frame.whole.end;
        }
        Ok(())
    }

    /// Begins to put the batch into `batch`, which is emptied before, with fewer records.
    pub fn compact<'b>(&'b self, batch: &'b mut Vec<u8>) -> CompactedBatch<'b> {
        batch.clear();
        batch.extend_from_slice(&self.batch.bytes()[..HEADER_BYTES]);
        CompactedBatch { records: self, batch, run: 0..0, count: 0, max_timestamp: NO_TIMESTAMP }
    }
}

/// A batch with fewer records, in the making. Nothing is copied before the first record is missing.
#[derive(Debug)]
pub struct CompactedBatch<'a> {
    records: &'a PlainRecords<'a>,
    batch: &'a mut Vec<u8>,
    /// Adjacent records that are copied together.
    run: Range<usize>,
    count: i32,
    max_timestamp: i64,
}

impl CompactedBatch<'_> {
    /// Keeps the record at a place of the batch, behind those kept before.
    #[inline]
    pub fn keep(&mut self, place: RecordPlace) {
        let timestamp = self.records.batch.base_timestamp().wrapping_add(place.timestamp_delta);
        self.max_timestamp = if self.count == 0 { timestamp } else { self.max_timestamp.max(timestamp) };
        self.count += 1;
        if place.start != self.run.end {
            self.copy_run();
            self.run.start = place.start;
        }
        self.run.end = place.end;
    }

    fn copy_run(&mut self) {
        self.batch.extend_from_slice(&self.records.plain[self.run.clone()]);
    }

    /// Makes a batch of it. With a `delete_horizon_ms` (milliseconds since 1970) it says from when on its tombstones may go.
    ///
    /// # Errors
    /// The codec fails; what is there then is of no use.
    pub fn finish(mut self, delete_horizon_ms: Option<i64>) -> Result<(), BatchError> {
        self.copy_run();
        let CompactedBatch { records: PlainRecords { batch: whole, .. }, batch, count, max_timestamp, .. } = self;
        if let Some(horizon) = delete_horizon_ms {
            rebase(batch, whole.base_timestamp(), horizon)
                .map_err(|(index, error)| BatchError::Record { index, error })?;
        }
        let codec = whole.compression()?;
        if codec != Compression::None {
            let compressed = codec
                .compress(&batch[HEADER_BYTES..], None)
                .map_err(|error| BatchError::Decompression { codec, reason: error.to_string() })?;
            batch.truncate(HEADER_BYTES);
            batch.extend_from_slice(&compressed);
        }
        if let Some(horizon) = delete_horizon_ms {
            put(batch, 21, &(whole.attributes() | DELETE_HORIZON_BIT).to_be_bytes());
            put(batch, 27, &horizon.to_be_bytes());
        }
        if whole.timestamp_type() == TimestampType::CreateTime {
            put(batch, 35, &max_timestamp.to_be_bytes());
        }
        put(batch, 57, &count.to_be_bytes());
        seal(batch);
        Ok(())
    }
}

/// Counts the timestamp deltas of all records behind the header from another base; an error with the record that is none.
fn rebase(batch: &mut Vec<u8>, from: i64, to: i64) -> Result<(), (i32, RecordError)> {
    let plain = batch.split_off(HEADER_BYTES);
    let (mut at, mut index) = (0, 0);
    while at < plain.len() {
        let frame = read_frame(&plain, at).map_err(|error| (index, error))?;
        let timestamp = from.wrapping_add(frame.timestamp_delta);
        put_with_timestamp(batch, &plain, &frame, timestamp.wrapping_sub(to));
        at = frame.whole.end;
        index += 1;
    }
    Ok(())
}

impl BatchView {
    /// The records, of which at most `limit` bytes are made where they are compressed.
    ///
    /// # Errors
    /// They do not decompress, or come to more.
    pub fn plain_records(&self, limit: usize) -> Result<PlainRecords<'_>, BatchError> {
        let payload = &self.bytes()[HEADER_BYTES..];
        let plain = match self.compression()? {
            Compression::None => Cow::Borrowed(payload),
            codec => Cow::Owned(codec.decompress(payload, limit)?),
        };
        Ok(PlainRecords { batch: self, plain })
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

#[inline(always)]
fn read_frame(plain: &[u8], at: usize) -> Result<Frame, RecordError> {
    match frame_at(plain, at) {
        Some(frame) => Ok(frame),
        // Field by field, which also tells what is wrong.
        None => any_frame(plain, at),
    }
}

/// A sound one, as far as it reaches; `None` if there is anything else, or the records end a few bytes behind it.
#[inline(always)]
fn frame_at(plain: &[u8], at: usize) -> Option<Frame> {
    let mut head = Head::of(plain.get(at..)?)?;
    let length = usize::try_from(head.varint()?).ok()?;
    let body = head.at;
    head.at += 1; // attributes, of which none are in use
    let timestamp_delta = head.varlong()?;
    let is_whole = head.at <= body + length && body + length <= plain.len() - at;
    is_whole.then_some(Frame { whole: at..at + body + length, body: at + body, rest: at + head.at, timestamp_delta })
}

#[inline(never)]
fn any_frame(plain: &[u8], at: usize) -> Result<Frame, RecordError> {
    let mut source = SliceSource::new(&plain[at..]);
    let length = source.required_length("a record")?;
    let body = at + source.offset();
    let end = body.checked_add(length).filter(|&end| end <= plain.len()).ok_or(RecordError::Truncated)?;
    let mut source = SliceSource::new(&plain[body..end]);
    source.skip(1)?; // attributes, of which none are in use
    let timestamp_delta = source.varlong()?;
    Ok(Frame { whole: at..end, body, rest: body + source.offset(), timestamp_delta })
}

/// Of what follows a record's timestamp delta.
#[inline(always)]
fn summary<'a>(plain: &'a [u8], frame: &Frame, base_offset: i64) -> Result<RecordSummary<'a>, RecordError> {
    let (offset_delta, key, is_tombstone) = match fields_at(plain, frame) {
        Some(fields) => fields,
        None => any_fields(&plain[frame.rest..frame.whole.end])?,
    };
    let offset = base_offset.saturating_add(i64::from(offset_delta));
    let place = RecordPlace { start: frame.whole.start, end: frame.whole.end, timestamp_delta: frame.timestamp_delta };
    Ok(RecordSummary { offset, key, is_tombstone, place })
}

/// What decides about a record: its offset delta, its key, and whether its value is null.
type Fields<'a> = (i32, Option<&'a [u8]>, bool);

/// Those of a sound record; `None` if there is anything else, or the records end a few bytes behind.
#[inline(always)]
fn fields_at<'a>(plain: &'a [u8], frame: &Frame) -> Option<Fields<'a>> {
    let mut head = Head::of(plain.get(frame.rest..)?)?;
    let offset_delta = head.varint()?;
    let key_bytes = usize::try_from(head.varint()?).ok()?;
    let key_at = frame.rest + head.at;
    // Within the record only, so that no field can reach into the next one.
    let behind_key = plain.get(key_at..frame.whole.end)?;
    let (key, value) = behind_key.split_at_checked(key_bytes)?;
    let (value_length, _) = read_varint(value).ok()??;
    (value_length >= -1).then_some((offset_delta, Some(key), value_length == -1))
}

/// Reads within the record only.
#[inline(never)]
fn any_fields(rest: &[u8]) -> Result<Fields<'_>, RecordError> {
    let mut source = SliceSource::new(rest);
    let offset_delta = source.varint()?;
    let key = match source.length("a key")? {
        Some(length) => {
            let start = source.offset();
            source.skip(length)?;
            Some(&rest[start..start + length])
        }
        None => None,
    };
    let is_tombstone = source.length("a value")?.is_none();
    Ok((offset_delta, key, is_tombstone))
}

fn put_with_timestamp(into: &mut Vec<u8>, plain: &[u8], record: &Frame, timestamp_delta: i64) {
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

    fn compacted(whole: &BatchView, horizon: Option<i64>, keep: impl Fn(usize) -> bool) -> Result<Vec<u8>, BatchError> {
        let mut bytes = b"of the batch before".to_vec();
        let records = whole.plain_records(LIMIT)?;
        let (mut compacted, mut index) = (records.compact(&mut bytes), 0);
        records.for_each(|record| {
            if keep(index) {
                compacted.keep(record.place);
            }
            index += 1;
        })?;
        compacted.finish(horizon)?;
        Ok(bytes)
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
            // Offsets 102, 105 and 108, and two that are adjacent.
            let stays = |index: usize| index % 3 == 2 || index == 3;
            let fewer = view(compacted(&whole, None, stays).unwrap());
            let after: Vec<_> = fewer.records(LIMIT).unwrap().map(Result::unwrap).collect();
            let expected: Vec<_> = before.into_iter().filter(|record| stays((record.offset - 100) as usize)).collect();
            assert_eq!(after, expected, "{codec}");
            assert_eq!((fewer.base_offset(), fewer.last_offset(), fewer.base_sequence()), (100, 109, 40));
            assert_eq!((fewer.producer_id(), fewer.partition_leader_epoch()), (7, 3));
            assert_eq!(fewer.compression(), Ok(codec));
            let all = view(compacted(&whole, None, |_| true).unwrap());
            assert_eq!((all.record_count(), all.max_timestamp()), (10, 1_009));
            assert_eq!((fewer.record_count(), fewer.max_timestamp()), (4, 1_008));
        }
    }

    #[test]
    fn a_delete_horizon_takes_the_place_of_the_base_timestamp_and_records_keep_their_times() {
        for codec in CODECS {
            let whole = batch(codec);
            let before: Vec<_> = whole.records(LIMIT).unwrap().map(Result::unwrap).collect();
            let marked = view(compacted(&whole, Some(9_999_999), |_| true).unwrap());
            assert!(marked.has_delete_horizon());
            assert_eq!((marked.base_timestamp(), marked.max_timestamp()), (9_999_999, 1_009));
            let after: Vec<_> = marked.records(LIMIT).unwrap().map(Result::unwrap).collect();
            assert_eq!(after, before, "{codec}");
        }
    }

    #[test]
    fn summaries_tell_keys_and_tombstones() {
        let mut seen = Vec::new();
        batch(Compression::Zstd)
            .plain_records(LIMIT)
            .unwrap()
            .for_each(|record| {
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
    fn what_is_read_at_once_is_what_field_by_field_comes_to() {
        let mut records = batch(Compression::None).bytes()[HEADER_BYTES..].to_vec();
        let is_same = |records: &[u8]| {
            for at in 0..records.len() {
                let (one, other) = (read_frame(records, at), any_frame(records, at));
                assert_eq!(one, other, "at {at} of {records:?}");
                let Ok(frame) = one else { continue };
                let fields = any_fields(&records[frame.rest..frame.whole.end]);
                let summary = summary(records, &frame, 7).map(|s| (s.offset - 7, s.key, s.is_tombstone));
                assert_eq!(summary, fields.map(|(delta, key, none)| (i64::from(delta), key, none)), "{frame:?}");
            }
        };
        for at in 0..records.len() {
            let before = records[at];
            for wrong in [0x00, 0x01, 0x02, 0x03, 0x7f, 0x80, 0xff] {
                records[at] = wrong;
                is_same(&records);
            }
            records[at] = before;
            is_same(&records[..at]);
        }
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
                let broken = view(bytes);
                let _ = broken.plain_records(LIMIT).unwrap().for_each(|_| {});
                let _ = compacted(&broken, None, |index| index % 2 == 0);
            }
        }
        let mut short = whole.bytes()[..whole.size_in_bytes() - 5].to_vec();
        seal(&mut short);
        let short = view(short);
        let walked = short.plain_records(LIMIT).unwrap().for_each(|_| {});
        assert!(matches!(walked, Err(BatchError::Record { index: 9, .. })));
        assert_eq!(compacted(&short, None, |_| true), walked.map(|()| Vec::new()));
    }
}
