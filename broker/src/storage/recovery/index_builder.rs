//! Builds the two indexes of a segment from its batches, as appending them one by one would have.

use std::io;
use std::path::Path;

use super::scan::{Event, Scan, ScanStart};
use crate::storage::batch_header::BatchHeader;
use crate::storage::batch_scan::{BatchCursor, SEARCH_BLOCK_BYTES, Step};
use crate::storage::cache_checksums::{Checksum, SegmentChecksums};
use crate::storage::error::StorageError;
use crate::storage::index::{IndexEntry, OffsetEntry, TimeEntry};
use crate::storage::segment::{Cadence, SegmentEnd, extension, segment_path};
use crate::storage::vfs::{Access, Vfs, VfsFile, read_file, replace_file, write_all_at};
use crate::types::{LeaderEpoch, Offset};

/// The largest index: `segment.index.bytes` is an i32.
pub(in crate::storage) const INDEX_BYTES_MAX: u64 = i32::MAX as u64;

/// The indexes of one segment up to some batch.
#[derive(Debug, Default)]
pub(in crate::storage) struct IndexBuilder {
    pub(in crate::storage) offset_entries: Vec<OffsetEntry>,
    pub(in crate::storage) time_entries: Vec<TimeEntry>,
    pub(super) largest_timestamp: Option<TimeEntry>,
    pub(super) cadence: Cadence,
}

/// Where the batches start that are not in the indexes yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resume {
    pub(super) position: u64,
    pub(super) next_offset: Offset,
}

/// How far the index files of a segment may be believed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trust {
    /// Entries that speak of offsets from here on are not.
    pub(super) below: Offset,
    /// What the files had when they were saved; nothing behind it is believed.
    pub(super) on_record: Option<SegmentChecksums>,
}

impl IndexBuilder {
    /// Takes note of a batch that follows the others. The same rules as in `ActiveSegment::publish`.
    pub(in crate::storage) fn push(&mut self, position: u64, header: &BatchHeader, index_interval_bytes: u32) {
        if self.largest_timestamp.is_none_or(|largest| header.max_timestamp > largest.timestamp) {
            self.largest_timestamp = Some(TimeEntry { timestamp: header.max_timestamp, offset: header.last_offset() });
        }
        if self.cadence.bytes_since_entry > index_interval_bytes {
            self.offset_entries.push(OffsetEntry { offset: header.last_offset(), position: position as u32 });
            self.push_time_entry();
            self.cadence.bytes_since_entry = 0;
        }
        self.cadence.bytes_since_entry = self.cadence.bytes_since_entry.saturating_add(header.size_bytes);
        self.cadence.first_timestamp.get_or_insert(header.max_timestamp);
    }

    /// The last entry of a sealed segment's time index is the largest timestamp of all.
    pub(in crate::storage) fn push_time_entry(&mut self) {
        let due = self.largest_timestamp.filter(|l| self.cadence.last_time_entry.is_none_or(|last| l.timestamp > last));
        if let Some(largest) = due {
            self.time_entries.push(largest);
            self.cadence.last_time_entry = Some(largest.timestamp);
        }
    }

    /// Takes the entries of the files that may be believed, if they are in order and the last of them leads to the batch it
    /// names. Else, or if there are none, the whole segment is to be read.
    pub(super) fn from_files(
        vfs: &dyn Vfs,
        dir: &Path,
        base: Offset,
        file: &dyn VfsFile,
        size_bytes: u64,
        trust: Trust,
    ) -> (IndexBuilder, Resume) {
        let whole = || (IndexBuilder::default(), Resume { position: 0, next_offset: base });
        let read = |extension| read_file(vfs, &segment_path(dir, base, extension), INDEX_BYTES_MAX).ok().flatten();
        let (Some(offset_bytes), Some(time_bytes)) = (read(extension::OFFSET_INDEX), read(extension::TIME_INDEX))
        else {
            return whole();
        };
        let Some(on_record) = trust.on_record else { return whole() };
        let (Some(offset_bytes), Some(time_bytes)) =
            (on_record.offset_index.prefix_of(&offset_bytes), on_record.time_index.prefix_of(&time_bytes))
        else {
            return whole();
        };
        let mut offset_entries: Vec<OffsetEntry> = decode(offset_bytes, base);
        offset_entries.truncate(offset_entries.partition_point(|entry| entry.offset < trust.below));
        let Some(last) = offset_entries.last().copied() else { return whole() };
        let mut time_entries: Vec<TimeEntry> = decode(time_bytes, base);
        time_entries.truncate(time_entries.partition_point(|entry| entry.offset <= last.offset));
        let Some(largest) = time_entries.last().copied() else { return whole() };
        let in_order = offset_entries.is_sorted_by(|a, b| a.offset < b.offset && a.position < b.position)
            && time_entries.is_sorted_by(|a, b| a.timestamp < b.timestamp && a.offset < b.offset)
            && time_entries.iter().all(|entry| entry.offset >= base);
        let mut cursor = BatchCursor::new(file, u64::from(last.position), size_bytes, SEARCH_BLOCK_BYTES);
        let Ok(Step::Batch { position, header }) = cursor.next() else { return whole() };
        let mut first = BatchCursor::new(file, 0, size_bytes, SEARCH_BLOCK_BYTES);
        let Ok(Step::Batch { header: first, .. }) = first.next() else { return whole() };
        let before = offset_entries.partition_point(|entry| entry.offset < largest.offset).checked_sub(1);
        let near_largest = before.map_or(0, |index| u64::from(offset_entries[index].position));
        let largest_is_right = header.max_timestamp <= largest.timestamp
            && timestamp_at(file, near_largest, size_bytes, largest.offset) == Some(largest.timestamp);
        if !in_order || !largest_is_right || header.last_offset() != last.offset || first.base_offset != base {
            return whole();
        }
        let builder = IndexBuilder {
            offset_entries,
            time_entries,
            largest_timestamp: Some(largest),
            cadence: Cadence {
                bytes_since_entry: header.size_bytes,
                last_time_entry: Some(largest.timestamp),
                first_timestamp: Some(first.max_timestamp),
                created_ms: 0,
            },
        };
        let position = position + u64::from(header.size_bytes);
        (builder, Resume { position, next_offset: header.next_offset() })
    }

