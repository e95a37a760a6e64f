//! Goal: a producer whose batches are deleted may repeat the last of them for good, though nothing but a snapshot tells of it: after
//! replacements, checkpoints, full disks, failed calls at a start, kills and power cuts. Method: a log on a file system in memory
//! is brought to where one file matters, and the machine stops under several seeds.

use std::path::Path;
use std::sync::Arc;

use crate::storage::error::{AppendError, StorageError};
use crate::storage::log::Log;
use crate::storage::segment::{extension, segment_path};
use crate::storage::test_batch::{TestBatch, batch};
use crate::storage::vfs::{Access, Fault, FaultVfs, Vfs};
use crate::storage::{LogConfig, LogContext, OpenFiles, OpenMode, ProducerLimits, Unthrottled};
use crate::types::{LeaderEpoch, Offset, TopicPartition};

const LOG_DIR: &str = "/t-0";
const EPOCH: LeaderEpoch = LeaderEpoch(3);

fn try_open(disk: &FaultVfs, recovery_point: Option<Offset>) -> Result<Arc<Log>, StorageError> {
    let context = LogContext {
        open_files: OpenFiles::new(Arc::new(disk.clone()), 120),
        quarantine: "/quarantine".into(),
        producer_limits: ProducerLimits::default(),
    };
    let config = LogConfig { segment_bytes: 1_000, segment_ms: 1_000, retention_ms: 1_000, ..LogConfig::default() };
    let mode = OpenMode { recovery_point, ..OpenMode::default() };
    let name = TopicPartition::new("t", 0);
    Log::open(context, Path::new(LOG_DIR), name, Arc::new(config), mode, 0).map(|(log, _)| log)
}

fn open(disk: &FaultVfs) -> Arc<Log> {
    try_open(disk, None).unwrap()
}

fn append(log: &Log, batch: &TestBatch) {
    log.append(batch.build(), EPOCH, batch.timestamp).unwrap();
}

/// What the producer sends first, and may repeat.
fn sent() -> TestBatch {
    batch(&["idempotent"], 1).by_producer(8, 0, 0)
}

/// As large as a segment, so that the next batch goes into another.
fn large() -> TestBatch {
    TestBatch::of(1, 900, 1)
}

#[track_caller]
fn assert_known(log: &Log, context: &str) {
    let repeated = log.append(sent().build(), EPOCH, 0).unwrap();
    assert!(repeated.duplicate && repeated.base_offset == Offset(0), "{context}: {repeated:?}");
}

#[track_caller]
fn assert_known_after_power_cuts(disk: &FaultVfs, context: &str) {
    for seed in 0..12 {
        assert_known(&open(&disk.power_cut(seed)), &format!("{context}, seed {seed}"));
    }
}

/// The batch in a segment of its own, and so many segments behind it.
fn filled(segments: usize) -> (FaultVfs, Arc<Log>) {
    let disk = FaultVfs::new();
    disk.create_dir(Path::new(LOG_DIR)).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    let log = open(&disk);
    append(&log, &sent());
    (0..segments).for_each(|_| append(&log, &large()));
    log.flush().unwrap();
    (disk, log)
}

/// Deletes the batch, and makes the segments behind it fit into one.
fn mergeable() -> (FaultVfs, Arc<Log>) {
    let (disk, log) = filled(3);
    assert_eq!(log.delete_records(Offset(1)).unwrap(), Offset(1));
    log.update_config(Arc::new(LogConfig { segment_bytes: 3_000, ..LogConfig::clone(&log.config()) }));
    (disk, log)
}

fn snapshot(offset: i64) -> std::path::PathBuf {
    segment_path(Path::new(LOG_DIR), Offset(offset), extension::PRODUCER_SNAPSHOT)
}

fn damage_snapshot(disk: &FaultVfs, offset: i64) {
    let file = disk.open(&snapshot(offset), Access::Write).unwrap();
    file.write_at(&[std::io::IoSlice::new(&[0xa5])], 20).unwrap();
}

/// A start that finds the end of the log before its start: deleted batches were lost in a power cut.
fn started_anew() -> FaultVfs {
    let (disk, log) = filled(0);
    append(&log, &large());
    assert_eq!(log.delete_records(Offset(2)).unwrap(), Offset(2));
    let lost = (0..200).map(|seed| disk.power_cut(seed)).find(|disk| {
        let log = open(&disk.killed());
        log.segment_count() == 1 && log.size_bytes() == 0
    });
    lost.expect("a seed takes the last batch")
}

