//! Looking at the cluster: its brokers, the versions they serve, and their disks.

use std::collections::BTreeMap;

use ottla_protocol::ApiKey;
use ottla_protocol::messages::describe_cluster::DescribeClusterRequest;
use ottla_protocol::messages::describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResult};

use super::Admin;
use super::topics::refused;
use crate::cluster::Lane;
use crate::connection::Connection;
use crate::metadata::Node;
use crate::{Error, TopicPartition};

/// The cluster's id and its brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterDescription {
    /// The cluster's id, if the broker says.
    pub cluster_id: Option<String>,
    /// The broker that changes metadata, or forwards to the one that does.
    pub controller: Option<i32>,
    /// The brokers, by id.
    pub nodes: Vec<Node>,
}

/// One API and the versions of it that a broker serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiVersionRange {
    /// The API's key on the wire.
    pub key: i16,
    /// The API, if this client knows it.
    pub api: Option<ApiKey>,
    /// The lowest version served.
    pub min: i16,
    /// The highest version served.
    pub max: i16,
}

/// One folder of logs on one broker.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LogDirDescription {
    /// The folder.
    pub path: String,
    /// Why it cannot be used, if it cannot.
    pub error: Option<Error>,
    /// The size of its volume in bytes, if the broker says.
    pub total_bytes: Option<i64>,
    /// What is free there, in bytes, if the broker says.
    pub usable_bytes: Option<i64>,
    /// The logs in it.
    pub replicas: BTreeMap<TopicPartition, ReplicaLogSize>,
}

/// One log on one broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicaLogSize {
    /// Bytes in its segments.
    pub size: i64,
    /// Records that it has yet to copy.
    pub offset_lag: i64,
    /// Whether it is being built to replace the one in another folder.
    pub is_future: bool,
}

impl Admin {
    /// The cluster's id and its brokers.
    ///
    /// # Errors
    /// Those of reaching a broker.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, Error> {
        let mut description = match self.cluster.any_connection().await?.version(ApiKey::DescribeCluster) {
            Ok(_) => {
                let request = DescribeClusterRequest::default();
                let (_, response) = self.ask_any(&request, |response| response.error_code).await?;
                let nodes = response.brokers.into_iter().filter_map(|broker| {
                    let port = u16::try_from(broker.port).ok()?;
                    Some(Node { id: broker.broker_id, host: broker.host, port, rack: broker.rack })
                });
                ClusterDescription {
                    cluster_id: Some(response.cluster_id),
                    controller: (response.controller_id >= 0).then_some(response.controller_id),
                    nodes: nodes.collect(),
                }
            }
            // Before Kafka 2.8.
            Err(_) => {
                let metadata = self.fetch_metadata(Some(&[])).await?;
                let nodes = metadata.nodes.values().cloned().collect();
                ClusterDescription { cluster_id: metadata.cluster_id, controller: metadata.controller, nodes }
            }
        };
        description.nodes.sort_by_key(|node| node.id);
        Ok(description)
    }

    /// The versions that a broker serves, by key; of whichever broker answers when none is named.
    ///
    /// # Errors
    /// Those of reaching the broker.
    pub async fn api_versions(&self, broker: Option<i32>) -> Result<Vec<ApiVersionRange>, Error> {
        let connection = match broker {
            Some(broker) => self.cluster.connection(broker, Lane::Control).await?,
            None => self.cluster.any_connection().await?,
        };
        let ranges = connection.served_versions().map(|(key, range)| ApiVersionRange {
            key,
            api: ApiKey::from_i16(key),
            min: *range.start(),
            max: *range.end(),
        });
        let mut ranges: Vec<ApiVersionRange> = ranges.collect();
        ranges.sort_by_key(|range| range.key);
        Ok(ranges)
    }

    /// The folders of logs of some brokers (of all, when none is named) and what is in them. One result for each broker.
    ///
    /// # Errors
    /// Those of reaching a first broker to learn the others from.
    pub async fn describe_log_dirs(
        &self,
        brokers: &[i32],
    ) -> Result<BTreeMap<i32, Result<Vec<LogDirDescription>, Error>>, Error> {
        let brokers = match brokers {
            [] => self.describe_cluster().await?.nodes.iter().map(|node| node.id).collect(),
            named => named.to_vec(),
        };
        let mut described = BTreeMap::new();
        for broker in brokers {
            let attempt = || async {
                let connection = self.cluster.connection(broker, Lane::Control).await?;
                let request = DescribeLogDirsRequest { topics: None };
                self.ask(connection, &request, |response| response.error_code).await
            };
            let answer = self.cluster.retrying(attempt).await.map(|(connection, response)| {
                response.results.into_iter().map(|result| log_dir(&connection, result)).collect()
            });
            described.insert(broker, answer);
        }
        Ok(described)
    }
}

fn log_dir(connection: &Connection, result: DescribeLogDirsResult) -> LogDirDescription {
    let known = |bytes: i64| (bytes >= 0).then_some(bytes);
    let error = refused(connection, ApiKey::DescribeLogDirs, result.error_code, &result.log_dir, None);
    let mut replicas = BTreeMap::new();
    for topic in result.topics {
        for partition in topic.partitions {
            let size = ReplicaLogSize {
                size: partition.partition_size,
                offset_lag: partition.offset_lag,
                is_future: partition.is_future_key,
            };
            replicas.insert(TopicPartition::new(topic.name.as_str(), partition.partition_index), size);
        }
    }
    LogDirDescription {
        path: result.log_dir,
        error,
        total_bytes: known(result.total_bytes),
        usable_bytes: known(result.usable_bytes),
        replicas,
    }
}
