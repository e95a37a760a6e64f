//! Closing: everything durable, the caches saved, and nothing appended any more.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Log, Writer};
use crate::storage::cache_checksums::{self, CACHE_CHECKSUMS, CacheChecksums};
use crate::storage::checkpoint;
use crate::storage::error::StorageError;
use crate::storage::segment::{ActiveSegment, extension, segment_path};
use crate::storage::vfs::Access;
use crate::types::Offset;

/// The name of the file that a partition's leader epochs are kept in.
pub(in crate::storage) const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";

/// Producer snapshots of checkpoints that are kept.
const CHECKPOINT_SNAPSHOTS: usize = 2;

impl Log {
    /// Flushes, and writes down the caches that let recovery start at the offset it returns: the recovery point, which may
    /// be put on record from now on. Appends go on: none waits for more than what is copied for this.
    ///
    /// # Errors
    /// As [`Log::flush`], or the leader epochs cannot be written. Another cache that cannot be written is no error.
    pub fn checkpoint(&self) -> Result<Offset, StorageError> {
        // Nobody else writes these files, and no compaction comes in between that a snapshot would know nothing of.
        let _alone = self.restructuring.lock();
        self.check_usable()?;
        let producers = self.encode_producers();
        let (flushed, active) = loop {
            let flushed = self.flush_open_or_closing()?;
            let mut writer = self.writer.lock();
            if writer.checkpointed == Some(flushed) {
                drop(writer);
                // Merging changes indexes without an append.
                self.write_checksums();
                return Ok(flushed);
            }
            // If a segment was sealed since, its indexes become durable with the next flush.
            if writer.unflushed.is_empty() {
                let active = Arc::clone(&self.segments.load().active);
                self.save_indexes(&active, &mut writer);
                break (flushed, active);
            }
        };
        self.write_checksums();
        self.write_epochs()?;
        // One from within a sealed segment could outlive a compaction of it that it knows nothing of.
        if let Some((offset, snapshot)) = producers.filter(|(offset, _)| *offset >= active.base_offset) {
            self.replace_checkpoint_snapshot(offset, &snapshot);
        }
        // The snapshot has a checksum in it and needs no sync: without it more is read.
        for extension in [extension::OFFSET_INDEX, extension::TIME_INDEX] {
            let synced = self.sync_if_there(segment_path(&self.dir, active.base_offset, extension));
            synced.map_err(|error| self.poison_with(error))?;
        }
        // Unlike another index one of transactions is not missed where it is lost as a whole: without any there is no file.
        let path = segment_path(&self.dir, active.base_offset, extension::TRANSACTION_INDEX);
        if self.sync_if_there(path).map_err(|error| self.poison_with(error))? {
            self.sync_folder()?;
        }
        self.sync_if_there(self.dir.join(CACHE_CHECKSUMS)).map_err(|error| self.poison_with(error))?;
        self.writer.lock().checkpointed = Some(flushed);
        Ok(flushed)
    }

    /// What is known of producers at the end of the log; `None` if there is nothing new since the last checkpoint. A flush that
    /// begins after this makes everything durable that it knows of.
    fn encode_producers(&self) -> Option<(Offset, Vec<u8>)> {
        let writer = self.writer.lock();
        let log_end = self.segments.load().active.end().next_offset;
        (writer.checkpointed != Some(log_end)).then(|| (log_end, writer.producers.encode_snapshot()))
    }

    /// Writes the producer snapshot of a checkpoint, and removes the last but one: the last is needed where a power cut takes the new
    /// one. Those at the begin of a segment stay, and those that tell of deleted batches.
    fn replace_checkpoint_snapshot(&self, offset: Offset, snapshot: &[u8]) {
        if !self.write_snapshot_file(offset, snapshot) {
            return;
        }
        let mut writer = self.writer.lock();
        writer.checkpoint_snapshots.push_back(offset);
        if writer.checkpoint_snapshots.len() <= CHECKPOINT_SNAPSHOTS {
            return;
        }
        let Some(old) = writer.checkpoint_snapshots.pop_front() else { return };
        drop(writer);
        if old != offset && !self.segments.load().iter().any(|segment| segment.base_offset() == old) {
            self.remove_if_there(old, extension::PRODUCER_SNAPSHOT);
        }
    }

