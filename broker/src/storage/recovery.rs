//! Opening a log: what is in its folder becomes segments, indexes, producer state and leader epochs.
//!
//! Owns every decision about bytes that were there before the start: which are checked (those behind the recovery point; after
//! a clean stop the last few kilobytes), which are cut off as a torn tail, which are kept as damaged. Does not own what
//! happens to a log that is open.
//!
//! Invariants: a batch with good ones behind it, in this segment or a later one, is never cut off. Bytes that cannot be
//! read are copied to the quarantine folder before they are cut. Indexes, snapshots and checkpoints are believed only as
//! far as the batches bear them out. When [`load`] returns, what it found is durable, save what a broker that was killed had
//! appended to the last segment and not flushed: that is as it was, and the first flush makes it durable.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cache_checksums::{self, CacheChecksums, SegmentChecksums};
use super::checkpoint;
use super::error::StorageError;
use super::log::{CorruptRange, LogContext, Segments, Writer};
use super::log_config::LogConfig;
use super::replacement;
use super::segment::{
    ActiveSegment, Cadence, SealedSegment, SegmentContent, SegmentSizes, extension, parse_segment_name, segment_path,
};
use super::vfs::{Access, DirEntry, Vfs, VfsFile};
use crate::types::{Offset, TopicPartition};

mod check;
mod index_builder;
mod quarantine;
mod replay;
mod scan;

pub(super) use check::{first_epoch, holds_good_batch};
pub(super) use index_builder::{INDEX_BYTES_MAX, IndexBuilder, build_indexes, decode as decode_index};
pub(super) use replay::{CONTROL_BATCH_BYTES_MAX, EPOCHS_BYTES_MAX, SNAPSHOT_BYTES_MAX, end_txn_marker};
pub(super) use scan::{Event, Scan, ScanStart, find_damage, verify};

/// What is known about a log before it is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenMode {
    /// The log was closed by the broker that used it last, and that broker stopped cleanly.
    pub clean: bool,
    /// Everything before it was made durable, and checked or written by a broker. `None`: everything is to be checked.
    pub recovery_point: Option<Offset>,
    /// The start of the log, as far as a checkpoint knows.
    pub log_start: Option<Offset>,
    /// Everything before it was made durable once, though it is to be checked: what of it is missing is damage, and its offsets are
    /// not given out again. The recovery point says the same of what lies before it.
    pub durable_end: Option<Offset>,
}

/// What opening a log came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// There was no segment: the log is new, or see `missing`.
    pub created: bool,
    /// The offsets whose segments are all gone, the second one excluded. The log begins behind them.
    pub missing: Option<(Offset, Offset)>,
    /// Bytes of batches whose checksums were computed.
    pub checked_bytes: u64,
    /// Bytes of torn tails that were cut off; they are in the quarantined files.
    pub cut_bytes: u64,
    /// Where bytes went that could not be read.
    pub quarantined: Vec<PathBuf>,
    /// Offsets whose batches are damaged, with good ones behind.
    pub corrupt: Vec<CorruptRange>,
    /// Index files that were missing or wrong.
    pub indexes_rebuilt: usize,
}

/// A log that was read from its folder.
pub(super) struct Loaded {
    pub(super) log_start: Offset,
    /// Everything before it is durable.
    pub(super) flushed: Offset,
    pub(super) segments: Segments,
    pub(super) writer: Writer,
    pub(super) report: RecoveryReport,
}

/// One segment on the way to being opened.
#[derive(Debug)]
struct SegmentState {
    base: Offset,
    sizes: SegmentSizes,
    /// Set once the segment was scanned, or is trusted.
    next_offset: Option<Offset>,
    /// From where on its batches were checked.
    checked_from: u64,
    /// What its indexes had when they were saved, if they still seem to have it; `None` once they were built here.
    checksums: Option<SegmentChecksums>,
}

struct Recovery<'a> {
    context: &'a LogContext,
    dir: &'a Path,
    topic_partition: &'a TopicPartition,
    config: &'a LogConfig,
    now_ms: i64,
    segments: Vec<SegmentState>,
    /// What the indexes had when they were saved.
    on_record: CacheChecksums,
    snapshots: Vec<Offset>,
    /// How far the log has reached at least, by the names of the caches in the folder.
    named_end: Offset,
    clean: bool,
    /// See [`UNSYNCED_MARKER`].
    sync_failed: bool,
    /// Where the log starts, as far as that is on record.
    log_start: Offset,
    /// Everything before it was on the disk once: what is missing there is no torn tail.
    durable_end: Offset,
    report: RecoveryReport,
    dir_is_dirty: bool,
    /// What caches say of batches from this offset on is not believed: they may be older than the batches beside them, or know of
    /// some that a power cut has taken.
    in_doubt_from: Offset,
    /// The producer snapshot that was read is that of the end of the log.
    snapshot_is_newest: bool,
    /// Why a producer snapshot could not be read. It may be all that tells of producers whose batches are deleted.
    unreadable_snapshot: Option<StorageError>,
}

