//! A segment: one file of batches with its two indexes. The active one grows, the sealed ones never change.
//!
//! Owns the names of the files, and the search for a batch within a segment of either kind. Does not decide which segments
//! there are (the log does).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch_header::BatchHeader;
use super::batch_scan::{BatchCursor, SEARCH_BLOCK_BYTES, Step};
use super::index::{GrowingIndex, IndexEntry, OffsetEntry, SealedIndex, TimeEntry};
use super::log::CorruptRange;
use super::verified::Verified;
use super::vfs::VfsFile;
use crate::types::Offset;

mod active;
mod sealed;

pub(super) use active::{ActiveSegment, Cadence, SegmentContent};
pub(super) use sealed::{FoundIndexes, SealedSegment, SegmentSizes, Soundness, last_append_ms};

/// What the files of a segment end with.
pub(super) mod extension {
    pub(crate) const LOG: &str = "log";
    pub(crate) const OFFSET_INDEX: &str = "index";
    pub(crate) const TIME_INDEX: &str = "timeindex";
    pub(crate) const TRANSACTION_INDEX: &str = "txnindex";
    pub(crate) const PRODUCER_SNAPSHOT: &str = "snapshot";
    /// A segment in the making, which is not part of the log.
    pub(crate) const UNFINISHED: &str = "cleaned";
    /// A segment that takes the place of others, once it has this name.
    pub(crate) const REPLACEMENT: &str = "swap";
}

/// The path of a segment's file: twenty digits of its base offset, so that names sort as offsets do.
pub(super) fn segment_path(dir: &Path, base: Offset, extension: &str) -> PathBuf {
    dir.join(format!("{:020}.{extension}", base.0))
}

/// The base offset in a file name like `00000000000000000000.log`; `None` for any other.
pub(super) fn parse_segment_name(name: &str, extension: &str) -> Option<Offset> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    let all_digits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().ok().map(Offset)).flatten()
}

/// A batch that was found in a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct FoundBatch {
    pub(super) position: u64,
    pub(super) header: BatchHeader,
}

/// What a search in a segment came to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Search {
    Found(FoundBatch),
    /// All batches lie before.
    Behind,
    /// The bytes from here on are no batch.
    Bad {
        position: u64,
    },
}

/// Either kind of segment, for readers.
#[derive(Debug, Clone)]
pub(super) enum Segment {
    Sealed(Arc<SealedSegment>),
    Active(Arc<ActiveSegment>),
}

impl Segment {
    pub(super) fn base_offset(&self) -> Offset {
        match self {
            Segment::Sealed(segment) => segment.base_offset,
            Segment::Active(segment) => segment.base_offset,
        }
    }

    /// When it was last appended to, in milliseconds since 1970; `None` where nothing tells.
    pub(super) fn last_append_ms(&self) -> Option<i64> {
        match self {
            Segment::Sealed(segment) => segment.last_append_ms,
            Segment::Active(segment) => segment.last_append_ms(),
        }
    }