    /// Takes no more appends, flushes, saves indexes, epochs and producers, and makes all of it durable.
    ///
    /// # Errors
    /// As [`Log::flush`], or a cache could not be made durable; then the directory was not shut down cleanly.
    pub fn close(&self) -> Result<Offset, StorageError> {
        let _alone = self.restructuring.lock();
        self.check_usable()?;
        {
            let writer = self.writer.lock();
            self.closed.store(true, Ordering::Release);
            let log_end = self.segments.load().active.end().next_offset;
            let is_saved = writer.saved_at == Some(log_end) && self.checksums() == writer.checksums_on_record;
            if is_saved && !writer.epochs_are_dirty && !writer.took_back {
                return Ok(log_end);
            }
        }
        let flushed = self.flush_open_or_closing()?;
        let active = Arc::clone(&self.segments.load().active);
        let producers = {
            let mut writer = self.writer.lock();
            self.save_indexes(&active, &mut writer);
            writer.producers.encode_snapshot()
        };
        self.write_checksums();
        self.write_epochs()?;
        self.write_snapshot_file(flushed, &producers);
        for (base, extension) in [
            (active.base_offset, extension::OFFSET_INDEX),
            (active.base_offset, extension::TIME_INDEX),
            (active.base_offset, extension::TRANSACTION_INDEX),
            (flushed, extension::PRODUCER_SNAPSHOT),
        ] {
            let synced = self.sync_if_there(segment_path(&self.dir, base, extension));
            synced.map_err(|error| self.poison_with(error))?;
        }
        self.sync_if_there(self.dir.join(CACHE_CHECKSUMS)).map_err(|error| self.poison_with(error))?;
        self.sync_folder()?;
        Ok(flushed)
    }

    /// Takes no more appends, reads or flushes, and saves nothing: the folder is to be deleted. Returns when no append
    /// and no flush is under way. Whoever waits for a flush is told that there will be none.
    pub fn abandon(&self) {
        {
            let _no_replacement_is_under_way = self.restructuring.lock();
            let _no_flush_is_under_way = self.flushing.lock();
            let _no_append_is_under_way = self.writer.lock();
            self.closed.store(true, Ordering::Release);
        }
        if let Some(observer) = self.observer.get() {
            observer.failed(&StorageError::Closed { log: self.name() });
        }
    }

    /// What there is no space for is built again from the batches behind the last entry, at the next start.
    fn save_indexes(&self, active: &ActiveSegment, writer: &mut Writer) {
        if let Err(error) = active.save_indexes(self.vfs(), &mut writer.cadence) {
            tracing::warn!(segment = %active.path.display(), %error, "cannot save the indexes of a segment yet");
        }
    }

    /// What the indexes of all segments have, as far as they are in files and in order.
    fn checksums(&self) -> CacheChecksums {
        let segments = self.segments.load();
        let sealed = segments.sealed.iter();
        let mut checksums: CacheChecksums =
            sealed.filter_map(|segment| Some((segment.base_offset, segment.checksums(&self.dir)?))).collect();
        if segments.active.end().size_bytes > 0
            && let Ok(active) = segments.active.checksums(self.vfs(), &self.dir)
        {
            checksums.insert(segments.active.base_offset, active);
        }
        checksums
    }

    /// Writes down what the indexes have by now. What is appended to those of the active segment meanwhile is behind it.
    fn write_checksums(&self) {
        let checksums = self.checksums();
        if checksums == self.writer.lock().checksums_on_record {
            return;
        }
        match cache_checksums::write(self.vfs(), &self.dir, &checksums) {
            Ok(()) => self.writer.lock().checksums_on_record = checksums,
            Err(error) => {
                tracing::warn!(log = %self.topic_partition, %error, "cannot write the checksums of the indexes; the next start builds the indexes again");
            }
        }
    }

    /// Writes the leader epochs down, durably. Unlike other caches they may not lag behind what the next start trusts: a batch
    /// whose epoch is not the one on record counts as damaged.
    fn write_epochs(&self) -> Result<(), StorageError> {
        let epochs = {
            let writer = self.writer.lock();
            if !writer.epochs_are_dirty {
                return Ok(());
            }
            writer.epochs.encode()
        };
        let path = self.dir.join(LEADER_EPOCH_CHECKPOINT);
        checkpoint::replace_with_checksum(self.vfs(), &path, epochs.as_bytes())
            .map_err(StorageError::io("replace", &path))?;
        let mut writer = self.writer.lock();
        writer.epochs_are_dirty = writer.epochs.encode() != epochs;
        Ok(())
    }

    /// Syncs a cache, and says whether it is there; without entries there is no file.
    pub(super) fn sync_if_there(&self, path: PathBuf) -> Result<bool, StorageError> {
        match self.vfs().open(&path, Access::Write) {
            Ok(file) => file.sync_data().map(|()| true).map_err(StorageError::io("sync", &path)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StorageError::io("open", &path)(error)),
        }
    }
}

#[cfg(test)]
#[path = "checkpoint_wait_test.rs"]
mod tests;
