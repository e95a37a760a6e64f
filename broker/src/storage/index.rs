//! Offset index and time index of a segment: sparse maps to byte positions and to offsets, in Kafka's file formats.
//!
//! Owns the formats, the search and the growth of an index. Does not own when an entry is due (the segment decides).
//! Invariant: an index is a cache. Its entries rise; a missing entry makes a search longer and never wrong; whoever
//! follows an entry checks what it finds there, and a file that does not fit is rebuilt.
//!
//! ```text
//! .index      8 bytes an entry: last offset of a batch less the base offset (i32), position of that batch (i32)
//! .timeindex 12 bytes an entry: largest timestamp so far (i64), last offset of its batch less the base offset (i32)
//! ```
//!
//! Other than Kafka's, a growing index is neither preallocated nor mapped: its last entries stay in memory until there
//! are enough to be worth a write, so that ten thousand partitions cost neither 20 GB of sparse files nor that many mappings.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use super::cache_checksums::Checksum;
use super::error::is_no_space;
use super::open_files::{LazyFile, OpenFiles};
use super::vfs::{Access, Vfs, VfsFile, read_exact_at, write_all_at};
use crate::types::Offset;

/// Entries that are kept in memory before they are written together.
const TAIL_ENTRIES: usize = 128;
/// Entries that are kept in memory while the disk is full.
const TAIL_ENTRIES_MAX: usize = 16 << 10;
/// When a binary search has come down to so many entries, they are read at once.
const WINDOW_ENTRIES: usize = 64;

/// An entry of one of the two indexes.
pub(super) trait IndexEntry: Copy {
    /// Its size in the file.
    const BYTES: usize;
    /// What entries are sorted and searched by.
    fn key(&self) -> i64;
    fn encode(&self, base: Offset, into: &mut Vec<u8>);
    /// Reads an entry from exactly `BYTES` bytes.
    fn decode(bytes: &[u8], base: Offset) -> Self;
    fn to_words(self) -> [u64; 2];
    fn from_words(words: [u64; 2]) -> Self;
}

/// Where a batch lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OffsetEntry {
    /// The last offset of the batch.
    pub(super) offset: Offset,
    /// Where the batch starts.
    pub(super) position: u32,
}

/// The largest timestamp of all batches up to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeEntry {
    /// Milliseconds since 1970.
    pub(super) timestamp: i64,
    /// The last offset of the batch that has it.
    pub(super) offset: Offset,
}

fn relative(offset: Offset, base: Offset) -> u32 {
    // A segment rolls before an offset gets further than i32::MAX from its base.
    (offset.0 - base.0) as u32
}

fn be_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

impl IndexEntry for OffsetEntry {
    const BYTES: usize = 8;

    fn key(&self) -> i64 {
        self.offset.0
    }

    fn encode(&self, base: Offset, into: &mut Vec<u8>) {
        into.extend_from_slice(&relative(self.offset, base).to_be_bytes());
        into.extend_from_slice(&self.position.to_be_bytes());
    }

    fn decode(bytes: &[u8], base: Offset) -> Self {
        OffsetEntry { offset: base.plus(i64::from(be_u32(bytes, 0))), position: be_u32(bytes, 4) }
    }

    fn to_words(self) -> [u64; 2] {
        [self.offset.0 as u64, u64::from(self.position)]
    }

    fn from_words([offset, position]: [u64; 2]) -> Self {
        OffsetEntry { offset: Offset(offset as i64), position: position as u32 }
    }
}

impl IndexEntry for TimeEntry {
    const BYTES: usize = 12;

    fn key(&self) -> i64 {
        self.timestamp
    }

    fn encode(&self, base: Offset, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.timestamp.to_be_bytes());
        into.extend_from_slice(&relative(self.offset, base).to_be_bytes());
    }

    fn decode(bytes: &[u8], base: Offset) -> Self {
        let timestamp =
            i64::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]]);
        TimeEntry { timestamp, offset: base.plus(i64::from(be_u32(bytes, 8))) }
    }

    fn to_words(self) -> [u64; 2] {
        [self.timestamp as u64, self.offset.0 as u64]
    }

    fn from_words([timestamp, offset]: [u64; 2]) -> Self {
        TimeEntry { timestamp: timestamp as i64, offset: Offset(offset as i64) }
    }
}

/// An index whose entries are all in its file.
#[derive(Debug)]
pub(super) struct SealedIndex {
    base: Offset,
    file: LazyFile,
    entries: usize,
}

