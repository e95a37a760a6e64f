//! A bound on open descriptors: files that are rarely read are opened on demand and closed when too many are open.
//!
//! Owns the handles of sealed segments and of index files. Does not own the file that an active segment writes to, which
//! stays open, so that an error of the disk is reported to the very handle whose data it concerns.
//! A handle in use (a [`FileSlice`](super::vfs::FileSlice) on its way to a socket) stays valid after it was dropped here.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::vfs::{Access, Vfs, VfsFile};

/// The handles that are open on demand, at most so many.
#[derive(Debug)]
pub struct OpenFiles {
    vfs: Arc<dyn Vfs>,
    limit: usize,
    next_id: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Counts uses; the larger, the later.
    clock: u64,
    files: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    file: Arc<dyn VfsFile>,
    last_used: u64,
}

impl OpenFiles {
    /// Keeps at most `limit` files open.
    pub fn new(vfs: Arc<dyn Vfs>, limit: usize) -> Arc<OpenFiles> {
        Arc::new(OpenFiles { vfs, limit: limit.max(1), next_id: AtomicU64::new(0), state: Mutex::default() })
    }

    /// The file system behind.
    pub fn vfs(&self) -> &Arc<dyn Vfs> {
        &self.vfs
    }

    /// How many are open now.
    pub fn open_count(&self) -> usize {
        self.state.lock().files.len()
    }
}

impl State {
    fn touch(&mut self, id: u64) -> Option<Arc<dyn VfsFile>> {
        self.clock += 1;
        let entry = self.files.get_mut(&id)?;
        entry.last_used = self.clock;
        Some(Arc::clone(&entry.file))
    }

    /// Drops the least recently used eighth at once, so that the search for them is paid once in many openings.
    fn evict(&mut self, limit: usize) {
        if self.files.len() < limit {
            return;
        }
        let mut uses: Vec<u64> = self.files.values().map(|entry| entry.last_used).collect();
        let (_, oldest_kept, _) = uses.select_nth_unstable((limit / 8).min(self.files.len() - 1));
        let oldest_kept = *oldest_kept;
        self.files.retain(|_, entry| entry.last_used > oldest_kept);
    }
}

/// A file that is opened when it is first read, and again after it was closed to make room.
#[derive(Debug)]
pub(super) struct LazyFile {
    pool: Arc<OpenFiles>,
    id: u64,
    path: PathBuf,
    /// See [`LazyFile::pin`].
    pinned: OnceLock<Arc<dyn VfsFile>>,
}

impl LazyFile {
    pub(super) fn new(pool: &Arc<OpenFiles>, path: PathBuf) -> LazyFile {
        let id = pool.next_id.fetch_add(1, Ordering::Relaxed);
        LazyFile { pool: Arc::clone(pool), id, path, pinned: OnceLock::new() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file system that it is on.
    pub(super) fn vfs(&self) -> &dyn Vfs {
        &*self.pool.vfs
    }

    pub(super) fn get(&self) -> io::Result<Arc<dyn VfsFile>> {
        if let Some(pinned) = self.pinned.get() {
            return Ok(Arc::clone(pinned));
        }
        if let Some(file) = self.pool.state.lock().touch(self.id) {
            return Ok(file);
        }
        // Opened without the lock: two readers may both open it, and one handle of the two is dropped.
        let opened = self.pool.vfs.open(&self.path, Access::Read);
        // Pinned meanwhile: the name may be gone since, or another file's.
        if let Some(pinned) = self.pinned.get() {
            return Ok(Arc::clone(pinned));
        }
        let file = opened?;
        let mut state = self.pool.state.lock();
        state.evict(self.pool.limit);
        state.clock += 1;
        let last_used = state.clock;
        state.files.insert(self.id, Entry { file: Arc::clone(&file), last_used });
        Ok(file)
    }

    /// Keeps the file open for as long as this lives: its name is about to go to another file, and who still reads this one is
    /// to go on reading it.
    pub(super) fn pin(&self) -> io::Result<()> {
        let file = self.get()?;
        let _first = self.pinned.set(file);
        Ok(())
    }

    /// Closes the handle, because the file was replaced by another of the same name.
    pub(super) fn forget(&self) {
        self.pool.state.lock().files.remove(&self.id);
    }
}

impl Drop for LazyFile {
    fn drop(&mut self) {
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::vfs::{RealVfs, read_exact_at, write_all_at};

    #[test]
    fn open_files_are_bounded_and_reopened_on_demand() {
        let dir = tempfile::tempdir().unwrap();
        let pool = OpenFiles::new(Arc::new(RealVfs), 16);
        let files: Vec<LazyFile> = (0..64).map(|n| LazyFile::new(&pool, dir.path().join(format!("{n}")))).collect();
        for (n, file) in files.iter().enumerate() {
            let handle = RealVfs.open(file.path(), Access::CreateNew).unwrap();
            write_all_at(&*handle, &[n as u8], &[], 0).unwrap();
        }
        let held = files[0].get().unwrap();
        for round in 0..3 {
            for (n, file) in files.iter().enumerate() {
                let mut byte = [0];
                read_exact_at(&*file.get().unwrap(), &mut byte, 0).unwrap();
                assert_eq!(usize::from(byte[0]), n, "round {round}");
                assert!(pool.open_count() <= 16);
            }
        }
        let mut byte = [9];
        read_exact_at(&*held, &mut byte, 0).unwrap();
        assert_eq!(byte, [0], "a handle in use survives its eviction");
        drop(files);
        assert_eq!(pool.open_count(), 0);
    }
}
