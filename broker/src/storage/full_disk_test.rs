//! Goal: a full disk is a state. Appends are refused while it lasts, nothing else stops, nothing is lost, no log goes offline,
//! and all is as before once there is space.
//!
//! Method: a disk in memory that has room for so many more bytes, for many such numbers, so that every write of an append, a
//! roll, an index, a transaction index, a checkpoint and a deletion is the one that does not fit. What was appended is
//! compared while the disk is full, after a kill, and after space was made.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::batch_header::{BatchHeader, HEADER_BYTES};
use super::segment::parse_segment_name;
use super::test_batch::{TestBatch, marker};
use super::vfs::{FaultVfs, Vfs};
use super::*;
use crate::types::{LeaderEpoch, Offset, TopicPartition};

const DATA: &str = "/data";
const EPOCH: LeaderEpoch = LeaderEpoch(1);

fn open(vfs: &FaultVfs) -> (Arc<LogManager>, Arc<Log>) {
    let data_dir = DataDir::open(Arc::new(vfs.clone()), Path::new(DATA)).unwrap();
    let config = LogManagerConfig { threads: 1, open_files_max: 8, producer_limits: ProducerLimits::default() };
    let topic_partition = TopicPartition::new("t", 0);
    let log_config =
        LogConfig { segment_bytes: 2500, index_interval_bytes: 100, retention_ms: 100_000, ..LogConfig::default() };
    // As the metadata does for a new partition.
    vfs.create_dir(&Path::new(DATA).join("t-0")).unwrap();
    vfs.sync_dir(Path::new(DATA)).unwrap();
    let log = LogToOpen { topic_partition: topic_partition.clone(), config: Arc::new(log_config) };
    let manager = LogManager::open(data_dir, &config, vec![log], 0).unwrap();
    let log = manager.log(&topic_partition).unwrap();
    (manager, log)
}

/// What was appended: the records' bytes by base offset, and the aborted transactions.
#[derive(Default)]
struct Model {
    batches: BTreeMap<i64, bytes::Bytes>,
    aborted: Vec<(i64, i64)>,
    end: i64,
    steps: i64,
    sequence: i32,
    open_transaction: Option<i64>,
}

