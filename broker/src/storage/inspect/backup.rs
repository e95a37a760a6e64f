//! A file system that keeps a copy of all bytes that are changed or removed through it, and a list of what was done.
//!
//! Owns nothing of what is repaired: whatever code runs on it, what was there before is in the backup folder, synced,
//! before it is touched. Not copied are bytes that are replaced by the same bytes, the tails that recovery cuts from
//! segments and the segments that it moves away: those it copies or moves to the backup folder itself.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::data_file::FileKind;
use crate::storage::vfs::{
    Access, DirEntry, DiskSpace, Vfs, VfsFile, VfsLock, parent, read_exact_at, read_up_to_at, write_all_at,
};

const COPY_BLOCK_BYTES: usize = 1 << 20;

/// See the module's text. Clones share the list.
#[derive(Debug, Clone)]
pub(super) struct BackupVfs {
    inner: Arc<dyn Vfs>,
    backup: PathBuf,
    changed: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl BackupVfs {
    /// Copies go to `backup`, a folder that exists.
    pub(super) fn new(inner: Arc<dyn Vfs>, backup: &Path) -> BackupVfs {
        BackupVfs { inner, backup: backup.to_owned(), changed: Arc::default() }
    }

    /// The files that were changed, replaced, removed or created so far, those in the backup folder aside.
    pub(super) fn changed(&self) -> Vec<PathBuf> {
        self.changed.lock().iter().cloned().collect()
    }

    fn note(&self, path: &Path) {
        let is_temporary = path.extension().is_some_and(|extension| extension == "tmp");
        if !is_temporary && !path.starts_with(&self.backup) {
            self.changed.lock().insert(path.to_owned());
        }
    }

    /// Copies the bytes from `position` to `end` of a file, and makes the copy durable.
    fn keep(&self, path: &Path, file: &dyn VfsFile, position: u64, end: u64) -> io::Result<()> {
        if position >= end || path.starts_with(&self.backup) {
            return Ok(());
        }
        let folder = parent(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut attempt = 0;
        let copy = loop {
            let to = self.backup.join(format!("{folder}.{name}.{position}.{attempt}"));
            match self.inner.open(&to, Access::CreateNew) {
                Ok(copy) => break copy,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => attempt += 1,
                Err(error) => return Err(error),
            }
        };
        let mut block = vec![0; COPY_BLOCK_BYTES.min((end - position) as usize)];
        let mut done = position;
        while done < end {
            let len = block.len().min((end - done) as usize);
            read_exact_at(file, &mut block[..len], done)?;
            write_all_at(&*copy, &block[..len], &[], done - position)?;
            done += len as u64;
        }
        copy.sync_data()?;
        self.inner.sync_dir(&self.backup)
    }

    fn keep_file(&self, path: &Path) -> io::Result<()> {
        match self.inner.open(path, Access::Read) {
            Ok(file) => self.keep(path, &*file, 0, file.len()?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn is_segment(path: &Path) -> bool {
    matches!(FileKind::of(path), Some(FileKind::Segment(_)))
}

impl Vfs for BackupVfs {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        if matches!(access, Access::CreateOrKeep | Access::CreateNew) && !self.inner.exists(path)? {
            self.note(path);
        }
        let file = self.inner.open(path, access)?;
        if access == Access::Read {
            return Ok(file);
        }
        Ok(Arc::new(BackupFile { vfs: self.clone(), path: path.to_owned(), file }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.read_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.note(from);
        self.note(to);
        // What is replaced as a whole: a segment is written anew only by whoever keeps what is left out of it.
        if !is_segment(to) {
            self.keep_file(to)?;
        }
        self.inner.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        if self.inner.exists(path)? {
            self.note(path);
            self.keep_file(path)?;
        }
        self.inner.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.sync_dir(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }

    fn disk_space(&self, path: &Path) -> io::Result<DiskSpace> {
        self.inner.disk_space(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn VfsLock>> {
        self.inner.lock(path)
    }

    fn set_modified_ms(&self, path: &Path, modified_ms: i64) -> io::Result<()> {
        self.inner.set_modified_ms(path, modified_ms)
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.inner.is_locked(path)
    }
}

#[derive(Debug)]
struct BackupFile {
    vfs: BackupVfs,
    path: PathBuf,
    file: Arc<dyn VfsFile>,
}

impl VfsFile for BackupFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let new: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let mut old = vec![0; new.len()];
        let there = read_up_to_at(&*self.file, &mut old, position)?;
        if there < new.len() || old != new {
            self.vfs.note(&self.path);
        }
        if old[..there] != new[..there] {
            self.vfs.keep(&self.path, &*self.file, position, position + there as u64)?;
        }
        self.file.write_at(parts, position)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let before = self.file.len()?;
        if len != before {
            self.vfs.note(&self.path);
        }
        if !is_segment(&self.path) {
            self.vfs.keep(&self.path, &*self.file, len, before)?;
        }
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_fd()
    }
}
