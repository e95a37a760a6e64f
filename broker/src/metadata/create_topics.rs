//! CreateTopics: many topics share one sync of the data directory and one of the metadata log.

use std::sync::Arc;

use ottla_protocol::Uuid;

use super::controller::{Controller, ControllerState, Plan, fail_all};
use super::controller_error::ControllerError;
use super::image::TopicImage;
use super::internal_topic;
use super::metadata_record::MetadataRecord;
use super::partition_folder::NewFolders;
use super::topic_name::{CLUSTER_METADATA_TOPIC, INTERNAL_TOPICS, TopicName};
use crate::config::{AlterOp, Alteration, BrokerConfig, alter_topic};

/// Partitions of internal topics that count against no limit: two topics of 50, as Kafka has them.
pub(crate) const INTERNAL_PARTITIONS: usize = 100;

/// A topic to be created.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name, unchecked.
    pub name: String,
    /// How many partitions; -1 for `num.partitions`, and with assignments.
    pub num_partitions: i32,
    /// 1; -1 for the default, and with assignments.
    pub replication_factor: i16,
    /// Which broker has which partition; empty to leave it to the controller.
    pub assignments: Vec<ReplicaAssignment>,
    /// Overrides of the broker's configuration.
    pub configs: Vec<(String, Option<String>)>,
    /// Only check whether it could be created.
    pub validate_only: bool,
}

/// The brokers of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplicaAssignment {
    /// The partition.
    pub partition_index: i32,
    /// Its brokers, the preferred leader first.
    pub broker_ids: Vec<i32>,
}

impl Controller {
    /// Creates topics, each for itself: one that is refused does not hinder the others. Answers in the order of the wishes.
    /// When it returns, the topics are durable and their partitions open.
    ///
    /// # Errors
    /// For each topic, why it was not created.
    pub fn create_topics(&self, topics: Vec<NewTopic>) -> Vec<Result<Arc<TopicImage>, ControllerError>> {
        let mut state = match self.lock() {
            Ok(state) => state,
            Err(error) => return topics.iter().map(|_| Err(error.clone())).collect(),
        };
        let config = self.config();
        let mut plan = self.plan(&state);
        let results = topics.into_iter().map(|topic| plan_topic(&mut plan, &mut state, &config, topic)).collect();
        match self.commit(&mut state, plan) {
            Ok(()) => results,
            Err(error) => fail_all(results, &error),
        }
    }
}

fn plan_topic(
    plan: &mut Plan,
    state: &mut ControllerState,
    config: &BrokerConfig,
    topic: NewTopic,
) -> Result<Arc<TopicImage>, ControllerError> {
    let name = TopicName::parse(&topic.name)?;
    if name.as_str() == CLUSTER_METADATA_TOPIC {
        return Err(ControllerError::ReservedTopicName { name });
    }
    if plan.image.topic(name.as_str()).is_some() {
        return Err(ControllerError::TopicExists { name });
    }
    if let Some(existing) = plan.image.colliding_name(&name) {
        return Err(ControllerError::TopicNameCollision { existing: existing.clone(), name });
    }
    let alterations: Vec<Alteration> = topic
        .configs
        .iter()
        .map(|(key, value)| Alteration { name: key.clone(), op: AlterOp::Set, value: value.clone() })
        .collect();
    let mut configs = alter_topic(config, &Default::default(), &alterations)?;
    internal_topic::complete(&name, &mut configs);
    internal_topic::check(&name, &configs)?;
    let partition_count = partition_count(&topic, config)?;
    check_partition_limit(plan, &name, partition_count, config)?;

    let created = TopicImage { name, id: unused_id(plan, state), partition_count, configs };
    if topic.validate_only {
        return Ok(Arc::new(created));
    }
    plan.folders.push(NewFolders {
        name: created.name.clone(),
        topic_id: created.id,
        partitions: created.partition_indexes(),
    });
    plan.add(MetadataRecord::Topic {
        name: created.name.as_str().to_owned(),
        topic_id: created.id,
        partition_count,
        configs: created.configs.clone(),
    });
    Ok(plan.image.topic_by_id(&created.id).expect("its record was just replayed").clone())
}

