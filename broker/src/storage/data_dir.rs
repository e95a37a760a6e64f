//! The data directory as a whole: its lock, and the marker that says whether it was left in order.
//!
//! Owns who may use the directory and whether the last user stopped cleanly. Does not know what lies in it.
//!
//! Invariant: while a directory is in use, there is no marker in it; it was removed, durably, before the first log was
//! opened. It is back only after everything in the directory is durable.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::StorageError;
use super::vfs::{Vfs, VfsLock, parent, replace_file};

/// Kafka's name for the lock file.
pub(super) const LOCK: &str = ".lock";
/// Kafka's name for the marker.
pub(super) const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// Kafka's content of the marker; -1: no epoch of a broker.
const CLEAN_SHUTDOWN_CONTENT: &[u8] = br#"{"version":0,"brokerEpoch":-1}"#;
pub(super) const QUARANTINE: &str = "quarantine";

/// A data directory that this process uses, and no other. Dropping it gives it back, without a marker.
#[derive(Debug)]
pub struct DataDir {
    vfs: Arc<dyn Vfs>,
    path: PathBuf,
    was_clean: bool,
    _lock: Box<dyn VfsLock>,
}

impl DataDir {
    /// Creates the directory if it is missing (its parents too), locks it, and removes the marker durably.
    ///
    /// # Errors
    /// Another broker uses it ([`StorageError::DirectoryInUse`]), or the file system fails.
    pub fn open(vfs: Arc<dyn Vfs>, path: &Path) -> Result<DataDir, StorageError> {
        create_with_parents(&*vfs, path)?;
        let lock = path.join(LOCK);
        let held = vfs.lock(&lock).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => StorageError::DirectoryInUse { dir: path.to_owned(), lock: lock.clone() },
            _ => StorageError::io("lock", &lock)(error),
        })?;
        let marker = path.join(CLEAN_SHUTDOWN);
        let was_clean = vfs.exists(&marker).map_err(StorageError::io("look for", &marker))?;
        if was_clean {
            vfs.remove_file(&marker).map_err(StorageError::io("remove", &marker))?;
        }
        // Also when there is none: a removal before a crash may not have been durable yet.
        vfs.sync_dir(path).map_err(StorageError::io("sync", path))?;
        Ok(DataDir { vfs, path: path.to_owned(), was_clean, _lock: held })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file system that it is on.
    pub fn vfs(&self) -> &Arc<dyn Vfs> {
        &self.vfs
    }

    /// Whether the broker that used it last stopped cleanly.
    pub fn was_clean(&self) -> bool {
        self.was_clean
    }

    /// Where bytes go that cannot be read.
    pub fn quarantine(&self) -> PathBuf {
        self.path.join(QUARANTINE)
    }

    /// Says that everything in the directory is durable and closed. Durable when it returns.
    ///
    /// # Errors
    /// The file system fails; then the next start checks everything behind the recovery points.
    pub fn mark_clean(&self) -> Result<(), StorageError> {
        let marker = self.path.join(CLEAN_SHUTDOWN);
        replace_file(&*self.vfs, &marker, CLEAN_SHUTDOWN_CONTENT).map_err(StorageError::io("write", &marker))
    }
}

fn create_with_parents(vfs: &dyn Vfs, path: &Path) -> Result<(), StorageError> {
    if vfs.exists(path).map_err(StorageError::io("look for", path))? {
        return Ok(());
    }
    let above = parent(path);
    if above != path {
        create_with_parents(vfs, above)?;
    }
    vfs.create_dir(path).map_err(StorageError::io("create", path))?;
    vfs.sync_dir(above).map_err(StorageError::io("sync", above))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::vfs::RealVfs;

    #[test]
    fn a_second_user_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let first = DataDir::open(Arc::new(RealVfs), &path).unwrap();
        let refused = DataDir::open(Arc::new(RealVfs), &path).unwrap_err();
        assert!(matches!(refused, StorageError::DirectoryInUse { .. }));
        assert!(refused.to_string().contains("in use by another broker"), "{refused}");
        drop(first);
        DataDir::open(Arc::new(RealVfs), &path).unwrap();
    }

    #[test]
    fn the_marker_is_there_only_after_a_clean_stop() {
        let dir = tempfile::tempdir().unwrap();
        let open = || DataDir::open(Arc::new(RealVfs), dir.path()).unwrap();
        assert!(!open().was_clean());
        open().mark_clean().unwrap();
        assert!(open().was_clean());
        assert!(!open().was_clean(), "the one before was opened and not marked");
    }
}
