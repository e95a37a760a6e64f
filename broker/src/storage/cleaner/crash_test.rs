//! Goal: wherever a compaction is stopped, the newest record of each key that was acknowledged is there, at its offset, and nothing
//! is there that nobody wrote. Method: a log with keys on the fault file system is compacted and merged; the script is run again
//! for each of its operations with the machine stopping there, or the call failing there; then the disk is opened after a power
//! cut under several seeds, compared, compacted to the end, and compared again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::records::{BatchBuilder, BatchFields, BatchView, HEADER_BYTES};

use super::clean::CleanLimits;
use crate::storage::error::StorageError;
use crate::storage::validated_batch::ValidatedBatch;
use crate::storage::vfs::{Fault, FaultVfs, Vfs, parent};
use crate::storage::{DataDir, Log, LogConfig, LogManager, LogManagerConfig, LogToOpen, ProducerLimits, Unthrottled};
use crate::types::{LeaderEpoch, Offset, TopicPartition};

#[path = "crash_beside_test.rs"]
mod beside;
#[path = "crash_twice_test.rs"]
mod twice;

const DATA: &str = "/data";
/// Power cuts looked at for each crash point.
const SEEDS: u64 = 2;
const KEYS: i64 = 7;
const DAY_MS: i64 = 24 * 3_600_000;
/// Room for fewer keys than there are is not to be had: the smallest map has 1,024 slots.
const LIMITS: CleanLimits = CleanLimits { map_bytes_max: 0, decompressed_bytes_max: 1 << 20 };

/// What was written: by key, every offset with its value, and up to where it is durable.
#[derive(Debug, Default)]
struct Written {
    by_key: BTreeMap<i64, BTreeMap<i64, i64>>,
    flushed: i64,
    /// Records before it are deleted for good,
    deleted: i64,
    /// and those before this may be.
    maybe_deleted: i64,
    records_removed: u64,
}

fn to_open() -> LogToOpen {
    let config = LogConfig {
        segment_bytes: 1_200,
        index_interval_bytes: 200,
        compact: true,
        retention_ms: -1,
        ..LogConfig::default()
    };
    LogToOpen { topic_partition: TopicPartition::new("t", 0), config: Arc::new(config) }
}

fn open(vfs: &FaultVfs) -> Result<Arc<LogManager>, StorageError> {
    let data_dir = DataDir::open(Arc::new(vfs.clone()), Path::new(DATA))?;
    // Descriptors enough to replace five segments at once, one by one or joined.
    let config = LogManagerConfig { threads: 1, open_files_max: 120, producer_limits: ProducerLimits::default() };
    LogManager::open(data_dir, &config, vec![to_open()], 0)
}

fn the_log(manager: &LogManager) -> Option<Arc<Log>> {
    manager.log(&TopicPartition::new("t", 0))
}

/// Two records: of one key, and a counter as the value; every ninth batch deletes its keys.
fn append(log: &Log, written: &mut Written, n: i64) {
    let mut builder = BatchBuilder::new();
    for part in 0..2 {
        let (key, value) = ((n * 3 + part) % KEYS, (n * 2 + part).to_be_bytes());
        let value = (n % 9 != 8).then_some(&value[..]);
        builder.append(n, Some(&key.to_be_bytes()), value, &[]);
    }
    let mut fields = BatchFields::default();
    if n % 3 == 0 {
        fields = BatchFields { producer_id: 5, producer_epoch: 0, base_sequence: -1, ..fields };
        fields.base_sequence = (n / 3 * 2) as i32;
    }
    let bytes = builder.build(&fields).unwrap();
    let mut header = [0; HEADER_BYTES];
    header.copy_from_slice(&bytes[..HEADER_BYTES]);
    let expected = log.offsets().log_end.0;
    // It may be there though it failed; the sequence goes on only if it did not.
    let _outcome = log.append(ValidatedBatch::new(header, bytes.slice(HEADER_BYTES..)), LeaderEpoch(n as i32 / 20), 0);
    for part in 0..2 {
        // What failed before at this offset is not there.
        for offsets in written.by_key.values_mut() {
            offsets.remove(&(expected + part));
        }
        let value = if n % 9 == 8 { -1 } else { n * 2 + part };
        written.by_key.entry((n * 3 + part) % KEYS).or_default().insert(expected + part, value);
    }
}

fn clean(log: &Log, written: &mut Written, from: &mut Offset, now_ms: i64) {
    if let Ok(report) = log.clean(*from, LIMITS, now_ms, &Unthrottled) {
        *from = report.cleaned_up_to;
        written.records_removed += report.records_removed;
    }
    written.flushed = written.flushed.max(log.offsets().flushed.0);
}

fn create_folder(vfs: &FaultVfs, dir: &Path) -> Result<(), StorageError> {
    vfs.create_dir(dir).map_err(StorageError::io("create", dir))?;
    vfs.sync_dir(parent(dir)).map_err(StorageError::io("sync", parent(dir)))
}

