//! Holds partitions against everything that recovery checks, without trusting anything and without changing anything.
//!
//! The rules about batches are recovery's own code; what it does with damage is told in words. Where it is content with
//! less after a clean stop, everything is read here nevertheless.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::cache_dump::decode_snapshot;
use super::finding::Finding;
use super::folder::{Folder, FolderKind, PartitionFolder};
use super::index_check::REBUILT;
use super::segment_rewrite::DamagedRange;
use super::verify_segment::SegmentInFolder;
use crate::storage::checkpoint::{self, LOG_START, LOG_STARTS, RECOVERY_POINTS};
use crate::storage::error::StorageError;
use crate::storage::leader_epoch::LeaderEpochCache;
use crate::storage::log::LEADER_EPOCH_CHECKPOINT;
use crate::storage::log_manager::in_parallel;
use crate::storage::producer_state::{CompletedTxn, ProducerBudget};
use crate::storage::recovery::{
    EPOCHS_BYTES_MAX, INDEX_BYTES_MAX, SNAPSHOT_BYTES_MAX, UNSYNCED_MARKER, end_named_by_caches,
};
use crate::storage::replacement::parse_replacement;
use crate::storage::segment::{extension, parse_segment_name, segment_path};
use crate::storage::txn_index;
use crate::storage::vfs::{DirEntry, Vfs, read_file};
use crate::storage::{ProducerLimits, ProducerState};
use crate::types::{LeaderEpoch, Offset, TopicPartition};

/// Findings of one partition that are told; the others are counted.
const FINDINGS_MAX: usize = 1000;

/// How thorough the check is.
#[derive(Debug, Clone, Copy, Default)]
pub struct VerifyOptions {
    /// Also decompress every batch and walk over its records, which recovery does not.
    pub records: bool,
}

/// Bytes of segments that were read so far, for whoever watches.
#[derive(Debug, Default)]
pub struct Progress {
    bytes: AtomicU64,
}

impl Progress {
    /// How many there are by now.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// What one partition holds, and what is wrong with it.
#[derive(Debug, Clone)]
pub struct PartitionReport {
    /// Whose it is.
    pub topic_partition: TopicPartition,
    /// Segments.
    pub segments: usize,
    /// Sound batches.
    pub batches: u64,
    /// Records in them, by their headers.
    pub records: u64,
    /// Bytes of the segments.
    pub bytes: u64,
    /// The first offset that can be read.
    pub log_start: Offset,
    /// The offset that the next record gets.
    pub log_end: Offset,
    /// Everything that is not as it should be, in the order of the log.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub findings_left_out: u64,
    /// Damage with sound batches behind.
    pub(super) corrupt: Vec<DamagedRange>,
    /// The last of that damage has no sound batch behind: it was on the disk once, and is no torn tail.
    pub(super) ends_in_damage: bool,
}

impl PartitionReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

/// A check under way.
pub(super) struct Verification<'a> {
    pub(super) vfs: &'a dyn Vfs,
    pub(super) dir: &'a Path,
    pub(super) options: VerifyOptions,
    pub(super) progress: &'a Progress,
    pub(super) segments: Vec<SegmentInFolder>,
    /// Where the log starts, as far as anything says so.
    pub(super) log_start_on_record: Offset,
    /// Everything before it was durable once: what is missing there is no torn tail.
    pub(super) durable_end: Offset,
    pub(super) producers: ProducerState,
    pub(super) epochs: LeaderEpochCache,
    pub(super) report: PartitionReport,
}

