//! Goal: a change is there as a whole or not at all, and damage is told from a torn tail. Method: files cut and flipped by hand.

use super::*;
use crate::storage::vfs::RealVfs;

fn record(n: i64) -> MetadataRecord {
    MetadataRecord::ProducerIds { next_producer_id: n }
}

fn open(dir: &Path) -> Result<(MetadataLog, Vec<i64>), StorageError> {
    let (log, values) = MetadataLog::open(Arc::new(RealVfs), dir)?;
    let numbers = values.iter().map(|value| match MetadataRecord::decode(value).unwrap() {
        MetadataRecord::ProducerIds { next_producer_id } => next_producer_id,
        other => panic!("{other:?}"),
    });
    Ok((log, numbers.collect()))
}

fn path(dir: &Path) -> PathBuf {
    dir.join("__cluster_metadata-0").join(FILE_NAME)
}

#[test]
fn appended_changes_come_back_and_a_rewrite_replaces_them() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, values) = open(dir.path()).unwrap();
    assert!(values.is_empty());
    log.append(&[record(1), record(2)]).unwrap();
    log.append(&[record(3)]).unwrap();
    let (mut log, values) = open(dir.path()).unwrap();
    assert_eq!(values, [1, 2, 3]);
    log.rewrite(&[record(3)]).unwrap();
    log.append(&[record(4)]).unwrap();
    assert_eq!(open(dir.path()).unwrap().1, [3, 4]);
}

#[test]
fn a_torn_change_is_undone_as_a_whole_and_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path()).unwrap();
    log.append(&[record(1)]).unwrap();
    let whole = log.end;
    log.append(&[record(2), record(3)]).unwrap();
    let bytes = std::fs::read(path(dir.path())).unwrap();
    for cut in whole as usize + 1..bytes.len() {
        std::fs::write(path(dir.path()), &bytes[..cut]).unwrap();
        assert_eq!(open(dir.path()).unwrap().1, [1], "cut at {cut}");
        let kept = std::fs::read(dir.path().join(QUARANTINE_DIR).join(format!("{FILE_NAME}.{whole}"))).unwrap();
        assert_eq!(kept, bytes[whole as usize..cut]);
        assert_eq!(std::fs::metadata(path(dir.path())).unwrap().len(), whole);
    }
    // A file system may leave zeros where a write was not finished.
    let mut zeros = bytes[..whole as usize].to_vec();
    zeros.extend_from_slice(&[0; 100]);
    std::fs::write(path(dir.path()), &zeros).unwrap();
    assert_eq!(open(dir.path()).unwrap().1, [1]);
}

#[test]
fn damage_before_a_good_change_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path()).unwrap();
    log.append(&[record(1)]).unwrap();
    let first_end = log.end as usize;
    log.append(&[record(2)]).unwrap();
    let bytes = std::fs::read(path(dir.path())).unwrap();
    for bit in 0..first_end * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(path(dir.path()), &flipped).unwrap();
        assert!(matches!(open(dir.path()), Err(StorageError::Damaged { .. })), "bit {bit}");
        assert_eq!(std::fs::read(path(dir.path())).unwrap(), flipped, "nothing is touched");
    }
}
