//! A file system in memory that crashes, tears and fails on command, for tests.
//!
//! Owns the counting of operations and the faults that are set for some of them; what survives is `fault/disk.rs`. Operations that
//! change or sync something are numbered from 0 in the order in which they happen; reads are not numbered.
//!
//! How a crash test works: run the scenario once and ask for [`FaultVfs::operation_count`]; for each number, run it anew with
//! [`FaultVfs::crash_at`], then go on with [`FaultVfs::after_kill`] (the page cache survives) and with several of
//! [`FaultVfs::after_power_cut`] (any subset of what was not synced survives, writes torn at 512 bytes).

use std::collections::{BTreeMap, HashSet};
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use rand::rngs::StdRng;

use self::disk::{Disk, Node};
use super::{Access, DirEntry, DiskSpace, Vfs, VfsFile, VfsLock};

mod disk;

/// What happens instead of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process is gone: this operation and all later ones, reads too, do nothing and fail.
    Crash,
    /// It fails with this error and does nothing. A failed `sync_data` loses what was not synced, as a kernel does: a later
    /// one succeeds without having written it.
    Error(io::ErrorKind),
    /// A write stores the first half of its bytes and says so; any other operation does what it should.
    ShortWrite,
}

/// The file system. Starts with an empty folder `/`; relative paths start there too.
#[derive(Debug, Clone)]
pub struct FaultVfs {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    disk: Disk,
    locks: HashSet<PathBuf>,
    faults: BTreeMap<usize, Fault>,
    operations: Vec<String>,
    crashed: bool,
    disk_space: DiskSpace,
}

impl Default for FaultVfs {
    fn default() -> Self {
        Self::on(Disk::new())
    }
}

impl FaultVfs {
    fn on(disk: Disk) -> Self {
        let shared = Shared {
            disk,
            locks: HashSet::new(),
            faults: BTreeMap::new(),
            operations: Vec::new(),
            crashed: false,
            disk_space: DiskSpace { total_bytes: 1 << 40, usable_bytes: 1 << 40 },
        };
        FaultVfs { shared: Arc::new(Mutex::new(shared)) }
    }

    /// How many operations there were: the number that the next one gets.
    pub fn operation_count(&self) -> usize {
        self.shared.lock().operations.len()
    }

    /// The operations so far, for the message of a failed test.
    pub fn operations(&self) -> Vec<String> {
        self.shared.lock().operations.clone()
    }

    /// Sets a fault for the operation of this number.
    pub fn fault_at(&self, operation: usize, fault: Fault) {
        self.shared.lock().faults.insert(operation, fault);
    }

    /// Sets what is said about the space on the disk; writes go on all the same.
    pub fn set_disk_space(&self, disk_space: DiskSpace) {
        self.shared.lock().disk_space = disk_space;
    }

    /// The process is gone before the operation of this number.
    pub fn crash_at(&self, operation: usize) {
        self.fault_at(operation, Fault::Crash);
    }

    /// The file system as the next process finds it when this one was killed: every operation that happened is seen, and
    /// what was not synced is still at risk.
    #[must_use]
    pub fn after_kill(&self) -> Self {
        Self::on(self.shared.lock().disk.clone())
    }

    /// The file system as the next process finds it after a power cut: what was synced, and a random part of the rest.
    #[must_use]
    pub fn after_power_cut(&self, random: &mut StdRng) -> Self {
        Self::on(self.shared.lock().disk.after_power_cut(random))
    }

    /// Counts an operation; gives the fault that is to happen in its place.
    fn begin(&self, describe: impl FnOnce() -> String) -> io::Result<(MutexGuard<'_, Shared>, Option<Fault>)> {
        let mut shared = self.live()?;
        let operation = shared.operations.len();
        shared.operations.push(describe());
        let fault = shared.faults.remove(&operation);
        if fault == Some(Fault::Crash) {
            shared.crashed = true;
            return Err(crashed());
        }
        Ok((shared, fault))
    }

    fn begin_or_fail(&self, describe: impl FnOnce() -> String) -> io::Result<MutexGuard<'_, Shared>> {
        match self.begin(describe)? {
            (_, Some(Fault::Error(kind))) => Err(kind.into()),
            (shared, _) => Ok(shared),
        }
    }

    fn live(&self) -> io::Result<MutexGuard<'_, Shared>> {
        let shared = self.shared.lock();
        match shared.crashed {
            true => Err(crashed()),
            false => Ok(shared),
        }
    }
}