/// A file with this name in a log's folder: a sync failed, so the page cache may show bytes that the kernel takes for written
/// and that are not on the disk. Whoever opens the log then writes what he believes again. It need not be durable: after a
/// power cut the page cache is gone, and so is the reason for it.
pub(super) const UNSYNCED_MARKER: &str = "sync-failed";

/// How far a log has reached at least, by the names of the caches in its folder. A power cut may leave one behind the end of the
/// log, but never one of a second segment without the first, whose name is durable before.
pub(super) fn end_named_by_caches(entries: &[DirEntry]) -> Option<Offset> {
    let caches =
        [extension::PRODUCER_SNAPSHOT, extension::OFFSET_INDEX, extension::TIME_INDEX, extension::TRANSACTION_INDEX];
    let named = |entry: &DirEntry| caches.iter().find_map(|extension| parse_segment_name(&entry.name, extension));
    entries.iter().filter_map(named).max()
}

/// Leaves word for the next to open the log that a sync of it failed.
pub(super) fn mark_unsynced(vfs: &dyn Vfs, dir: &Path) {
    let path = dir.join(UNSYNCED_MARKER);
    if let Err(error) = vfs.open(&path, Access::CreateOrKeep) {
        tracing::error!(path = %path.display(), %error, "cannot leave word of a failed sync: restart the machine, not only the broker");
    }
}

/// Reads the log in `dir`; an empty one is created there if there is none.
pub(super) fn load(
    context: &LogContext,
    dir: &Path,
    topic_partition: &TopicPartition,
    config: &LogConfig,
    mode: OpenMode,
    now_ms: i64,
) -> Result<Loaded, StorageError> {
    let loaded = try_load(context, dir, topic_partition, config, mode, now_ms);
    if matches!(&loaded, Err(StorageError::Io { action: "sync", .. })) {
        mark_unsynced(context.vfs(), dir);
    }
    loaded
}

