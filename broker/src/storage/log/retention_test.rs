//! Goal: exactly the segments that the limits allow to go do go, the log stays readable, and a restart changes nothing.
//! Method: real files, segments of one batch each, a clock that the test turns.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::storage::test_batch::{TestBatch, batch};
use crate::storage::vfs::{Access, Fault, FaultVfs, RealVfs, Vfs, modified_ms, write_all_at};
use crate::storage::{
    Log, LogConfig, LogContext, LogOffsets, OpenFiles, OpenMode, ProducerLimits, ReadError, Unthrottled,
};
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

/// Appends a batch at the time that it bears, or at once where it bears none.
fn append(log: &Log, batch: &TestBatch) {
    append_at(log, batch, batch.timestamp.max(0) + 100);
}

fn append_at(log: &Log, batch: &TestBatch, now_ms: i64) {
    log.append(batch.build(), LeaderEpoch(0), now_ms).unwrap();
}

/// One segment an hour, of ten records each, from hour 0 on.
fn fill(log: &Log, hours: i64) {
    for hour in 0..hours {
        append(log, &TestBatch::of(10, 100, hour * HOUR_MS));
    }
    assert_eq!(log.segment_count(), hours as usize);
}

fn open_on(disk: &FaultVfs, config: LogConfig, now_ms: i64) -> Arc<Log> {
    open_in_mode(disk, config, OpenMode { clean: true, ..OpenMode::default() }, now_ms)
}

