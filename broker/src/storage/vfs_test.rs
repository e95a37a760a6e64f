//! Goal: the helpers do what they say on the real file system. Method: a temporary folder, plus a file that writes and
//! reads little by little and is interrupted in between.

use std::sync::Mutex;

use super::*;

/// Takes one byte a call, and is interrupted on every other one.
#[derive(Debug, Default)]
struct Trickle {
    bytes: Mutex<Vec<u8>>,
    calls: Mutex<u32>,
}

impl Trickle {
    fn interrupted(&self) -> bool {
        let mut calls = self.calls.lock().unwrap();
        *calls += 1;
        calls.is_multiple_of(2)
    }
}

impl VfsFile for Trickle {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        if self.interrupted() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match self.bytes.lock().unwrap().get(position as usize) {
            Some(byte) => {
                buffer[0] = *byte;
                Ok(1)
            }
            None => Ok(0),
        }
    }
    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        if self.interrupted() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let mut bytes = self.bytes.lock().unwrap();
        assert_eq!(position, bytes.len() as u64);
        bytes.push(parts.iter().find(|part| !part.is_empty()).unwrap()[0]);
        Ok(1)
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }
    fn set_len(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

#[test]
fn short_and_interrupted_calls_are_continued() {
    let file = Trickle::default();
    write_all_at(&file, b"head", b"body", 0).unwrap();
    let mut back = [0; 8];
    read_exact_at(&file, &mut back, 0).unwrap();
    assert_eq!(&back, b"headbody");
    let mut more = [0; 9];
    assert_eq!(read_exact_at(&file, &mut more, 0).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_file_is_replaced_as_a_whole_and_read_with_a_limit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint");
    assert_eq!(read_file(&RealVfs, &path, 10).unwrap(), None);
    replace_file(&RealVfs, &path, b"first, and longer").unwrap();
    replace_file(&RealVfs, &path, b"second").unwrap();
    assert_eq!(read_file(&RealVfs, &path, 10).unwrap().unwrap(), b"second");
    assert_eq!(read_file(&RealVfs, &path, 5).unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert_eq!(RealVfs.read_dir(dir.path()).unwrap().len(), 1, "no temporary file stays");
}

#[test]
fn a_lock_is_held_by_one_until_it_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".lock");
    let held = RealVfs.lock(&path).unwrap();
    assert_eq!(RealVfs.lock(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(held);
    RealVfs.lock(&path).unwrap();
}

#[test]
fn open_keeps_to_its_access() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    assert_eq!(RealVfs.open(&path, Access::Write).unwrap_err().kind(), io::ErrorKind::NotFound);
    let file = RealVfs.open(&path, Access::CreateNew).unwrap();
    write_all_at(&*file, b"abc", b"", 0).unwrap();
    assert_eq!(RealVfs.open(&path, Access::CreateNew).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(RealVfs.open(&path, Access::CreateOrKeep).unwrap().len().unwrap(), 3);
    assert!(RealVfs.open(&path, Access::Read).unwrap().write_at(&[IoSlice::new(b"x")], 0).is_err());
}
