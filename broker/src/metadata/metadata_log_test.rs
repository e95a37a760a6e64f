//! Goal: a change is there as a whole or not at all, and damage is told from a torn tail. Method: files cut and flipped by hand.

use std::path::PathBuf;

use super::*;
use crate::storage::vfs::RealVfs;

fn record(n: i64) -> MetadataRecord {
    MetadataRecord::ProducerIds { next_producer_id: n }
}

fn append(log: &MetadataLog, records: &[MetadataRecord]) {
    log.append(MetadataLog::encode(records, 5), 5).unwrap();
}

fn open(dir: &Path) -> Result<(MetadataLog, Vec<i64>), StorageError> {
    let (log, values) = MetadataLog::open(Arc::new(RealVfs), dir, 5)?;
    let numbers = values.iter().map(|value| match MetadataRecord::decode(value).unwrap() {
        MetadataRecord::ProducerIds { next_producer_id } => next_producer_id,
        other => panic!("{other:?}"),
    });
    Ok((log, numbers.collect()))
}

fn path(dir: &Path) -> PathBuf {
    dir.join("__cluster_metadata-0/00000000000000000000.log")
}

#[test]
fn a_log_whose_segments_are_gone_is_not_taken_for_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).unwrap();
    append(&log, &[record(1)]);
    log.rewrite(&[record(2)], 5).unwrap();
    drop(log);
    let folder = dir.path().join("__cluster_metadata-0");
    let segments = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let segments: Vec<PathBuf> = segments.filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    assert!(!segments.is_empty());
    segments.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    for start in ["first", "second"] {
        let refused = open(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("are gone"), "{start} start: {refused}");
    }
}

#[test]
fn appended_changes_come_back_and_a_rewrite_replaces_them() {
    let dir = tempfile::tempdir().unwrap();
    let (log, values) = open(dir.path()).unwrap();
    assert!(values.is_empty());
    append(&log, &[record(1), record(2)]);
    append(&log, &[record(3)]);
    drop(log);
    let (log, values) = open(dir.path()).unwrap();
    assert_eq!(values, [1, 2, 3]);
    log.rewrite(&[record(3)], 5).unwrap();
    append(&log, &[record(4)]);
    drop(log);
    assert_eq!(open(dir.path()).unwrap().1, [3, 4]);
}

#[test]
fn more_than_one_read_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).unwrap();
    let large = |n: i64| -> Vec<MetadataRecord> { (n * 30_000..(n + 1) * 30_000).map(record).collect() };
    for n in 0..3 {
        append(&log, &large(n));
    }
    drop(log);
    assert_eq!(open(dir.path()).unwrap().1, (0..90_000).collect::<Vec<i64>>());
}

#[test]
fn a_torn_change_is_undone_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).unwrap();
    append(&log, &[record(1)]);
    let whole = std::fs::metadata(path(dir.path())).unwrap().len() as usize;
    append(&log, &[record(2), record(3)]);
    drop(log);
    let bytes = std::fs::read(path(dir.path())).unwrap();
    for cut in whole..bytes.len() {
        std::fs::write(path(dir.path()), &bytes[..cut]).unwrap();
        assert_eq!(open(dir.path()).unwrap().1, [1], "cut at {cut}");
        assert_eq!(std::fs::metadata(path(dir.path())).unwrap().len() as usize, whole);
    }
}

#[test]
fn damage_before_a_good_change_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).unwrap();
    append(&log, &[record(1)]);
    let first_end = std::fs::metadata(path(dir.path())).unwrap().len() as usize;
    append(&log, &[record(2)]);
    drop(log);
    let bytes = std::fs::read(path(dir.path())).unwrap();
    let mut refused = 0;
    for bit in 0..first_end * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(path(dir.path()), &flipped).unwrap();
        match open(dir.path()) {
            Err(StorageError::Damaged { .. }) => {
                refused += 1;
                assert_eq!(std::fs::read(path(dir.path())).unwrap(), flipped, "nothing is touched");
            }
            // The leader epoch is covered by no checksum, and nothing here depends on it.
            Ok((_, values)) => assert!(values == [1, 2] && (12..16).contains(&(bit / 8)), "bit {bit}: {values:?}"),
            Err(other) => panic!("bit {bit}: {other}"),
        }
    }
    assert!(refused >= (first_end - 4) * 8);
}
