//! Producer snapshots of an open log: as a cache, and as all that tells of producers whose batches are deleted.
//!
//! Owns which snapshot has to be durable before something goes, and the writing of it. Does not own when that is: deletions
//! (`trim.rs`), replacements (`replace.rs`), segments behind what is deleted (`roll.rs`) and checkpoints (`close.rs`) say so.
//!
//! Invariant: once a log does not begin at its first offset any more, a snapshot at or behind its first segment is durable, and one goes
//! only when a newer one is. Whoever it tells of may repeat his last batches.

use super::snapshots::is_sound;
use super::{Log, Segments, Writer};
use crate::storage::error::{StorageError, is_no_space};
use crate::storage::segment::{extension, segment_path};
use crate::types::Offset;

impl Log {
    /// Makes a snapshot durable that stays when the segments before `first_kept` go with their snapshots. Returns whether there is one:
    /// there may be no space to write it.
    ///
    /// # Errors
    /// A sync failed: the log is offline. Or a snapshot cannot be read or written for another reason than a want of space.
    pub(super) fn keep_producers(&self, first_kept: Offset, segments: &Segments) -> Result<bool, StorageError> {
        // A merged segment has none where it begins, but the one behind it has. Those of checkpoints do not stay.
        for segment in segments.iter().skip_while(|segment| segment.base_offset() < first_kept) {
            let path = segment_path(&self.dir, segment.base_offset(), extension::PRODUCER_SNAPSHOT);
            if is_sound(self.vfs(), &path, segment.base_offset()).map_err(StorageError::io("read", &path))? {
                return self.sync_snapshot(segment.base_offset()).map(|()| true);
            }
        }
        self.keep_producers_late()
    }

    /// Makes a snapshot durable at the end of the log, where none is sound that segments began with: they were damaged, or there was no
    /// space. Returns whether there is space now.
    ///
    /// # Errors
    /// As [`Log::keep_producers`].
    pub(super) fn keep_producers_late(&self) -> Result<bool, StorageError> {
        let (log_end, written) = {
            let mut writer = self.writer.lock();
            let log_end = self.segments.load().active.end().next_offset;
            // It stays, also if a checkpoint has written it.
            writer.checkpoint_snapshots.retain(|offset| *offset != log_end);
            (log_end, self.snapshots.write(self.vfs(), &self.dir, log_end, &writer.producers.encode_snapshot()))
        };
        match written {
            Ok(_) => {}
            Err(error) if is_no_space(&error) => {
                tracing::warn!(log = %self.topic_partition, %log_end, %error, "no space for a producer snapshot");
                return Ok(false);
            }
            Err(error) => {
                let path = segment_path(&self.dir, log_end, extension::PRODUCER_SNAPSHOT);
                return Err(StorageError::io("write", &path)(error));
            }
        }
        // A start does not believe what speaks of batches that are not there.
        self.flush()?;
        self.sync_snapshot(log_end).map(|()| true)
    }

    /// Makes the snapshot durable that goes with a segment before which everything is deleted: the next start removes what is
    /// sealed before it.
    ///
    /// # Errors
    /// There is no space, or it cannot be written. After a failed sync the log is offline.
    pub(super) fn keep_producers_of_deleted(&self, base_offset: Offset, writer: &Writer) -> Result<(), StorageError> {
        let path = segment_path(&self.dir, base_offset, extension::PRODUCER_SNAPSHOT);
        let written = self.snapshots.write(self.vfs(), &self.dir, base_offset, &writer.producers.encode_snapshot());
        written.map_err(StorageError::io_or_no_space("write", &path))?;
        self.sync_snapshot(base_offset)
    }

    /// Writes down what was known of producers at `offset`, where batches tell the same: a failure costs time at the next start,
    /// nothing else. Returns whether there is a new file.
    pub(super) fn write_snapshot_file(&self, offset: Offset, content: &[u8]) -> bool {
        let written = self.snapshots.write(self.vfs(), &self.dir, offset, content);
        let written = written.inspect_err(|error| {
            tracing::warn!(log = %self.topic_partition, %offset, %error, "cannot write a producer snapshot; the next start reads the log instead");
        });
        written.unwrap_or(false)
    }

    /// Its content and its name.
    fn sync_snapshot(&self, offset: Offset) -> Result<(), StorageError> {
        let synced = self.sync_if_there(segment_path(&self.dir, offset, extension::PRODUCER_SNAPSHOT));
        synced.map_err(|error| match error {
            // Another one may succeed although what it was to sync is lost.
            StorageError::Io { action: "sync", .. } => self.poison_with(error),
            error => error,
        })?;
        self.sync_folder()
    }
}

#[cfg(test)]
#[path = "deleted_producers_test.rs"]
mod tests;
