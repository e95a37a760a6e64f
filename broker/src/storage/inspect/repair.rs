//! Puts partitions in order by hand: recovery does its work on all of a log, not only on what was not flushed, and a copy
//! of everything that changes is kept.
//!
//! Owns the order of steps. A stop in the middle leaves a directory that is not marked clean, which the next start recovers;
//! a repair can be begun anew. Not owned: what is done about damage (recovery), and who decides (the person who asked).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::backup::BackupVfs;
use super::data_file::FileKind;
use super::finding::{Finding, FindingKind};
use super::folder::{Folder, FolderKind};
use super::segment_rewrite::{DamagedRange, leave_out};
use super::verify::PartitionReport;
use crate::storage::checkpoint::{self, LOG_STARTS, Offsets, RECOVERY_POINTS};
use crate::storage::data_dir::{DataDir, LOCK, QUARANTINE};
use crate::storage::error::StorageError;
use crate::storage::log::{LEADER_EPOCH_CHECKPOINT, Log, LogContext};
use crate::storage::recovery::OpenMode;
use crate::storage::replacement;
use crate::storage::segment::{extension, segment_path};
use crate::storage::vfs::{Vfs, parent};
use crate::storage::{LogConfig, LogOffsets, OpenFiles, ProducerLimits};
use crate::types::Offset;

/// Files that a repair keeps open.
const OPEN_FILES_MAX: usize = 16;

/// What a repair may do besides what recovery does.
#[derive(Debug, Clone, Copy, Default)]
pub struct RepairOptions {
    /// Take damaged ranges out of their segments, so that readers step over their offsets instead of being refused.
    pub drop_damaged: bool,
}

/// What a repair did.
#[derive(Debug, Clone)]
pub struct RepairReport {
    /// Where the copies are of all that was changed or removed.
    pub backup: PathBuf,
    /// The files that were changed, replaced, removed or created.
    pub changed: Vec<PathBuf>,
    /// Damaged ranges that were taken out.
    pub dropped: usize,
}

/// Repairs the partitions of a folder that these reports say are not sound, and its checkpoints. Durable when it returns.
///
/// # Errors
/// A broker uses the directory ([`StorageError::DirectoryInUse`]), or the file system fails. What was done is done, and
/// what was changed by it is in the backup.
pub fn repair(
    vfs: Arc<dyn Vfs>,
    folder: &Folder,
    reports: &[PartitionReport],
    options: RepairOptions,
    now_ms: i64,
) -> Result<RepairReport, StorageError> {
    let lock = folder.data_dir.join(LOCK);
    let lock_exists = vfs.exists(&lock).map_err(StorageError::io("look for", &lock))?;
    // A folder that lies by itself has nobody who would use a lock.
    let data_dir = match folder.kind == FolderKind::DataDir || lock_exists {
        true => Some(DataDir::open(Arc::clone(&vfs), &folder.data_dir)?),
        false => None,
    };
    let backup = create_backup(&*vfs, &folder.data_dir, now_ms)?;
    let recorder = BackupVfs::new(vfs, &backup);
    let mut repair = Repair { vfs: Arc::new(recorder.clone()), backup: &backup, options, now_ms, dropped: 0 };
    let mut repaired: BTreeMap<_, (Offset, Offset)> = BTreeMap::new();
    for report in reports.iter().filter(|report| !report.is_sound()) {
        let found = folder.partitions.iter().find(|partition| partition.topic_partition == report.topic_partition);
        let Some(partition) = found else { continue };
        let offsets = repair.partition(report, &partition.dir, partition.mode)?;
        repaired.insert(report.topic_partition.clone(), offsets);
    }
    repair.checkpoints(folder, reports, &repaired)?;
    let dropped = repair.dropped;
    if let Some(data_dir) = data_dir
        && data_dir.was_clean()
    {
        data_dir.mark_clean()?;
    }
    Ok(RepairReport { changed: recorder.changed(), backup, dropped })
}

fn create_backup(vfs: &dyn Vfs, data_dir: &Path, now_ms: i64) -> Result<PathBuf, StorageError> {
    let quarantine = data_dir.join(QUARANTINE);
    let mut backup = quarantine.join(format!("repair-{now_ms}"));
    let mut attempt = 1;
    while vfs.exists(&backup).map_err(StorageError::io("look for", &backup))? {
        backup = quarantine.join(format!("repair-{now_ms}-{attempt}"));
        attempt += 1;
    }
    for dir in [&quarantine, &backup] {
        vfs.create_dir(dir).map_err(StorageError::io("create", dir))?;
        vfs.sync_dir(parent(dir)).map_err(StorageError::io("sync", parent(dir)))?;
    }
    Ok(backup)
}

struct Repair<'a> {
    vfs: Arc<dyn Vfs>,
    backup: &'a Path,
    options: RepairOptions,
    now_ms: i64,
    dropped: usize,
}

