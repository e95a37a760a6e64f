//! Reading: an offset becomes a range of a file. Takes no lock and copies no record.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{CorruptRange, Log, LogOffsets, Segments};
use crate::storage::error::{ReadError, StorageError};
use crate::storage::leader_epoch::LeaderEpochCache;
use crate::storage::recovery;
use crate::storage::segment::{FoundBatch, SealedSegment, Search, Segment, SegmentEnd};
use crate::storage::txn_index::{self, AbortedTxn};
use crate::storage::vfs::{FileSlice, VfsFile};
use crate::types::Offset;

/// What there is to read from an offset.
#[derive(Debug, Clone)]
pub struct LogRead {
    /// Batches, the first of them whole unless even it is larger than what was asked for; `None` if there are none.
    pub slice: Option<FileSlice>,
    /// The base offset of the first batch, which may lie before the offset asked for.
    pub base_offset: Option<Offset>,
    /// The log when it was read.
    pub offsets: LogOffsets,
    /// Aborted transactions: all with records in the slice, and some without. None if they were not asked for.
    pub aborted: Vec<AbortedTxn>,
}

/// What may be returned.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    from: Offset,
    up_to: Offset,
    max_bytes: usize,
    min_one_batch: bool,
    /// The file is held for a while, on its way to a client.
    to_send: bool,
    /// With the names of aborted transactions.
    committed: bool,
}

/// What one look at a segment came to.
enum Found {
    Slice(FileSlice, Offset),
    /// There are batches, but they do not fit or lie behind `up_to`, or too many files are in use.
    Nothing,
    /// The batch is damaged, or missing between others: offsets are dense.
    Damage,
}

impl Log {
    /// Reads from the batch that holds `from` (the whole batch, also from its middle), at most `max_bytes`, and nothing at
    /// or behind `up_to`: the high watermark, the last stable offset or the end of the log. The last batch may be cut off,
    /// as Kafka's is. With `min_one_batch` the first batch is returned whole even if it is larger than `max_bytes`.
    ///
    /// # Errors
    /// The offset is not in the log, or its bytes are damaged, or they cannot be read.
    pub fn read(
        &self,
        from: Offset,
        max_bytes: usize,
        up_to: Offset,
        min_one_batch: bool,
    ) -> Result<LogRead, ReadError> {
        self.read_wanted(Wanted { from, up_to, max_bytes, min_one_batch, to_send: false, committed: false })
    }