fn log_dir() -> PathBuf {
    Path::new(DATA).join("t-0")
}

fn run_script(vfs: &FaultVfs, written: &mut Written) -> Result<(), StorageError> {
    create_folder(vfs, Path::new(DATA))?;
    create_folder(vfs, &log_dir())?;
    let manager = open(vfs)?;
    let Some(log) = the_log(&manager) else { return Ok(()) };
    let mut from = Offset::ZERO;
    for n in 0..40 {
        append(&log, written, n);
    }
    clean(&log, written, &mut from, 1_000);
    for n in 40..60 {
        append(&log, written, n);
    }
    clean(&log, written, &mut from, 1_001 + DAY_MS);
    let _failure_is_a_case = log.merge_segments(1_000, &Unthrottled);
    written.flushed = written.flushed.max(log.offsets().flushed.0);
    Ok(())
}

/// Every record that is there was written there; the newest of each key that is durable, or one behind it, is there.
fn check(log: &Log, written: &Written, context: &str) {
    let offsets = log.offsets();
    assert!(offsets.log_end.0 >= written.flushed, "{context}: {offsets:?}, {} flushed", written.flushed);
    assert!(offsets.log_start.0 >= written.deleted, "{context}: {offsets:?}, {} deleted", written.deleted);
    assert!(offsets.log_start.0 <= written.maybe_deleted, "{context}: {offsets:?}, {} deleted", written.maybe_deleted);
    let mut newest: BTreeMap<i64, i64> = BTreeMap::new();
    let (mut at, log_start) = (offsets.log_start, offsets.log_start.0);
    while at < offsets.log_end {
        let read = log.read(at, 1, offsets.log_end, true);
        let bytes = match read {
            Ok(read) => read.slice.unwrap_or_else(|| panic!("nothing at {at}: {context}")).read().unwrap(),
            Err(crate::storage::ReadError::Corrupt { from, to, .. }) if from.0 >= written.flushed => {
                at = to;
                continue;
            }
            Err(error) => panic!("{context}, offset {at}: {error}"),
        };
        let (batch, _) = BatchView::split(&Bytes::from(bytes)).unwrap();
        batch.check_crc().unwrap();
        assert!(batch.base_offset() <= at.0 && at.0 <= batch.last_offset(), "{at} gives {batch:?}: {context}");
        for record in batch.records(1 << 20).unwrap().map(Result::unwrap) {
            let number = |bytes: &Bytes| i64::from_be_bytes(bytes[..].try_into().unwrap());
            let (key, value) = (number(record.key.as_ref().unwrap()), record.value.as_ref().map_or(-1, number));
            let there = written.by_key.get(&key).and_then(|offsets| offsets.get(&record.offset));
            assert_eq!(there, Some(&value), "nobody wrote {record:?}: {context}");
            newest.insert(key, record.offset);
        }
        at = Offset(batch.last_offset() + 1);
    }
    for (key, offsets) in &written.by_key {
        let Some((durable, value)) = offsets.range(..written.flushed).next_back() else { continue };
        let found = newest.get(key).copied().unwrap_or(-1);
        // A tombstone may go, and then nothing of its key is there.
        let may_be_gone =
            *value == -1 || *durable < log_start || offsets.range(durable + 1..).any(|(_, value)| *value == -1);
        assert!(
            found >= *durable || (may_be_gone && found == -1),
            "key {key}: {found} is the newest, {durable} is durable: {context}"
        );
    }
}

fn check_disk(disk: &FaultVfs, written: &Written, context: &str) {
    let manager = open(disk).unwrap_or_else(|error| panic!("{context}: {error}"));
    let log = the_log(&manager).unwrap_or_else(|| panic!("{context}: the log is offline"));
    check(&log, written, context);
    if log.corrupt_ranges().is_empty() {
        log.clean(Offset::ZERO, LIMITS, 2_000, &Unthrottled).unwrap_or_else(|error| panic!("{context}: {error}"));
        check(&log, written, &format!("{context}, cleaned again"));
    }
    let left = disk.read_dir(&log_dir()).unwrap();
    let leftover = left.iter().find(|entry| entry.name.ends_with("cleaned") || entry.name.ends_with("swap"));
    assert_eq!(leftover, None, "{context}");
    manager.close().unwrap_or_else(|error| panic!("{context}: {error}"));
}