impl SealedIndex {
    /// Takes a file of `size_bytes` for an index of `E`; bytes that make no whole entry are not looked at.
    pub(super) fn new<E: IndexEntry>(
        pool: &Arc<OpenFiles>,
        path: PathBuf,
        base: Offset,
        size_bytes: u64,
    ) -> SealedIndex {
        SealedIndex { base, file: LazyFile::new(pool, path), entries: size_bytes as usize / E::BYTES }
    }

    /// Bytes of its entries.
    pub(super) fn size_bytes<E: IndexEntry>(&self) -> u64 {
        (self.entries * E::BYTES) as u64
    }

    /// Keeps the file open, whatever becomes of its name. Without entries there is no need of it.
    pub(super) fn pin(&self) -> io::Result<()> {
        if self.entries == 0 { Ok(()) } else { self.file.pin() }
    }

    /// The last entry whose key is at most `key`.
    pub(super) fn lookup<E: IndexEntry>(&self, key: i64) -> io::Result<Option<E>> {
        search(&self.file, self.base, self.entries, key)
    }

    /// The whole file.
    pub(super) fn read_all<E: IndexEntry>(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.entries * E::BYTES];
        if !bytes.is_empty() {
            read_exact_at(&*self.file.get()?, &mut bytes, 0)?;
        }
        Ok(bytes)
    }

    pub(super) fn last<E: IndexEntry>(&self) -> io::Result<Option<E>> {
        if self.entries == 0 {
            return Ok(None);
        }
        read_entry(&*self.file.get()?, self.base, self.entries - 1).map(Some)
    }
}

fn read_entry<E: IndexEntry>(file: &dyn VfsFile, base: Offset, entry: usize) -> io::Result<E> {
    let mut bytes = [0; 16];
    read_exact_at(file, &mut bytes[..E::BYTES], (entry * E::BYTES) as u64)?;
    Ok(E::decode(&bytes[..E::BYTES], base))
}

fn search<E: IndexEntry>(file: &LazyFile, base: Offset, entries: usize, key: i64) -> io::Result<Option<E>> {
    if entries == 0 {
        return Ok(None);
    }
    let file = file.get()?;
    // `low` entries are known to be at most `key`; those from `high` on are larger.
    let (mut low, mut high) = (0, entries);
    while high - low > WINDOW_ENTRIES {
        let middle = low + (high - low) / 2;
        if read_entry::<E>(&*file, base, middle)?.key() <= key {
            low = middle;
        } else {
            high = middle;
        }
    }
    let mut window = [0; WINDOW_ENTRIES * 16];
    let window = &mut window[..(high - low) * E::BYTES];
    read_exact_at(&*file, window, (low * E::BYTES) as u64)?;
    let found = window.chunks_exact(E::BYTES).map(|bytes| E::decode(bytes, base)).take_while(|e| e.key() <= key);
    Ok(found.last())
}

/// The index of the active segment: a file, and the entries that are not in it yet.
///
/// One thread at a time changes it (the log's writer); any number reads.
#[derive(Debug)]
pub(super) struct GrowingIndex {
    base: Offset,
    file: LazyFile,
    tail: ArcSwap<Tail>,
}

/// Entries in memory. Grows in place; a reader sees the first `len`.
#[derive(Debug)]
struct Tail {
    /// Entries that are in the file.
    saved: usize,
    /// Their bytes.
    checksum: Checksum,
    /// The file could not be written: nothing is added any more, and the file is gone, to be rebuilt at the next start.
    abandoned: bool,
    /// How many entries there is room for.
    capacity: usize,
    len: AtomicUsize,
    words: OnceLock<Box<[[AtomicU64; 2]]>>,
}

impl Tail {
    fn new(saved: usize, checksum: Checksum, capacity: usize) -> Tail {
        Tail { saved, checksum, abandoned: false, capacity, len: AtomicUsize::new(0), words: OnceLock::new() }
    }

    fn is_full(&self) -> bool {
        self.len.load(Ordering::Relaxed) == self.capacity
    }

    /// The same entries, with room for as many again.
    fn grown<E: IndexEntry>(&self) -> Tail {
        let grown = Tail::new(self.saved, self.checksum, self.capacity * 2);
        self.iter::<E>().for_each(|entry| grown.push(entry));
        grown
    }

    fn get<E: IndexEntry>(&self, entry: usize) -> E {
        let words = self
            .words
            .get()
            .map_or([0; 2], |words| [words[entry][0].load(Ordering::Relaxed), words[entry][1].load(Ordering::Relaxed)]);
        E::from_words(words)
    }

