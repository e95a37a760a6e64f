//! Which producer snapshots there may be in a log's folder: whoever replaces segments takes away those that know too much.
//!
//! Owns the knowledge, not the files. A folder with thousands of segments is listed once after a start, when this is first asked for,
//! not for every replacement.
//!
//! Invariant: once the folder was listed, every snapshot in it is known; one that is known may be gone.

use std::collections::BTreeSet;
use std::path::Path;

use parking_lot::Mutex;

use crate::storage::error::StorageError;
use crate::storage::segment::{extension, parse_segment_name};
use crate::storage::vfs::Vfs;
use crate::types::Offset;

/// The producer snapshots of a log.
#[derive(Debug, Default)]
pub(in crate::storage) struct KnownSnapshots {
    /// `None` until somebody asks. One entry a file at most.
    offsets: Mutex<Option<BTreeSet<Offset>>>,
}

impl KnownSnapshots {
    /// One is about to be written.
    pub(super) fn note(&self, offset: Offset) {
        if let Some(offsets) = &mut *self.offsets.lock() {
            offsets.insert(offset);
        }
    }

    /// One was removed.
    pub(super) fn forget(&self, offset: Offset) {
        if let Some(offsets) = &mut *self.offsets.lock() {
            offsets.remove(&offset);
        }
    }

    /// Takes those out that lie before this offset, to be removed. One caller at a time.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub(in crate::storage) fn take_before(
        &self,
        vfs: &dyn Vfs,
        dir: &Path,
        end: Offset,
    ) -> Result<BTreeSet<Offset>, StorageError> {
        if self.offsets.lock().is_none() {
            self.list(vfs, dir)?;
        }
        let mut offsets = self.offsets.lock();
        let known = offsets.as_mut().expect("whoever asks holds the lock for restructuring, and has just listed them");
        let behind = known.split_off(&end);
        Ok(std::mem::replace(known, behind))
    }

    fn list(&self, vfs: &dyn Vfs, dir: &Path) -> Result<(), StorageError> {
        // Not under the lock, which appends wait for: what is written meanwhile is noted.
        self.offsets.lock().get_or_insert_default();
        let entries = vfs.read_dir(dir).inspect_err(|_| *self.offsets.lock() = None);
        let entries = entries.map_err(StorageError::io("list", dir))?;
        let listed = entries.iter().filter_map(|entry| parse_segment_name(&entry.name, extension::PRODUCER_SNAPSHOT));
        self.offsets.lock().get_or_insert_default().extend(listed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::segment::segment_path;
    use crate::storage::vfs::{Access, Fault, FaultVfs};

    #[test]
    fn what_was_there_and_what_is_written_is_known_and_the_folder_is_listed_once() {
        let (vfs, dir) = (FaultVfs::new(), Path::new("/t-0"));
        vfs.create_dir(dir).unwrap();
        for offset in [3, 5, 9] {
            let path = segment_path(dir, Offset(offset), extension::PRODUCER_SNAPSHOT);
            vfs.open(&path, Access::CreateNew).unwrap();
        }
        vfs.open(&segment_path(dir, Offset(4), extension::LOG), Access::CreateNew).unwrap();
        let known = KnownSnapshots::default();
        known.note(Offset(1));
        vfs.fail_call(vfs.calls() + 1, Fault::IoError);
        assert!(known.take_before(&vfs, dir, Offset(6)).is_err());
        assert_eq!(known.take_before(&vfs, dir, Offset(6)).unwrap(), BTreeSet::from([Offset(3), Offset(5)]));
        let calls = vfs.calls();
        known.note(Offset(12));
        known.note(Offset(7));
        known.forget(Offset(9));
        assert_eq!(known.take_before(&vfs, dir, Offset(12)).unwrap(), BTreeSet::from([Offset(7)]));
        assert_eq!(known.take_before(&vfs, dir, Offset(i64::MAX)).unwrap(), BTreeSet::from([Offset(12)]));
        assert_eq!(vfs.calls(), calls);
    }
}
