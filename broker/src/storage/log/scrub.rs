//! Scrubbing: every sealed byte is checked now and then, also what nobody reads, so that a bad disk is noticed while there is
//! still a copy elsewhere.
//!
//! Owns the check of one sealed segment and its indexes. Does not decide which segment is next, nor how fast (the scrubber does).
//! Damaged batches are told once, at ERROR, and refused from then on; a damaged index is built again.
//!
//! Invariants: no lock is held while anything is read, and every byte passes the throttle before it is read, also those of a search
//! for damage and of an index that is built again. Files are read by handles of their own, so that the scrub neither fills the page
//! cache nor takes the handles of readers, and a segment that is deleted or replaced meanwhile is let go within one read.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::{Log, Segments};
use crate::storage::cache_checksums::Checksum;
use crate::storage::error::StorageError;
use crate::storage::recovery::{self, INDEX_BYTES_MAX};
use crate::storage::segment::{FoundIndexes, SealedSegment, SegmentEnd, Soundness, extension, segment_path};
use crate::storage::throttle::Throttle;
use crate::storage::vfs::{Access, FileInFront, VfsFile, read_up_to_at};
use crate::types::Offset;

/// What the scrub of one segment came to.
#[derive(Debug)]
pub struct ScrubbedSegment {
    /// Where the scrub of the log goes on.
    pub next: Offset,
    /// Bytes of batches that were checked.
    pub checked_bytes: u64,
    /// Ranges of offsets that were found to be damaged now, not earlier.
    pub damaged_ranges: usize,
    /// An index was damaged, and was built again.
    pub index_rebuilt: bool,
    /// What could not be checked, or not be built again.
    pub error: Option<StorageError>,
}

/// The files of a segment that is scrubbed.
struct ScrubbedFiles<'a> {
    log: ScrubbedFile<'a>,
    /// Offset, time and transaction index; `None` where there is no file.
    indexes: [Option<ScrubbedFile<'a>>; 3],
}

/// A file that is read at the scrub's pace, for as long as its segment is part of the log.
struct ScrubbedFile<'a> {
    file: Arc<dyn VfsFile>,
    log: &'a Log,
    segment: &'a Arc<SealedSegment>,
    throttle: &'a dyn Throttle,
}

/// Why a read was not made.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    #[error("the scrub is to stop")]
    Stopped,
    #[error("the segment is no longer part of the log")]
    Gone,
}

impl Log {
    /// Checks the first sealed segment that begins at or behind `from`, and its indexes. `None` at the end of the log.
    ///
    /// # Errors
    /// The log was closed, or the scrub is to stop. What else goes wrong concerns one segment, and is in the result.
    pub fn scrub_next(&self, from: Offset, throttle: &dyn Throttle) -> Result<Option<ScrubbedSegment>, StorageError> {
        self.check_open()?;
        let segments = self.segments.load_full();
        let first = segments.sealed.partition_point(|segment| segment.base_offset < from);
        let Some(segment) = segments.sealed.get(first) else { return Ok(None) };
        let mut scrubbed = ScrubbedSegment {
            next: segment.next_offset,
            checked_bytes: 0,
            damaged_ranges: 0,
            index_rebuilt: false,
            error: None,
        };
        match self.scrub_segment(segment, throttle, &mut scrubbed) {
            Ok(()) => {}
            Err(StorageError::Io { source, .. }) if is(&source, |why| matches!(why, Interruption::Stopped)) => {
                return Err(StorageError::Stopped);
            }
            Err(StorageError::Io { source, .. }) if is(&source, |why| matches!(why, Interruption::Gone)) => {
                self.check_open()?;
            }
            Err(error) => scrubbed.error = Some(error),
        }
        Ok(Some(scrubbed))
    }

    fn scrub_segment(
        &self,
        segment: &Arc<SealedSegment>,
        throttle: &dyn Throttle,
        scrubbed: &mut ScrubbedSegment,
    ) -> Result<(), StorageError> {
        let Some(files) = self.open_to_scrub(segment, throttle)? else { return Ok(()) };
        let end = SegmentEnd { size_bytes: segment.size_bytes, next_offset: segment.next_offset };
        let found = recovery::find_damage(&files.log, segment.base_offset, end, &self.epochs());
        let batches = found.map_err(StorageError::io("check", segment.file.path())).map(|found| {
            scrubbed.checked_bytes = end.size_bytes;
            let _alone = self.restructuring.lock();
            if self.has(segment) {
                segment.verified.add(0..end.size_bytes);
                scrubbed.damaged_ranges = self.note_ranges(segment.file.path(), segment.base_offset, &found);
            }
        });
        // Also where a batch cannot be read: the indexes lie elsewhere on the disk.
        let indexes = self.scrub_indexes(segment, &files, end).map(|rebuilt| scrubbed.index_rebuilt = rebuilt);
        batches.and(indexes)
    }

