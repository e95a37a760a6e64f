//! Goal: the log that needs it most is cleaned next, by the shares and lags that its topic sets; one that cannot be cleaned stops no
//! other and is named; small segments are merged beside it. Method: real files, a clock that the test turns, the choice
//! looked at by itself and then the threads at work.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use ottla_protocol::records::{BatchBuilder, BatchFields, HEADER_BYTES};

use super::clean::CleanLimits;
use super::*;
use crate::clock::ManualClock;
use crate::storage::validated_batch::ValidatedBatch;
use crate::storage::vfs::{FaultVfs, RealVfs, Vfs};
use crate::storage::{DataDir, DiskSpace, LogConfig, LogManagerConfig, LogToOpen, ProducerLimits, Unthrottled};
use crate::types::{LeaderEpoch, Offset, TopicPartition};

const MINUTE_MS: i64 = 60_000;
const LIMITS: CleanLimits = CleanLimits { map_bytes_max: 1 << 20, decompressed_bytes_max: 1 << 20 };
const PATIENCE: Duration = Duration::from_secs(60);

fn open(dir: &Path, topics: &[(&str, LogConfig)]) -> Arc<LogManager> {
    open_on(Arc::new(RealVfs), dir, topics)
}

fn open_on(vfs: Arc<dyn Vfs>, dir: &Path, topics: &[(&str, LogConfig)]) -> Arc<LogManager> {
    let data_dir = DataDir::open(vfs, dir).unwrap();
    let config = LogManagerConfig { threads: 1, open_files_max: 1024, producer_limits: ProducerLimits::default() };
    let logs = topics.iter().map(|(topic, config)| LogToOpen {
        topic_partition: TopicPartition::new(*topic, 0),
        config: Arc::new(config.clone()),
    });
    LogManager::open(data_dir, &config, logs.collect(), 0).unwrap()
}

fn log_of(logs: &LogManager, topic: &str) -> Arc<Log> {
    logs.log(&TopicPartition::new(topic, 0)).unwrap()
}

/// A segment a minute.
fn compacted(min_cleanable_dirty_ratio: f64) -> LogConfig {
    LogConfig {
        compact: true,
        segment_ms: MINUTE_MS - 1,
        retention_ms: -1,
        min_cleanable_dirty_ratio,
        ..LogConfig::default()
    }
}

fn batch(key: &str, timestamp: i64) -> ValidatedBatch {
    let mut builder = BatchBuilder::new();
    builder.append(timestamp, Some(key.as_bytes()), Some(&[b'v'; 100]), &[]);
    let bytes: Bytes = builder.build(&BatchFields::default()).unwrap();
    let mut header = [0; HEADER_BYTES];
    header.copy_from_slice(&bytes[..HEADER_BYTES]);
    ValidatedBatch::new(header, bytes.slice(HEADER_BYTES..))
}

/// Two records a minute, the same key in both.
fn fill(log: &Log, minutes: std::ops::Range<i64>) {
    for minute in minutes {
        for _ in 0..2 {
            let now_ms = minute * MINUTE_MS;
            log.append(batch(&format!("key {minute}"), now_ms), LeaderEpoch(0), now_ms).unwrap();
        }
    }
}

fn clean_next(progress: &Progress, logs: &LogManager, limits: CleanLimits, now_ms: i64) -> Option<String> {
    let (log, from) = progress.begin_the_filthiest(logs, now_ms)?;
    let cleaned = log.clean(from, limits, now_ms, &Unthrottled);
    progress.finish(logs, &log, cleaned, now_ms);
    Some(log.topic_partition().topic.to_string())
}

