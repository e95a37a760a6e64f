//! Goal: what was deleted does not come back where two compactions are stopped one after the other. The first leaves any part of what
//! it had not synced; the second goes on from there, with the time of the tombstones and markers over, and is stopped too.
//!
//! Method: a log on the fault file system in which the segments of each tombstone and marker are replaced together with those
//! of what they speak of, by several replacements. Each start and compaction is stopped at each of its operations, and what
//! power cuts under several seeds leave of it are the disks that the next round begins with. Disks that differ in caches only count
//! as one.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::records::{BatchBuilder, BatchFields, BatchView, HEADER_BYTES};

use super::{DAY_MS, LIMITS};
use crate::storage::error::StorageError;
use crate::storage::test_batch::marker;
use crate::storage::validated_batch::ValidatedBatch;
use crate::storage::vfs::{FaultVfs, Vfs, read_file};
use crate::storage::{Log, LogConfig, LogContext, OpenFiles, OpenMode, ProducerLimits, Unthrottled};
use crate::types::{LeaderEpoch, Offset, TopicPartition};

const LOG_DIR: &str = "/t-0";
/// Power cuts looked at for each crash point.
const SEEDS: u64 = 10;
/// When each compaction runs: the time of what one has marked is over for the next. Nothing stops the third.
const COMPACTIONS_MS: [i64; 3] = [1_000, 1_000 + 2 * DAY_MS, 1_000 + 4 * DAY_MS];
const SEGMENT_MS: i64 = 10;
const COMMITTING: i64 = 5;
const ABORTING: i64 = 6;
/// The offsets of a record and of the tombstone that deletes it, in the segment behind.
const DELETED: [(&str, i64, i64); 3] = [("plain", 0, 4), ("committed", 1, 5), ("later", 7, 9)];
const ABORTED: i64 = 2;
const STAY: [(i64, &str); 3] = [(3, "of the first segment"), (8, "of the second"), (11, "of the third")];

fn open(disk: &FaultVfs, recovery_point: Option<Offset>) -> Result<Arc<Log>, StorageError> {
    let context = LogContext {
        open_files: OpenFiles::new(Arc::new(disk.clone()), 120),
        quarantine: PathBuf::from("/quarantine"),
        producer_limits: ProducerLimits::default(),
    };
    let config = LogConfig {
        segment_bytes: 1_800,
        segment_ms: SEGMENT_MS,
        compact: true,
        retention_ms: -1,
        ..LogConfig::default()
    };
    let (name, mode) = (TopicPartition::new("t", 0), OpenMode { recovery_point, ..OpenMode::default() });
    let log = Log::open(context, Path::new(LOG_DIR), name, Arc::new(config), mode, 0)?.0;
    log.update_high_watermark(log.offsets().log_end);
    Ok(log)
}

fn append(log: &Log, segment: i64, key: &str, value: Option<&[u8]>, fields: BatchFields) {
    let mut builder = BatchBuilder::new();
    builder.append(0, Some(key.as_bytes()), value, &[]);
    let bytes = builder.build(&fields).unwrap();
    let mut header = [0; HEADER_BYTES];
    header.copy_from_slice(&bytes[..HEADER_BYTES]);
    append_batch(log, segment, ValidatedBatch::new(header, bytes.slice(HEADER_BYTES..)));
}

/// At a time of which each segment has its own.
fn append_batch(log: &Log, segment: i64, batch: ValidatedBatch) {
    log.append(batch, LeaderEpoch(0), segment * 2 * SEGMENT_MS).unwrap();
}

/// A disk with three segments that are too large to be joined, and an active one.
fn filled() -> (FaultVfs, Offset) {
    let disk = FaultVfs::new();
    disk.create_dir(Path::new(LOG_DIR)).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    let log = open(&disk, None).unwrap();
    let plain = BatchFields::default;
    let by = |producer_id, base_sequence, is_transactional| BatchFields {
        producer_id,
        producer_epoch: 0,
        base_sequence,
        is_transactional,
        ..plain()
    };
    let stays = || Some(&[b'x'; 1_000][..]);
    append(&log, 0, "plain", Some(b"is deleted"), plain());
    append(&log, 0, "committed", Some(b"is deleted"), by(COMMITTING, 0, true));
    append(&log, 0, "aborted", Some(b"is never seen"), by(ABORTING, 0, true));
    append(&log, 0, STAY[0].1, stays(), plain());
    append(&log, 1, "plain", None, plain());
    append(&log, 1, "committed", None, plain());
    append_batch(&log, 1, marker(COMMITTING, 0, true, 0));
    append(&log, 1, "later", Some(b"is deleted"), plain());
    append(&log, 1, STAY[1].1, stays(), plain());
    append(&log, 2, "later", None, plain());
    append_batch(&log, 2, marker(ABORTING, 0, false, 0));
    append(&log, 2, STAY[2].1, stays(), plain());
    // The last batches of a producer stay, and those above are none of them any more.
    for sequence in 1..6 {
        append(&log, 3, "of a producer", Some(b"x"), by(COMMITTING, sequence, false));
        append(&log, 3, "of a producer", Some(b"x"), by(ABORTING, sequence, false));
    }
    let end = log.flush().unwrap();
    let segments = content(&disk).into_iter().map(|(name, _)| name).filter(|name| name.ends_with("log"));
    assert_eq!(segments.collect::<Vec<_>>(), [0, 4, 9, 12].map(|base| format!("{base:020}.log")));
    drop(log);
    (disk.power_cut(0), end)
}

