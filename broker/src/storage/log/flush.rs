//! Making what was appended durable, and telling those above.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Log, UnflushedSegment};
use crate::storage::error::StorageError;
use crate::storage::segment::{ActiveSegment, extension, segment_path};
use crate::types::Offset;

/// How news of a log goes upward. Called on the thread that flushed or appended; must neither block nor call the log.
pub trait LogObserver: Send + Sync {
    /// Everything before `up_to` is durable.
    fn flushed(&self, up_to: Offset);
    /// The log is offline: nothing more becomes durable.
    fn failed(&self, why: &StorageError);
}

impl Log {
    /// Makes everything that was appended before the call durable, and returns the offset up to which it is.
    ///
    /// # Errors
    /// A sync failed, now or earlier: the log is offline for good, and no call of it is repeated.
    pub fn flush(&self) -> Result<Offset, StorageError> {
        self.check_usable()?;
        self.flush_open_or_closing()
    }

    pub(super) fn flush_open_or_closing(&self) -> Result<Offset, StorageError> {
        let flushing = self.flushing.lock();
        self.check_not_poisoned()?;
        let (sealed, active, dir_is_dirty) = {
            let mut writer = self.writer.lock();
            let active = Arc::clone(&self.segments.load().active);
            let up_to = active.end().next_offset;
            let nothing_appended = up_to.0 == self.flushed.load(Ordering::Acquire) && writer.unflushed.is_empty();
            if !std::mem::take(&mut writer.took_back) && nothing_appended {
                // The folder may hold names that are not durable: of files without a record in them.
                return Ok(up_to);
            }
            (std::mem::take(&mut writer.unflushed), active, std::mem::take(&mut writer.dir_is_dirty))
        };
        let up_to = active.end().next_offset;
        if let Err(error) = self.sync(&sealed, &active, dir_is_dirty) {
            drop(flushing);
            return Err(self.poison_with(error));
        }
        // While this ran, a write may have failed: then what it left behind is not to be spoken of as durable.
        self.check_not_poisoned()?;
        self.flushed.fetch_max(up_to.0, Ordering::AcqRel);
        self.assert_order();
        drop(flushing);
        if let Some(observer) = self.observer.get() {
            observer.flushed(up_to);
        }
        Ok(up_to)
    }

    fn sync(&self, sealed: &[UnflushedSegment], active: &ActiveSegment, dir: bool) -> Result<(), StorageError> {
        sealed.iter().try_for_each(|sealed| self.sync_sealed(&sealed.segment))?;
        active.file.sync_data().map_err(StorageError::io("sync", &active.path))?;
        if dir {
            self.vfs().sync_dir(&self.dir).map_err(StorageError::io("sync", &self.dir))?;
        }
        Ok(())
    }

    /// Makes a segment and its whole indexes durable.
    pub(super) fn sync_sealed(&self, segment: &ActiveSegment) -> Result<(), StorageError> {
        segment.file.sync_data().map_err(StorageError::io("sync", &segment.path))?;
        for extension in [extension::OFFSET_INDEX, extension::TIME_INDEX, extension::TRANSACTION_INDEX] {
            self.sync_if_there(segment_path(&self.dir, segment.base_offset, extension))?;
        }
        Ok(())
    }
}
