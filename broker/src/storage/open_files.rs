//! A bound on open descriptors: files that are rarely read are opened on demand and closed when too many are open.
//!
//! Owns the handles of sealed segments and of index files. Does not own the file that an active segment writes to, which
//! stays open, so that an error of the disk is reported to the very handle whose data it concerns; for the same reason it stays open
//! from the seal to the next flush, and is counted here then ([`OpenFiles::keep`]): many segments may be sealed at the same time.
//! A handle in use (a [`FileSlice`](super::vfs::FileSlice) on its way to a socket) stays valid after it was dropped here, and is
//! counted until nobody uses it any more: one answer may hold those of thousands of partitions. Whoever wants to hold one more beyond
//! the limit has to come again; those who read and are done get one in any case.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::vfs::{Access, FileInFront, Vfs, VfsFile};

/// What one replacement of segments may pin, as a part of all handles.
const PINNED_SHARE: usize = 8;
/// A log and two indexes.
const FILES_OF_SEGMENT: usize = 3;

/// The handles that are open on demand, at most so many.
#[derive(Debug)]
pub struct OpenFiles {
    vfs: Arc<dyn Vfs>,
    limit: usize,
    next_id: AtomicU64,
    /// Handles that are kept beside those in `state`, at most half of the limit.
    kept: AtomicUsize,
    /// Handles of replaced files that stay open, see [`LazyFile::pin`]; among those that were opened.
    pinned: AtomicUsize,
    /// Handles that were opened on demand and are open, whoever has them.
    opened: Arc<AtomicUsize>,
    state: Mutex<State>,
}

/// A handle that was opened on demand.
#[derive(Debug)]
struct CountedFile {
    file: Arc<dyn VfsFile>,
    opened: Arc<AtomicUsize>,
}

impl Drop for CountedFile {
    fn drop(&mut self) {
        self.opened.fetch_sub(1, Ordering::Relaxed);
    }
}

impl FileInFront for CountedFile {
    fn behind(&self) -> &dyn VfsFile {
        &*self.file
    }
}

/// The right to keep one handle open.
#[derive(Debug)]
pub(super) struct KeptHandle(Arc<OpenFiles>);

impl Drop for KeptHandle {
    fn drop(&mut self) {
        self.0.kept.fetch_sub(1, Ordering::Relaxed);
    }
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
        Arc::new(OpenFiles {
            vfs,
            limit: limit.max(1),
            next_id: AtomicU64::new(0),
            kept: AtomicUsize::new(0),
            pinned: AtomicUsize::new(0),
            opened: Arc::default(),
            state: Mutex::default(),
        })
    }

    /// The file system behind.
    pub fn vfs(&self) -> &Arc<dyn Vfs> {
        &self.vfs
    }

    /// How many are open now, with those that are in use.
    pub fn open_count(&self) -> usize {
        self.opened.load(Ordering::Relaxed) + self.kept.load(Ordering::Relaxed)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let file = self.vfs.open(path, Access::Read)?;
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(CountedFile { file, opened: Arc::clone(&self.opened) }))
    }

    /// Whether so many handles are in use that nobody should begin to hold another one. Closes those that are not, if need be.
    fn is_busy(&self) -> bool {
        if self.open_count() < self.limit {
            return false;
        }
        self.state.lock().files.retain(|_, entry| Arc::strong_count(&entry.file) > 1);
        self.open_count() >= self.limit
    }

    /// Counts a handle that somebody keeps; fewer others are kept open for it. `None` where too many are kept already.
    pub(super) fn keep(self: &Arc<Self>) -> Option<KeptHandle> {
        let more = |kept| (kept < self.limit / 2).then_some(kept + 1);
        self.kept.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        self.state.lock().evict(self.limit_of_rest());
        Some(KeptHandle(Arc::clone(self)))
    }

    /// How many may be open beside those that are kept or pinned.
    fn limit_of_rest(&self) -> usize {
        let taken = self.kept.load(Ordering::Relaxed) + self.pinned.load(Ordering::Relaxed);
        self.limit.saturating_sub(taken).max(1)
    }

    /// How many segments may be replaced at once: their files stay open for those who read them, and a few may do so at the
    /// same time. Two at least, lest nothing is ever joined.
    pub(super) fn segments_replaced_max(&self) -> usize {
        (self.limit / PINNED_SHARE / FILES_OF_SEGMENT).max(2)
    }
}

impl State {
    fn touch(&mut self, id: u64) -> Option<Arc<dyn VfsFile>> {
        self.clock += 1;
        let entry = self.files.get_mut(&id)?;
        entry.last_used = self.clock;
        Some(Arc::clone(&entry.file))
    }

    /// Makes room for one more, and drops the least recently used eighth at once, so that the search for them is paid once in many
    /// openings.
    fn evict(&mut self, limit: usize) {
        if self.files.len() < limit {
            return;
        }
        let mut uses: Vec<u64> = self.files.values().map(|entry| entry.last_used).collect();
        let too_many = self.files.len() - limit;
        let (_, oldest_kept, _) = uses.select_nth_unstable((too_many + limit / 8).min(self.files.len() - 1));
        let oldest_kept = *oldest_kept;
        self.files.retain(|_, entry| entry.last_used > oldest_kept);
    }
}

