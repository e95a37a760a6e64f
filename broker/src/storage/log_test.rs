//! Goal: a log does what its functions promise, also across a roll and a reopen. Method: real files in a temporary folder,
//! small segments, every offset read back.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::storage::batch_header::HEADER_BYTES;
use crate::storage::error::{AppendError, ReadError};
use crate::storage::producer_state::ProducerStateError;
use crate::storage::test_batch::{TestBatch, batch};
use crate::storage::validated_batch::ValidatedBatch;
use crate::storage::vfs::RealVfs;

const EPOCH: LeaderEpoch = LeaderEpoch(3);

struct Fixture {
    dir: tempfile::TempDir,
    config: LogConfig,
}

impl Fixture {
    fn new(config: LogConfig) -> Fixture {
        let fixture = Fixture { dir: tempfile::tempdir().unwrap(), config };
        std::fs::create_dir(fixture.log_dir()).unwrap();
        fixture
    }

    fn log_dir(&self) -> PathBuf {
        self.dir.path().join("t-0")
    }

    fn open(&self, mode: OpenMode) -> (Arc<Log>, RecoveryReport) {
        let context = LogContext {
            open_files: OpenFiles::new(Arc::new(RealVfs), 4),
            quarantine: self.dir.path().join("quarantine"),
            producer_limits: ProducerLimits::default(),
        };
        let config = Arc::new(self.config.clone());
        Log::open(context, &self.log_dir(), TopicPartition::new("t", 0), config, mode, 0).unwrap()
    }

    fn fresh(&self) -> Arc<Log> {
        self.open(OpenMode::default()).0
    }

    fn files(&self, extension: &str) -> Vec<String> {
        let names = std::fs::read_dir(self.log_dir()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(&format!(".{extension}"))).collect();
        names.sort();
        names
    }
}

fn small_segments() -> LogConfig {
    LogConfig { segment_bytes: 4096, index_interval_bytes: 256, ..LogConfig::default() }
}

const CLEAN: OpenMode = OpenMode { clean: true, recovery_point: None, log_start: None, durable_end: None };

fn fill(log: &Log, batches: usize, first: usize) {
    for n in first..first + batches {
        let records = 1 + n % 3;
        let outcome = log.append(TestBatch::of(records, 40, 1_000 + n as i64 * 10).build(), EPOCH, 0).unwrap();
        assert_eq!(outcome.last_offset.0 - outcome.base_offset.0 + 1, records as i64);
    }
}

/// Reads the whole log batch by batch, from every offset, and checks that offsets are dense.
fn check_dense(log: &Log) {
    let LogOffsets { log_start, log_end, .. } = log.offsets();
    let mut expected = log_start;
    while expected < log_end {
        let read = log.read(expected, 1, log_end, true).unwrap();
        let bytes = read.slice.unwrap().read().unwrap();
        let header = crate::storage::batch_header::BatchHeader::parse(&bytes).unwrap();
        assert_eq!(bytes.len(), header.size_bytes as usize);
        assert!(header.base_offset <= expected, "{expected}: {header:?}");
        for offset in header.base_offset.max(log_start).0..=header.last_offset().0 {
            let again = log.read(Offset(offset), 1, log_end, true).unwrap();
            assert_eq!(again.base_offset, Some(header.base_offset), "from the middle of a batch comes the whole batch");
        }
        expected = header.next_offset();
    }
    assert_eq!(expected, log_end);
}

#[test]
fn offsets_are_dense_across_rolls_and_reopening() {
    let fixture = Fixture::new(small_segments());
    let log = fixture.fresh();
    fill(&log, 200, 0);
    assert!(log.segment_count() > 5);
    check_dense(&log);
    let end = log.offsets().log_end;
    assert_eq!(log.close().unwrap(), end);
    assert!(matches!(log.append(batch(&["x"], 0).build(), EPOCH, 0), Err(AppendError::Storage(_))));

    let (log, report) = fixture.open(CLEAN);
    assert_eq!((report.cut_bytes, report.corrupt.len(), report.indexes_rebuilt), (0, 0, 0));
    assert!(report.checked_bytes < 1024, "a clean start reads the end only: {report:?}");
    assert_eq!(log.offsets(), LogOffsets { log_start: Offset(0), log_end: end, flushed: end });
    fill(&log, 50, 200);
    check_dense(&log);
    drop(log);

    // Killed: no close. Everything is checked, nothing is lost, indexes are completed.
    let (log, report) = fixture.open(OpenMode::default());
    assert_eq!((report.cut_bytes, report.corrupt.len()), (0, 0));
    assert_eq!(report.checked_bytes, log.size_bytes());
    fill(&log, 50, 250);
    check_dense(&log);
}

