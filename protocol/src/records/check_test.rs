//! What the deep check accepts and refuses; batches come from the builder and are then damaged one field at a time.

use bytes::Bytes;

use super::*;
use crate::records::{BatchBuilder, BatchFields, Header, Record, crc32c};

const LIMIT: usize = 1 << 20;
const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn batch(count: i64, compression: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for index in 0..count {
        let value = format!("value {index}");
        let headers = [
            Header { key: "k".into(), value: Some(Bytes::from_static(b"v")) },
            Header { key: "n".into(), value: None },
        ];
        let key = index.to_string();
        let key = (index % 3 != 0).then_some(key.as_bytes());
        builder.append(1_000 - index % 7, key, Some(value.as_bytes()), &headers);
    }
    builder.build(&BatchFields { compression, ..BatchFields::default() }).unwrap().to_vec()
}

fn view(bytes: &[u8]) -> BatchView {
    BatchView::split(&Bytes::copy_from_slice(bytes)).unwrap().0
}

fn check(bytes: &[u8]) -> Result<BatchSummary, BatchError> {
    view(bytes).check_records(OffsetDeltas::Dense, LIMIT, |_| {})
}

#[test]
fn sound_batches_of_every_codec_pass_and_are_read_back() {
    for codec in CODECS {
        let bytes = batch(50, codec);
        let view = view(&bytes);
        view.check_crc().unwrap();
        let summary = check(&bytes).unwrap();
        assert_eq!((summary.record_count, summary.max_timestamp), (50, 1_000));
        assert_eq!(summary.offset_delta_of_max_timestamp, 0);
        let records: Vec<Record> = view.records(LIMIT).unwrap().map(Result::unwrap).collect();
        assert_eq!(records.len(), 50);
        assert_eq!(records[4].key.as_deref(), Some(&b"4"[..]));
        assert_eq!(records[3].key, None);
        assert_eq!(records[49].value.as_deref(), Some(&b"value 49"[..]));
        assert_eq!(records[49].headers.len(), 2);
    }
}

#[test]
fn keys_that_are_null_are_told() {
    let mut missing = Vec::new();
    view(&batch(7, Compression::Zstd))
        .check_records(OffsetDeltas::Dense, LIMIT, |record| {
            if record.key_is_null {
                missing.push(record.index);
            }
        })
        .unwrap();
    assert_eq!(missing, [0, 3, 6]);
}

#[test]
fn counts_that_do_not_fit_the_records_are_refused() {
    for codec in CODECS {
        for (count, last_delta) in [(0, -1), (-1, -2), (9, 8), (11, 10), (10, 8), (10, 10), (i32::MAX, i32::MAX - 1)] {
            let mut bytes = batch(10, codec);
            bytes[57..61].copy_from_slice(&i32::to_be_bytes(count));
            bytes[23..27].copy_from_slice(&i32::to_be_bytes(last_delta));
            assert!(check(&bytes).is_err(), "{codec}: {count} records, last delta {last_delta}");
        }
    }
}

#[test]
fn every_single_flipped_bit_is_found_by_checksum_or_prefix() {
    let bytes = batch(3, Compression::None);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let found = match BatchView::split(&Bytes::from(flipped)) {
            Err(_) => true,
            Ok((view, _)) => view.check_crc().is_err(),
        };
        // Base offset and leader epoch are not covered: the log compares them with their neighbours.
        let uncovered = bit / 8 < 8 || (12..16).contains(&(bit / 8));
        assert_eq!(found, !uncovered, "bit {bit}");
    }
}

#[test]
fn no_damage_makes_the_walk_panic_or_pass_as_other_records() {
    for codec in CODECS {
        let bytes = batch(20, codec);
        for at in HEADER_BYTES..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                if let Ok(summary) = check(&damaged) {
                    assert_eq!(summary.record_count, 20);
                }
                if let Ok(records) = view(&damaged).records(LIMIT) {
                    assert!(records.count() <= 20);
                }
            }
            let cut = &mut bytes[..at].to_vec();
            let length = (at - 12) as i32;
            cut[8..12].copy_from_slice(&length.to_be_bytes());
            assert!(check(cut).is_err(), "{codec}: cut at {at}");
        }
    }
}

#[test]
fn decompression_stops_at_the_limit() {
    let mut builder = BatchBuilder::new();
    builder.append(0, None, Some(&vec![0; 32 << 20]), &[]);
    for codec in &CODECS[1..] {
        let fields = BatchFields { compression: *codec, ..BatchFields::default() };
        let bytes = builder.clone().build(&fields).unwrap();
        assert_eq!(check(&bytes), Err(BatchError::TooLargeDecompressed { limit: LIMIT }), "{codec}");
    }
}

#[test]
fn offset_deltas_are_dense_for_producers_and_rising_after_compaction() {
    let mut builder = BatchBuilder::new();
    builder.append_at(0, 5, None, None, &[]);
    builder.append_at(7, 5, None, None, &[]);
    let bytes = builder.build(&BatchFields::default()).unwrap();
    assert!(matches!(check(&bytes), Err(BatchError::BadCount { .. })));
    view(&bytes).check_records(OffsetDeltas::Rising, LIMIT, |_| {}).unwrap();
}

#[test]
fn the_builder_states_its_own_checksum() {
    let bytes = batch(2, Compression::None);
    assert_eq!(view(&bytes).crc(), crc32c(&bytes[21..]));
}