    /// The same for an answer to a client, which holds the file until it is sent: while answers hold too many files, there is nothing
    /// to read in a sealed segment.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub fn read_to_send(
        &self,
        from: Offset,
        max_bytes: usize,
        up_to: Offset,
        min_one_batch: bool,
    ) -> Result<LogRead, ReadError> {
        self.read_wanted(Wanted { from, up_to, max_bytes, min_one_batch, to_send: true, committed: false })
    }

    /// The same for a client that wants committed records only, with the aborted transactions that it has to leave out: those of the
    /// very segments that the slice is from, whatever takes their place meanwhile. `up_to` is at most the last stable offset.
    ///
    /// # Errors
    /// As [`Log::read`], or a transaction index cannot be read.
    pub fn read_committed_to_send(
        &self,
        from: Offset,
        max_bytes: usize,
        up_to: Offset,
        min_one_batch: bool,
    ) -> Result<LogRead, ReadError> {
        self.read_wanted(Wanted { from, up_to, max_bytes, min_one_batch, to_send: true, committed: true })
    }

    fn read_wanted(&self, mut wanted: Wanted) -> Result<LogRead, ReadError> {
        let from = wanted.from;
        self.check_open()?;
        let offsets = self.offsets();
        let out_of_range =
            || ReadError::OutOfRange { requested: from, log_start: offsets.log_start, log_end: offsets.log_end };
        if from < offsets.log_start || from > offsets.log_end {
            return Err(out_of_range());
        }
        wanted.up_to = wanted.up_to.min(self.readable_end());
        let mut damage_was_looked_for = false;
        loop {
            let nothing = LogRead { slice: None, base_offset: None, offsets, aborted: Vec::new() };
            self.stop_before_damage(&mut wanted)?;
            if wanted.from >= wanted.up_to {
                return Ok(nothing);
            }
            let segments = self.segments.load();
            let segment = segments.holding(from);
            match self.read_segment(&segment, &wanted, &self.corrupt.load()) {
                Ok(Found::Slice(slice, base)) => {
                    let mut aborted = Vec::new();
                    if wanted.committed {
                        let up_to = wanted.up_to.min(segment.end().next_offset);
                        aborted = self.aborted_among(&segments, from, up_to)?;
                        // The indexes of segments that are removed go with them.
                        if self.offsets().log_start > from {
                            return Err(out_of_range());
                        }
                    }
                    return Ok(LogRead { slice: Some(slice), base_offset: Some(base), offsets, aborted });
                }
                Ok(Found::Nothing) => return Ok(nothing),
                Ok(Found::Damage) if !damage_was_looked_for => {
                    damage_was_looked_for = true;
                    self.look_for_damage(&segment)?;
                }
                Ok(Found::Damage) => {
                    return Err(ReadError::Corrupt { log: self.name(), from, to: wanted.up_to });
                }
                // The segment was removed while it was being looked at.
                Err(_) if self.offsets().log_start > from => return Err(out_of_range()),
                Err(error) => return Err(StorageError::io("read", segment.path())(error).into()),
            }
        }
    }

    fn read_segment(&self, segment: &Segment, wanted: &Wanted, damage: &[CorruptRange]) -> io::Result<Found> {
        let end = segment.end();
        // Answers hold so many files that there is none for this one: it is read when some of them are sent.
        let file = if wanted.to_send { segment.file_to_hold()? } else { Some(segment.file()?) };
        let Some(file) = file else { return Ok(Found::Nothing) };
        let first = match segment.search(&*file, wanted.from, end, damage)? {
            Search::Found(batch) if batch.header.base_offset <= wanted.from => batch,
            Search::Found(_) | Search::Behind | Search::Bad { .. } => return Ok(Found::Damage),
        };
        let limit = readable_end(segment, &file, &first, wanted, end, damage)?;
        let available = limit.saturating_sub(first.position);
        let first_bytes = u64::from(first.header.size_bytes);
        let mut len = available.min(wanted.max_bytes as u64);
        if len < first_bytes {
            if !wanted.min_one_batch || available < first_bytes {
                return Ok(Found::Nothing);
            }
            len = first_bytes;
        }
        let slice_end = first.position + len;
        if !segment.verified().covers(first.position..slice_end) {
            let from = (first.header.base_offset, first.position);
            match recovery::verify(&*file, segment.base_offset(), end, from, slice_end, &self.epochs())? {
                Some(verified_end) => segment.verified().add(first.position..verified_end),
                None => return Ok(Found::Damage),
            }
        }
        let slice = FileSlice { file, position: first.position, len: len as usize };
        Ok(Found::Slice(slice, first.header.base_offset))
    }

    /// A copy, taken on the rare occasions when batches are checked.
    pub(super) fn epochs(&self) -> LeaderEpochCache {
        self.writer.lock().epochs.clone()
    }

    fn stop_before_damage(&self, wanted: &mut Wanted) -> Result<(), ReadError> {
        for range in self.corrupt.load().iter() {
            if range.from <= wanted.from && wanted.from < range.to {
                return Err(ReadError::Corrupt { log: self.name(), from: range.from, to: range.to });
            }
            if range.from > wanted.from {
                wanted.up_to = wanted.up_to.min(range.from);
            }
        }
        Ok(())
    }

    /// Finds out which offsets of a segment are damaged, so that only those are refused.
    pub(in crate::storage) fn look_for_damage(&self, segment: &Segment) -> Result<(), StorageError> {
        let found = segment
            .file()
            .and_then(|file| recovery::find_damage(&*file, segment.base_offset(), segment.end(), &self.epochs()));
        let found = found.map_err(StorageError::io("read", segment.path()))?;
        segment.verified().add(0..segment.end().size_bytes);
        self.note_ranges(segment.path(), segment.base_offset(), &found);
        Ok(())
    }

    /// Refuses these ranges from now on, all that were found in one segment. Those that are known already are not told again;
    /// returns how many are new.
    pub(super) fn note_ranges(&self, path: &Path, segment_base: Offset, found: &[CorruptRange]) -> usize {
        let mut new: Vec<CorruptRange> = Vec::new();
        self.corrupt.rcu(|known| {
            let within = |range: &CorruptRange, other: &CorruptRange| {
                other.segment_base == segment_base && other.from <= range.from && range.to <= other.to
            };
            new = found.iter().filter(|range| !known.iter().any(|other| within(range, other))).copied().collect();
            let kept = known.iter().filter(|range| !new.iter().any(|other| within(range, other)));
            let mut ranges: Vec<CorruptRange> = kept.chain(&new).copied().collect();
            ranges.sort_unstable_by_key(|range| (range.from, range.position));
            ranges
        });
        for range in &new {
            tracing::error!(log = %self.topic_partition, from = %range.from, to = %range.to, segment = %path.display(), "batches are damaged on disk");
        }
        new.len()
    }

    /// Finds out what is damaged in a segment that was found to be; a failure to read it is only logged.
    pub(in crate::storage) fn note_damage(&self, segment: &Arc<SealedSegment>) {
        if let Err(error) = self.look_for_damage(&Segment::Sealed(Arc::clone(segment))) {
            tracing::warn!(log = %self.topic_partition, %error, "a damaged segment cannot be looked at");
        }
    }

    /// The aborted transactions with records in `from..up_to`, as the log is now.
    ///
    /// # Errors
    /// A transaction index cannot be read.
    pub fn aborted_transactions(&self, from: Offset, up_to: Offset) -> Result<Vec<AbortedTxn>, StorageError> {
        self.aborted_among(&self.segments.load(), from, up_to)
    }

    /// The same for those segments, which may have been replaced since.
    fn aborted_among(&self, segments: &Segments, from: Offset, up_to: Offset) -> Result<Vec<AbortedTxn>, StorageError> {
        let mut aborted = Vec::new();
        // Returns whether the transactions that end behind these begin behind `up_to`.
        let mut take = |named: Vec<AbortedTxn>| {
            named.into_iter().any(|entry| {
                if entry.last_offset >= from && entry.first_offset < up_to {
                    aborted.push(entry);
                }
                entry.last_stable_offset >= up_to
            })
        };
        // Where segments are about to be replaced, the index of the first names what all of them do; and that of the active one
        // a marker that is about to be shown.
        let named_before = self.offsets().log_end.next();
        let limit_bytes = |base| txn_index::size_bytes_max(base, named_before);
        let first = segments.sealed.partition_point(|segment| segment.next_offset <= from);
        for segment in &segments.sealed[first..] {
            if take(segment.aborted(&self.dir, limit_bytes(segment.base_offset))?) {
                return Ok(aborted);
            }
        }
        let active = &segments.active;
        take(active.aborted(self.vfs(), &self.dir, limit_bytes(active.base_offset))?);
        Ok(aborted)
    }
}

/// The position behind the last batch that may be shown.
fn readable_end(
    segment: &Segment,
    file: &Arc<dyn VfsFile>,
    first: &FoundBatch,
    wanted: &Wanted,
    end: SegmentEnd,
    damage: &[CorruptRange],
) -> io::Result<u64> {
    let in_segment = damage.iter().filter(|range| range.segment_base == segment.base_offset());
    let first_damage = in_segment.map(|range| range.position).find(|position| *position > first.position);
    let end = SegmentEnd { size_bytes: end.size_bytes.min(first_damage.unwrap_or(u64::MAX)), ..end };
    if wanted.up_to >= end.next_offset {
        return Ok(end.size_bytes);
    }
    if wanted.up_to == first.header.next_offset() {
        return Ok(first.position + u64::from(first.header.size_bytes));
    }
    Ok(match segment.search(&**file, wanted.up_to, end, damage)? {
        Search::Found(batch) => batch.position,
        Search::Behind => end.size_bytes,
        Search::Bad { position } => position,
    })
}

#[cfg(test)]
#[path = "committed_read_test.rs"]
mod tests;
