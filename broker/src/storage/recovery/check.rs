//! Checks the segments of a log that is being opened: what is trusted, what is read again, what is cut.

use std::path::Path;

use super::index_builder::{INDEX_BYTES_MAX, IndexBuilder, Resume, Trust};
use super::scan::{Event, Scan, ScanStart};
use super::{ActiveState, Recovery, SegmentState};
use crate::storage::batch_scan::{BatchCursor, SEARCH_BLOCK_BYTES, Step};
use crate::storage::cache_checksums::Checksum;
use crate::storage::error::StorageError;
use crate::storage::index::{IndexEntry, OffsetEntry, TimeEntry};
use crate::storage::log::CorruptRange;
use crate::storage::segment::{SegmentSizes, extension, segment_path};
use crate::storage::txn_index;
use crate::storage::vfs::{Access, Vfs, VfsFile, keep_modified, read_exact_at, read_file, write_all_at};
use crate::types::{LeaderEpoch, Offset};

/// A check of more than so many bytes takes long enough for somebody to wonder.
const TOLD_ABOVE_BYTES: u64 = 64 << 20;

/// How a segment ended.
enum SegmentEnding {
    Whole,
    /// No good batch from this position on.
    Tail(u64),
}

impl SegmentEnding {
    /// Where the good batches end.
    fn position(&self, size_bytes: u64) -> u64 {
        match self {
            SegmentEnding::Whole => size_bytes,
            SegmentEnding::Tail(position) => *position,
        }
    }
}