#[test]
fn the_recovery_point_bounds_the_work() {
    let fixture = Fixture::new(LogConfig { segment_bytes: 1 << 20, index_interval_bytes: 256, ..LogConfig::default() });
    let log = fixture.fresh();
    fill(&log, 2_000, 0);
    let point = log.checkpoint().unwrap();
    let before = log.size_bytes();
    fill(&log, 100, 2_000);
    drop(log);
    let (log, report) = fixture.open(OpenMode { recovery_point: Some(point), ..OpenMode::default() });
    let added = log.size_bytes() - before;
    assert!(report.checked_bytes >= added && report.checked_bytes < added + 2_000, "{report:?}, {added} added");
    check_dense(&log);
    let (full, report) = fixture.open(OpenMode::default());
    assert_eq!(report.indexes_rebuilt, 0, "what recovery makes of a part and of the whole is the same");
    check_dense(&full);
}

#[test]
fn reads_keep_to_their_bounds() {
    let fixture = Fixture::new(small_segments());
    let log = fixture.fresh();
    fill(&log, 100, 0);
    let end = log.offsets().log_end;
    let at = |from: i64, max, up_to: Offset, min_one| log.read(Offset(from), max, up_to, min_one);
    assert!(matches!(at(-1, 100, end, true), Err(ReadError::OutOfRange { .. })));
    assert!(matches!(at(end.0 + 1, 100, end, true), Err(ReadError::OutOfRange { .. })));
    assert!(at(end.0, 100, end, true).unwrap().slice.is_none());
    assert!(at(0, 10, end, false).unwrap().slice.is_none(), "the first batch does not fit");
    assert_eq!(at(0, 500, end, false).unwrap().slice.unwrap().len, 500);
    for up_to in 0..=end.0 {
        for from in [0, up_to / 2, up_to - 1, up_to] {
            let Ok(read) = at(from.max(0), 1 << 20, Offset(up_to), true) else { continue };
            let Some(slice) = read.slice else { continue };
            let bytes = slice.read().unwrap();
            let mut at = 0;
            while at < bytes.len() {
                let header = crate::storage::batch_header::BatchHeader::parse(&bytes[at..]).unwrap();
                assert!(header.base_offset.0 < up_to, "from {from} up to {up_to}: {header:?}");
                at += header.size_bytes as usize;
            }
            assert_eq!(at, bytes.len());
        }
    }
}

#[test]
fn deleted_records_stay_deleted() {
    let fixture = Fixture::new(small_segments());
    let log = fixture.fresh();
    fill(&log, 200, 0);
    let logs_before = fixture.files("log").len();
    assert_eq!(log.delete_records(Offset(150)).unwrap(), Offset(150));
    assert_eq!(log.delete_records(Offset(20)).unwrap(), Offset(150), "never back");
    assert!(matches!(log.read(Offset(149), 1, Offset(1000), true), Err(ReadError::OutOfRange { .. })));
    assert!(fixture.files("log").len() < logs_before);
    check_dense(&log);
    let end = log.offsets().log_end;
    drop(log);
    let (log, _) = fixture.open(OpenMode::default());
    assert_eq!(log.offsets().log_start, Offset(150));
    check_dense(&log);
    assert_eq!(log.delete_records(Offset(i64::MAX)).unwrap(), end);
    drop(log);
    let (log, _) = fixture.open(OpenMode::default());
    log.flush().unwrap();
    assert_eq!(log.offsets(), LogOffsets { log_start: end, log_end: end, flushed: end });
}

#[test]
fn a_repeat_is_answered_with_its_first_offset_also_after_a_restart() {
    let fixture = Fixture::new(small_segments());
    let log = fixture.fresh();
    let from = |sequence| TestBatch::of(2, 40, 5).by_producer(77, 0, sequence).build();
    let mut first = Vec::new();
    for n in 0..50 {
        first.push(log.append(from(n * 2), EPOCH, 0).unwrap().base_offset);
        fill(&log, 1, n as usize);
    }
    let repeat = |log: &Log, n: i32| log.append(from(n * 2), EPOCH, 0);
    for mode in [OpenMode::default(), CLEAN] {
        let log = fixture.open(mode).0;
        let before = log.offsets();
        for n in 45..50 {
            let outcome = repeat(&log, n).unwrap();
            assert!(outcome.duplicate);
            assert_eq!(outcome.base_offset, first[n as usize]);
        }
        let older = repeat(&log, 3);
        assert!(matches!(older, Err(AppendError::Producer(ProducerStateError::DuplicateSequence { .. }))), "{older:?}");
        let gap = repeat(&log, 60);
        assert!(matches!(gap, Err(AppendError::Producer(ProducerStateError::OutOfOrderSequence { .. }))), "{gap:?}");
        assert_eq!(log.offsets(), before);
        log.close().unwrap();
    }
}

