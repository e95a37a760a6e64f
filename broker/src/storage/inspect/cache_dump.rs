//! Reads the small files beside the segments for a person: indexes, snapshots, checkpoints.
//!
//! Unlike the broker, which takes nothing from a file that is not wholly right, these give what can be read of it.

use std::path::Path;

use super::data_file::FileKind;
use crate::storage::checkpoint;
use crate::storage::error::StorageError;
use crate::storage::index::{IndexEntry, OffsetEntry, TimeEntry};
use crate::storage::leader_epoch::{EpochEntry, LeaderEpochCache};
use crate::storage::producer_entry::{BatchMetadata, ProducerEntry};
use crate::storage::producer_state::ProducerBudget;
use crate::storage::recovery::{EPOCHS_BYTES_MAX, INDEX_BYTES_MAX, SNAPSHOT_BYTES_MAX, decode_index};
use crate::storage::txn_index::{self, AbortedTxn};
use crate::storage::vfs::{Vfs, parent, read_file};
use crate::storage::{ProducerLimits, ProducerState};
use crate::types::{Offset, ProducerId, TopicPartition};

/// An entry of an offset index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetIndexEntry {
    /// The last offset of a batch.
    pub offset: Offset,
    /// Where the batch starts in the segment.
    pub position: u32,
}

/// An entry of a time index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeIndexEntry {
    /// The largest timestamp up to some batch, in milliseconds since 1970.
    pub timestamp: i64,
    /// The last offset of the first batch that has it.
    pub offset: Offset,
}

/// What a snapshot says of one producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotEntry {
    /// The producer.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: i16,
    /// The epoch of the coordinator that wrote its last marker, or -1.
    pub coordinator_epoch: i32,
    /// The timestamp of its last batch or marker, in milliseconds since 1970.
    pub last_timestamp: i64,
    /// Where its open transaction begins.
    pub current_txn_first_offset: Option<Offset>,
    /// Its last batches, the oldest first.
    pub batches: Vec<BatchMetadata>,
}

/// One of the checkpoint files of a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointDump {
    /// The file beside it has the checksum of this content.
    pub checksum_matches: bool,
    /// An offset for each partition.
    pub offsets: Vec<(TopicPartition, Offset)>,
}

fn damaged(path: &Path, what: impl Into<String>) -> StorageError {
    StorageError::Damaged { path: path.to_owned(), what: what.into() }
}

/// The content of a file that must be there.
pub(super) fn content(vfs: &dyn Vfs, path: &Path, limit_bytes: u64) -> Result<Vec<u8>, StorageError> {
    let content = read_file(vfs, path, limit_bytes).map_err(StorageError::io("read", path))?;
    content.ok_or_else(|| StorageError::io("open", path)(std::io::ErrorKind::NotFound.into()))
}

fn index_entries<E: IndexEntry>(vfs: &dyn Vfs, path: &Path) -> Result<Vec<E>, StorageError> {
    let base = match FileKind::of(path) {
        Some(FileKind::OffsetIndex(base) | FileKind::TimeIndex(base)) => base,
        _ => {
            return Err(damaged(
                path,
                "the name of an index is its base offset in 20 digits, and .index or .timeindex",
            ));
        }
    };
    Ok(decode_index(&content(vfs, path, INDEX_BYTES_MAX)?, base))
}

/// The whole entries of an offset index.
///
/// # Errors
/// The file cannot be read, or its name is not that of an index.
pub fn dump_offset_index(vfs: &dyn Vfs, path: &Path) -> Result<Vec<OffsetIndexEntry>, StorageError> {
    let entries = index_entries::<OffsetEntry>(vfs, path)?;
    Ok(entries.iter().map(|entry| OffsetIndexEntry { offset: entry.offset, position: entry.position }).collect())
}

/// The whole entries of a time index.
///
/// # Errors
/// As [`dump_offset_index`].
pub fn dump_time_index(vfs: &dyn Vfs, path: &Path) -> Result<Vec<TimeIndexEntry>, StorageError> {
    let entries = index_entries::<TimeEntry>(vfs, path)?;
    Ok(entries.iter().map(|entry| TimeIndexEntry { timestamp: entry.timestamp, offset: entry.offset }).collect())
}

