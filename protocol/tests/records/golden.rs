//! Goal: batches that Apache Kafka 4.3's own classes built are read as what went into them. Method: the files in
//! `golden/records`, which `golden/RecordBatches.java` wrote; that program says what each of them holds.

use std::path::Path;

use bytes::Bytes;
use ottla_protocol::records::{
    BatchBuilder, BatchFields, BatchView, Compression, Header, OffsetDeltas, Record, TimestampType,
};

use crate::{CODECS, LIMIT, records, view};

const TIME: i64 = 1_700_000_000_000;

fn golden(name: &str) -> BatchView {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/records/{name}.bin"));
    let batch = view(std::fs::read(path).expect("the file is in the repository"));
    batch.check_crc().expect("Kafka's checksum");
    batch
}

fn record(offset: i64, timestamp: i64, key: Option<&str>, value: Option<&str>) -> Record {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    Record { offset, timestamp, key: key.map(bytes), value: value.map(bytes), headers: Vec::new() }
}

fn few() -> Vec<Record> {
    let mut few = vec![
        record(0, TIME + 2, Some("key"), Some("value")),
        record(1, TIME, None, Some("no key")),
        record(2, TIME + 70_000, Some(""), None),
        record(3, TIME + 70_000, Some("schlüssel"), Some("")),
    ];
    few[0].headers = vec![
        Header { key: "h".into(), value: Some(Bytes::from_static(b"one")) },
        Header { key: "h".into(), value: None },
        Header { key: String::new(), value: Some(Bytes::new()) },
    ];
    few
}

fn many() -> Vec<Record> {
    let of = |index: i64| {
        let hash = (index * 2_654_435_761) >> 7;
        let (key, value) = (format!("k{}", index % 97), format!("value of record {index}, {hash}"));
        record(index, TIME + index * 7 % 1_000, Some(&key), Some(&value))
    };
    (0..3_000).map(of).collect()
}

fn built(records: &[Record], compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new();
    for record in records {
        builder.append(record.timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers);
    }
    builder.build(&BatchFields { compression, ..BatchFields::default() }).expect("the default level")
}

#[test]
fn kafkas_batches_of_every_codec_hold_what_went_into_them() {
    for codec in [Compression::None].iter().chain(&CODECS) {
        let batch = golden(&format!("few-{codec}"));
        assert_eq!(batch.compression(), Ok(*codec));
        let summary = batch.check_records(OffsetDeltas::Dense, LIMIT, |_| {}).expect("sound");
        assert_eq!((summary.record_count, batch.record_count()), (4, 4));
        assert_eq!((summary.max_timestamp, summary.offset_delta_of_max_timestamp), (TIME + 70_000, 2));
        assert_eq!(batch.max_timestamp(), summary.max_timestamp);
        assert_eq!(records(&batch), few(), "{codec}");
    }
    for codec in CODECS {
        let batch = golden(&format!("many-{codec}"));
        let summary = batch.check_records(OffsetDeltas::Dense, LIMIT, |_| {}).expect("sound");
        assert_eq!((summary.max_timestamp, batch.max_timestamp()), (TIME + 999, TIME + 999));
        assert_eq!(records(&batch), many(), "{codec}");
    }
}

#[test]
fn an_uncompressed_batch_of_ours_is_kafkas_byte_for_byte() {
    assert_eq!(&built(&few(), Compression::None), golden("few-none").bytes());
}

#[test]
fn compressed_batches_of_ours_hold_the_same_bytes_as_kafkas() {
    let uncompressed = built(&many(), Compression::None);
    for codec in CODECS {
        let theirs = codec.decompress(&golden(&format!("many-{codec}")).payload(), LIMIT).expect("sound");
        let ours = codec.decompress(&view(built(&many(), codec)).payload(), LIMIT).expect("sound");
        assert_eq!((&theirs[..], &ours[..]), (&uncompressed[61..], &uncompressed[61..]), "{codec}");
    }
}

#[test]
fn every_field_of_the_header_is_read_from_its_place() {
    let idempotent = golden("idempotent");
    assert_eq!((idempotent.producer_id(), idempotent.producer_epoch()), (4_000_000_000, 7));
    assert_eq!((idempotent.base_sequence(), idempotent.record_count()), (i32::MAX, 2));
    assert!(!idempotent.is_transactional() && !idempotent.is_control());
    assert_eq!((idempotent.base_offset(), idempotent.partition_leader_epoch(), idempotent.magic()), (0, -1, 2));

    assert!(golden("transactional").is_transactional());

    let stamped = golden("log-append-time");
    assert_eq!(stamped.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!((stamped.base_offset(), stamped.last_offset(), stamped.partition_leader_epoch()), (100, 101, 12));
    assert!(records(&stamped).iter().all(|record| record.timestamp == TIME));
    assert_eq!(stamped.max_timestamp(), TIME);
    let summary = stamped.check_records(OffsetDeltas::Dense, LIMIT, |_| {}).expect("sound");
    assert_eq!((summary.max_timestamp, summary.offset_delta_of_max_timestamp), (TIME, 0));

    let horizon = golden("delete-horizon");
    assert!(horizon.has_delete_horizon());
    assert_eq!(horizon.base_timestamp(), TIME + 86_400_000);
    assert_eq!(records(&horizon), [record(7, TIME, Some("gone"), None)]);
}

#[test]
fn what_compaction_leaves_is_read_with_its_gaps() {
    let batch = golden("compacted");
    assert_eq!((batch.base_offset(), batch.last_offset(), batch.record_count()), (1_000, 1_020, 2));
    batch.check_records(OffsetDeltas::Rising, LIMIT, |_| {}).expect("sound for a log");
    batch.check_records(OffsetDeltas::Dense, LIMIT, |_| {}).expect_err("no producer sends gaps");
    let offsets: Vec<i64> = records(&batch).iter().map(|record| record.offset).collect();
    assert_eq!(offsets, [1_002, 1_009]);
}

#[test]
fn transaction_markers_are_control_records() {
    for (name, kind) in [("commit", 1_u8), ("abort", 0)] {
        let batch = golden(&format!("end-transaction-{name}"));
        assert!(batch.is_control() && batch.is_transactional());
        assert_eq!((batch.base_offset(), batch.producer_id(), batch.producer_epoch()), (40, 5, 1));
        let marker = &records(&batch)[0];
        assert_eq!(marker.key.as_deref(), Some(&[0, 0, 0, kind][..]), "version and type");
        assert_eq!(marker.value.as_deref(), Some(&[0, 0, 0, 0, 0, 2][..]), "version and coordinator epoch");
    }
}
