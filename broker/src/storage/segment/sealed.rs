//! A segment that never changes again, and what its indexes are held against.
//!
//! Owns its files through the bounded set of open ones, and the comparison of what is in its indexes with what was saved. Does not
//! rebuild them (recovery and the scrub do).
//!
//! Invariant: batches and offsets are what they were when it was sealed; whatever replaces it is another one.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::{extension, segment_path};
use crate::storage::batch_scan::{BatchCursor, SEARCH_BLOCK_BYTES, Step};
use crate::storage::cache_checksums::{Checksum, SegmentChecksums};
use crate::storage::error::StorageError;
use crate::storage::index::{OffsetEntry, SealedIndex, TimeEntry};
use crate::storage::open_files::{LazyFile, OpenFiles};
use crate::storage::recovery::INDEX_BYTES_MAX;
use crate::storage::sealed_caches::SealedCaches;
use crate::storage::txn_index::{self, AbortedTxn, KeptNames};
use crate::storage::verified::Verified;
use crate::storage::vfs::read_file;
use crate::types::Offset;

/// Batches at the begin of a segment that are asked for their time.
const BATCHES_LOOKED_AT: usize = 64;

/// A segment that never changes again.
#[derive(Debug)]
pub(in crate::storage) struct SealedSegment {
    pub(in crate::storage) base_offset: Offset,
    /// The base offset of the segment that follows.
    pub(in crate::storage) next_offset: Offset,
    pub(in crate::storage) size_bytes: u64,
    pub(in crate::storage) file: LazyFile,
    pub(in crate::storage) offset_index: SealedIndex,
    pub(in crate::storage) time_index: SealedIndex,
    /// Read from the time index when it is first asked for.
    pub(super) largest_timestamp: OnceLock<Option<TimeEntry>>,
    pub(super) last_append_ms: Option<i64>,
    /// Read from the first batch when it is first asked for.
    pub(super) first_timestamp: OnceLock<Option<i64>>,
    pub(in crate::storage) verified: Arc<Verified>,
    pub(super) aborted: Arc<KeptNames>,
    pub(in crate::storage) caches: SealedCaches,
}

/// What is in the files of a sealed segment's indexes.
#[derive(Debug, Clone, Copy)]
pub(in crate::storage) struct FoundIndexes {
    /// The offset index and the time index; `None` where one of them is missing or too short.
    pub(in crate::storage) of_batches: Option<[Checksum; 2]>,
    pub(in crate::storage) transaction_index: Checksum,
}

/// Which indexes of a segment are what they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::storage) struct Soundness {
    /// The offset index and the time index.
    pub(in crate::storage) indexes: bool,
    pub(in crate::storage) transaction_index: bool,
}

/// The sizes of a segment's files, as a folder lists them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::storage) struct SegmentSizes {
    pub(in crate::storage) log_bytes: u64,
    pub(in crate::storage) offset_index_bytes: Option<u64>,
    pub(in crate::storage) time_index_bytes: Option<u64>,
    /// When the log file was last written; `None` where nothing tells.
    pub(in crate::storage) modified_ms: Option<i64>,
}

/// When any of these was last appended to, in milliseconds since 1970; `None` where nothing tells.
pub(in crate::storage) fn last_append_ms(segments: &[Arc<SealedSegment>]) -> Option<i64> {
    segments.iter().filter_map(|segment| segment.last_append_ms).max()
}

impl SealedSegment {
    /// Keeps its files open, because another segment is about to get its name: who reads this one notices nothing.
    pub(in crate::storage) fn pin(&self) -> io::Result<()> {
        self.file.pin()?;
        self.offset_index.pin()?;
        self.time_index.pin()
    }

    /// The aborted transactions whose markers lie in it, from an index of at most `limit_bytes`.
    ///
    /// # Errors
    /// The index cannot be read.
    pub(in crate::storage) fn aborted(&self, dir: &Path, limit_bytes: u64) -> Result<Vec<AbortedTxn>, StorageError> {
        let aborted = self.aborted.or_read(|| {
            let path = segment_path(dir, self.base_offset, extension::TRANSACTION_INDEX);
            txn_index::read(self.file.vfs(), &path, limit_bytes).map_err(StorageError::io("read", &path))
        })?;
        if aborted.is_empty() {
            self.aborted.keep_none();
        }
        Ok(aborted)
    }

    /// The aborted transactions that its index names, which is about to change for the same reason: kept in memory from now on.
    ///
    /// # Errors
    /// The index cannot be read.
    pub(in crate::storage) fn keep_aborted(&self, dir: &Path) -> Result<&[AbortedTxn], StorageError> {
        let path = segment_path(dir, self.base_offset, extension::TRANSACTION_INDEX);
        let kept = self.aborted.keep(self.file.vfs(), &path, INDEX_BYTES_MAX);
        kept.map_err(StorageError::io("read", &path))
    }

