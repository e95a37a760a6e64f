//! The only place that opens files: the file system as a trait.
//!
//! Owns the verbs that the broker needs from a file system, no more. [`RealVfs`] is the operating system's,
//! [`FaultVfs`] one in memory that crashes, tears and fails on command. Nothing here retries an fsync or hides an error;
//! only an interrupted call (EINTR) is repeated, because it did nothing.
//!
//! Durability is never implied: the content of a file is durable after [`VfsFile::sync_data`], the existence of a file
//! (created, renamed, removed) after [`Vfs::sync_dir`] of its folder.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

mod fault;
mod read_once;
mod real;

pub use fault::{Fault, FaultVfs};
pub use real::RealVfs;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// For reading; it must exist.
    Read,
    /// For reading what nobody else is known to want; it must exist. The page cache is left as it was, as far as the file system
    /// can: what was in it stays, what was not is dropped again.
    ReadOnce,
    /// For reading and writing; it must exist.
    Write,
    /// For reading and writing; created empty if it is missing, kept as it is if it exists.
    CreateOrKeep,
    /// For reading and writing; it must not exist.
    CreateNew,
}

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The name within its folder. Bytes that are not UTF-8 are replaced, so such a name matches none of ours.
    pub name: String,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// Size in bytes; 0 for a folder.
    pub size_bytes: u64,
    /// When its content was last written, in milliseconds since 1970; `None` where the file system does not say.
    pub modified_ms: Option<i64>,
}

/// How full a file system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Its size in bytes.
    pub total_bytes: u64,
    /// What an ordinary user can still write, in bytes.
    pub usable_bytes: u64,
}

/// A lock on a file, held until it is dropped or the process ends.
pub trait VfsLock: Send + Sync + Debug {}

/// A file system.
pub trait Vfs: Send + Sync + Debug {
    /// Opens a file. A file that was created is not durable before its folder is synced.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>>;
    /// Creates one folder; its parent must exist. Succeeds if it is there already.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// What is in a folder, in no order.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// Moves a file or a folder; an existing file at `to` is replaced at once. Durable after both folders are synced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. Durable after its folder is synced.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty folder. Durable after its parent is synced.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes what was created, renamed and removed in this folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Whether there is a file or a folder.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// How full the file system is that holds this path.
    fn disk_space(&self, path: &Path) -> io::Result<DiskSpace>;
    /// Takes the lock that this file stands for (created if missing), or fails with `WouldBlock` if somebody holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn VfsLock>>;
    /// Sets when a file was last written, in milliseconds since 1970: for content that is older than the file. To be called
    /// after the last write and before the sync, with which it becomes durable where the file system keeps times at all.
    fn set_modified_ms(&self, path: &Path, modified_ms: i64) -> io::Result<()>;
    /// Whether somebody holds the lock that this file stands for. Changes nothing, and creates nothing.
    fn is_locked(&self, path: &Path) -> io::Result<bool>;
}

/// An open file. All access is by position: there is no cursor to share.
pub trait VfsFile: Send + Sync + Debug {
    /// Reads what is there, at most `buffer`; less than asked for is no error, 0 is the end of the file.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes the parts one behind the other in one call; may write less than asked for.
    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize>;
    /// The size in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether there are no bytes in it.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or (with zeros) extends the file. Durable after `sync_data`.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes the content durable. After a failure nothing is known about the content: never call it again.
    fn sync_data(&self) -> io::Result<()>;
    /// The descriptor, for `sendfile`; `None` if the bytes are not in a file of the operating system.
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;
}

/// A file in front of another one, which does something of its own about reads; everything else goes to the one behind.
pub(super) trait FileInFront: Send + Sync + Debug {
    /// The other one.
    fn behind(&self) -> &dyn VfsFile;
    /// As [`VfsFile::read_at`].
    fn read_in_front(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.behind().read_at(buffer, position)
    }
}

