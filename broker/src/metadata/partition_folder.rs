//! The folders `TOPIC-PARTITION` of the data directory: made before a topic exists, moved away after it is gone, and compared
//! with the metadata at the start. What is inside a folder belongs to `storage`, except the file `partition.metadata`.
//!
//! Rules. A folder is made and its parent synced before the metadata names it; so at the start a folder that no topic names
//! and that holds no record is a creation that did not happen, and is removed. A folder is renamed to
//! `TOPIC-PARTITION.<32 hex digits>-delete` after the metadata says that its topic is gone, and emptied later. Whatever holds
//! something else than the metadata expects is moved to `quarantine/`, with a warning: nothing is ever deleted because
//! metadata does not know it.
//!
//! `partition.metadata` (Kafka's: `version: 0`, `topic_id: ID`) tells two topics of one name apart. It is not synced: when a crash
//! tears it, the metadata log has the id, and the start writes it again.

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::Uuid;

use super::image::{MetadataImage, TopicImage};
use super::topic_name::{CLUSTER_METADATA_TOPIC, TopicName};
use crate::storage::StorageError;
use crate::storage::vfs::{Access, Vfs, read_file, write_all_at};
use crate::types::TopicPartition;

/// Where folders and files go that nobody can account for; never emptied by the broker.
pub const QUARANTINE_DIR: &str = "quarantine";

const PARTITION_METADATA: &str = "partition.metadata";
const PARTITION_METADATA_LEN_MAX: u64 = 1024;
const DELETE_SUFFIX: &str = "-delete";
/// The longest file name of common file systems.
const FILE_NAME_LEN_MAX: usize = 255;

/// Partitions of one topic that need folders.
#[derive(Debug, Clone)]
pub(super) struct NewFolders {
    pub(super) name: TopicName,
    pub(super) topic_id: Uuid,
    pub(super) partitions: Range<i32>,
}

/// What the start found and did, for the log and for tests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FolderReport {
    /// Empty folders of creations that were not committed: removed.
    pub undone: Vec<String>,
    /// Folders of topics whose removal was committed: renamed for deletion.
    pub removals_completed: Vec<String>,
    /// Folders that hold something and belong to no topic: moved to [`QUARANTINE_DIR`].
    pub quarantined: Vec<String>,
    /// Partitions of the metadata that had no folder: made again, empty.
    pub recreated: Vec<TopicPartition>,
}

/// The folders of one data directory. `unique` arguments give 16 random bytes for names that must not be taken.
#[derive(Debug)]
pub(super) struct PartitionFolders {
    vfs: Arc<dyn Vfs>,
    data_dir: PathBuf,
}

impl PartitionFolders {
    pub(super) fn new(vfs: Arc<dyn Vfs>, data_dir: &Path) -> Self {
        Self { vfs, data_dir: data_dir.to_owned() }
    }

    /// Makes the folders of all these partitions; they are durable, and the only ones of their names, when it returns.
    pub(super) fn create(
        &self,
        topics: &[NewFolders],
        unique: &mut dyn FnMut() -> [u8; 16],
    ) -> Result<(), StorageError> {
        for topic in topics {
            for partition in topic.partitions.clone() {
                let folder = folder_name(&topic.name, partition);
                if self.exists(&folder)? {
                    // Somebody put it there while the broker ran, or a removal could not rename it.
                    self.clear_the_way(&folder, unique)?;
                }
                self.create_folder(&folder, topic.topic_id)?;
            }
        }
        self.sync()
    }

    /// Removes folders that `create` made for a change which then was not committed. Best effort: the next start does it too.
    pub(super) fn undo_create(&self, topics: &[NewFolders]) {
        for topic in topics {
            for partition in topic.partitions.clone() {
                let path = self.data_dir.join(folder_name(&topic.name, partition));
                if let Ok(true) = self.holds_nothing(&path) {
                    // A failure leaves an empty folder, which the next start removes.
                    let _ = self.remove_tree(&path);
                }
            }
        }
    }

    /// Renames the folders of removed topics for deletion; durable when it returns. Folders that are not there are skipped.
    pub(super) fn remove(
        &self,
        topics: &[Arc<TopicImage>],
        unique: &mut dyn FnMut() -> [u8; 16],
    ) -> Result<(), StorageError> {
        for topic in topics {
            for partition in topic.partition_indexes() {
                let folder = folder_name(&topic.name, partition);
                if self.exists(&folder)? {
                    self.rename_for_deletion(&topic.name, partition, unique)?;
                }
            }
        }
        self.sync()
    }