    /// The bytes there are, and the offset that follows them.
    pub(super) fn end(&self) -> SegmentEnd {
        match self {
            Segment::Sealed(segment) => SegmentEnd { size_bytes: segment.size_bytes, next_offset: segment.next_offset },
            Segment::Active(segment) => segment.end(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Segment::Sealed(segment) => segment.file.path(),
            Segment::Active(segment) => &segment.path,
        }
    }

    pub(super) fn file(&self) -> io::Result<Arc<dyn VfsFile>> {
        match self {
            Segment::Sealed(segment) => segment.file.get(),
            Segment::Active(segment) => Ok(Arc::clone(&segment.file)),
        }
    }

    /// The file, to be held for a while; `None` when too many are held already. That of the active segment is open anyway.
    pub(super) fn file_to_hold(&self) -> io::Result<Option<Arc<dyn VfsFile>>> {
        match self {
            Segment::Sealed(segment) => segment.file.get_to_hold(),
            Segment::Active(segment) => Ok(Some(Arc::clone(&segment.file))),
        }
    }

    pub(super) fn verified(&self) -> &Verified {
        match self {
            Segment::Sealed(segment) => &segment.verified,
            Segment::Active(segment) => &segment.verified,
        }
    }

    /// The largest timestamp, and the last offset of the first batch that has it; `None` in an empty segment.
    pub(super) fn largest_timestamp(&self, damage: &[CorruptRange]) -> io::Result<Option<TimeEntry>> {
        let segment = match self {
            Segment::Sealed(segment) => segment,
            Segment::Active(segment) => return Ok(*segment.largest_timestamp.lock()),
        };
        if let Some(known) = segment.largest_timestamp.get() {
            return Ok(*known);
        }
        let file = self.file()?;
        let is_sound = self.time_index_is_sound();
        let last = if is_sound { segment.time_index.last::<TimeEntry>().unwrap_or(None) } else { None };
        let largest = match last {
            Some(entry) if self.bears_out(&*file, entry, damage)? => Some(entry),
            _ => {
                if is_sound || segment.caches.are_damaged() {
                    tracing::warn!(segment = %self.path().display(), "the time index is wrong; reading the segment instead");
                    segment.caches.distrust();
                }
                self.scan_largest_timestamp(&*file, damage)?
            }
        };
        Ok(*segment.largest_timestamp.get_or_init(|| largest))
    }

    fn time_index_is_sound(&self) -> bool {
        match self {
            Segment::Sealed(segment) => segment.time_index_is_sound().unwrap_or_else(|_unreadable| {
                segment.caches.distrust();
                false
            }),
            Segment::Active(_) => true,
        }
    }

    /// Whether there is the batch that an entry of the time index speaks of.
    fn bears_out(&self, file: &dyn VfsFile, entry: TimeEntry, damage: &[CorruptRange]) -> io::Result<bool> {
        let found = self.search(file, entry.offset, self.end(), damage)?;
        Ok(matches!(found, Search::Found(FoundBatch { header, .. })
            if header.last_offset() == entry.offset && header.max_timestamp == entry.timestamp))
    }

    fn scan_largest_timestamp(&self, file: &dyn VfsFile, damage: &[CorruptRange]) -> io::Result<Option<TimeEntry>> {
        let mut cursor = BatchCursor::new(file, 0, self.end().size_bytes, SEARCH_BLOCK_BYTES);
        let mut largest: Option<TimeEntry> = None;
        loop {
            let at = cursor.position();
            let known = damage.iter().find(|range| range.segment_base == self.base_offset() && range.position == at);
            if let Some(range) = known.filter(|range| range.end_position > at) {
                cursor.seek(range.end_position);
            }
            match cursor.next()? {
                Step::Batch { header, .. } => {
                    if largest.is_none_or(|largest| header.max_timestamp > largest.timestamp) {
                        largest = Some(TimeEntry { timestamp: header.max_timestamp, offset: header.last_offset() });
                    }
                }
                Step::Bad { position } => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, format!("damage at {position}")));
                }
                Step::End => return Ok(largest),
            }
        }
    }

    fn lookup<E: IndexEntry>(
        &self,
        key: i64,
        sealed: fn(&SealedSegment) -> &SealedIndex,
        active: fn(&ActiveSegment) -> &GrowingIndex,
    ) -> Option<E> {
        let found = match self {
            Segment::Sealed(segment) => sealed(segment).lookup(key),
            Segment::Active(segment) => active(segment).lookup(key),
        };
        found.unwrap_or_else(|error| {
            tracing::warn!(segment = %self.path().display(), %error, "an index cannot be read; searching without it");
            None
        })
    }

    /// The first batch, among those in the first `end.size_bytes`, whose last offset is `offset` or larger. Known damage is
    /// stepped over.
    pub(super) fn search(
        &self,
        file: &dyn VfsFile,
        offset: Offset,
        end: SegmentEnd,
        damage: &[CorruptRange],
    ) -> io::Result<Search> {
        let entry: Option<OffsetEntry> = self.lookup(offset.0, |s| &s.offset_index, |s| &s.offset_index);
        let damage = damage.iter().filter(|range| range.segment_base == self.base_offset());
        let mut cursor = BatchCursor::new(file, 0, end.size_bytes, SEARCH_BLOCK_BYTES);
        if let Some(entry) = entry {
            let position = u64::from(entry.position);
            let is_in = |range: &&CorruptRange| range.position <= position && position < range.end_position;
            match damage.clone().find(is_in) {
                Some(range) if offset < range.to => return Ok(Search::Bad { position: range.position }),
                Some(range) => cursor.seek(range.end_position),
                None => {
                    cursor.seek(position);
                    match cursor.next()? {
                        // What the entry promised.
                        Step::Batch { position, header } if header.last_offset() == entry.offset => {
                            if header.last_offset() >= offset {
                                return Ok(Search::Found(FoundBatch { position, header }));
                            }
                        }
                        _ => {
                            let segment = self.path().display();
                            tracing::warn!(%segment, ?entry, "an index entry leads to no such batch");
                            if let Segment::Sealed(segment) = self {
                                segment.caches.distrust();
                            }
                            cursor.seek(0);
                        }
                    }
                }
            }
        }
        let start = cursor.position();
        let mut damage = damage.skip_while(|range| range.position < start).peekable();
        loop {
            if let Some(range) = damage.next_if(|range| range.position == cursor.position()) {
                if offset < range.to {
                    return Ok(Search::Bad { position: range.position });
                }
                cursor.seek(range.end_position);
            }
            match cursor.next()? {
                Step::Batch { position, header } if header.last_offset() >= offset => {
                    return Ok(Search::Found(FoundBatch { position, header }));
                }
                Step::Batch { .. } => {}
                Step::Bad { position } => return Ok(Search::Bad { position }),
                Step::End => return Ok(Search::Behind),
            }
        }
    }

    /// An offset before which every record of the segment is older than `timestamp`: where a search by time starts.
    pub(super) fn offset_before_timestamp(&self, timestamp: i64, damage: &[CorruptRange]) -> io::Result<Offset> {
        if !self.time_index_is_sound() {
            return Ok(self.base_offset());
        }
        let entry: Option<TimeEntry> = self.lookup(timestamp, |s| &s.time_index, |s| &s.time_index);
        let Some(entry) = entry else { return Ok(self.base_offset()) };
        let file = self.file()?;
        // The entry's batch holds its timestamp itself, which may be the one that is looked for.
        Ok(if self.bears_out(&*file, entry, damage)? { entry.offset } else { self.base_offset() })
    }
}

/// How far a segment reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentEnd {
    pub(super) size_bytes: u64,
    pub(super) next_offset: Offset,
}
