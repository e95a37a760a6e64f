//! CreateTopics (19), versions 2 to 7: creates topics, each by itself.
//!
//! Version 4 takes -1 for the default number of partitions and replicas (KIP-464), 5 tells the topic's configuration
//! (KIP-525), 7 its id (KIP-516). A topic that is answered takes produce with the very next request; Kafka answers earlier.
//! All topics of a request share one flush of their folders and one of the metadata log.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest,
    CreateTopicsResponse,
};

use super::context::{Api, Call};
use super::error_map::ToErrorCode;
use super::repeated::repeated;
use crate::config::{ConfigEntry, describe_topic};
use crate::metadata::{NewTopic, ReplicaAssignment, TopicImage};

/// Answers each topic by itself. Durable when it returns.
pub(super) fn handle(api: &Api, request: CreateTopicsRequest, call: &Call) -> CreateTopicsResponse {
    let repeated = repeated(request.topics.iter().map(|topic| topic.name.clone()));
    let mut refusals_due = repeated.clone();
    let mut results: Vec<CreatableTopicResult> = Vec::with_capacity(request.topics.len());
    let mut new = Vec::new();
    for topic in request.topics {
        if repeated.contains(&topic.name) {
            if refusals_due.remove(&topic.name) {
                let why = format!("topic {:?} is named more than once in this request", topic.name);
                results.push(refused(topic.name, ErrorCode::InvalidRequest, Some(why)));
            }
            continue;
        }
        new.push(wish(topic, request.validate_only));
    }
    let names: Vec<String> = new.iter().map(|topic| topic.name.clone()).collect();
    for (name, created) in names.into_iter().zip(api.controller.create_topics(new)) {
        results.push(match created {
            Ok(topic) => made(api, &topic, call),
            Err(error) => refused(name, error.to_error_code(), Some(error.to_string())),
        });
    }
    CreateTopicsResponse { topics: results, ..Default::default() }
}

fn wish(topic: CreatableTopic, validate_only: bool) -> NewTopic {
    let assignment = |assignment: CreatableReplicaAssignment| ReplicaAssignment {
        partition_index: assignment.partition_index,
        broker_ids: assignment.broker_ids,
    };
    NewTopic {
        name: topic.name,
        num_partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic.assignments.into_iter().map(assignment).collect(),
        configs: topic.configs.into_iter().map(|config| (config.name, config.value)).collect(),
        validate_only,
    }
}

fn made(api: &Api, topic: &TopicImage, call: &Call) -> CreatableTopicResult {
    let configs = (call.version >= 5).then(|| {
        let entries = describe_topic(&api.config(), &topic.configs);
        let entry = |entry: ConfigEntry| CreatableTopicConfigs {
            name: entry.name,
            value: entry.value,
            read_only: entry.read_only,
            config_source: entry.source.code(),
            is_sensitive: entry.sensitive,
        };
        entries.into_iter().map(entry).collect()
    });
    CreatableTopicResult {
        name: topic.name.to_string(),
        topic_id: topic.id,
        num_partitions: topic.partition_count,
        replication_factor: 1,
        configs,
        ..Default::default()
    }
}

fn refused(name: String, code: ErrorCode, why: Option<String>) -> CreatableTopicResult {
    CreatableTopicResult {
        name,
        error_code: code.into(),
        error_message: why,
        configs: Some(Vec::new()),
        ..Default::default()
    }
}