    fn iter<E: IndexEntry>(&self) -> impl DoubleEndedIterator<Item = E> + '_ {
        (0..self.len.load(Ordering::Acquire)).map(|entry| self.get(entry))
    }

    fn push<E: IndexEntry>(&self, entry: E) {
        let words =
            self.words.get_or_init(|| (0..self.capacity).map(|_| [AtomicU64::new(0), AtomicU64::new(0)]).collect());
        let len = self.len.load(Ordering::Relaxed);
        let [first, second] = entry.to_words();
        words[len][0].store(first, Ordering::Relaxed);
        words[len][1].store(second, Ordering::Relaxed);
        self.len.store(len + 1, Ordering::Release);
    }
}

impl GrowingIndex {
    /// Continues an index whose file holds these entries, all of them checked.
    pub(super) fn new<E: IndexEntry>(
        pool: &Arc<OpenFiles>,
        path: PathBuf,
        base: Offset,
        saved: Checksum,
    ) -> GrowingIndex {
        let entries = saved.len as usize / E::BYTES;
        GrowingIndex {
            base,
            file: LazyFile::new(pool, path),
            tail: ArcSwap::from_pointee(Tail::new(entries, saved, TAIL_ENTRIES)),
        }
    }

    /// What is in the file.
    pub(super) fn saved(&self) -> Checksum {
        self.tail.load().checksum
    }

    pub(super) fn len(&self) -> usize {
        let tail = self.tail.load();
        tail.saved + tail.len.load(Ordering::Acquire)
    }

    /// The last entry whose key is at most `key`.
    pub(super) fn lookup<E: IndexEntry>(&self, key: i64) -> io::Result<Option<E>> {
        let tail = self.tail.load();
        match tail.iter().rev().find(|entry: &E| entry.key() <= key) {
            Some(entry) => Ok(Some(entry)),
            None => search(&self.file, self.base, tail.saved, key),
        }
    }

    /// Adds an entry, larger than the last one. Writer only. Not durable: an index is a cache.
    pub(super) fn push<E: IndexEntry>(&self, vfs: &dyn Vfs, entry: E) {
        let tail = self.tail.load();
        if tail.abandoned {
            return;
        }
        tail.push(entry);
        if !tail.is_full() {
            return;
        }
        if let Err(error) = self.save::<E>(vfs) {
            match tail.capacity < TAIL_ENTRIES_MAX {
                true => self.tail.store(Arc::new(tail.grown::<E>())),
                false => self.abandon(vfs, &error),
            }
        }
    }

    /// Writes the entries in memory to the file, which exists afterwards even if there are none: a missing file means
    /// that the index is unknown. Writer only. Not durable: an index is a cache.
    ///
    /// # Errors
    /// The disk is full: the entries stay in memory. After any other failure the index is given up, which is no error.
    pub(super) fn save<E: IndexEntry>(&self, vfs: &dyn Vfs) -> io::Result<()> {
        let tail = self.tail.load_full();
        let mut bytes = Vec::with_capacity(TAIL_ENTRIES * E::BYTES);
        tail.iter::<E>().for_each(|entry| entry.encode(self.base, &mut bytes));
        if tail.abandoned || (bytes.is_empty() && tail.saved > 0) {
            return Ok(());
        }
        let position = (tail.saved * E::BYTES) as u64;
        let written = vfs
            .open(self.file.path(), Access::CreateOrKeep)
            .and_then(|file| write_all_at(&*file, &bytes, &[], position));
        match written {
            Ok(()) => {
                let saved = tail.saved + bytes.len() / E::BYTES;
                self.tail.store(Arc::new(Tail::new(saved, tail.checksum.extended(&bytes), TAIL_ENTRIES)));
            }
            Err(error) if is_no_space(&error) => return Err(error),
            Err(error) => self.abandon(vfs, &error),
        }
        Ok(())
    }

    /// Gives up on the file: no index is slow, a wrong one would be wrong.
    fn abandon(&self, vfs: &dyn Vfs, error: &io::Error) {
        let path = self.file.path();
        tracing::warn!(path = %path.display(), %error, "cannot write an index; it is rebuilt at the next start");
        self.file.forget();
        self.tail.store(Arc::new(Tail { abandoned: true, ..Tail::new(0, Checksum::default(), TAIL_ENTRIES) }));
        if let Err(error) = vfs.remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove an index that could not be written");
        }
    }
}

#[cfg(test)]
#[path = "index_test.rs"]
mod tests;