/// Checks one partition.
///
/// # Errors
/// A file or the folder cannot be read. Damage is no error.
pub fn verify_partition(
    vfs: &dyn Vfs,
    partition: &PartitionFolder,
    options: VerifyOptions,
    progress: &Progress,
) -> Result<PartitionReport, StorageError> {
    let dir = partition.dir.as_path();
    let entries = vfs.read_dir(dir).map_err(StorageError::io("list", dir))?;
    let segments = in_order(dir, &entries);
    let mut snapshots: Vec<Offset> =
        entries.iter().filter_map(|entry| parse_segment_name(&entry.name, extension::PRODUCER_SNAPSHOT)).collect();
    snapshots.sort_unstable();
    let mut verification = Verification {
        vfs,
        dir,
        options,
        progress,
        producers: ProducerState::new(ProducerLimits {
            budget: ProducerBudget::new(usize::MAX),
            ..ProducerLimits::default()
        }),
        epochs: LeaderEpochCache::default(),
        report: PartitionReport {
            topic_partition: partition.topic_partition.clone(),
            segments: segments.len(),
            batches: 0,
            records: 0,
            bytes: segments.iter().map(|segment| segment.log_bytes).sum(),
            log_start: Offset::ZERO,
            log_end: Offset::ZERO,
            findings: Vec::new(),
            findings_left_out: 0,
            corrupt: Vec::new(),
            ends_in_damage: false,
        },
        segments,
        log_start_on_record: Offset::ZERO,
        durable_end: partition.mode.recovery_point.max(partition.mode.durable_end).unwrap_or(Offset::ZERO),
    };
    verification.read_log_start(partition);
    let log_end = match verification.segments.is_empty() {
        true => verification.all_are_gone(&entries),
        false => verification.segments()?,
    };
    verification.give_epochs_to_damage();
    verification.ends(log_end);
    verification.snapshots(&snapshots, log_end)?;
    verification.leader_epochs(log_end)?;
    if entries.iter().any(|entry| entry.name == UNSYNCED_MARKER) {
        let what = "a sync of this log failed: what was read here may be in the page cache only";
        verification.note(Finding::records(
            dir.join(UNSYNCED_MARKER),
            what,
            "the start writes all sound batches again",
        ));
    }
    Ok(verification.report)
}

/// The segments of a folder as the next start will see them, oldest first: a replacement that a stop has interrupted takes
/// the place of those that it replaces.
fn in_order(dir: &Path, entries: &[DirEntry]) -> Vec<SegmentInFolder> {
    let mut segments = BTreeMap::new();
    for entry in entries.iter().filter(|entry| !entry.is_dir) {
        if let Some(base) = parse_segment_name(&entry.name, extension::LOG) {
            let (path, log_bytes) = (dir.join(&entry.name), entry.size_bytes);
            segments.insert(base, SegmentInFolder { base, path, log_bytes, is_replacement: false });
        }
    }
    for entry in entries.iter().filter(|entry| !entry.is_dir) {
        if let Some((base, next)) = parse_replacement(&entry.name) {
            segments.retain(|other, _| !(base..next).contains(other));
            let (path, log_bytes) = (dir.join(&entry.name), entry.size_bytes);
            segments.insert(base, SegmentInFolder { base, path, log_bytes, is_replacement: true });
        }
    }
    segments.into_values().collect()
}

/// Checks these partitions, so many at once. The reports are in their order.
///
/// # Errors
/// None: a partition that cannot be read has its error in its place.
pub fn verify_partitions(
    vfs: &dyn Vfs,
    partitions: &[PartitionFolder],
    options: VerifyOptions,
    threads: usize,
    progress: &Progress,
) -> Vec<Result<PartitionReport, StorageError>> {
    in_parallel(threads, partitions, |partition| verify_partition(vfs, partition, options, progress))
}

