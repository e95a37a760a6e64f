//! Goal: the model loses what a real disk may lose, all of it and nothing else. Method: the smallest scripts that can tell.

use rand::SeedableRng;

use super::*;
use crate::storage::vfs::{read_file, replace_file, write_all_at};

fn write(vfs: &FaultVfs, path: &str, bytes: &[u8]) -> Arc<dyn VfsFile> {
    let file = vfs.open(Path::new(path), Access::CreateOrKeep).unwrap();
    write_all_at(&*file, bytes, &[], 0).unwrap();
    file
}

fn read(vfs: &FaultVfs, path: &str) -> Option<Vec<u8>> {
    read_file(vfs, Path::new(path), 1 << 20).unwrap()
}

/// All outcomes of many power cuts.
fn outcomes<T: Ord>(vfs: &FaultVfs, look: impl Fn(&FaultVfs) -> T) -> std::collections::BTreeSet<T> {
    let mut random = StdRng::seed_from_u64(1);
    (0..300).map(|_| look(&vfs.after_power_cut(&mut random))).collect()
}

#[test]
fn content_and_name_are_durable_each_by_its_own_sync() {
    let vfs = FaultVfs::default();
    let file = write(&vfs, "/a", b"x");
    let seen = |vfs: &FaultVfs| read(vfs, "/a");
    assert_eq!(outcomes(&vfs, seen), [None, Some(b"".to_vec()), Some(b"x".to_vec())].into());
    file.sync_data().unwrap();
    assert_eq!(outcomes(&vfs, seen), [None, Some(b"x".to_vec())].into());
    vfs.sync_dir(Path::new("/")).unwrap();
    assert_eq!(outcomes(&vfs, seen), [Some(b"x".to_vec())].into());
    assert_eq!(seen(&vfs.after_kill()), Some(b"x".to_vec()));
}

#[test]
fn writes_are_torn_at_sectors_and_leave_holes() {
    let vfs = FaultVfs::default();
    let file = write(&vfs, "/a", &[1; 1024]);
    vfs.sync_dir(Path::new("/")).unwrap();
    let shapes = outcomes(&vfs, |vfs| {
        let content = read(vfs, "/a").unwrap();
        content.chunks(512).map(|sector| sector[0]).collect::<Vec<u8>>()
    });
    assert_eq!(shapes, [vec![], vec![1], vec![0, 1], vec![1, 1]].into());
    file.sync_data().unwrap();
    file.set_len(10).unwrap();
    assert_eq!(outcomes(&vfs, |vfs| read(vfs, "/a").unwrap().len()), [10, 1024].into());
}

#[test]
fn a_rename_happens_or_not_and_a_replacement_is_never_a_mix() {
    let vfs = FaultVfs::default();
    replace_file(&vfs, Path::new("/a"), b"old").unwrap();
    let steps = vfs.operation_count();
    replace_file(&vfs, Path::new("/a"), b"new").unwrap();
    let total = vfs.operation_count();
    assert_eq!(outcomes(&vfs, |vfs| read(vfs, "/a").unwrap()), [b"new".to_vec()].into());
    for crash in steps..total {
        let vfs = FaultVfs::default();
        vfs.crash_at(crash);
        replace_file(&vfs, Path::new("/a"), b"old").unwrap();
        assert!(replace_file(&vfs, Path::new("/a"), b"new").is_err());
        let outcomes = outcomes(&vfs, |vfs| read(vfs, "/a").unwrap());
        assert!(outcomes.iter().all(|content| content == b"old" || content == b"new"), "{:?}", vfs.operations());
    }
}

#[test]
fn a_renamed_folder_takes_its_content_along() {
    let vfs = FaultVfs::default();
    vfs.create_dir(Path::new("/d")).unwrap();
    write(&vfs, "/d/f", b"x").sync_data().unwrap();
    vfs.sync_dir(Path::new("/d")).unwrap();
    vfs.sync_dir(Path::new("/")).unwrap();
    vfs.rename(Path::new("/d"), Path::new("/e")).unwrap();
    write(&vfs, "/e/g", b"y");
    let seen = outcomes(&vfs, |vfs| (read(vfs, "/d/f").is_some(), read(vfs, "/e/f").is_some()));
    assert_eq!(seen, [(true, false), (false, true)].into());
    assert!(vfs.remove_dir(Path::new("/e")).is_err(), "not empty");
}

#[test]
fn faults_come_when_they_are_due() {
    let vfs = FaultVfs::default();
    let file = write(&vfs, "/a", b"1234");
    vfs.sync_dir(Path::new("/")).unwrap();
    let next = vfs.operation_count();
    vfs.fault_at(next, Fault::Error(io::ErrorKind::StorageFull));
    vfs.fault_at(next + 1, Fault::ShortWrite);
    vfs.fault_at(next + 2, Fault::Error(io::ErrorKind::Other));
    vfs.fault_at(next + 4, Fault::Crash);
    let parts = [IoSlice::new(b"56"), IoSlice::new(b"78")];
    assert_eq!(file.write_at(&parts, 4).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.write_at(&parts, 4).unwrap(), 2);
    assert!(file.sync_data().is_err());
    // The second sync says that all is well, over lost data.
    file.sync_data().unwrap();
    assert_eq!(read(&vfs, "/a").unwrap(), b"123456");
    assert_eq!(outcomes(&vfs, |vfs| read(vfs, "/a").unwrap()), [b"".to_vec()].into());
    assert!(file.set_len(0).is_err());
    assert!(file.len().is_err() && vfs.exists(Path::new("/a")).is_err(), "the process is gone");
    assert_eq!(read(&vfs.after_kill(), "/a").unwrap(), b"123456");
}

#[test]
fn space_is_what_the_test_says() {
    let vfs = FaultVfs::default();
    let full = DiskSpace { total_bytes: 100, usable_bytes: 0 };
    vfs.set_disk_space(full);
    assert_eq!(vfs.disk_space(Path::new("/")).unwrap(), full);
}

#[test]
fn access_and_locks_are_kept() {
    let vfs = FaultVfs::default();
    write(&vfs, "/a", b"x");
    let read_only = vfs.open(Path::new("/a"), Access::Read).unwrap();
    assert!(read_only.set_len(0).is_err());
    assert!(vfs.open(Path::new("/a"), Access::CreateNew).is_err());
    assert!(vfs.open(Path::new("/b"), Access::Write).is_err());
    assert!(vfs.open(Path::new("/no/b"), Access::CreateNew).is_err());
    let lock = vfs.lock(Path::new("/lock")).unwrap();
    assert_eq!(vfs.lock(Path::new("/lock")).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert!(vfs.after_kill().lock(Path::new("/lock")).is_ok());
    drop(lock);
    assert!(vfs.lock(Path::new("/lock")).is_ok());
}