#[test]
fn merging_takes_the_snapshot_of_a_deleted_producer_only_where_another_one_is_durable() {
    let (disk, log) = mergeable();
    let before = disk.mutations();
    assert_eq!(log.merge_segments(0, &Unthrottled).unwrap(), 1);
    assert_known_after_power_cuts(&disk, "merged");
    for crash in 1..=disk.mutations() - before {
        let (disk, log) = mergeable();
        disk.crash_at_mutation(disk.mutations() + crash);
        let _stopped = log.merge_segments(0, &Unthrottled);
        assert_known_after_power_cuts(&disk, &format!("stopped at {crash}"));
        // The start that completes it is cut off too.
        for seed in 0..6 {
            let disk = disk.power_cut(seed);
            open(&disk);
            assert_known_after_power_cuts(&disk, &format!("stopped at {crash}, started after seed {seed}"));
        }
    }
}

#[test]
fn merging_without_a_sound_snapshot_behind_writes_one_first() {
    let (disk, log) = mergeable();
    damage_snapshot(&disk, 3);
    assert_eq!(log.merge_segments(0, &Unthrottled).unwrap(), 1);
    assert_known_after_power_cuts(&disk, "merged");
    let (disk, log) = mergeable();
    disk.remove_file(&snapshot(3)).unwrap();
    let before = disk.calls();
    log.merge_segments(0, &Unthrottled).unwrap();
    for call in 1..=disk.calls() - before {
        for fault in [Fault::IoError, Fault::NoSpace] {
            let (disk, log) = mergeable();
            disk.remove_file(&snapshot(3)).unwrap();
            disk.fail_call(disk.calls() + call, fault);
            let _may_fail = log.merge_segments(0, &Unthrottled);
            assert_known_after_power_cuts(&disk, &format!("{fault:?} at {call}"));
            assert_known(&open(&disk.killed()), &format!("{fault:?} at {call}, killed"));
        }
    }
}

#[test]
fn a_checkpoint_leaves_the_durable_snapshot_at_its_offset_as_it_is() {
    let disk = started_anew();
    let log = open(&disk);
    log.checkpoint().unwrap();
    assert_known_after_power_cuts(&disk, "checkpoint after a start behind the end");
    // Nothing is lost where the disk is full.
    let disk = started_anew();
    let log = open(&disk);
    disk.set_capacity(Some(disk.used_bytes()));
    let _may_be_refused = log.checkpoint();
    assert_known(&open(&disk.killed()), "checkpoint on a full disk");
    for call in 1..30 {
        let disk = started_anew();
        let log = open(&disk);
        disk.fail_call(disk.calls() + call, Fault::NoSpace);
        let _may_be_refused = log.checkpoint();
        assert_known(&open(&disk.killed()), &format!("no space at call {call} of a checkpoint"));
    }
}

#[test]
fn a_close_that_is_stopped_leaves_the_durable_snapshot_at_its_offset_as_it_is() {
    let whole = started_anew();
    for crash in 1..30 {
        let disk = whole.killed();
        let log = open(&disk);
        disk.crash_at_mutation(disk.mutations() + crash);
        let closed = log.close();
        assert_known_after_power_cuts(&disk, &format!("close stopped at {crash}"));
        if closed.is_ok() {
            return;
        }
    }
    panic!("it is never closed");
}

#[test]
fn checkpoints_leave_a_segment_that_retention_has_begun_its_snapshot() {
    let (disk, log) = filled(0);
    log.apply_retention(1_000_000).unwrap();
    assert_eq!((log.offsets().log_start, log.size_bytes()), (Offset(1), 0), "the active segment is gone");
    assert_known_after_power_cuts(&disk, "retention");
    log.checkpoint().unwrap();
    assert_known_after_power_cuts(&disk, "checkpoint after retention");
}

#[test]
fn a_snapshot_that_was_written_late_is_not_taken_for_one_of_a_checkpoint() {
    let early_checkpoint = [false, true];
    for early in early_checkpoint {
        let (disk, log) = filled(1);
        if early {
            log.checkpoint().unwrap();
        }
        damage_snapshot(&disk, 1);
        log.delete_records(Offset(1)).unwrap();
        log.checkpoint().unwrap();
        log.update_config(Arc::new(LogConfig { segment_bytes: 100_000, ..LogConfig::clone(&log.config()) }));
        for checkpoint in 0..4 {
            append(&log, &large());
            log.checkpoint().unwrap();
            assert_known_after_power_cuts(&disk, &format!("early {early}, checkpoint {checkpoint}"));
        }
    }
}

