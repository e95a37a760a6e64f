//! What every handler may use, and what it knows of the call that it serves.

use std::sync::Arc;

use ottla_protocol::{ApiKey, ErrorCode, Uuid};

use super::exchange::ClientInfo;
use super::server_address::ServerAddresses;
use crate::clock::Clock;
use crate::config::BrokerConfig;
use crate::coordinator::GroupCoordinator;
use crate::metadata::{Controller, MetadataImage};
use crate::metrics::Metrics;
use crate::replica::{FetchSessionCache, Partition, ReplicaManager};

/// The parts of the broker that handlers work with.
pub(crate) struct Api {
    pub(crate) addresses: ServerAddresses,
    pub(crate) controller: Arc<Controller>,
    pub(crate) replicas: Arc<ReplicaManager>,
    pub(crate) groups: Arc<GroupCoordinator>,
    pub(crate) fetch_sessions: FetchSessionCache,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
}

/// One request's header, decoded, and who sent it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) api_key: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) client_id: Option<String>,
    pub(crate) client: Arc<ClientInfo>,
}

/// How a request names a topic.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TopicName<'a> {
    Name(&'a str),
    Id(Uuid),
}

impl Api {
    /// The metadata as of now; one handler should look once.
    pub(crate) fn image(&self) -> Arc<MetadataImage> {
        self.controller.image()
    }

    /// The broker's configuration as of now.
    pub(crate) fn config(&self) -> Arc<BrokerConfig> {
        self.controller.config()
    }

    /// A partition by its topic's name, or UNKNOWN_TOPIC_OR_PARTITION.
    pub(crate) fn partition(&self, topic: &str, partition: i32) -> Result<Arc<Partition>, ErrorCode> {
        self.find(TopicName::Name(topic), partition)
    }

    /// A partition, or the code that says whether its topic or its number is unknown: an unknown topic id has a code of
    /// its own (KIP-516).
    pub(crate) fn find(&self, topic: TopicName<'_>, partition: i32) -> Result<Arc<Partition>, ErrorCode> {
        let replicas = match topic {
            TopicName::Name(name) => self.replicas.by_name(name).ok_or(ErrorCode::UnknownTopicOrPartition)?,
            TopicName::Id(id) => self.replicas.by_id(id).ok_or(ErrorCode::UnknownTopicId)?,
        };
        replicas.partition(partition).ok_or(if replicas.has(partition) {
            ErrorCode::KafkaStorageError
        } else {
            ErrorCode::UnknownTopicOrPartition
        })
    }

    /// Wall-clock time in milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }
}