    /// Its transaction index may have been made that of a segment which does not take its place after all: that is no damage.
    ///
    /// # Errors
    /// It cannot be read.
    pub(in crate::storage) fn note_transaction_index(&self, dir: &Path, joined: Checksum) -> Result<(), StorageError> {
        let path = segment_path(dir, self.base_offset, extension::TRANSACTION_INDEX);
        let there = read_file(self.file.vfs(), &path, INDEX_BYTES_MAX).map_err(StorageError::io("read", &path))?;
        if Checksum::of(&there.unwrap_or_default()) == joined {
            self.caches.note_transaction_index(joined);
        }
        Ok(())
    }

    /// Bytes of its log and its indexes: what a segment in its place takes at most.
    pub(in crate::storage) fn file_bytes(&self) -> u64 {
        self.size_bytes + self.index_sizes().iter().sum::<u64>()
    }

    /// Bytes of its indexes, the larger of the two.
    pub(in crate::storage) fn index_bytes(&self) -> u64 {
        let [offset_bytes, time_bytes] = self.index_sizes();
        offset_bytes.max(time_bytes)
    }

    /// A segment whose indexes are there and were found in order.
    pub(in crate::storage) fn new(
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
            first_timestamp: OnceLock::new(),
            verified: Arc::new(Verified::new(sizes.log_bytes, checked_from..sizes.log_bytes)),
            aborted: Arc::default(),
            caches: SealedCaches::default(),
        }
    }

    /// The same segment, whose files lay there when the broker started: this is what its indexes had when they were saved.
    pub(in crate::storage) fn with_checksums(mut self, on_record: SegmentChecksums) -> SealedSegment {
        self.caches = SealedCaches::on_record(on_record);
        self
    }

    /// Bytes of its offset index and of its time index.
    pub(in crate::storage) fn index_sizes(&self) -> [u64; 2] {
        [self.offset_index.size_bytes::<OffsetEntry>(), self.time_index.size_bytes::<TimeEntry>()]
    }

    /// Holds what was found in the files of its indexes against what is known of them, whatever was found before. What nothing is
    /// known of is on record from now on.
    pub(in crate::storage) fn compare_caches(&self, found: FoundIndexes) -> Soundness {
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
    pub(in crate::storage) fn with_indexes(
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
        let (verified, aborted) = (Arc::clone(&self.verified), Arc::clone(&self.aborted));
        SealedSegment { verified, aborted, ..segment.with_checksums(on_record) }
    }

    /// The largest timestamp of the first batch that has one, among those at the begin; `None` where nothing tells.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(in crate::storage) fn first_timestamp(&self) -> io::Result<Option<i64>> {
        if let Some(known) = self.first_timestamp.get() {
            return Ok(*known);
        }
        let file = self.file.get()?;
        let mut cursor = BatchCursor::new(&*file, 0, self.size_bytes, SEARCH_BLOCK_BYTES);
        let mut first = None;
        // What compaction has emptied has no time.
        for _ in 0..BATCHES_LOOKED_AT {
            let Step::Batch { header, .. } = cursor.next()? else { break };
            first = Some(header.max_timestamp).filter(|timestamp| *timestamp >= 0);
            if first.is_some() {
                break;
            }
        }
        Ok(*self.first_timestamp.get_or_init(|| first))
    }

    /// Whether the time index is what it was when it was saved: found out when it is first asked for.
    pub(super) fn time_index_is_sound(&self) -> io::Result<bool> {
        self.caches.time_index_is_sound(|| self.time_index.read_all::<TimeEntry>())
    }

    /// What its indexes contain; `None` if one of them is damaged, or cannot be read.
    pub(in crate::storage) fn checksums(&self, dir: &Path) -> Option<SegmentChecksums> {
        self.caches.checksums(|| self.read_checksums(dir))
    }

    fn read_checksums(&self, dir: &Path) -> io::Result<SegmentChecksums> {
        let transaction_index = segment_path(dir, self.base_offset, extension::TRANSACTION_INDEX);
        let transaction_index = read_file(self.file.vfs(), &transaction_index, INDEX_BYTES_MAX)?;
        Ok(SegmentChecksums {
            offset_index: Checksum::of(&self.offset_index.read_all::<OffsetEntry>()?),
            time_index: Checksum::of(&self.time_index.read_all::<TimeEntry>()?),
            transaction_index: Checksum::of(&transaction_index.unwrap_or_default()),
        })
    }
}
