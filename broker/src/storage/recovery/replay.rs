//! Producer state, leader epochs and transaction indexes, from the snapshot that is nearest and the batches behind it.

use super::index_builder::{INDEX_BYTES_MAX, decode};
use super::scan::{Event, Scan, ScanStart};
use super::{Recovery, SegmentState};
use crate::storage::batch_header::{BatchHeader, HEADER_BYTES};
use crate::storage::batch_scan::{BatchCursor, SEARCH_BLOCK_BYTES, Step};
use crate::storage::checkpoint;
use crate::storage::error::{StorageError, is_no_space};
use crate::storage::index::OffsetEntry;
use crate::storage::log::{CorruptRange, KnownSnapshots, LEADER_EPOCH_CHECKPOINT};
use crate::storage::segment::{extension, segment_path};
use crate::storage::txn_index::{self, AbortedTxn};
use crate::storage::vfs::{Access, VfsFile, read_file, read_up_to_at, replace_file};
use crate::storage::{EndTxnMarker, LeaderEpochCache, ProducerState};
use crate::types::{LeaderEpoch, Offset};

/// 10,000 producers of 250 bytes are 2.5 MB.
pub(in crate::storage) const SNAPSHOT_BYTES_MAX: u64 = 256 << 20;
pub(in crate::storage) const EPOCHS_BYTES_MAX: u64 = 16 << 20;
/// A control record is some 20 bytes behind the header.
pub(in crate::storage) const CONTROL_BATCH_BYTES_MAX: usize = 4 << 10;

