//! The segment at the end of the log: it grows.
//!
//! Owns what is published of it, and the cadence of its index entries. Does not decide when it is full (the log does).
//!
//! Invariant: the bytes `0..size` are whole batches, published together with the offset that follows them in one atomic word: a
//! reader sees a size and an end offset that belong together.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::sealed::SealedSegment;
use super::{SegmentEnd, extension, segment_path};
use crate::storage::batch_header::BatchHeader;
use crate::storage::cache_checksums::{Checksum, SegmentChecksums};
use crate::storage::error::StorageError;
use crate::storage::index::{GrowingIndex, IndexEntry, OffsetEntry, SealedIndex, TimeEntry};
use crate::storage::open_files::{LazyFile, OpenFiles};
use crate::storage::recovery::INDEX_BYTES_MAX;
use crate::storage::sealed_caches::SealedCaches;
use crate::storage::txn_index::{self, AbortedTxn, KeptNames};
use crate::storage::verified::Verified;
use crate::storage::vfs::{Vfs, VfsFile, read_file};
use crate::types::Offset;

/// The segment at the end of the log. One thread at a time appends (the log's writer); any number reads.
#[derive(Debug)]
pub(in crate::storage) struct ActiveSegment {
    pub(in crate::storage) base_offset: Offset,
    pub(in crate::storage) path: PathBuf,
    pub(in crate::storage) file: Arc<dyn VfsFile>,
    pub(in crate::storage) offset_index: GrowingIndex,
    pub(in crate::storage) time_index: GrowingIndex,
    /// Size in the upper half, next offset less base offset in the lower.
    end: AtomicU64,
    pub(super) largest_timestamp: Mutex<Option<TimeEntry>>,
    /// The broker's clock at the last append; [`NEVER_MS`] where nothing tells.
    last_append_ms: AtomicI64,
    pub(in crate::storage) verified: Arc<Verified>,
    /// Kept when it is sealed and replaced, for those who hold on to it as it is now.
    pub(super) aborted: Arc<KeptNames>,
}

/// The time of what has not happened.
const NEVER_MS: i64 = i64::MIN;

/// What only the writer needs to know of the active segment.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::storage) struct Cadence {
    /// Bytes appended since the last index entry.
    pub(in crate::storage) bytes_since_entry: u32,
    /// The timestamp of the last entry of the time index.
    pub(in crate::storage) last_time_entry: Option<i64>,
    /// The largest timestamp of the first batch: what the age of a segment is counted from.
    pub(in crate::storage) first_timestamp: Option<i64>,
    /// When the segment was created, or last written before it was opened, in milliseconds since 1970.
    pub(in crate::storage) created_ms: i64,
}

/// What recovery, or nothing at all for a new one, knows about the content of a segment.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::storage) struct SegmentContent {
    pub(in crate::storage) size_bytes: u64,
    pub(in crate::storage) next_offset: Option<Offset>,
    pub(in crate::storage) largest_timestamp: Option<TimeEntry>,
    /// What is in the files of its offset and time index.
    pub(in crate::storage) indexes: SegmentChecksums,
    /// From where on the batches were checked; what lies before is checked when it is first read.
    pub(in crate::storage) checked_from: u64,
    /// When it was last appended to, as its file says.
    pub(in crate::storage) last_append_ms: Option<i64>,
}

impl ActiveSegment {
    /// Goes on writing to a segment with this content.
    pub(in crate::storage) fn new(
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
            aborted: Arc::default(),
        };
        let next_offset = content.next_offset.unwrap_or(base_offset);
        segment.publish_end(SegmentEnd { size_bytes: content.size_bytes, next_offset });
        segment
    }

    pub(in crate::storage) fn end(&self) -> SegmentEnd {
        let end = self.end.load(Ordering::Acquire);
        SegmentEnd { size_bytes: end >> 32, next_offset: self.base_offset.plus((end & u64::from(u32::MAX)) as i64) }
    }

    pub(in crate::storage) fn last_append_ms(&self) -> Option<i64> {
        Some(self.last_append_ms.load(Ordering::Relaxed)).filter(|ms| *ms != NEVER_MS)
    }

    fn publish_end(&self, end: SegmentEnd) {
        let relative = (end.next_offset.0 - self.base_offset.0) as u64;
        assert!(end.size_bytes <= u64::from(u32::MAX) && relative <= u64::from(u32::MAX), "a segment is rolled before");
        self.end.store(end.size_bytes << 32 | relative, Ordering::Release);
    }

    /// Makes a batch visible whose bytes were written at the end. Writer only.
    pub(in crate::storage) fn publish(
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
    pub(in crate::storage) fn save_indexes(&self, vfs: &dyn Vfs, cadence: &mut Cadence) -> io::Result<()> {
        self.push_time_entry(vfs, cadence);
        self.offset_index.save::<OffsetEntry>(vfs)?;
        self.time_index.save::<TimeEntry>(vfs)
    }

    /// The aborted transactions whose markers lie in it, from an index of at most `limit_bytes`.
    ///
    /// # Errors
    /// The index cannot be read.
    pub(in crate::storage) fn aborted(
        &self,
        vfs: &dyn Vfs,
        dir: &Path,
        limit_bytes: u64,
    ) -> Result<Vec<AbortedTxn>, StorageError> {
        self.aborted.or_read(|| {
            let path = segment_path(dir, self.base_offset, extension::TRANSACTION_INDEX);
            txn_index::read(vfs, &path, limit_bytes).map_err(StorageError::io("read", &path))
        })
    }

    /// What is in the files of its indexes.
    ///
    /// # Errors
    /// The transaction index cannot be read.
    pub(in crate::storage) fn checksums(&self, vfs: &dyn Vfs, dir: &Path) -> io::Result<SegmentChecksums> {
        let transaction_index = segment_path(dir, self.base_offset, extension::TRANSACTION_INDEX);
        let transaction_index = read_file(vfs, &transaction_index, INDEX_BYTES_MAX)?.unwrap_or_default();
        Ok(SegmentChecksums {
            offset_index: self.offset_index.saved(),
            time_index: self.time_index.saved(),
            transaction_index: Checksum::of(&transaction_index),
        })
    }

    /// Freezes the segment, whose indexes were saved.
    pub(in crate::storage) fn seal(&self, pool: &Arc<OpenFiles>, dir: &Path) -> SealedSegment {
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
            first_timestamp: OnceLock::new(),
            verified: Arc::clone(&self.verified),
            aborted: Arc::clone(&self.aborted),
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
