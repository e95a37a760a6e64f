//! Goal: segments that may be merged are, those that may not are not, and nobody who reads or restarts can tell.
//! Method: real files, small segments, everything read back at its offset; readers beside it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::*;
use crate::storage::batch_header::{BatchHeader, HEADER_BYTES};
use crate::storage::segment::{extension, parse_segment_name};
use crate::storage::test_batch::TestBatch;
use crate::storage::vfs::RealVfs;
use crate::storage::{CleanLimits, LogContext, OpenFiles, OpenMode, ProducerLimits, Unthrottled};
use crate::types::{LeaderEpoch, Offset, TopicPartition};

const MINUTE_MS: i64 = 60_000;

struct Fixture(tempfile::TempDir);

impl Fixture {
    fn new() -> Fixture {
        let fixture = Fixture(tempfile::tempdir().unwrap());
        std::fs::create_dir(fixture.0.path().join("t-0")).unwrap();
        fixture
    }

    fn open(&self, config: &LogConfig, mode: OpenMode) -> Arc<Log> {
        self.open_with(&OpenFiles::new(Arc::new(RealVfs), 1024), config, mode)
    }

    fn open_with(&self, open_files: &Arc<OpenFiles>, config: &LogConfig, mode: OpenMode) -> Arc<Log> {
        let context = LogContext {
            open_files: Arc::clone(open_files),
            quarantine: self.0.path().join("quarantine"),
            producer_limits: ProducerLimits::default(),
        };
        let dir = self.0.path().join("t-0");
        Log::open(context, &dir, TopicPartition::new("t", 0), Arc::new(config.clone()), mode, 0).unwrap().0
    }

    fn files(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.0.path().join("t-0")).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// Looks at how many handles are open at each step.
struct Watching<'a> {
    pool: &'a OpenFiles,
    open_max: AtomicUsize,
}

impl Throttle for Watching<'_> {
    fn pass(&self, _bytes: u64) -> Result<(), StorageError> {
        self.open_max.fetch_max(self.pool.open_count(), Ordering::Relaxed);
        Ok(())
    }
}

/// Rolls every minute.
fn by_the_minute(segment_bytes: u32) -> LogConfig {
    LogConfig { segment_bytes, segment_ms: MINUTE_MS - 1, index_interval_bytes: 300, ..LogConfig::default() }
}

/// A segment a minute, each of two batches with two records.
fn trickle(log: &Log, minutes: std::ops::Range<i64>) {
    for minute in minutes {
        for batch in 0..2 {
            let batch = TestBatch::of(2, 100, minute * MINUTE_MS + batch);
            log.append(batch.build(), LeaderEpoch(1), minute * MINUTE_MS + 2).unwrap();
        }
    }
}

/// All batches of the log, by base offset.
fn content(log: &Log) -> Vec<(i64, Vec<u8>)> {
    let offsets = log.offsets();
    let mut at = offsets.log_start;
    let mut batches = Vec::new();
    while at < offsets.log_end {
        let bytes = log.read(at, 1, offsets.log_end, true).unwrap().slice.unwrap().read().unwrap();
        let header = BatchHeader::parse(&bytes).unwrap();
        assert!(header.base_offset <= at && at <= header.last_offset(), "{at} gives {header:?}");
        batches.push((header.base_offset.0, bytes[HEADER_BYTES..].to_vec()));
        at = header.next_offset();
    }
    batches
}

fn by_time(log: &Log, minutes: i64) -> Vec<Option<(i64, Offset)>> {
    let look =
        |minute| log.offset_for_timestamp(minute * MINUTE_MS).unwrap().map(|found| (found.timestamp, found.offset));
    (-1..=minutes).map(look).collect()
}

