//! A segment: one file of batches with its two indexes. The active one grows, the sealed ones never change.
//!
//! Owns the names of the files, the cadence of index entries, and the search for a batch within a segment. Does not
//! decide when a segment is full or which segments there are (the log does).
//!
//! Invariant: the bytes `0..size` of an active segment are whole batches, published together with the offset that follows
//! them in one atomic word: a reader sees a size and an end offset that belong together.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::batch_header::BatchHeader;
use super::batch_scan::{BatchCursor, SEARCH_BLOCK_BYTES, Step};
use super::cache_checksums::{Checksum, SegmentChecksums};
use super::index::{GrowingIndex, IndexEntry, OffsetEntry, SealedIndex, TimeEntry};
use super::log::CorruptRange;
use super::open_files::{LazyFile, OpenFiles};
use super::sealed_caches::SealedCaches;
use super::verified::Verified;
use super::vfs::{Vfs, VfsFile, read_file};
use crate::types::Offset;

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
        let last = match self.time_index_is_sound() {
            true => segment.time_index.last::<TimeEntry>().unwrap_or(None),
            false => None,
        };
        let largest = match last {
            Some(entry) if self.bears_out(&*file, entry, damage)? => Some(entry),
            _ => {
                tracing::warn!(segment = %self.path().display(), "the time index is wrong; reading the segment instead");
                segment.caches.distrust();
                self.scan_largest_timestamp(&*file, damage)?
            }
        };
        Ok(*segment.largest_timestamp.get_or_init(|| largest))
    }

    fn time_index_is_sound(&self) -> bool {
        match self {
            Segment::Sealed(segment) => segment.time_index_is_sound().unwrap_or(false),
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

/// The segment at the end of the log. One thread at a time appends (the log's writer); any number reads.
#[derive(Debug)]
pub(super) struct ActiveSegment {
    pub(super) base_offset: Offset,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn VfsFile>,
    pub(super) offset_index: GrowingIndex,
    pub(super) time_index: GrowingIndex,
    /// Size in the upper half, next offset less base offset in the lower.
    end: AtomicU64,
    largest_timestamp: Mutex<Option<TimeEntry>>,
    /// The broker's clock at the last append; [`NEVER_MS`] where nothing tells.
    last_append_ms: AtomicI64,
    pub(super) verified: Arc<Verified>,
}

/// The time of what has not happened.
const NEVER_MS: i64 = i64::MIN;

/// What only the writer needs to know of the active segment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cadence {
    /// Bytes appended since the last index entry.
    pub(super) bytes_since_entry: u32,
    /// The timestamp of the last entry of the time index.
    pub(super) last_time_entry: Option<i64>,
    /// The largest timestamp of the first batch: what the age of a segment is counted from.
    pub(super) first_timestamp: Option<i64>,
    /// When the segment was created, or last written before it was opened, in milliseconds since 1970.
    pub(super) created_ms: i64,
}

/// What recovery, or nothing at all for a new one, knows about the content of a segment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SegmentContent {
    pub(super) size_bytes: u64,
    pub(super) next_offset: Option<Offset>,
    pub(super) largest_timestamp: Option<TimeEntry>,
    /// What is in the files of its offset and time index.
    pub(super) indexes: SegmentChecksums,
    /// From where on the batches were checked; what lies before is checked when it is first read.
    pub(super) checked_from: u64,
    /// When it was last appended to, as its file says.
    pub(super) last_append_ms: Option<i64>,
}

impl ActiveSegment {
    /// Goes on writing to a segment with this content.
    pub(super) fn new(
        pool: &Arc<OpenFiles>,
        dir: &Path,
        base_offset: Offset,
        file: Arc<dyn VfsFile>,
        content: SegmentContent,
    ) -> ActiveSegment {
        let path = |extension| segment_path(dir, base_offset, extension);
        let SegmentChecksums { offset_index, time_index, .. } = content.indexes;
        let offset_index =
            GrowingIndex::new::<OffsetEntry>(pool, path(extension::OFFSET_INDEX), base_offset, offset_index);
        let time_index = GrowingIndex::new::<TimeEntry>(pool, path(extension::TIME_INDEX), base_offset, time_index);
        let segment = ActiveSegment {
            base_offset,
            path: segment_path(dir, base_offset, extension::LOG),
            file,
            offset_index,
            time_index,
            end: AtomicU64::new(0),
            largest_timestamp: Mutex::new(content.largest_timestamp),
            last_append_ms: AtomicI64::new(content.last_append_ms.unwrap_or(NEVER_MS)),
            verified: Arc::new(Verified::new(content.size_bytes, content.checked_from..content.size_bytes)),
        };
        let next_offset = content.next_offset.unwrap_or(base_offset);
        segment.publish_end(SegmentEnd { size_bytes: content.size_bytes, next_offset });
        segment
    }

