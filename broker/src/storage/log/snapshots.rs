//! Which producer snapshots there may be in a log's folder: whoever replaces segments takes away those that know too much.
//!
//! Owns the knowledge, and the writing of a file, which has to be told. A folder with thousands of segments is listed once after a start,
//! when this is first asked for, not for every replacement.
//!
//! Invariant: once the folder was listed, every snapshot in it is known; one that is known may be gone. A sound one is never written
//! again, since it may be durable, and all that tells of producers whose batches are deleted.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use parking_lot::Mutex;

use crate::storage::error::StorageError;
use crate::storage::producer_state::{ProducerBudget, ProducerLimits, ProducerState};
use crate::storage::recovery::SNAPSHOT_BYTES_MAX;
use crate::storage::segment::{extension, parse_segment_name, segment_path};
use crate::storage::vfs::{Access, Vfs, read_file, write_all_at};
use crate::types::Offset;

/// The producer snapshots of a log.
#[derive(Debug, Default)]
pub(in crate::storage) struct KnownSnapshots {
    /// `None` until somebody asks. One entry a file at most.
    offsets: Mutex<Option<BTreeSet<Offset>>>,
}

impl KnownSnapshots {
    /// Writes the snapshot of an offset, where no sound one is; returns whether it did. Not durable.
    ///
    /// # Errors
    /// The file system fails; half a one is removed.
    pub(in crate::storage) fn write(
        &self,
        vfs: &dyn Vfs,
        dir: &Path,
        offset: Offset,
        content: &[u8],
    ) -> io::Result<bool> {
        let path = segment_path(dir, offset, extension::PRODUCER_SNAPSHOT);
        let file = match vfs.open(&path, Access::CreateNew) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // What is known at an offset does not change: it says the same.
                if is_sound(vfs, &path, offset)? {
                    return Ok(false);
                }
                vfs.open(&path, Access::CreateOrKeep)?
            }
            opened => opened?,
        };
        // Not before it is there: who lists the folder in between would not see it.
        self.note(offset);
        let written = file.set_len(0).and_then(|()| write_all_at(&*file, content, &[], 0));
        if written.is_err() {
            let _not_sound_if_it_stays = vfs.remove_file(&path);
        }
        written.map(|()| true)
    }

    /// One is there that was just created.
    fn note(&self, offset: Offset) {
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

/// Whether a start could read the snapshot of this offset.
///
/// # Errors
/// It cannot be read, which does not say that it is damaged.
pub(super) fn is_sound(vfs: &dyn Vfs, path: &Path, offset: Offset) -> io::Result<bool> {
    let bytes = match read_file(vfs, path, SNAPSHOT_BYTES_MAX) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(false),
        Err(error) => return Err(error),
    };
    let limits = ProducerLimits { budget: ProducerBudget::new(usize::MAX), ..ProducerLimits::default() };
    let decoded = ProducerState::decode_snapshot(&bytes, offset, 0, limits);
    Ok(decoded
        .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "a producer snapshot is damaged"))
        .is_ok())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::storage::vfs::{Fault, FaultVfs};

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

    #[test]
    fn one_that_is_written_while_the_folder_is_listed_is_known() {
        let (vfs, dir) = (FaultVfs::new(), Path::new("/t-0"));
        vfs.create_dir(dir).unwrap();
        let known = Arc::new(KnownSnapshots::default());
        let (listed, hooked, other) = (Arc::new(AtomicBool::new(false)), vfs.clone(), Arc::clone(&known));
        // Somebody asks for the first time just before the file is created.
        vfs.before_each_call(move || {
            if !listed.swap(true, Ordering::SeqCst) {
                assert_eq!(other.take_before(&hooked, dir, Offset(i64::MAX)).unwrap(), BTreeSet::new());
            }
        });
        assert!(known.write(&vfs, dir, Offset(5), b"content").unwrap());
        assert_eq!(known.take_before(&vfs, dir, Offset(i64::MAX)).unwrap(), BTreeSet::from([Offset(5)]));
    }
}