#[test]
fn the_filthiest_log_over_its_share_is_next_and_those_below_wait() {
    let dir = tempfile::tempdir().unwrap();
    let topics = [("half", compacted(0.4)), ("more", compacted(0.4)), ("choosy", compacted(0.9))];
    let logs = open(dir.path(), &topics);
    let progress = Progress::load(&logs);
    for (topic, ..) in &topics {
        fill(&log_of(&logs, topic), 0..12);
    }
    let next = |now_ms| clean_next(&progress, &logs, LIMITS, now_ms);
    let all: std::collections::BTreeSet<_> = (0..3).filter_map(|_| next(0)).collect();
    assert_eq!(all.len(), 3, "what was never cleaned is dirty altogether");
    assert_eq!(next(0), None);
    // A clean segment has one record a minute, a dirty one two.
    for (topic, minutes) in [("half", 12..19), ("more", 12..24), ("choosy", 12..24)] {
        fill(&log_of(&logs, topic), minutes);
    }
    assert_eq!((next(0).as_deref(), next(0).as_deref(), next(0)), (Some("more"), Some("half"), None));
    let merged = log_of(&logs, "choosy").merge_segments(0, &Unthrottled).unwrap();
    assert!(merged > 0);
    assert_eq!(next(0), None, "merging makes nothing dirtier");
    assert_eq!(progress.status().passes, 5);
    assert!(progress.status().records_removed >= 40, "{:?}", progress.status());
}

#[test]
fn whoever_loses_a_log_to_another_thread_takes_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let topics = [("a", compacted(0.0)), ("b", compacted(0.0)), ("c", compacted(0.0))];
    let logs = open(dir.path(), &topics);
    let progress = Progress::load(&logs);
    logs.logs().iter().for_each(|log| fill(log, 0..4));
    // All look before the first takes one.
    let looks: Vec<_> = (0..5).map(|_| progress.due(&logs, 0)).collect();
    let (first, from) = progress.begin_the_first(looks[0].clone(), 0).unwrap();
    let (second, _) = progress.begin_the_first(looks[1].clone(), 0).unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    let cleaned = first.clean(from, LIMITS, 0, &Unthrottled);
    progress.finish(&logs, &first, cleaned, 0);
    let (third, _) = progress.begin_the_first(looks[2].clone(), 0).unwrap();
    assert!(!Arc::ptr_eq(&first, &third) && !Arc::ptr_eq(&second, &third), "the first is clean meanwhile");
    assert!(progress.begin_the_first(looks[3].clone(), 0).is_none());
    let failed = StorageError::Damaged { path: dir.path().to_owned(), what: "no sound batch".to_owned() };
    progress.finish(&logs, &second, Err(failed), 0);
    assert!(progress.begin_the_first(looks[4].clone(), 0).is_none(), "it is left alone for a while");
}

#[test]
fn a_topic_that_is_made_again_is_cleaned_from_its_begin() {
    let dir = tempfile::tempdir().unwrap();
    let topics = [("t", compacted(0.0))];
    let logs = open(dir.path(), &topics);
    let progress = Progress::load(&logs);
    fill(&log_of(&logs, "t"), 0..12);
    assert!(clean_next(&progress, &logs, LIMITS, 0).is_some());
    logs.close().unwrap();
    drop(logs);
    let logs = open(dir.path(), &topics);
    let next_from = |logs: &Arc<LogManager>| Some(Progress::load(logs).begin_the_filthiest(logs, 0)?.1);
    assert_eq!(next_from(&logs), None, "it is remembered");
    logs.close().unwrap();
    drop(logs);
    // Deleted, and nothing was compacted since.
    std::fs::remove_dir_all(dir.path().join("t-0")).unwrap();
    let logs = open(dir.path(), &[]);
    std::fs::create_dir(dir.path().join("t-0")).unwrap();
    let again = LogToOpen { topic_partition: TopicPartition::new("t", 0), config: Arc::new(topics[0].1.clone()) };
    logs.open_new(&[again], 0).remove(0).unwrap();
    fill(&log_of(&logs, "t"), 0..20);
    assert_eq!(next_from(&logs), Some(Offset::ZERO));
    logs.close().unwrap();
    drop(logs);
    assert_eq!(next_from(&open(dir.path(), &topics)), Some(Offset::ZERO), "by a restart too");
}