impl Vfs for FaultVfs {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        let shared = self.live()?;
        let entry = shared.disk.entry(path)?;
        let node = shared.disk.node(&entry);
        drop(shared);
        let index = match (node, access) {
            (Some(Node::Dir(_)), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (Some(Node::File(_)), Access::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(Node::File(index)), _) => index,
            (None, Access::Read | Access::Write) => return Err(io::ErrorKind::NotFound.into()),
            (None, Access::CreateOrKeep | Access::CreateNew) => {
                self.begin_or_fail(|| format!("create {}", path.display()))?.disk.create_file(entry)
            }
        };
        let is_writable = access != Access::Read;
        Ok(Arc::new(FaultFile { vfs: self.clone(), index, is_writable, path: path.to_owned() }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let shared = self.live()?;
        let entry = shared.disk.entry(path)?;
        let node = shared.disk.node(&entry);
        drop(shared);
        match node {
            Some(Node::Dir(_)) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::AlreadyExists.into()),
            None => {
                self.begin_or_fail(|| format!("create folder {}", path.display()))?.disk.create_dir(entry);
                Ok(())
            }
        }
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let shared = self.live()?;
        let dir = shared.disk.dir(path)?;
        let entries = shared.disk.list(dir).map(|(name, node)| {
            let size_bytes = match node {
                Node::Dir(_) => 0,
                Node::File(file) => shared.disk.content(file).len() as u64,
            };
            DirEntry { name: name.clone(), is_dir: matches!(node, Node::Dir(_)), size_bytes }
        });
        Ok(entries.collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut shared = self.begin_or_fail(|| format!("rename {} to {}", from.display(), to.display()))?;
        let (from, to) = (shared.disk.entry(from)?, shared.disk.entry(to)?);
        shared.disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut shared = self.begin_or_fail(|| format!("remove {}", path.display()))?;
        let entry = shared.disk.entry(path)?;
        shared.disk.remove(entry, false)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut shared = self.begin_or_fail(|| format!("remove folder {}", path.display()))?;
        let entry = shared.disk.entry(path)?;
        shared.disk.remove(entry, true)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut shared = self.begin_or_fail(|| format!("sync folder {}", path.display()))?;
        let dir = shared.disk.dir(path)?;
        shared.disk.sync_dir(dir);
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let shared = self.live()?;
        if path.file_name().is_none() {
            return Ok(true);
        }
        match shared.disk.entry(path) {
            Ok(entry) => Ok(shared.disk.node(&entry).is_some()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn disk_space(&self, _: &Path) -> io::Result<DiskSpace> {
        Ok(self.live()?.disk_space)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn VfsLock>> {
        self.open(path, Access::CreateOrKeep)?;
        match self.live()?.locks.insert(path.to_owned()) {
            true => Ok(Box::new(FaultLock { vfs: self.clone(), path: path.to_owned() })),
            false => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

#[derive(Debug)]
struct FaultFile {
    vfs: FaultVfs,
    index: usize,
    is_writable: bool,
    path: PathBuf,
}

impl FaultFile {
    fn check_writable(&self) -> io::Result<()> {
        match self.is_writable {
            true => Ok(()),
            false => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }
}

impl VfsFile for FaultFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let shared = self.vfs.live()?;
        let from = usize::try_from(position).unwrap_or(usize::MAX);
        let rest = shared.disk.content(self.index).get(from..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.check_writable()?;
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let describe = || format!("write {} bytes at {position} of {}", bytes.len(), self.path.display());
        let (mut shared, fault) = self.vfs.begin(describe)?;
        match fault {
            Some(Fault::Error(kind)) => return Err(kind.into()),
            Some(Fault::ShortWrite) => bytes.truncate(bytes.len().div_ceil(2)),
            _ => {}
        }
        let position = usize::try_from(position).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let written = bytes.len();
        shared.disk.write(self.index, position, bytes);
        Ok(written)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.vfs.live()?.disk.content(self.index).len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut shared = self.vfs.begin_or_fail(|| format!("set length {len} of {}", self.path.display()))?;
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        shared.disk.set_len(self.index, len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let (mut shared, fault) = self.vfs.begin(|| format!("sync {}", self.path.display()))?;
        if let Some(Fault::Error(kind)) = fault {
            shared.disk.lose_unsynced(self.index);
            return Err(kind.into());
        }
        shared.disk.sync_file(self.index);
        Ok(())
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

#[derive(Debug)]
struct FaultLock {
    vfs: FaultVfs,
    path: PathBuf,
}

impl VfsLock for FaultLock {}

impl Drop for FaultLock {
    fn drop(&mut self) {
        self.vfs.shared.lock().locks.remove(&self.path);
    }
}

fn crashed() -> io::Error {
    io::Error::other("the process was killed by the test")
}

#[cfg(test)]
#[path = "fault_test.rs"]
mod tests;