    /// Opens the files of a segment, unless it is gone. Under the lock, so that none of them is that of another segment.
    fn open_to_scrub<'a>(
        &'a self,
        segment: &'a Arc<SealedSegment>,
        throttle: &'a dyn Throttle,
    ) -> Result<Option<ScrubbedFiles<'a>>, StorageError> {
        let _alone = self.restructuring.lock();
        if !self.has(segment) {
            return Ok(None);
        }
        let open = |extension| {
            let path = segment_path(&self.dir, segment.base_offset, extension);
            match self.vfs().open(&path, Access::ReadOnce) {
                Ok(file) => Ok(Some(ScrubbedFile { file, log: self, segment, throttle })),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(StorageError::io("open", &path)(error)),
            }
        };
        let Some(log) = open(extension::LOG)? else {
            let path = segment.file.path();
            return Err(StorageError::Damaged { path: path.to_owned(), what: "the file is gone".to_owned() });
        };
        let indexes =
            [open(extension::OFFSET_INDEX)?, open(extension::TIME_INDEX)?, open(extension::TRANSACTION_INDEX)?];
        Ok(Some(ScrubbedFiles { log, indexes }))
    }

    /// Whether an index had to be built again.
    fn scrub_indexes(
        &self,
        segment: &Arc<SealedSegment>,
        files: &ScrubbedFiles<'_>,
        end: SegmentEnd,
    ) -> Result<bool, StorageError> {
        let found = read_indexes(segment, files);
        let found = found.map_err(StorageError::io("read an index of", segment.file.path()))?;
        let soundness = segment.compare_caches(found);
        if !soundness.transaction_index {
            tracing::error!(log = %self.topic_partition, segment = %segment.base_offset, "the index of aborted transactions is damaged: restart the broker, which builds it again");
        }
        if soundness.indexes {
            return Ok(false);
        }
        tracing::warn!(log = %self.topic_partition, segment = %segment.base_offset, "an index is damaged: building it again");
        self.rebuild_indexes(segment, files, end, (found, soundness))
    }

    /// Reads a segment and writes its offset index and time index anew, unless it is gone meanwhile.
    fn rebuild_indexes(
        &self,
        segment: &Arc<SealedSegment>,
        files: &ScrubbedFiles<'_>,
        end: SegmentEnd,
        (found, soundness): (FoundIndexes, Soundness),
    ) -> Result<bool, StorageError> {
        let interval = self.config().index_interval_bytes;
        let built = recovery::build_indexes(&files.log, segment.base_offset, end, interval);
        let built = built.map_err(StorageError::io("read", segment.file.path()))?;
        let _alone = self.restructuring.lock();
        self.check_usable()?;
        if !self.has(segment) {
            return Ok(false);
        }
        built.write(self.vfs(), &self.dir, segment.base_offset, false)?;
        let checksums = built.checksums(segment.base_offset);
        let rebuilt = segment.with_indexes(&self.context.open_files, &self.dir, checksums, found.transaction_index);
        if !soundness.transaction_index {
            // Stays wrong: the next start is to find nothing on record.
            rebuilt.caches.distrust();
        }
        let rebuilt = Arc::new(rebuilt);
        let _writer = self.writer.lock();
        let segments = self.segments.load_full();
        let replaced = |there: &Arc<SealedSegment>| match Arc::ptr_eq(there, segment) {
            true => Arc::clone(&rebuilt),
            false => Arc::clone(there),
        };
        let sealed = segments.sealed.iter().map(replaced).collect();
        self.segments.store(Arc::new(Segments { sealed, active: Arc::clone(&segments.active) }));
        Ok(true)
    }

    /// Whether a segment is still part of the log. For longer than a moment only while `restructuring` is held.
    fn has(&self, segment: &Arc<SealedSegment>) -> bool {
        let segments = self.segments.load();
        let at = segments.sealed.binary_search_by_key(&segment.base_offset, |there| there.base_offset);
        !self.is_closed() && at.is_ok_and(|at| Arc::ptr_eq(&segments.sealed[at], segment))
    }
}

fn read_indexes(segment: &SealedSegment, files: &ScrubbedFiles<'_>) -> io::Result<FoundIndexes> {
    let [offset_bytes, time_bytes] = segment.index_sizes();
    // As many bytes as there were when it was written: what is behind them nobody looks at.
    let read = |file: &Option<ScrubbedFile<'_>>, len: u64| {
        let mut bytes = vec![0; len as usize];
        let read = match file {
            Some(file) => read_up_to_at(file, &mut bytes, 0)?,
            None => 0,
        };
        Ok::<_, io::Error>((read == bytes.len()).then(|| Checksum::of(&bytes)))
    };
    let [offset_index, time_index, transaction_index] = &files.indexes;
    let transaction_bytes = match transaction_index {
        Some(file) => file.len()?.min(INDEX_BYTES_MAX),
        None => 0,
    };
    let (offset_index, time_index) = (read(offset_index, offset_bytes)?, read(time_index, time_bytes)?);
    Ok(FoundIndexes {
        of_batches: offset_index.zip(time_index).map(|(offset_index, time_index)| [offset_index, time_index]),
        transaction_index: read(transaction_index, transaction_bytes)?.unwrap_or_default(),
    })
}

/// Whether a read was not made for this reason.
fn is(error: &io::Error, reason: impl FnOnce(&Interruption) -> bool) -> bool {
    error.get_ref().and_then(|error| error.downcast_ref()).is_some_and(reason)
}

impl FileInFront for ScrubbedFile<'_> {
    fn behind(&self) -> &dyn VfsFile {
        &*self.file
    }

    fn read_in_front(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        if self.throttle.pass(buffer.len() as u64).is_err() {
            return Err(io::Error::other(Interruption::Stopped));
        }
        if !self.log.has(self.segment) {
            return Err(io::Error::other(Interruption::Gone));
        }
        self.file.read_at(buffer, position)
    }
}

impl fmt::Debug for ScrubbedFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScrubbedFile").field("file", &self.file).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "scrub_test.rs"]
mod tests;
