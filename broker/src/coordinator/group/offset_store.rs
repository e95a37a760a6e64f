//! How far each group has read: the committed offsets, by group, topic and partition.
//!
//! Owns the map and nothing of the rules for committing (`commit`) or forgetting (`retention`).
//! Invariant: changes through `replay` only; a group or a topic without offsets is not in it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ottla_protocol::Uuid;
use ottla_protocol::messages::group_records::{OffsetCommitKey, OffsetCommitValue};

use super::group_record::{GroupRecord, NO_EXPIRY};

/// What the records of offsets in one change may take: as much as a batch may. Each has the names of the group and the topic in it, so a
/// short request can ask for far more.
pub(super) const CHANGE_BYTES_MAX: usize = 16 << 20;
/// What a record of an offset takes beside its texts.
const RECORD_BYTES: usize = 64;

/// What a record takes that commits an offset, or forgets it.
pub(super) fn record_bytes(group: &str, topic: &str, metadata: &str) -> usize {
    RECORD_BYTES + group.len() + topic.len() + metadata.len()
}

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommittedOffset {
    /// The next offset that the group wants to read.
    pub(crate) offset: i64,
    /// The leader epoch of the last record that was read (KIP-320), -1 if the client did not say.
    pub(crate) leader_epoch: i32,
    /// What the client wrote beside it.
    pub(crate) metadata: Box<str>,
    /// When it was committed, in milliseconds since 1970.
    pub(crate) commit_timestamp_ms: i64,
    /// When it expires whatever else is so, or [`NO_EXPIRY`]; only very old clients say.
    pub(crate) expire_timestamp_ms: i64,
    /// The topic that was meant; zero in records of old brokers.
    pub(crate) topic_id: Uuid,
}

impl CommittedOffset {
    fn from_value(value: &OffsetCommitValue) -> Self {
        Self {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: value.metadata.as_str().into(),
            commit_timestamp_ms: value.commit_timestamp,
            expire_timestamp_ms: value.expire_timestamp,
            topic_id: value.topic_id,
        }
    }

    /// The record that commits this.
    pub(super) fn to_record(&self, group: &str, topic: &str, partition: i32) -> GroupRecord {
        // The version of the record that has an expiry has neither leader epochs nor topic ids.
        let has_expiry = self.expire_timestamp_ms != NO_EXPIRY;
        GroupRecord::OffsetCommit {
            key: key(group, topic, partition),
            value: Some(OffsetCommitValue {
                offset: self.offset,
                leader_epoch: if has_expiry { -1 } else { self.leader_epoch },
                metadata: self.metadata.to_string(),
                commit_timestamp: self.commit_timestamp_ms,
                expire_timestamp: self.expire_timestamp_ms,
                topic_id: if has_expiry { Uuid::ZERO } else { self.topic_id },
            }),
        }
    }
}

/// The offsets that one group has committed.
pub(super) type GroupOffsets = BTreeMap<Arc<str>, BTreeMap<i32, CommittedOffset>>;

/// The committed offsets of all groups of a shard.
#[derive(Debug, Default)]
pub(super) struct OffsetStore {
    groups: HashMap<Arc<str>, GroupOffsets>,
}

impl OffsetStore {
    /// What a group has committed for a partition.
    pub(super) fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.groups.get(group)?.get(topic)?.get(&partition)
    }

    /// All that a group has committed.
    pub(super) fn of_group(&self, group: &str) -> Option<&GroupOffsets> {
        self.groups.get(group)
    }

    /// The groups that have committed something.
    pub(super) fn group_ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.groups.keys()
    }

    /// Applies a record.
    pub(super) fn replay(&mut self, key: &OffsetCommitKey, value: Option<&OffsetCommitValue>) {
        match value {
            Some(value) => self.put(key, CommittedOffset::from_value(value)),
            None => self.remove(key),
        }
    }

    fn put(&mut self, key: &OffsetCommitKey, offset: CommittedOffset) {
        // Names are kept once: the look-up by borrowed text comes first.
        if !self.groups.contains_key(key.group.as_str()) {
            self.groups.insert(key.group.as_str().into(), GroupOffsets::new());
        }
        let topics = self.groups.get_mut(key.group.as_str()).expect("it was just put there");
        match topics.get_mut(key.topic.as_str()) {
            Some(partitions) => {
                partitions.insert(key.partition, offset);
            }
            None => {
                topics.insert(key.topic.as_str().into(), BTreeMap::from([(key.partition, offset)]));
            }
        }
    }

    fn remove(&mut self, key: &OffsetCommitKey) {
        let Some(topics) = self.groups.get_mut(key.group.as_str()) else { return };
        if let Some(partitions) = topics.get_mut(key.topic.as_str()) {
            partitions.remove(&key.partition);
            if partitions.is_empty() {
                topics.remove(key.topic.as_str());
            }
        }
        if topics.is_empty() {
            self.groups.remove(key.group.as_str());
        }
    }
}

/// The record that forgets what a group has committed for a partition.
pub(super) fn tombstone(group: &str, topic: &str, partition: i32) -> GroupRecord {
    GroupRecord::OffsetCommit { key: key(group, topic, partition), value: None }
}

/// The records that forget all that a group has committed.
pub(super) fn tombstones<'a>(group: &'a str, offsets: &'a GroupOffsets) -> impl Iterator<Item = GroupRecord> + 'a {
    offsets.iter().flat_map(move |(topic, partitions)| {
        partitions.keys().map(move |&partition| tombstone(group, topic, partition))
    })
}

fn key(group: &str, topic: &str, partition: i32) -> OffsetCommitKey {
    OffsetCommitKey { group: group.to_owned(), topic: topic.to_owned(), partition }
}
