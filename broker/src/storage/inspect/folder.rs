//! Tells a data directory from a partition's folder, and says which partitions there are. Changes nothing.

use std::io;
use std::path::{Path, PathBuf};

use super::data_file::parse_partition_name;
use crate::storage::checkpoint::{self, LOG_STARTS, RECOVERY_POINTS};
use crate::storage::data_dir::{CLEAN_SHUTDOWN, LOCK, QUARANTINE};
use crate::storage::error::StorageError;
use crate::storage::recovery::OpenMode;
use crate::storage::segment::{extension, parse_segment_name};
use crate::storage::vfs::{DirEntry, Vfs, parent};
use crate::types::TopicPartition;

/// What kind of folder it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FolderKind {
    /// All that one broker keeps.
    DataDir,
    /// One partition.
    Partition,
}

/// A folder that was recognized.
#[derive(Debug, Clone)]
pub struct Folder {
    /// What it is.
    pub kind: FolderKind,
    /// The data directory: the folder itself, or the one around the partition.
    pub data_dir: PathBuf,
    /// The partitions in it, by name; or the one that it is.
    pub partitions: Vec<PartitionFolder>,
    /// A broker holds the lock of the data directory.
    pub in_use: bool,
    /// The last broker stopped cleanly.
    pub was_clean: bool,
    /// Files and folders in the quarantine.
    pub quarantined: usize,
}

/// The folder of a partition.
#[derive(Debug, Clone)]
pub struct PartitionFolder {
    /// Whose it is, by its name.
    pub topic_partition: TopicPartition,
    /// Where it is.
    pub dir: PathBuf,
    /// Bytes of its segments.
    pub log_bytes: u64,
    /// What the checkpoints of the data directory say of it.
    pub mode: OpenMode,
}

impl Folder {
    /// Recognizes a folder; `None` if it is neither a data directory nor a partition's folder, or is no folder at all.
    ///
    /// # Errors
    /// It does not exist, or cannot be listed.
    pub fn look(vfs: &dyn Vfs, path: &Path) -> Result<Option<Folder>, StorageError> {
        let entries = match vfs.read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(None),
            Err(error) => return Err(StorageError::io("list", path)(error)),
        };
        let has_segments = entries.iter().any(is_segment);
        let own_name = path.file_name().and_then(|name| parse_partition_name(&name.to_string_lossy()));
        let names: Vec<(TopicPartition, PathBuf)> = entries
            .iter()
            .filter(|entry| entry.is_dir)
            .filter_map(|entry| Some((parse_partition_name(&entry.name)?, path.join(&entry.name))))
            .collect();
        let marks = [LOCK, CLEAN_SHUTDOWN, RECOVERY_POINTS, LOG_STARTS];
        let is_data_dir = entries.iter().any(|entry| marks.contains(&entry.name.as_str())) || !names.is_empty();
        match (own_name, is_data_dir) {
            (own_name, false) if has_segments => {
                let name = own_name.unwrap_or_else(|| TopicPartition::new("unnamed", 0));
                Folder::of(vfs, FolderKind::Partition, parent(path), vec![(name, path.to_owned())]).map(Some)
            }
            (Some(name), false) => {
                Folder::of(vfs, FolderKind::Partition, parent(path), vec![(name, path.to_owned())]).map(Some)
            }
            (_, true) => Folder::of(vfs, FolderKind::DataDir, path, names).map(Some),
            (None, false) => Ok(None),
        }
    }

    fn of(
        vfs: &dyn Vfs,
        kind: FolderKind,
        data_dir: &Path,
        mut names: Vec<(TopicPartition, PathBuf)>,
    ) -> Result<Folder, StorageError> {
        let exists = |name: &str| {
            let path = data_dir.join(name);
            vfs.exists(&path).map_err(StorageError::io("look for", &path))
        };
        let was_clean = exists(CLEAN_SHUTDOWN)?;
        let points = checkpoint::read(vfs, data_dir, RECOVERY_POINTS).unwrap_or_default();
        let starts = checkpoint::read(vfs, data_dir, LOG_STARTS).unwrap_or_default();
        names.sort_unstable();
        let mut partitions = Vec::with_capacity(names.len());
        for (topic_partition, dir) in names {
            let entries = vfs.read_dir(&dir).map_err(StorageError::io("list", &dir))?;
            let log_bytes = entries.iter().filter(|entry| is_segment(entry)).map(|entry| entry.size_bytes).sum();
            let mode = OpenMode {
                clean: was_clean,
                recovery_point: points.get(&topic_partition).copied(),
                log_start: starts.get(&topic_partition).copied(),
                durable_end: None,
            };
            partitions.push(PartitionFolder { topic_partition, dir, log_bytes, mode });
        }
        let lock = data_dir.join(LOCK);
        let in_use = vfs.is_locked(&lock).map_err(StorageError::io("look at", &lock))?;
        let quarantined = if exists(QUARANTINE)? {
            let quarantine = data_dir.join(QUARANTINE);
            vfs.read_dir(&quarantine).map_err(StorageError::io("list", &quarantine))?.len()
        } else {
            0
        };
        Ok(Folder { kind, data_dir: data_dir.to_owned(), partitions, in_use, was_clean, quarantined })
    }
}

fn is_segment(entry: &DirEntry) -> bool {
    !entry.is_dir && parse_segment_name(&entry.name, extension::LOG).is_some()
}
