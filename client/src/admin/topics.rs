//! Creating, deleting, listing, describing and widening topics.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use ottla_protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic, CreatePartitionsTopicResult,
};
use ottla_protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreatableTopicResult, CreateTopicsRequest,
    CreateTopicsResponse,
};
use ottla_protocol::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use ottla_protocol::messages::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponsePartition, TopicRequest,
};
use ottla_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use ottla_protocol::{ApiKey, ErrorCode, Uuid};

use super::{Admin, not_controller};
use crate::Error;
use crate::connection::Connection;
use crate::metadata::{Metadata, PartitionMetadata, TopicMetadata};

/// The first version of DeleteTopics that takes states instead of names.
const DELETE_TOPICS_BY_STATE: i16 = 6;

/// A topic to be created.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// The number of partitions; -1 leaves it to the broker's `num.partitions`.
    pub partitions: i32,
    /// Copies of each partition; -1 leaves it to the broker's `default.replication.factor`.
    pub replication_factor: i16,
    /// The brokers that hold each partition, the preferred leader first. With these, `partitions` and
    /// `replication_factor` are not sent.
    pub assignments: Vec<Vec<i32>>,
    /// Overrides of the broker's defaults, such as `retention.ms`.
    pub configs: Vec<(String, String)>,
}

impl NewTopic {
    /// A topic of so many partitions, with the broker's defaults otherwise.
    pub fn new(name: impl Into<String>, partitions: i32) -> Self {
        NewTopic { name: name.into(), partitions, replication_factor: -1, assignments: Vec::new(), configs: Vec::new() }
    }

    /// The same topic with so many copies of each partition.
    #[must_use]
    pub fn replication_factor(mut self, replication_factor: i16) -> Self {
        self.replication_factor = replication_factor;
        self
    }

    /// The same topic with one override more.
    #[must_use]
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.push((name.into(), value.into()));
        self
    }

    fn to_wire(&self) -> CreatableTopic {
        let assigned = !self.assignments.is_empty();
        let assignment = |(broker_ids, index): (&Vec<i32>, i32)| CreatableReplicaAssignment {
            partition_index: index,
            broker_ids: broker_ids.clone(),
        };
        let config =
            |(name, value): &(String, String)| CreatableTopicConfig { name: name.clone(), value: Some(value.clone()) };
        CreatableTopic {
            name: self.name.clone(),
            num_partitions: if assigned { -1 } else { self.partitions },
            replication_factor: if assigned { -1 } else { self.replication_factor },
            assignments: self.assignments.iter().zip(0..).map(assignment).collect(),
            configs: self.configs.iter().map(config).collect(),
        }
    }
}

/// A topic that was created.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CreatedTopic {
    /// Its id, [`Uuid::ZERO`] with brokers before Kafka 2.8.
    pub id: Uuid,
    /// The number of partitions, -1 if the broker does not say.
    pub partitions: i32,
    /// Copies of each partition, -1 if the broker does not say.
    pub replication_factor: i16,
}

/// A topic in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicListing {
    /// Its name.
    pub name: String,
    /// Its id, [`Uuid::ZERO`] with brokers before Kafka 2.8.
    pub id: Uuid,
    /// Whether it belongs to the broker itself, such as `__consumer_offsets`.
    pub is_internal: bool,
    /// The number of partitions.
    pub partitions: usize,
}

/// The topics of a question with one result each.
pub(super) type ByTopic<T> = BTreeMap<String, Result<T, Error>>;

impl Admin {
    /// Creates one topic. It exists when this returns.
    ///
    /// # Errors
    /// [`Error::Broker`] with the broker's code, such as TOPIC_ALREADY_EXISTS; those of reaching a broker.
    pub async fn create_topic(&self, topic: NewTopic) -> Result<CreatedTopic, Error> {
        let created = self.create_topics(std::slice::from_ref(&topic), false).await?;
        self.only(created, ApiKey::CreateTopics, &topic.name)
    }

