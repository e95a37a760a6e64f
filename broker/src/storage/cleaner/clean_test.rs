//! Goal: after a cleaning the log holds the newest record of each key at its own offset, and what must stay beside it.
//! Method: real files and batches of every codec against a map of what was written; Kafka's rules one by one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use ottla_protocol::records::{BatchBuilder, BatchFields, BatchView, Compression, HEADER_BYTES};
use parking_lot::Mutex;

use super::*;
use crate::storage::disk_reserve::SpaceClaim;
use crate::storage::test_batch::marker;
use crate::storage::txn_index;
use crate::storage::validated_batch::ValidatedBatch;
use crate::storage::vfs::RealVfs;
use crate::storage::{LogConfig, LogContext, OpenFiles, OpenMode, ProducerLimits, Unthrottled};
use crate::types::{LeaderEpoch, TopicPartition};

const HOUR_MS: i64 = 3_600_000;
const LIMITS: CleanLimits = CleanLimits { map_bytes_max: 1 << 20, decompressed_bytes_max: 1 << 20 };

struct Fixture(tempfile::TempDir);

impl Fixture {
    fn new() -> Fixture {
        let fixture = Fixture(tempfile::tempdir().unwrap());
        std::fs::create_dir(fixture.0.path().join("t-0")).unwrap();
        fixture
    }

    fn open(&self, config: &LogConfig, mode: OpenMode) -> Arc<Log> {
        let context = LogContext {
            open_files: OpenFiles::new(Arc::new(RealVfs), 1024),
            quarantine: self.0.path().join("quarantine"),
            producer_limits: ProducerLimits::default(),
        };
        let dir = self.0.path().join("t-0");
        Log::open(context, &dir, TopicPartition::new("t", 0), Arc::new(config.clone()), mode, 0).unwrap().0
    }
}

fn compacted(segment_bytes: u32) -> LogConfig {
    LogConfig { segment_bytes, compact: true, index_interval_bytes: 300, retention_ms: -1, ..LogConfig::default() }
}

type Pair<'a> = (&'a str, Option<&'a str>);

