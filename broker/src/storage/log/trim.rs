//! Taking records away at the start of the log: DeleteRecords and retention.
//!
//! The new start is on record before a segment goes, save on a full disk: there the oldest segments go first, one by one and
//! durably, since without them the log starts behind them whatever is on record.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Log, Segments};
use crate::storage::checkpoint;
use crate::storage::error::{StorageError, is_no_space};
use crate::storage::segment::{extension, segment_path};
use crate::types::Offset;

impl Log {
    /// Moves the start of the log to `before` (never back, never beyond the end) and removes the segments that lie wholly
    /// before it. Durable before it returns: deleted records do not come back. Returns the start of the log.
    ///
    /// # Errors
    /// The new start could not be put on record; it has not moved, or on a full disk as far as whole segments could be removed. Where a
    /// sync of what has to be durable first failed, the log is offline.
    /// Segments that could not be removed are no error.
    pub fn delete_records(&self, before: Offset) -> Result<Offset, StorageError> {
        // Whoever trims, trims alone; appends go on. A close that came first has let go of the folder.
        let _alone = self.restructuring.lock();
        self.check_usable()?;
        let log_start = self.offsets().log_start;
        let (start, segments) = {
            let mut writer = self.writer.lock();
            let segments = self.segments.load_full();
            let start = before.min(segments.active.end().next_offset).max(log_start);
            // A segment that is sealed from now on keeps its producers itself if everything in it is to go.
            writer.deleted_before = writer.deleted_before.max(start);
            (start, segments)
        };
        let are_producers_kept = self.keep_producers_before(start, &segments)?;
        let deleted = self.move_start(log_start, start);
        // What was removed has made room.
        if !are_producers_kept && !self.keep_producers_late()? {
            tracing::warn!(log = %self.topic_partition, "no space to keep what is known of producers whose records are deleted: unless the next checkpoint comes before a crash, what they repeat is appended again");
        }
        deleted
    }

    fn move_start(&self, log_start: Offset, start: Offset) -> Result<Offset, StorageError> {
        let _trimming = self.flushing.lock();
        if start == log_start {
            // A segment that was the last one when the log was deleted up to its end.
            self.remove_segments_before(log_start);
            return Ok(log_start);
        }
        while let Err(error) = checkpoint::write_log_start(self.vfs(), &self.dir, start) {
            let full = matches!(&error, StorageError::Io { source, .. } if is_no_space(source));
            if !full || !self.free_oldest_segment(start)? {
                return Err(error);
            }
            if self.offsets().log_start == start {
                return Ok(start);
            }
        }
        self.log_start.fetch_max(start.0, Ordering::AcqRel);
        self.assert_order();
        self.remove_segments_before(start);
        Ok(start)
    }

    /// Makes a snapshot durable that knows the producers whose batches are about to go: no segment tells of them any more, and
    /// they may repeat their last ones. Returns whether there is space for it.
    fn keep_producers_before(&self, start: Offset, segments: &Segments) -> Result<bool, StorageError> {
        let behind = segments.sealed.partition_point(|segment| segment.next_offset <= start);
        if behind == 0 {
            return Ok(true);
        }
        let first_kept = segments.sealed.get(behind).map_or(segments.active.base_offset, |segment| segment.base_offset);
        self.keep_producers(first_kept, segments)
    }

    /// Removes the oldest segment, if it lies wholly before `start`, without writing anything; whether it did. The log starts
    /// behind it, durably.
    fn free_oldest_segment(&self, start: Offset) -> Result<bool, StorageError> {
        let oldest = self.segments.load().sealed.first().map(|segment| segment.next_offset);
        let Some(behind) = oldest.filter(|behind| *behind <= start) else { return Ok(false) };
        self.log_start.fetch_max(behind.0, Ordering::AcqRel);
        self.assert_order();
        self.remove_segments_before(behind);
        self.sync_folder()?;
        tracing::info!(log = %self.topic_partition, start = %behind, "removed a segment to make space on a full disk");
        Ok(true)
    }

    fn remove_segments_before(&self, start: Offset) {
        let removed = {
            let mut writer = self.writer.lock();
            writer.epochs_are_dirty |= writer.epochs.truncate_from_start(start);
            let segments = self.segments.load_full();
            let behind = segments.sealed.partition_point(|segment| segment.next_offset <= start);
            if behind == 0 {
                return;
            }
            let (removed, kept) = segments.sealed.split_at(behind);
            let active = Arc::clone(&segments.active);
            self.segments.store(Arc::new(Segments { sealed: kept.to_vec(), active }));
            let first_kept = kept.first().map_or(segments.active.base_offset, |segment| segment.base_offset);
            // What is gone needs no sync.
            writer.unflushed.retain(|unflushed| unflushed.segment.base_offset >= first_kept);
            removed.to_vec()
        };
        for segment in removed {
            for extension in [
                extension::LOG,
                extension::OFFSET_INDEX,
                extension::TIME_INDEX,
                extension::TRANSACTION_INDEX,
                extension::PRODUCER_SNAPSHOT,
            ] {
                self.remove_if_there(segment.base_offset, extension);
            }
        }
    }

    pub(super) fn remove_if_there(&self, base_offset: Offset, extension: &str) {
        let path = segment_path(&self.dir, base_offset, extension);
        let removed = self.vfs().remove_file(&path);
        if extension == extension::PRODUCER_SNAPSHOT && removed.is_ok() {
            self.snapshots.forget(base_offset);
        }
        match removed {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(path = %path.display(), %error, "cannot remove a file of a deleted segment"),
        }
    }
}

#[cfg(test)]
#[path = "trim_test.rs"]
mod tests;