impl Repair<'_> {
    /// Repairs one partition; returns the start and the end of its log.
    fn partition(
        &mut self,
        report: &PartitionReport,
        dir: &Path,
        mode: OpenMode,
    ) -> Result<(Offset, Offset), StorageError> {
        if self.options.drop_damaged {
            if report.ends_in_damage {
                // What lies behind the damage goes first: its offsets would be those of what takes the place of the damage.
                self.recover(report, dir, mode)?;
            }
            self.drop_damaged(report, dir)?;
        }
        for finding in report.findings.iter().filter(|finding| finding.kind == FindingKind::Cache) {
            self.clear_the_way(finding)?;
        }
        let offsets = self.recover(report, dir, mode)?;
        // Recovery has put the two files of the folder in step; where the first segment is missing, the log starts behind it.
        let on_record = checkpoint::read_log_start(&*self.vfs, dir).start.unwrap_or_default();
        if offsets.log_start > on_record {
            checkpoint::write_log_start(&*self.vfs, dir, offsets.log_start)?;
        }
        Ok((offsets.log_start, offsets.log_end))
    }

    /// Lets recovery do its work on all of a log.
    fn recover(&self, report: &PartitionReport, dir: &Path, mode: OpenMode) -> Result<LogOffsets, StorageError> {
        let context = LogContext {
            open_files: OpenFiles::new(Arc::clone(&self.vfs), OPEN_FILES_MAX),
            quarantine: self.backup.to_owned(),
            producer_limits: ProducerLimits::default(),
        };
        // Nothing is trusted, and what was durable once is known.
        let mode = OpenMode { clean: false, recovery_point: None, durable_end: mode.recovery_point, ..mode };
        let config = Arc::new(LogConfig::default());
        let (log, _) = Log::open(context, dir, report.topic_partition.clone(), config, mode, self.now_ms)?;
        log.close()?;
        Ok(log.offsets())
    }

    /// Removes caches that recovery would believe, or not look at.
    fn clear_the_way(&self, finding: &Finding) -> Result<(), StorageError> {
        match FileKind::of(&finding.path) {
            Some(FileKind::ProducerSnapshot(_) | FileKind::LeaderEpochs | FileKind::TransactionIndex(_)) => {
                self.remove(&finding.path)
            }
            _ => Ok(()),
        }
    }

    fn remove(&self, path: &Path) -> Result<(), StorageError> {
        match self.vfs.remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StorageError::io("remove", path)(error)),
            _ => Ok(()),
        }
    }

    fn drop_damaged(&mut self, report: &PartitionReport, dir: &Path) -> Result<(), StorageError> {
        let mut by_segment: BTreeMap<Offset, Vec<DamagedRange>> = BTreeMap::new();
        for damaged in report.corrupt.iter().filter(|damaged| damaged.can_be_left_out()) {
            by_segment.entry(damaged.range.segment_base).or_default().push(*damaged);
        }
        if by_segment.is_empty() {
            return Ok(());
        }
        let entries = self.vfs.read_dir(dir).map_err(StorageError::io("list", dir))?;
        replacement::settle(&*self.vfs, dir, &entries)?;
        for (base, ranges) in by_segment {
            leave_out(&*self.vfs, dir, base, &ranges, self.backup)?;
            self.dropped += ranges.len();
            for extension in [extension::OFFSET_INDEX, extension::TIME_INDEX] {
                self.remove(&segment_path(dir, base, extension))?;
            }
        }
        // It may know of an epoch that began in what is gone.
        self.remove(&dir.join(LEADER_EPOCH_CHECKPOINT))
    }

    fn checkpoints(
        &self,
        folder: &Folder,
        reports: &[PartitionReport],
        repaired: &BTreeMap<crate::types::TopicPartition, (Offset, Offset)>,
    ) -> Result<(), StorageError> {
        for name in [RECOVERY_POINTS, LOG_STARTS] {
            let path = folder.data_dir.join(name);
            let found =
                checkpoint::find(&*self.vfs, &folder.data_dir, name).map_err(StorageError::io("read", &path))?;
            let Some(found) = found else { continue };
            let believed = found.offsets.filter(|_| found.checksum_matches);
            // A single partition says nothing about the others: what is damaged stays, and is not believed.
            if believed.is_none() && folder.kind == FolderKind::Partition {
                continue;
            }
            let mut offsets = believed.clone().unwrap_or_else(|| match name {
                // Without a point everything is checked.
                RECOVERY_POINTS => Offsets::new(),
                _ => reports.iter().map(|report| (report.topic_partition.clone(), report.log_start)).collect(),
            });
            for (topic_partition, (log_start, log_end)) in repaired {
                let offset = if name == RECOVERY_POINTS { *log_end } else { *log_start };
                offsets.insert(topic_partition.clone(), offset);
            }
            if name == LOG_STARTS {
                offsets.retain(|_, start| *start > Offset::ZERO);
            }
            if believed.as_ref() != Some(&offsets) {
                checkpoint::write(&*self.vfs, &folder.data_dir, name, &offsets)?;
            }
        }
        Ok(())
    }
}