#[test]
fn a_record_waits_no_longer_than_the_largest_lag_also_when_merging_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { max_compaction_lag_ms: 20 * MINUTE_MS, ..compacted(1.0) };
    let logs = open(dir.path(), &[("t", config)]);
    let (progress, log) = (Progress::load(&logs), log_of(&logs, "t"));
    for minute in 0..20 {
        fill(&log, minute..minute + 1);
        log.merge_segments(minute * MINUTE_MS, &Unthrottled).unwrap();
        assert_eq!(clean_next(&progress, &logs, LIMITS, minute * MINUTE_MS), None, "minute {minute}");
    }
    assert_eq!(log.segment_count(), 2, "merged into one, whose newest record is young");
    assert_eq!(clean_next(&progress, &logs, LIMITS, 20 * MINUTE_MS), None);
    assert_eq!(clean_next(&progress, &logs, LIMITS, 20 * MINUTE_MS + 1).as_deref(), Some("t"));
    assert_eq!(progress.status().records_removed, 19);
    // The next are those of minute 19, of which one record was sealed with them in minute 20.
    fill(&log, 20..21);
    log.merge_segments(20 * MINUTE_MS, &Unthrottled).unwrap();
    assert_eq!(clean_next(&progress, &logs, LIMITS, 39 * MINUTE_MS), None);
    assert_eq!(clean_next(&progress, &logs, LIMITS, 39 * MINUTE_MS + 1).as_deref(), Some("t"));
    assert_eq!(clean_next(&progress, &logs, LIMITS, 1_000 * MINUTE_MS), None, "nothing is dirty any more");
}

#[test]
fn records_of_a_log_to_which_nothing_is_appended_wait_no_longer_than_the_largest_lag_either() {
    let dir = tempfile::tempdir().unwrap();
    // As the settings of a topic become those of its log: what must be compacted by then must be sealed by then.
    let lag_ms = 20 * MINUTE_MS;
    let config = LogConfig { max_compaction_lag_ms: lag_ms, segment_ms: lag_ms, ..compacted(1.0) };
    let logs = open(dir.path(), &[("t", config)]);
    let (progress, log) = (Progress::load(&logs), log_of(&logs, "t"));
    fill(&log, 0..3);
    for (now_ms, next) in [(lag_ms, None), (lag_ms + 1, Some("t"))] {
        // What housekeeping does at every look, also where time and size delete nothing.
        assert_eq!(log.apply_retention(now_ms).unwrap(), 0);
        assert_eq!(clean_next(&progress, &logs, LIMITS, now_ms).as_deref(), next);
    }
    assert_eq!((progress.status().records_removed, log.segment_count()), (3, 2));
}

#[test]
fn a_record_of_the_future_or_without_a_time_neither_hurries_nor_delays_a_cleaning() {
    for timestamp in [-1, i64::MAX / 2] {
        let dir = tempfile::tempdir().unwrap();
        let lags = (5 * MINUTE_MS, 20 * MINUTE_MS);
        let config = LogConfig { min_compaction_lag_ms: lags.0, max_compaction_lag_ms: lags.1, ..compacted(1.0) };
        let logs = open(dir.path(), &[("t", config.clone())]);
        let (progress, log) = (Progress::load(&logs), log_of(&logs, "t"));
        for minute in 0..2 {
            log.append(batch("key", timestamp), LeaderEpoch(0), minute * MINUTE_MS).unwrap();
        }
        assert_eq!(log.segment_count(), 2);
        assert_eq!(clean_next(&progress, &logs, LIMITS, lags.1), None);
        assert_eq!(clean_next(&progress, &logs, LIMITS, lags.1 + 1).as_deref(), Some("t"));
        // By its share, as soon as it is old enough.
        log.update_config(Arc::new(LogConfig { min_cleanable_dirty_ratio: 0.0, ..config }));
        log.append(batch("key", timestamp), LeaderEpoch(0), 2 * MINUTE_MS).unwrap();
        assert_eq!(clean_next(&progress, &logs, LIMITS, MINUTE_MS + lags.0 - 1), None);
        assert_eq!(clean_next(&progress, &logs, LIMITS, MINUTE_MS + lags.0).as_deref(), Some("t"));
    }
}

