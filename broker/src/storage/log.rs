//! The log of one partition: segments of record batches, dense rising offsets, one writer, readers who never wait for it.
//!
//! Owns the segments, the offsets and what follows from them: producer state, leader epochs, the poison that a failed
//! write leaves. Does not own when a flush happens (the flusher and the checkpoints do) or the high watermark (the
//! partition does). By lifecycle: `log/append.rs`, `log/roll.rs`, `log/flush.rs`, `log/read.rs`, `log/timestamp.rs`,
//! `log/trim.rs`, `log/retention.rs`, `log/replace.rs`, `log/snapshots.rs`, `log/kept_producers.rs`, `log/scrub.rs`, `log/close.rs`; what was there before the start is `recovery.rs`.
//!
//! Invariants: `log_start <= log_end` and `flushed <= log_end`, asserted where they move, in release builds too. The bytes in a segment
//! are those of the wire batch after offset, epoch and timestamp assignment. After one failed write or sync nothing more is
//! acknowledged through this log, and the call is never repeated.
//!
//! Locks, in the order in which they may be taken: `restructuring`, `flushing`, `writer`. Readers take neither: they load the list of
//! segments, and one atomic word that says how far the active one reaches.

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::cache_checksums::CacheChecksums;
use super::error::StorageError;
use super::log_config::LogConfig;
use super::open_files::{KeptHandle, OpenFiles};
use super::recovery::{self, OpenMode, RecoveryReport};
use super::segment::{ActiveSegment, Cadence, SealedSegment, Segment};
use super::vfs::Vfs;
use super::{EpochEndOffset, LeaderEpochCache, ProducerLimits, ProducerState};
use crate::types::{LeaderEpoch, Offset, TopicPartition};

mod append;
mod close;
mod flush;
mod kept_producers;
mod read;
mod replace;
mod retention;
mod roll;
mod scrub;
mod snapshots;
mod timestamp;
mod trim;

pub use append::AppendOutcome;
pub(super) use close::LEADER_EPOCH_CHECKPOINT;
pub use flush::LogObserver;
pub use read::LogRead;
pub(super) use replace::Replaced;
pub use scrub::ScrubbedSegment;
pub(super) use snapshots::KnownSnapshots;
pub use timestamp::TimestampOffset;

/// What the logs of a data directory share.
#[derive(Debug, Clone)]
pub struct LogContext {
    /// The descriptors of rarely read files, and the file system behind them.
    pub open_files: Arc<OpenFiles>,
    /// Where bytes go that recovery cannot read: never unlinked by the broker.
    pub quarantine: PathBuf,
    /// How many producers a log remembers.
    pub producer_limits: ProducerLimits,
}

impl LogContext {
    pub(super) fn vfs(&self) -> &dyn Vfs {
        &**self.open_files.vfs()
    }
}

/// The offsets of a log at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOffsets {
    /// The first offset that can be read.
    pub log_start: Offset,
    /// The offset that the next record gets.
    pub log_end: Offset,
    /// Everything before it is durable.
    pub flushed: Offset,
}

/// A range of offsets whose bytes are damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CorruptRange {
    /// The first damaged offset.
    pub from: Offset,
    /// The first good offset behind.
    pub to: Offset,
    /// The segment that it lies in.
    pub(super) segment_base: Offset,
    /// Its first byte in the segment's file.
    pub(super) position: u64,
    /// The byte behind its last.
    pub(super) end_position: u64,
}

/// The log of one partition.
pub struct Log {
    topic_partition: TopicPartition,
    dir: PathBuf,
    context: LogContext,
    config: ArcSwap<LogConfig>,
    segments: ArcSwap<Segments>,
    log_start: AtomicI64,
    flushed: AtomicI64,
    /// First offset of the oldest transaction that is not stable yet; `i64::MAX` if there is none.
    first_unstable: AtomicI64,
    corrupt: ArcSwap<Vec<CorruptRange>>,
    snapshots: KnownSnapshots,
    poison: OnceLock<Arc<StorageError>>,
    closed: AtomicBool,
    /// Held by whoever takes away or replaces segments, writes down what is known of them, or lets go of the folder.
    restructuring: Mutex<()>,
    flushing: Mutex<()>,
    writer: Mutex<Writer>,
    observer: OnceLock<Arc<dyn LogObserver>>,
    /// Where the log stands in the flusher's queue; the flusher's alone.
    pub(super) flush_turn: AtomicU8,
}

/// All segments at one moment.
#[derive(Debug)]
pub(super) struct Segments {
    /// By base offset.
    pub(super) sealed: Vec<Arc<SealedSegment>>,
    pub(super) active: Arc<ActiveSegment>,
}

