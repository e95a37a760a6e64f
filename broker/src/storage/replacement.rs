//! A new segment in the place of several adjacent ones: what compaction and merging leave on the disk, and when.
//!
//! Owns the files of a replacement and the order in which they change, which is what makes a stop harmless between any two
//! steps. A replacement of the segments from base offset B to before N goes like this:
//! 1. `B.cleaned` is written and synced, beside the log: of no meaning, the next start removes it;
//! 2. it is renamed to `B-N.swap`, and the folder is synced: from here on the segments that begin in B..N are replaced;
//! 3. the files of those behind B, the indexes of B and the producer snapshots before N are removed, and the folder is synced: so that none of them can come
//!    back beside the new one;
//! 4. the new segment gets the name `B.log`, the folder is synced, and indexes are written, which are a cache: not synced.
//!
//! Several replacements may take each step together. A start that finds a `.swap` does steps 3 and 4 again. Does not own what is in the new segment, nor the list of segments
//! in memory (`log/replace.rs`).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch_header::BatchHeader;
use super::error::StorageError;
use super::index::{IndexEntry, OffsetEntry, TimeEntry};
use super::log::KnownSnapshots;
use super::recovery::IndexBuilder;
use super::segment::{SealedSegment, SegmentSizes, extension, parse_segment_name, segment_path};
use super::vfs::{Access, DirEntry, Vfs, VfsFile, keep_modified, write_all_at};
use crate::types::Offset;

/// Batches are written together until they come to so much.
const WRITE_BYTES: usize = 1 << 20;
/// Kafka's readers take the size of a segment for an i32.
pub(super) const SEGMENT_BYTES_MAX: u64 = i32::MAX as u64;

/// A segment in the making.
#[derive(Debug)]
pub(super) struct NewSegment {
    path: PathBuf,
    file: Arc<dyn VfsFile>,
    base_offset: Offset,
    next_offset: Offset,
    index_interval_bytes: u32,
    written: u64,
    buffer: Vec<u8>,
    indexes: IndexBuilder,
}

impl NewSegment {
    /// Begins one. What an earlier attempt has left is overwritten.
    ///
    /// # Errors
    /// The file cannot be created.
    pub(super) fn create(
        vfs: &dyn Vfs,
        dir: &Path,
        base_offset: Offset,
        index_interval_bytes: u32,
    ) -> Result<NewSegment, StorageError> {
        let path = segment_path(dir, base_offset, extension::UNFINISHED);
        let open = |path: &Path| {
            let file = vfs.open(path, Access::CreateOrKeep)?;
            file.set_len(0)?;
            Ok(file)
        };
        let file = open(&path).map_err(StorageError::io("create", &path))?;
        Ok(NewSegment {
            path,
            file,
            base_offset,
            next_offset: base_offset,
            index_interval_bytes,
            written: 0,
            buffer: Vec::new(),
            indexes: IndexBuilder::default(),
        })
    }