#[test]
fn a_log_with_more_keys_than_memory_is_cleaned_on_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(dir.path(), &[("t", LogConfig { segment_ms: i64::MAX, ..compacted(0.9) })]);
    let (progress, log) = (Progress::load(&logs), log_of(&logs, "t"));
    for n in 0..3_000 {
        log.append(batch(&format!("key {n}"), 0), LeaderEpoch(0), 0).unwrap();
        if n % 100 == 99 {
            log.update_config(Arc::new(LogConfig { segment_ms: 0, ..LogConfig::clone(&log.config()) }));
            log.append(batch("seal", n), LeaderEpoch(0), n).unwrap();
            log.update_config(Arc::new(LogConfig { segment_ms: i64::MAX, ..LogConfig::clone(&log.config()) }));
        }
    }
    let small = CleanLimits { map_bytes_max: 0, ..LIMITS };
    let mut passes = Vec::new();
    while let Some((log, from)) = progress.begin_the_filthiest(&logs, 0) {
        let report = log.clean(from, small, 0, &Unthrottled).unwrap();
        passes.push((report.cleaned_up_to, report.more_to_do));
        progress.finish(&logs, &log, Ok(report), 0);
    }
    // At 768 keys a pass, whatever share of it was left by the pass before.
    assert!(passes.len() >= 4, "{passes:?}");
    assert_eq!(passes.last(), Some(&(Offset(log.offsets().log_end.0 - 1), false)), "{passes:?}");
}

#[test]
fn a_broken_log_is_named_left_alone_for_a_while_and_stops_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let topics = [("broken", compacted(0.0)), ("sound", compacted(0.0)), ("deleted", compacted(0.0))];
    let logs = open(dir.path(), &topics);
    for (topic, ..) in &topics {
        fill(&log_of(&logs, topic), 0..10);
    }
    logs.close().unwrap();
    drop(logs);
    let path = dir.path().join(format!("broken-0/{:020}.log", 4));
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, &bytes).unwrap();

    let logs = open(dir.path(), &topics);
    let clock = Arc::new(ManualClock::at(0));
    let source: CleanerConfigSource = Arc::new(|| CleanerConfig {
        is_enabled: true,
        dedupe_buffer_bytes: 1 << 20,
        bytes_per_second_max: 1e18,
        backoff: Duration::from_millis(1),
        merge_interval: Duration::from_secs(3_600),
        decompressed_bytes_max: 1 << 20,
    });
    let cleaner = LogCleaner::start(Arc::clone(&logs), Arc::clone(&clock) as _, source, 2, || ());
    wait_until("the others are cleaned", || cleaner.status().passes >= 2 && cleaner.status().failures >= 1);
    let status = cleaner.status();
    assert_eq!((status.passes, status.failures, status.records_removed), (2, 1, 18));
    let [uncleanable] = &status.uncleanable[..] else { panic!("{status:?}") };
    assert_eq!((uncleanable.log.as_str(), uncleanable.retry_at_ms), ("broken-0", MINUTE_MS));
    assert!(uncleanable.reason.contains("00000000000000000004.log"), "{}", uncleanable.reason);
    // Others go on being cleaned; the broken one is tried again in a minute, and what is not damaged of it is cleaned then.
    fill(&log_of(&logs, "sound"), 10..12);
    wait_until("the sound one is cleaned again", || cleaner.status().records_removed == 20);
    assert_eq!(cleaner.status().failures, 1);
    clock.advance(Duration::from_secs(61));
    wait_until("what is sound of it is cleaned", || cleaner.status().records_removed == 20 + 8);
    assert_eq!(cleaner.status().uncleanable, [], "{:?}", cleaner.status());
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "the damaged segment is as it was");
    cleaner.stop();
    logs.close().unwrap();
}

