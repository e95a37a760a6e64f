//! What is known of the cluster: its brokers, and the leaders of the partitions that this client is interested in.
//!
//! An immutable picture made from a Metadata answer and the picture before it; who asks for it, and when, is
//! `cluster.rs`. Invariant: the leader epoch of a partition never goes back while its topic keeps its id (KIP-320), so
//! that an answer from a broker that lags behind cannot send traffic to a deposed leader.

use std::collections::HashMap;
use std::sync::Arc;

use ottla_protocol::messages::metadata::{MetadataResponse, MetadataResponseTopic};
use ottla_protocol::{ErrorCode, Uuid};

use crate::TopicPartition;

/// One broker's address.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node {
    /// The broker's id.
    pub id: i32,
    /// A name or an address; an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The rack that the broker says it is in.
    pub rack: Option<String>,
}

/// One partition's place in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionMetadata {
    /// Its index within the topic.
    pub partition: i32,
    /// The broker that leads it; `None` while there is none.
    pub leader: Option<i32>,
    /// The term of that leader, -1 if unknown.
    pub leader_epoch: i32,
    /// The brokers that hold a copy.
    pub replicas: Vec<i32>,
    /// Those of them that are in sync.
    pub in_sync_replicas: Vec<i32>,
}

/// One topic and all its partitions, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicMetadata {
    /// The topic's name.
    pub name: Arc<str>,
    /// The topic's id, [`Uuid::ZERO`] with brokers before Kafka 2.8.
    pub id: Uuid,
    /// Whether it belongs to the broker itself, such as `__consumer_offsets`.
    pub is_internal: bool,
    /// Its partitions: element `n` is partition `n`.
    pub partitions: Vec<PartitionMetadata>,
}

impl TopicMetadata {
    /// The partitions that can be written now; all of them when none has a leader.
    pub(crate) fn available(&self) -> Vec<i32> {
        let led = self.partitions.iter().filter(|partition| partition.leader.is_some());
        let available: Vec<i32> = led.map(|partition| partition.partition).collect();
        match available.is_empty() {
            true => self.partitions.iter().map(|partition| partition.partition).collect(),
            false => available,
        }
    }
}

/// What the last answer said about one topic.
pub(crate) type TopicAnswer = Result<Arc<TopicMetadata>, ErrorCode>;

/// One picture of the cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metadata {
    pub(crate) cluster_id: Option<String>,
    pub(crate) controller: Option<i32>,
    pub(crate) nodes: HashMap<i32, Node>,
    topics: HashMap<Arc<str>, TopicAnswer>,
}