#[test]
fn a_trickle_ends_in_one_file_with_the_same_answers_before_and_after_a_restart() {
    let fixture = Fixture::new();
    let config = by_the_minute(1 << 20);
    let log = fixture.open(&config, OpenMode::default());
    trickle(&log, 0..30);
    assert_eq!(log.segment_count(), 30);
    let (before, times) = (content(&log), by_time(&log, 30));
    assert_eq!(log.merge_segments(30 * MINUTE_MS, &Unthrottled).unwrap(), 28);
    assert_eq!(log.segment_count(), 2);
    assert_eq!((content(&log), by_time(&log, 30)), (before.clone(), times.clone()));
    let logs: Vec<_> = fixture.files().into_iter().filter(|name| name.ends_with(".log")).collect();
    assert_eq!(logs.len(), 2, "{:?}", fixture.files());
    assert!(fixture.files().iter().all(|name| !name.ends_with("cleaned") && !name.ends_with("swap")));
    trickle(&log, 30..33);
    assert_eq!(log.merge_segments(33 * MINUTE_MS, &Unthrottled).unwrap(), 3, "small ones join the merged one");
    let grown = content(&log);
    assert_eq!(grown[..before.len()], before[..]);
    let offsets = log.offsets();
    log.close().unwrap();
    for mode in [OpenMode { clean: true, ..OpenMode::default() }, OpenMode::default()] {
        let again = fixture.open(&config, mode);
        again.flush().unwrap();
        assert_eq!((again.offsets(), content(&again)), (offsets, grown.clone()), "{mode:?}");
        assert_eq!(by_time(&again, 30)[..times.len() - 1], times[..times.len() - 1]);
        assert!(again.corrupt_ranges().is_empty());
        again.close().unwrap();
    }
}

#[test]
fn neither_size_nor_time_is_stretched() {
    let fixture = Fixture::new();
    // Four segments of about 750 bytes fit into one.
    let log = fixture.open(&by_the_minute(3_300), OpenMode::default());
    trickle(&log, 0..13);
    log.merge_segments(13 * MINUTE_MS, &Unthrottled).unwrap();
    assert_eq!(log.segment_count(), 4, "twelve sealed ones in groups of four, and the active one");

    let fixture = Fixture::new();
    let config = LogConfig { retention_ms: 50 * MINUTE_MS, ..by_the_minute(1 << 20) };
    let log = fixture.open(&config, OpenMode::default());
    trickle(&log, 0..25);
    log.merge_segments(25 * MINUTE_MS, &Unthrottled).unwrap();
    // Each spans five minutes at most, from the first batch to the last: five segments.
    assert_eq!(log.segment_count(), 6);
    let before = log.offsets().log_end;
    assert_eq!(log.apply_retention(25 * MINUTE_MS + 50 * MINUTE_MS + 10).unwrap(), 6, "all but nothing is kept longer");
    assert_eq!(log.offsets().log_start, before);
}

#[test]
fn a_large_segment_is_not_copied_for_a_small_one() {
    let candidate = |size_bytes, at: i64| Extent {
        size_bytes,
        index_bytes: 8,
        base_offset: Offset(at * 10),
        next_offset: Offset(at * 10 + 10),
        newest_ms: Some(at * MINUTE_MS),
        oldest_ms: Some(at * MINUTE_MS),
        is_dated: true,
    };
    let groups = |extents: &[Extent], config: &LogConfig, now_ms| groups(extents, 128, config, now_ms);
    let config = LogConfig::default();
    let large = [candidate(500 << 20, 0), candidate(1 << 10, 1)];
    assert!(groups(&large, &config, 0).is_empty());
    let doubled = [candidate(300 << 20, 0), candidate(200 << 20, 1), candidate(150 << 20, 2)];
    assert_eq!(groups(&doubled, &config, 0), vec![0..3]);
    let too_large = [candidate(600 << 20, 0), candidate(500 << 20, 1)];
    assert!(groups(&too_large, &config, 0).is_empty());
    // It keeps the small ones beside it from nothing.
    let small = |at| candidate(10 << 20, at);
    let behind = [candidate(700 << 20, 0), small(1), small(2), small(3)];
    assert_eq!(groups(&behind, &config, 0), vec![1..4]);
    let before = [small(0), small(1), candidate(700 << 20, 2), small(3)];
    assert_eq!(groups(&before, &config, 0), vec![0..2]);
}