fn try_load(
    context: &LogContext,
    dir: &Path,
    topic_partition: &TopicPartition,
    config: &LogConfig,
    mode: OpenMode,
    now_ms: i64,
) -> Result<Loaded, StorageError> {
    let mut recovery = Recovery {
        context,
        dir,
        topic_partition,
        config,
        now_ms,
        segments: Vec::new(),
        on_record: cache_checksums::read(context.vfs(), dir),
        snapshots: Vec::new(),
        named_end: Offset::ZERO,
        clean: mode.clean,
        sync_failed: false,
        log_start: Offset::ZERO,
        durable_end: mode.recovery_point.max(mode.durable_end).unwrap_or(Offset::ZERO),
        report: RecoveryReport::default(),
        dir_is_dirty: false,
        in_doubt_from: Offset(i64::MAX),
        snapshot_is_newest: false,
        unreadable_snapshot: None,
    };
    recovery.list()?;
    let clean = mode.clean && !recovery.sync_failed;
    recovery.clean = clean;
    let on_record = checkpoint::read_log_start(context.vfs(), dir);
    let log_start = mode.log_start.max(on_record.start).unwrap_or(Offset::ZERO);
    recovery.log_start = log_start;
    recovery.report.created = recovery.segments.is_empty();
    recovery.remove_deleted_segments()?;
    let trusted_below = match clean {
        true => Offset(i64::MAX),
        false => mode.recovery_point.unwrap_or(Offset::ZERO),
    };
    let active = match recovery.report.created {
        // Nothing to check, and no sync, since many partitions may be created at once: the first flush or roll syncs the
        // folder.
        true => recovery.begin_first_segment()?,
        false => recovery.check_segments(trusted_below)?,
    };
    let starts_anew = log_start > active.next_offset;
    let (log_start, log_end) = match starts_anew {
        // Everything was deleted up to an offset that is no longer there: offsets are not given out twice.
        true => {
            recovery.end_at(log_start);
            (log_start, log_start)
        }
        false => (log_start.max(recovery.segments[0].base), active.next_offset),
    };
    if on_record.needs_repair
        && let Err(error) = checkpoint::write_log_start(context.vfs(), dir, log_start)
    {
        tracing::warn!(log = %topic_partition, %error, "cannot write again where the log starts");
    }
    let (mut producers, mut epochs, mut epochs_are_dirty) = recovery.replay(log_end)?;
    let active = match starts_anew {
        true => {
            // The next start takes nothing from the segments before this one.
            recovery.keep_producers(&mut producers, log_end)?;
            recovery.begin_segment(log_end)?
        }
        false => active,
    };
    // Of a log without records nothing needs to be durable, and nothing to be saved.
    let is_empty = active.size_bytes == 0 && recovery.segments.len() == 1;
    epochs_are_dirty |= epochs.truncate_from_end(log_end) | epochs.truncate_from_start(log_start);
    // Behind its recovery point nothing was written, also if the broker was killed.
    let is_durable = clean || (!recovery.sync_failed && mode.recovery_point.is_some_and(|point| log_end <= point));
    let as_saved =
        is_durable && !recovery.dir_is_dirty && recovery.report.indexes_rebuilt == 0 && recovery.snapshot_is_newest;
    if recovery.dir_is_dirty && (!is_empty || recovery.report.missing.is_some()) {
        context.vfs().sync_dir(dir).map_err(StorageError::io("sync", dir))?;
    }
    if recovery.sync_failed {
        let path = dir.join(UNSYNCED_MARKER);
        context.vfs().remove_file(&path).map_err(StorageError::io("remove", &path))?;
    }
    let flushed = active.flushed;
    let writer = Writer {
        producers,
        epochs,
        cadence: active.builder.cadence,
        deleted_before: log_start,
        unflushed: Vec::new(),
        // A broker that was killed may have begun a segment, or written another file, whose name is not durable.
        dir_is_dirty: !clean || is_empty || recovery.report.indexes_rebuilt > 0,
        took_back: false,
        epochs_are_dirty,
        checksums_on_record: recovery.on_record.clone(),
        checkpointed: (is_empty || as_saved).then_some(log_end),
        checkpoint_snapshots: VecDeque::new(),
        saved_at: (is_empty || as_saved).then_some(log_end),
    };
    let segments = recovery.into_segments(active, log_start);
    Ok(Loaded { log_start, flushed, segments: segments.0, writer, report: segments.1 })
}

/// The last segment, as it was found or made.
struct ActiveState {
    file: Arc<dyn VfsFile>,
    base: Offset,
    size_bytes: u64,
    next_offset: Offset,
    /// Everything before it is durable.
    flushed: Offset,
    builder: IndexBuilder,
}

