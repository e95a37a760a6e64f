//! Goal: whatever happens to any one file that is not a segment, the log answers as before: by offset, by time, by epoch, about
//! aborted transactions, and to producers who send again.
//!
//! Method: a data directory on a disk in memory, left cleanly or by a kill. Every file in it but the segments is damaged in
//! every way, one at a time; the logs are opened, asked everything, closed, opened and asked again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch_header::BatchHeader;
use super::producer_state::{ProducerBatch, Verdict};
use super::test_batch::{TestBatch, marker};
use super::vfs::{Access, FaultVfs, Vfs, read_file, write_all_at};
use super::*;
use crate::types::{LeaderEpoch, Offset, TopicPartition};

const DATA: &str = "/data";
const LOG_DIR: &str = "/data/t-0";
/// Within the second segment.
const LOG_START: Offset = Offset(40);

fn open(vfs: &FaultVfs) -> (Arc<LogManager>, Arc<Log>) {
    let data_dir = DataDir::open(Arc::new(vfs.clone()), Path::new(DATA)).unwrap();
    let config = LogManagerConfig { threads: 1, open_files_max: 8, producer_limits: ProducerLimits::default() };
    let topic_partition = TopicPartition::new("t", 0);
    let log_config = LogConfig { segment_bytes: 2500, index_interval_bytes: 150, ..LogConfig::default() };
    vfs.create_dir(Path::new(LOG_DIR)).unwrap();
    let log = LogToOpen { topic_partition: topic_partition.clone(), config: Arc::new(log_config) };
    let manager = LogManager::open(data_dir, &config, vec![log], 0).unwrap();
    let log = manager.log(&topic_partition).unwrap();
    (manager, log)
}

/// A directory with one log: four producers, of whom two write transactions of which every second is aborted; two epochs;
/// timestamps that mostly rise and often are equal; records deleted at the start. The batches of producers, for repeats.
fn fill(vfs: &FaultVfs) -> (Arc<LogManager>, Vec<ProducerBatch>) {
    let (manager, log) = open(vfs);
    let mut sent = Vec::new();
    let mut sequences = [0; 4];
    for step in 0..99_i64 {
        if step == 70 {
            manager.checkpoint().unwrap();
            assert_eq!(log.delete_records(LOG_START).unwrap(), LOG_START);
            manager.checkpoint().unwrap();
        }
        let producer = step % 4;
        let timestamp = 1_000 + step / 3 * 10 - if step % 13 == 0 { 300 } else { 0 };
        let epoch = LeaderEpoch(1 + (step / 50) as i32);
        let round = step / 4;
        if producer >= 2 && round % 3 == 2 {
            log.append(marker(producer, 0, round % 2 == 0, timestamp), epoch, timestamp).unwrap();
            continue;
        }
        let batch = TestBatch::of(1 + (step % 3) as usize, 60, timestamp);
        let sequence = &mut sequences[producer as usize];
        let batch = batch.by_producer(producer, 0, *sequence);
        *sequence += batch.values.len() as i32;
        let batch = if producer >= 2 { batch.in_transaction() } else { batch };
        let outcome = log.append(batch.build(), epoch, timestamp).unwrap();
        sent.push(ProducerBatch {
            producer_id: crate::types::ProducerId(producer),
            producer_epoch: 0,
            first_sequence: batch.producer.unwrap().2,
            base_offset: outcome.base_offset,
            last_offset: outcome.last_offset,
            max_timestamp: timestamp,
            is_transactional: batch.transactional,
            end_txn_marker: None,
        });
    }
    log.flush().unwrap();
    assert!(log.segment_count() >= 5, "{}", log.segment_count());
    (manager, sent)
}

/// Everything that a log can be asked.
struct Answers {
    offsets: LogOffsets,
    by_offset: Vec<(i64, Vec<u8>)>,
    by_time: Vec<Option<TimestampOffset>>,
    largest: Option<TimestampOffset>,
    by_epoch: Vec<Option<EpochEndOffset>>,
    aborted: Vec<AbortedTxn>,
    first_unstable: Option<Offset>,
    repeats: Vec<String>,
}

fn ask(log: &Log, sent: &[ProducerBatch]) -> Answers {
    let offsets = log.offsets();
    log.update_high_watermark(offsets.log_end);
    let read = |offset| {
        let read = log.read(Offset(offset), 1, offsets.log_end, true).unwrap_or_else(|error| panic!("{error}"));
        let bytes = read.slice.unwrap().read().unwrap();
        (BatchHeader::parse(&bytes).unwrap().base_offset.0, bytes)
    };
    let repeat = |batch: &ProducerBatch| match log.with_producers(|producers| producers.check(batch)) {
        Ok(Verdict::Duplicate { base_offset, .. }) => {
            assert_eq!(base_offset, batch.base_offset);
            format!("repeated at {base_offset}")
        }
        other => format!("{other:?}"),
    };
    let mut aborted: Vec<AbortedTxn> = Vec::new();
    for from in (offsets.log_start.0..offsets.log_end.0).step_by(7) {
        for up_to in (from + 1..=offsets.log_end.0).step_by(23) {
            aborted.extend(log.aborted_transactions(Offset(from), Offset(up_to)).unwrap());
        }
    }
    Answers {
        offsets,
        by_offset: (offsets.log_start.0..offsets.log_end.0).map(read).collect(),
        by_time: (600..1_400).step_by(7).map(|timestamp| log.offset_for_timestamp(timestamp).unwrap()).collect(),
        largest: log.max_timestamp_offset().unwrap(),
        by_epoch: (-1..5).map(|epoch| log.end_offset_for_epoch(LeaderEpoch(epoch))).collect(),
        aborted,
        first_unstable: log.first_unstable_offset(),
        repeats: sent.iter().map(repeat).collect(),
    }
}