#[test]
fn records_of_the_future_or_without_a_time_are_not_merged_where_time_deletes() {
    for timestamp in [-1, i64::MAX / 2] {
        let fixture = Fixture::new();
        let config = LogConfig { retention_ms: 50 * MINUTE_MS, ..by_the_minute(1 << 20) };
        let log = fixture.open(&config, OpenMode::default());
        for minute in 0..25 {
            log.append(TestBatch::of(1, 100, timestamp).build(), LeaderEpoch(1), minute * MINUTE_MS).unwrap();
        }
        assert_eq!(log.segment_count(), 25);
        log.merge_segments(25 * MINUTE_MS, &Unthrottled).unwrap();
        assert_eq!(log.segment_count(), 25, "nothing tells how long a merged one would reach back");
        assert_eq!(log.apply_retention(50 * MINUTE_MS).unwrap(), 0);
        assert_eq!(log.apply_retention(50 * MINUTE_MS + 1).unwrap(), 1);
        assert_eq!(log.offsets().log_start, Offset(1));
    }
}

#[test]
fn merging_again_and_again_keeps_no_record_longer_than_a_tenth_beyond_its_time() {
    let fixture = Fixture::new();
    let by_time = LogConfig { retention_ms: 50 * MINUTE_MS, ..by_the_minute(1 << 20) };
    let log = fixture.open(&by_time, OpenMode::default());
    for minute in 0..200 {
        trickle(&log, minute..minute + 1);
        let now_ms = minute * MINUTE_MS + 3;
        log.merge_segments(now_ms, &Unthrottled).unwrap();
        log.apply_retention(now_ms).unwrap();
        let kept = (log.offsets().log_end.0 - log.offsets().log_start.0) / 4;
        assert!(kept <= 50 + 5 + 2, "{kept} minutes are kept after {minute}");
        assert!(minute < 50 || kept >= 50, "{kept} minutes are kept after {minute}");
        assert!(log.segment_count() < 25, "{} segments", log.segment_count());
    }

    let fixture = Fixture::new();
    // A segment has about 340 bytes.
    let by_size = LogConfig { retention_bytes: 20_000, ..by_the_minute(1 << 20) };
    let log = fixture.open(&by_size, OpenMode::default());
    for minute in 0..300 {
        trickle(&log, minute..minute + 1);
        let now_ms = minute * MINUTE_MS + 3;
        log.merge_segments(now_ms, &Unthrottled).unwrap();
        log.apply_retention(now_ms).unwrap();
        assert!(log.size_bytes() <= 20_000 + 2_000 + 1_000, "{} bytes after {minute}", log.size_bytes());
    }
    assert!(log.size_bytes() >= 20_000 && log.segment_count() < 30, "{} segments", log.segment_count());
}

#[test]
fn where_time_does_not_delete_an_hour_or_a_tenth_of_the_age_becomes_one() {
    let fixture = Fixture::new();
    let config = LogConfig { retention_ms: -1, segment_ms: 15 * MINUTE_MS - 1, ..by_the_minute(1 << 20) };
    let log = fixture.open(&config, OpenMode::default());
    for quarter in 0..41 {
        let now_ms = quarter * 15 * MINUTE_MS;
        log.append(TestBatch::of(1, 100, now_ms).build(), LeaderEpoch(1), now_ms).unwrap();
    }
    assert_eq!(log.segment_count(), 41);
    log.merge_segments(10 * 60 * MINUTE_MS, &Unthrottled).unwrap();
    assert_eq!(log.segment_count(), 8 + 1, "five quarters, which are an hour from newest to newest, become one");
    log.merge_segments(120 * 60 * MINUTE_MS, &Unthrottled).unwrap();
    assert_eq!(log.segment_count(), 1 + 1, "ten hours are a tenth of their age");
}

