//! Holds the indexes of a segment against its batches, as these go by.
//!
//! An index is right if each of its entries leads to the batch that it names. Which batches have entries is not checked:
//! that depends on what `index.interval.bytes` was when they were written. Only the last entry of a sealed segment's time
//! index must be there, since the largest timestamp is taken from it.

use std::path::{Path, PathBuf};

use super::finding::Finding;
use crate::storage::batch_header::BatchHeader;
use crate::storage::error::StorageError;
use crate::storage::index::{IndexEntry, OffsetEntry, TimeEntry};
use crate::storage::recovery::{INDEX_BYTES_MAX, decode_index};
use crate::storage::segment::{extension, segment_path};
use crate::storage::vfs::{Vfs, read_file};
use crate::types::Offset;

pub(super) const REBUILT: &str = "the start builds it anew from the segment";

/// One index, and how far the batches have come in it.
struct Entries<E> {
    path: PathBuf,
    /// `None` if there is no file.
    entries: Option<Vec<E>>,
    next: usize,
    finding: Option<Finding>,
}

impl<E: IndexEntry> Entries<E> {
    fn read(vfs: &dyn Vfs, dir: &Path, base: Offset, extension: &str) -> Result<Entries<E>, StorageError> {
        let path = segment_path(dir, base, extension);
        let bytes = read_file(vfs, &path, INDEX_BYTES_MAX).map_err(StorageError::io("read", &path))?;
        let torn = bytes.as_ref().filter(|bytes| bytes.len() % E::BYTES != 0).map(|bytes| {
            let what = format!("{} bytes are no whole number of entries of {}", bytes.len(), E::BYTES);
            Finding::cache(path.clone(), what, REBUILT)
        });
        let entries = bytes.map(|bytes| decode_index(&bytes, base));
        Ok(Entries { path, entries, next: 0, finding: torn })
    }

    fn peek(&self) -> Option<E> {
        self.entries.as_ref()?.get(self.next).copied()
    }

    /// Only the first thing that is wrong is told: it spoils the file.
    fn note(&mut self, what: String) {
        let position = (self.next * E::BYTES) as u64;
        self.finding.get_or_insert_with(|| Finding::cache(self.path.clone(), what, REBUILT).at(position));
    }
}

/// Both indexes of one segment.
pub(super) struct IndexCheck {
    offsets: Entries<OffsetEntry>,
    times: Entries<TimeEntry>,
    largest: Option<TimeEntry>,
    /// Batches of the segment are damaged: what their timestamps were is not known.
    is_damaged: bool,
}

impl IndexCheck {
    pub(super) fn new(vfs: &dyn Vfs, dir: &Path, base: Offset) -> Result<IndexCheck, StorageError> {
        Ok(IndexCheck {
            offsets: Entries::read(vfs, dir, base, extension::OFFSET_INDEX)?,
            times: Entries::read(vfs, dir, base, extension::TIME_INDEX)?,
            largest: None,
            is_damaged: false,
        })
    }

    pub(super) fn see(&mut self, position: u64, header: &BatchHeader) {
        let last_offset = header.last_offset();
        if self.largest.is_none_or(|largest| header.max_timestamp > largest.timestamp) {
            self.largest = Some(TimeEntry { timestamp: header.max_timestamp, offset: last_offset });
        }
        while let Some(entry) = self.offsets.peek()
            && u64::from(entry.position) <= position
        {
            if u64::from(entry.position) < position || entry.offset != last_offset {
                let OffsetEntry { offset, position } = entry;
                self.offsets.note(format!("no batch at position {position} ends at offset {offset}"));
            }
            self.offsets.next += 1;
        }
        while let Some(entry) = self.times.peek()
            && entry.offset <= last_offset
        {
            let is_largest = self.is_damaged || self.largest == Some(entry);
            if entry.offset != last_offset || entry.timestamp != header.max_timestamp || !is_largest {
                let TimeEntry { timestamp, offset } = entry;
                self.times
                    .note(format!("{timestamp} is not the largest timestamp up to a batch that ends at {offset}"));
            }
            self.times.next += 1;
        }
    }

    /// Entries that lead into damage cannot be judged.
    pub(super) fn see_damage(&mut self, to: Offset, end_position: u64) {
        self.is_damaged = true;
        while self.offsets.peek().is_some_and(|entry| u64::from(entry.position) < end_position) {
            self.offsets.next += 1;
        }
        while self.times.peek().is_some_and(|entry| entry.offset < to) {
            self.times.next += 1;
        }
    }

    /// What is wrong, once all batches went by. The indexes of a segment that is still written to may lag behind it.
    pub(super) fn finish(mut self, is_active: bool) -> Vec<Finding> {
        if let Some(entry) = self.offsets.peek() {
            self.offsets.note(format!("an entry for offset {} leads behind the last batch", entry.offset));
        }
        if let Some(entry) = self.times.peek() {
            self.times.note(format!("an entry for offset {} leads behind the last batch", entry.offset));
        }
        if !is_active {
            let missing = "it is missing".to_owned();
            if self.offsets.entries.is_none() {
                self.offsets.note(missing.clone());
            }
            match &self.times.entries {
                None => self.times.note(missing),
                Some(entries) if !self.is_damaged && entries.last().copied() != self.largest => {
                    self.times.note("its last entry is not the largest timestamp of the segment".to_owned());
                }
                Some(_) => {}
            }
        }
        [self.offsets.finding, self.times.finding].into_iter().flatten().collect()
    }
}