#[test]
fn sealed_segments_of_any_topic_are_merged_at_the_next_look() {
    let dir = tempfile::tempdir().unwrap();
    let deleting = LogConfig { compact: false, retention_ms: 1_000 * MINUTE_MS, ..compacted(1.0) };
    let topics = [("deleting", deleting), ("compacted", compacted(1.0))];
    let logs = open(dir.path(), &topics);
    let source: CleanerConfigSource = Arc::new(|| CleanerConfig {
        is_enabled: false,
        dedupe_buffer_bytes: 1 << 20,
        bytes_per_second_max: 1e18,
        backoff: Duration::from_millis(1),
        merge_interval: Duration::from_millis(1),
        decompressed_bytes_max: 1 << 20,
    });
    let clock = Arc::new(ManualClock::at(10 * MINUTE_MS));
    let cleaner = LogCleaner::start(Arc::clone(&logs), clock, source, 1, || ());
    for (topic, ..) in &topics {
        fill(&log_of(&logs, topic), 0..10);
    }
    for (topic, ..) in &topics {
        let log = log_of(&logs, topic);
        wait_until("one sealed segment is left, and the active one", || log.segment_count() == 2);
        assert_eq!(log.offsets().log_end, Offset(20));
    }
    assert_eq!(cleaner.status().passes, 0, "log.cleaner.enable is off");
    cleaner.stop();
    logs.close().unwrap();
}

#[test]
fn neither_compaction_nor_merging_writes_into_the_reserve_and_both_go_on_when_there_is_space() {
    let disk = FaultVfs::new();
    let deleting = LogConfig { compact: false, retention_ms: 1_000 * MINUTE_MS, ..compacted(1.0) };
    let logs =
        open_on(Arc::new(disk.clone()), Path::new("/data"), &[("deleting", deleting), ("compacted", compacted(0.0))]);
    for log in logs.logs() {
        fill(&log, 0..10);
        log.flush().unwrap();
    }
    let (needed, largest) = (log_of(&logs, "deleting").size_bytes(), 1 << 20);
    let space_of = |free_bytes| DiskSpace { total_bytes: 1 << 30, usable_bytes: free_bytes };
    disk.set_capacity(Some(disk.used_bytes() + largest + needed / 2));
    let reserve = logs.disk_reserve();
    reserve.observe(reserve.begin_look(), space_of(1 << 30), Some(largest));
    let clock = Arc::new(ManualClock::at(10 * MINUTE_MS));
    let cleaner = LogCleaner::start(Arc::clone(&logs), Arc::clone(&clock) as _, steady(1e18), 1, || ());
    wait_until("compaction waits for space", || cleaner.status().uncleanable.len() == 1);
    let status = cleaner.status();
    assert_eq!((status.passes, status.failures), (0, 0), "{status:?}");
    assert!(status.uncleanable[0].reason.contains("log.reserve.bytes"), "{status:?}");
    assert!(logs.logs().iter().all(|log| log.segment_count() == 10), "nothing was merged at any look");
    let names = logs.logs().iter().flat_map(|log| disk.read_dir(log.dir()).unwrap()).collect::<Vec<_>>();
    assert!(names.iter().all(|entry| !entry.name.ends_with(".cleaned")), "{names:?}");

    disk.set_capacity(None);
    clock.advance(Duration::from_secs(61));
    wait_until("the log is compacted", || cleaner.status().passes >= 1 && cleaner.status().uncleanable.is_empty());
    wait_until("the other is merged", || log_of(&logs, "deleting").segment_count() == 2);
    cleaner.stop();
    logs.close().unwrap();
}

