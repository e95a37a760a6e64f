//! Reads the batches of a segment for a person: every field of the header, whether the batch is sound, its records.
//!
//! Which batches are sound, and where the next one starts behind damage, is recovery's judgement. Headers inside of
//! damage are shown as far as they can be read.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::records::{BatchView, Record};

use super::data_file::FileKind;
use crate::storage::batch_header::BatchHeader;
use crate::storage::batch_scan::{BatchCursor, SEARCH_BLOCK_BYTES, Step};
use crate::storage::error::StorageError;
use crate::storage::recovery::{Event, Scan, ScanStart};
use crate::storage::vfs::{Access, Vfs, VfsFile, read_exact_at};
use crate::types::{LeaderEpoch, Offset, ProducerId};

/// The largest batch whose records are read, and what they may come to when they are decompressed: as
/// `max.decompressed.bytes`.
pub(super) const RECORD_BYTES_MAX: usize = 256 << 20;
/// Headers that are shown of one damaged range.
const BATCHES_IN_DAMAGE_MAX: usize = 1000;

/// A batch as it lies in the file.
#[derive(Debug, Clone)]
pub struct DumpedBatch {
    /// Where it starts.
    pub position: u64,
    /// With its header.
    pub size_bytes: u32,
    /// The first offset.
    pub base_offset: Offset,
    /// The last offset.
    pub last_offset: Offset,
    /// How many records there are, by the header.
    pub record_count: i32,
    /// The epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
    /// The CRC-32C in the header.
    pub crc: u32,
    /// It is that of the bytes.
    pub crc_matches: bool,
    /// Codec and flags, as in the header.
    pub attributes: i16,
    /// What the records' timestamps are relative to, or the delete horizon; milliseconds since 1970.
    pub base_timestamp: i64,
    /// The largest timestamp, in milliseconds since 1970.
    pub max_timestamp: i64,
    /// The producer, or -1.
    pub producer_id: ProducerId,
    /// Its epoch, or -1.
    pub producer_epoch: i16,
    /// The sequence of the first record, or -1.
    pub base_sequence: i32,
}

/// Bytes that are no sound batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DumpedDamage {
    /// The first of them.
    pub position: u64,
    /// The one behind the last.
    pub end_position: u64,
    /// The first offset that is missing.
    pub from: Offset,
    /// The first offset behind, if there is a sound batch behind.
    pub to: Option<Offset>,
}

/// What comes next in a segment.
#[derive(Debug, Clone)]
pub enum SegmentItem {
    /// A batch; a sound one unless a `Damage` that holds it comes right before.
    Batch(DumpedBatch),
    /// From here to there is damage. The batches in it follow, as far as there are any.
    Damage(DumpedDamage),
}

impl DumpedBatch {
    fn new(position: u64, header: &BatchHeader, crc_matches: bool) -> DumpedBatch {
        DumpedBatch {
            position,
            size_bytes: header.size_bytes,
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            record_count: header.record_count,
            leader_epoch: header.leader_epoch,
            crc: header.crc,
            crc_matches,
            attributes: header.attributes,
            base_timestamp: header.base_timestamp,
            max_timestamp: header.max_timestamp,
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
        }
    }

    /// The sequence of the last record; -1 if the batch has none.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return self.base_sequence;
        }
        let count = (self.last_offset.0 - self.base_offset.0) as i32;
        self.base_sequence.wrapping_add(count) & i32::MAX
    }
}

/// Reads a batch with its records.
pub(super) fn read_batch(file: &dyn VfsFile, position: u64, size_bytes: u32) -> Result<BatchView, String> {
    if size_bytes as usize > RECORD_BYTES_MAX {
        return Err(format!("a batch of {size_bytes} bytes is not looked into, at most {RECORD_BYTES_MAX} are"));
    }
    let mut bytes = vec![0; size_bytes as usize];
    read_exact_at(file, &mut bytes, position).map_err(|error| error.to_string())?;
    BatchView::split(&Bytes::from(bytes)).map(|(view, _rest)| view).map_err(|error| error.to_string())
}