/// The aborted transactions of a transaction index.
///
/// # Errors
/// The file cannot be read, or is of an unknown version.
pub fn dump_transaction_index(vfs: &dyn Vfs, path: &Path) -> Result<Vec<AbortedTxn>, StorageError> {
    content(vfs, path, INDEX_BYTES_MAX)?;
    txn_index::read(vfs, path, INDEX_BYTES_MAX).map_err(StorageError::io("read", path))
}

/// The producers of a snapshot, by id.
///
/// # Errors
/// The file cannot be read, or is not a snapshot that the broker would believe.
pub fn dump_snapshot(vfs: &dyn Vfs, path: &Path) -> Result<Vec<SnapshotEntry>, StorageError> {
    let bytes = content(vfs, path, SNAPSHOT_BYTES_MAX)?;
    let state = decode_snapshot(&bytes).map_err(|error| damaged(path, error))?;
    let mut entries: Vec<(ProducerId, &ProducerEntry)> = state.iter().collect();
    entries.sort_unstable_by_key(|(id, _)| *id);
    let entry = |(producer_id, entry): (ProducerId, &ProducerEntry)| SnapshotEntry {
        producer_id,
        producer_epoch: entry.producer_epoch,
        coordinator_epoch: entry.coordinator_epoch,
        last_timestamp: entry.last_timestamp,
        current_txn_first_offset: entry.current_txn_first_offset,
        batches: entry.batches().to_vec(),
    };
    Ok(entries.into_iter().map(entry).collect())
}

/// Every producer of a snapshot, however many a broker would remember.
pub(super) fn decode_snapshot(bytes: &[u8]) -> Result<ProducerState, String> {
    // The size of the file is the bound.
    let limits = ProducerLimits { producers_per_partition_max: usize::MAX, budget: ProducerBudget::new(usize::MAX) };
    ProducerState::decode_snapshot(bytes, Offset::ZERO, 0, limits).map_err(|error| error.to_string())
}

/// The leader epochs of a partition, oldest first.
///
/// # Errors
/// The file cannot be read, or is not a checkpoint that the broker would believe.
pub fn dump_leader_epochs(vfs: &dyn Vfs, path: &Path) -> Result<Vec<EpochEntry>, StorageError> {
    let bytes = content(vfs, path, EPOCHS_BYTES_MAX)?;
    let text = std::str::from_utf8(&bytes).map_err(|error| damaged(path, error.to_string()))?;
    let epochs = LeaderEpochCache::decode(text).map_err(|error| damaged(path, error.to_string()))?;
    Ok(epochs.entries().to_vec())
}

/// Where a log begins after records were deleted, by its `log-start-offset`.
///
/// # Errors
/// The file cannot be read, or its checksum is not that of its content.
pub fn dump_log_start(vfs: &dyn Vfs, path: &Path) -> Result<Offset, StorageError> {
    let start = checkpoint::read_one_log_start(vfs, path);
    let start = start.ok_or_else(|| StorageError::io("open", path)(std::io::ErrorKind::NotFound.into()))?;
    start.ok_or_else(|| damaged(path, "its checksum is not that of its content"))
}

/// A checkpoint of a data directory.
///
/// # Errors
/// The file cannot be read, or is no checkpoint.
pub fn dump_checkpoint(vfs: &dyn Vfs, path: &Path) -> Result<CheckpointDump, StorageError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let found = checkpoint::find(vfs, parent(path), &name).map_err(StorageError::io("read", path))?;
    let found = found.ok_or_else(|| StorageError::io("open", path)(std::io::ErrorKind::NotFound.into()))?;
    let offsets = found.offsets.ok_or_else(|| damaged(path, "it is not the text of a checkpoint"))?;
    Ok(CheckpointDump { checksum_matches: found.checksum_matches, offsets: offsets.into_iter().collect() })
}
