//! Partitions by topic: what a member is to own, and what it owns since when.
//!
//! Owns the two shapes of an assignment and what can be asked of them. Invariant: no topic without a partition, so that
//! equal assignments compare equal.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::TopicId;

/// Partitions by topic, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Assignment {
    topics: BTreeMap<TopicId, BTreeSet<i32>>,
}

impl Assignment {
    /// Adds a partition; false when it was there.
    pub(crate) fn insert(&mut self, topic: TopicId, partition: i32) -> bool {
        self.topics.entry(topic).or_default().insert(partition)
    }

    /// Whether `partition` of `topic` is part of it.
    pub(crate) fn contains(&self, topic: &TopicId, partition: i32) -> bool {
        self.topics.get(topic).is_some_and(|partitions| partitions.contains(&partition))
    }

    /// Every partition, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TopicId, i32)> {
        self.topics.iter().flat_map(|(topic, partitions)| partitions.iter().map(|partition| (*topic, *partition)))
    }

    /// Every topic with its partitions, in order.
    pub(crate) fn topics(&self) -> impl ExactSizeIterator<Item = (&TopicId, &BTreeSet<i32>)> {
        self.topics.iter()
    }

    /// How many partitions it has.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.topics.values().map(BTreeSet::len).sum()
    }

    /// Whether it has none.
    pub(crate) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }
}

impl FromIterator<(TopicId, i32)> for Assignment {
    fn from_iter<I: IntoIterator<Item = (TopicId, i32)>>(partitions: I) -> Self {
        let mut assignment = Assignment::default();
        for (topic, partition) in partitions {
            assignment.insert(topic, partition);
        }
        assignment
    }
}

/// Partitions by topic, each with the member epoch in which its owner got it (KIP-1251): a commit of that epoch or a later one
/// comes from the time after.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OwnedPartitions {
    topics: BTreeMap<TopicId, BTreeMap<i32, i32>>,
}

impl OwnedPartitions {
    /// Adds a partition, or changes its epoch.
    pub(crate) fn insert(&mut self, topic: TopicId, partition: i32, epoch: i32) {
        self.topics.entry(topic).or_default().insert(partition, epoch);
    }

    /// The epoch in which `partition` of `topic` was got; `None` when it is not owned.
    pub(crate) fn epoch(&self, topic: &TopicId, partition: i32) -> Option<i32> {
        self.topics.get(topic)?.get(&partition).copied()
    }

    /// Whether `partition` of `topic` is part of it.
    pub(crate) fn contains(&self, topic: &TopicId, partition: i32) -> bool {
        self.epoch(topic, partition).is_some()
    }

    /// Every partition with its epoch, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TopicId, i32, i32)> {
        self.topics
            .iter()
            .flat_map(|(topic, partitions)| partitions.iter().map(|(partition, epoch)| (*topic, *partition, *epoch)))
    }

    /// Every topic with its partitions and their epochs, in order.
    pub(crate) fn topics(&self) -> impl ExactSizeIterator<Item = (&TopicId, &BTreeMap<i32, i32>)> {
        self.topics.iter()
    }

    /// Whether it has none.
    pub(crate) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// The partitions without their epochs.
    pub(crate) fn to_assignment(&self) -> Assignment {
        self.iter().map(|(topic, partition, _)| (topic, partition)).collect()
    }
}

impl FromIterator<(TopicId, i32, i32)> for OwnedPartitions {
    fn from_iter<I: IntoIterator<Item = (TopicId, i32, i32)>>(partitions: I) -> Self {
        let mut owned = OwnedPartitions::default();
        for (topic, partition, epoch) in partitions {
            owned.insert(topic, partition, epoch);
        }
        owned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_partitions_are_equal_in_whichever_order_they_came() {
        let (one, other) = (ottla_protocol::Uuid([1; 16]), ottla_protocol::Uuid([2; 16]));
        let forth: Assignment = [(one, 0), (one, 2), (other, 1)].into_iter().collect();
        let back: Assignment = [(other, 1), (one, 2), (one, 0), (one, 2)].into_iter().collect();
        assert_eq!(forth, back);
        assert_eq!(forth.len(), 3);
        assert!(forth.contains(&one, 2) && !forth.contains(&other, 2));
    }

    #[test]
    fn an_owned_partition_knows_its_epoch() {
        let topic = ottla_protocol::Uuid([1; 16]);
        let owned: OwnedPartitions = [(topic, 0, 5), (topic, 1, 7)].into_iter().collect();
        assert_eq!((owned.epoch(&topic, 1), owned.epoch(&topic, 2)), (Some(7), None));
        assert_eq!(owned.to_assignment(), [(topic, 0), (topic, 1)].into_iter().collect());
    }
}
