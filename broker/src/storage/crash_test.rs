//! Goal: whatever happens to the machine or the disk, and whenever, what was acknowledged is there, at its offset, once.
//!
//! Method: a script (create logs, append as several producers, flush, roll, read, delete records, checkpoint, close, reopen)
//! runs on a file system in memory. It is run again for each of its operations, with the machine stopping there, or with the
//! call failing there. Each time the disk is looked at after a power cut, under several seeds that decide what survives of the
//! unsynced part: the logs are opened, compared with what had been promised, and used. Recovery is stopped, too.
//!
//! A failure prints crash point and seed: the same ones give the same run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::batch_header::{BatchHeader, HEADER_BYTES};
use super::test_batch::TestBatch;
use super::vfs::{Fault, FaultVfs, Vfs};
use super::*;
use crate::types::{LeaderEpoch, Offset, TopicPartition};

const DATA: &str = "/data";
const PARTITIONS: i32 = 3;
/// Power cuts looked at for each crash point.
const SEEDS: u64 = 4;

/// A batch that was appended.
#[derive(Debug, Clone)]
struct Appended {
    base_offset: i64,
    batch: TestBatch,
}

/// What one partition was told, and what was promised about it.
#[derive(Debug, Clone, Default)]
struct Promises {
    /// Every append that was answered or whose outcome is unknown, by base offset; later ones replace earlier ones.
    appended: BTreeMap<i64, Appended>,
    /// Everything before it is durable.
    flushed: i64,
    /// Records before it are deleted for good.
    deleted: i64,
    /// Records before it may be deleted.
    maybe_deleted: i64,
    sequences: BTreeMap<i64, i32>,
    /// An append of unknown outcome ends what is known of the producers' sequences.
    batches: i64,
}

#[derive(Debug, Clone, Default)]
struct Oracle {
    /// Segments that were merged into others.
    merged: usize,
    /// Segments that retention removed.
    retained: usize,
    /// The most that one deletion of records removed.
    deleted: usize,
    partitions: BTreeMap<i32, Promises>,
}