impl Recovery<'_> {
    fn vfs(&self) -> &dyn Vfs {
        self.context.vfs()
    }

    fn list(&mut self) -> Result<(), StorageError> {
        let list = || self.vfs().read_dir(self.dir).map_err(StorageError::io("list", self.dir));
        let mut entries = list()?;
        if replacement::settle(self.vfs(), self.dir, &entries)? {
            entries = list()?;
            self.dir_is_dirty = true;
        }
        let mut segments: BTreeMap<Offset, SegmentSizes> = BTreeMap::new();
        let size_of = |base: Offset, extension: &str| {
            let name = format!("{:020}.{extension}", base.0);
            entries.iter().find(|entry| entry.name == name).map(|entry| entry.size_bytes)
        };
        self.sync_failed = entries.iter().any(|entry| entry.name == UNSYNCED_MARKER);
        for entry in &entries {
            if let Some(base) = parse_segment_name(&entry.name, extension::LOG) {
                let sizes = SegmentSizes {
                    log_bytes: entry.size_bytes,
                    modified_ms: entry.modified_ms,
                    offset_index_bytes: size_of(base, extension::OFFSET_INDEX),
                    time_index_bytes: size_of(base, extension::TIME_INDEX),
                };
                segments.insert(base, sizes);
            } else if let Some(offset) = parse_segment_name(&entry.name, extension::PRODUCER_SNAPSHOT) {
                self.snapshots.push(offset);
            }
        }
        self.snapshots.sort_unstable();
        self.named_end = end_named_by_caches(&entries).unwrap_or(Offset::ZERO);
        // What a power cut left of a segment whose batches it took: another may be given the same name.
        for extension in [extension::OFFSET_INDEX, extension::TIME_INDEX, extension::TRANSACTION_INDEX] {
            let bases = entries.iter().filter_map(|entry| parse_segment_name(&entry.name, extension));
            for base in bases.filter(|base| !segments.contains_key(base)) {
                self.remove_beside(base, &[extension])?;
            }
        }
        let state = |(base, sizes): (Offset, SegmentSizes)| SegmentState {
            base,
            sizes,
            next_offset: None,
            checked_from: sizes.log_bytes,
            checksums: None,
        };
        self.segments = segments.into_iter().map(state).collect();
        Ok(())
    }

    /// Removes segments that lie before the start of the log as a whole: a crash came before their removal, or before it was
    /// durable. Some of them may be gone and others not, so nothing is to be learnt from them.
    fn remove_deleted_segments(&mut self) -> Result<(), StorageError> {
        let behind = self.segments.iter().skip(1);
        let deleted = behind.take_while(|next| next.base <= self.log_start).count();
        // Snapshots from before the first segment are not believed, and removed where they are looked through.
        let files = [extension::OFFSET_INDEX, extension::TIME_INDEX, extension::TRANSACTION_INDEX, extension::LOG];
        for segment in self.segments.drain(..deleted).collect::<Vec<_>>() {
            self.remove_beside(segment.base, &files)?;
        }
        Ok(())
    }

    /// Removes files that go with a segment.
    fn remove_beside(&mut self, base: Offset, extensions: &[&str]) -> Result<(), StorageError> {
        for extension in extensions {
            let path = segment_path(self.dir, base, extension);
            match self.vfs().remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StorageError::io("remove", &path)(error));
                }
                _ => self.dir_is_dirty = true,
            }
        }
        Ok(())
    }

    /// The first segment of a log that has none. Where something tells that there were some, it begins behind their offsets, which
    /// were acknowledged.
    fn begin_first_segment(&mut self) -> Result<ActiveState, StorageError> {
        let (from, to) = (self.log_start, self.durable_end.max(self.named_end));
        if to <= from {
            return self.begin_segment(from);
        }
        tracing::error!(log = %self.topic_partition, %from, %to, "all segments of a log are gone: its records are lost, and it goes on behind their offsets");
        self.report.missing = Some((from, to));
        self.begin_segment(to)
    }

    /// Lets the log end at its start, which lies behind its end, to start anew there.
    fn end_at(&mut self, log_start: Offset) {
        tracing::warn!(log = %self.topic_partition, %log_start, "the log ends before its start; it goes on at its start");
        if let Some(last) = self.segments.last_mut() {
            last.next_offset = Some(log_start);
        }
    }

    /// An empty segment, to append to. Its indexes come with their first entries.
    fn begin_segment(&mut self, base: Offset) -> Result<ActiveState, StorageError> {
        let path = segment_path(self.dir, base, extension::LOG);
        let file = self.vfs().open(&path, Access::CreateOrKeep).map_err(StorageError::io("create", &path))?;
        let sizes = SegmentSizes::default();
        self.segments.push(SegmentState { base, sizes, next_offset: None, checked_from: 0, checksums: None });
        self.dir_is_dirty = true;
        let builder = IndexBuilder {
            cadence: Cadence { created_ms: self.now_ms, ..Cadence::default() },
            ..IndexBuilder::default()
        };
        Ok(ActiveState { file, base, size_bytes: 0, next_offset: base, flushed: base, builder })
    }

    fn into_segments(mut self, active: ActiveState, log_start: Offset) -> (Segments, RecoveryReport) {
        let pool = &self.context.open_files;
        let last = self.segments.pop();
        let checked_from = last.as_ref().map_or(0, |segment| segment.checked_from);
        let content = SegmentContent {
            size_bytes: active.size_bytes,
            next_offset: Some(active.next_offset),
            largest_timestamp: active.builder.largest_timestamp,
            indexes: active.builder.checksums(active.base),
            checked_from,
            last_append_ms: last.and_then(|segment| segment.sizes.modified_ms),
        };
        let last = ActiveSegment::new(pool, self.dir, active.base, active.file, content);
        let sealed = self.segments.into_iter().filter_map(|segment| {
            let next_offset = segment.next_offset?;
            // Of a log that starts anew behind its end.
            let SegmentState { base, sizes, checked_from, checksums, .. } = segment;
            let sealed = SealedSegment::new(pool, self.dir, base, next_offset, sizes, checked_from);
            (next_offset > log_start).then(|| {
                Arc::new(match checksums {
                    Some(checksums) => sealed.with_checksums(checksums),
                    None => sealed,
                })
            })
        });
        (Segments { sealed: sealed.collect(), active: Arc::new(last) }, self.report)
    }
}

#[cfg(test)]
#[path = "recovery_test.rs"]
mod tests;
