//! A file system in memory that fails on command: for tests, ours and anyone's.
//!
//! Owns the counting of calls and the failures. What a power cut leaves is the business of `fault/disk.rs`.
//! Deterministic: the same calls, faults and seeds give the same bytes.
//!
//! Calls are numbered from 1. A *mutation* is a call that could change what is on the disk (create, write, cut, rename,
//! remove, sync); crashes are placed at mutations, errors at calls of any kind.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Access, DirEntry, DiskSpace, Vfs, VfsFile, VfsLock};

mod disk;

use disk::{Disk, Inode};

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails with EIO and does nothing. A sync that fails like this has lost what it was to sync, as on Linux: the
    /// pages are taken for clean, and the next sync succeeds without them.
    IoError,
    /// It fails with ENOSPC and does nothing; calls that need no space are not affected.
    NoSpace,
    /// It is interrupted (EINTR) and does nothing; calls that cannot be interrupted are not affected.
    Interrupted,
    /// It reads or writes half of the bytes; other calls are not affected.
    Short,
}

/// A file system in memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct FaultVfs {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    disk: Disk,
    locked: HashSet<Inode>,
    calls: u64,
    mutations: u64,
    faults: HashMap<u64, Fault>,
    crash_at_mutation: Option<u64>,
    crashed: bool,
    /// The time that files get which are written now.
    now_ms: Option<i64>,
    /// What fits on the disk, in bytes of files; `None` for anything.
    capacity_bytes: Option<u64>,
    before_each_call: Option<Hook>,
}

/// What somebody wants to be done before each call.
#[derive(Clone)]
struct Hook(Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

/// What kind of call it is, as far as failing goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Look,
    Read,
    Write,
    Create,
    Change,
    Sync,
}

impl FaultVfs {
    /// An empty file system without faults.
    pub fn new() -> FaultVfs {
        FaultVfs::default()
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// How many of the calls could change something.
    pub fn mutations(&self) -> u64 {
        self.state.lock().mutations
    }

    /// Lets the call of this number fail.
    pub fn fail_call(&self, call: u64, fault: Fault) {
        self.state.lock().faults.insert(call, fault);
    }

    /// Makes the disk so large: a write beyond it gets as far as there is space, and then fails with ENOSPC. What is there
    /// already stays, also where it is more. `None` lifts the limit.
    pub fn set_capacity(&self, capacity_bytes: Option<u64>) {
        self.state.lock().capacity_bytes = capacity_bytes;
    }

    /// Sets the time that a file says it was written at. It says none before the first call.
    pub fn set_now_ms(&self, now_ms: i64) {
        self.state.lock().now_ms = Some(now_ms);
    }

    /// Does this before each call, on the thread that calls: it may wait, and use the file system, whose hook it is called by again.
    pub fn before_each_call(&self, hook: impl Fn() + Send + Sync + 'static) {
        self.state.lock().before_each_call = Some(Hook(Arc::new(hook)));
    }

    /// What the files take, in bytes.
    pub fn used_bytes(&self) -> u64 {
        self.state.lock().disk.used_bytes()
    }

    /// Stops the machine at this mutation: it does not happen, and every call from there on fails.
    pub fn crash_at_mutation(&self, mutation: u64) {
        self.state.lock().crash_at_mutation = Some(mutation);
    }

    /// Whether the machine has stopped.
    pub fn has_crashed(&self) -> bool {
        self.state.lock().crashed
    }

    /// What is on the disk after a power cut now: everything that was synced, and of the rest what `seed` decides, each
    /// write (whole or torn at 512 bytes or 4 KiB), size, creation, rename and removal for itself.
    pub fn power_cut(&self, seed: u64) -> FaultVfs {
        FaultVfs::with_disk(self.state.lock().disk.after_power_cut(seed))
    }

    /// What is on the disk when the process alone was killed: everything.
    pub fn killed(&self) -> FaultVfs {
        FaultVfs::with_disk(self.state.lock().disk.clone())
    }

    fn with_disk(disk: Disk) -> FaultVfs {
        FaultVfs { state: Arc::new(Mutex::new(State { disk, ..State::default() })) }
    }

    fn call<T>(&self, call: Call, act: impl FnOnce(&mut State, bool) -> io::Result<T>) -> io::Result<T> {
        let hook = self.state.lock().before_each_call.clone();
        if let Some(Hook(hook)) = hook {
            hook();
        }
        let mut state = self.state.lock();
        let short = state.count(call)?;
        act(&mut state, short)
    }
}

impl State {
    /// Numbers the call, and fails it if it is to fail; whether it is to be cut short.
    fn count(&mut self, call: Call) -> io::Result<bool> {
        if self.crashed {
            return Err(io::Error::other("the machine has stopped"));
        }
        self.calls += 1;
        if !matches!(call, Call::Look | Call::Read) {
            self.mutations += 1;
            if self.crash_at_mutation == Some(self.mutations) {
                self.crashed = true;
                return Err(io::Error::other("the machine stops"));
            }
        }
        let errno = |errno: rustix::io::Errno| Err(io::Error::from(errno));
        match self.faults.get(&self.calls) {
            Some(Fault::IoError) => errno(rustix::io::Errno::IO),
            Some(Fault::NoSpace) if matches!(call, Call::Write | Call::Create) => errno(rustix::io::Errno::NOSPC),
            Some(Fault::Interrupted) if matches!(call, Call::Read | Call::Write) => errno(rustix::io::Errno::INTR),
            Some(Fault::Short) => Ok(matches!(call, Call::Read | Call::Write)),
            _ if call == Call::Create && self.free_bytes() == Some(0) => errno(rustix::io::Errno::NOSPC),
            _ => Ok(false),
        }
    }