fn build(records: &[Pair<'_>], timestamp: i64, fields: &BatchFields) -> ValidatedBatch {
    let mut builder = BatchBuilder::new();
    for (key, value) in records {
        builder.append(timestamp, Some(key.as_bytes()), value.map(str::as_bytes), &[]);
    }
    let bytes = builder.build(fields).unwrap();
    let mut header = [0; HEADER_BYTES];
    header.copy_from_slice(&bytes[..HEADER_BYTES]);
    ValidatedBatch::new(header, bytes.slice(HEADER_BYTES..))
}

fn append_as(log: &Log, records: &[Pair<'_>], timestamp: i64, fields: &BatchFields) -> i64 {
    log.append(build(records, timestamp, fields), LeaderEpoch(1), timestamp).unwrap().base_offset.0
}

fn append(log: &Log, records: &[Pair<'_>], timestamp: i64) -> i64 {
    append_as(log, records, timestamp, &BatchFields::default())
}

/// Seals what was written, by one more record that stays in the active segment.
fn seal(log: &Log) {
    log.update_config(Arc::new(LogConfig { segment_ms: 0, ..LogConfig::clone(&log.config()) }));
    let last = build(&[("the active segment", Some("x"))], i64::MAX / 2, &BatchFields::default());
    log.append(last, LeaderEpoch(1), 0).unwrap();
    log.update_config(Arc::new(LogConfig { segment_ms: HOUR_MS * 1_000, ..LogConfig::clone(&log.config()) }));
}

fn clean(log: &Log, from: i64, now_ms: i64) -> CleanReport {
    log.clean(Offset(from), LIMITS, now_ms, &Unthrottled).unwrap()
}

/// All batches, of which each must follow the one before.
fn batches(log: &Log) -> Vec<BatchView> {
    let offsets = log.offsets();
    let mut at = offsets.log_start;
    let mut batches = Vec::new();
    while at < offsets.log_end {
        let bytes = log.read(at, 1, offsets.log_end, true).unwrap().slice.unwrap().read().unwrap();
        let (batch, _) = BatchView::split(&Bytes::from(bytes)).unwrap();
        batch.check_crc().unwrap();
        assert!(batch.base_offset() <= at.0 && at.0 <= batch.last_offset(), "{at} gives {batch:?}");
        at = Offset(batch.last_offset() + 1);
        batches.push(batch);
    }
    batches
}

/// Offset, key and value of every record before the active segment's.
fn records(log: &Log) -> Vec<(i64, String, Option<String>)> {
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let all = batches(log)
        .into_iter()
        .flat_map(|batch| batch.records(1 << 20).unwrap().map(Result::unwrap).collect::<Vec<_>>());
    all.map(|record| (record.offset, text(record.key.unwrap()), record.value.map(text)))
        .filter(|(_, key, _)| key != "the active segment")
        .collect()
}

#[test]
fn the_newest_record_of_each_key_stays_at_its_offset_in_every_codec_and_after_a_restart() {
    let fixture = Fixture::new();
    let config = compacted(3_000);
    let log = fixture.open(&config, OpenMode::default());
    let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    let mut newest = BTreeMap::new();
    for n in 0..400_i64 {
        let keys: Vec<String> = (0..4).map(|k| format!("key {}", (n * 31 + k * 7) % 60)).collect();
        let values: Vec<String> = (0..4).map(|k| format!("value {n} {k}")).collect();
        let pairs: Vec<Pair<'_>> = keys.iter().zip(&values).map(|(k, v)| (k.as_str(), Some(v.as_str()))).collect();
        let fields = BatchFields { compression: codecs[(n % 5) as usize], ..Default::default() };
        let base = append_as(&log, &pairs, n, &fields);
        for (at, (key, value)) in keys.iter().zip(&values).enumerate() {
            newest.insert(key.clone(), (base + at as i64, value.clone()));
        }
    }
    seal(&log);
    let mut expected: Vec<_> = newest.into_iter().map(|(key, (offset, value))| (offset, key, Some(value))).collect();
    expected.sort();
    let (size, segments) = (log.size_bytes(), log.segment_count());
    let report = clean(&log, 0, 1_000);
    assert_eq!(records(&log), expected);
    let left: Vec<_> = batches(&log).into_iter().filter(|batch| batch.record_count() > 0).collect();
    let (last, left) = left.split_last().unwrap();
    assert_eq!(last.base_offset(), 4 * 400, "that of the active segment");
    assert!(left.iter().any(|batch| batch.record_count() < 4), "some are written anew");
    for batch in left {
        assert_eq!(batch.compression().unwrap(), codecs[(batch.base_offset() / 4 % 5) as usize], "{batch:?}");
    }
    assert!(report.records_removed > 1_400 && !report.more_to_do && report.keys == 60, "{report:?}");
    assert!(log.size_bytes() < size / 3, "{} of {size} bytes", log.size_bytes());
    assert_eq!(report.cleaned_up_to, Offset(log.offsets().log_end.0 - 1));
    let again = clean(&log, report.cleaned_up_to.0, 1_000);
    assert_eq!((again.records_removed, again.keys), (0, 0));
    assert!(log.segment_count() < segments / 2, "{} of {segments} segments", log.segment_count());
    let offsets = log.offsets();
    log.close().unwrap();
    for mode in [OpenMode { clean: true, ..OpenMode::default() }, OpenMode::default()] {
        let log = fixture.open(&config, mode);
        log.flush().unwrap();
        assert_eq!((log.offsets(), records(&log)), (offsets, expected.clone()));
        assert!(log.corrupt_ranges().is_empty());
        for (offset, _, _) in &expected {
            let found = log.offset_for_timestamp(offset / 4).unwrap().unwrap();
            assert!(found.offset.0 <= *offset, "{found:?} for {offset}");
        }
        log.close().unwrap();
    }
}

#[test]
fn a_map_without_room_for_all_keys_takes_several_passes() {
    let fixture = Fixture::new();
    let log = fixture.open(&compacted(20_000), OpenMode::default());
    let mut newest = BTreeMap::new();
    for n in 0..6_000_i64 {
        let key = format!("key {}", (n * 17) % 3_000);
        let base = append(&log, &[(&key, Some("v"))], n);
        newest.insert(key, base);
    }
    seal(&log);
    let small = CleanLimits { map_bytes_max: 0, ..LIMITS };
    let (mut from, mut passes) = (Offset::ZERO, 0);
    loop {
        let report = log.clean(from, small, 10_000, &Unthrottled).unwrap();
        assert!(report.cleaned_up_to > from || !report.more_to_do, "each pass gets somewhere");
        from = report.cleaned_up_to;
        passes += 1;
        if !report.more_to_do {
            break;
        }
    }
    assert!(passes > 3, "{passes}");
    let left: BTreeMap<String, i64> = records(&log).into_iter().map(|(offset, key, _)| (key, offset)).collect();
    assert_eq!(left, newest);
    assert_eq!(records(&log).len(), newest.len());
}

#[test]
fn a_tombstone_stays_until_its_time_and_then_goes() {
    let fixture = Fixture::new();
    let log = fixture.open(&compacted(100_000), OpenMode::default());
    append(&log, &[("a", Some("1")), ("b", Some("1"))], 10);
    append(&log, &[("a", None)], 20);
    seal(&log);
    let report = clean(&log, 0, 1_000);
    let tombstone = vec![(1, "b".to_owned(), Some("1".to_owned())), (2, "a".to_owned(), None)];
    assert_eq!(records(&log), tombstone);
    let marked = batches(&log).into_iter().find(|batch| batch.has_delete_horizon()).unwrap();
    assert_eq!((marked.base_timestamp(), marked.max_timestamp()), (1_000 + 24 * HOUR_MS, 20));
    assert_eq!(marked.records(1 << 20).unwrap().next().unwrap().unwrap().timestamp, 20, "its own time stays");
    // A day later, and no earlier, the next cleaning takes it.
    append(&log, &[("c", Some("1"))], 30);
    seal(&log);
    let report = clean(&log, report.cleaned_up_to.0, 1_000 + 24 * HOUR_MS);
    assert!(records(&log).contains(&tombstone[1]));
    append(&log, &[("d", Some("1"))], 40);
    seal(&log);
    clean(&log, report.cleaned_up_to.0, 1_001 + 24 * HOUR_MS);
    assert!(!records(&log).iter().any(|(_, key, _)| key == "a"), "{:?}", records(&log));
}

#[test]
fn a_tombstone_that_a_full_map_did_not_reach_does_not_go_before_the_records_that_it_deletes() {
    let fixture = Fixture::new();
    let log = fixture.open(&compacted(1 << 20), OpenMode::default());
    append(&log, &[("deleted", Some("old"))], 0);
    let fill = |from: i64, to: i64| {
        for n in from..to {
            let keys: Vec<String> = (0..100).map(|part| format!("key {}", n * 100 + part)).collect();
            append(&log, &keys.iter().map(|key| (key.as_str(), Some("v"))).collect::<Vec<_>>(), 1);
        }
    };
    fill(0, 30);
    append(&log, &[("deleted", None)], 2);
    seal(&log);
    assert_eq!(log.segment_count(), 2, "all of it in one segment");
    let small = CleanLimits { map_bytes_max: 0, ..LIMITS };
    let (mut from, mut now_ms, mut passes) = (Offset::ZERO, 1_000, 0);
    let has =
        |value: Option<&str>| records(&log).iter().any(|(_, key, there)| key == "deleted" && there.as_deref() == value);
    loop {
        let report = log.clean(from, small, now_ms, &Unthrottled).unwrap();
        assert!(has(None), "the tombstone of pass {passes}, which no pass has met for a day");
        from = report.cleaned_up_to;
        passes += 1;
        if !report.more_to_do {
            break;
        }
        assert!(has(Some("old")), "not reached by pass {passes}");
        now_ms += 100 * HOUR_MS;
    }
    assert!(passes > 3 && !has(Some("old")), "{passes} passes");
    log.clean(from, LIMITS, now_ms + 25 * HOUR_MS, &Unthrottled).unwrap();
    assert!(!has(None));
}

#[test]
fn where_time_deletes_too_compaction_keeps_nothing_for_the_sake_of_its_neighbours() {
    let fixture = Fixture::new();
    let config = LogConfig { retention_ms: 50_000, segment_ms: 999, ..compacted(100_000) };
    let log = fixture.open(&config, OpenMode::default());
    let mut cleaned = 0;
    for second in 0..200 {
        let key = format!("key {second}");
        let batch = build(&[(key.as_str(), Some("value"))], second * 1_000, &BatchFields::default());
        log.append(batch, LeaderEpoch(1), second * 1_000).unwrap();
        log.update_high_watermark(log.offsets().log_end);
        let limits = CleanLimits { map_bytes_max: 1 << 20, decompressed_bytes_max: 1 << 20 };
        cleaned = log.clean(Offset(cleaned), limits, second * 1_000, &Unthrottled).unwrap().cleaned_up_to.0;
        log.apply_retention(second * 1_000).unwrap();
        let kept = log.offsets().log_end.0 - log.offsets().log_start.0;
        assert!(kept <= 50 + 5 + 2, "{kept} seconds are kept after {second}");
        assert!(second < 50 || kept >= 50, "{kept} seconds are kept after {second}");
    }
    assert!(log.segment_count() < 30, "{} segments", log.segment_count());
}

#[test]
fn a_cleaned_segment_is_as_old_as_its_newest_append_for_the_next_start_too() {
    let fixture = Fixture::new();
    let log = fixture.open(&compacted(100_000), OpenMode::default());
    let appended_ms = 1_600_000_000_000;
    append(&log, &[("a", Some("1")), ("a", Some("2"))], appended_ms);
    seal(&log);
    assert_eq!(clean(&log, 0, appended_ms + HOUR_MS).records_removed, 1);
    let file = std::fs::metadata(fixture.0.path().join(format!("t-0/{:020}.log", 0))).unwrap();
    let modified = file.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(modified.as_millis(), appended_ms as u128);
}

#[test]
fn a_record_larger_than_any_buffer_is_compacted_like_any_other() {
    let fixture = Fixture::new();
    let log = fixture.open(&compacted(64 << 20), OpenMode::default());
    let (first, second) = ("x".repeat(9 << 20), "y".repeat(9 << 20));
    append(&log, &[("large", Some(&first)), ("small", Some("1"))], 1);
    append(&log, &[("small", Some("2"))], 2);
    append(&log, &[("large", Some(&second))], 3);
    append(&log, &[("large, compressed", Some(&first))], 4);
    let fields = BatchFields { compression: Compression::Zstd, ..Default::default() };
    append_as(&log, &[("large, compressed", Some(&second))], 5, &fields);
    seal(&log);
    let limits = CleanLimits { map_bytes_max: 0, decompressed_bytes_max: 32 << 20 };
    let report = log.clean(Offset::ZERO, limits, 1_000, &Unthrottled).unwrap();
    assert_eq!((report.records_removed, report.more_to_do), (3, false));
    let left = |log: &Log| {
        let all = batches(log).into_iter().flat_map(|batch| {
            let records = batch.records(32 << 20).unwrap().map(Result::unwrap);
            records.map(|record| (record.offset, record.value.unwrap().len())).collect::<Vec<_>>()
        });
        all.collect::<Vec<_>>()
    };
    assert_eq!(left(&log)[..3], [(2, 1), (3, 9 << 20), (5, 9 << 20)]);
    assert!(log.size_bytes() < 10 << 20, "what was compressed is still: {}", log.size_bytes());
}

/// Counts what passes, and stops the work at one of the calls.
struct Meter {
    bytes: AtomicU64,
    calls: AtomicU64,
    stop_at: u64,
    /// Each step, and how much was to pass in it.
    steps: Mutex<Vec<(&'static str, u64)>>,
}

impl Throttle for Meter {
    fn pass(&self, bytes: u64) -> Result<(), StorageError> {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.calls.fetch_add(1, Ordering::Relaxed) + 1 == self.stop_at { Err(StorageError::Stopped) } else { Ok(()) }
    }

    fn begin_step(&self, name: &'static str, bytes: u64) {
        self.steps.lock().push((name, bytes));
    }
}

#[test]
fn every_byte_passes_the_throttle_and_a_stop_leaves_the_log_as_it_was_or_cleaned() {
    let (fixture, log) = a_hundred_of_seven_keys();
    let newest = |log: &Log| records(log).into_iter().map(|(offset, key, _)| (key, offset)).collect::<BTreeMap<_, _>>();
    let expected = newest(&log);
    let mut calls = 0;
    for stop_at in 1.. {
        let meter = Meter { bytes: AtomicU64::new(0), calls: AtomicU64::new(0), stop_at, steps: Mutex::default() };
        let cleaned = log.clean(Offset::ZERO, LIMITS, 1_000, &meter);
        assert_eq!(newest(&log), expected, "stopped at {stop_at}");
        let left = std::fs::read_dir(fixture.0.path().join("t-0")).unwrap().map(|file| file.unwrap().file_name());
        assert!(left.into_iter().all(|name| !name.to_string_lossy().ends_with("cleaned")), "stopped at {stop_at}");
        match cleaned {
            Err(StorageError::Stopped) => calls = meter.calls.load(Ordering::Relaxed),
            Ok(_) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(calls > 50, "{calls}");
    assert_eq!(records(&log).len(), 7);
    let (_fixture, log) = a_hundred_of_seven_keys();
    let sealed_bytes = log.size_bytes() - batches(&log).pop().unwrap().size_in_bytes() as u64;
    let meter = Meter { bytes: AtomicU64::new(0), calls: AtomicU64::new(0), stop_at: 0, steps: Mutex::default() };
    let report = log.clean(Offset::ZERO, LIMITS, 1_000, &meter).unwrap();
    // Read once for the keys, and read and written again.
    assert_eq!((meter.bytes.load(Ordering::Relaxed), report.records_removed), (3 * sealed_bytes, 93));
    let steps = meter.steps.into_inner();
    assert_eq!(steps, [("reading keys", sealed_bytes), ("rewriting segments", 2 * sealed_bytes)]);
}

fn a_hundred_of_seven_keys() -> (Fixture, Arc<Log>) {
    let fixture = Fixture::new();
    let log = fixture.open(&compacted(2_000), OpenMode::default());
    for n in 0..100 {
        append(&log, &[(&format!("key {}", n % 7), Some("some value"))], n);
    }
    seal(&log);
    (fixture, log)
}

/// Has space for nothing more beside so many segments that are not in their place yet.
struct Crowded {
    dir: std::path::PathBuf,
    beside_max: u64,
    most_beside: AtomicU64,
}

impl Throttle for Crowded {
    fn pass(&self, _bytes: u64) -> Result<(), StorageError> {
        Ok(())
    }

    fn claim_space(&self, bytes: u64) -> Result<SpaceClaim, StorageError> {
        let files = std::fs::read_dir(&self.dir).unwrap().map(|file| file.unwrap().file_name());
        let beside = files.filter(|name| name.to_string_lossy().ends_with("cleaned")).count() as u64;
        self.most_beside.fetch_max(beside, Ordering::Relaxed);
        match beside > self.beside_max {
            true => Err(StorageError::NoSpaceAboveReserve { bytes, free_bytes: 0, reserve_bytes: 0 }),
            false => Ok(SpaceClaim::default()),
        }
    }
}

#[test]
fn new_segments_take_their_places_together_and_sooner_where_space_is_short() {
    for (beside_max, most_beside) in [(100, 4), (0, 1), (2, 3)] {
        let (fixture, log) = a_hundred_of_seven_keys();
        let dir = fixture.0.path().join("t-0");
        let crowded = Crowded { dir, beside_max, most_beside: AtomicU64::new(0) };
        let report = log.clean(Offset::ZERO, LIMITS, 1_000, &crowded).unwrap();
        assert_eq!((report.records_removed, records(&log).len()), (93, 7));
        assert!(report.bytes_written > 0 && report.bytes_written < report.bytes_read / 2, "{report:?}");
        assert_eq!(crowded.most_beside.into_inner(), most_beside, "{beside_max} beside are allowed");
    }
}

#[test]
fn what_is_too_young_stays_as_it_is() {
    let fixture = Fixture::new();
    let log = fixture.open(&LogConfig { min_compaction_lag_ms: 100, ..compacted(300) }, OpenMode::default());
    for n in 0..20 {
        append(&log, &[("a", Some("some value that fills a segment")), ("b", Some("x"))], n * 10);
    }
    seal(&log);
    clean(&log, 0, 200);
    let left = records(&log);
    let young = left.iter().filter(|(_, key, _)| key == "a").count();
    assert!((10..=12).contains(&young), "only what is older than 100 ms was cleaned: {left:?}");
}

#[test]
fn the_last_batches_of_a_producer_answer_its_repeats_when_the_snapshot_is_lost() {
    let fixture = Fixture::new();
    let config = compacted(500);
    let log = fixture.open(&config, OpenMode::default());
    let fields =
        |sequence| BatchFields { producer_id: 9, producer_epoch: 0, base_sequence: sequence, ..Default::default() };
    for sequence in 0..30 {
        append_as(&log, &[("a", Some("some value"))], 5, &fields(sequence));
    }
    for _ in 0..20 {
        append(&log, &[("a", Some("by another"))], 6);
    }
    seal(&log);
    clean(&log, 0, 1_000);
    assert_eq!(records(&log).len(), 1);
    log.close().unwrap();
    for file in std::fs::read_dir(fixture.0.path().join("t-0")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "snapshot") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let log = fixture.open(&config, OpenMode::default());
    for sequence in 25..30 {
        let again = log.append(build(&[("a", Some("some value"))], 5, &fields(sequence)), LeaderEpoch(1), 0).unwrap();
        assert_eq!((again.duplicate, again.base_offset), (true, Offset(i64::from(sequence))));
    }
    assert!(!log.append(build(&[("a", Some("next"))], 5, &fields(30)), LeaderEpoch(1), 0).unwrap().duplicate);
}

#[test]
fn epochs_keep_their_starts_and_answers_when_their_file_is_lost() {
    let fixture = Fixture::new();
    let config = compacted(700);
    let log = fixture.open(&config, OpenMode::default());
    for n in 0..40 {
        let batch = build(&[("a", Some("some value"))], n, &BatchFields::default());
        log.append(batch, LeaderEpoch(1 + (n / 7) as i32), 0).unwrap();
    }
    log.append(build(&[("b", Some("x"))], 50, &BatchFields::default()), LeaderEpoch(7), 0).unwrap();
    let ends = |log: &Log| (0..8).map(|epoch| log.end_offset_for_epoch(LeaderEpoch(epoch))).collect::<Vec<_>>();
    let before = ends(&log);
    let sealed = log.segment_count() - 1;
    assert!(sealed > 3);
    clean(&log, 0, 1_000);
    assert_eq!(ends(&log), before);
    log.close().unwrap();
    std::fs::remove_file(fixture.0.path().join("t-0/leader-epoch-checkpoint")).unwrap();
    assert_eq!(ends(&fixture.open(&config, OpenMode::default())), before);
}

#[test]
fn aborted_records_go_and_markers_follow_when_they_are_not_needed() {
    let fixture = Fixture::new();
    let log = fixture.open(&compacted(100_000), OpenMode::default());
    let fields = |id, sequence| BatchFields {
        producer_id: id,
        producer_epoch: 0,
        base_sequence: sequence,
        is_transactional: true,
        ..Default::default()
    };
    let marker = |id, commits: bool| marker(id, 0, commits, 5);
    append_as(&log, &[("a", Some("aborted")), ("only", Some("aborted"))], 1, &fields(1, 0));
    append_as(&log, &[("a", Some("committed"))], 2, &fields(2, 0));
    log.append(marker(1, false), LeaderEpoch(1), 0).unwrap();
    log.append(marker(2, true), LeaderEpoch(1), 0).unwrap();
    log.update_high_watermark(log.offsets().log_end);
    seal(&log);
    log.update_high_watermark(log.offsets().log_end);
    let report = clean(&log, 0, 1_000);
    let control = |log: &Log| batches(log).iter().filter(|batch| batch.is_control()).count();
    let data = |log: &Log| -> Vec<_> {
        let plain = batches(log).into_iter().filter(|batch| !batch.is_control());
        plain.flat_map(|batch| batch.records(1 << 20).unwrap().map(|r| r.unwrap().offset).collect::<Vec<_>>()).collect()
    };
    assert_eq!(data(&log)[..1], [2], "the aborted ones are gone, the committed one is not");
    assert_eq!(control(&log), 2, "both markers are there: consumers have to see them");
    append(&log, &[("b", Some("x"))], 30);
    seal(&log);
    clean(&log, report.cleaned_up_to.0, 1_001 + 24 * HOUR_MS);
    let left: Vec<_> = batches(&log)
        .into_iter()
        .filter(|batch| batch.is_control())
        .map(|b| (b.producer_id(), b.record_count()))
        .collect();
    assert_eq!(left, [(2, 1)], "the abort marker has no record any more; the other's record is there");
    log.close().unwrap();
    for file in std::fs::read_dir(fixture.0.path().join("t-0")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "snapshot") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let log = fixture.open(&compacted(100_000), OpenMode::default());
    log.update_high_watermark(log.offsets().log_end);
    assert_eq!(log.first_unstable_offset(), None, "no transaction is open for want of a marker");
}

/// Producers, and the offsets of their markers, that the transaction indexes of a folder name.
fn named_as_aborted(fixture: &Fixture) -> Vec<(i64, i64)> {
    let files = std::fs::read_dir(fixture.0.path().join("t-0")).unwrap().map(|file| file.unwrap().path());
    let indexes = files.filter(|path| path.extension().is_some_and(|extension| extension == "txnindex"));
    let mut named: Vec<_> = indexes
        .flat_map(|path| {
            let entries = txn_index::read(&RealVfs, &path, 1 << 20).unwrap();
            assert!(!entries.is_empty(), "{}", path.display());
            entries.into_iter().map(|entry| (entry.producer_id.0, entry.last_offset.0)).collect::<Vec<_>>()
        })
        .collect();
    named.sort_unstable();
    named
}

#[test]
fn the_transaction_index_names_no_transaction_of_which_nothing_is_left() {
    let fixture = Fixture::new();
    let config = LogConfig { segment_ms: HOUR_MS * 1_000, ..compacted(1_500) };
    let log = fixture.open(&config, OpenMode::default());
    let mut markers = Vec::new();
    for n in 0..60 {
        let fields = BatchFields {
            producer_id: 7,
            producer_epoch: 0,
            base_sequence: 2 * n,
            is_transactional: true,
            ..Default::default()
        };
        append_as(&log, &[("a", Some("aborted")), ("b", Some("aborted"))], 1, &fields);
        append(&log, &[("committed", Some("x"))], 2);
        let end = log.append(marker(7, 0, false, 5), LeaderEpoch(1), 5).unwrap();
        markers.push((7, end.last_offset.0));
    }
    seal(&log);
    log.update_high_watermark(log.offsets().log_end);
    assert_eq!(named_as_aborted(&fixture), markers);
    clean(&log, 0, 1_000);
    assert_eq!(named_as_aborted(&fixture), []);
    assert_eq!(log.aborted_transactions(Offset(0), log.offsets().log_end).unwrap(), []);
    let keys: Vec<_> = records(&log).into_iter().map(|(_, key, _)| key).filter(|key| !key.starts_with('\0')).collect();
    assert_eq!(keys, ["committed"], "beside the markers");

    // A start builds none of them again, from the markers and the last batches of the producer, which are empty now.
    log.close().unwrap();
    std::fs::remove_file(fixture.0.path().join("t-0/cache-checksums")).unwrap();
    for file in std::fs::read_dir(fixture.0.path().join("t-0")).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_some_and(|extension| extension == "snapshot") {
            std::fs::remove_file(file).unwrap();
        }
    }
    let log = fixture.open(&config, OpenMode::default());
    assert_eq!(named_as_aborted(&fixture), []);
    assert_eq!(log.first_unstable_offset(), None);
}

#[test]
fn a_transaction_that_reaches_into_what_is_not_cleaned_is_still_named() {
    let fixture = Fixture::new();
    let config = LogConfig { segment_ms: HOUR_MS * 1_000, ..compacted(400) };
    let log = fixture.open(&config, OpenMode::default());
    let fields = |sequence| BatchFields {
        producer_id: 7,
        producer_epoch: 0,
        base_sequence: sequence,
        is_transactional: true,
        ..Default::default()
    };
    // It begins in the first segment, of which a batch is damaged, and ends in the third.
    for n in 0..12 {
        append_as(&log, &[("a", Some("aborted")), ("b", Some("aborted"))], 1, &fields(2 * n));
    }
    let end = log.append(marker(7, 0, false, 5), LeaderEpoch(1), 5).unwrap();
    append_as(&log, &[("c", Some("open"))], 1, &BatchFields { producer_id: 8, ..fields(0) });
    log.append(marker(8, 0, true, 5), LeaderEpoch(1), 5).unwrap();
    seal(&log);
    log.update_high_watermark(log.offsets().log_end);
    assert!(log.segment_count() > 3);
    let first = fixture.0.path().join("t-0").join(format!("{:020}.log", 0));
    let mut bytes = std::fs::read(&first).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&first, &bytes).unwrap();
    log.close().unwrap();
    let log = fixture.open(&config, OpenMode::default());
    log.update_high_watermark(log.offsets().log_end);
    assert_eq!(log.corrupt_ranges().len(), 1);
    clean(&log, 0, 1_000);
    assert_eq!(named_as_aborted(&fixture), [(7, end.last_offset.0)], "records of it are in the damaged segment");
}

#[test]
fn an_index_that_names_more_than_its_segment_has_bytes_is_read() {
    let fixture = Fixture::new();
    let log = fixture.open(&compacted(100_000), OpenMode::default());
    for n in 0..200 {
        append(&log, &[("a", Some("x")), ("b", Some(&n.to_string()))], 1);
    }
    seal(&log);
    clean(&log, 0, 1_000);
    let names = (1..200).map(|n| txn_index::AbortedTxn {
        producer_id: crate::types::ProducerId(7),
        first_offset: Offset(2 * n),
        last_offset: Offset(2 * n + 1),
        last_stable_offset: Offset(2 * n + 2),
    });
    let names: Vec<_> = names.collect();
    let path = fixture.0.path().join("t-0").join(format!("{:020}.txnindex", 0));
    let content = txn_index::encode_all(&names);
    assert!(content.len() as u64 > log.size_bytes(), "{} bytes", log.size_bytes());
    std::fs::write(&path, content).unwrap();
    assert_eq!(log.aborted_transactions(Offset(0), log.offsets().log_end).unwrap(), names);
    // What cannot be an index of this log is not read into memory.
    std::fs::write(&path, vec![0; 34 * (log.offsets().log_end.0 as usize + 2)]).unwrap();
    assert!(log.aborted_transactions(Offset(0), log.offsets().log_end).is_err());
}

#[test]
fn a_batch_that_does_not_decompress_and_one_that_is_damaged_stay() {
    let fixture = Fixture::new();
    let config = compacted(100_000);
    let log = fixture.open(&config, OpenMode::default());
    let large = "x".repeat(100_000);
    let fields = BatchFields { compression: Compression::Zstd, ..Default::default() };
    append_as(&log, &[("a", Some(&large))], 1, &fields);
    append(&log, &[("a", Some("newer"))], 2);
    append(&log, &[("b", Some("1")), ("b", Some("2"))], 3);
    seal(&log);
    let tight = CleanLimits { decompressed_bytes_max: 50_000, ..LIMITS };
    log.clean(Offset::ZERO, tight, 1_000, &Unthrottled).unwrap();
    let offsets: Vec<_> = records(&log).into_iter().map(|(offset, ..)| offset).collect();
    assert_eq!(offsets, [0, 1, 3], "what cannot be read stays, the others are cleaned");
    log.close().unwrap();
    let path = fixture.0.path().join("t-0").join(format!("{:020}.log", 0));
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let log = fixture.open(&config, OpenMode { clean: true, ..OpenMode::default() });
    let refused = log.clean(Offset::ZERO, LIMITS, 1_000, &Unthrottled);
    assert!(matches!(refused, Err(StorageError::Damaged { .. })), "{refused:?}");
    assert_eq!(log.corrupt_ranges().len(), 1, "and from now on it is refused to readers");
    log.clean(Offset::ZERO, LIMITS, 1_000, &Unthrottled).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "the damaged segment is as it was");
}