#[test]
fn epochs_are_known_also_after_a_restart() {
    let fixture = Fixture::new(small_segments());
    let log = fixture.fresh();
    for (epoch, batches) in [(1, 10), (4, 30), (5, 5)] {
        for _ in 0..batches {
            log.append(batch(&["x"], 0).build(), LeaderEpoch(epoch), 0).unwrap();
        }
    }
    let answers = |log: &Log| -> Vec<_> { (0..7).map(|e| log.end_offset_for_epoch(LeaderEpoch(e))).collect() };
    let expected = answers(&log);
    assert_eq!(expected[2].map(|end| (end.epoch.0, end.end_offset.0)), Some((1, 10)));
    drop(log);
    let log = fixture.fresh();
    assert_eq!(answers(&log), expected);
    log.close().unwrap();
    std::fs::write(fixture.log_dir().join("leader-epoch-checkpoint"), "0\n1\n9 9\nx").unwrap();
    assert_eq!(answers(&fixture.open(CLEAN).0), expected, "a damaged checkpoint is rebuilt, after a clean stop too");
}

#[test]
fn a_segment_rolls_by_age_of_its_records_and_by_the_clock() {
    let config = LogConfig { segment_ms: 1000, ..LogConfig::default() };
    let fixture = Fixture::new(config);
    let log = fixture.fresh();
    let append = |timestamp, now| {
        log.append(batch(&["x"], timestamp).build(), EPOCH, now).unwrap();
        log.segment_count()
    };
    assert_eq!([append(5_000, 0), append(6_000, 0)], [1, 1]);
    assert_eq!(append(6_001, 0), 2, "more than segment.ms after the first record");
    assert_eq!(append(1, 900), 2, "records may be older");
    assert_eq!(append(1, 1_001), 3, "by the clock");
    assert_eq!([append(i64::MAX - 10, 1_001), append(1, 1_002)], [4, 4]);
    assert_eq!(append(1, 3_000), 5, "a timestamp of the far future does not keep a segment open");
}

