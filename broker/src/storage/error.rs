//! What can go wrong on this floor. Owns the errors of the log and of the files around it, with the actual value and the
//! limit in each message; which Kafka error code a client gets for them is decided in `api/error_map.rs`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::types::Offset;

/// A failure of the storage itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The file system refused. What is durable is unknown only if the action was a write or a sync.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The disk, or the quota, is full. Nothing was appended; the same append may succeed later.
    #[error("no space left to append {bytes} bytes to {}", path.display())]
    NoSpace {
        /// The segment.
        path: PathBuf,
        /// What was to be written.
        bytes: usize,
    },
    /// What work in the background would write does not fit above the space that is kept free. Nothing was written.
    #[error("{bytes} bytes to write do not fit above log.reserve.bytes ({reserve_bytes}) into {free_bytes} free bytes")]
    NoSpaceAboveReserve {
        /// What was to be written, in bytes.
        bytes: u64,
        /// What is free, in bytes.
        free_bytes: u64,
        /// `log.reserve.bytes`, as it is in force.
        reserve_bytes: u64,
    },
    /// A write or an fsync failed earlier, so nothing more is acknowledged through this log until the broker restarts.
    #[error("log {log} is offline since a failed write or sync: {cause}")]
    Poisoned {
        /// The partition.
        log: String,
        /// The first failure.
        cause: Arc<StorageError>,
    },
    /// The log was closed or deleted.
    #[error("log {log} is closed")]
    Closed {
        /// The partition.
        log: String,
    },
    /// Another process (or another broker in this one) uses the data directory.
    #[error("data directory {} is in use by another broker (its lock file {} is held)", dir.display(), lock.display())]
    DirectoryInUse {
        /// The data directory.
        dir: PathBuf,
        /// The lock file.
        lock: PathBuf,
    },
    /// The partition has a log already.
    #[error("log {log} exists already")]
    LogExists {
        /// The partition.
        log: String,
    },
    /// There is no log for the partition.
    #[error("log {log} does not exist")]
    LogMissing {
        /// The partition.
        log: String,
    },
    /// Segments were removed or made anew while they were being compacted; nothing is lost, and the next pass begins anew.
    #[error("segments of the log {log} changed while they were being compacted")]
    SegmentsChanged {
        /// The log.
        log: String,
    },
    /// Work in the background was told to stop.
    #[error("stopped: the broker is closing its logs")]
    Stopped,
    /// A file of ours says something that cannot be.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl StorageError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StorageError {
        let path = path.to_owned();
        move |source| StorageError::Io { action, path, source }
    }

    /// A write that did not take place: for want of space, which passes, or for another reason.
    pub(crate) fn io_or_no_space(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StorageError {
        let path = path.to_owned();
        move |source| match is_no_space(&source) {
            true => StorageError::NoSpace { path, bytes: 0 },
            false => StorageError::Io { action, path, source },
        }
    }
}

/// Whether the disk or the quota is full: a state that passes, other than every other failure of a write.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Why a batch was not appended. Nothing of it is in the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The batch would not fit into an empty segment.
    #[error("a batch of {size_bytes} bytes does not fit into a segment of {limit_bytes} bytes")]
    BatchTooLarge {
        /// The batch.
        size_bytes: usize,
        /// `segment.bytes`.
        limit_bytes: usize,
    },
    /// The idempotence or transaction rules refuse it.
    #[error(transparent)]
    Producer(#[from] super::ProducerStateError),
    /// The storage failed, is full, or is offline.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The offset is before the start or behind the end of the log.
    #[error("offset {requested} is not in the log, which has {log_start} to {log_end}")]
    OutOfRange {
        /// What was asked for.
        requested: Offset,
        /// The first offset there is.
        log_start: Offset,
        /// The offset that the next record gets.
        log_end: Offset,
    },
    /// The batches of this range are damaged on disk. What lies before and behind it can be read.
    #[error("offsets {from} to {to} (exclusive) of {log} are damaged on disk")]
    Corrupt {
        /// The partition.
        log: String,
        /// The first damaged offset.
        from: Offset,
        /// The first good offset behind.
        to: Offset,
    },
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