fn unused_id(plan: &Plan, state: &mut ControllerState) -> Uuid {
    loop {
        let id = state.random_id();
        if plan.image.topic_by_id(&id).is_none() {
            return id;
        }
    }
}

fn partition_count(topic: &NewTopic, config: &BrokerConfig) -> Result<i32, ControllerError> {
    if !topic.assignments.is_empty() {
        for (field, value) in
            [("replication factor", i32::from(topic.replication_factor)), ("partition count", topic.num_partitions)]
        {
            if value != -1 {
                return Err(ControllerError::AssignmentAndCount { field, value });
            }
        }
        return check_assignments(&topic.assignments, config.node_id);
    }
    let count = match topic.num_partitions {
        -1 => config.num_partitions,
        count if count < 1 => return Err(ControllerError::InvalidPartitionCount { count }),
        count => count,
    };
    let replication_factor = match topic.replication_factor {
        -1 => config.default_replication_factor,
        given => i32::from(given),
    };
    if replication_factor != 1 {
        return Err(ControllerError::InvalidReplicationFactor { replication_factor });
    }
    Ok(count)
}

/// The number of partitions of an explicit assignment: each index from 0 on exactly once, each on this broker.
fn check_assignments(assignments: &[ReplicaAssignment], node_id: i32) -> Result<i32, ControllerError> {
    let mut seen = vec![false; assignments.len()];
    for ReplicaAssignment { partition_index, broker_ids } in assignments {
        let refuse = |reason: &str| {
            Err(ControllerError::InvalidReplicaAssignment { partition: *partition_index, reason: reason.to_owned() })
        };
        match usize::try_from(*partition_index).ok().and_then(|index| seen.get_mut(index)) {
            None => return refuse("the partitions must be numbered from 0 without gaps"),
            Some(true) => return refuse("it is assigned more than once"),
            Some(unseen) => *unseen = true,
        }
        check_brokers(*partition_index, broker_ids, node_id)?;
    }
    Ok(i32::try_from(assignments.len()).unwrap_or(i32::MAX))
}

/// Refuses brokers that are not exactly this one.
pub(super) fn check_brokers(partition: i32, broker_ids: &[i32], node_id: i32) -> Result<(), ControllerError> {
    let refuse = |reason: String| Err(ControllerError::InvalidReplicaAssignment { partition, reason });
    if broker_ids.is_empty() {
        return refuse("it names no broker".to_owned());
    }
    if let Some(unknown) = broker_ids.iter().find(|id| **id != node_id) {
        return refuse(format!("there is no broker {unknown}, only {node_id}"));
    }
    if broker_ids.len() > 1 {
        return refuse(format!("it names broker {node_id} {} times", broker_ids.len()));
    }
    Ok(())
}

/// Refuses more partitions of this topic than `max.partitions`, or than there are descriptors for: a broker beyond its descriptors
/// and memory serves nobody well. Partitions of internal topics do not count, up to [`INTERNAL_PARTITIONS`]: a broker that is full of
/// topics still has groups.
pub(super) fn check_partition_limit(
    plan: &Plan,
    topic: &TopicName,
    more: i32,
    config: &BrokerConfig,
) -> Result<(), ControllerError> {
    let requested = usize::try_from(more).unwrap_or(0);
    let configured = usize::try_from(config.max_partitions).unwrap_or(0);
    let (limit, why) = match configured <= plan.partitions_max {
        true => (configured, "max.partitions is"),
        false => (plan.partitions_max, "half of the files that the broker may open (ulimit -n) are"),
    };
    let internal = INTERNAL_TOPICS.iter().filter_map(|name| plan.image.topic(name));
    let mut internal: usize = internal.map(|topic| topic.partition_indexes().len()).sum();
    let mut others = plan.image.partition_total() - internal;
    match topic.is_internal() {
        true => internal = internal.saturating_add(requested),
        false => others = others.saturating_add(requested),
    }
    let total = others.saturating_add(internal.saturating_sub(INTERNAL_PARTITIONS));
    match total > limit {
        true => Err(ControllerError::TooManyPartitions { requested, total, limit, why }),
        false => Ok(()),
    }
}