impl Model {
    /// One append: mostly batches of a producer's transactions, each aborted after two. Whether it fitted.
    fn append(&mut self, log: &Log) -> bool {
        let now_ms = self.steps;
        let batch = match self.steps % 3 {
            2 => marker(7, 0, false, now_ms),
            _ => TestBatch::of(2, 60, now_ms).by_producer(7, 0, self.sequence).in_transaction().build(),
        };
        let is_marker = self.steps % 3 == 2;
        let end = log.offsets().log_end;
        match log.append(batch.clone(), EPOCH, now_ms) {
            Ok(outcome) => {
                assert_eq!(outcome.base_offset, end);
                self.batches.insert(end.0, batch.records().clone());
                self.end = outcome.log_end_offset.0;
                self.steps += 1;
                if is_marker {
                    self.aborted.push((self.open_transaction.take().unwrap(), end.0));
                } else {
                    self.sequence += 2;
                    self.open_transaction.get_or_insert(end.0);
                }
                true
            }
            Err(AppendError::Storage(StorageError::NoSpace { .. })) => {
                assert_eq!(log.offsets().log_end, end, "nothing was appended");
                false
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Every record is read where it was appended, and every transaction that was aborted is named.
    fn check(&self, log: &Log, context: &str) {
        assert!(log.poison().is_none(), "{context}: {:?}", log.poison());
        let LogOffsets { log_start, log_end, .. } = log.offsets();
        let mut at = log_start;
        while at < log_end {
            let read = log.read(at, 1, log_end, true).unwrap_or_else(|error| panic!("{context}, offset {at}: {error}"));
            let bytes = read.slice.unwrap().read().unwrap();
            let header = BatchHeader::parse(&bytes).unwrap();
            assert!(header.base_offset <= at, "{context}");
            let expected = self.batches.get(&header.base_offset.0).unwrap_or_else(|| panic!("{context}, offset {at}"));
            assert_eq!(&bytes[HEADER_BYTES..], &expected[..], "{context}, offset {at}");
            at = header.next_offset();
        }
        assert_eq!(log_end.0, self.end, "{context}");
        let expected: Vec<_> = self.aborted.iter().filter(|(_, last)| *last >= log_start.0).copied().collect();
        let aborted = log.aborted_transactions(log_start, log_end).unwrap();
        let aborted: Vec<_> = aborted.iter().map(|txn| (txn.first_offset.0, txn.last_offset.0)).collect();
        assert_eq!(aborted, expected, "{context}");
    }
}

/// Opens a log, fills it a little, and leaves room for so many bytes more.
fn nearly_full(slack_bytes: u64) -> (FaultVfs, Arc<LogManager>, Arc<Log>, Model) {
    let vfs = FaultVfs::new();
    let (manager, log) = open(&vfs);
    let mut model = Model::default();
    (0..60).for_each(|_| assert!(model.append(&log)));
    log.flush().unwrap();
    vfs.set_capacity(Some(vfs.used_bytes() + slack_bytes));
    (vfs, manager, log, model)
}

#[test]
fn a_disk_that_fills_at_any_byte_refuses_appends_and_loses_nothing() {
    for slack_bytes in (0..5000).step_by(29) {
        let context = format!("{slack_bytes} bytes left");
        let (vfs, manager, log, mut model) = nearly_full(slack_bytes);
        let mut refused = 0;
        for step in 0..80 {
            refused += usize::from(!model.append(&log));
            if step % 7 == 6 {
                // A checkpoint may find no space; what was flushed is flushed.
                let _full = manager.checkpoint();
            }
        }
        assert!(refused > 0, "{context}");
        log.flush().unwrap_or_else(|error| panic!("a flush needs no space: {error}, {context}"));
        assert_eq!(log.offsets().flushed, log.offsets().log_end);
        model.check(&log, &format!("{context}, full"));

        for (disk, how) in [(vfs.killed(), "killed"), (vfs.power_cut(slack_bytes), "power cut")] {
            let (_manager, log) = open(&disk);
            model.check(&log, &format!("{context}, {how}"));
        }

        vfs.set_capacity(None);
        (0..40).for_each(|_| assert!(model.append(&log), "{context}"));
        model.check(&log, &format!("{context}, with space again"));
        manager.close().unwrap();
        drop((manager, log));
        let (_manager, log) = open(&vfs);
        model.check(&log, &format!("{context}, after a clean stop"));
    }
}

#[test]
fn deletion_makes_space_on_a_disk_without_any() {
    let (vfs, _manager, log, mut model) = nearly_full(0);
    assert!(!model.append(&log));
    assert!(log.segment_count() >= 3);
    let names = vfs.read_dir(log.dir()).unwrap();
    let second_segment = names.iter().filter_map(|entry| parse_segment_name(&entry.name, "log")).nth(1).unwrap();
    // Within a segment a start has to be written down, and there is no space that a segment before it could give.
    let refused = log.delete_records(Offset(1));
    assert!(matches!(&refused, Err(StorageError::Io { .. })), "{refused:?}");
    assert_eq!(log.offsets().log_start, Offset(0));
    let start = second_segment.next();
    assert_eq!(log.delete_records(start).unwrap(), start, "the first segment made the space");
    model.check(&log, "after a deletion");
    assert!(model.append(&log), "there is space for records too");
    for disk in [vfs.killed(), vfs.power_cut(5)] {
        let (_manager, log) = open(&disk);
        assert_eq!(log.offsets().log_start, start);
    }
}

#[test]
fn retention_makes_space_on_a_disk_without_any() {
    let (vfs, _manager, log, mut model) = nearly_full(0);
    let sealed = log.segment_count() - 1;
    assert!(!model.append(&log));
    // All is too old; the active segment goes too once there is space for its successor.
    assert_eq!(log.apply_retention(1_000_000).unwrap(), sealed);
    assert_eq!(log.apply_retention(1_000_000).unwrap(), 1);
    assert_eq!(log.size_bytes(), 0);
    let LogOffsets { log_start, log_end, .. } = log.offsets();
    assert_eq!(log_start, log_end);
    assert!(model.append(&log));
    let (_manager, log) = open(&vfs.power_cut(3));
    assert_eq!(log.offsets().log_start, log_start);
}
