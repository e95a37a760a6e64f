//! CreatePartitions: a topic gets more partitions; keyed records go elsewhere from then on, which is the client's concern.

use std::sync::Arc;

use super::controller::{Controller, Plan, fail_all};
use super::controller_error::ControllerError;
use super::create_topics::{check_brokers, check_partition_limit};
use super::image::TopicImage;
use super::metadata_record::MetadataRecord;
use super::partition_folder::NewFolders;
use crate::config::BrokerConfig;

/// A topic that is to have more partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewPartitions {
    /// The topic.
    pub name: String,
    /// How many partitions it is to have in all.
    pub count: i32,
    /// The brokers of each new partition; `None` to leave it to the controller.
    pub assignments: Option<Vec<Vec<i32>>>,
    /// Only check whether it could be done.
    pub validate_only: bool,
}

impl Controller {
    /// Adds partitions, each topic for itself. Answers in the order of the wishes. When it returns, the partitions are durable
    /// and open.
    ///
    /// # Errors
    /// For each topic, why it was not changed.
    pub fn create_partitions(&self, topics: Vec<NewPartitions>) -> Vec<Result<Arc<TopicImage>, ControllerError>> {
        let mut state = match self.lock() {
            Ok(state) => state,
            Err(error) => return topics.iter().map(|_| Err(error.clone())).collect(),
        };
        let config = self.config();
        let mut plan = self.plan(&state);
        let results = topics.iter().map(|topic| plan_partitions(&mut plan, &config, topic)).collect();
        match self.commit(&mut state, plan) {
            Ok(()) => results,
            Err(error) => fail_all(results, &error),
        }
    }
}

fn plan_partitions(
    plan: &mut Plan,
    config: &BrokerConfig,
    wish: &NewPartitions,
) -> Result<Arc<TopicImage>, ControllerError> {
    let Some(topic) = plan.image.topic(&wish.name).cloned() else {
        return Err(ControllerError::UnknownTopic { name: wish.name.clone() });
    };
    if topic.name.is_internal() {
        return Err(ControllerError::InternalTopic { name: topic.name.clone() });
    }
    let added = match wish.count.checked_sub(topic.partition_count) {
        Some(added) if added > 0 => added,
        _ => {
            return Err(ControllerError::NotMorePartitions {
                name: topic.name.clone(),
                current: topic.partition_count,
                count: wish.count,
            });
        }
    };
    if let Some(assignments) = &wish.assignments {
        if i32::try_from(assignments.len()) != Ok(added) {
            return Err(ControllerError::InvalidReplicaAssignment {
                partition: topic.partition_count,
                reason: format!("{added} new partitions, but {} assignments", assignments.len()),
            });
        }
        for (partition, broker_ids) in (topic.partition_count..).zip(assignments) {
            check_brokers(partition, broker_ids, config.node_id)?;
        }
    }
    check_partition_limit(plan, &topic.name, added, config)?;
    if wish.validate_only {
        return Ok(Arc::new(TopicImage { partition_count: wish.count, ..TopicImage::clone(&topic) }));
    }
    plan.folders.push(NewFolders {
        name: topic.name.clone(),
        topic_id: topic.id,
        partitions: topic.partition_count..wish.count,
    });
    plan.add(MetadataRecord::PartitionCount { topic_id: topic.id, partition_count: wish.count });
    Ok(plan.image.topic_by_id(&topic.id).expect("it is changed, not removed").clone())
}
