//! Scrubbing: every sealed byte is checked now and then, also what nobody reads, so that a bad disk is noticed while there is
//! still a copy elsewhere.
//!
//! Owns the walk over the sealed segments and their indexes, a little at a time. Does not decide how fast (the server does).
//! Damaged batches are told once, at ERROR, and refused from then on; a damaged index is built again.

use std::sync::Arc;

use super::{Log, Segments};
use crate::storage::batch_scan::{BatchCursor, SEARCH_BLOCK_BYTES, Step};
use crate::storage::error::StorageError;
use crate::storage::recovery;
use crate::storage::segment::{SealedSegment, Segment, SegmentEnd};
use crate::types::Offset;

/// How far a scrub of one log has come.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScrubCursor {
    /// Segments that begin before it are done.
    from: Offset,
    /// The batch that comes next in the segment under way; `None` at its start.
    next: Option<(Offset, u64)>,
}

impl Log {
    /// Checks up to about `bytes_max` bytes from where `cursor` stands, and moves it. Returns how many were checked; `None`
    /// at the end of the log.
    ///
    /// # Errors
    /// A segment cannot be read; the cursor stands behind it. Damage is no error.
    pub fn scrub(&self, cursor: &mut ScrubCursor, bytes_max: u64) -> Result<Option<u64>, StorageError> {
        self.check_open()?;
        let segments = self.segments.load_full();
        let first = segments.sealed.partition_point(|segment| segment.base_offset < cursor.from);
        let Some(segment) = segments.sealed.get(first) else { return Ok(None) };
        if segment.base_offset != cursor.from {
            // Deleted or replaced since.
            *cursor = ScrubCursor { from: segment.base_offset, next: None };
        }
        let scrubbed = self.scrub_segment(segment, cursor, bytes_max);
        if !matches!(scrubbed, Ok((_, false))) {
            *cursor = ScrubCursor { from: segment.next_offset, next: None };
        }
        Ok(Some(scrubbed?.0))
    }

    /// Checks a part of a segment; the bytes, and whether that was the last part.
    fn scrub_segment(
        &self,
        segment: &Arc<SealedSegment>,
        cursor: &mut ScrubCursor,
        bytes_max: u64,
    ) -> Result<(u64, bool), StorageError> {
        let read = || StorageError::io("read", segment.file.path());
        let end = SegmentEnd { size_bytes: segment.size_bytes, next_offset: segment.next_offset };
        let is_damaged = self.corrupt.load().iter().any(|range| range.segment_base == segment.base_offset);
        if is_damaged || end.size_bytes == 0 {
            return Ok((0, true));
        }
        if cursor.next.is_none() {
            self.scrub_indexes(segment)?;
        }
        let (offset, position) = cursor.next.unwrap_or((segment.base_offset, 0));
        let file = segment.file.get().map_err(read())?;
        let until = position.saturating_add(bytes_max).min(end.size_bytes);
        let epochs = self.epochs();
        let verified = recovery::verify(&*file, segment.base_offset, end, (offset, position), until, &epochs);
        let Some(verified) = verified.map_err(read())? else {
            self.note_damage(segment);
            return Ok((end.size_bytes - position, true));
        };
        segment.verified.add(position..verified);
        let mut batches = BatchCursor::new(&*file, verified, end.size_bytes, SEARCH_BLOCK_BYTES);
        let is_done = match batches.next().map_err(read())? {
            Step::Batch { position, header } => {
                cursor.next = Some((header.base_offset, position));
                false
            }
            Step::Bad { .. } | Step::End => true,
        };
        Ok((verified - position, is_done))
    }

    fn scrub_indexes(&self, segment: &Arc<SealedSegment>) -> Result<(), StorageError> {
        let soundness =
            segment.look_at_caches(&self.dir).map_err(StorageError::io("read an index of", segment.file.path()))?;
        if !soundness.indexes {
            tracing::warn!(log = %self.topic_partition, segment = %segment.base_offset, "an index is damaged: building it again");
            self.rebuild_indexes(segment)?;
        }
        if !soundness.transaction_index {
            tracing::error!(log = %self.topic_partition, segment = %segment.base_offset, "the index of aborted transactions is damaged: restart the broker, which builds it again");
        }
        Ok(())
    }

    /// Reads a segment and writes its offset index and time index anew, unless it is gone meanwhile.
    fn rebuild_indexes(&self, segment: &Arc<SealedSegment>) -> Result<(), StorageError> {
        let _alone = self.restructuring.lock();
        self.check_usable()?;
        let is_there = |segments: &Segments| segments.sealed.iter().any(|there| Arc::ptr_eq(there, segment));
        if !is_there(&self.segments.load()) {
            return Ok(());
        }
        let interval = self.config().index_interval_bytes;
        let end = Segment::Sealed(Arc::clone(segment)).end();
        let file = segment.file.get().map_err(StorageError::io("open", segment.file.path()))?;
        let rebuilt = recovery::rebuild_indexes(self.vfs(), &self.dir, &*file, segment.base_offset, end, interval)?;
        let rebuilt = Arc::new(segment.with_indexes(&self.context.open_files, &self.dir, rebuilt));
        // What is wrong with the transaction index stays wrong: the next start is to find nothing on record.
        let is_sound =
            rebuilt.look_at_caches(&self.dir).map_err(StorageError::io("read an index of", rebuilt.file.path()))?;
        debug_assert!(is_sound.indexes, "they were just built");
        let _writer = self.writer.lock();
        let segments = self.segments.load_full();
        let replaced = |there: &Arc<SealedSegment>| match Arc::ptr_eq(there, segment) {
            true => Arc::clone(&rebuilt),
            false => Arc::clone(there),
        };
        let sealed = segments.sealed.iter().map(replaced).collect();
        self.segments.store(Arc::new(Segments { sealed, active: Arc::clone(&segments.active) }));
        Ok(())
    }
}

#[cfg(test)]
#[path = "scrub_test.rs"]
mod tests;