    fn free_bytes(&self) -> Option<u64> {
        self.capacity_bytes.map(|capacity| capacity.saturating_sub(self.disk.used_bytes()))
    }
}

impl Vfs for FaultVfs {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        let exists = self.state.lock().disk.find(path).is_ok();
        let creates = !exists && matches!(access, Access::CreateNew | Access::CreateOrKeep);
        let call = if creates { Call::Create } else { Call::Look };
        let inode = self.call(call, |state, _| match access {
            Access::CreateNew if exists => Err(io::ErrorKind::AlreadyExists.into()),
            _ if creates => state.disk.create_file(path),
            _ => state.disk.find_file(path),
        })?;
        Ok(Arc::new(FaultFile {
            vfs: self.clone(),
            inode,
            writable: !matches!(access, Access::Read | Access::ReadOnce),
        }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.call(Call::Create, |state, _| state.disk.create_dir(path))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.call(Call::Look, |state, _| state.disk.read_dir(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Call::Change, |state, _| state.disk.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call(Call::Change, |state, _| state.disk.remove(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.call(Call::Change, |state, _| state.disk.remove(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call(Call::Sync, |state, _| state.disk.sync_dir(path))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.call(Call::Look, |state, _| Ok(state.disk.find(path).is_ok()))
    }

    fn disk_space(&self, _path: &Path) -> io::Result<DiskSpace> {
        self.call(Call::Look, |state, _| {
            Ok(DiskSpace {
                total_bytes: state.capacity_bytes.unwrap_or(1 << 40),
                usable_bytes: state.free_bytes().unwrap_or(1 << 39),
            })
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn VfsLock>> {
        let file = self.open(path, Access::CreateOrKeep)?;
        drop(file);
        let inode = self.call(Call::Look, |state, _| {
            let inode = state.disk.find(path)?;
            match state.locked.insert(inode) {
                true => Ok(inode),
                false => Err(io::ErrorKind::WouldBlock.into()),
            }
        })?;
        Ok(Box::new(FaultLock { vfs: self.clone(), inode }))
    }

    fn set_modified_ms(&self, path: &Path, modified_ms: i64) -> io::Result<()> {
        self.call(Call::Change, |state, _| {
            let file = state.disk.find_file(path)?;
            state.disk.set_modified(file, Some(modified_ms));
            Ok(())
        })
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.call(Call::Look, |state, _| Ok(state.disk.find(path).is_ok_and(|inode| state.locked.contains(&inode))))
    }
}

#[derive(Debug)]
struct FaultLock {
    vfs: FaultVfs,
    inode: Inode,
}

impl VfsLock for FaultLock {}

impl Drop for FaultLock {
    fn drop(&mut self) {
        self.vfs.state.lock().locked.remove(&self.inode);
    }
}

#[derive(Debug)]
struct FaultFile {
    vfs: FaultVfs,
    inode: Inode,
    writable: bool,
}

impl VfsFile for FaultFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.vfs.call(Call::Read, |state, short| {
            let content = state.disk.content(self.inode);
            let there = content.get(position as usize..).unwrap_or_default();
            let mut len = there.len().min(buffer.len());
            if short && len > 1 {
                len /= 2;
            }
            buffer[..len].copy_from_slice(&there[..len]);
            Ok(len)
        })
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.vfs.call(Call::Write, |state, short| {
            if !self.writable {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
            if short && bytes.len() > 1 {
                bytes.truncate(bytes.len() / 2);
            }
            if let Some(free) = state.free_bytes() {
                let fits = (state.disk.content(self.inode).len() as u64 + free).saturating_sub(position);
                if fits == 0 && !bytes.is_empty() {
                    return Err(rustix::io::Errno::NOSPC.into());
                }
                bytes.truncate(usize::try_from(fits).unwrap_or(usize::MAX));
            }
            let written = bytes.len();
            state.disk.write(self.inode, position, bytes);
            state.disk.set_modified(self.inode, state.now_ms);
            Ok(written)
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.vfs.call(Call::Look, |state, _| Ok(state.disk.content(self.inode).len() as u64))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.vfs.call(Call::Change, |state, _| {
            state.disk.set_len(self.inode, len);
            state.disk.set_modified(self.inode, state.now_ms);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        let synced = self.vfs.call(Call::Sync, |state, _| {
            state.disk.sync_file(self.inode);
            Ok(())
        });
        if synced.is_err() {
            let mut state = self.vfs.state.lock();
            if !state.crashed {
                state.disk.lose_unsynced(self.inode);
            }
        }
        synced
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

#[cfg(test)]
#[path = "fault_test.rs"]
mod tests;