impl Recovery<'_> {
    /// Checks what is not trusted, cuts a torn tail, and says what the last segment is.
    pub(super) fn check_segments(&mut self, trusted_below: Offset) -> Result<ActiveState, StorageError> {
        let mut at = 0;
        let mut epoch = LeaderEpoch::NONE;
        loop {
            let next_base = self.segments.get(at + 1).map(|next| next.base);
            if let Some(next_base) = next_base.filter(|next_base| *next_base <= trusted_below) {
                self.trust(at, next_base)?;
                at += 1;
                continue;
            }
            let base = self.segments[at].base;
            if !self.clean {
                self.in_doubt_from = self.in_doubt_from.min(base.max(trusted_below));
            }
            let path = segment_path(self.dir, base, extension::LOG);
            let file = self.vfs().open(&path, Access::Write).map_err(StorageError::io("open", &path))?;
            let SegmentSizes { log_bytes: found_bytes, modified_ms, .. } = self.segments[at].sizes;
            if self.sync_failed {
                self.remove_beside(base, &[extension::OFFSET_INDEX, extension::TIME_INDEX])?;
            }
            let on_record = self.on_record.get(&base).copied();
            if !on_record.is_some_and(|it| self.transaction_index_holds(base, it.transaction_index, trusted_below)) {
                self.in_doubt_from = self.in_doubt_from.min(base);
            }
            let trust = Trust { below: trusted_below, on_record };
            let (mut builder, resume) =
                IndexBuilder::from_files(self.vfs(), self.dir, base, &*file, found_bytes, trust);
            let unchecked_bytes = found_bytes.saturating_sub(resume.position);
            if unchecked_bytes > TOLD_ABOVE_BYTES {
                tracing::info!(log = %self.topic_partition, segment = %base, bytes = unchecked_bytes, "checking what was not flushed");
            }
            let (next_offset, ending) = self.scan(at, &*file, &mut builder, resume, next_base, &mut epoch)?;
            self.segments[at].next_offset = Some(next_offset);
            self.segments[at].checked_from = resume.position;
            let mut size_bytes = found_bytes;
            let good_behind = next_base.is_some() && self.any_good_batch_behind(at)?;
            match (ending, next_base) {
                (ending, Some(next_base)) if good_behind => {
                    if next_offset < next_base {
                        self.note_damage(next_offset, next_base, base, ending.position(size_bytes), size_bytes);
                    }
                    self.segments[at].next_offset = Some(next_base);
                }
                (SegmentEnding::Whole, Some(next_base)) if next_offset == next_base => {}
                (ending, _) => {
                    self.quarantine_segments_behind(at)?;
                    if next_offset < self.durable_end {
                        // No torn tail: these batches were on the disk, and their offsets are not given out again.
                        let position = ending.position(size_bytes);
                        self.note_damage(next_offset, self.durable_end, base, position, size_bytes);
                        self.segments[at].next_offset = Some(self.durable_end);
                    } else if let SegmentEnding::Tail(position) = ending {
                        self.cut(&path, &*file, position, size_bytes, modified_ms)?;
                        size_bytes = position;
                        self.segments[at].sizes.log_bytes = position;
                    }
                }
            }
            if self.sync_failed {
                self.write_again(&path, &*file, size_bytes)?;
                keep_modified(self.vfs(), &path, modified_ms);
            }
            let is_last = at + 1 == self.segments.len();
            let is_active = is_last && next_offset >= self.durable_end;
            // What a broker that was killed had written behind its last checkpoint may be in the page cache only. It was not
            // acknowledged as durable, and is not before the first flush: there may be thousands of logs, and a sync takes its time.
            let is_durable =
                self.clean || size_bytes == 0 || (size_bytes == found_bytes && next_offset <= trusted_below);
            let waits_for_flush = is_active && !is_durable && !self.sync_failed && size_bytes == found_bytes;
            if (!is_durable && !waits_for_flush) || self.sync_failed {
                file.sync_data().map_err(StorageError::io("sync", &path))?;
                self.dir_is_dirty = true;
            }
            // As sealing, closing and checkpoints do.
            builder.push_time_entry();
            self.rewrite_if_wrong(at, &builder, is_active)?;
            if is_last {
                if !is_active {
                    return self.begin_segment(self.durable_end);
                }
                // Nothing tells when it was created: not after it was last written.
                builder.cadence.created_ms =
                    modified_ms.map_or(self.now_ms, |modified_ms| modified_ms.min(self.now_ms));
                let flushed = if waits_for_flush { trusted_below.max(base) } else { next_offset };
                return Ok(ActiveState { file, base, size_bytes, next_offset, flushed, builder });
            }
            at += 1;
        }
    }

    /// Makes the kernel take for unwritten what it has in its cache, so that the next sync means something.
    fn write_again(&self, path: &Path, file: &dyn VfsFile, size_bytes: u64) -> Result<(), StorageError> {
        tracing::warn!(segment = %path.display(), size_bytes, "a sync failed earlier: writing the segment again");
        let mut block = vec![0; (1 << 20).min(size_bytes as usize)];
        let mut done = 0;
        while done < size_bytes {
            let len = block.len().min((size_bytes - done) as usize);
            read_exact_at(file, &mut block[..len], done).map_err(StorageError::io("read", path))?;
            write_all_at(file, &block[..len], &[], done).map_err(StorageError::io("write", path))?;
            done += len as u64;
        }
        Ok(())
    }

    /// Takes a segment as it is, if its indexes seem to be what they were when they were saved: their sizes are looked at here,
    /// the content of a time index when it is first used.
    fn trust(&mut self, at: usize, next_base: Offset) -> Result<(), StorageError> {
        self.segments[at].next_offset = Some(next_base);
        let SegmentState { base, sizes, .. } = self.segments[at];
        let on_record = self.on_record.get(&base).copied().filter(|on_record| {
            sizes.offset_index_bytes == Some(on_record.offset_index.len)
                && sizes.time_index_bytes == Some(on_record.time_index.len)
                && self.transaction_index_is(base, on_record.transaction_index)
        });
        if on_record.is_some() {
            self.segments[at].checksums = on_record;
            return Ok(());
        }
        let size_bytes = sizes.log_bytes;
        tracing::warn!(log = %self.topic_partition, segment = %base, size_bytes, "the indexes of a segment are missing or not what they were: reading the segment and building them again");
        self.in_doubt_from = self.in_doubt_from.min(base);
        let path = segment_path(self.dir, base, extension::LOG);
        let file = self.vfs().open(&path, Access::Read).map_err(StorageError::io("open", &path))?;
        let mut builder = IndexBuilder::default();
        let resume = Resume { position: 0, next_offset: base };
        let (end, ending) =
            self.scan(at, &*file, &mut builder, resume, Some(next_base), &mut LeaderEpoch::NONE.clone())?;
        if end < next_base {
            self.note_damage(end, next_base, base, ending.position(size_bytes), size_bytes);
        }
        builder.push_time_entry();
        self.rewrite_if_wrong(at, &builder, false)
    }

    /// Whether a transaction index is what it was when it was saved; without entries there is no file.
    fn transaction_index_is(&self, base: Offset, on_record: Checksum) -> bool {
        let path = segment_path(self.dir, base, extension::TRANSACTION_INDEX);
        let bytes = read_file(self.vfs(), &path, INDEX_BYTES_MAX);
        bytes.is_ok_and(|bytes| on_record.is_of(&bytes.unwrap_or_default()))
    }

    /// Whether the transaction index of a segment that is not trusted as a whole has everything that was saved of it, and behind that
    /// only what speaks of batches that are read again.
    fn transaction_index_holds(&self, base: Offset, on_record: Checksum, trusted_below: Offset) -> bool {
        let path = segment_path(self.dir, base, extension::TRANSACTION_INDEX);
        let Ok(bytes) = read_file(self.vfs(), &path, INDEX_BYTES_MAX) else { return false };
        let bytes = bytes.unwrap_or_default();
        let Some(saved) = on_record.prefix_of(&bytes) else { return false };
        let behind = txn_index::decode_all(&bytes[saved.len()..]);
        behind.is_some_and(|behind| behind.iter().all(|entry| entry.last_offset >= trusted_below))
    }

    fn scan(
        &mut self,
        at: usize,
        file: &dyn VfsFile,
        builder: &mut IndexBuilder,
        resume: Resume,
        limit: Option<Offset>,
        epoch: &mut LeaderEpoch,
    ) -> Result<(Offset, SegmentEnding), StorageError> {
        let SegmentState { base, sizes, .. } = self.segments[at];
        let path = segment_path(self.dir, base, extension::LOG);
        let epoch_behind = self.epoch_behind(at);
        let start = ScanStart {
            segment_base: base,
            position: resume.position,
            expected: resume.next_offset,
            limit,
            epoch: *epoch,
            epoch_behind,
            epochs: None,
        };
        let mut scan = Scan::new(file, sizes.log_bytes, start);
        loop {
            match scan.next().map_err(StorageError::io("read", &path))? {
                Event::Batch { position, header } => {
                    self.report.checked_bytes += u64::from(header.size_bytes);
                    *epoch = header.leader_epoch;
                    builder.push(position, &header, self.config.index_interval_bytes);
                }
                Event::Damage(range) => {
                    self.note_damage(range.from, range.to, base, range.position, range.end_position);
                }
                Event::Tail { position } => return Ok((scan.next_offset(), SegmentEnding::Tail(position))),
                Event::End => return Ok((scan.next_offset(), SegmentEnding::Whole)),
            }
        }
    }

    /// The epoch that the segment behind starts with, if that can be told.
    pub(super) fn epoch_behind(&self, at: usize) -> Option<LeaderEpoch> {
        let next = self.segments.get(at + 1)?;
        let path = segment_path(self.dir, next.base, extension::LOG);
        first_epoch(self.vfs(), &path, next.base, next.sizes.log_bytes)
    }

    pub(super) fn note_damage(
        &mut self,
        from: Offset,
        to: Offset,
        segment_base: Offset,
        position: u64,
        end_position: u64,
    ) {
        tracing::error!(log = %self.topic_partition, %from, %to, "batches are damaged on disk, good ones lie behind: they are kept and refused");
        self.report.corrupt.push(CorruptRange { from, to, segment_base, position, end_position });
    }

    /// Whether any later segment holds a batch that is good.
    fn any_good_batch_behind(&self, at: usize) -> Result<bool, StorageError> {
        for (index, segment) in self.segments.iter().enumerate().skip(at + 1) {
            let limit = self.segments.get(index + 1).map(|next| next.base);
            if holds_good_batch(
                self.vfs(),
                &segment_path(self.dir, segment.base, extension::LOG),
                segment.base,
                segment.sizes.log_bytes,
                limit,
            )? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn rewrite_if_wrong(&mut self, at: usize, builder: &IndexBuilder, grows: bool) -> Result<(), StorageError> {
        let rebuilt = builder.write(self.vfs(), self.dir, self.segments[at].base, grows)?;
        self.report.indexes_rebuilt += rebuilt;
        let sizes = &mut self.segments[at].sizes;
        sizes.offset_index_bytes = Some((builder.offset_entries.len() * OffsetEntry::BYTES) as u64);
        sizes.time_index_bytes = Some((builder.time_entries.len() * TimeEntry::BYTES) as u64);
        Ok(())
    }
}

/// The epoch that a segment starts with, if its first batch can be read and is the one that it should be.
pub(in crate::storage) fn first_epoch(
    vfs: &dyn Vfs,
    path: &Path,
    base: Offset,
    size_bytes: u64,
) -> Option<LeaderEpoch> {
    let file = vfs.open(path, Access::Read).ok()?;
    let mut cursor = BatchCursor::new(&*file, 0, size_bytes, SEARCH_BLOCK_BYTES);
    match cursor.next().ok()? {
        Step::Batch { header, .. } if header.base_offset == base => Some(header.leader_epoch),
        _ => None,
    }
}

/// Whether a segment holds a batch that is good. `limit` is the base offset of the segment behind.
pub(in crate::storage) fn holds_good_batch(
    vfs: &dyn Vfs,
    path: &Path,
    base: Offset,
    size_bytes: u64,
    limit: Option<Offset>,
) -> Result<bool, StorageError> {
    if size_bytes == 0 {
        return Ok(false);
    }
    let file = vfs.open(path, Access::Read).map_err(StorageError::io("open", path))?;
    let start = ScanStart {
        segment_base: base,
        position: 0,
        expected: base,
        limit,
        epoch: LeaderEpoch::NONE,
        epoch_behind: None,
        epochs: None,
    };
    let first = Scan::new(&*file, size_bytes, start).next().map_err(StorageError::io("read", path))?;
    Ok(matches!(first, Event::Batch { .. } | Event::Damage(_)))
}