/// A segment that is open for reading.
#[derive(Debug)]
pub struct SegmentReader {
    path: PathBuf,
    file: Arc<dyn VfsFile>,
    base: Offset,
    size_bytes: u64,
}

impl SegmentReader {
    /// Opens a segment by its file.
    ///
    /// # Errors
    /// The file cannot be opened, or its name is not that of a segment.
    pub fn open(vfs: &dyn Vfs, path: &Path) -> Result<SegmentReader, StorageError> {
        let Some(FileKind::Segment(base)) = FileKind::of(path) else {
            let what = "the name of a segment is its base offset in 20 digits and .log".to_owned();
            return Err(StorageError::Damaged { path: path.to_owned(), what });
        };
        let file = vfs.open(path, Access::Read).map_err(StorageError::io("open", path))?;
        let size_bytes = file.len().map_err(StorageError::io("read", path))?;
        Ok(SegmentReader { path: path.to_owned(), file, base, size_bytes })
    }

    /// How large the file is.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Everything in it, front to back.
    #[must_use]
    pub fn items(&self) -> SegmentItems<'_> {
        let start = ScanStart {
            segment_base: self.base,
            position: 0,
            expected: self.base,
            limit: None,
            epoch: LeaderEpoch::NONE,
            epoch_behind: None,
            epochs: None,
        };
        SegmentItems {
            reader: self,
            scan: Scan::new(&*self.file, self.size_bytes, start),
            in_damage: VecDeque::new(),
            finished: false,
        }
    }

    /// The records of a batch, and what is wrong with the one behind the last of them, if anything is.
    #[must_use]
    pub fn records(&self, batch: &DumpedBatch) -> (Vec<Record>, Option<String>) {
        let view = match read_batch(&*self.file, batch.position, batch.size_bytes) {
            Ok(view) => view,
            Err(error) => return (Vec::new(), Some(error)),
        };
        let read = match view.records(RECORD_BYTES_MAX) {
            Ok(read) => read,
            Err(error) => return (Vec::new(), Some(error.to_string())),
        };
        let mut records = Vec::new();
        for record in read {
            match record {
                Ok(record) => records.push(record),
                Err(error) => return (records, Some(error.to_string())),
            }
        }
        (records, None)
    }
}

/// A walk over a segment.
#[derive(Debug)]
pub struct SegmentItems<'r> {
    reader: &'r SegmentReader,
    scan: Scan<'r>,
    /// Batches of the damage that was told last.
    in_damage: VecDeque<DumpedBatch>,
    finished: bool,
}

impl SegmentItems<'_> {
    fn damage(
        &mut self,
        from: Offset,
        to: Option<Offset>,
        position: u64,
        end_position: u64,
    ) -> io::Result<SegmentItem> {
        let mut cursor = BatchCursor::new(&*self.reader.file, position, end_position, SEARCH_BLOCK_BYTES);
        while self.in_damage.len() < BATCHES_IN_DAMAGE_MAX
            && let Step::Batch { position, header } = cursor.next()?
        {
            let crc_matches = cursor.crc_matches(position, &header)?;
            self.in_damage.push_back(DumpedBatch::new(position, &header, crc_matches));
        }
        Ok(SegmentItem::Damage(DumpedDamage { position, end_position, from, to }))
    }
}

impl Iterator for SegmentItems<'_> {
    type Item = Result<SegmentItem, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(batch) = self.in_damage.pop_front() {
            return Some(Ok(SegmentItem::Batch(batch)));
        }
        if self.finished {
            return None;
        }
        let item = match self.scan.next() {
            Ok(Event::Batch { position, header }) => Ok(SegmentItem::Batch(DumpedBatch::new(position, &header, true))),
            Ok(Event::Damage(range)) => self.damage(range.from, Some(range.to), range.position, range.end_position),
            Ok(Event::Tail { position }) => {
                self.finished = true;
                self.damage(self.scan.next_offset(), None, position, self.reader.size_bytes)
            }
            Ok(Event::End) => return None,
            Err(error) => Err(error),
        };
        self.finished |= item.is_err();
        Some(item.map_err(StorageError::io("read", &self.reader.path)))
    }
}
