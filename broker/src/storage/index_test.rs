//! Goal: an index answers as a sorted list does, whatever is in memory and whatever in the file, and its file has Kafka's
//! bytes. Method: comparison with a vector, golden bytes, a folder that vanishes under the index.

use super::*;
use crate::storage::vfs::{FaultVfs, RealVfs, read_file};

const BASE: Offset = Offset(1000);

fn pool() -> Arc<OpenFiles> {
    OpenFiles::new(Arc::new(RealVfs), 8)
}

#[test]
fn lookup_is_that_of_a_sorted_list_at_every_size() {
    let dir = tempfile::tempdir().unwrap();
    let index = GrowingIndex::new::<OffsetEntry>(&pool(), dir.path().join("i.index"), BASE, Checksum::default());
    let mut model: Vec<OffsetEntry> = Vec::new();
    for n in 0..400u32 {
        let entry = OffsetEntry { offset: BASE.plus(i64::from(n) * 3 + 2), position: n * 4096 };
        index.push(&RealVfs, entry);
        model.push(entry);
        for key in [999, 1001, 1002, 1003, 1500, entry.offset.0 - 1, entry.offset.0, entry.offset.0 + 1] {
            let expected = model.iter().rev().find(|e| e.offset.0 <= key).copied();
            assert_eq!(index.lookup::<OffsetEntry>(key).unwrap(), expected, "key {key} of {n}");
        }
        assert_eq!(index.len(), model.len());
    }
    index.save::<OffsetEntry>(&RealVfs).unwrap();
    let size = RealVfs.read_dir(dir.path()).unwrap()[0].size_bytes;
    assert_eq!(size, 400 * 8);
    let sealed = SealedIndex::new::<OffsetEntry>(&pool(), dir.path().join("i.index"), BASE, size);
    for key in 990..2300 {
        let expected = model.iter().rev().find(|e| e.offset.0 <= key).copied();
        assert_eq!(sealed.lookup::<OffsetEntry>(key).unwrap(), expected);
    }
    assert_eq!(sealed.last::<OffsetEntry>().unwrap(), model.last().copied());
}

#[test]
fn the_files_have_kafkas_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let offsets = GrowingIndex::new::<OffsetEntry>(&pool(), dir.path().join("a"), BASE, Checksum::default());
    offsets.push(&RealVfs, OffsetEntry { offset: Offset(1258), position: 0x0102_0304 });
    offsets.save::<OffsetEntry>(&RealVfs).unwrap();
    let times = GrowingIndex::new::<TimeEntry>(&pool(), dir.path().join("b"), BASE, Checksum::default());
    times.push(&RealVfs, TimeEntry { timestamp: 0x0a0b_0c0d, offset: Offset(1001) });
    times.save::<TimeEntry>(&RealVfs).unwrap();
    let read = |name| read_file(&RealVfs, &dir.path().join(name), 100).unwrap().unwrap();
    assert_eq!(read("a"), [0, 0, 1, 2, 1, 2, 3, 4]);
    assert_eq!(read("b"), [0, 0, 0, 0, 0x0a, 0x0b, 0x0c, 0x0d, 0, 0, 0, 1]);
}

#[test]
fn an_index_that_cannot_be_written_is_given_up_and_never_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let index = GrowingIndex::new::<OffsetEntry>(&pool(), dir.path().join("gone/i"), BASE, Checksum::default());
    for n in 0..200 {
        index.push(&RealVfs, OffsetEntry { offset: BASE.plus(n), position: n as u32 });
    }
    assert_eq!(index.lookup::<OffsetEntry>(i64::MAX).unwrap(), None);
    assert_eq!(index.len(), 0);
}

#[test]
fn on_a_full_disk_entries_stay_in_memory_up_to_a_bound() {
    let vfs = FaultVfs::new();
    let pool = OpenFiles::new(Arc::new(vfs.clone()), 8);
    let index = GrowingIndex::new::<OffsetEntry>(&pool, PathBuf::from("/i"), BASE, Checksum::default());
    let mut model: Vec<OffsetEntry> = Vec::new();
    let push = |model: &mut Vec<OffsetEntry>, count: i64| {
        for _ in 0..count {
            let n = model.len() as i64;
            let entry = OffsetEntry { offset: BASE.plus(n * 2), position: n as u32 };
            index.push(&vfs, entry);
            model.push(entry);
        }
    };
    let check = |model: &[OffsetEntry]| {
        assert_eq!(index.len(), model.len());
        for entry in model.iter().step_by(7) {
            assert_eq!(index.lookup::<OffsetEntry>(entry.offset.0 + 1).unwrap(), Some(*entry));
        }
    };
    push(&mut model, 200);
    // Room for some entries and a part of one.
    vfs.set_capacity(Some(vfs.used_bytes() + 333));
    push(&mut model, 1000);
    check(&model);
    assert!(index.save::<OffsetEntry>(&vfs).is_err());
    vfs.set_capacity(None);
    index.save::<OffsetEntry>(&vfs).unwrap();
    push(&mut model, 200);
    check(&model);
    index.save::<OffsetEntry>(&vfs).unwrap();
    assert_eq!(vfs.used_bytes(), 1400 * 8);
    let bytes = read_file(&vfs, &PathBuf::from("/i"), u64::MAX).unwrap().unwrap();
    assert_eq!(index.saved(), Checksum::of(&bytes));

    vfs.set_capacity(Some(0));
    push(&mut model, TAIL_ENTRIES_MAX as i64 + 1);
    assert_eq!(index.lookup::<OffsetEntry>(i64::MAX).unwrap(), None, "given up");
}
