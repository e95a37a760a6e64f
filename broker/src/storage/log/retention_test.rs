//! Goal: exactly the segments that the limits allow to go do go, the log stays readable, and a restart changes nothing.
//! Method: real files, segments of one batch each, a clock that the test turns.

use std::path::PathBuf;
use std::sync::Arc;

use crate::storage::test_batch::{TestBatch, batch};
use crate::storage::vfs::RealVfs;
use crate::storage::{Log, LogConfig, LogContext, LogOffsets, OpenFiles, OpenMode, ProducerLimits};
use crate::types::{LeaderEpoch, Offset, TopicPartition};

const HOUR_MS: i64 = 3_600_000;

struct Fixture(tempfile::TempDir);

impl Fixture {
    fn new() -> Fixture {
        let fixture = Fixture(tempfile::tempdir().unwrap());
        std::fs::create_dir(fixture.dir()).unwrap();
        fixture
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("t-0")
    }

    /// A batch of ten records of 100 bytes fills a segment.
    fn open(&self, retention_ms: i64, retention_bytes: i64) -> Arc<Log> {
        let context = LogContext {
            open_files: OpenFiles::new(Arc::new(RealVfs), 4),
            quarantine: self.0.path().join("quarantine"),
            producer_limits: ProducerLimits::default(),
        };
        let config = LogConfig { segment_bytes: 1500, retention_ms, retention_bytes, ..LogConfig::default() };
        let partition = TopicPartition::new("t", 0);
        Log::open(context, &self.dir(), partition, Arc::new(config), OpenMode::default(), 0).unwrap().0
    }

    fn segment_files(&self) -> usize {
        let names = std::fs::read_dir(self.dir()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().ends_with(".log")).count()
    }
}

fn append(log: &Log, batch: &TestBatch) {
    log.append(batch.build(), LeaderEpoch(0), 0).unwrap();
}

/// One segment an hour, of ten records each, from hour 0 on.
fn fill(log: &Log, hours: i64) {
    for hour in 0..hours {
        append(log, &TestBatch::of(10, 100, hour * HOUR_MS));
    }
    assert_eq!(log.segment_count(), hours as usize);
}

#[test]
fn a_segment_goes_when_its_newest_record_is_too_old() {
    let fixture = Fixture::new();
    let log = fixture.open(2 * HOUR_MS, -1);
    fill(&log, 6);
    // The newest record of segment n bears n hours and 9 ms: one of exactly two hours is kept.
    assert_eq!(log.apply_retention(2 * HOUR_MS + 9).unwrap(), 0);
    assert_eq!(log.apply_retention(2 * HOUR_MS + 10).unwrap(), 1);
    assert_eq!(log.offsets().log_start, Offset(10));
    assert_eq!(log.apply_retention(5 * HOUR_MS + 10).unwrap(), 3);
    assert_eq!((log.offsets().log_start, fixture.segment_files()), (Offset(40), 2));
    assert_eq!(log.apply_retention(5 * HOUR_MS + 10).unwrap(), 0);

    drop(log);
    let log = fixture.open(-1, -1);
    assert_eq!(log.offsets(), LogOffsets { log_start: Offset(40), log_end: Offset(60), flushed: Offset(60) });
}

#[test]
fn a_log_that_is_too_old_as_a_whole_is_emptied_and_goes_on() {
    let fixture = Fixture::new();
    let log = fixture.open(HOUR_MS, -1);
    fill(&log, 3);
    assert_eq!(log.apply_retention(100 * HOUR_MS).unwrap(), 3);
    assert_eq!((log.offsets().log_start, log.offsets().log_end), (Offset(30), Offset(30)));
    assert_eq!((log.segment_count(), fixture.segment_files(), log.size_bytes()), (1, 1, 0));
    assert_eq!(log.apply_retention(200 * HOUR_MS).unwrap(), 0, "an empty segment stays");
    append(&log, &TestBatch::of(1, 100, 200 * HOUR_MS));
    assert_eq!(log.offsets().log_end, Offset(31));
    assert_eq!(log.apply_retention(200 * HOUR_MS).unwrap(), 0);
}

#[test]
fn by_size_at_least_the_limit_stays() {
    let fixture = Fixture::new();
    let log = fixture.open(-1, -1);
    fill(&log, 5);
    let segment = log.size_bytes() as i64 / 5;
    drop(log);
    for (limit, removed) in [(segment * 5, 0), (segment * 4 + 1, 0), (segment * 4, 1), (segment + 1, 2), (0, 2)] {
        let log = fixture.open(-1, limit);
        assert_eq!(log.apply_retention(0).unwrap(), removed, "limit {limit}");
    }
    let log = fixture.open(-1, 0);
    assert_eq!((log.size_bytes(), log.offsets().log_start), (0, Offset(50)));
}

#[test]
fn without_limits_everything_stays() {
    let fixture = Fixture::new();
    let log = fixture.open(-1, -1);
    fill(&log, 3);
    assert_eq!(log.apply_retention(i64::MAX).unwrap(), 0);
}

#[test]
fn records_without_a_time_go_with_those_behind_them_and_not_before() {
    let fixture = Fixture::new();
    let log = fixture.open(HOUR_MS, -1);
    let timeless = TestBatch::of(1, 1200, -1);
    append(&log, &timeless);
    append(&log, &TestBatch::of(10, 100, HOUR_MS));
    append(&log, &timeless);
    assert_eq!(log.apply_retention(HOUR_MS).unwrap(), 0);
    assert_eq!(log.apply_retention(10 * HOUR_MS).unwrap(), 2, "what is behind the last known time stays");
    assert_eq!(log.offsets().log_start, Offset(11));
}

#[test]
fn a_record_of_the_far_future_keeps_its_own_segment_and_those_behind() {
    let fixture = Fixture::new();
    let log = fixture.open(HOUR_MS, -1);
    append(&log, &TestBatch::of(10, 100, 0));
    append(&log, &TestBatch::of(10, 100, i64::MAX / 2));
    append(&log, &TestBatch::of(10, 100, 0));
    assert_eq!(log.apply_retention(10 * HOUR_MS).unwrap(), 1);
    assert_eq!(log.offsets().log_start, Offset(10));
}

#[test]
fn a_record_that_arrives_keeps_the_segment_it_goes_into() {
    let fixture = Fixture::new();
    let log = fixture.open(HOUR_MS, -1);
    append(&log, &batch(&["old"], 0));
    append(&log, &batch(&["new"], 10 * HOUR_MS));
    assert_eq!(log.apply_retention(10 * HOUR_MS).unwrap(), 0);
    assert_eq!(log.offsets().log_start, Offset(0));
    assert_eq!(log.apply_retention(12 * HOUR_MS).unwrap(), 1);
    assert_eq!((log.offsets().log_start, log.offsets().log_end), (Offset(2), Offset(2)));
}