    pub(super) fn end(&self) -> SegmentEnd {
        let end = self.end.load(Ordering::Acquire);
        SegmentEnd { size_bytes: end >> 32, next_offset: self.base_offset.plus((end & u64::from(u32::MAX)) as i64) }
    }

    pub(super) fn last_append_ms(&self) -> Option<i64> {
        Some(self.last_append_ms.load(Ordering::Relaxed)).filter(|ms| *ms != NEVER_MS)
    }

    fn publish_end(&self, end: SegmentEnd) {
        let relative = (end.next_offset.0 - self.base_offset.0) as u64;
        assert!(end.size_bytes <= u64::from(u32::MAX) && relative <= u64::from(u32::MAX), "a segment is rolled before");
        self.end.store(end.size_bytes << 32 | relative, Ordering::Release);
    }

    /// Makes a batch visible whose bytes were written at the end. Writer only.
    pub(super) fn publish(
        &self,
        vfs: &dyn Vfs,
        header: &BatchHeader,
        cadence: &mut Cadence,
        index_interval_bytes: u32,
        now_ms: i64,
    ) {
        let end = self.end();
        self.last_append_ms.store(now_ms, Ordering::Relaxed);
        let last_offset = header.last_offset();
        {
            let mut largest = self.largest_timestamp.lock();
            if largest.is_none_or(|largest| header.max_timestamp > largest.timestamp) {
                *largest = Some(TimeEntry { timestamp: header.max_timestamp, offset: last_offset });
            }
        }
        if cadence.bytes_since_entry > index_interval_bytes {
            self.offset_index.push(vfs, OffsetEntry { offset: last_offset, position: end.size_bytes as u32 });
            self.push_time_entry(vfs, cadence);
            cadence.bytes_since_entry = 0;
        }
        cadence.bytes_since_entry = cadence.bytes_since_entry.saturating_add(header.size_bytes);
        cadence.first_timestamp.get_or_insert(header.max_timestamp);
        let size_bytes = end.size_bytes + u64::from(header.size_bytes);
        self.publish_end(SegmentEnd { size_bytes, next_offset: last_offset.next() });
    }

    fn push_time_entry(&self, vfs: &dyn Vfs, cadence: &mut Cadence) {
        let largest = *self.largest_timestamp.lock();
        if let Some(largest) = largest.filter(|l| cadence.last_time_entry.is_none_or(|last| l.timestamp > last)) {
            self.time_index.push(vfs, largest);
            cadence.last_time_entry = Some(largest.timestamp);
        }
    }

    /// Writes the indexes down completely; the last time entry is the largest timestamp of all. Writer only.
    ///
    /// # Errors
    /// The disk is full: what is missing in the files stays in memory.
    pub(super) fn save_indexes(&self, vfs: &dyn Vfs, cadence: &mut Cadence) -> io::Result<()> {
        self.push_time_entry(vfs, cadence);
        self.offset_index.save::<OffsetEntry>(vfs)?;
        self.time_index.save::<TimeEntry>(vfs)
    }

    /// What is in the files of its indexes.
    ///
    /// # Errors
    /// The transaction index cannot be read.
    pub(super) fn checksums(&self, vfs: &dyn Vfs, dir: &Path) -> io::Result<SegmentChecksums> {
        let transaction_index = segment_path(dir, self.base_offset, extension::TRANSACTION_INDEX);
        let transaction_index = read_file(vfs, &transaction_index, self.end().size_bytes)?.unwrap_or_default();
        Ok(SegmentChecksums {
            offset_index: self.offset_index.saved(),
            time_index: self.time_index.saved(),
            transaction_index: Checksum::of(&transaction_index),
        })
    }