#[test]
fn flush_tells_the_observer_and_moves_the_flushed_offset() {
    #[derive(Default)]
    struct Seen(AtomicI64, AtomicUsize);
    impl LogObserver for Seen {
        fn flushed(&self, up_to: Offset) {
            self.0.store(up_to.0, Ordering::Relaxed);
        }
        fn failed(&self, _why: &StorageError) {
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }
    let fixture = Fixture::new(small_segments());
    let log = fixture.fresh();
    let seen = Arc::new(Seen::default());
    assert!(log.observe(seen.clone()));
    assert!(!log.observe(seen.clone()));
    fill(&log, 20, 0);
    assert_eq!(log.offsets().flushed, Offset(0));
    let end = log.flush().unwrap();
    assert_eq!((log.offsets().flushed, log.offsets().log_end, seen.0.load(Ordering::Relaxed)), (end, end, end.0));
    assert_eq!(seen.1.load(Ordering::Relaxed), 0);
}

#[test]
fn what_does_not_fit_a_segment_is_refused() {
    let fixture = Fixture::new(small_segments());
    let log = fixture.fresh();
    let refused = log.append(TestBatch::of(1, 5000, 0).build(), EPOCH, 0);
    assert!(matches!(refused, Err(AppendError::BatchTooLarge { limit_bytes: 4096, .. })), "{refused:?}");
    assert_eq!(log.offsets().log_end, Offset(0));
}

#[test]
fn searches_by_time_find_the_record_that_a_scan_finds() {
    let fixture = Fixture::new(small_segments());
    let log = fixture.fresh();
    let mut all: Vec<(i64, i64)> = Vec::new();
    for n in 0..300i64 {
        // Mostly rising, now and then far back or ahead.
        let timestamp = 10_000 + n * 5 + if n % 37 == 0 { 400 } else { 0 } - if n % 23 == 0 { 700 } else { 0 };
        let records = 1 + n % 4;
        let base = log.append(TestBatch::of(records as usize, 30, timestamp).build(), EPOCH, 0).unwrap().base_offset.0;
        all.extend((0..records).map(|r| (timestamp + r, base + r)));
    }
    let check = |log: &Log, start: i64| {
        let present: Vec<_> = all.iter().filter(|(_, offset)| *offset >= start).collect();
        for timestamp in (9_000..12_500).step_by(3) {
            let expected = present.iter().find(|(t, _)| *t >= timestamp).map(|(t, o)| (*t, *o));
            let found = log.offset_for_timestamp(timestamp).unwrap().map(|found| (found.timestamp, found.offset.0));
            assert_eq!(found, expected, "timestamp {timestamp}, log start {start}");
        }
        let largest = present.iter().map(|(t, _)| *t).max();
        let expected = present.iter().find(|(t, _)| Some(*t) == largest).map(|(t, o)| (*t, *o));
        let found = log.max_timestamp_offset().unwrap();
        assert_eq!(found.map(|found| (found.timestamp, found.offset.0)), expected);
        assert!(found.is_none_or(|found| found.leader_epoch == EPOCH));
    };
    check(&log, 0);
    log.close().unwrap();
    let log = fixture.open(CLEAN).0;
    check(&log, 0);
    drop(log);
    let log = fixture.fresh();
    for start in [1, 100, 333, all.len() as i64 - 1, all.len() as i64] {
        log.delete_records(Offset(start)).unwrap();
        check(&log, start);
    }
}

#[test]
fn a_batch_beyond_the_bound_on_decompressed_bytes_is_answered_by_its_header() {
    use ottla_protocol::records::{BatchBuilder, BatchFields, Compression};
    let fixture = Fixture::new(LogConfig { segment_bytes: 1 << 20, ..LogConfig::default() });
    let log = fixture.fresh();
    log.append(batch(&["before"], 500).build(), EPOCH, 0).unwrap();
    let mut builder = BatchBuilder::new();
    (0..100).for_each(|n| builder.append(1_000 + n, None, Some(&[0; 10_000]), &[]));
    let fields = BatchFields { compression: Compression::Zstd, ..BatchFields::default() };
    let bytes = builder.build(&fields).unwrap();
    let header = bytes[..HEADER_BYTES].try_into().unwrap();
    log.append(ValidatedBatch::new(header, bytes.slice(HEADER_BYTES..)), EPOCH, 0).unwrap();
    let found = |log: &Log| {
        let by_time = log.offset_for_timestamp(1_050).unwrap().unwrap();
        let largest = log.max_timestamp_offset().unwrap().unwrap();
        [by_time, largest].map(|found| (found.timestamp, found.offset.0))
    };
    assert_eq!(found(&log), [(1_050, 51), (1_099, 100)]);
    log.update_config(Arc::new(LogConfig { decompressed_bytes_max: 100_000, ..fixture.config.clone() }));
    assert_eq!(found(&log), [(1_099, 1), (1_099, 100)], "too early is allowed, too late is not");
}

#[test]
fn readers_follow_a_writer_that_rolls_deletes_and_flushes() {
    let fixture = Fixture::new(small_segments());
    let log = fixture.fresh();
    fill(&log, 30, 0);
    log.close().unwrap();
    // Opened again, so that the first segments have to be checked by the readers.
    let log = fixture.open(CLEAN).0;
    const BATCHES: usize = 1500;
    let done = AtomicBool::new(false);
    let follow = |max_bytes: usize| {
        let mut at = Offset(0);
        let mut seen = 0;
        loop {
            let finished = done.load(Ordering::Acquire);
            let end = log.offsets().log_end;
            match log.read(at, max_bytes, end, true) {
                Ok(read) => {
                    let Some(slice) = read.slice else {
                        if finished && at == log.offsets().log_end {
                            return seen;
                        }
                        std::thread::yield_now();
                        continue;
                    };
                    let bytes = slice.read().unwrap();
                    let mut position = 0;
                    while let Some(header) = crate::storage::batch_header::BatchHeader::parse(&bytes[position..]) {
                        let behind = position + header.size_bytes as usize;
                        let Some(batch) = bytes.get(position..behind) else { break };
                        // The start of the log may lie in the middle of a batch, which then comes whole.
                        let from_middle = position == 0 && header.base_offset < at && at < header.next_offset();
                        assert!(header.base_offset == at || from_middle, "no gap and no repeat: {at}, {header:?}");
                        assert_eq!(header.crc, ottla_protocol::records::crc32c(&batch[21..]));
                        (at, position, seen) = (header.next_offset(), behind, seen + 1);
                    }
                    assert!(position > 0, "at least one whole batch");
                }
                Err(ReadError::OutOfRange { log_start, .. }) if log_start > at => at = log_start,
                Err(error) => panic!("{at}: {error}"),
            }
        }
    };
    std::thread::scope(|scope| {
        let follow = &follow;
        let readers = [1, 500, 100_000].map(|max_bytes| scope.spawn(move || follow(max_bytes)));
        let flusher = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                log.flush().unwrap();
                let end = log.offsets().log_end;
                log.delete_records(Offset(end.0 - 600)).unwrap();
            }
        });
        fill(&log, BATCHES, 30);
        done.store(true, Ordering::Release);
        flusher.join().unwrap();
        for reader in readers {
            let seen = reader.join().unwrap();
            assert!(seen > 200, "{seen} batches were seen");
        }
    });
    check_dense(&log);
}
