//! The log on disk: synchronous, knows no tokio and no wire message.
//!
//! `vfs` is the only place that opens files; `log` is one partition's log and `log_manager` all of a data directory;
//! `recovery` decides about what was there before the start; `flusher` makes appends durable, many at a time.

pub mod inspect;
pub mod leader_epoch;
pub mod producer_snapshot;
pub mod producer_state;
pub mod validate;
pub mod vfs;

mod batch_header;
mod batch_scan;
mod cache_checksums;
mod checkpoint;
mod cleaner;
mod data_dir;
mod disk_reserve;
mod error;
mod extent;
mod flusher;
mod index;
mod log;
mod log_config;
mod log_manager;
mod merge;
mod open_files;
mod open_transactions;
mod pending;
mod producer_entry;
mod recovery;
mod replacement;
mod scrubber;
mod sealed_caches;
mod segment;
mod segment_batches;
mod throttle;
mod txn_index;
mod validated_batch;
mod verified;

#[cfg(test)]
mod cache_damage_test;
#[cfg(test)]
mod crash_test;
#[cfg(test)]
mod full_disk_test;
#[cfg(test)]
mod merge_crash_test;
#[cfg(test)]
mod model_test;
#[cfg(test)]
mod start_cost_test;
#[cfg(test)]
mod test_batch;

pub use batch_header::HEADER_BYTES;
pub use cleaner::{CleanLimits, CleanReport, CleanerConfig, CleanerStatus, LogCleaner, UncleanableLog};
pub use data_dir::DataDir;
pub use disk_reserve::{DiskReserve, LookBegun, ReserveChange, SpaceClaim};
pub use error::{AppendError, ReadError, StorageError};
pub use flusher::Flusher;
pub use leader_epoch::{EpochEndOffset, LeaderEpochCache};
pub use log::{
    AppendOutcome, CorruptRange, Log, LogContext, LogObserver, LogOffsets, LogRead, ScrubbedSegment, TimestampOffset,
};
pub use log_config::{FlushMode, LogConfig};
pub use log_manager::{LogManager, LogManagerConfig, LogToOpen};
pub use open_files::OpenFiles;
pub use open_transactions::EndTxnMarker;
pub use producer_state::{ProducerLimits, ProducerState, ProducerStateError};
pub use recovery::{OpenMode, RecoveryReport};
pub use scrubber::{ScrubStatus, Scrubber};
pub use throttle::{SharedThrottle, Throttle, Unthrottled};
pub use txn_index::AbortedTxn;
pub use validated_batch::ValidatedBatch;
pub use vfs::DiskSpace;