    /// Empties and removes folders that were renamed for deletion. Returns how many.
    pub(super) fn purge(&self) -> Result<usize, StorageError> {
        let mut purged = 0;
        for entry in self.vfs.read_dir(&self.data_dir).map_err(StorageError::io("list", &self.data_dir))? {
            if entry.is_dir && is_deleted_folder(&entry.name) {
                self.remove_tree(&self.data_dir.join(&entry.name))?;
                purged += 1;
            }
        }
        if purged > 0 {
            self.sync()?;
        }
        Ok(purged)
    }

    /// Makes the folders agree with the metadata, before any log is opened.
    pub(super) fn reconcile(
        &self,
        image: &MetadataImage,
        unique: &mut dyn FnMut() -> [u8; 16],
    ) -> Result<FolderReport, StorageError> {
        let mut report = FolderReport::default();
        let mut present = HashSet::new();
        let entries = self.vfs.read_dir(&self.data_dir).map_err(StorageError::io("list", &self.data_dir))?;
        for entry in entries.into_iter().filter(|entry| entry.is_dir) {
            let Some((name, partition)) = parse_folder_name(&entry.name) else { continue };
            let on_disk = self.read_topic_id(&entry.name)?;
            let claimed_by = image.topic(name.as_str()).filter(|topic| topic.partition_indexes().contains(&partition));
            let was_removed = image.pending_removals().iter().any(|topic| {
                topic.name == name
                    && topic.partition_indexes().contains(&partition)
                    && on_disk.map_or(claimed_by.is_none(), |id| id == topic.id)
            });
            match claimed_by {
                Some(topic) if on_disk.is_none_or(|id| id == topic.id) => {
                    if on_disk.is_none() {
                        self.write_partition_metadata(&entry.name, topic.id)?;
                    }
                    present.insert(entry.name);
                }
                _ if was_removed => {
                    self.rename_for_deletion(&name, partition, unique)?;
                    report.removals_completed.push(entry.name);
                }
                _ => match self.clear_the_way(&entry.name, unique)? {
                    Way::Removed => report.undone.push(entry.name),
                    Way::Quarantined => report.quarantined.push(entry.name),
                },
            }
        }
        for topic in image.topics() {
            for partition in topic.partition_indexes() {
                let folder = folder_name(&topic.name, partition);
                if !present.contains(&folder) {
                    tracing::error!(
                        partition = folder,
                        "the folder of a partition is missing from the data directory: its records are lost, it starts empty"
                    );
                    self.create_folder(&folder, topic.id)?;
                    report.recreated.push(TopicPartition::new(topic.name.to_shared(), partition));
                }
            }
        }
        // A rename that is seen now may have been made, and not synced, by a broker that was killed.
        if report != FolderReport::default() || !image.pending_removals().is_empty() {
            self.sync()?;
        }
        Ok(report)
    }

    fn create_folder(&self, folder: &str, topic_id: Uuid) -> Result<(), StorageError> {
        let path = self.data_dir.join(folder);
        self.vfs.create_dir(&path).map_err(StorageError::io("create", &path))?;
        self.write_partition_metadata(folder, topic_id)
    }

    fn write_partition_metadata(&self, folder: &str, topic_id: Uuid) -> Result<(), StorageError> {
        let path = self.data_dir.join(folder).join(PARTITION_METADATA);
        let text = format!("version: 0\ntopic_id: {topic_id}");
        let file = self.vfs.open(&path, Access::CreateOrKeep).map_err(StorageError::io("create", &path))?;
        file.set_len(0)
            .and_then(|()| write_all_at(&*file, text.as_bytes(), &[], 0))
            .map_err(StorageError::io("write", &path))
    }