    /// Freezes the segment, whose indexes were saved.
    pub(super) fn seal(&self, pool: &Arc<OpenFiles>, dir: &Path) -> SealedSegment {
        let SegmentEnd { size_bytes, next_offset } = self.end();
        let sealed = SealedSegment {
            base_offset: self.base_offset,
            next_offset,
            size_bytes,
            file: LazyFile::new(pool, self.path.clone()),
            offset_index: self.sealed_index::<OffsetEntry>(pool, dir, extension::OFFSET_INDEX, self.offset_index.len()),
            time_index: self.sealed_index::<TimeEntry>(pool, dir, extension::TIME_INDEX, self.time_index.len()),
            largest_timestamp: OnceLock::new(),
            last_append_ms: self.last_append_ms(),
            verified: Arc::clone(&self.verified),
            caches: SealedCaches::default(),
        };
        sealed.largest_timestamp.get_or_init(|| *self.largest_timestamp.lock());
        sealed
    }

    fn sealed_index<E: IndexEntry>(
        &self,
        pool: &Arc<OpenFiles>,
        dir: &Path,
        extension: &str,
        entries: usize,
    ) -> SealedIndex {
        let path = segment_path(dir, self.base_offset, extension);
        SealedIndex::new::<E>(pool, path, self.base_offset, (entries * E::BYTES) as u64)
    }
}

/// A segment that never changes again.
#[derive(Debug)]
pub(super) struct SealedSegment {
    pub(super) base_offset: Offset,
    /// The base offset of the segment that follows.
    pub(super) next_offset: Offset,
    pub(super) size_bytes: u64,
    pub(super) file: LazyFile,
    pub(super) offset_index: SealedIndex,
    pub(super) time_index: SealedIndex,
    /// Read from the time index when it is first asked for.
    largest_timestamp: OnceLock<Option<TimeEntry>>,
    last_append_ms: Option<i64>,
    pub(super) verified: Arc<Verified>,
    pub(super) caches: SealedCaches,
}

/// What is in the files of a sealed segment's indexes.
#[derive(Debug, Clone, Copy)]
pub(super) struct FoundIndexes {
    /// The offset index and the time index; `None` where one of them is missing or too short.
    pub(super) of_batches: Option<[Checksum; 2]>,
    pub(super) transaction_index: Checksum,
}

/// Which indexes of a segment are what they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Soundness {
    /// The offset index and the time index.
    pub(super) indexes: bool,
    pub(super) transaction_index: bool,
}

/// The sizes of a segment's files, as a folder lists them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SegmentSizes {
    pub(super) log_bytes: u64,
    pub(super) offset_index_bytes: Option<u64>,
    pub(super) time_index_bytes: Option<u64>,
    /// When the log file was last written; `None` where nothing tells.
    pub(super) modified_ms: Option<i64>,
}

/// When any of these was last appended to, in milliseconds since 1970; `None` where nothing tells.
pub(super) fn last_append_ms(segments: &[Arc<SealedSegment>]) -> Option<i64> {
    segments.iter().filter_map(|segment| segment.last_append_ms).max()
}

impl SealedSegment {
    /// Keeps its files open, because another segment is about to get its name: who reads this one notices nothing.
    pub(super) fn pin(&self) -> io::Result<()> {
        self.file.pin()?;
        self.offset_index.pin()?;
        self.time_index.pin()
    }

    /// Bytes of its indexes, the larger of the two.
    pub(super) fn index_bytes(&self) -> u64 {
        let [offset_bytes, time_bytes] = self.index_sizes();
        offset_bytes.max(time_bytes)
    }

