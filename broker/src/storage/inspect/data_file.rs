//! What a file is, by its name.

use std::path::Path;

use crate::storage::checkpoint::{CLEANED, LOG_START, LOG_STARTS, RECOVERY_POINTS};
use crate::storage::log::LEADER_EPOCH_CHECKPOINT;
use crate::storage::segment::{extension, parse_segment_name};
use crate::types::{Offset, TopicPartition};

/// The kinds of files that a data directory and its partitions consist of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Batches, from this offset on.
    Segment(Offset),
    /// The offset index of the segment with this base offset.
    OffsetIndex(Offset),
    /// The time index of the segment with this base offset.
    TimeIndex(Offset),
    /// The aborted transactions of the segment with this base offset.
    TransactionIndex(Offset),
    /// What was known of producers at this offset.
    ProducerSnapshot(Offset),
    /// `leader-epoch-checkpoint`.
    LeaderEpochs,
    /// `log-start-offset` or its copy.
    LogStart,
    /// `recovery-point-offset-checkpoint`, `log-start-offset-checkpoint` or `cleaner-offset-checkpoint`.
    Checkpoint,
}

impl FileKind {
    /// `None` for a name that is none of ours.
    #[must_use]
    pub fn of(path: &Path) -> Option<FileKind> {
        let name = path.file_name()?.to_str()?;
        match name {
            LEADER_EPOCH_CHECKPOINT => return Some(FileKind::LeaderEpochs),
            name if LOG_START.contains(&name) => return Some(FileKind::LogStart),
            RECOVERY_POINTS | LOG_STARTS | CLEANED => return Some(FileKind::Checkpoint),
            _ => {}
        }
        let offset = |extension| parse_segment_name(name, extension);
        None.or_else(|| offset(extension::LOG).map(FileKind::Segment))
            .or_else(|| offset(extension::OFFSET_INDEX).map(FileKind::OffsetIndex))
            .or_else(|| offset(extension::TIME_INDEX).map(FileKind::TimeIndex))
            .or_else(|| offset(extension::TRANSACTION_INDEX).map(FileKind::TransactionIndex))
            .or_else(|| offset(extension::PRODUCER_SNAPSHOT).map(FileKind::ProducerSnapshot))
    }
}

/// The partition whose folder has this name; `None` for any other name.
pub(super) fn parse_partition_name(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let number: i32 = partition.parse().ok().filter(|number| *number >= 0)?;
    // One name for each partition: no sign and no leading zeros.
    (!topic.is_empty() && number.to_string() == partition).then(|| TopicPartition::new(topic, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_by_name() {
        let kind = |name: &str| FileKind::of(&Path::new("/data/t-0").join(name));
        assert_eq!(kind("00000000000000000042.log"), Some(FileKind::Segment(Offset(42))));
        assert_eq!(kind("00000000000000000042.index"), Some(FileKind::OffsetIndex(Offset(42))));
        assert_eq!(kind("00000000000000000042.timeindex"), Some(FileKind::TimeIndex(Offset(42))));
        assert_eq!(kind("00000000000000000042.txnindex"), Some(FileKind::TransactionIndex(Offset(42))));
        assert_eq!(kind("00000000000000000042.snapshot"), Some(FileKind::ProducerSnapshot(Offset(42))));
        for name in ["log-start-offset", "log-start-offset.copy"] {
            assert_eq!(kind(name), Some(FileKind::LogStart));
        }
        assert_eq!(kind("log-start-offset-checkpoint"), Some(FileKind::Checkpoint));
        assert_eq!(kind("leader-epoch-checkpoint"), Some(FileKind::LeaderEpochs));
        for other in ["42.log", "00000000000000000042.log.tmp", "99999999999999999999.log", "partition.metadata", ""] {
            assert_eq!(kind(other), None, "{other}");
        }
    }

    #[test]
    fn a_folder_names_its_partition() {
        assert_eq!(parse_partition_name("a-b-7"), Some(TopicPartition::new("a-b", 7)));
        assert_eq!(parse_partition_name("a--1"), Some(TopicPartition::new("a-", 1)));
        for other in ["a", "-1", "a-", "a-+1", "a-01", "a-0.0123456789abcdef0123456789abcdef-delete", "a-99999999999"] {
            assert_eq!(parse_partition_name(other), None, "{other}");
        }
    }
}