#[test]
fn a_full_disk_that_is_freed_by_deleting_has_room_for_what_is_known_of_the_deleted() {
    let (disk, log) = filled(0);
    append(&log, &TestBatch::of(1, 600, 1));
    append(&log, &large());
    log.flush().unwrap();
    // As if there had been no space for it when the segment began.
    disk.remove_file(&snapshot(2)).unwrap();
    disk.set_capacity(Some(disk.used_bytes()));
    assert_eq!(log.delete_records(Offset(2)).unwrap(), Offset(2));
    assert_known(&open(&disk.killed()), "killed");
    assert_known_after_power_cuts(&disk, "full");
}

/// Lets each call of a start fail, and looks what the next one knows.
fn assert_known_after_failed_starts(whole: &FaultVfs) {
    let calls = {
        let disk = whole.killed();
        open(&disk);
        disk.calls()
    };
    for call in 1..=calls {
        for fault in [Fault::IoError, Fault::NoSpace] {
            let (disk, context) = (whole.killed(), format!("{fault:?} at call {call} of a start"));
            disk.fail_call(call, fault);
            if let Ok(log) = try_open(&disk, None) {
                assert_known(&log, &context);
            }
            let killed = disk.killed();
            assert_known_after_power_cuts(&disk, &context);
            assert_known(&open(&killed), &format!("{context}, killed"));
            assert_known_after_power_cuts(&killed, &format!("{context}, killed, power cut"));
        }
    }
}

#[test]
fn a_start_that_fails_forgets_no_deleted_producer() {
    assert_known_after_failed_starts(&started_anew());
    // Only a snapshot in doubt tells of it.
    let (disk, log) = mergeable();
    log.merge_segments(0, &Unthrottled).unwrap();
    assert_known_after_failed_starts(&disk.power_cut(0));
}

#[test]
fn a_start_on_a_full_disk_forgets_no_deleted_producer() {
    let (disk, log) = mergeable();
    log.merge_segments(0, &Unthrottled).unwrap();
    for free_bytes in 0..200 {
        let disk = disk.killed();
        disk.set_capacity(Some(disk.used_bytes() + free_bytes));
        if let Ok(log) = try_open(&disk, None) {
            assert_known(&log, &format!("{free_bytes} free"));
        }
        assert_known(&open(&disk.killed()), &format!("{free_bytes} free, killed"));
        assert_known_after_power_cuts(&disk, &format!("{free_bytes} free"));
    }
}

#[test]
fn a_start_takes_a_durable_snapshot_away_only_where_a_newer_one_is_durable() {
    let (disk, log) = filled(1);
    damage_snapshot(&disk, 1);
    log.delete_records(Offset(1)).unwrap();
    log.update_config(Arc::new(LogConfig { segment_bytes: 100_000, ..LogConfig::clone(&log.config()) }));
    append(&log, &large());
    let recovery_point = log.checkpoint().unwrap();
    let disk = disk.killed();
    try_open(&disk, Some(recovery_point)).unwrap();
    for seed in 0..12 {
        let log = try_open(&disk.power_cut(seed), Some(recovery_point)).unwrap();
        assert_known(&log, &format!("seed {seed}"));
    }
}

#[test]
fn only_a_full_disk_is_reported_as_one_when_a_segment_begins() {
    let begin = |fault: Option<(u64, Fault)>| {
        let (disk, log) = filled(0);
        log.delete_records(Offset(1)).unwrap();
        let before = disk.calls();
        if let Some((call, fault)) = fault {
            disk.fail_call(before + call, fault);
        }
        let appended = log.append(large().build(), EPOCH, 0);
        (disk.calls() - before, appended)
    };
    let mut refused = [0, 0];
    for call in 1..=begin(None).0 {
        if let (_, Err(error)) = begin(Some((call, Fault::IoError))) {
            let is_full = matches!(error, AppendError::Storage(StorageError::NoSpace { .. }));
            assert!(!is_full, "call {call}: {error}");
            refused[0] += 1;
        }
        if let (_, Err(error)) = begin(Some((call, Fault::NoSpace))) {
            let is_full = matches!(error, AppendError::Storage(StorageError::NoSpace { .. }));
            assert!(is_full, "call {call}: {error}");
            refused[1] += 1;
        }
    }
    assert!(refused.iter().all(|refused| *refused > 2), "{refused:?}");
}