impl Recovery<'_> {
    /// What is known of producers and epochs at the end of the log; and whether the epochs are not those of the file.
    pub(super) fn replay(&mut self, log_end: Offset) -> Result<(ProducerState, LeaderEpochCache, bool), StorageError> {
        let mut epochs = self.read_epochs();
        let epochs_known = epochs.is_some();
        let mut producers = self.read_snapshot(log_end)?;
        let from = producers.end_offset();
        self.snapshot_is_newest = from == log_end;
        let first = match epochs_known {
            true => self.segments.partition_point(|segment| segment.base <= from).saturating_sub(1),
            false => 0,
        };
        let mut epochs_changed = !epochs_known;
        let epochs_ref = epochs.get_or_insert_default();
        let now_ms = self.now_ms;
        let mut epoch = LeaderEpoch::NONE;
        for index in first..self.segments.len() {
            let segment = &self.segments[index];
            let base = segment.base;
            if from >= segment.next_offset.unwrap_or(log_end) && epochs_known {
                if !self.clean && index + 1 == self.segments.len() {
                    // The offsets of markers that were lost will be given out again.
                    self.rewrite_transaction_index(base, from, Vec::new())?;
                }
                continue;
            }
            if base > from {
                // As when the segment began; the one that was written then was not believed, or is gone.
                self.write_snapshot(base, &producers);
            }
            let mut aborted = Vec::new();
            // Leader epochs that are not on record are learnt from every batch.
            let near = if epochs_known { from } else { base };
            self.for_each_batch(index, near, &mut epoch, |header, marker| {
                // What is known already is not to be noted again: an earlier offset would take the later entries away.
                if epochs_ref.epoch_for_offset(header.base_offset) != Some(header.leader_epoch) {
                    epochs_changed |= epochs_ref.assign(header.leader_epoch, header.base_offset);
                }
                if header.base_offset < from {
                    return;
                }
                if let Some(batch) = header.producer_batch(marker)
                    && let Some(completed) = producers.update(&batch, now_ms)
                    && completed.is_aborted
                {
                    aborted.push(AbortedTxn::from(completed));
                }
            })?;
            self.rewrite_transaction_index(base, from, aborted)?;
        }
        producers.advance_end_offset(log_end);
        self.report.corrupt.sort_unstable_by_key(|range| (range.from, range.position));
        Ok((producers, epochs.unwrap_or_default(), epochs_changed))
    }

    /// What is known of producers in a log that starts anew behind its end: a power cut has taken batches that were deleted already. No
    /// record of a transaction is left, and what ended it may be among those; else nothing would ever, and readers of
    /// committed records would wait. The producers themselves may repeat their last batches, and no segment tells of those any more.
    ///
    /// # Errors
    /// It cannot be made durable.
    pub(super) fn keep_producers(&self, producers: &mut ProducerState, log_end: Offset) -> Result<(), StorageError> {
        producers.forget_open_transactions();
        let path = segment_path(self.dir, log_end, extension::PRODUCER_SNAPSHOT);
        replace_file(self.vfs(), &path, &producers.encode_snapshot()).map_err(StorageError::io("replace", &path))
    }

    /// Writes down what is known of producers at an offset, where batches tell the same.
    fn write_snapshot(&self, offset: Offset, producers: &ProducerState) {
        let written = KnownSnapshots::default().write(self.vfs(), self.dir, offset, &producers.encode_snapshot());
        if let Err(error) = written {
            tracing::warn!(log = %self.topic_partition, %offset, %error, "cannot write a producer snapshot; the next checkpoint does");
        }
    }

    fn read_epochs(&self) -> Option<LeaderEpochCache> {
        let path = self.dir.join(LEADER_EPOCH_CHECKPOINT);
        let text = read_file(self.vfs(), &path, EPOCHS_BYTES_MAX).ok()??;
        if !checkpoint::checksum_matches(self.vfs(), &path, &text) {
            tracing::warn!(path = %path.display(), "leader epochs without a fitting checksum; reading the log instead");
            return None;
        }
        let epochs = LeaderEpochCache::decode(std::str::from_utf8(&text).ok()?);
        epochs.inspect_err(|error| tracing::warn!(path = %path.display(), %error, "rebuilding leader epochs")).ok()
    }

    /// The newest snapshot that can be read and does not speak of what is gone, nor of batches whose transaction index is in
    /// doubt and has to be built again. The newer ones are removed: the offsets behind the end of the log will be given to other
    /// batches.
    fn read_snapshot(&mut self, log_end: Offset) -> Result<ProducerState, StorageError> {
        let log_base = self.segments.first().map_or(log_end, |segment| segment.base);
        let (mut found, mut in_doubt) = (None, Vec::new());
        while found.is_none()
            && let Some(offset) = self.snapshots.pop()
        {
            // One behind what is in doubt may know of batches that a power cut has taken: a later start must not believe it either.
            // What was written between one before the first segment and that is gone: it may have ended a transaction.
            if offset > log_end || offset > self.in_doubt_from {
                in_doubt.push(offset);
            } else if offset < log_base {
                self.remove_beside(offset, &[extension::PRODUCER_SNAPSHOT])?;
            } else {
                found = self.decode_snapshot(offset)?;
            }
        }
        let producers = match found {
            Some(producers) => {
                self.remove_stray_snapshots(log_base, &producers, !in_doubt.is_empty())?;
                producers
            }
            None => self.producers_of_deleted(log_base, &in_doubt)?,
        };
        for offset in in_doubt {
            self.remove_beside(offset, &[extension::PRODUCER_SNAPSHOT])?;
        }
        Ok(producers)
    }

    /// What a snapshot holds; one that is damaged is removed. One that cannot be read is passed over, but see `unreadable_snapshot`.
    fn decode_snapshot(&mut self, offset: Offset) -> Result<Option<ProducerState>, StorageError> {
        let path = segment_path(self.dir, offset, extension::PRODUCER_SNAPSHOT);
        let bytes = match read_file(self.vfs(), &path, SNAPSHOT_BYTES_MAX) {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read a producer snapshot; reading the log instead");
                self.unreadable_snapshot = Some(StorageError::io("read", &path)(error));
                return Ok(None);
            }
        };
        let limits = self.context.producer_limits.clone();
        match ProducerState::decode_snapshot(&bytes, offset, self.now_ms, limits) {
            Ok(producers) => Ok(Some(producers)),
            // A cache: what is wrong is built again, and would only be found again.
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a producer snapshot is damaged; reading the log instead");
                self.remove_beside(offset, &[extension::PRODUCER_SNAPSHOT])?;
                Ok(None)
            }
        }
    }

    /// What the oldest of these snapshots, the newest being first, tells of the batches before the first segment. No segment does any
    /// more, and it is kept for the next start before those go.
    ///
    /// # Errors
    /// It cannot be made durable; or there is none, but one that cannot be read: then nothing is removed.
    fn producers_of_deleted(&mut self, log_base: Offset, in_doubt: &[Offset]) -> Result<ProducerState, StorageError> {
        let mut producers = ProducerState::new(self.context.producer_limits.clone());
        if log_base == Offset::ZERO {
            return Ok(producers);
        }
        let mut found = None;
        for offset in in_doubt.iter().rev() {
            found = self.decode_snapshot(*offset)?;
            if found.is_some() {
                break;
            }
        }
        match (found, self.unreadable_snapshot.take()) {
            (Some(found), _) => producers = found,
            (None, Some(error)) => return Err(error),
            (None, None) => {}
        }
        let source = producers.end_offset();
        producers.keep_before(log_base);
        if producers.is_empty() {
            return Ok(producers);
        }
        let path = segment_path(self.dir, log_base, extension::PRODUCER_SNAPSHOT);
        let content = producers.encode_snapshot();
        let mut replaced = replace_file(self.vfs(), &path, &content);
        if replaced.as_ref().is_err_and(is_no_space) {
            // The others, which are to go anyway, make room.
            for offset in in_doubt.iter().filter(|offset| **offset != source) {
                self.remove_beside(*offset, &[extension::PRODUCER_SNAPSHOT])?;
            }
            replaced = replace_file(self.vfs(), &path, &content);
        }
        replaced.map_err(StorageError::io("replace", &path))?;
        Ok(producers)
    }

    /// Older snapshots are kept where a segment starts, as Kafka does; those that a stop has left in between are not. Of a log whose
    /// first records are deleted the one that was read is made durable before others go: they may have been all that was.
    ///
    /// # Errors
    /// The one that was read cannot be made durable.
    fn remove_stray_snapshots(
        &mut self,
        log_base: Offset,
        read: &ProducerState,
        others_go: bool,
    ) -> Result<(), StorageError> {
        let mut strays = std::mem::take(&mut self.snapshots);
        // What a failed sync was to make durable may be there in the page cache only, and the next sync would say nothing of it.
        strays.retain(|offset| self.sync_failed || self.segments.iter().all(|segment| segment.base != *offset));
        if log_base > Offset::ZERO && (others_go || !strays.is_empty()) {
            self.make_durable(read)?;
        }
        for offset in strays {
            let path = segment_path(self.dir, offset, extension::PRODUCER_SNAPSHOT);
            if let Err(error) = self.vfs().remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove an old producer snapshot");
            }
        }
        Ok(())
    }

    /// Makes the snapshot durable that was just read.
    fn make_durable(&self, read: &ProducerState) -> Result<(), StorageError> {
        let path = segment_path(self.dir, read.end_offset(), extension::PRODUCER_SNAPSHOT);
        if self.sync_failed {
            return replace_file(self.vfs(), &path, &read.encode_snapshot())
                .map_err(StorageError::io("replace", &path));
        }
        let file = self.vfs().open(&path, Access::Write).map_err(StorageError::io("open", &path))?;
        file.sync_data().map_err(StorageError::io("sync", &path))?;
        self.vfs().sync_dir(self.dir).map_err(StorageError::io("sync", self.dir))
    }

    /// Walks over the good batches of a segment, from shortly before the offset `near` on. What is damaged is noted, also where
    /// recovery trusted the segment: a batch that nobody can read must not be taken for one that was appended, and those behind it count.
    fn for_each_batch(
        &mut self,
        index: usize,
        near: Offset,
        epoch: &mut LeaderEpoch,
        mut visit: impl FnMut(&BatchHeader, Option<EndTxnMarker>),
    ) -> Result<(), StorageError> {
        let SegmentState { base, sizes, next_offset, .. } = self.segments[index];
        let path = segment_path(self.dir, base, extension::LOG);
        let read_error = |error| StorageError::io("read", &path)(error);
        let file = self.vfs().open(&path, Access::Read).map_err(StorageError::io("open", &path))?;
        let (position, expected) = self.place_before(&*file, base, sizes.log_bytes, near);
        let start = ScanStart {
            segment_base: base,
            position,
            expected,
            limit: next_offset,
            epoch: *epoch,
            epoch_behind: self.epoch_behind(index),
            epochs: None,
        };
        let is_sound = self.report.corrupt.iter().all(|range| range.segment_base != base);
        let checked_from = if is_sound { self.segments[index].checked_from } else { u64::MAX };
        let mut scan = Scan::over_checked(&*file, sizes.log_bytes, start, checked_from);
        loop {
            let damage = match scan.next().map_err(read_error)? {
                Event::Batch { position, header } => {
                    *epoch = header.leader_epoch;
                    let marker = match header.is_control() {
                        true => {
                            let mut bytes = vec![0; (header.size_bytes as usize).min(CONTROL_BATCH_BYTES_MAX)];
                            let read = read_up_to_at(&*file, &mut bytes, position).map_err(read_error)?;
                            end_txn_marker(bytes[..read].get(HEADER_BYTES..).unwrap_or_default())
                        }
                        false => None,
                    };
                    visit(&header, marker);
                    continue;
                }
                Event::Damage(range) => range,
                Event::Tail { position } => {
                    let (from, to) = (scan.next_offset(), next_offset.unwrap_or(scan.next_offset()));
                    CorruptRange { from, to, segment_base: base, position, end_position: sizes.log_bytes }
                }
                Event::End => return Ok(()),
            };
            let is_known = |known: &CorruptRange| known.segment_base == base && known.position == damage.position;
            if !self.report.corrupt.iter().any(is_known) {
                self.note_damage(damage.from, damage.to, base, damage.position, damage.end_position);
            }
        }
    }

    /// The position and the offset of a batch at or before the offset `near`: the last one that the offset index names, if it leads
    /// there, else the first of the segment.
    fn place_before(&self, file: &dyn VfsFile, base: Offset, size_bytes: u64, near: Offset) -> (u64, Offset) {
        let path = segment_path(self.dir, base, extension::OFFSET_INDEX);
        let index = if near > base { read_file(self.vfs(), &path, INDEX_BYTES_MAX).ok().flatten() } else { None };
        let entries: Vec<OffsetEntry> = decode(&index.unwrap_or_default(), base);
        let before = entries.partition_point(|entry| entry.offset < near).checked_sub(1);
        let Some(entry) = before.map(|before| entries[before]) else { return (0, base) };
        let mut cursor = BatchCursor::new(file, u64::from(entry.position), size_bytes, SEARCH_BLOCK_BYTES);
        match cursor.next() {
            Ok(Step::Batch { position, header })
                if header.last_offset() == entry.offset && header.base_offset >= base =>
            {
                (position, header.base_offset)
            }
            _ => (0, base),
        }
    }

    /// Keeps the entries of the segment's markers before `from`, and puts those found in the log behind them.
    fn rewrite_transaction_index(
        &mut self,
        base: Offset,
        from: Offset,
        found: Vec<AbortedTxn>,
    ) -> Result<(), StorageError> {
        let path = segment_path(self.dir, base, extension::TRANSACTION_INDEX);
        let there = txn_index::read(self.vfs(), &path, i32::MAX as u64).unwrap_or_default();
        let mut entries: Vec<AbortedTxn> =
            there.iter().filter(|entry| entry.last_offset >= base && entry.last_offset < from).copied().collect();
        entries.extend(found);
        if entries != there || (self.sync_failed && !entries.is_empty()) {
            replace_file(self.vfs(), &path, &txn_index::encode_all(&entries))
                .map_err(StorageError::io("replace", &path))?;
            self.report.indexes_rebuilt += 1;
        }
        Ok(())
    }
}

/// The marker in the records of a control batch.
pub(in crate::storage) fn end_txn_marker(records: &[u8]) -> Option<EndTxnMarker> {
    let mut input = records;
    let _length = varint(&mut input)?;
    input = input.get(1..)?; // attributes
    let _timestamp_delta = varint(&mut input)?;
    let _offset_delta = varint(&mut input)?;
    let key = field(&mut input)?;
    let value = field(&mut input)?;
    EndTxnMarker::parse(key, value)
}

fn field<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(varint(input)?).ok()?;
    let (field, rest) = input.split_at_checked(len)?;
    *input = rest;
    Some(field)
}

/// A zigzag number of up to ten bytes.
fn varint(input: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = input.split_first()?;
        *input = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}