/// Checks the checkpoint files of a data directory; those around a single partition are not its business.
///
/// # Errors
/// A file cannot be read.
pub fn verify_checkpoints(vfs: &dyn Vfs, folder: &Folder) -> Result<Vec<Finding>, StorageError> {
    let mut findings = Vec::new();
    if folder.kind != FolderKind::DataDir {
        return Ok(findings);
    }
    for (name, remedy) in [
        (RECOVERY_POINTS, "not believed: unless the stop was clean, the start checks every log from its beginning"),
        (LOG_STARTS, "not believed: the file in each partition's own folder counts"),
    ] {
        let path = folder.data_dir.join(name);
        let found = checkpoint::find(vfs, &folder.data_dir, name).map_err(StorageError::io("read", &path))?;
        let what = match found {
            Some(found) if found.offsets.is_none() => "it is not the text of a checkpoint",
            Some(found) if !found.checksum_matches => "its checksum is not in the file beside it",
            Some(_) | None => continue,
        };
        findings.push(Finding::cache(path, what, remedy));
    }
    Ok(findings)
}

impl Verification<'_> {
    pub(super) fn note(&mut self, finding: Finding) {
        match self.report.findings.len() < FINDINGS_MAX {
            true => self.report.findings.push(finding),
            false => self.report.findings_left_out += 1,
        }
    }

    /// Damage before the first sound batch has the epoch of that one.
    fn give_epochs_to_damage(&mut self) {
        let first = self.epochs.entries().first().map_or(LeaderEpoch::NONE, |entry| entry.epoch);
        let without = self.report.corrupt.iter_mut().filter(|damaged| damaged.leader_epoch == LeaderEpoch::NONE);
        without.for_each(|damaged| damaged.leader_epoch = first);
    }

    fn read_log_start(&mut self, partition: &PartitionFolder) {
        let files = LOG_START.map(|name| checkpoint::read_one_log_start(self.vfs, &self.dir.join(name)));
        let start_of_folder = files.iter().flatten().copied().max().flatten();
        for (name, found) in LOG_START.iter().zip(files) {
            let what = match found {
                Some(None) => "its checksum is not that of its content",
                None if start_of_folder.is_some() => {
                    "it is missing, and the other file that says where the log starts is there"
                }
                Some(Some(start)) if Some(start) < start_of_folder => "the other file says that the log starts later",
                None | Some(Some(_)) => continue,
            };
            let path = self.dir.join(name);
            self.note(match start_of_folder.or(partition.mode.log_start) {
                Some(_) => Finding::cache(path, what, "the start writes it again"),
                None => {
                    Finding::records(path, what, "the log starts at its first segment: deleted records may be back")
                }
            });
        }
        self.log_start_on_record = partition.mode.log_start.max(start_of_folder).unwrap_or_default();
    }

    /// There are no segments; notes if there were some, and returns where the log goes on.
    fn all_are_gone(&mut self, entries: &[DirEntry]) -> Offset {
        let named_end = end_named_by_caches(entries).unwrap_or(Offset::ZERO);
        let (from, to) = (self.log_start_on_record, self.durable_end.max(named_end));
        if from < to {
            let (what, remedy) =
                ("all segments are gone", "the log goes on behind their offsets, which no other record gets");
            self.note(Finding::records(self.dir.to_owned(), what, remedy).offsets(from, to));
        }
        from.max(to)
    }

    fn ends(&mut self, log_end: Offset) {
        let start = self.log_start_on_record;
        let first = self.segments.first().map_or(log_end, |segment| segment.base);
        if start < first && !self.segments.is_empty() {
            let what = "the log starts before its first segment: the records between are gone";
            let finding = Finding::records(self.dir.to_owned(), what, "the log starts at its first segment");
            self.note(finding.offsets(start, first));
        }
        if start > log_end {
            let what = "the log ends before its start: the records between are gone";
            let finding = Finding::records(self.dir.to_owned(), what, "the log goes on at its start");
            self.note(finding.offsets(log_end, start));
        }
        self.report.log_start = start.max(first);
        self.report.log_end = log_end.max(start);
    }

    fn snapshots(&mut self, offsets: &[Offset], log_end: Offset) -> Result<(), StorageError> {
        for &offset in offsets {
            let path = segment_path(self.dir, offset, extension::PRODUCER_SNAPSHOT);
            let bytes = read_file(self.vfs, &path, SNAPSHOT_BYTES_MAX).map_err(StorageError::io("read", &path))?;
            if offset > log_end {
                let what = format!("it speaks of offset {offset}, and the log ends at {log_end}");
                self.note(Finding::cache(path, what, "the start removes it"));
                continue;
            }
            if let Err(error) = decode_snapshot(&bytes.unwrap_or_default()) {
                self.note(Finding::cache(
                    path,
                    error,
                    "the start uses the one before it, and reads the log from there on",
                ));
            }
        }
        Ok(())
    }

    fn leader_epochs(&mut self, log_end: Offset) -> Result<(), StorageError> {
        let path = self.dir.join(LEADER_EPOCH_CHECKPOINT);
        let text = read_file(self.vfs, &path, EPOCHS_BYTES_MAX).map_err(StorageError::io("read", &path))?;
        let Some(text) = text else { return Ok(()) };
        let decoded = std::str::from_utf8(&text).map_err(|error| error.to_string());
        let decoded = decoded.and_then(|text| LeaderEpochCache::decode(text).map_err(|error| error.to_string()));
        let what = match decoded {
            Err(error) => Some(error),
            Ok(there) => differing_epoch(&there, &self.epochs, log_end),
        };
        if let Some(what) = what {
            self.note(Finding::cache(path, what, REBUILT));
        }
        Ok(())
    }

    /// Compares the index with the transactions whose markers were met. It may name more: those that began before the log
    /// starts, and after compaction or in the middle of merging also such as have no marker here.
    pub(super) fn transaction_index(&mut self, base: Offset, completed: &[CompletedTxn]) -> Result<(), StorageError> {
        let path = segment_path(self.dir, base, extension::TRANSACTION_INDEX);
        let entries = match txn_index::read(self.vfs, &path, INDEX_BYTES_MAX) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                self.note(Finding::cache(path, error.to_string(), REBUILT));
                return Ok(());
            }
            Err(error) => return Err(StorageError::io("read", &path)(error)),
        };
        let named: HashSet<_> = entries.iter().map(|entry| (entry.producer_id, entry.last_offset)).collect();
        let wrong = completed.iter().find(|txn| txn.is_aborted != named.contains(&(txn.producer_id, txn.last_offset)));
        if let Some(CompletedTxn { producer_id, first_offset, last_offset, is_aborted, .. }) = wrong {
            let how =
                if *is_aborted { "was aborted, and is not named" } else { "was committed, and is named as aborted" };
            let what = format!("the transaction of producer {producer_id} from {first_offset} to {last_offset} {how}");
            self.note(Finding::cache(path, what, REBUILT));
        }
        Ok(())
    }
}

/// What the epochs of a checkpoint say that the batches do not bear out. Epochs that began after the checkpoint was
/// written, and those before its first entry, are none of its business.
fn differing_epoch(there: &LeaderEpochCache, found: &LeaderEpochCache, log_end: Offset) -> Option<String> {
    let (first, last) = (there.entries().first()?, there.entries().last()?);
    if last.start_offset > log_end {
        return Some(format!("epoch {} starts at {}, and the log ends at {log_end}", last.epoch, last.start_offset));
    }
    let known = first.start_offset..=last.start_offset;
    let in_batches = found.entries().iter().filter(|entry| known.contains(&entry.start_offset));
    let differs = in_batches
        .map(|entry| (entry.start_offset, there.epoch_for_offset(entry.start_offset), Some(entry.epoch)))
        .chain(
            there
                .entries()
                .iter()
                .map(|entry| (entry.start_offset, Some(entry.epoch), found.epoch_for_offset(entry.start_offset))),
        )
        .find(|(_, there, found)| found.is_some() && there != found);
    let (offset, _, epoch) = differs?;
    epoch.map(|epoch| format!("the batch at offset {offset} is of epoch {epoch}, and not as it says there"))
}