    /// Bytes of batches so far.
    pub(super) fn size_bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Appends a whole batch.
    ///
    /// # Errors
    /// The file cannot be written.
    ///
    /// # Panics
    /// It is no batch, or leaves a gap: our own mistake, which must not reach the log.
    pub(super) fn push(&mut self, batch: &[u8]) -> Result<(), StorageError> {
        let header = BatchHeader::parse(batch).expect("a batch was built here or read from a segment");
        assert_eq!(header.base_offset, self.next_offset, "offsets stay dense");
        assert_eq!(header.size_bytes as usize, batch.len());
        self.indexes.push(self.size_bytes(), &header, self.index_interval_bytes);
        self.buffer.extend_from_slice(batch);
        self.next_offset = header.next_offset();
        if self.buffer.len() >= WRITE_BYTES {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), StorageError> {
        write_all_at(&*self.file, &self.buffer, &[], self.written).map_err(StorageError::io("write", &self.path))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes what is left, and makes the content durable. Its records are as old as they were: the file says of itself that it
    /// was last written when the newest of them were appended, for the next start.
    ///
    /// # Errors
    /// The file cannot be written or synced.
    pub(super) fn finish(
        mut self,
        vfs: &dyn Vfs,
        last_append_ms: Option<i64>,
    ) -> Result<FinishedSegment, StorageError> {
        let synced = self.write().and_then(|()| {
            keep_modified(vfs, &self.path, last_append_ms);
            self.file.sync_data().map_err(StorageError::io("sync", &self.path))
        });
        if let Err(error) = synced {
            self.discard(vfs);
            return Err(error);
        }
        self.indexes.push_time_entry();
        Ok(FinishedSegment {
            path: self.path,
            base_offset: self.base_offset,
            next_offset: self.next_offset,
            size_bytes: self.written,
            last_append_ms,
            indexes: self.indexes,
        })
    }

    /// Gives the attempt up.
    pub(super) fn discard(self, vfs: &dyn Vfs) {
        remove_unfinished(vfs, &self.path);
    }
}

/// A durable file that is to become a segment.
#[derive(Debug)]
pub(super) struct FinishedSegment {
    path: PathBuf,
    pub(super) base_offset: Offset,
    pub(super) next_offset: Offset,
    pub(super) size_bytes: u64,
    last_append_ms: Option<i64>,
    indexes: IndexBuilder,
}

impl FinishedSegment {
    /// Gives it up.
    pub(super) fn discard(self, vfs: &dyn Vfs) {
        remove_unfinished(vfs, &self.path);
    }

    /// Step 2, not durable yet.
    ///
    /// # Errors
    /// The file system fails; nothing has changed.
    pub(super) fn commit(&self, vfs: &dyn Vfs, dir: &Path) -> Result<(), StorageError> {
        let to = replacement_path(dir, self.base_offset, self.next_offset);
        vfs.rename(&self.path, &to).map_err(StorageError::io("rename", &self.path))
    }

    /// Writes the indexes. Returns the sizes of the segment's files. An index that cannot be written is no error: it is missing, and
    /// a search without it is slower.
    fn write_indexes(&self, vfs: &dyn Vfs, dir: &Path) -> SegmentSizes {
        let mut sizes = SegmentSizes {
            log_bytes: self.size_bytes,
            offset_index_bytes: Some((self.indexes.offset_entries.len() * OffsetEntry::BYTES) as u64),
            time_index_bytes: Some((self.indexes.time_entries.len() * TimeEntry::BYTES) as u64),
            modified_ms: self.last_append_ms,
        };
        if let Err(error) = self.indexes.create_files(vfs, dir, self.base_offset) {
            tracing::warn!(segment = %self.base_offset, %error, "cannot write the indexes of a new segment; the next start builds them");
            sizes.offset_index_bytes = None;
            sizes.time_index_bytes = None;
        }
        sizes
    }
}

/// A durable file, and the adjacent segments whose place it is to take.
#[derive(Debug)]
pub(super) struct Replacement {
    pub(super) old: Vec<Arc<SealedSegment>>,
    pub(super) new: FinishedSegment,
    /// Aborted transactions that began before this offset may have records left in it.
    pub(super) named_before: Offset,
}

/// What replacements that are made together have to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// Nothing: each new segment has what the old ones had.
    None,
    /// What one leaves out may be a tombstone or a marker that speaks of what those before it leave out, and must not go before.
    EachOnThoseBefore,
}

/// Makes step 2 of these replacements durable, and takes steps 3 and 4: each step for all of them, so that one sync of the folder
/// is enough. Returns the sizes of the files of each new segment.
///
/// # Errors
/// The file system fails; the next start finds out how far each came, and completes it.
pub(super) fn complete_all(
    vfs: &dyn Vfs,
    dir: &Path,
    replacements: &[Replacement],
    snapshots: &KnownSnapshots,
) -> Result<Vec<SegmentSizes>, StorageError> {
    let synced = || vfs.sync_dir(dir).map_err(StorageError::io("sync", dir));
    synced()?;
    for Replacement { old, new, .. } in replacements {
        let replaced: Vec<Offset> = old.iter().map(|segment| segment.base_offset).collect();
        remove_replaced(vfs, dir, new.base_offset, &replaced)?;
        remove_snapshots(vfs, dir, snapshots.take_before(vfs, dir, new.next_offset)?)?;
    }
    synced()?;
    for Replacement { new, .. } in replacements {
        put_in_place(vfs, dir, new.base_offset, new.next_offset)?;
    }
    synced()?;
    Ok(replacements.iter().map(|replacement| replacement.new.write_indexes(vfs, dir)).collect())
}

fn remove_unfinished(vfs: &dyn Vfs, path: &Path) {
    if let Err(error) = vfs.remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "cannot remove an unfinished segment; the next start does");
    }
}