    /// The topic id that a folder says it belongs to; `None` if it does not say so in a way that can be read.
    fn read_topic_id(&self, folder: &str) -> Result<Option<Uuid>, StorageError> {
        let path = self.data_dir.join(folder).join(PARTITION_METADATA);
        let bytes = match read_file(&*self.vfs, &path, PARTITION_METADATA_LEN_MAX) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
            Err(error) => return Err(StorageError::io("read", &path)(error)),
        };
        Ok(parse_partition_metadata(&bytes))
    }

    /// Takes a folder that belongs to no topic out of the way.
    fn clear_the_way(&self, folder: &str, unique: &mut dyn FnMut() -> [u8; 16]) -> Result<Way, StorageError> {
        let path = self.data_dir.join(folder);
        if self.holds_nothing(&path).map_err(StorageError::io("list", &path))? {
            self.remove_tree(&path)?;
            tracing::info!(folder, "removed an empty folder that belongs to no topic");
            return Ok(Way::Removed);
        }
        let quarantine = self.data_dir.join(QUARANTINE_DIR);
        self.vfs.create_dir(&quarantine).map_err(StorageError::io("create", &quarantine))?;
        let to = quarantine.join(suffixed_name(folder, &format!(".{}", hex(unique()))));
        self.vfs.rename(&path, &to).map_err(StorageError::io("quarantine", &path))?;
        self.vfs.sync_dir(&quarantine).map_err(StorageError::io("sync", &quarantine))?;
        tracing::warn!(folder, to = %to.display(), "a folder with records belongs to no topic: moved, nothing is deleted");
        Ok(Way::Quarantined)
    }

    fn rename_for_deletion(
        &self,
        name: &TopicName,
        partition: i32,
        unique: &mut dyn FnMut() -> [u8; 16],
    ) -> Result<(), StorageError> {
        let from = self.data_dir.join(folder_name(name, partition));
        let suffix = format!("-{partition}.{}{DELETE_SUFFIX}", hex(unique()));
        let to = self.data_dir.join(suffixed_name(name.as_str(), &suffix));
        self.vfs.rename(&from, &to).map_err(StorageError::io("rename", &from))
    }

    /// Whether there is nothing in a folder but what an empty partition has. A file of an unknown kind is something.
    fn holds_nothing(&self, path: &Path) -> io::Result<bool> {
        Ok(self.vfs.read_dir(path)?.iter().all(|entry| {
            let name = entry.name.strip_suffix(".tmp").unwrap_or(&entry.name);
            let is_cache = [".index", ".timeindex", ".txnindex", ".snapshot"].iter().any(|kind| name.ends_with(kind));
            let is_known =
                [PARTITION_METADATA, "leader-epoch-checkpoint", "leader-epoch-checkpoint.crc32", "cache-checksums"]
                    .contains(&name);
            !entry.is_dir && (is_cache || is_known || (name.ends_with(".log") && entry.size_bytes == 0))
        }))
    }

    fn remove_tree(&self, path: &Path) -> Result<(), StorageError> {
        for entry in self.vfs.read_dir(path).map_err(StorageError::io("list", path))? {
            let child = path.join(&entry.name);
            match entry.is_dir {
                true => self.remove_tree(&child)?,
                false => self.vfs.remove_file(&child).map_err(StorageError::io("remove", &child))?,
            }
        }
        self.vfs.remove_dir(path).map_err(StorageError::io("remove", path))
    }

    fn exists(&self, folder: &str) -> Result<bool, StorageError> {
        let path = self.data_dir.join(folder);
        self.vfs.exists(&path).map_err(StorageError::io("find", &path))
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.vfs.sync_dir(&self.data_dir).map_err(StorageError::io("sync", &self.data_dir))
    }
}

enum Way {
    Removed,
    Quarantined,
}

fn folder_name(name: &TopicName, partition: i32) -> String {
    format!("{name}-{partition}")
}

/// The partition that a folder of this name would be of. The folder of the metadata log is none.
fn parse_folder_name(folder: &str) -> Option<(TopicName, i32)> {
    let (name, digits) = folder.rsplit_once('-')?;
    let partition: i32 = digits.parse().ok()?;
    let name = TopicName::parse(name).ok()?;
    let is_canonical = partition >= 0 && partition.to_string() == digits;
    (is_canonical && name.as_str() != CLUSTER_METADATA_TOPIC).then_some((name, partition))
}

/// `NAME-PARTITION.<32 hex digits>-delete`.
fn is_deleted_folder(folder: &str) -> bool {
    folder
        .strip_suffix(DELETE_SUFFIX)
        .and_then(|rest| rest.rsplit_once('.'))
        .is_some_and(|(_, id)| id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// A long name loses its end, never its suffix (as in Kafka).
fn suffixed_name(name: &str, suffix: &str) -> String {
    let kept = name.len().min(FILE_NAME_LEN_MAX - suffix.len());
    format!("{}{suffix}", &name[..kept])
}

fn parse_partition_metadata(bytes: &[u8]) -> Option<Uuid> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.lines();
    let version = lines.next()?.strip_prefix("version:")?.trim();
    let id = lines.next()?.strip_prefix("topic_id:")?.trim();
    (version == "0").then(|| id.parse().ok())?
}

fn hex(bytes: [u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "partition_folder_test.rs"]
mod tests;