/// One log that is dirty and has segments to merge for each of these names, and a cleaner that has come to a first of them and
/// waits there; its pace.
fn at_work_slowly(
    dir: &Path,
    topics: &[&str],
    threads: usize,
) -> (Arc<LogManager>, LogCleaner, Arc<AtomicU64>, Arc<Log>) {
    let config = LogConfig { compact: threads > 0, retention_ms: 1_000 * MINUTE_MS, ..compacted(0.0) };
    let topics: Vec<_> = topics.iter().map(|topic| (*topic, config.clone())).collect();
    let logs = open(dir, &topics);
    logs.logs().iter().for_each(|log| fill(log, 0..10));
    let pace = Arc::new(AtomicU64::new(1));
    let looks = Arc::new(AtomicU64::new(0));
    let (paced_by, looked_at) = (Arc::clone(&pace), Arc::clone(&looks));
    let source: CleanerConfigSource = Arc::new(move || {
        looked_at.fetch_add(1, Ordering::Relaxed);
        CleanerConfig {
            merge_interval: if threads > 0 { Duration::from_secs(3_600) } else { Duration::from_millis(1) },
            ..steady(paced_by.load(Ordering::Relaxed) as f64)()
        }
    });
    let clock = Arc::new(ManualClock::at(10 * MINUTE_MS));
    let cleaner = LogCleaner::start(Arc::clone(&logs), clock, source, threads, || ());
    let in_work = || logs.logs().into_iter().find(|log| cleaner.shared.progress.begin(log.topic_partition()).is_none());
    wait_until("a log is worked on", || in_work().is_some());
    let (first, before) = (in_work().unwrap(), looks.load(Ordering::Relaxed));
    wait_until("it waits at this pace", || looks.load(Ordering::Relaxed) > before + 1);
    (logs, cleaner, pace, first)
}

#[test]
fn another_pace_reaches_what_is_under_way_with_threads_that_compact_and_without() {
    for threads in [0, 1] {
        let dir = tempfile::tempdir().unwrap();
        let (logs, cleaner, pace, log) = at_work_slowly(dir.path(), &["t"], threads);
        assert_eq!((log.segment_count(), cleaner.status().passes), (10, 0));
        pace.store(1 << 60, Ordering::Relaxed);
        wait_until("the work is done", || log.segment_count() == 2);
        cleaner.stop();
        logs.close().unwrap();
    }
}

#[test]
fn logs_that_are_deleted_are_let_go_of_whoever_has_their_turn() {
    for threads in [0, 1] {
        let dir = tempfile::tempdir().unwrap();
        let (logs, cleaner, pace, first) = at_work_slowly(dir.path(), &["a", "b", "c"], threads);
        let mut others = logs.logs();
        others.retain(|log| !Arc::ptr_eq(log, &first));
        let (other, last) = (others.remove(0), others.remove(0));
        for deleted in [other, first] {
            logs.abandon([&deleted]);
            let held = Arc::downgrade(&deleted);
            drop(deleted);
            wait_until("nobody holds it any more", || held.strong_count() == 0);
        }
        assert_eq!(last.segment_count(), 10);
        pace.store(1 << 60, Ordering::Relaxed);
        wait_until("the last has its turn", || last.segment_count() == 2);
        assert_eq!(cleaner.status().failures, 0);
        cleaner.stop();
        logs.close().unwrap();
    }
}

/// At work at every moment, and so fast.
fn steady(bytes_per_second_max: f64) -> CleanerConfigSource {
    Arc::new(move || CleanerConfig {
        is_enabled: true,
        dedupe_buffer_bytes: 1 << 20,
        bytes_per_second_max,
        backoff: Duration::from_millis(1),
        merge_interval: Duration::from_millis(1),
        decompressed_bytes_max: 1 << 20,
    })
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
