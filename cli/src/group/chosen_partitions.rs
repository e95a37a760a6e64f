//! `--topic TOPIC[:PARTITION,...]`: a topic, or some of its partitions.

use std::collections::BTreeSet;
use std::str::FromStr;

use ottla_client::TopicPartition;

/// A topic, or some of its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChosenPartitions {
    pub(super) topic: String,
    /// Empty for all of them.
    pub(super) partitions: BTreeSet<i32>,
}

impl ChosenPartitions {
    pub(super) fn contains(&self, at: &TopicPartition) -> bool {
        *self.topic == *at.topic && (self.partitions.is_empty() || self.partitions.contains(&at.partition))
    }
}

impl FromStr for ChosenPartitions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is no TOPIC and no TOPIC:PARTITION,PARTITION,...");
        // The name of a topic has no colon.
        let (topic, partitions) = match text.split_once(':') {
            None => (text, BTreeSet::new()),
            Some((topic, list)) => {
                let number = |part: &str| part.trim().parse().ok().filter(|partition| *partition >= 0);
                let partitions = list.split(',').map(number).collect::<Option<_>>().ok_or_else(expected)?;
                (topic, partitions)
            }
        };
        if topic.is_empty() {
            return Err(expected());
        }
        Ok(ChosenPartitions { topic: topic.to_owned(), partitions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_or_some_of_its_partitions() {
        let chosen = |text: &str| text.parse::<ChosenPartitions>();
        let some = chosen("flights:2, 0,2").expect("a topic and partitions");
        assert_eq!((some.topic.as_str(), some.partitions.len()), ("flights", 2));
        assert!(some.contains(&TopicPartition::new("flights", 0)));
        assert!(!some.contains(&TopicPartition::new("flights", 1)));
        assert!(!some.contains(&TopicPartition::new("planes", 0)));
        assert!(chosen("flights").expect("a topic").contains(&TopicPartition::new("flights", 7)));
        for wrong in ["", ":1", "flights:", "flights:a", "flights:-1", "flights:1,"] {
            assert!(chosen(wrong).is_err(), "{wrong}");
        }
    }
}
