//! Reading that leaves the page cache as it was, so that work in the background does not push out what clients read.
//!
//! Owns the ways to do so, and nothing of what is read. Linux 6.14 and later do it themselves (`RWF_DONTCACHE`) on the common file
//! systems. Elsewhere what is cached is read from the cache, and what had to be fetched is dropped from it again. A file system
//! that has neither way (tmpfs, which is nothing but page cache) is read as usual.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use super::VfsFile;

/// `RWF_DONTCACHE`, which the bindings do not name yet.
const DONT_CACHE: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);

/// A file that is read once, with a descriptor of its own.
#[derive(Debug)]
pub(super) struct ReadOnceFile(File);

impl ReadOnceFile {
    pub(super) fn open(path: &Path) -> io::Result<ReadOnceFile> {
        let file = File::open(path)?;
        // Else the kernel reads ahead, and what it has read ahead would seem to have been there before. Only advice: a file
        // system that takes none is read all the same.
        let _refused = fadvise(&file, 0, None, Advice::Random);
        Ok(ReadOnceFile(file))
    }

    fn read_with(&self, buffer: &mut [u8], position: u64, flags: ReadWriteFlags) -> Result<usize, Errno> {
        preadv2(&self.0, &mut [IoSliceMut::new(buffer)], position, flags)
    }

    /// For a kernel or a file system that does not know how to leave the cache alone.
    fn read_and_drop(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        match self.read_with(buffer, position, ReadWriteFlags::NOWAIT) {
            Err(Errno::AGAIN) => {}
            Err(Errno::OPNOTSUPP | Errno::INVAL) => return self.0.read_at(buffer, position),
            read => return Ok(read?),
        }
        let read = self.0.read_at(buffer, position)?;
        if let Some(len) = NonZeroU64::new(read as u64) {
            // What is not dropped costs memory that the kernel takes back when it needs it.
            let _refused = fadvise(&self.0, position, Some(len), Advice::DontNeed);
        }
        Ok(read)
    }
}

impl VfsFile for ReadOnceFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        match self.read_with(buffer, position, DONT_CACHE) {
            Err(Errno::OPNOTSUPP | Errno::INVAL) => self.read_and_drop(buffer, position),
            read => Ok(read?),
        }
    }

    fn write_at(&self, _parts: &[IoSlice<'_>], _position: u64) -> io::Result<usize> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}

#[cfg(test)]
mod tests {
    //! Goal: the page cache holds the same after a file was read once as before. Method: the kernel is asked which blocks it can
    //! read without waiting, in a file that it has just been told to drop, and in one that was just read.

    use super::*;

    const BLOCK: usize = 64 << 10;
    const BLOCKS: usize = 16;

    type Way = fn(&ReadOnceFile, &mut [u8], u64) -> io::Result<usize>;

    /// How many blocks are in the page cache. Asking may bring them in, so each file is asked once.
    fn cached_blocks(path: &Path) -> usize {
        let file = ReadOnceFile::open(path).unwrap();
        let mut buffer = vec![0; BLOCK];
        let mut is_cached =
            |block: &usize| file.read_with(&mut buffer, (block * BLOCK) as u64, ReadWriteFlags::NOWAIT) == Ok(BLOCK);
        (0..BLOCKS).filter(|block| is_cached(block)).count()
    }

    #[test]
    fn reading_once_leaves_the_page_cache_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..BLOCK * BLOCKS).map(|n| (n / 251) as u8).collect();
        let write = |name: &str, dropped: bool| {
            let path = dir.path().join(name);
            std::fs::write(&path, &content).unwrap();
            let file = File::open(&path).unwrap();
            file.sync_all().unwrap();
            if dropped {
                fadvise(&file, 0, None, Advice::DontNeed).unwrap();
            }
            path
        };
        let ways: [Way; 2] = [ReadOnceFile::read_at, ReadOnceFile::read_and_drop];
        for (way, read) in ways.into_iter().enumerate() {
            for dropped in [true, false] {
                let (there, compared) = (write("read", dropped), write("compared", dropped));
                let file = ReadOnceFile::open(&there).unwrap();
                assert_eq!(file.len().unwrap(), content.len() as u64);
                let (mut all, mut block) = (Vec::new(), vec![0; BLOCK]);
                while all.len() < content.len() {
                    let bytes = read(&file, &mut block, all.len() as u64).unwrap();
                    assert!(bytes > 0);
                    all.extend_from_slice(&block[..bytes]);
                }
                assert_eq!(read(&file, &mut block, all.len() as u64).unwrap(), 0, "the end of the file");
                assert!(all == content);
                let (there, compared) = (cached_blocks(&there), cached_blocks(&compared));
                assert_eq!(there, compared, "way {way}, dropped before: {dropped}");
            }
        }
    }
}