/// A handle that stays open, and counts.
#[derive(Debug)]
struct PinnedFile {
    file: Arc<dyn VfsFile>,
    pool: Arc<OpenFiles>,
}

impl Drop for PinnedFile {
    fn drop(&mut self) {
        self.pool.pinned.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A file that is opened when it is first read, and again after it was closed to make room.
#[derive(Debug)]
pub(super) struct LazyFile {
    pool: Arc<OpenFiles>,
    id: u64,
    path: PathBuf,
    /// See [`LazyFile::pin`].
    pinned: OnceLock<PinnedFile>,
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
            return Ok(Arc::clone(&pinned.file));
        }
        if let Some(file) = self.pool.state.lock().touch(self.id) {
            return Ok(file);
        }
        // Opened without the lock: two readers may both open it, and one handle of the two is dropped.
        let opened = self.pool.open(&self.path);
        // Pinned meanwhile: the name may be gone since, or another file's.
        if let Some(pinned) = self.pinned.get() {
            return Ok(Arc::clone(&pinned.file));
        }
        let file = opened?;
        let mut state = self.pool.state.lock();
        state.evict(self.pool.limit_of_rest());
        state.clock += 1;
        let last_used = state.clock;
        state.files.insert(self.id, Entry { file: Arc::clone(&file), last_used });
        Ok(file)
    }

    /// A handle to be held for a while; `None` when too many are held already.
    pub(super) fn get_to_hold(&self) -> io::Result<Option<Arc<dyn VfsFile>>> {
        let is_open = self.pinned.get().is_some() || self.pool.state.lock().files.contains_key(&self.id);
        if !is_open && self.pool.is_busy() {
            return Ok(None);
        }
        self.get().map(Some)
    }

    /// Keeps the file open for as long as this lives: its name is about to go to another file, and who still reads this one is
    /// to go on reading it.
    pub(super) fn pin(&self) -> io::Result<()> {
        let file = self.get()?;
        self.pool.pinned.fetch_add(1, Ordering::Relaxed);
        let _first = self.pinned.set(PinnedFile { file, pool: Arc::clone(&self.pool) });
        // It is counted here now, and room for others is made.
        let mut state = self.pool.state.lock();
        state.files.remove(&self.id);
        state.evict(self.pool.limit_of_rest());
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
    fn handles_in_use_are_counted_and_nobody_holds_more_than_there_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let pool = OpenFiles::new(Arc::new(RealVfs), 16);
        let files: Vec<LazyFile> = (0..64).map(|n| LazyFile::new(&pool, dir.path().join(format!("{n}")))).collect();
        for file in &files {
            RealVfs.open(file.path(), Access::CreateNew).unwrap();
        }
        let mut held: Vec<_> = files.iter().map_while(|file| file.get_to_hold().unwrap()).collect();
        assert_eq!((held.len(), pool.open_count()), (16, 16));
        assert!(files[0].get_to_hold().unwrap().is_some(), "it is open");
        // Who reads and is done is served, and soon closed again.
        files[40].get().unwrap();
        assert!(files[50].get_to_hold().unwrap().is_none());
        assert_eq!(pool.open_count(), 16);
        held.truncate(10);
        assert!(files[50].get_to_hold().unwrap().is_some());
    }

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
        let allowed = 16 + 1;
        for round in 0..3 {
            for (n, file) in files.iter().enumerate() {
                let mut byte = [0];
                read_exact_at(&*file.get().unwrap(), &mut byte, 0).unwrap();
                assert_eq!(usize::from(byte[0]), n, "round {round}");
                assert!(pool.open_count() <= allowed);
            }
        }
        let mut byte = [9];
        read_exact_at(&*held, &mut byte, 0).unwrap();
        assert_eq!(byte, [0], "a handle in use survives its eviction");
        drop(held);
        // Those that somebody keeps are among the sixteen, half of them at most.
        let kept: Vec<KeptHandle> = std::iter::from_fn(|| pool.keep()).collect();
        assert_eq!(kept.len(), 8);
        assert!(pool.open_count() <= 16, "{}", pool.open_count());
        files.iter().for_each(|file| {
            file.get().unwrap();
            assert!(pool.open_count() <= 16);
        });
        drop((files, kept));
        assert_eq!(pool.open_count(), 0);
    }

    #[test]
    fn pinned_handles_are_among_those_that_may_be_open() {
        let dir = tempfile::tempdir().unwrap();
        let pool = OpenFiles::new(Arc::new(RealVfs), 16);
        let files: Vec<LazyFile> = (0..64).map(|n| LazyFile::new(&pool, dir.path().join(format!("{n}")))).collect();
        for file in &files {
            RealVfs.open(file.path(), Access::CreateNew).unwrap();
        }
        let (replaced, others) = files.split_at(12);
        for replaced in replaced {
            // Twice, as after a replacement that could not be committed.
            replaced.pin().unwrap();
            replaced.pin().unwrap();
            others.iter().for_each(|other| drop(other.get().unwrap()));
            assert!(pool.open_count() <= 16, "{}", pool.open_count());
        }
        replaced.iter().for_each(|replaced| std::fs::remove_file(replaced.path()).unwrap());
        assert!(replaced.iter().all(|replaced| replaced.get().is_ok()));
        drop(files);
        assert_eq!((pool.open_count(), pool.limit_of_rest()), (0, 16));
    }
}