impl Segments {
    /// The segment that holds `offset`, or the first one if it lies before.
    fn holding(&self, offset: Offset) -> Segment {
        if offset >= self.active.base_offset || self.sealed.is_empty() {
            return Segment::Active(Arc::clone(&self.active));
        }
        let behind = self.sealed.partition_point(|segment| segment.base_offset <= offset);
        Segment::Sealed(Arc::clone(&self.sealed[behind.saturating_sub(1)]))
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = Segment> + '_ {
        let sealed = self.sealed.iter().map(|segment| Segment::Sealed(Arc::clone(segment)));
        sealed.chain([Segment::Active(Arc::clone(&self.active))])
    }
}

/// What only the thread that appends may touch.
pub(super) struct Writer {
    pub(super) producers: ProducerState,
    pub(super) epochs: LeaderEpochCache,
    pub(super) cadence: Cadence,
    /// Records before it are deleted, or about to be: their segments may go at any time.
    pub(super) deleted_before: Offset,
    /// Sealed since the last flush.
    pub(super) unflushed: Vec<UnflushedSegment>,
    /// Files were created since the folder was last synced.
    pub(super) dir_is_dirty: bool,
    /// Bytes of a refused batch were cut off since the last flush: they must not be back after a power cut.
    pub(super) took_back: bool,
    /// The epochs in memory are not yet those of the file.
    pub(super) epochs_are_dirty: bool,
    /// What the file with the checksums of the indexes says.
    pub(super) checksums_on_record: CacheChecksums,
    /// The offset that the last checkpoint of this log came to.
    pub(super) checkpointed: Option<Offset>,
    /// The producer snapshots of the last checkpoints, the oldest first.
    pub(super) checkpoint_snapshots: VecDeque<Offset>,
    /// While the log ends here, everything that closing would save is saved and durable.
    pub(super) saved_at: Option<Offset>,
}

/// A sealed segment that is not durable yet, with the handle that wrote it: an error of the disk is reported to that handle.
pub(super) struct UnflushedSegment {
    pub(super) segment: Arc<ActiveSegment>,
    /// The handle counts among those that may be open.
    _kept: KeptHandle,
}

impl Log {
    /// Opens the log in `dir`, or creates an empty one if there is nothing in it. The folder must exist.
    ///
    /// What is there when it returns is durable up to [`LogOffsets::flushed`]. What a broker that was killed had not flushed becomes
    /// durable with the first flush, as do the folder's entries in a log that was just created: these also before a second segment is begun.
    ///
    /// # Errors
    /// The file system fails. Damage to the content is no error: see [`RecoveryReport`].
    pub fn open(
        context: LogContext,
        dir: &Path,
        topic_partition: TopicPartition,
        config: Arc<LogConfig>,
        mode: OpenMode,
        now_ms: i64,
    ) -> Result<(Arc<Log>, RecoveryReport), StorageError> {
        let loaded = recovery::load(&context, dir, &topic_partition, &config, mode, now_ms)?;
        let log = Log {
            topic_partition,
            dir: dir.to_owned(),
            context,
            config: ArcSwap::new(config),
            log_start: AtomicI64::new(loaded.log_start.0),
            flushed: AtomicI64::new(loaded.flushed.0),
            segments: ArcSwap::from_pointee(loaded.segments),
            first_unstable: AtomicI64::new(first_unstable(&loaded.writer.producers)),
            corrupt: ArcSwap::from_pointee(loaded.report.corrupt.clone()),
            snapshots: KnownSnapshots::default(),
            poison: OnceLock::new(),
            closed: AtomicBool::new(false),
            restructuring: Mutex::new(()),
            flushing: Mutex::new(()),
            writer: Mutex::new(loaded.writer),
            observer: OnceLock::new(),
            flush_turn: AtomicU8::new(0),
        };
        log.assert_order();
        Ok((Arc::new(log), loaded.report))
    }

    /// The partition.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The settings in force.
    pub fn config(&self) -> Arc<LogConfig> {
        self.config.load_full()
    }

    /// Puts other settings in force, from the next append on.
    pub fn update_config(&self, config: Arc<LogConfig>) {
        self.config.store(config);
    }

    /// Who is told about flushes and failures. Can be set once; returns whether it was.
    pub fn observe(&self, observer: Arc<dyn LogObserver>) -> bool {
        self.observer.set(observer).is_ok()
    }

    /// The offsets now. Waits for nobody.
    pub fn offsets(&self) -> LogOffsets {
        // In this order: the end only grows, so it is never behind what was loaded before it.
        let flushed = Offset(self.flushed.load(Ordering::Acquire));
        let log_start = Offset(self.log_start.load(Ordering::Acquire));
        LogOffsets { log_start, log_end: self.segments.load().active.end().next_offset, flushed }
    }

    /// Where readers have to stop: the end of the log, or, once a write or sync has failed, the end of what is durable.
    /// Never before the start of the log.
    pub fn readable_end(&self) -> Offset {
        let offsets = self.offsets();
        // What follows a failed write or sync may not be on the disk, whatever the page cache shows.
        match self.poison.get() {
            Some(_) => offsets.flushed.max(offsets.log_start),
            None => offsets.log_end,
        }
    }

    /// The bytes of all segments, without their indexes.
    pub fn size_bytes(&self) -> u64 {
        self.segments.load().iter().map(|segment| segment.end().size_bytes).sum()
    }