#[test]
fn a_compacted_log_is_merged_where_compaction_may_touch_it() {
    let fixture = Fixture::new();
    let config =
        LogConfig { compact: true, retention_ms: -1, min_compaction_lag_ms: 10 * MINUTE_MS, ..by_the_minute(1 << 20) };
    let log = fixture.open(&config, OpenMode::default());
    trickle(&log, 0..21);
    assert_eq!(log.merge_segments(20 * MINUTE_MS + 2, &Unthrottled).unwrap(), 10, "minutes 0 to 10");
    assert_eq!(log.segment_count(), 11);
    let limits = CleanLimits { map_bytes_max: 1 << 20, decompressed_bytes_max: 1 << 20 };
    let cleaned = log.clean(Offset::ZERO, limits, 20 * MINUTE_MS + 2, &Unthrottled).unwrap();
    assert_eq!(cleaned.cleaned_up_to, Offset(11 * 4), "and they wait for nobody younger");
}

/// Deletes the first segment while it is being copied.
struct Deleting<'a>(&'a Log);

impl Throttle for Deleting<'_> {
    fn pass(&self, _bytes: u64) -> Result<(), StorageError> {
        if self.0.offsets().log_start == Offset::ZERO {
            self.0.delete_records(self.0.first_segment_end().unwrap()).unwrap();
        }
        Ok(())
    }
}

/// Counts what passes, and what was to.
#[derive(Default)]
struct Counting {
    passed: AtomicU64,
    announced: AtomicU64,
}