    /// What the files have once they were written.
    pub(in crate::storage) fn checksums(&self, base: Offset) -> SegmentChecksums {
        SegmentChecksums {
            offset_index: Checksum::of(&encode(&self.offset_entries, base)),
            time_index: Checksum::of(&encode(&self.time_entries, base)),
            transaction_index: Checksum::default(),
        }
    }

    /// Brings the files to what was built. Returns how many were not so already. Durable when it returns, save for a segment that
    /// is still to grow: the next checkpoint makes its indexes durable, and what a crash leaves of them does not fit their checksum.
    /// Such a segment may do without an index that has no entry.
    pub(in crate::storage) fn write(
        &self,
        vfs: &dyn Vfs,
        dir: &Path,
        base: Offset,
        grows: bool,
    ) -> Result<usize, StorageError> {
        // The time index first: which of its entries count is told by the offset index.
        let times = write_file(vfs, dir, base, extension::TIME_INDEX, &self.time_entries, grows)?;
        let offsets = write_file(vfs, dir, base, extension::OFFSET_INDEX, &self.offset_entries, grows)?;
        Ok(usize::from(times) + usize::from(offsets))
    }

    /// Writes the files of a segment that has none yet. Not durable: what a power cut takes of them, or tears, does not fit what
    /// is on record of them, and is built again.
    pub(in crate::storage) fn create_files(&self, vfs: &dyn Vfs, dir: &Path, base: Offset) -> Result<(), StorageError> {
        let create = |extension, bytes: &[u8]| {
            let path = segment_path(dir, base, extension);
            let file = vfs.open(&path, Access::CreateNew).map_err(StorageError::io("create", &path))?;
            write_all_at(&*file, bytes, &[], 0).map_err(StorageError::io("write", &path))
        };
        create(extension::TIME_INDEX, &encode(&self.time_entries, base))?;
        create(extension::OFFSET_INDEX, &encode(&self.offset_entries, base))
    }
}

/// Builds the indexes of a sealed segment that is in use, from all of its batches that are good.
///
/// # Errors
/// The segment cannot be read.
pub(in crate::storage) fn build_indexes(
    file: &dyn VfsFile,
    base: Offset,
    end: SegmentEnd,
    index_interval_bytes: u32,
) -> io::Result<IndexBuilder> {
    let start = ScanStart {
        segment_base: base,
        position: 0,
        expected: base,
        limit: Some(end.next_offset),
        epoch: LeaderEpoch::NONE,
        epoch_behind: None,
        epochs: None,
    };
    let mut scan = Scan::new(file, end.size_bytes, start);
    let mut builder = IndexBuilder::default();
    loop {
        match scan.next()? {
            Event::Batch { position, header } => builder.push(position, &header, index_interval_bytes),
            Event::Damage(_) => {}
            Event::Tail { .. } | Event::End => break,
        }
    }
    builder.push_time_entry();
    Ok(builder)
}

/// The largest timestamp of the batch that ends with `last_offset`, looked for from `position` on.
fn timestamp_at(file: &dyn VfsFile, position: u64, size_bytes: u64, last_offset: Offset) -> Option<i64> {
    let mut cursor = BatchCursor::new(file, position, size_bytes, SEARCH_BLOCK_BYTES);
    loop {
        match cursor.next() {
            Ok(Step::Batch { header, .. }) if header.last_offset() < last_offset => {}
            Ok(Step::Batch { header, .. }) if header.last_offset() == last_offset => return Some(header.max_timestamp),
            _ => return None,
        }
    }
}

pub(in crate::storage) fn decode<E: IndexEntry>(bytes: &[u8], base: Offset) -> Vec<E> {
    bytes.chunks_exact(E::BYTES).map(|entry| E::decode(entry, base)).collect()
}

fn encode<E: IndexEntry>(entries: &[E], base: Offset) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * E::BYTES);
    entries.iter().for_each(|entry| entry.encode(base, &mut bytes));
    bytes
}

fn write_file<E: IndexEntry>(
    vfs: &dyn Vfs,
    dir: &Path,
    base: Offset,
    extension: &str,
    entries: &[E],
    grows: bool,
) -> Result<bool, StorageError> {
    let path = segment_path(dir, base, extension);
    let bytes = encode(entries, base);
    match read_file(vfs, &path, INDEX_BYTES_MAX) {
        Ok(Some(there)) if there == bytes => return Ok(false),
        Ok(None) if bytes.is_empty() && grows => return Ok(false),
        _ => {}
    }
    let written = match grows {
        true => vfs.open(&path, Access::CreateOrKeep).and_then(|file| {
            file.set_len(0)?;
            write_all_at(&*file, &bytes, &[], 0)
        }),
        false => replace_file(vfs, &path, &bytes),
    };
    written.map_err(StorageError::io("replace", &path))?;
    Ok(true)
}
