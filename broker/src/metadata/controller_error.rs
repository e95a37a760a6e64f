//! What the controller refuses, and why. Which Kafka error code a client gets for it is decided in `api/error_map.rs`.

use std::sync::Arc;

use ottla_protocol::Uuid;
use thiserror::Error;

use super::alter_configs::{CONFIGURED_GROUPS_MAX, GROUP_NAME_BYTES_MAX};
use super::image::ReplayError;
use super::metadata_log::CHANGE_BYTES_MAX;
use super::metadata_record::MetadataRecordError;
use super::topic_name::{TopicName, TopicNameError};
use crate::config::ConfigError;
use crate::storage::StorageError;

/// Why a change of the metadata was not made. Nothing of it is durable or visible, except after [`ControllerError::Storage`].
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum ControllerError {
    /// INVALID_TOPIC_EXCEPTION.
    #[error(transparent)]
    InvalidTopicName(#[from] TopicNameError),
    /// INVALID_TOPIC_EXCEPTION: the names of metrics cannot tell `.` from `_`.
    #[error("topic name {name} collides with the existing topic {existing}")]
    TopicNameCollision {
        /// The name asked for.
        name: TopicName,
        /// The topic that is there.
        existing: TopicName,
    },
    /// INVALID_REQUEST: the name of the metadata log.
    #[error("topic {name} cannot be created: the name is that of the cluster's metadata")]
    ReservedTopicName {
        /// The name asked for.
        name: TopicName,
    },
    /// TOPIC_ALREADY_EXISTS.
    #[error("topic {name} exists already")]
    TopicExists {
        /// The name asked for.
        name: TopicName,
    },
    /// UNKNOWN_TOPIC_OR_PARTITION.
    #[error("there is no topic {name:?}")]
    UnknownTopic {
        /// The name asked for.
        name: String,
    },
    /// UNKNOWN_TOPIC_ID.
    #[error("there is no topic with the id {topic_id}")]
    UnknownTopicId {
        /// The id asked for.
        topic_id: Uuid,
    },
    /// INVALID_TOPIC_EXCEPTION: what the coordinators keep in it would be lost, or looked for in the wrong partition.
    #[error("topic {name} is the broker's own: it can neither be deleted nor get more partitions")]
    InternalTopic {
        /// The topic.
        name: TopicName,
    },
    /// INVALID_CONFIG: what the coordinators keep in it would be lost.
    #[error("topic {name} is the broker's own: {key} must be {value}, and set for the topic itself; {otherwise}")]
    InternalTopicConfig {
        /// The topic.
        name: TopicName,
        /// The key.
        key: &'static str,
        /// The only value that it may have.
        value: &'static str,
        /// What would come of another one, for people.
        otherwise: &'static str,
    },
    /// TOPIC_DELETION_DISABLED.
    #[error("topics cannot be deleted while delete.topic.enable is false")]
    TopicDeletionDisabled,
    /// INVALID_PARTITIONS.
    #[error("the number of partitions must be at least 1, or -1 for the default, not {count}")]
    InvalidPartitionCount {
        /// The number asked for.
        count: i32,
    },
    /// INVALID_PARTITIONS.
    #[error("topic {name} has {current} partitions: {count} would not be an increase")]
    NotMorePartitions {
        /// The topic.
        name: TopicName,
        /// How many it has.
        current: i32,
        /// The number asked for.
        count: i32,
    },
    /// INVALID_PARTITIONS: more than this broker can serve without degrading.
    #[error("{requested} partitions more would make {total}; {why} {limit}")]
    TooManyPartitions {
        /// How many more were asked for.
        requested: usize,
        /// How many there would be.
        total: usize,
        /// How many there may be.
        limit: usize,
        /// What sets the limit, for people.
        why: &'static str,
    },
    /// INVALID_REPLICATION_FACTOR.
    #[error("the replication factor must be 1, or -1 for the default, not {replication_factor}: there is one broker")]
    InvalidReplicationFactor {
        /// What was asked for, or `default.replication.factor`.
        replication_factor: i32,
    },
    /// INVALID_REPLICA_ASSIGNMENT.
    #[error("replica assignment of partition {partition}: {reason}")]
    InvalidReplicaAssignment {
        /// The partition.
        partition: i32,
        /// What is wrong with it.
        reason: String,
    },
    /// INVALID_REQUEST: no name, or a very long one.
    #[error("the name of a group with a configuration of its own has 1 to {GROUP_NAME_BYTES_MAX} bytes, not {bytes}")]
    InvalidGroupName {
        /// The length of the name asked for.
        bytes: usize,
    },
    /// POLICY_VIOLATION.
    #[error(
        "{CONFIGURED_GROUPS_MAX} groups have a configuration of their own, and no more may: set `group.consumer.*` of the broker"
    )]
    TooManyConfiguredGroups,
    /// INVALID_REQUEST: an explicit assignment already says it.
    #[error("with an explicit replica assignment, {field} must be -1, not {value}")]
    AssignmentAndCount {
        /// What must not be given as well.
        field: &'static str,
        /// What was given.
        value: i32,
    },
    /// INVALID_CONFIG, or INVALID_REQUEST for null.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// INVALID_REQUEST.
    #[error("the change needs {bytes} bytes in the metadata log; at most {CHANGE_BYTES_MAX} are allowed")]
    ChangeTooLarge {
        /// What its records need.
        bytes: usize,
    },
    /// UNKNOWN_SERVER_ERROR: 2^63 producer ids were handed out.
    #[error("no producer id is left")]
    ProducerIdsExhausted,
    /// KAFKA_STORAGE_ERROR. When the disk was full, nothing happened. Otherwise it is unknown until the broker restarts whether the
    /// change is durable, and nothing else is accepted before.
    #[error("the metadata cannot be changed: {0}")]
    Storage(#[from] Arc<StorageError>),
    /// The metadata log holds what this broker does not understand: it does not start.
    #[error("the metadata log does not make sense at record {index}: {reason}")]
    Replay {
        /// The record, counted from 0.
        index: usize,
        /// What is wrong with it.
        reason: ReplayError,
    },
    /// The metadata log holds what this broker does not understand: it does not start.
    #[error("the metadata log cannot be read at record {index}: {reason}")]
    Record {
        /// The record, counted from 0.
        index: usize,
        /// What is wrong with it.
        reason: Arc<MetadataRecordError>,
    },
}

impl From<StorageError> for ControllerError {
    fn from(error: StorageError) -> Self {
        Self::Storage(Arc::new(error))
    }
}
