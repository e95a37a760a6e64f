//! Goal: deleting records takes nothing but the records away: whose transaction is open, and who may repeat what, is known
//! as before, also after power cuts. Method: a log on a file system in memory, a cut under several seeds, and another one while
//! nothing was saved yet.

use std::path::Path;

use super::*;
use crate::storage::segment::parse_segment_name;
use crate::storage::test_batch::{TestBatch, batch, marker};
use crate::storage::vfs::{Access, Fault, FaultVfs, Vfs};
use crate::storage::{LogConfig, LogContext, OpenFiles, OpenMode, ProducerLimits, Unthrottled};
use crate::types::{LeaderEpoch, TopicPartition};

const EPOCH: LeaderEpoch = LeaderEpoch(3);
const LOG_DIR: &str = "/t-0";
const TRANSACTIONAL: i64 = 7;
const IDEMPOTENT: i64 = 8;

fn open(disk: &FaultVfs) -> Arc<Log> {
    let log = try_open(disk).unwrap();
    log.update_high_watermark(log.offsets().log_end);
    log
}

fn try_open(disk: &FaultVfs) -> Result<Arc<Log>, StorageError> {
    let context = LogContext {
        open_files: OpenFiles::new(Arc::new(disk.clone()), 120),
        quarantine: "/quarantine".into(),
        producer_limits: ProducerLimits::default(),
    };
    let config = LogConfig { segment_bytes: 1_000, ..LogConfig::default() };
    let name = TopicPartition::new("t", 0);
    Log::open(context, Path::new(LOG_DIR), name, Arc::new(config), OpenMode::default(), 0).map(|(log, _)| log)
}

fn fresh() -> (FaultVfs, Arc<Log>) {
    let disk = FaultVfs::new();
    disk.create_dir(Path::new(LOG_DIR)).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    let log = open(&disk);
    (disk, log)
}

fn append(log: &Log, batch: &TestBatch) {
    log.append(batch.build(), EPOCH, batch.timestamp).unwrap();
}

fn in_transaction(first_sequence: i32) -> TestBatch {
    batch(&["of a transaction"], 1).by_producer(TRANSACTIONAL, 0, first_sequence).in_transaction()
}

/// As large as a segment, so that the next batch goes into another.
fn large() -> TestBatch {
    TestBatch::of(1, 900, 1)
}

#[test]
fn a_transaction_whose_end_was_deleted_and_then_lost_is_not_open() {
    let mut lost = 0;
    for seed in 0..20 {
        let (disk, log) = fresh();
        let sent = batch(&["idempotent"], 1).by_producer(IDEMPOTENT, 0, 0);
        append(&log, &sent);
        append(&log, &in_transaction(0));
        log.flush().unwrap();
        append(&log, &large());
        log.append(marker(TRANSACTIONAL, 0, true, 1), EPOCH, 0).unwrap();
        let end = log.offsets().log_end;
        log.update_high_watermark(end);
        assert_eq!(log.first_unstable_offset(), None);
        assert!(log.segment_count() > 2, "the marker lies behind the snapshot of a segment");
        assert_eq!(log.delete_records(end).unwrap(), end);
        let disk = disk.power_cut(seed);
        for again in 0..3 {
            let context = format!("seed {seed}, start {again}");
            let log = open(&disk);
            let offsets = log.offsets();
            lost += usize::from(again == 0 && log.segment_count() == 1 && log.size_bytes() == 0);
            assert_eq!((offsets.log_start, offsets.log_end), (end, end), "{context}");
            assert_eq!(log.first_unstable_offset(), None, "{context}");
            let repeated = log.append(sent.build(), EPOCH, 0).unwrap();
            assert!(repeated.duplicate && repeated.base_offset == Offset(0), "{context}: {repeated:?}");
        }
        // What is begun anew is a transaction like any other.
        let disk = disk.power_cut(seed);
        let log = open(&disk);
        append(&log, &in_transaction(1));
        assert_eq!(log.first_unstable_offset(), Some(end), "seed {seed}");
        log.append(marker(TRANSACTIONAL, 0, false, 1), EPOCH, 0).unwrap();
        log.update_high_watermark(end.plus(2));
        assert_eq!(log.first_unstable_offset(), None, "seed {seed}");
        let aborted = log.aborted_transactions(end, end.plus(2)).unwrap();
        assert_eq!(aborted.iter().map(|txn| txn.first_offset).collect::<Vec<_>>(), [end], "seed {seed}");
    }
    assert!((5..=20).contains(&lost), "the marker is lost now and then: {lost}");
}

#[test]
fn a_transaction_that_is_open_over_deleted_records_holds_readers_at_the_start_of_the_log() {
    let (disk, log) = fresh();
    append(&log, &in_transaction(0));
    append(&log, &large());
    append(&log, &large());
    log.flush().unwrap();
    assert_eq!(log.first_unstable_offset(), Some(Offset(0)));
    assert_eq!(log.delete_records(Offset(2)).unwrap(), Offset(2));
    assert_eq!(log.first_unstable_offset(), Some(Offset(2)), "not before the start of the log");
    for seed in 0..10 {
        let disk = disk.power_cut(seed);
        let log = open(&disk);
        assert_eq!(log.offsets().log_start, Offset(2));
        assert_eq!(log.first_unstable_offset(), Some(Offset(2)), "seed {seed}");
        log.append(marker(TRANSACTIONAL, 0, true, 1), EPOCH, 0).unwrap();
        log.update_high_watermark(log.offsets().log_end);
        assert_eq!(log.first_unstable_offset(), None, "seed {seed}");
    }
}

