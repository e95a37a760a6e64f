//! Partitions of several topics, as people and programs read them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use ottla_client::TopicPartition;

/// A set of partitions: `flights:0,1 planes:3`, or in JSON `{"flights": [0, 1], "planes": [3]}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct PartitionSet(BTreeMap<String, BTreeSet<i32>>);

impl PartitionSet {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, topic: &str, partition: i32) -> bool {
        self.0.get(topic).is_some_and(|partitions| partitions.contains(&partition))
    }

    pub(super) fn insert(&mut self, topic: &str, partition: i32) {
        self.0.entry(topic.to_owned()).or_default().insert(partition);
    }

    /// Those that `other` does not have.
    pub(super) fn without(&self, other: &PartitionSet) -> PartitionSet {
        let all = self.0.iter().flat_map(|(topic, partitions)| partitions.iter().map(move |one| (topic, *one)));
        let mut rest = PartitionSet::default();
        for (topic, partition) in all.filter(|(topic, partition)| !other.contains(topic, *partition)) {
            rest.insert(topic, partition);
        }
        rest
    }
}

impl FromIterator<TopicPartition> for PartitionSet {
    fn from_iter<I: IntoIterator<Item = TopicPartition>>(partitions: I) -> Self {
        let mut set = PartitionSet::default();
        partitions.into_iter().for_each(|at| set.insert(&at.topic, at.partition));
        set
    }
}

impl fmt::Display for PartitionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (topic, partitions)) in self.0.iter().enumerate() {
            let partitions: Vec<String> = partitions.iter().map(i32::to_string).collect();
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{topic}:{}", partitions.join(","))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_grouped_by_topic() {
        let set = |partitions: &[(&str, i32)]| -> PartitionSet {
            partitions.iter().map(|(topic, partition)| TopicPartition::new(*topic, *partition)).collect()
        };
        let all = set(&[("b", 0), ("a", 10), ("a", 9)]);
        assert_eq!(all.to_string(), "a:9,10 b:0");
        assert_eq!(all.without(&set(&[("a", 9), ("b", 0)])), set(&[("a", 10)]));
        assert!(all.without(&all).is_empty());
    }
}