impl Metadata {
    pub(crate) fn topic(&self, topic: &str) -> Option<&TopicAnswer> {
        self.topics.get(topic)
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = (&Arc<str>, &TopicAnswer)> {
        self.topics.iter()
    }

    pub(crate) fn topic_id(&self, topic: &str) -> Option<Uuid> {
        let known = self.topics.get(topic)?.as_ref().ok()?;
        (known.id != Uuid::ZERO).then_some(known.id)
    }

    /// The partition, where its topic is known and has it.
    pub(crate) fn partition(&self, partition: &TopicPartition) -> Option<&PartitionMetadata> {
        let topic = self.topics.get(&partition.topic)?.as_ref().ok()?;
        topic.partitions.get(usize::try_from(partition.partition).ok()?)
    }

    /// The picture after `response`. Topics that the answer leaves out are no longer known.
    pub(crate) fn after(&self, response: MetadataResponse) -> Metadata {
        let nodes = response.brokers.into_iter().filter_map(|broker| {
            let port = u16::try_from(broker.port).ok()?;
            Some((broker.node_id, Node { id: broker.node_id, host: broker.host, port, rack: broker.rack }))
        });
        let mut next = Metadata {
            cluster_id: response.cluster_id,
            controller: (response.controller_id >= 0).then_some(response.controller_id),
            nodes: nodes.collect(),
            ..Metadata::default()
        };
        for topic in response.topics {
            let Some(name) = topic.name.clone().map(Arc::<str>::from) else { continue };
            let answer = match error_of(topic.error_code) {
                Some(code) => Err(code),
                None => Ok(Arc::new(self.newer_of(&name, topic))),
            };
            next.topics.insert(name, answer);
        }
        next
    }

    fn newer_of(&self, name: &Arc<str>, topic: MetadataResponseTopic) -> TopicMetadata {
        let known =
            self.topics.get(name).and_then(|known| known.as_ref().ok()).filter(|known| known.id == topic.topic_id);
        let mut partitions: Vec<PartitionMetadata> = topic
            .partitions
            .into_iter()
            .map(|partition| PartitionMetadata {
                partition: partition.partition_index,
                leader: (partition.leader_id >= 0).then_some(partition.leader_id),
                leader_epoch: partition.leader_epoch,
                replicas: partition.replica_nodes,
                in_sync_replicas: partition.isr_nodes,
            })
            .collect();
        partitions.sort_by_key(|partition| partition.partition);
        // Partition n is element n everywhere; a gap (which Kafka never sends) ends the list.
        let dense = partitions.iter().zip(0..).take_while(|(partition, index)| partition.partition == *index).count();
        partitions.truncate(dense);
        for (partition, known) in partitions.iter_mut().zip(known.iter().flat_map(|known| &known.partitions)) {
            if partition.leader_epoch >= 0 && partition.leader_epoch < known.leader_epoch {
                partition.clone_from(known);
            }
        }
        TopicMetadata { name: name.clone(), id: topic.topic_id, is_internal: topic.is_internal, partitions }
    }
}

/// The error of a code on the wire: `None` for 0, `UnknownServerError` for one that this client does not know.
pub(crate) fn error_of(code: i16) -> Option<ErrorCode> {
    (code != 0).then(|| ErrorCode::try_from(code).unwrap_or(ErrorCode::UnknownServerError))
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::metadata::{MetadataResponseBroker, MetadataResponsePartition};

    use super::*;

    fn partition(partition_index: i32, leader_id: i32, leader_epoch: i32) -> MetadataResponsePartition {
        MetadataResponsePartition { partition_index, leader_id, leader_epoch, ..Default::default() }
    }

    fn answer(topic_id: Uuid, partitions: Vec<MetadataResponsePartition>) -> MetadataResponse {
        MetadataResponse {
            brokers: vec![MetadataResponseBroker { node_id: 1, host: "::1".into(), port: 9092, ..Default::default() }],
            topics: vec![MetadataResponseTopic { name: Some("t".into()), topic_id, partitions, ..Default::default() }],
            ..Default::default()
        }
    }

    #[test]
    fn a_leader_epoch_does_not_go_back() {
        let id = Uuid([7; 16]);
        let first = Metadata::default().after(answer(id, vec![partition(1, 2, 5), partition(0, 1, 5)]));
        let stale = first.after(answer(id, vec![partition(0, 9, 4), partition(1, 9, 6)]));
        assert_eq!(stale.partition(&TopicPartition::new("t", 0)).unwrap().leader, Some(1));
        assert_eq!(stale.partition(&TopicPartition::new("t", 1)).unwrap().leader, Some(9));
        assert_eq!(stale.topic_id("t"), Some(id));
    }

    #[test]
    fn a_topic_created_again_starts_afresh() {
        let first = Metadata::default().after(answer(Uuid([7; 16]), vec![partition(0, 1, 5)]));
        let second = first.after(answer(Uuid([8; 16]), vec![partition(0, 2, 0)]));
        assert_eq!(second.partition(&TopicPartition::new("t", 0)).unwrap().leader, Some(2));
        assert_eq!(second.topic_id("t"), Some(Uuid([8; 16])));
    }

    #[test]
    fn partitions_without_a_leader_are_not_available_unless_none_has_one() {
        let some = Metadata::default().after(answer(Uuid::ZERO, vec![partition(0, -1, 0), partition(1, 1, 0)]));
        assert_eq!(some.topic("t").unwrap().as_ref().unwrap().available(), [1]);
        let none = Metadata::default().after(answer(Uuid::ZERO, vec![partition(0, -1, 0), partition(1, -1, 0)]));
        assert_eq!(none.topic("t").unwrap().as_ref().unwrap().available(), [0, 1]);
        assert_eq!(none.topic_id("t"), None);
    }

    #[test]
    fn a_gap_in_the_numbers_ends_the_list() {
        let gap = Metadata::default().after(answer(Uuid::ZERO, vec![partition(0, 1, 0), partition(2, 1, 0)]));
        assert_eq!(gap.topic("t").unwrap().as_ref().unwrap().partitions.len(), 1);
        assert_eq!(gap.partition(&TopicPartition::new("t", -1)), None);
    }
}