    /// A segment whose indexes are there and were found in order.
    pub(super) fn new(
        pool: &Arc<OpenFiles>,
        dir: &Path,
        base_offset: Offset,
        next_offset: Offset,
        sizes: SegmentSizes,
        checked_from: u64,
    ) -> SealedSegment {
        let path = |extension| segment_path(dir, base_offset, extension);
        let offset_index_bytes = sizes.offset_index_bytes.unwrap_or(0);
        let time_index_bytes = sizes.time_index_bytes.unwrap_or(0);
        SealedSegment {
            base_offset,
            next_offset,
            size_bytes: sizes.log_bytes,
            file: LazyFile::new(pool, path(extension::LOG)),
            offset_index: SealedIndex::new::<OffsetEntry>(
                pool,
                path(extension::OFFSET_INDEX),
                base_offset,
                offset_index_bytes,
            ),
            time_index: SealedIndex::new::<TimeEntry>(pool, path(extension::TIME_INDEX), base_offset, time_index_bytes),
            largest_timestamp: OnceLock::new(),
            last_append_ms: sizes.modified_ms,
            verified: Arc::new(Verified::new(sizes.log_bytes, checked_from..sizes.log_bytes)),
            caches: SealedCaches::default(),
        }
    }

    /// The same segment, whose files lay there when the broker started: this is what its indexes had when they were saved.
    pub(super) fn with_checksums(mut self, on_record: SegmentChecksums) -> SealedSegment {
        self.caches = SealedCaches::on_record(on_record);
        self
    }

    /// Bytes of its offset index and of its time index.
    pub(super) fn index_sizes(&self) -> [u64; 2] {
        [self.offset_index.size_bytes::<OffsetEntry>(), self.time_index.size_bytes::<TimeEntry>()]
    }

    /// Holds what was found in the files of its indexes against what is known of them, whatever was found before. What nothing is
    /// known of is on record from now on.
    pub(super) fn compare_caches(&self, found: FoundIndexes) -> Soundness {
        let all = found.of_batches.map(|[offset_index, time_index]| SegmentChecksums {
            offset_index,
            time_index,
            transaction_index: found.transaction_index,
        });
        let sound = self.caches.checksums(|| all.ok_or_else(|| io::ErrorKind::NotFound.into()));
        let soundness = Soundness {
            indexes: sound.is_some_and(|sound| found.of_batches == Some([sound.offset_index, sound.time_index])),
            // Also where nothing is on record for the others any more.
            transaction_index: self
                .caches
                .last_known()
                .is_none_or(|known| known.transaction_index == found.transaction_index),
        };
        if !soundness.indexes || !soundness.transaction_index {
            self.caches.distrust();
        }
        soundness
    }

    /// The same segment with other offset and time indexes, just built; its transaction index has this, unless another is known.
    pub(super) fn with_indexes(
        &self,
        pool: &Arc<OpenFiles>,
        dir: &Path,
        built: SegmentChecksums,
        transaction_index: Checksum,
    ) -> SealedSegment {
        let sizes = SegmentSizes {
            log_bytes: self.size_bytes,
            offset_index_bytes: Some(built.offset_index.len),
            time_index_bytes: Some(built.time_index.len),
            modified_ms: self.last_append_ms,
        };
        let transaction_index = self.caches.last_known().map_or(transaction_index, |known| known.transaction_index);
        let on_record = SegmentChecksums { transaction_index, ..built };
        let segment = SealedSegment::new(pool, dir, self.base_offset, self.next_offset, sizes, 0);
        SealedSegment { verified: Arc::clone(&self.verified), ..segment.with_checksums(on_record) }
    }

    /// Whether the time index is what it was when it was saved: found out when it is first asked for.
    fn time_index_is_sound(&self) -> io::Result<bool> {
        self.caches.time_index_is_sound(|| self.time_index.read_all::<TimeEntry>())
    }

    /// What its indexes contain; `None` if one of them is damaged, or cannot be read.
    pub(super) fn checksums(&self, dir: &Path) -> Option<SegmentChecksums> {
        self.caches.checksums(|| self.read_checksums(dir))
    }

    fn read_checksums(&self, dir: &Path) -> io::Result<SegmentChecksums> {
        let transaction_index = segment_path(dir, self.base_offset, extension::TRANSACTION_INDEX);
        let transaction_index = read_file(self.file.vfs(), &transaction_index, self.size_bytes)?;
        Ok(SegmentChecksums {
            offset_index: Checksum::of(&self.offset_index.read_all::<OffsetEntry>()?),
            time_index: Checksum::of(&self.time_index.read_all::<TimeEntry>()?),
            transaction_index: Checksum::of(&transaction_index.unwrap_or_default()),
        })
    }
}
