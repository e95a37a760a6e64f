//! Goal: deleting records takes nothing but the records away: whose transaction is open, and who may repeat what, is known
//! as before, also after power cuts. Method: a log on a file system in memory, a cut under several seeds, and another one while
//! nothing was saved yet.

use std::path::Path;

use super::*;
use crate::storage::test_batch::{TestBatch, batch, marker};
use crate::storage::vfs::{FaultVfs, Vfs};
use crate::storage::{LogConfig, LogContext, OpenFiles, OpenMode, ProducerLimits};
use crate::types::{LeaderEpoch, TopicPartition};

const EPOCH: LeaderEpoch = LeaderEpoch(3);
const LOG_DIR: &str = "/t-0";
const TRANSACTIONAL: i64 = 7;
const IDEMPOTENT: i64 = 8;

fn open(disk: &FaultVfs) -> Arc<Log> {
    let context = LogContext {
        open_files: OpenFiles::new(Arc::new(disk.clone()), 8),
        quarantine: "/quarantine".into(),
        producer_limits: ProducerLimits::default(),
    };
    let config = LogConfig { segment_bytes: 1_000, ..LogConfig::default() };
    let name = TopicPartition::new("t", 0);
    let log = Log::open(context, Path::new(LOG_DIR), name, Arc::new(config), OpenMode::default(), 0).unwrap().0;
    log.update_high_watermark(log.offsets().log_end);
    log
}

fn fresh() -> (FaultVfs, Arc<Log>) {
    let disk = FaultVfs::new();
    disk.create_dir(Path::new(LOG_DIR)).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    let log = open(&disk);
    (disk, log)
}

fn append(log: &Log, batch: &TestBatch) {
    log.append(batch.build(), EPOCH, 0).unwrap();
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