    /// Creates topics, or with `validate_only` just says whether they could be created. One result for each topic.
    ///
    /// # Errors
    /// Those of reaching a broker.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
    ) -> Result<ByTopic<CreatedTopic>, Error> {
        let topics = topics.iter().map(NewTopic::to_wire).collect();
        let request = CreateTopicsRequest { topics, timeout_ms: self.timeout_ms(), validate_only };
        let refusal = |response: &CreateTopicsResponse| not_controller(response.topics.iter().map(|t| t.error_code));
        let (connection, response) = self.ask_controller(&request, refusal).await?;
        let result = |topic: CreatableTopicResult| {
            let created = CreatedTopic {
                id: topic.topic_id,
                partitions: topic.num_partitions,
                replication_factor: topic.replication_factor,
            };
            let refused =
                refused(&connection, ApiKey::CreateTopics, topic.error_code, &topic.name, topic.error_message);
            (topic.name, refused.map_or(Ok(created), Err))
        };
        Ok(response.topics.into_iter().map(result).collect())
    }

    /// Deletes one topic with all its records.
    ///
    /// # Errors
    /// [`Error::Broker`] with the broker's code, such as UNKNOWN_TOPIC_OR_PARTITION; those of reaching a broker.
    pub async fn delete_topic(&self, topic: &str) -> Result<(), Error> {
        let deleted = self.delete_topics(&[topic]).await?;
        self.only(deleted, ApiKey::DeleteTopics, topic)
    }

    /// Deletes topics with all their records. One result for each topic.
    ///
    /// # Errors
    /// Those of reaching a broker.
    pub async fn delete_topics(&self, topics: &[&str]) -> Result<ByTopic<()>, Error> {
        let attempt = || async {
            let connection = self.cluster.controller_connection().await?;
            let by_state = connection.version(ApiKey::DeleteTopics)? >= DELETE_TOPICS_BY_STATE;
            let names = topics.iter().map(ToString::to_string);
            let state = |name| DeleteTopicState { name: Some(name), ..Default::default() };
            let mut request = DeleteTopicsRequest { timeout_ms: self.timeout_ms(), ..Default::default() };
            match by_state {
                true => request.topics = names.map(state).collect(),
                false => request.topic_names = names.collect(),
            }
            let refusal =
                |response: &DeleteTopicsResponse| not_controller(response.responses.iter().map(|t| t.error_code));
            self.ask(connection, &request, refusal).await
        };
        let (connection, response) = self.cluster.retrying(attempt).await?;
        let result = |topic: DeletableTopicResult| {
            let name = topic.name.unwrap_or_default();
            let refused = refused(&connection, ApiKey::DeleteTopics, topic.error_code, &name, topic.error_message);
            (name, refused.map_or(Ok(()), Err))
        };
        Ok(response.responses.into_iter().map(result).collect())
    }

    /// Gives topics more partitions: each the number that it is to have in all. Keys move to other partitions by that.
    /// With `validate_only` it is just checked. One result for each topic.
    ///
    /// # Errors
    /// Those of reaching a broker.
    pub async fn create_partitions(&self, topics: &[(&str, i32)], validate_only: bool) -> Result<ByTopic<()>, Error> {
        let wire = |(name, count): &(&str, i32)| CreatePartitionsTopic {
            name: (*name).to_owned(),
            count: *count,
            assignments: None,
        };
        let topics = topics.iter().map(wire).collect();
        let request = CreatePartitionsRequest { topics, timeout_ms: self.timeout_ms(), validate_only };
        let refusal =
            |response: &CreatePartitionsResponse| not_controller(response.results.iter().map(|t| t.error_code));
        let (connection, response) = self.ask_controller(&request, refusal).await?;
        let result = |topic: CreatePartitionsTopicResult| {
            let message = topic.error_message;
            let refused = refused(&connection, ApiKey::CreatePartitions, topic.error_code, &topic.name, message);
            (topic.name, refused.map_or(Ok(()), Err))
        };
        Ok(response.results.into_iter().map(result).collect())
    }

    /// All topics, internal ones too, by name.
    ///
    /// # Errors
    /// Those of reaching a broker.
    pub async fn list_topics(&self) -> Result<Vec<TopicListing>, Error> {
        let metadata = self.fetch_metadata(None).await?;
        let known = metadata.topics().filter_map(|(_, topic)| topic.as_ref().ok());
        let mut topics: Vec<TopicListing> = known
            .map(|topic| TopicListing {
                name: topic.name.to_string(),
                id: topic.id,
                is_internal: topic.is_internal,
                partitions: topic.partitions.len(),
            })
            .collect();
        topics.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(topics)
    }

    /// Topics with all their partitions and where these are. One result for each topic.
    ///
    /// # Errors
    /// Those of reaching a broker.
    pub async fn describe_topics(&self, topics: &[&str]) -> Result<ByTopic<TopicMetadata>, Error> {
        match self.cluster.any_connection().await?.version(ApiKey::DescribeTopicPartitions) {
            Ok(_) => self.describe_topic_partitions(topics).await,
            // Before Kafka 3.8.
            Err(_) => self.describe_by_metadata(topics).await,
        }
    }

    /// The answer comes in pages; a topic's partitions may go on in the next one.
    async fn describe_topic_partitions(&self, topics: &[&str]) -> Result<ByTopic<TopicMetadata>, Error> {
        let mut names: Vec<&str> = topics.to_vec();
        names.sort_unstable();
        names.dedup();
        let mut described: ByTopic<TopicMetadata> = BTreeMap::new();
        let mut cursor: Option<Cursor> = None;
        loop {
            let from = cursor.as_ref().map(|cursor| cursor.topic_name.as_str()).unwrap_or_default();
            let topics = names.iter().filter(|name| **name >= from);
            let request = DescribeTopicPartitionsRequest {
                topics: topics.map(|name| TopicRequest { name: (*name).to_owned() }).collect(),
                cursor: cursor.clone(),
                ..Default::default()
            };
            let (connection, response) = self.ask_any(&request, |_| 0).await?;
            for topic in response.topics {
                let name = topic.name.unwrap_or_default();
                let api = ApiKey::DescribeTopicPartitions;
                if let Some(error) = refused(&connection, api, topic.error_code, &name, None) {
                    described.insert(name, Err(error));
                    continue;
                }
                let fresh = TopicMetadata {
                    name: Arc::from(name.as_str()),
                    id: topic.topic_id,
                    is_internal: topic.is_internal,
                    partitions: Vec::new(),
                };
                if let Ok(known) = described.entry(name).or_insert(Ok(fresh)) {
                    known.partitions.extend(topic.partitions.into_iter().map(partition_metadata));
                }
            }
            match response.next_cursor {
                // A cursor that does not move would never end.
                Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
                _ => return Ok(described),
            }
        }
    }

    async fn describe_by_metadata(&self, topics: &[&str]) -> Result<ByTopic<TopicMetadata>, Error> {
        let metadata = self.fetch_metadata(Some(topics)).await?;
        let address: Arc<str> = self.cluster.config().bootstrap_servers.join(",").into();
        let result = |name: &&str| {
            let answer = match metadata.topic(name) {
                Some(Ok(topic)) => Ok(TopicMetadata::clone(topic)),
                Some(Err(code)) => Err(Error::broker(ApiKey::Metadata, code.code(), &address, name, None)),
                None => {
                    let unknown = ErrorCode::UnknownTopicOrPartition.code();
                    Err(Error::broker(ApiKey::Metadata, unknown, &address, name, None))
                }
            };
            ((*name).to_owned(), answer)
        };
        Ok(topics.iter().map(result).collect())
    }

    /// Metadata of some topics, or of all, beside what the cluster handle keeps for itself.
    pub(super) async fn fetch_metadata(&self, topics: Option<&[&str]>) -> Result<Metadata, Error> {
        let named = |name: &&str| MetadataRequestTopic { name: Some((*name).to_owned()), ..Default::default() };
        let topics = topics.map(|topics| topics.iter().map(named).collect());
        let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
        let (_, response) = self.ask_any(&request, |response| response.error_code).await?;
        Ok(Metadata::default().after(response))
    }

    /// The result of the only topic of a question.
    fn only<T>(&self, mut results: ByTopic<T>, api: ApiKey, topic: &str) -> Result<T, Error> {
        results.remove(topic).unwrap_or_else(|| {
            let address: Arc<str> = self.cluster.config().bootstrap_servers.join(",").into();
            Err(Error::MalformedResponse { address, api, reason: format!("it leaves out {topic}").into() })
        })
    }
}

/// The error of one part of an answer, unless its code is 0.
pub(super) fn refused(
    connection: &Connection,
    api: ApiKey,
    code: i16,
    resource: impl Display,
    message: Option<String>,
) -> Option<Error> {
    (code != 0).then(|| Error::broker(api, code, connection.address(), resource, message))
}

fn partition_metadata(partition: DescribeTopicPartitionsResponsePartition) -> PartitionMetadata {
    PartitionMetadata {
        partition: partition.partition_index,
        leader: (partition.leader_id >= 0).then_some(partition.leader_id),
        leader_epoch: partition.leader_epoch,
        replicas: partition.replica_nodes,
        in_sync_replicas: partition.isr_nodes,
    }
}
