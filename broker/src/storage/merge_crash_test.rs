//! Goal: wherever the merging of segments is stopped, several of which take their places together, the log has every batch and every
//! name of an aborted transaction that it had. Method: a log on the fault file system is merged with the machine stopping at each
//! operation, or with each call failing; then the disk is opened after a kill and after power cuts under several seeds, compared, merged
//! to the end, and compared again. Recovery is stopped, too.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::batch_header::{BatchHeader, HEADER_BYTES};
use super::test_batch::{TestBatch, marker};
use super::vfs::{Fault, FaultVfs, Vfs};
use super::*;
use crate::types::{LeaderEpoch, Offset, TopicPartition};

const DIR: &str = "/t-0";
const SEEDS: u64 = 4;
const SEGMENTS: usize = 15;
/// Three groups of four, and one of two.
const MERGED: usize = 10;

/// What a log is to have: its batches by base offset, and the aborted transactions that it names.
#[derive(Debug, PartialEq)]
struct Content {
    batches: Vec<(i64, Vec<u8>)>,
    aborted: HashSet<AbortedTxn>,
}

fn open(vfs: &FaultVfs, segment_bytes: u32) -> Result<Arc<Log>, StorageError> {
    let context = LogContext {
        open_files: OpenFiles::new(Arc::new(vfs.clone()), 1024),
        quarantine: "/quarantine".into(),
        producer_limits: ProducerLimits::default(),
    };
    let config = LogConfig { segment_bytes, index_interval_bytes: 100, retention_ms: -1, ..LogConfig::default() };
    let partition = TopicPartition::new("t", 0);
    let (log, _) = Log::open(context, Path::new(DIR), partition, Arc::new(config), OpenMode::default(), 0)?;
    log.flush()?;
    log.update_high_watermark(log.offsets().log_end);
    Ok(log)
}

/// Two batches and a marker a segment, every other one of an aborted transaction, and one segment more.
fn written() -> (FaultVfs, Content) {
    let vfs = FaultVfs::new();
    vfs.create_dir(Path::new(DIR)).unwrap();
    vfs.sync_dir(Path::new("/")).unwrap();
    let log = open(&vfs, 350).unwrap();
    for n in 0..SEGMENTS as i32 {
        for part in 0..2 {
            let batch = TestBatch::of(2, 30, 1).by_producer(7, 0, 4 * n + 2 * part).in_transaction();
            log.append(batch.build(), LeaderEpoch(1), 1).unwrap();
        }
        log.append(marker(7, 0, n % 2 == 0, 1), LeaderEpoch(1), 1).unwrap();
    }
    log.flush().unwrap();
    log.update_high_watermark(log.offsets().log_end);
    assert_eq!(log.segment_count(), SEGMENTS);
    let content = content(&log, "as written");
    assert_eq!(content.aborted.len(), SEGMENTS / 2);
    log.close().unwrap();
    (vfs, content)
}

fn content(log: &Log, context: &str) -> Content {
    let offsets = log.offsets();
    let (mut at, mut batches) = (offsets.log_start, Vec::new());
    while at < offsets.log_end {
        let read = log.read(at, 1, offsets.log_end, true).unwrap_or_else(|error| panic!("{context}, {at}: {error}"));
        let bytes = read.slice.unwrap_or_else(|| panic!("{context}: nothing at {at}")).read().unwrap();
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!(header.base_offset, at, "{context}");
        batches.push((at.0, bytes[HEADER_BYTES..].to_vec()));
        at = header.next_offset();
    }
    let aborted = log.aborted_transactions(Offset::ZERO, offsets.log_end).unwrap().into_iter().collect();
    Content { batches, aborted }
}

fn merge(log: &Log) -> Result<usize, StorageError> {
    log.merge_segments(10, &Unthrottled)
}

fn leftovers(disk: &FaultVfs, extension: &str) -> usize {
    let entries = disk.read_dir(Path::new(DIR)).unwrap();
    entries.iter().filter(|entry| entry.name.ends_with(extension)).count()
}

fn check_disk(disk: &FaultVfs, expected: &Content, context: &str) {
    let log = open(disk, 1_400).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(&content(&log, context), expected, "{context}");
    merge(&log).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(&content(&log, context), expected, "{context}, merged");
    assert_eq!(log.segment_count(), SEGMENTS - MERGED, "{context}");
    assert_eq!((leftovers(disk, ".cleaned"), leftovers(disk, ".swap")), (0, 0), "{context}");
    log.close().unwrap_or_else(|error| panic!("{context}: {error}"));
}

/// The disk on which a merge stopped at its mutation of this number, if it has so many.
fn stopped_at(written: &FaultVfs, mutation: u64) -> Option<FaultVfs> {
    let vfs = written.killed();
    let log = open(&vfs, 1_400).unwrap();
    vfs.crash_at_mutation(vfs.mutations() + mutation);
    let _stopped = merge(&log);
    vfs.has_crashed().then_some(vfs)
}

#[test]
fn a_merge_that_is_stopped_anywhere_costs_nothing() {
    let (disk, expected) = written();
    let mut swaps_max = 0;
    let mut stops = 0;
    while let Some(vfs) = stopped_at(&disk, stops + 1) {
        stops += 1;
        let killed = vfs.killed();
        swaps_max = swaps_max.max(leftovers(&killed, ".swap"));
        check_disk(&killed, &expected, &format!("killed at {stops}"));
        for seed in 0..SEEDS {
            check_disk(&vfs.power_cut(seed), &expected, &format!("power cut at {stops}, seed {seed}"));
        }
    }
    assert!(stops > 60, "{stops} operations");
    assert_eq!(swaps_max, 4, "all groups take their places together");
}

#[test]
fn a_start_that_completes_a_merge_may_be_stopped_too() {
    let (disk, expected) = written();
    for stop in (1..).step_by(3) {
        let Some(vfs) = stopped_at(&disk, stop) else { break };
        for again in 1.. {
            let cut = vfs.power_cut(stop);
            cut.crash_at_mutation(again);
            let _stopped = open(&cut, 1_400);
            if !cut.has_crashed() {
                break;
            }
            check_disk(
                &cut.power_cut(again),
                &expected,
                &format!("power cut at {stop}, again at {again} of the start"),
            );
        }
    }
}

#[test]
fn a_merge_of_which_a_call_fails_costs_nothing_and_those_that_read_go_on() {
    let (disk, expected) = written();
    let calls = {
        let vfs = disk.killed();
        let log = open(&vfs, 1_400).unwrap();
        let before = vfs.calls();
        assert_eq!(merge(&log).unwrap(), MERGED);
        vfs.calls() - before
    };
    for fault in [Fault::IoError, Fault::NoSpace] {
        for call in 1..=calls {
            let context = format!("{fault:?} at call {call}");
            let vfs = disk.killed();
            let log = open(&vfs, 1_400).unwrap();
            vfs.fail_call(vfs.calls() + call, fault);
            let merged = merge(&log);
            assert_eq!(content(&log, &context), expected, "{context}: {merged:?}");
            if log.poison().is_none() {
                merge(&log).unwrap_or_else(|error| panic!("{context}: {error}"));
                assert_eq!(content(&log, &context), expected, "{context}, merged again");
                assert_eq!(log.segment_count(), SEGMENTS - MERGED, "{context}");
            }
            drop(log);
            check_disk(&vfs.power_cut(call), &expected, &context);
        }
    }
}