impl Throttle for Counting {
    fn pass(&self, bytes: u64) -> Result<(), StorageError> {
        self.passed.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn begin_step(&self, name: &'static str, bytes: u64) {
        assert_eq!(name, "merging segments");
        self.announced.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[test]
fn every_byte_of_a_merge_passes_the_throttle_and_was_announced() {
    let fixture = Fixture::new();
    let log = fixture.open(&by_the_minute(2_400), OpenMode::default());
    trickle(&log, 0..13);
    // As large as the other twelve.
    let sealed_bytes = log.size_bytes() * 12 / 13;
    let counting = Counting::default();
    assert_eq!(log.merge_segments(13 * MINUTE_MS, &counting).unwrap(), 9);
    let Counting { passed, announced } = counting;
    assert_eq!((passed.into_inner(), announced.into_inner()), (2 * sealed_bytes, 2 * sealed_bytes), "read and written");
}

#[test]
fn what_is_deleted_meanwhile_gives_up_its_own_merge_and_no_other() {
    let fixture = Fixture::new();
    let log = fixture.open(&by_the_minute(2_400), OpenMode::default());
    trickle(&log, 0..13);
    let expected = content(&log);
    assert_eq!(log.merge_segments(13 * MINUTE_MS, &Deleting(&log)).unwrap(), 2 * 3, "eight of twelve become two");
    assert_eq!((log.segment_count(), log.offsets().log_start), (3 + 2 + 1, Offset(4)));
    assert_eq!(content(&log), expected[2..], "two batches are deleted");
    assert!(fixture.files().iter().all(|name| !name.ends_with("cleaned") && !name.ends_with("swap")));
    assert_eq!(log.merge_segments(13 * MINUTE_MS, &Unthrottled).unwrap(), 2, "the others of the first four");
}

#[test]
fn no_producer_snapshot_outlives_the_segments_that_it_speaks_of_at_the_first_merge_and_later() {
    let fixture = Fixture::new();
    let config = by_the_minute(1 << 20);
    let log = fixture.open(&config, OpenMode::default());
    let snapshots = || {
        let offset = |name: String| parse_segment_name(&name, extension::PRODUCER_SNAPSHOT);
        fixture.files().into_iter().filter_map(offset).collect::<Vec<_>>()
    };
    for round in 1..4 {
        // One at the begin of each segment, and one of a checkpoint, in the segment that is active.
        trickle(&log, round * 10..round * 10 + 5);
        let checkpoint = log.checkpoint().unwrap();
        trickle(&log, round * 10 + 5..round * 10 + 10);
        assert!(snapshots().len() > 8 && snapshots().contains(&checkpoint), "round {round}: {:?}", snapshots());
        assert!(log.merge_segments((round * 10 + 10) * MINUTE_MS, &Unthrottled).unwrap() > 8);
        let merged_to = log.first_segment_end().unwrap();
        assert_eq!(snapshots(), [merged_to], "round {round}: that of the active segment");
    }
}

#[test]
fn a_damaged_segment_is_left_alone_and_its_neighbours_are_merged() {
    let fixture = Fixture::new();
    let config = by_the_minute(1 << 20);
    let log = fixture.open(&config, OpenMode::default());
    trickle(&log, 0..9);
    log.close().unwrap();
    let path = fixture.0.path().join("t-0").join(format!("{:020}.log", 16));
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 4;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let log = fixture.open(&config, OpenMode { clean: true, ..OpenMode::default() });
    assert_eq!(log.merge_segments(9 * MINUTE_MS, &Unthrottled).unwrap(), 0, "the damage is found");
    assert_eq!(log.corrupt_ranges().len(), 1);
    assert_eq!(log.merge_segments(9 * MINUTE_MS, &Unthrottled).unwrap(), 3 + 2);
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "the damaged one is as it was");
}

#[test]
fn many_segments_are_merged_and_compacted_with_few_descriptors() {
    const SEGMENTS: i64 = 120;
    for (limit, compact) in [(8, false), (96, true)] {
        let fixture = Fixture::new();
        let pool = OpenFiles::new(Arc::new(RealVfs), limit);
        let config = LogConfig { retention_ms: -1, compact, ..by_the_minute(1 << 30) };
        let log = fixture.open_with(&pool, &config, OpenMode::default());
        trickle(&log, 0..SEGMENTS);
        assert_eq!(log.segment_count() as i64, SEGMENTS);
        let at_once = pool.segments_replaced_max();
        let watching = Watching { pool: &pool, open_max: AtomicUsize::new(0) };
        let limits = CleanLimits { map_bytes_max: 1 << 20, decompressed_bytes_max: 1 << 20 };
        let now_ms = 1_000 * SEGMENTS * MINUTE_MS;
        let (mut before, mut looks) = (usize::MAX, 0);
        while log.segment_count() < before {
            (before, looks) = (log.segment_count(), looks + 1);
            match compact {
                true => drop(log.clean(Offset::ZERO, limits, now_ms, &watching).unwrap()),
                false => drop(log.merge_segments(now_ms, &watching).unwrap()),
            }
            assert!(log.segment_count() > before / at_once, "more than so many at once");
        }
        assert!((2..20).contains(&looks) && before == 2, "{before} segments after {looks} looks");
        let open_max = watching.open_max.into_inner();
        assert!(open_max > 0 && open_max <= limit, "{open_max} of {limit} were open");
    }
}

#[test]
fn readers_and_writers_notice_nothing() {
    let fixture = Fixture::new();
    let log = fixture.open(&by_the_minute(20_000), OpenMode::default());
    trickle(&log, 0..60);
    let expected = content(&log);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut rounds = 0;
                    while !done.load(Ordering::Relaxed) || rounds == 0 {
                        let seen = content(&log);
                        assert_eq!(seen[..expected.len()], expected[..]);
                        rounds += 1;
                    }
                })
            })
            .collect();
        for round in 0..10 {
            trickle(&log, 60 + round * 6..66 + round * 6);
            log.merge_segments((66 + round * 6) * MINUTE_MS, &Unthrottled).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    assert!(log.segment_count() < 20, "{}", log.segment_count());
}