/// Deletes all that a log has, and begins another segment behind it: the next start removes the one before.
fn a_segment_behind_what_is_deleted(fault: Option<u64>) -> (FaultVfs, TestBatch, u64) {
    let (disk, log) = fresh();
    let sent = batch(&["idempotent"], 1).by_producer(IDEMPOTENT, 0, 0);
    append(&log, &sent);
    log.flush().unwrap();
    let before = disk.calls();
    if let Some(call) = fault {
        disk.fail_call(before + call, Fault::IoError);
    }
    let deleted = log.delete_records(Offset(1));
    assert_eq!(deleted.is_err(), fault.is_some(), "{deleted:?}, {fault:?}");
    let calls = disk.calls() - before;
    append(&log, &large());
    let _offline_after_a_failed_sync = log.flush();
    (disk, sent, calls)
}

#[test]
fn who_wrote_what_is_deleted_as_a_whole_may_repeat_it_behind_another_segment() {
    let (disk, sent, calls) = a_segment_behind_what_is_deleted(None);
    let mut disks = vec![(disk, String::from("no fault"))];
    // A deletion that fails may be on record nevertheless.
    for call in 1..=calls {
        disks.push((a_segment_behind_what_is_deleted(Some(call)).0, format!("call {call} failed")));
    }
    let mut moved = 0;
    for (disk, context) in disks {
        for seed in 0..20 {
            let log = open(&disk.power_cut(seed));
            let offsets = log.offsets();
            moved += usize::from(offsets.log_start == Offset(1));
            let repeated = log.append(sent.build(), EPOCH, 0).unwrap();
            assert!(repeated.duplicate, "{context}, seed {seed}: {repeated:?}, {offsets:?}");
        }
    }
    assert!(moved > 20, "{moved}");
}

#[test]
fn what_only_a_snapshot_in_doubt_tells_of_deleted_batches_is_kept() {
    let (disk, log) = fresh();
    let sent = batch(&["idempotent"], 1).by_producer(IDEMPOTENT, 0, 0);
    append(&log, &sent);
    (0..3).for_each(|_| append(&log, &large()));
    log.flush().unwrap();
    assert_eq!(log.delete_records(Offset(1)).unwrap(), Offset(1));
    // As if the topic had been given larger segments. The snapshot that was durable goes with those that are merged.
    log.update_config(Arc::new(LogConfig { segment_bytes: 3_000, ..LogConfig::clone(&log.config()) }));
    assert_eq!(log.merge_segments(0, &Unthrottled).unwrap(), 1);
    let snapshots = |disk: &FaultVfs| {
        let entries = disk.read_dir(Path::new(LOG_DIR)).unwrap();
        let offsets = entries.iter().filter_map(|entry| parse_segment_name(&entry.name, extension::PRODUCER_SNAPSHOT));
        offsets.collect::<Vec<_>>()
    };
    assert_eq!(snapshots(&disk), [Offset(3)]);
    let (mut disk, whole) = (disk.killed(), disk.killed());
    for start in 0..4 {
        // Nothing is on record that would let a start believe any snapshot but one where the log begins.
        let repeated = open(&disk).append(sent.build(), EPOCH, 0).unwrap();
        assert!(repeated.duplicate && repeated.base_offset == Offset(0), "start {start}: {repeated:?}");
        assert_eq!(snapshots(&disk)[0], Offset(1), "start {start}");
        disk = disk.power_cut(start);
    }
    // The start is stopped at each of its operations.
    let mutations = {
        let disk = whole.killed();
        open(&disk);
        disk.mutations()
    };
    for crash in 1..=mutations {
        let stopped = whole.killed();
        stopped.crash_at_mutation(crash);
        let _stopped = try_open(&stopped);
        let repeated = open(&stopped.killed()).append(sent.build(), EPOCH, 0).unwrap();
        assert!(repeated.duplicate, "stopped at {crash}: {repeated:?}");
    }
}

/// A log whose first segment has one batch, which only the snapshot behind tells of when it is deleted.
fn two_segments() -> (FaultVfs, Arc<Log>, TestBatch) {
    let (disk, log) = fresh();
    let sent = batch(&["idempotent"], 1).by_producer(IDEMPOTENT, 0, 0);
    append(&log, &sent);
    append(&log, &large());
    log.flush().unwrap();
    (disk, log, sent)
}

#[test]
fn a_deletion_that_failed_and_is_tried_again_takes_no_sync_for_good_that_was_none() {
    let (disk, log, _) = two_segments();
    let before = disk.calls();
    log.delete_records(Offset(1)).unwrap();
    let mut deleted = 0;
    for call in 1..=disk.calls() - before {
        let (disk, log, sent) = two_segments();
        disk.fail_call(disk.calls() + call, Fault::IoError);
        if log.delete_records(Offset(1)).is_err() {
            let _refused_where_a_sync_failed = log.delete_records(Offset(1));
        }
        for seed in 0..10 {
            let log = open(&disk.power_cut(seed));
            deleted += usize::from(log.offsets().log_start == Offset(1));
            let repeated = log.append(sent.build(), EPOCH, 0).unwrap();
            assert!(repeated.duplicate, "call {call} failed, seed {seed}: {repeated:?}");
        }
    }
    assert!(deleted > 10, "{deleted}");
}

#[test]
fn a_damaged_snapshot_is_not_the_one_that_is_kept() {
    let (disk, log, sent) = two_segments();
    let path = segment_path(Path::new(LOG_DIR), Offset(1), extension::PRODUCER_SNAPSHOT);
    let file = disk.open(&path, Access::Write).unwrap();
    file.write_at(&[std::io::IoSlice::new(&[0xa5])], 20).unwrap();
    log.delete_records(Offset(1)).unwrap();
    for seed in 0..10 {
        let repeated = open(&disk.power_cut(seed)).append(sent.build(), EPOCH, 0).unwrap();
        assert!(repeated.duplicate, "seed {seed}: {repeated:?}");
    }
}