#[test]
fn the_newest_records_survive_a_power_cut_at_every_operation_of_a_compaction() {
    let whole = FaultVfs::new();
    let mut written = Written::default();
    run_script(&whole, &mut written).unwrap();
    assert!(written.records_removed > 50, "the script compacts: {}", written.records_removed);
    let mutations = whole.mutations();
    for crash in 1..=mutations + 1 {
        let vfs = FaultVfs::new();
        vfs.crash_at_mutation(crash);
        let mut written = Written::default();
        let _stopped = run_script(&vfs, &mut written);
        check_disk(&vfs.killed(), &written, &format!("killed at {crash}"));
        for seed in 0..SEEDS {
            check_disk(&vfs.power_cut(seed), &written, &format!("power cut at {crash}, seed {seed}"));
        }
    }
}

#[test]
fn a_stop_while_a_replacement_is_completed_does_no_harm() {
    let whole = FaultVfs::new();
    run_script(&whole, &mut Written::default()).unwrap();
    for crash in (1..=whole.mutations()).step_by(3) {
        let vfs = FaultVfs::new();
        vfs.crash_at_mutation(crash);
        let mut written = Written::default();
        let _stopped = run_script(&vfs, &mut written);
        for again in 1.. {
            let disk = vfs.power_cut(crash);
            disk.crash_at_mutation(again);
            let _stopped = open(&disk);
            if !disk.has_crashed() {
                break;
            }
            check_disk(
                &disk.power_cut(again),
                &written,
                &format!("power cut at {crash}, again at {again} of the start"),
            );
        }
    }
}

#[test]
fn a_failure_of_any_call_costs_nothing_that_was_acknowledged() {
    for fault in [Fault::IoError, Fault::NoSpace] {
        let whole = FaultVfs::new();
        run_script(&whole, &mut Written::default()).unwrap();
        for call in 1..=whole.calls() {
            let vfs = FaultVfs::new();
            vfs.fail_call(call, fault);
            let mut written = Written::default();
            let _ended = run_script(&vfs, &mut written);
            check_disk(&vfs.power_cut(call), &written, &format!("{fault:?} at call {call}, then a power cut"));
        }
    }
}

/// Whether the superseded record at the begin of each segment is gone.
fn replaced(log: &Log, segments: i64) -> Vec<bool> {
    let is_there = |offset| {
        let read = log.read(Offset(offset), 1, log.offsets().log_end, true).unwrap();
        let (batch, _) = BatchView::split(&Bytes::from(read.slice.unwrap().read().unwrap())).unwrap();
        batch.records(1 << 20).unwrap().any(|record| record.unwrap().offset == offset)
    };
    (0..segments).map(|n| !is_there(2 * n)).collect()
}

#[test]
fn what_a_compaction_replaces_together_survives_a_power_cut_in_order() {
    const REPLACED: i64 = 4;
    let append = |log: &Log, key: i64, value: &[u8]| {
        let mut builder = BatchBuilder::new();
        builder.append(0, Some(&key.to_be_bytes()), Some(value), &[]);
        let bytes = builder.build(&BatchFields::default()).unwrap();
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(&bytes[..HEADER_BYTES]);
        log.append(ValidatedBatch::new(header, bytes.slice(HEADER_BYTES..)), LeaderEpoch(1), 0).unwrap();
    };
    let (mut mixed, mut swaps_max, mut stops) = (0, 0, 0);
    for crash in 1.. {
        let vfs = FaultVfs::new();
        let dir = Path::new(DATA).join("t-0");
        vfs.create_dir(Path::new(DATA)).unwrap();
        vfs.create_dir(&dir).unwrap();
        vfs.sync_dir(Path::new("/")).unwrap();
        vfs.sync_dir(Path::new(DATA)).unwrap();
        let manager = open(&vfs).unwrap();
        let log = the_log(&manager).unwrap();
        // Segments that are too large to be joined, each with a record that the one behind supersedes; the last is active.
        for n in 0..REPLACED + 2 {
            append(&log, 0, b"superseded");
            append(&log, 1 + n, &[1; 900]);
        }
        log.flush().unwrap();
        assert_eq!(log.segment_count() as i64, REPLACED + 2);
        vfs.crash_at_mutation(vfs.mutations() + crash);
        let _stopped = log.clean(Offset::ZERO, LIMITS, 1_000, &Unthrottled);
        if !vfs.has_crashed() {
            break;
        }
        stops += 1;
        let left = vfs.killed().read_dir(&dir).unwrap();
        swaps_max = swaps_max.max(left.iter().filter(|entry| entry.name.ends_with("swap")).count());
        for seed in 0..8 {
            let disk = vfs.power_cut(seed);
            let manager = open(&disk).unwrap();
            let replaced = replaced(&the_log(&manager).unwrap(), REPLACED);
            assert!(
                replaced.is_sorted_by(|before, behind| before >= behind),
                "{replaced:?}: cut at {crash}, seed {seed}"
            );
            mixed += usize::from(replaced[0] != replaced[replaced.len() - 1]);
        }
    }
    assert!(stops > 20 && mixed > 5, "{stops} operations, {mixed} cuts between replacements");
    assert_eq!(swaps_max as i64, REPLACED, "they take their places together");
}