fn replacement_path(dir: &Path, base: Offset, next: Offset) -> PathBuf {
    dir.join(format!("{:020}-{:020}.{}", base.0, next.0, extension::REPLACEMENT))
}

/// The offsets whose segments a file of this name replaces; `None` for any other name.
pub(super) fn parse_replacement(name: &str) -> Option<(Offset, Offset)> {
    let (base, next) = name.strip_suffix(extension::REPLACEMENT)?.strip_suffix('.')?.split_once('-')?;
    let offset = |digits: &str| {
        let all_digits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
        all_digits.then(|| digits.parse().ok().map(Offset)).flatten()
    };
    Some((offset(base)?, offset(next)?)).filter(|(base, next)| base < next)
}

/// Settles what a stop has left of replacements; returns whether there was anything.
///
/// # Errors
/// The file system fails.
pub(super) fn settle(vfs: &dyn Vfs, dir: &Path, entries: &[DirEntry]) -> Result<bool, StorageError> {
    let mut found = false;
    for entry in entries {
        if let Some(base) = parse_segment_name(&entry.name, extension::UNFINISHED) {
            found = true;
            let path = segment_path(dir, base, extension::UNFINISHED);
            vfs.remove_file(&path).map_err(StorageError::io("remove", &path))?;
        } else if let Some((base, next)) = parse_replacement(&entry.name) {
            found = true;
            let bases = entries.iter().filter_map(|entry| parse_segment_name(&entry.name, extension::LOG));
            let replaced: Vec<Offset> = bases.filter(|other| (base..next).contains(other)).collect();
            tracing::info!(dir = %dir.display(), %base, %next, segments = replaced.len(), "completing a replacement of segments that a stop has interrupted");
            remove_replaced(vfs, dir, base, &replaced)?;
            let snapshots =
                entries.iter().filter_map(|entry| parse_segment_name(&entry.name, extension::PRODUCER_SNAPSHOT));
            remove_snapshots(vfs, dir, snapshots.filter(|offset| *offset < next))?;
            vfs.sync_dir(dir).map_err(StorageError::io("sync", dir))?;
            put_in_place(vfs, dir, base, next)?;
            vfs.sync_dir(dir).map_err(StorageError::io("sync", dir))?;
        }
    }
    Ok(found)
}

/// Step 3, not durable yet; the snapshots apart.
fn remove_replaced(vfs: &dyn Vfs, dir: &Path, base: Offset, replaced: &[Offset]) -> Result<(), StorageError> {
    for &other in replaced {
        let caches = [extension::OFFSET_INDEX, extension::TIME_INDEX];
        caches.iter().try_for_each(|extension| remove(vfs, dir, other, extension))?;
        // What the transaction index of the first names holds for the new one.
        if other != base {
            let rest = [extension::LOG, extension::TRANSACTION_INDEX];
            rest.iter().try_for_each(|extension| remove(vfs, dir, other, extension))?;
        }
    }
    Ok(())
}

/// Step 3 for the producer snapshots from within what is replaced or before, which may speak of a transaction whose marker is gone;
/// those behind do not.
fn remove_snapshots(
    vfs: &dyn Vfs,
    dir: &Path,
    snapshots: impl IntoIterator<Item = Offset>,
) -> Result<(), StorageError> {
    snapshots.into_iter().try_for_each(|offset| remove(vfs, dir, offset, extension::PRODUCER_SNAPSHOT))
}

/// Step 4, not durable yet.
fn put_in_place(vfs: &dyn Vfs, dir: &Path, base: Offset, next: Offset) -> Result<(), StorageError> {
    let from = replacement_path(dir, base, next);
    vfs.rename(&from, &segment_path(dir, base, extension::LOG)).map_err(StorageError::io("rename", &from))
}

fn remove(vfs: &dyn Vfs, dir: &Path, base: Offset, extension: &str) -> Result<(), StorageError> {
    let path = segment_path(dir, base, extension);
    match vfs.remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StorageError::io("remove", &path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_range_that_is_replaced() {
        let path = replacement_path(Path::new("/d"), Offset(7), Offset(1_000));
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(name, "00000000000000000007-00000000000000001000.swap");
        assert_eq!(parse_replacement(name), Some((Offset(7), Offset(1_000))));
        for wrong in
            ["00000000000000000007.swap", "7-8.swap", "00000000000000000007-00000000000000000007.swap", ".swap"]
        {
            assert_eq!(parse_replacement(wrong), None, "{wrong}");
        }
    }
}