fn name(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn to_open(partitions: std::ops::Range<i32>) -> Vec<LogToOpen> {
    let config = LogConfig { segment_bytes: 2500, index_interval_bytes: 200, ..LogConfig::default() };
    let config = Arc::new(config);
    partitions.map(|n| LogToOpen { topic_partition: name(n), config: Arc::clone(&config) }).collect()
}

fn open(vfs: &FaultVfs, partitions: i32) -> Result<Arc<LogManager>, StorageError> {
    let data_dir = DataDir::open(Arc::new(vfs.clone()), Path::new(DATA))?;
    // One thread, so that the order of operations is the same in each run.
    let config = LogManagerConfig { threads: 1, open_files_max: 8, producer_limits: ProducerLimits::default() };
    LogManager::open(data_dir, &config, to_open(0..partitions), 0)
}

/// What the metadata does for a new partition.
fn create_folder(vfs: &FaultVfs, partition: i32) -> Result<(), StorageError> {
    let dir = Path::new(DATA).join(name(partition).to_string());
    vfs.create_dir(&dir).map_err(StorageError::io("create", &dir))?;
    vfs.sync_dir(Path::new(DATA)).map_err(StorageError::io("sync", Path::new(DATA)))
}

impl Oracle {
    fn append(&mut self, manager: &LogManager, partition: i32) {
        let Some(log) = manager.log(&name(partition)) else { return };
        let promises = self.partitions.entry(partition).or_default();
        promises.batches += 1;
        let n = promises.batches;
        let count = 1 + (n % 3) as usize;
        let mut batch = TestBatch::of(count, 30 + (n % 5) as usize * 40, n);
        batch.values[0][..8].copy_from_slice(&n.to_be_bytes());
        if n % 4 != 0 {
            let producer = n % 2;
            let sequence = promises.sequences.entry(producer).or_default();
            batch = batch.by_producer(producer, 0, *sequence);
            *sequence += count as i32;
        }
        let expected = log.offsets().log_end.0;
        let outcome = log.append(batch.build(), LeaderEpoch(1 + (n / 40) as i32), n);
        match outcome {
            Ok(outcome) => {
                assert!(!outcome.duplicate);
                assert_eq!(outcome.base_offset.0, expected, "offsets are dense");
                promises.appended.insert(expected, Appended { base_offset: expected, batch });
            }
            Err(_) => {
                // It may be in the log after all; a client would send it again.
                promises.appended.entry(expected).or_insert(Appended { base_offset: expected, batch: batch.clone() });
                if let Some((producer, _, first)) = batch.producer {
                    promises.sequences.insert(producer, first);
                }
            }
        }
    }

    fn flush(&mut self, manager: &LogManager, partition: i32) {
        let Some(log) = manager.log(&name(partition)) else { return };
        if let Ok(flushed) = log.flush() {
            let promises = self.partitions.entry(partition).or_default();
            promises.flushed = promises.flushed.max(flushed.0);
        }
    }

    fn delete(&mut self, manager: &LogManager, partition: i32, before: i64) {
        let Some(log) = manager.log(&name(partition)) else { return };
        let promises = self.partitions.entry(partition).or_default();
        promises.maybe_deleted = promises.maybe_deleted.max(before);
        let segments = log.segment_count();
        if let Ok(start) = log.delete_records(Offset(before)) {
            promises.deleted = promises.deleted.max(start.0);
            self.deleted = self.deleted.max(segments - log.segment_count());
        }
    }

    /// As the housekeeping does with records older than `oldest_ms`; the active segment goes too where it is as old.
    fn retain(&mut self, manager: &LogManager, partition: i32, oldest_ms: i64) {
        let Some(log) = manager.log(&name(partition)) else { return };
        let config = log.config();
        log.update_config(Arc::new(LogConfig { retention_ms: 0, ..LogConfig::clone(&config) }));
        let (before, may_go) = (log.offsets(), log.offsets().log_end.0);
        let promises = self.partitions.entry(partition).or_default();
        let maybe_deleted = promises.maybe_deleted;
        promises.maybe_deleted = maybe_deleted.max(may_go);
        let retained = log.apply_retention(oldest_ms);
        log.update_config(config);
        if let Ok(gone) = retained {
            self.retained += gone;
            let start = log.offsets().log_start;
            assert!(start >= before.log_start);
            // What was kept on purpose is not to go by a crash.
            promises.maybe_deleted = maybe_deleted.max(start.0);
            promises.deleted = promises.deleted.max(start.0);
        }
    }

    /// Promises nothing, and must break nothing.
    fn merge(&mut self, manager: &LogManager, partition: i32) {
        let Some(log) = manager.log(&name(partition)) else { return };
        // As if the topic had been given larger segments.
        let config = log.config();
        log.update_config(Arc::new(LogConfig { segment_bytes: 3 * config.segment_bytes, ..LogConfig::clone(&config) }));
        let merged = log.merge_segments(10_000, &Unthrottled);
        log.update_config(config);
        if let Ok(fewer) = merged {
            self.merged += fewer;
            let promises = self.partitions.entry(partition).or_default();
            // It flushes first.
            promises.flushed = promises.flushed.max(log.offsets().flushed.0);
        }
    }

    fn closed(&mut self, manager: &LogManager) {
        let ends: Vec<_> = manager.logs().iter().map(|log| (log.topic_partition().partition, log.offsets())).collect();
        if manager.close().is_ok() {
            for (partition, offsets) in ends {
                self.partitions.entry(partition).or_default().flushed = offsets.log_end.0;
            }
        }
    }
}

/// The script. Goes on after errors as far as it can; the oracle learns what was promised.
fn run_script(vfs: &FaultVfs, oracle: &mut Oracle) -> Result<(), StorageError> {
    let manager = open(vfs, 0)?;
    for partition in 0..2 {
        create_folder(vfs, partition)?;
    }
    manager.open_new(&to_open(0..2), 0);
    for step in 0..24 {
        oracle.append(&manager, 0);
        oracle.append(&manager, 1);
        if step % 5 == 4 {
            oracle.flush(&manager, 0);
        }
        // Rolls twice before its first flush.
        if step % 17 == 16 {
            oracle.flush(&manager, 1);
        }
    }
    let _failure_is_a_case = manager.checkpoint();
    oracle.merge(&manager, 1);
    oracle.delete(&manager, 0, 17);
    oracle.merge(&manager, 0);
    oracle.retain(&manager, 0, 15);
    for _ in 0..6 {
        oracle.append(&manager, 0);
        oracle.flush(&manager, 0);
    }
    create_folder(vfs, 2)?;
    manager.open_new(&to_open(2..3), 0);
    oracle.append(&manager, 2);
    oracle.flush(&manager, 2);
    oracle.closed(&manager);
    drop(manager);

    let manager = open(vfs, PARTITIONS)?;
    for _ in 0..8 {
        oracle.append(&manager, 1);
        oracle.append(&manager, 2);
    }
    oracle.flush(&manager, 1);
    oracle.delete(&manager, 1, 5);
    oracle.merge(&manager, 1);
    let _failure_is_a_case = manager.checkpoint();
    oracle.retain(&manager, 2, 1_000);
    oracle.append(&manager, 2);
    oracle.flush(&manager, 2);
    for _ in 0..12 {
        oracle.append(&manager, 1);
    }
    oracle.flush(&manager, 1);
    // Several segments at once; in runs in which little was appended, all of them.
    oracle.delete(&manager, 1, 80);
    oracle.append(&manager, 1);
    oracle.flush(&manager, 1);
    Ok(())
}

/// Reads everything between the start and the end of a log, and compares it with what was sent.
fn check_log(log: &Log, promises: &Promises, context: &str) {
    let LogOffsets { log_start, log_end, flushed } = log.offsets();
    let partition = log.topic_partition();
    let context = format!("{context}, {partition}: {:?}", log.offsets());
    assert!(log_start.0 >= promises.deleted, "deleted records are back: {context}, {} deleted", promises.deleted);
    assert!(log_start.0 <= promises.maybe_deleted, "records are gone: {context}");
    assert!(log_end.0 >= promises.flushed, "acknowledged records are gone: {context}, {} flushed", promises.flushed);
    assert!(flushed <= log_end, "{context}");
    assert_eq!(log.flush().unwrap(), log_end, "{context}");
    let (mut at, mut records) = (log_start, Vec::new());
    while at < log_end {
        let read = match log.read(at, 1, log_end, true) {
            Ok(read) => read,
            Err(ReadError::Corrupt { from, to, .. }) => {
                assert!(from.0 >= promises.flushed, "acknowledged records are damaged: {context}, {from} to {to}");
                assert!(from <= at && to > at, "{context}");
                at = to;
                continue;
            }
            Err(error) => panic!("{context}, offset {at}: {error}"),
        };
        let bytes = read.slice.unwrap_or_else(|| panic!("nothing at {at}: {context}")).read().unwrap();
        let header = BatchHeader::parse(&bytes).unwrap();
        let sent = promises.appended.get(&header.base_offset.0);
        let sent = sent.unwrap_or_else(|| panic!("nobody sent what is at {at}: {context}"));
        assert_eq!(&bytes[HEADER_BYTES..], &sent.batch.build().records()[..], "at {at}: {context}");
        assert_eq!(sent.base_offset, header.base_offset.0);
        assert!(
            header.base_offset <= at && header.next_offset() > at,
            "{at} gives {header:?}: {context}, damage {:?}",
            log.corrupt_ranges()
        );
        records
            .extend((header.base_offset.0..).zip(sent.batch.timestamps()).filter(|(offset, _)| *offset >= log_start.0));
        at = header.next_offset();
    }
    assert_eq!(at, log_end, "{context}");
    check_times(log, &records, &context);
}

/// Asks for the first record from a few times on, as the records with their offsets and times give it.
fn check_times(log: &Log, records: &[(i64, i64)], context: &str) {
    for (_, asked) in records.iter().step_by(records.len() / 4 + 1) {
        let expected = records.iter().find(|(_, timestamp)| timestamp >= asked).copied();
        match log.offset_for_timestamp(*asked) {
            Ok(found) => {
                let found = found.map(|found| (found.offset.0, found.timestamp));
                assert_eq!(found, expected, "from {asked} on: {context}");
            }
            // A damaged batch may hold the record that is looked for.
            Err(ReadError::Corrupt { .. }) if !log.corrupt_ranges().is_empty() => {}
            Err(error) => panic!("{error}, from {asked} on: {context}"),
        }
    }
}

/// Sends the last batch of each producer again, as a client does that got no answer.
fn check_repeats(log: &Log, promises: &Promises, context: &str) {
    let mut last: BTreeMap<i64, &Appended> = BTreeMap::new();
    for appended in promises.appended.values().filter(|a| a.base_offset < promises.flushed) {
        if let Some((producer, ..)) = appended.batch.producer {
            last.insert(producer, appended);
        }
    }
    for (producer, appended) in last {
        let end = log.offsets().log_end;
        match log.append(appended.batch.build(), LeaderEpoch(9), 0) {
            Ok(outcome) => {
                assert!(outcome.duplicate, "a repeat of {producer} was appended at {end}: {context}");
                assert_eq!(outcome.base_offset.0, appended.base_offset, "{context}");
            }
            // Later, unacknowledged batches of this producer survived as well and pushed it out of the window.
            Err(AppendError::Producer(ProducerStateError::DuplicateSequence { .. })) => {}
            Err(error) => panic!("a repeat of {producer} was refused: {error}, {context}"),
        }
        assert_eq!(log.offsets().log_end, end, "{context}");
    }
}

/// Opens what is on the disk, holds it against the promises, and goes on using it.
fn check_disk(disk: &FaultVfs, oracle: &Oracle, context: &str) {
    let manager = open(disk, PARTITIONS).unwrap_or_else(|error| panic!("{context}: {error}"));
    for partition in 0..PARTITIONS {
        let log = manager.log(&name(partition)).unwrap_or_else(|| panic!("{context}: log {partition} is offline"));
        let promises = oracle.partitions.get(&partition).cloned().unwrap_or_default();
        check_log(&log, &promises, context);
        check_repeats(&log, &promises, context);
        let mut after = promises;
        let end = log.offsets().log_end.0;
        for n in 0..3 {
            let batch = TestBatch::of(2, 300, n);
            let outcome = log.append(batch.build(), LeaderEpoch(9), 0).unwrap();
            assert_eq!(outcome.base_offset.0, end + n * 2, "{context}");
            after.appended.insert(end + n * 2, Appended { base_offset: end + n * 2, batch });
        }
        log.flush().unwrap();
        check_log_after(&log, &after, context);
    }
    let ends: Vec<_> = (0..PARTITIONS).map(|p| manager.log(&name(p)).unwrap().offsets()).collect();
    manager.close().unwrap_or_else(|error| panic!("{context}: {error}"));
    drop(manager);
    let manager = open(disk, PARTITIONS).unwrap();
    let again: Vec<_> = (0..PARTITIONS).map(|p| manager.log(&name(p)).unwrap().offsets()).collect();
    assert_eq!(again, ends, "a clean stop and start changes nothing: {context}");
}

fn check_log_after(log: &Log, promises: &Promises, context: &str) {
    check_log(log, promises, &format!("{context}, after more appends"));
}

#[test]
fn acknowledged_records_survive_a_power_cut_at_every_operation() {
    let whole = FaultVfs::new();
    let mut oracle = Oracle::default();
    run_script(&whole, &mut oracle).unwrap();
    let mutations = whole.mutations();
    assert!(mutations > 300, "the script does something: {mutations}");
    assert!(oracle.merged >= 3, "the script merges: {}", oracle.merged);
    assert!(oracle.deleted >= 2, "records of several segments are deleted at once: {}", oracle.deleted);
    assert!(oracle.retained >= 2, "retention removes segments, active ones too: {}", oracle.retained);
    for crash in 1..=mutations + 1 {
        let vfs = FaultVfs::new();
        vfs.crash_at_mutation(crash);
        let mut oracle = Oracle::default();
        let _stopped = run_script(&vfs, &mut oracle);
        assert_eq!(vfs.has_crashed(), crash <= mutations);
        check_disk(&vfs.killed(), &oracle, &format!("killed at {crash}"));
        for seed in 0..SEEDS {
            check_disk(&vfs.power_cut(seed), &oracle, &format!("power cut at {crash}, seed {seed}"));
        }
    }
}

#[test]
fn acknowledged_records_survive_a_power_cut_during_recovery() {
    let whole = FaultVfs::new();
    run_script(&whole, &mut Oracle::default()).unwrap();
    for crash in (1..=whole.mutations()).step_by(17) {
        let vfs = FaultVfs::new();
        vfs.crash_at_mutation(crash);
        let mut oracle = Oracle::default();
        let _stopped = run_script(&vfs, &mut oracle);
        let seed = crash;
        for again in 1.. {
            let disk = vfs.power_cut(seed);
            disk.crash_at_mutation(again);
            let _stopped = open(&disk, PARTITIONS);
            if !disk.has_crashed() {
                break;
            }
            for seed_after in 0..2 {
                let context =
                    format!("power cut at {crash}, seed {seed}, again at {again} of recovery, seed {seed_after}");
                check_disk(&disk.power_cut(seed_after), &oracle, &context);
            }
        }
    }
}

/// Lets each call of the script fail in turn.
fn fail_every_call(fault: Fault) {
    let whole = FaultVfs::new();
    run_script(&whole, &mut Oracle::default()).unwrap();
    for call in 1..=whole.calls() {
        let vfs = FaultVfs::new();
        vfs.fail_call(call, fault);
        let mut oracle = Oracle::default();
        let ended = run_script(&vfs, &mut oracle);
        let context = format!("{fault:?} at call {call}");
        if matches!(fault, Fault::Short | Fault::Interrupted) {
            ended.unwrap_or_else(|error| panic!("{context} is to be continued, not passed on: {error}"));
            check_disk(&vfs.killed(), &oracle, &format!("{context}, then killed"));
        }
        check_disk(&vfs.power_cut(call), &oracle, &format!("{context}, then a power cut"));
    }
}

#[test]
fn acknowledged_records_survive_an_io_error_of_every_call() {
    fail_every_call(Fault::IoError);
}

#[test]
fn acknowledged_records_survive_a_full_disk_at_every_call() {
    fail_every_call(Fault::NoSpace);
}

#[test]
fn short_and_interrupted_calls_are_continued_wherever_they_happen() {
    fail_every_call(Fault::Short);
    fail_every_call(Fault::Interrupted);
}

#[test]
fn a_full_disk_refuses_appends_until_there_is_space() {
    let vfs = FaultVfs::new();
    let manager = open(&vfs, 1).unwrap();
    create_folder(&vfs, 0).unwrap();
    let mut oracle = Oracle::default();
    (0..5).for_each(|_| oracle.append(&manager, 0));
    let log = manager.log(&name(0)).unwrap();
    let end = log.offsets().log_end;
    for full_at in [1, 2] {
        // The write fails at once, or after half of it.
        let next = vfs.calls();
        if full_at == 2 {
            vfs.fail_call(next + 1, Fault::Short);
        }
        vfs.fail_call(next + full_at, Fault::NoSpace);
        let refused = log.append(TestBatch::of(3, 50, 0).build(), LeaderEpoch(9), 0);
        assert!(matches!(refused, Err(AppendError::Storage(StorageError::NoSpace { .. }))), "{refused:?}");
        assert_eq!(log.offsets().log_end, end);
    }
    oracle.append(&manager, 0);
    oracle.flush(&manager, 0);
    assert!(log.offsets().log_end > end);
    drop((manager, log));
    check_disk(&vfs.power_cut(1), &oracle, "after a full disk");
}

#[test]
fn nothing_is_acknowledged_after_a_failed_sync_though_the_next_would_succeed() {
    struct Failures(std::sync::atomic::AtomicUsize);
    impl LogObserver for Failures {
        fn flushed(&self, _up_to: Offset) {}
        fn failed(&self, _why: &StorageError) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
    let vfs = FaultVfs::new();
    let manager = open(&vfs, 1).unwrap();
    create_folder(&vfs, 0).unwrap();
    let mut oracle = Oracle::default();
    (0..5).for_each(|_| oracle.append(&manager, 0));
    oracle.flush(&manager, 0);
    let log = manager.log(&name(0)).unwrap();
    let failures = Arc::new(Failures(Default::default()));
    log.observe(failures.clone());
    let flushed = log.offsets().flushed;
    oracle.append(&manager, 0);
    vfs.fail_call(vfs.calls() + 1, Fault::IoError);
    for _ in 0..3 {
        assert!(matches!(log.flush(), Err(StorageError::Poisoned { .. })));
        let refused = log.append(TestBatch::of(1, 50, 0).build(), LeaderEpoch(9), 0);
        assert!(matches!(refused, Err(AppendError::Storage(StorageError::Poisoned { .. }))));
        assert_eq!(log.offsets().flushed, flushed);
    }
    assert_eq!(failures.0.load(std::sync::atomic::Ordering::Relaxed), 1);
    let beyond = log.read(flushed, 1000, log.offsets().log_end, true).unwrap();
    assert!(beyond.slice.is_none(), "what may be lost is not shown");
    assert_eq!(log.readable_end(), flushed, "readers reach an end");
    assert!(log.offsets().log_end > flushed);
    assert!(manager.close().is_err());
    drop((manager, log));
    assert!(!vfs.exists(&Path::new(DATA).join(".kafka_cleanshutdown")).unwrap());
    check_disk(&vfs.power_cut(3), &oracle, "after a failed sync");
}
