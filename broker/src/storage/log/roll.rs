//! Rolling: the active segment is sealed and a new one takes its place.

use std::sync::Arc;

use super::{Log, Segments, UnflushedSegment, Writer};
use crate::storage::batch_header::BatchHeader;
use crate::storage::error::StorageError;
use crate::storage::index::{IndexEntry, OffsetEntry, TimeEntry};
use crate::storage::log_config::LogConfig;
use crate::storage::segment::{ActiveSegment, Cadence, SegmentContent, extension, segment_path};
use crate::storage::vfs::Access;
use crate::types::Offset;

impl Log {
    /// Whether a batch goes into a new segment. By age, Kafka counts from the first batch's timestamp to that of the batch
    /// at hand; the broker's clock counts too, so that a timestamp of the far future cannot keep a segment open for ever.
    pub(super) fn roll_is_due(
        &self,
        writer: &Writer,
        active: &ActiveSegment,
        header: &BatchHeader,
        config: &LogConfig,
        now_ms: i64,
    ) -> bool {
        let end = active.end();
        if end.size_bytes == 0 {
            return false;
        }
        let index_entries_max = |entry_bytes: usize| (config.segment_index_bytes as usize / entry_bytes).max(2);
        let age_ms_max = self.age_ms_max(active, config);
        // A first batch without a timestamp tells no age; only the clock does then.
        let first_timestamp = writer.cadence.first_timestamp.filter(|first| *first >= 0);
        let first_timestamp = first_timestamp.unwrap_or(header.max_timestamp);
        end.size_bytes + u64::from(header.size_bytes) > u64::from(config.segment_bytes)
            || header.last_offset().0 - active.base_offset.0 > i64::from(i32::MAX)
            || active.offset_index.len() + 1 >= index_entries_max(OffsetEntry::BYTES)
            || active.time_index.len() + 1 >= index_entries_max(TimeEntry::BYTES)
            || header.max_timestamp.saturating_sub(first_timestamp) > age_ms_max
            || self.is_old(writer, active, config, now_ms)
    }

    /// Whether `segment.ms` has passed by the broker's clock since the active segment was created; after a restart, since it was
    /// last written before.
    pub(super) fn is_old(&self, writer: &Writer, active: &ActiveSegment, config: &LogConfig, now_ms: i64) -> bool {
        now_ms.saturating_sub(writer.cadence.created_ms) > self.age_ms_max(active, config)
    }

    fn age_ms_max(&self, active: &ActiveSegment, config: &LogConfig) -> i64 {
        config.segment_ms.saturating_sub(self.jitter_ms(active.base_offset, config)).max(0)
    }

    /// A part of `segment.jitter.ms` that differs between partitions and segments, and is the same in every run.
    fn jitter_ms(&self, base_offset: Offset, config: &LogConfig) -> i64 {
        let name = self.topic_partition.topic.as_bytes();
        let mut hash = crc32fast::Hasher::new_with_initial(self.topic_partition.partition as u32);
        hash.update(name);
        hash.update(&base_offset.0.to_be_bytes());
        let share = i128::from(config.segment_jitter_ms.max(0)) * i128::from(hash.finalize()) / i128::from(u32::MAX);
        share as i64
    }

    /// Starts a new segment at the end of the log. Nothing is durable yet: the next flush syncs the sealed segment and the
    /// folder before it says that anything is. It waits for the disk only where there was no flush since the roll before:
    /// the name of a segment must not survive a power cut that the one before it does not survive; where so many segments wait for
    /// a flush that there are no more descriptors for the handles that wrote them; and where all records so far are deleted.
    ///
    /// # Errors
    /// The file cannot be created, or the indexes of the one before cannot be written, or what nothing else tells, for want of space or for
    /// another reason: then nothing has changed, and the same call may succeed later. Or there is no sync: then the log is offline.
    pub(super) fn roll(
        &self,
        writer: &mut Writer,
        active: &Arc<ActiveSegment>,
        now_ms: i64,
    ) -> Result<Arc<ActiveSegment>, StorageError> {
        let vfs = self.vfs();
        let base_offset = active.end().next_offset;
        let path = segment_path(&self.dir, base_offset, extension::LOG);
        if writer.dir_is_dirty {
            self.sync_folder()?;
            writer.dir_is_dirty = false;
        }
        // A sealed segment has its whole indexes in their files.
        let saved = active.save_indexes(vfs, &mut writer.cadence);
        saved.map_err(StorageError::io_or_no_space("save the indexes of", &active.path))?;
        let kept = self.context.open_files.keep();
        if kept.is_none() {
            self.sync_sealed(active).map_err(|error| self.poison_with(error))?;
        }
        let all_is_deleted = writer.deleted_before >= base_offset;
        if all_is_deleted {
            self.keep_producers_of_deleted(base_offset, writer)?;
        }
        let created = vfs.open(&path, Access::CreateNew);
        let file = created.map_err(StorageError::io_or_no_space("create", &path))?;
        writer.dir_is_dirty = true;
        if !all_is_deleted {
            self.write_snapshot_file(base_offset, &writer.producers.encode_snapshot());
        }
        let pool = &self.context.open_files;
        let next = Arc::new(ActiveSegment::new(pool, &self.dir, base_offset, file, SegmentContent::default()));
        let mut sealed = self.segments.load().sealed.clone();
        sealed.push(Arc::new(active.seal(pool, &self.dir)));
        self.segments.store(Arc::new(Segments { sealed, active: Arc::clone(&next) }));
        writer.unflushed.extend(kept.map(|kept| UnflushedSegment { segment: Arc::clone(active), _kept: kept }));
        writer.cadence = Cadence { created_ms: now_ms, ..Cadence::default() };
        Ok(next)
    }
}