type Damage = (&'static str, fn(&mut Vec<u8>));

/// Flips a bit of the byte at so many percent of the length.
fn flip(bytes: &mut [u8], percent: usize) {
    let at = bytes.len().saturating_sub(1) * percent / 100;
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << (at % 8);
    }
}

/// `None` is removed.
const DAMAGES: &[Damage] = &[
    ("flipped at the start", |bytes| flip(bytes, 0)),
    ("flipped near the start", |bytes| flip(bytes, 20)),
    ("flipped in the middle", |bytes| flip(bytes, 50)),
    ("flipped at the end", |bytes| flip(bytes, 100)),
    ("zeroed", |bytes| bytes.fill(0)),
    ("half zeroed", |bytes| bytes.iter_mut().skip(7).for_each(|byte| *byte = 0)),
    ("emptied", Vec::clear),
    ("cut in half", |bytes| bytes.truncate(bytes.len() / 2)),
    ("short by an entry of an offset index", |bytes| bytes.truncate(bytes.len().saturating_sub(8))),
    ("short by an entry of a time index", |bytes| bytes.truncate(bytes.len().saturating_sub(12))),
    ("short by an entry of a transaction index", |bytes| bytes.truncate(bytes.len().saturating_sub(34))),
    ("with more behind", |bytes| bytes.extend_from_slice(&[0; 24])),
];

/// The files of a data directory that are no segments.
fn caches(vfs: &FaultVfs) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for dir in [DATA, LOG_DIR] {
        for entry in vfs.read_dir(Path::new(dir)).unwrap() {
            if !entry.is_dir && !entry.name.ends_with(".log") && entry.name != ".lock" {
                paths.push(Path::new(dir).join(entry.name));
            }
        }
    }
    paths
}

fn replace(vfs: &FaultVfs, path: &Path, bytes: &[u8]) {
    let file = vfs.open(path, Access::Write).unwrap();
    file.set_len(0).unwrap();
    write_all_at(&*file, bytes, &[], 0).unwrap();
}

/// Opens a damaged directory, asks, closes it, and asks again.
fn check(disk: FaultVfs, sent: &[ProducerBatch], expected: &Answers, context: &str) {
    for turn in ["opened", "opened again"] {
        let (manager, log) = open(&disk);
        log.flush().unwrap();
        let answers = ask(&log, sent);
        assert_eq!(log.corrupt_ranges().as_slice(), [], "no record is damaged: {context}, {turn}");
        assert_eq!(answers.offsets, expected.offsets, "{context}, {turn}");
        assert_eq!(answers.by_epoch, expected.by_epoch, "by epoch: {context}, {turn}");
        assert_eq!(answers.first_unstable, expected.first_unstable, "{context}, {turn}");
        // Long: what differs is found by a debugger better than by eyes.
        assert!(answers.by_offset == expected.by_offset, "by offset: {context}, {turn}");
        assert!(answers.by_time == expected.by_time, "by time: {context}, {turn}");
        assert!(answers.largest == expected.largest, "by the largest time: {context}, {turn}");
        assert!(answers.repeats == expected.repeats, "repeats: {context}, {turn}");
        assert!(answers.aborted == expected.aborted, "aborted transactions: {context}, {turn}");
        manager.close().unwrap();
    }
}

fn damage_everything(disk: &FaultVfs, sent: &[ProducerBatch], expected: &Answers, how: &str) {
    check(disk.killed(), sent, expected, how);
    let paths = caches(disk);
    let has = |extension: &str| paths.iter().any(|path| path.extension().is_some_and(|e| e == extension));
    assert!(["index", "timeindex", "txnindex", "snapshot", "crc32"].into_iter().all(has), "{paths:?}");
    for path in paths {
        let whole = read_file(disk, &path, u64::MAX).unwrap().unwrap();
        let context = |damage: &str| format!("{how}, {} {damage}", path.display());
        for (damage, apply) in DAMAGES {
            let mut bytes = whole.clone();
            apply(&mut bytes);
            if bytes != whole {
                let damaged = disk.killed();
                replace(&damaged, &path, &bytes);
                check(damaged, sent, expected, &context(damage));
            }
        }
        let damaged = disk.killed();
        damaged.remove_file(&path).unwrap();
        check(damaged, sent, expected, &context("removed"));
    }
}

#[test]
fn after_a_clean_stop_any_damaged_cache_changes_no_answer() {
    let disk = FaultVfs::new();
    let (manager, sent) = fill(&disk);
    let expected = ask(&manager.log(&TopicPartition::new("t", 0)).unwrap(), &sent);
    assert!(expected.aborted.len() > 20 && expected.first_unstable.is_some());
    assert!(expected.repeats.iter().filter(|repeat| repeat.starts_with("repeated")).count() >= 20);
    manager.close().unwrap();
    drop(manager);
    damage_everything(&disk, &sent, &expected, "stopped cleanly");
}

#[test]
fn after_a_kill_any_damaged_cache_changes_no_answer() {
    let disk = FaultVfs::new();
    let (manager, sent) = fill(&disk);
    let expected = ask(&manager.log(&TopicPartition::new("t", 0)).unwrap(), &sent);
    damage_everything(&disk.killed(), &sent, &expected, "killed");
}
