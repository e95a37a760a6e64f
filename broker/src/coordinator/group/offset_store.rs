//! How far each group has read: the committed offsets, by group, topic and partition.
//!
//! Owns the map and nothing of the rules for committing (`commit`) or forgetting (`retention`).
//! Invariants: changes through `replay` only; a group or a topic without offsets is not in it; what it takes of the budget is what
//! its offsets take.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ottla_protocol::Uuid;
use ottla_protocol::messages::group_records::{OffsetCommitKey, OffsetCommitValue};

use super::group_record::{GroupRecord, NO_EXPIRY};
use super::offsets_bytes::OffsetsBudget;

/// What the records of offsets in one change may take: as much as a batch may. Each has the names of the group and the topic in it, so a
/// short request can ask for far more.
pub(super) const CHANGE_BYTES_MAX: usize = 16 << 20;
/// What a record of an offset takes beside its texts.
const RECORD_BYTES: usize = 64;

/// What an offset takes in memory beside its metadata, more or less.
const OFFSET_BYTES: usize = 128;
/// What a group, or a topic in it, takes in memory beside its name.
const NAME_BYTES: usize = 64;

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
#[derive(Debug)]
pub(super) struct OffsetStore {
    groups: HashMap<Arc<str>, GroupOffsets>,
    bytes: usize,
    budget: OffsetsBudget,
}

impl OffsetStore {
    /// A store without offsets that counts in `budget`.
    pub(super) fn of_budget(budget: OffsetsBudget) -> Self {
        Self { groups: HashMap::new(), bytes: 0, budget }
    }

    /// Whether a group may commit for these topics and partitions, with the metadata beside the offsets.
    pub(super) fn has_room_for<'o>(&self, group: &str, offsets: impl Iterator<Item = (&'o str, i32, &'o str)>) -> bool {
        let of_group = self.groups.get(group);
        // The partitions of a topic come one after the other: its name counts once.
        let mut new_topic = None;
        let more_of = |(topic, partition, metadata): (&'o str, i32, &'o str)| {
            let of_topic = of_group.and_then(|topics| topics.get(topic));
            if let Some(before) = of_topic.and_then(|partitions| partitions.get(&partition)) {
                return metadata.len().saturating_sub(before.metadata.len());
            }
            let has_name = of_topic.is_some() || new_topic.replace(topic) == Some(topic);
            OFFSET_BYTES + metadata.len() + if has_name { 0 } else { name_bytes(topic) }
        };
        let more_bytes = offsets.map(more_of).sum::<usize>();
        let is_new = more_bytes > 0 && of_group.is_none();
        self.budget.has_room_for(more_bytes + if is_new { name_bytes(group) } else { 0 })
    }

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
            self.count(name_bytes(&key.group));
            self.groups.insert(key.group.as_str().into(), GroupOffsets::new());
        }
        let mut more_bytes = OFFSET_BYTES + offset.metadata.len();
        let mut less_bytes = 0;
        let topics = self.groups.get_mut(key.group.as_str()).expect("it was just put there");
        match topics.get_mut(key.topic.as_str()) {
            Some(partitions) => {
                let before = partitions.insert(key.partition, offset);
                less_bytes = before.map_or(0, |before| OFFSET_BYTES + before.metadata.len());
            }
            None => {
                more_bytes += name_bytes(&key.topic);
                topics.insert(key.topic.as_str().into(), BTreeMap::from([(key.partition, offset)]));
            }
        }
        self.count(more_bytes);
        self.discount(less_bytes);
    }

    fn remove(&mut self, key: &OffsetCommitKey) {
        let Some(topics) = self.groups.get_mut(key.group.as_str()) else { return };
        let mut less_bytes = 0;
        if let Some(partitions) = topics.get_mut(key.topic.as_str()) {
            if let Some(before) = partitions.remove(&key.partition) {
                less_bytes += OFFSET_BYTES + before.metadata.len();
            }
            if partitions.is_empty() {
                topics.remove(key.topic.as_str());
                less_bytes += name_bytes(&key.topic);
            }
        }
        if topics.is_empty() {
            self.groups.remove(key.group.as_str());
            less_bytes += name_bytes(&key.group);
        }
        self.discount(less_bytes);
    }

    fn count(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.budget.add(bytes);
    }

    fn discount(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.budget.remove(bytes);
    }

    /// What the offsets take, as it was counted.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the offsets take, counted anew.
    #[cfg(test)]
    pub(super) fn counted_bytes(&self) -> usize {
        let of_topic = |(topic, partitions): (&Arc<str>, &BTreeMap<i32, CommittedOffset>)| {
            let offsets = partitions.values().map(|offset| OFFSET_BYTES + offset.metadata.len());
            name_bytes(topic) + offsets.sum::<usize>()
        };
        let groups = self.groups.iter();
        groups.map(|(group, topics)| name_bytes(group) + topics.iter().map(of_topic).sum::<usize>()).sum()
    }
}

/// A store that is gone gives back what it took.
impl Drop for OffsetStore {
    fn drop(&mut self) {
        self.budget.remove(self.bytes);
    }
}

fn name_bytes(name: &str) -> usize {
    NAME_BYTES + name.len()
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