    /// How many segments there are.
    pub fn segment_count(&self) -> usize {
        self.segments.load().sealed.len() + 1
    }

    /// Where the first segment begins, at or before the start of the log.
    pub(super) fn first_segment_base(&self) -> Offset {
        let segments = self.segments.load();
        segments.sealed.first().map_or(segments.active.base_offset, |segment| segment.base_offset)
    }

    /// Where the first segment ends; `None` if it is written to.
    #[cfg(test)]
    pub(super) fn first_segment_end(&self) -> Option<Offset> {
        self.segments.load().sealed.first().map(|segment| segment.next_offset)
    }

    /// The damaged ranges that are known of.
    pub fn corrupt_ranges(&self) -> Arc<Vec<CorruptRange>> {
        self.corrupt.load_full()
    }

    /// Where records of `epoch` end: the answer to OffsetForLeaderEpoch. The largest epoch that is at most `epoch`, and the
    /// first offset of the epoch after it (or the end of the log); `None` if no such epoch is known.
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<EpochEndOffset> {
        let writer = self.writer.lock();
        let log_end = self.segments.load().active.end().next_offset;
        writer.epochs.end_offset_for(epoch, log_end)
    }

    /// The epoch of the last batch, if any batch has one.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.writer.lock().epochs.latest_epoch()
    }

    /// First offset of the oldest transaction that is open or not below the high watermark yet, or the start of the log where
    /// its first records are deleted. Waits for nobody.
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        let first = Some(Offset(self.first_unstable.load(Ordering::Acquire))).filter(|offset| offset.0 < i64::MAX)?;
        Some(first.max(Offset(self.log_start.load(Ordering::Acquire))))
    }

    /// Says how far the log is committed: transactions whose marker lies before are stable from now on.
    pub fn update_high_watermark(&self, high_watermark: Offset) {
        if self.first_unstable_offset().is_none() {
            return;
        }
        let mut writer = self.writer.lock();
        writer.producers.on_high_watermark_updated(high_watermark);
        self.first_unstable.store(first_unstable(&writer.producers), Ordering::Release);
    }

    /// Takes a look at what is remembered of producers, while nobody appends.
    pub fn with_producers<T>(&self, look: impl FnOnce(&ProducerState) -> T) -> T {
        look(&self.writer.lock().producers)
    }

    /// Forgets producers that were not heard of for so long; returns how many.
    pub fn expire_producers(&self, now_ms: i64, expiration_ms: i64) -> usize {
        self.writer.lock().producers.remove_expired(now_ms, expiration_ms)
    }

    /// The first failure of a write or sync, if there was one.
    pub fn poison(&self) -> Option<Arc<StorageError>> {
        self.poison.get().cloned()
    }

    /// Whether it was closed or is to be deleted.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn name(&self) -> String {
        self.topic_partition.to_string()
    }

    pub(super) fn vfs(&self) -> &dyn Vfs {
        self.context.vfs()
    }

    fn check_usable(&self) -> Result<(), StorageError> {
        self.check_not_poisoned()?;
        self.check_open()
    }

    fn check_not_poisoned(&self) -> Result<(), StorageError> {
        match self.poison.get() {
            Some(cause) => Err(StorageError::Poisoned { log: self.name(), cause: Arc::clone(cause) }),
            None => Ok(()),
        }
    }

    fn check_open(&self) -> Result<(), StorageError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StorageError::Closed { log: self.name() });
        }
        Ok(())
    }

    /// Makes durable which files there are in the log's folder.
    ///
    /// # Errors
    /// It failed: the log is offline, since another sync may succeed although names are lost.
    fn sync_folder(&self) -> Result<(), StorageError> {
        let synced = self.vfs().sync_dir(&self.dir).map_err(StorageError::io("sync", &self.dir));
        synced.map_err(|error| self.poison_with(error))
    }

    /// Takes the log offline for good.
    fn poison_with(&self, error: StorageError) -> StorageError {
        if self.poison.get().is_none() {
            recovery::mark_unsynced(self.vfs(), &self.dir);
        }
        let cause = Arc::clone(self.poison.get_or_init(|| Arc::new(error)));
        tracing::error!(log = %self.topic_partition, %cause, "a write or sync failed: the log is offline until a restart");
        if let Some(observer) = self.observer.get() {
            observer.failed(&cause);
        }
        StorageError::Poisoned { log: self.name(), cause }
    }

    fn assert_order(&self) {
        let LogOffsets { log_start, log_end, flushed } = self.offsets();
        assert!(
            log_start <= log_end && flushed <= log_end,
            "{}: log start {log_start}, flushed {flushed}, log end {log_end}",
            self.topic_partition
        );
    }
}

fn first_unstable(producers: &ProducerState) -> i64 {
    producers.first_unstable_offset().map_or(i64::MAX, |offset| offset.0)
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("dir", &self.dir).field("offsets", &self.offsets()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "log_test.rs"]
mod tests;