impl<F: FileInFront> VfsFile for F {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.read_in_front(buffer, position)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.behind().write_at(parts, position)
    }

    fn len(&self) -> io::Result<u64> {
        self.behind().len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.behind().set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.behind().sync_data()
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.behind().as_fd()
    }
}

/// A range of a file, to be sent as it is. Holding it keeps the file open, also when its segment is deleted meanwhile.
#[derive(Debug, Clone)]
pub struct FileSlice {
    /// The file.
    pub file: Arc<dyn VfsFile>,
    /// The position of the first byte.
    pub position: u64,
    /// The number of bytes; they are there and do not change.
    pub len: usize,
}

impl FileSlice {
    /// Copies the range into memory, for whoever cannot use `sendfile`.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.len];
        read_exact_at(&*self.file, &mut bytes, self.position)?;
        Ok(bytes)
    }
}

/// Reads exactly `buffer`, or fails with `UnexpectedEof`.
pub fn read_exact_at(file: &dyn VfsFile, buffer: &mut [u8], position: u64) -> io::Result<()> {
    let read = read_up_to_at(file, buffer, position)?;
    if read < buffer.len() {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("{read} of {} bytes at position {position}", buffer.len()),
        ));
    }
    Ok(())
}

/// Fills `buffer` unless the file ends first; returns the number of bytes read.
pub fn read_up_to_at(file: &dyn VfsFile, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], position + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes two parts one behind the other, completely: normally one system call.
///
/// # Errors
/// After an error any prefix may be in the file.
pub fn write_all_at(file: &dyn VfsFile, first: &[u8], second: &[u8], position: u64) -> io::Result<()> {
    let total = first.len() + second.len();
    let mut done = 0;
    while done < total {
        let parts =
            [IoSlice::new(&first[done.min(first.len())..]), IoSlice::new(&second[done.saturating_sub(first.len())..])];
        match file.write_at(&parts, position + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => done += written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads a whole file of at most `limit_bytes`; `None` if it does not exist.
pub fn read_file(vfs: &dyn Vfs, path: &Path, limit_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match vfs.open(path, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let len = file.len()?;
    if len > limit_bytes {
        let message = format!("{} has {len} bytes, at most {limit_bytes} are expected", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut bytes = vec![0; len as usize];
    let read = read_up_to_at(&*file, &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Replaces a small file as a whole: whoever opens `path` after a crash finds the old content or the new, never a mix.
/// Durable when it returns: the content is synced before the rename, the folder after it.
pub fn replace_file(vfs: &dyn Vfs, path: &Path, content: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = Path::new(&temporary);
    let file = vfs.open(temporary, Access::CreateOrKeep)?;
    file.set_len(0)?;
    write_all_at(&*file, content, &[], 0)?;
    file.sync_data()?;
    drop(file);
    vfs.rename(temporary, path)?;
    vfs.sync_dir(parent(path))
}

/// When a file was last written, where the file system tells.
pub(super) fn modified_ms(vfs: &dyn Vfs, path: &Path) -> io::Result<Option<i64>> {
    let entries = vfs.read_dir(parent(path))?;
    let entry = entries.into_iter().find(|entry| path.file_name().is_some_and(|name| *name == *entry.name));
    Ok(entry.and_then(|entry| entry.modified_ms))
}

/// Gives a file that was written anew the time of its content, where that is known. A file system that refuses costs nothing but
/// time: who goes by it takes the content for newer than it is.
pub(super) fn keep_modified(vfs: &dyn Vfs, path: &Path, modified_ms: Option<i64>) {
    let Some(modified_ms) = modified_ms else { return };
    if let Err(error) = vfs.set_modified_ms(path, modified_ms) {
        tracing::warn!(path = %path.display(), %error, "cannot set the time of a file: its records may be kept longer");
    }
}

/// The folder that a path lies in.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
#[path = "vfs_test.rs"]
mod tests;