fn open_in_mode(disk: &FaultVfs, config: LogConfig, mode: OpenMode, now_ms: i64) -> Arc<Log> {
    let context = LogContext {
        open_files: OpenFiles::new(Arc::new(disk.clone()), 4),
        quarantine: PathBuf::from("/quarantine"),
        producer_limits: ProducerLimits::default(),
    };
    let dir = PathBuf::from("/t-0");
    disk.create_dir(&dir).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    Log::open(context, &dir, TopicPartition::new("t", 0), Arc::new(config), mode, now_ms).unwrap().0
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
    log.flush().unwrap();
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
fn a_segment_that_cannot_be_read_neither_goes_before_its_time_nor_keeps_the_others() {
    let disk = FaultVfs::new();
    let config = LogConfig { segment_bytes: 1500, retention_ms: 20 * HOUR_MS, ..LogConfig::default() };
    let log = three_of_the_future(&disk, &config);
    log.close().unwrap();
    let log = open_in_mode(&disk, config.clone(), OpenMode { clean: true, ..OpenMode::default() }, 3 * HOUR_MS);
    let next = disk.calls() + 1;
    disk.fail_call(next, Fault::IoError);
    assert_eq!(log.apply_retention(19 * HOUR_MS).unwrap(), 0);
    assert!(disk.calls() >= next, "it was read, in vain");
    log.close().unwrap();
    let log = open_in_mode(&disk, config.clone(), OpenMode { clean: true, ..OpenMode::default() }, 3 * HOUR_MS);
    log.update_config(Arc::new(LogConfig { retention_bytes: 1, ..config }));
    disk.fail_call(disk.calls() + 1, Fault::IoError);
    assert_eq!(log.apply_retention(19 * HOUR_MS).unwrap(), 2, "by size");
}

#[test]
fn a_segment_of_which_everything_was_deleted_goes_when_it_is_not_the_last_any_more() {
    let fixture = Fixture::new();
    let log = fixture.open(-1, -1);
    fill(&log, 2);
    assert_eq!(log.delete_records(Offset(20)).unwrap(), Offset(20));
    assert_eq!((log.segment_count(), fixture.segment_files()), (1, 1), "the last one, in which nothing is left");
    assert_eq!(log.apply_retention(HOUR_MS).unwrap(), 0);
    append(&log, &TestBatch::of(10, 100, 2 * HOUR_MS));
    assert_eq!((log.segment_count(), fixture.segment_files()), (2, 2));
    assert_eq!(log.apply_retention(2 * HOUR_MS).unwrap(), 1, "whatever the limits are");
    assert_eq!((log.segment_count(), fixture.segment_files(), log.offsets().log_start), (1, 1, Offset(20)));
    assert_eq!(log.apply_retention(2 * HOUR_MS).unwrap(), 0);
}

#[test]
fn without_limits_everything_stays() {
    let fixture = Fixture::new();
    let log = fixture.open(-1, -1);
    fill(&log, 3);
    assert_eq!(log.apply_retention(i64::MAX).unwrap(), 0);
}

#[test]
fn records_without_a_time_are_as_old_as_their_append() {
    let fixture = Fixture::new();
    let log = fixture.open(HOUR_MS, -1);
    let timeless = TestBatch::of(1, 1200, -1);
    append_at(&log, &timeless, 0);
    append_at(&log, &TestBatch::of(10, 100, HOUR_MS), HOUR_MS);
    append_at(&log, &timeless, 2 * HOUR_MS);
    assert_eq!(log.apply_retention(HOUR_MS).unwrap(), 0);
    assert_eq!(log.apply_retention(HOUR_MS + 1).unwrap(), 1);
    assert_eq!(log.apply_retention(3 * HOUR_MS).unwrap(), 1);
    assert_eq!(log.offsets().log_start, Offset(11));
    assert_eq!(log.apply_retention(3 * HOUR_MS + 1).unwrap(), 1);
}

#[test]
fn records_without_a_time_of_unknown_append_go_with_those_behind_them_and_not_before() {
    let disk = FaultVfs::new();
    let log = open_on(&disk, LogConfig { segment_bytes: 1500, retention_ms: HOUR_MS, ..LogConfig::default() }, 0);
    let timeless = TestBatch::of(1, 1200, -1);
    append(&log, &timeless);
    append(&log, &TestBatch::of(10, 100, HOUR_MS));
    append(&log, &timeless);
    log.close().unwrap();
    // This disk tells no times.
    let log = open_on(&disk, LogConfig { segment_bytes: 1500, retention_ms: HOUR_MS, ..LogConfig::default() }, 0);
    assert_eq!(log.apply_retention(HOUR_MS).unwrap(), 0);
    assert_eq!(log.apply_retention(10 * HOUR_MS).unwrap(), 2, "what is behind the last known time stays");
    assert_eq!(log.offsets().log_start, Offset(11));
}

#[test]
fn a_record_of_the_future_pins_nothing_after_a_restart_either() {
    let disk = FaultVfs::new();
    disk.set_now_ms(0);
    let config = LogConfig { segment_bytes: 1500, retention_ms: HOUR_MS, ..LogConfig::default() };
    let log = open_on(&disk, config.clone(), 0);
    let future = TestBatch::of(10, 100, i64::MAX / 2);
    append_at(&log, &future, 0);
    disk.set_now_ms(HOUR_MS);
    append_at(&log, &future, HOUR_MS);
    append_at(&log, &future, HOUR_MS);
    assert_eq!(log.apply_retention(HOUR_MS).unwrap(), 0);
    log.close().unwrap();
    disk.set_now_ms(50 * HOUR_MS);
    let log = open_on(&disk, config, 50 * HOUR_MS);
    assert_eq!(log.apply_retention(HOUR_MS).unwrap(), 0);
    assert_eq!(log.apply_retention(HOUR_MS + 1).unwrap(), 1);
    assert_eq!(log.apply_retention(2 * HOUR_MS).unwrap(), 0);
    assert_eq!(log.apply_retention(2 * HOUR_MS + 1).unwrap(), 2, "the active one too");
    assert_eq!(log.offsets().log_start, Offset(30));
}

#[test]
fn one_old_timestamp_among_new_ones_takes_nothing_away() {
    let fixture = Fixture::new();
    let log = fixture.open(HOUR_MS, -1);
    append_at(&log, &TestBatch::of(1, 100, 10 * HOUR_MS), 10 * HOUR_MS);
    append_at(&log, &TestBatch::of(1, 100, 5), 10 * HOUR_MS);
    append_at(&log, &TestBatch::of(10, 120, 5), 10 * HOUR_MS);
    assert_eq!(log.segment_count(), 2);
    assert_eq!(log.apply_retention(11 * HOUR_MS).unwrap(), 0, "the first segment has a record of this hour");
    assert_eq!(log.apply_retention(11 * HOUR_MS + 1).unwrap(), 2);
}

#[test]
fn by_time_and_size_a_segment_goes_for_either() {
    let fixture = Fixture::new();
    let log = fixture.open(-1, -1);
    fill(&log, 6);
    let segment = log.size_bytes() as i64 / 6;
    let both = |hours, segments| LogConfig {
        segment_bytes: 1500,
        retention_ms: hours * HOUR_MS,
        retention_bytes: segments * segment,
        ..LogConfig::default()
    };
    log.update_config(Arc::new(both(100, 4)));
    assert_eq!(log.apply_retention(5 * HOUR_MS).unwrap(), 2);
    log.update_config(Arc::new(both(2, 4)));
    assert_eq!(log.apply_retention(4 * HOUR_MS + 10).unwrap(), 1);
    log.update_config(Arc::new(both(100, 1)));
    assert_eq!(log.apply_retention(5 * HOUR_MS).unwrap(), 2);
    assert_eq!(log.offsets().log_start, Offset(50), "changed while the log is in use");
}

#[test]
fn an_idle_segment_is_sealed_by_age_and_then_expires() {
    let disk = FaultVfs::new();
    disk.set_now_ms(0);
    let config = LogConfig { retention_ms: 10 * HOUR_MS, segment_ms: 2 * HOUR_MS, ..LogConfig::default() };
    let log = open_on(&disk, config.clone(), 0);
    append_at(&log, &batch(&["idle"], 0), 0);
    assert_eq!(log.apply_retention(2 * HOUR_MS).unwrap(), 0);
    assert_eq!(log.segment_count(), 1);
    log.close().unwrap();
    // Its age is counted on across a restart.
    let log = open_on(&disk, config, HOUR_MS);
    assert_eq!(log.apply_retention(2 * HOUR_MS + 1).unwrap(), 0);
    assert_eq!((log.segment_count(), log.offsets().log_start), (2, Offset(0)));
    assert_eq!(log.apply_retention(9 * HOUR_MS).unwrap(), 0);
    assert_eq!(log.segment_count(), 2, "an empty segment has no age");
    assert_eq!(log.apply_retention(10 * HOUR_MS + 1).unwrap(), 1);
    assert_eq!((log.segment_count(), log.offsets().log_start), (1, Offset(1)));
}

#[test]
fn who_reads_a_segment_that_is_deleted_reads_it_to_its_end() {
    let fixture = Fixture::new();
    let log = fixture.open(HOUR_MS, -1);
    fill(&log, 3);
    let slices: Vec<_> = [0, 10]
        .map(|offset| log.read(Offset(offset), usize::MAX, Offset(30), true).unwrap().slice.unwrap())
        .into_iter()
        .collect();
    let before: Vec<_> = slices.iter().map(|slice| slice.read().unwrap()).collect();
    assert_eq!(log.apply_retention(100 * HOUR_MS).unwrap(), 3);
    assert_eq!(fixture.segment_files(), 1);
    let after: Vec<_> = slices.iter().map(|slice| slice.read().unwrap()).collect();
    assert_eq!(after, before);
    assert!(matches!(log.read(Offset(0), 100, Offset(30), true), Err(ReadError::OutOfRange { .. })));
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

/// Three segments of the far future: appended in the first hour, in the second, and the active one.
fn three_of_the_future(disk: &FaultVfs, config: &LogConfig) -> Arc<Log> {
    disk.set_now_ms(0);
    let log = open_on(disk, config.clone(), 0);
    let future = TestBatch::of(10, 100, i64::MAX / 2);
    for hour in 0..3 {
        disk.set_now_ms(hour * HOUR_MS);
        append_at(&log, &future, hour * HOUR_MS);
    }
    assert_eq!(log.segment_count(), 3);
    log
}

#[test]
fn a_merged_segment_is_as_old_as_its_newest_append_after_a_restart_too() {
    let disk = FaultVfs::new();
    let config = LogConfig { segment_bytes: 1500, retention_ms: 20 * HOUR_MS, ..LogConfig::default() };
    let log = three_of_the_future(&disk, &config);
    // Where time deletes they would not be merged.
    log.update_config(Arc::new(LogConfig { segment_bytes: 1 << 20, retention_ms: -1, ..config.clone() }));
    disk.set_now_ms(15 * HOUR_MS);
    assert_eq!(log.merge_segments(15 * HOUR_MS, &Unthrottled).unwrap(), 1);
    log.close().unwrap();
    // A power cut keeps what was synced.
    let disk = disk.power_cut(1);
    disk.set_now_ms(16 * HOUR_MS);
    let log = open_on(&disk, config, 16 * HOUR_MS);
    assert_eq!(log.apply_retention(21 * HOUR_MS).unwrap(), 0);
    assert_eq!(log.apply_retention(21 * HOUR_MS + 1).unwrap(), 1, "twenty hours after its newest append");
    assert_eq!(log.offsets().log_start, Offset(20));
}

#[test]
fn what_recovery_or_a_full_disk_cuts_off_makes_a_segment_no_younger() {
    let disk = FaultVfs::new();
    let config = LogConfig { segment_bytes: 1 << 20, retention_ms: 20 * HOUR_MS, ..LogConfig::default() };
    disk.set_now_ms(0);
    let log = open_on(&disk, config.clone(), 0);
    let future = TestBatch::of(10, 100, i64::MAX / 2);
    append_at(&log, &future, 0);
    let sound_bytes = log.size_bytes();
    // Half of a batch finds room hours later.
    disk.set_now_ms(5 * HOUR_MS);
    disk.set_capacity(Some(disk.used_bytes() + 100));
    assert!(log.append(future.build(), LeaderEpoch(0), 5 * HOUR_MS).is_err());
    disk.set_capacity(None);
    log.close().unwrap();
    let path = PathBuf::from("/t-0/00000000000000000000.log");
    let modified = |disk: &FaultVfs| modified_ms(disk, &path).unwrap();
    assert_eq!(modified(&disk), Some(0));
    // A torn tail of the first hour is cut off by a start that comes much later.
    disk.set_now_ms(HOUR_MS);
    let file = disk.open(&path, Access::Write).unwrap();
    write_all_at(&*file, &[1; 50], &[], sound_bytes).unwrap();
    disk.set_now_ms(50 * HOUR_MS);
    let mode = OpenMode { clean: false, ..OpenMode::default() };
    for _ in 0..2 {
        let log = open_in_mode(&disk, config.clone(), mode, 50 * HOUR_MS);
        assert_eq!((log.size_bytes(), modified(&disk)), (sound_bytes, Some(HOUR_MS)));
        assert_eq!(log.apply_retention(21 * HOUR_MS).unwrap(), 0);
        log.close().unwrap();
    }
    let log = open_in_mode(&disk, config, mode, 50 * HOUR_MS);
    assert_eq!(log.apply_retention(21 * HOUR_MS + 1).unwrap(), 1);
}

#[test]
fn limits_that_change_while_the_log_is_used_count_from_the_next_round_on_in_both_directions() {
    let fixture = Fixture::new();
    let log = fixture.open(HOUR_MS, -1);
    fill(&log, 6);
    let change = |change: fn(&mut LogConfig)| {
        let mut config = LogConfig::clone(&log.config());
        change(&mut config);
        log.update_config(Arc::new(config));
    };
    change(|config| config.retention_ms = -1);
    assert_eq!(log.apply_retention(1_000 * HOUR_MS).unwrap(), 0, "for ever, before the first round came");
    change(|config| config.retention_ms = 4 * HOUR_MS);
    assert_eq!(log.apply_retention(5 * HOUR_MS + 9).unwrap(), 1);
    change(|config| config.retention_ms = 8 * HOUR_MS);
    assert_eq!(log.apply_retention(8 * HOUR_MS).unwrap(), 0);
    change(|config| config.retention_bytes = 3_000);
    assert_eq!(log.apply_retention(8 * HOUR_MS).unwrap(), 2);
    change(|config| (config.retention_bytes, config.retention_ms) = (-1, 0));
    assert_eq!(log.apply_retention(8 * HOUR_MS).unwrap(), 3, "everything, the active segment too");
    assert_eq!((log.offsets().log_start, log.segment_count()), (Offset(60), 1));
}

#[test]
fn a_segment_that_a_retention_would_reach_is_sealed_when_nobody_writes_to_it() {
    let fixture = Fixture::new();
    let log = fixture.open(HOUR_MS, -1);
    append(&log, &batch(&["the last"], 0));
    assert_eq!(log.apply_retention(HOUR_MS).unwrap(), 0);
    assert_eq!(log.apply_retention(HOUR_MS + 1).unwrap(), 1, "by retention.ms, long before segment.ms");
    assert_eq!((log.offsets().log_start, log.offsets().log_end, log.size_bytes()), (Offset(1), Offset(1), 0));
    assert_eq!(fixture.segment_files(), 1);
    assert_eq!(log.apply_retention(100 * HOUR_MS).unwrap(), 0, "an empty one is not sealed again and again");
    append(&log, &batch(&["the next"], 200 * HOUR_MS));
    assert_eq!((log.offsets().log_start, log.offsets().log_end), (Offset(1), Offset(2)));
}