/// A start and a compaction from the begin of the log on.
fn run(disk: &FaultVfs, end: Offset, now_ms: i64) -> Result<Arc<Log>, StorageError> {
    let log = open(disk, Some(end))?;
    log.clean(Offset::ZERO, LIMITS, now_ms, &Unthrottled)?;
    Ok(log)
}

/// The records that are there, by offset.
fn keys(log: &Log, context: &str) -> BTreeMap<i64, String> {
    let offsets = log.offsets();
    let (mut at, mut keys) = (offsets.log_start, BTreeMap::new());
    while at < offsets.log_end {
        let read = log.read(at, 1, offsets.log_end, true).unwrap_or_else(|error| panic!("{at}: {error}, {context}"));
        let bytes = read.slice.unwrap_or_else(|| panic!("nothing at {at}, {context}")).read().unwrap();
        let (batch, _) = BatchView::split(&Bytes::from(bytes)).unwrap();
        let records = batch.records(1 << 20).unwrap().map(Result::unwrap).filter(|_| !batch.is_control());
        keys.extend(
            records.map(|record| (record.offset, String::from_utf8(record.key.unwrap_or_default().to_vec()).unwrap())),
        );
        at = Offset(batch.last_offset() + 1);
    }
    keys
}

/// What is promised at any time.
fn check(log: &Log, end: Offset, context: &str) -> BTreeMap<i64, String> {
    let keys = keys(log, context);
    assert_eq!((log.offsets().log_start, log.offsets().log_end), (Offset::ZERO, end), "{context}");
    assert_eq!(log.corrupt_ranges().len(), 0, "{context}");
    for (offset, key) in STAY {
        assert_eq!(keys.get(&offset).map(String::as_str), Some(key), "{keys:?}, {context}");
    }
    for (key, record, tombstone) in DELETED {
        let is_back = keys.contains_key(&record) && !keys.contains_key(&tombstone);
        assert!(!is_back, "{key} is there and its tombstone is not: {keys:?}, {context}");
    }
    let aborted = log.aborted_transactions(Offset::ZERO, end).unwrap();
    let is_named = aborted.iter().any(|aborted| aborted.first_offset == Offset(ABORTED));
    assert!(is_named || !keys.contains_key(&ABORTED), "an aborted record is shown: {keys:?}, {context}");
    assert_eq!(log.first_unstable_offset(), None, "no transaction is open, {context}");
    keys
}

/// What the next start goes by, without what it makes anew.
fn content(disk: &FaultVfs) -> Vec<(String, Vec<u8>)> {
    let mut entries = disk.read_dir(Path::new(LOG_DIR)).unwrap();
    entries.retain(|entry| ["log", "swap", "txnindex", "snapshot"].iter().any(|kind| entry.name.ends_with(kind)));
    let read = |name: &String| read_file(disk, &Path::new(LOG_DIR).join(name), 1 << 20).unwrap().unwrap();
    entries.into_iter().map(|entry| (read(&entry.name), entry.name)).map(|(bytes, name)| (name, bytes)).collect()
}

/// What is left of a disk where a compaction of it is stopped at one of its operations, with how it came to be.
fn left_of(disk: &FaultVfs, end: Offset, now_ms: i64) -> Vec<(FaultVfs, String)> {
    let whole = disk.killed();
    run(&whole, end, now_ms).unwrap();
    let mut left = Vec::new();
    for crash in 1..=whole.mutations() {
        let stopped = disk.killed();
        stopped.crash_at_mutation(crash);
        let _stopped = run(&stopped, end, now_ms);
        assert!(stopped.has_crashed());
        left.extend((0..SEEDS).map(|seed| (stopped.power_cut(seed), format!("cut at {crash} with seed {seed}"))));
    }
    left
}

#[test]
fn what_was_deleted_does_not_come_back_when_two_compactions_are_stopped() {
    let (disk, end) = filled();
    let mut disks = vec![(disk, String::from("at first"))];
    let mut stopped_between = 0;
    let [first_ms, second_ms, last_ms] = COMPACTIONS_MS;
    for now_ms in [first_ms, second_ms] {
        let (mut left, mut seen) = (Vec::new(), HashSet::new());
        for (disk, context) in &disks {
            for (disk, how) in left_of(disk, end, now_ms) {
                if seen.insert(content(&disk)) {
                    left.push((disk, format!("{context}, then {how}")));
                }
            }
        }
        for (disk, context) in &left {
            let keys = check(&open(&disk.killed(), Some(end)).unwrap(), end, context);
            stopped_between += usize::from(!keys.contains_key(&DELETED[0].1) && keys.contains_key(&DELETED[2].1));
        }
        disks = left;
    }
    assert!(disks.len() > 30 && stopped_between > 1, "{} disks, {stopped_between} in between", disks.len());
    for (disk, context) in &disks {
        // The last one meets the tombstones and markers, and then their time is over.
        for now_ms in [second_ms, last_ms] {
            let log = run(disk, end, now_ms).unwrap();
            let keys = check(&log, end, &format!("{context}, compacted"));
            assert_eq!(keys.keys().next(), Some(&STAY[0].0), "what is deleted goes: {keys:?}, {context}");
        }
        let keys = keys(&open(disk, Some(end)).unwrap(), context);
        let tombstone = DELETED.iter().find(|(_, _, tombstone)| keys.contains_key(tombstone));
        assert_eq!(tombstone, None, "what deletes goes: {keys:?}, {context}");
    }
}
