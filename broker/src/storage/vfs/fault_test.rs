//! Goal: the file system that our crash tests stand on loses what it may and keeps what it must. Method: small scripts, many
//! seeds, and a look at which outcomes occurred.

use std::collections::BTreeSet;

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

#[test]
fn what_was_synced_survives_and_what_was_not_may_or_may_not() {
    let vfs = FaultVfs::new();
    write(&vfs, "/synced", b"kept").sync_data().unwrap();
    vfs.sync_dir(Path::new("/")).unwrap();
    write(&vfs, "/unnamed", b"content is durable, its name is not").sync_data().unwrap();
    let torn = write(&vfs, "/torn", &[]);
    torn.sync_data().unwrap();
    vfs.sync_dir(Path::new("/")).unwrap();
    write(&vfs, "/unnamed2", b"x").sync_data().unwrap();
    write_all_at(&*torn, &[7; 10_000], &[], 0).unwrap();
    let (mut names, mut sizes, mut zeros) = (BTreeSet::new(), BTreeSet::new(), 0);
    for seed in 0..200 {
        let after = vfs.power_cut(seed);
        assert_eq!(read(&after, "/synced").unwrap(), b"kept");
        assert_eq!(read(&after, "/unnamed").unwrap().len(), 35, "its folder was synced later");
        names.insert(read(&after, "/unnamed2").is_some());
        let content = read(&after, "/torn").unwrap();
        sizes.insert(content.len());
        zeros += usize::from(content.contains(&0));
        assert_eq!(read(&after, "/torn"), read(&vfs.power_cut(seed), "/torn"), "the same seed, the same disk");
    }
    assert_eq!(names.len(), 2);
    assert!(sizes.len() >= 5 && sizes.contains(&0) && sizes.contains(&10_000), "{sizes:?}");
    assert!(zeros > 10, "sectors are missing in the middle");
    assert_eq!(read(&vfs.killed(), "/torn").unwrap(), [7; 10_000]);
}

#[test]
fn a_replaced_file_is_the_old_or_the_new_one_after_a_cut_anywhere() {
    let replace = |vfs: &FaultVfs| replace_file(vfs, Path::new("/f"), &[2; 3000]);
    let start = || {
        let vfs = FaultVfs::new();
        replace_file(&vfs, Path::new("/f"), &[1; 2000]).unwrap();
        vfs
    };
    let before = start().mutations();
    let mut outcomes = BTreeSet::new();
    for crash in 1.. {
        let vfs = start();
        vfs.crash_at_mutation(before + crash);
        let replaced = replace(&vfs);
        for seed in 0..20 {
            let content = read(&vfs.power_cut(seed), "/f").unwrap();
            assert!(content == [1; 2000] || content == [2; 3000]);
            assert!(replaced.is_err() || content == [2; 3000]);
            outcomes.insert((crash, content.len()));
        }
        if !vfs.has_crashed() {
            assert!(outcomes.iter().any(|(crash, len)| *len == 3000 && outcomes.contains(&(*crash, 2000))));
            return;
        }
    }
}

#[test]
fn a_failed_sync_loses_the_bytes_and_the_next_one_succeeds() {
    let vfs = FaultVfs::new();
    let file = write(&vfs, "/f", b"lost");
    vfs.sync_dir(Path::new("/")).unwrap();
    vfs.fail_call(vfs.calls() + 1, Fault::IoError);
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_eq!(read(&vfs, "/f").unwrap(), b"lost", "the page cache still shows them");
    for seed in 0..20 {
        assert_eq!(read(&vfs.power_cut(seed), "/f").unwrap(), b"");
    }
}

#[test]
fn faults_hit_the_call_that_was_named() {
    let vfs = FaultVfs::new();
    let file = write(&vfs, "/f", b"");
    for (fault, kind) in
        [(Fault::NoSpace, io::ErrorKind::StorageFull), (Fault::Interrupted, io::ErrorKind::Interrupted)]
    {
        vfs.fail_call(vfs.calls() + 2, fault);
        assert_eq!(file.write_at(&[IoSlice::new(b"ab")], 0).unwrap(), 2);
        assert_eq!(file.write_at(&[IoSlice::new(b"cd")], 0).unwrap_err().kind(), kind);
        assert_eq!(read(&vfs, "/f").unwrap(), b"ab");
    }
    vfs.fail_call(vfs.calls() + 1, Fault::Short);
    assert_eq!(file.write_at(&[IoSlice::new(b"xy")], 0).unwrap(), 1);
    assert_eq!(read(&vfs, "/f").unwrap(), b"xb");
}
