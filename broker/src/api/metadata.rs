//! Metadata (3), versions 0 to 13: brokers, topics and partitions, and topics that come into being by being asked for.
//!
//! Version 0 means all topics by an empty list, later ones by null. Version 4 lets the client forbid auto-creation, 5 adds
//! offline replicas, 7 leader epochs (KIP-320), 8 authorized operations (KIP-430; those of the cluster left again in 11),
//! 10 topic ids (KIP-516), 12 asks by id, 13 has an error for the whole answer (KIP-1102).
//!
//! A topic that is created here is answered with its partitions, and they take produce at once; Kafka answers with an error
//! first and creates the topic behind it.

use ottla_protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
use ottla_protocol::{ErrorCode, Uuid};

use super::authorized_operations::{CLUSTER, TOPIC, or_unasked};
use super::context::{Api, Call};
use super::error_map::ToErrorCode;
use crate::metadata::{MetadataImage, NewTopic, TopicImage, TopicName};

/// True when answering may have to create a topic, which waits for the disk.
pub(super) fn may_create(api: &Api, request: &MetadataRequest, call: &Call) -> bool {
    creation_allowed(api, request, call) && {
        let image = api.image();
        request.topics.iter().flatten().any(|topic| {
            topic.name.as_deref().is_some_and(|name| topic.topic_id.is_zero() && image.topic(name).is_none())
        })
    }
}

/// Answers for the topics that are named, or for all.
pub(super) fn handle(api: &Api, request: MetadataRequest, call: &Call) -> MetadataResponse {
    let may_create = creation_allowed(api, &request, call);
    let operations = or_unasked(TOPIC, request.include_topic_authorized_operations);
    let everything = call.version == 0 && request.topics.as_ref().is_some_and(Vec::is_empty);
    let topics = match request.topics {
        Some(named) if !everything => {
            if may_create {
                create_missing(api, &named);
            }
            let image = api.image();
            named.into_iter().map(|topic| answer(api, &image, topic, call)).collect::<Vec<_>>()
        }
        _ => {
            let image = api.image();
            image.topics().map(|topic| describe(api, &image, topic)).collect()
        }
    };
    let topics = topics
        .into_iter()
        .map(|topic| MetadataResponseTopic {
            topic_authorized_operations: if topic.error_code == ErrorCode::None.code() { operations } else { i32::MIN },
            ..topic
        })
        .collect();
    let address = api.addresses.of_listener(call.client.listener);
    let with_cluster_operations = request.include_cluster_authorized_operations && (8..=10).contains(&call.version);
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: api.config().node_id,
            host: address.host.clone(),
            port: i32::from(address.port),
            rack: api.config().broker_rack.clone(),
        }],
        cluster_id: Some(api.image().cluster_id().to_string()),
        controller_id: api.config().node_id,
        topics,
        cluster_authorized_operations: or_unasked(CLUSTER, with_cluster_operations),
        ..Default::default()
    }
}

fn creation_allowed(api: &Api, request: &MetadataRequest, call: &Call) -> bool {
    api.config().auto_create_topics_enable && (call.version < 4 || request.allow_auto_topic_creation)
}

fn create_missing(api: &Api, named: &[MetadataRequestTopic]) {
    let image = api.image();
    let mut missing: Vec<&str> = named
        .iter()
        .filter(|topic| topic.topic_id.is_zero())
        .filter_map(|topic| topic.name.as_deref())
        .filter(|name| image.topic(name).is_none() && TopicName::parse(name).is_ok())
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return;
    }
    let with_defaults = |&name: &&str| NewTopic {
        name: name.to_owned(),
        num_partitions: -1,
        replication_factor: -1,
        assignments: Vec::new(),
        configs: Vec::new(),
        validate_only: false,
    };
    let new = missing.iter().map(with_defaults).collect();
    for (name, created) in missing.iter().zip(api.controller.create_topics(new)) {
        match created {
            Ok(_) => {
                tracing::info!(topic = name, "created a topic that a client asked for (auto.create.topics.enable)")
            }
            Err(error) => tracing::warn!(topic = name, %error, "could not create a topic that a client asked for"),
        }
    }
}

fn answer(api: &Api, image: &MetadataImage, wanted: MetadataRequestTopic, call: &Call) -> MetadataResponseTopic {
    let failed = |error: ErrorCode, name: Option<String>, topic_id: Uuid| MetadataResponseTopic {
        error_code: error.into(),
        name: if call.version < 12 { Some(name.unwrap_or_default()) } else { name },
        topic_id,
        ..Default::default()
    };
    if !wanted.topic_id.is_zero() {
        if call.version < 12 {
            return failed(ErrorCode::InvalidRequest, wanted.name, wanted.topic_id);
        }
        return match image.topic_by_id(&wanted.topic_id) {
            Some(topic) => describe(api, image, topic),
            None => failed(ErrorCode::UnknownTopicId, None, wanted.topic_id),
        };
    }
    let Some(name) = wanted.name else { return failed(ErrorCode::InvalidRequest, None, Uuid::ZERO) };
    match (image.topic(&name), TopicName::parse(&name)) {
        (Some(topic), _) => describe(api, image, topic),
        (None, Err(error)) => failed(error.to_error_code(), Some(name), Uuid::ZERO),
        (None, Ok(parsed)) => {
            let collides = image.colliding_name(&parsed).is_some() && creation_was_tried(api, call);
            let code = if collides { ErrorCode::InvalidTopicException } else { ErrorCode::UnknownTopicOrPartition };
            failed(code, Some(name), Uuid::ZERO)
        }
    }
}

/// A name that only differs in `.` and `_` from an existing topic's cannot be created (bad input 28, 29).
fn creation_was_tried(api: &Api, call: &Call) -> bool {
    api.config().auto_create_topics_enable && call.version >= 1
}

fn describe(api: &Api, image: &MetadataImage, topic: &TopicImage) -> MetadataResponseTopic {
    let node = api.config().node_id;
    let partition = |partition_index: i32| MetadataResponsePartition {
        partition_index,
        leader_id: node,
        leader_epoch: image.leader_epoch().0,
        replica_nodes: vec![node],
        isr_nodes: vec![node],
        ..Default::default()
    };
    MetadataResponseTopic {
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        is_internal: topic.name.is_internal(),
        partitions: topic.partition_indexes().map(partition).collect(),
        ..Default::default()
    }
}
