//! Reads a partition of `__consumer_offsets` back into the shard that it was written from.
//!
//! Owns the reading and decoding. Memory is bounded by one piece of `offsets.load.buffer.size` (or one larger batch) and by
//! what the shard keeps.
//!
//! A damaged batch costs what it held and no more: groups of the partition go on with what was committed before. It is
//! reported as an error for a person to look at.

use ottla_protocol::records::{BatchError, batches_lenient};

use super::group::{GroupRecord, GroupRecordError, GroupShard, Moment};
use crate::replica::Partition;
use crate::storage::ReadError;
use crate::types::Offset;

/// The most that the records of one batch may decompress to. Ours are not compressed; those of a log that came from Kafka may be.
const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// Why a partition's groups cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A range of the log's file cannot be read.
    #[error("cannot read a piece of the log: {0}")]
    Piece(#[from] std::io::Error),
    /// Sound bytes that are no batch.
    #[error("at offset {offset}: {error}")]
    Batch {
        /// Where.
        offset: Offset,
        /// What is wrong.
        error: BatchError,
    },
    /// A record that a newer broker wrote, or nobody should have.
    #[error("the record at offset {offset} cannot be understood: {error}")]
    Record {
        /// Where.
        offset: i64,
        /// What is wrong.
        error: GroupRecordError,
    },
}

/// What was read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Loaded {
    /// Records replayed.
    pub(super) records: u64,
    /// Records of types that are none of ours.
    pub(super) skipped: u64,
    /// Where the log ended.
    pub(super) end: Offset,
}

/// Replays the whole log of a partition, and makes durable first what a broker that was killed had not flushed: what is answered from
/// it must not be taken back by a power cut.
pub(super) fn load(
    partition: &Partition,
    shard: &mut GroupShard,
    piece_bytes: usize,
    now: Moment,
) -> Result<Loaded, LoadError> {
    partition.flush_own().map_err(ReadError::from)?;
    let offsets = partition.offsets();
    let mut loaded = Loaded { end: offsets.high_watermark, ..Loaded::default() };
    let mut next = offsets.log_start;
    while next < loaded.end {
        let read = match partition.read_own(next, piece_bytes) {
            Ok(read) => read,
            Err(ReadError::Corrupt { .. }) => {
                next = behind_damage(partition, next, loaded.end);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let Some(slice) = read.slice else { break };
        let before = next;
        for batch in batches_lenient(slice.read()?.into()) {
            let batch = batch.map_err(|error| LoadError::Batch { offset: next, error })?;
            next = next.max(Offset(batch.last_offset()).next());
            if batch.is_control() {
                continue;
            }
            let unreadable = |error| LoadError::Batch { offset: before, error };
            for record in batch.records(DECOMPRESSED_BYTES_MAX).map_err(unreadable)? {
                let record = record.map_err(unreadable)?;
                match GroupRecord::decode(record.key.as_ref(), record.value.as_ref()) {
                    Ok(Some(known)) => {
                        shard.replay(&known, now);
                        loaded.records += 1;
                    }
                    Ok(None) => loaded.skipped += 1,
                    Err(error) => return Err(LoadError::Record { offset: record.offset, error }),
                }
            }
        }
        if next == before {
            break;
        }
    }
    Ok(loaded)
}

/// The first offset behind the damage that `from` lies in.
fn behind_damage(partition: &Partition, from: Offset, end: Offset) -> Offset {
    let ranges = partition.damaged_ranges();
    let to = ranges.iter().find(|(first, behind)| *first <= from && from < *behind).map_or(end, |(_, behind)| *behind);
    tracing::error!(
        topic = partition.topic(), partition = partition.index(), %from, %to,
        "a part of the log of groups is damaged: groups whose last commit was in it go back to the one before"
    );
    to
}
