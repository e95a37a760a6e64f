//! Which offset a partition has at its start, its end, or at a time: the ListOffsets question, for consumer and admin.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_protocol::ApiKey;
use ottla_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};

use crate::cluster::Cluster;
use crate::config::IsolationLevel;
use crate::connection::Connection;
use crate::leader_calls::{Answers, Asked, by_leader, by_topic};
use crate::{Error, TopicPartition};

/// Which offset is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OffsetSpec {
    /// The first offset that the log still has.
    Earliest,
    /// The offset that the next record will get (with `ReadCommitted`: the end of what is committed).
    Latest,
    /// The first record whose time is at or after this one, in milliseconds since 1970.
    Timestamp(i64),
    /// The record with the latest time (KIP-734).
    MaxTimestamp,
    /// The first offset on the broker's own disk, where older ones are stored elsewhere (KIP-405).
    EarliestLocal,
}

impl OffsetSpec {
    /// The number that stands for it on the wire, and the first version of the request that knows it.
    fn wire(self) -> (i64, i16) {
        match self {
            OffsetSpec::Timestamp(timestamp) => (timestamp.max(0), 1),
            OffsetSpec::Latest => (-1, 1),
            OffsetSpec::Earliest => (-2, 1),
            OffsetSpec::MaxTimestamp => (-3, 7),
            OffsetSpec::EarliestLocal => (-4, 8),
        }
    }
}

/// An offset, and what is known of the record there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedOffset {
    /// The offset; -1 when no record has the time asked for.
    pub offset: i64,
    /// The record's time in milliseconds since 1970; -1 where the question was not about time.
    pub timestamp: i64,
    /// The term in which the record was written, -1 if unknown.
    pub leader_epoch: i32,
}

/// Asks the leaders of all the partitions, repeating what may pass until the API timeout.
pub(crate) async fn list_offsets(
    cluster: &Cluster,
    questions: BTreeMap<TopicPartition, OffsetSpec>,
    isolation_level: IsolationLevel,
) -> BTreeMap<TopicPartition, Result<ListedOffset, Error>> {
    let timeout = cluster.config().request_timeout;
    by_leader(cluster, questions, |connection, asked| ask(connection, asked, isolation_level, timeout)).await
}

/// The same, where one failure is a failure of all.
pub(crate) async fn list_all_offsets(
    cluster: &Cluster,
    questions: BTreeMap<TopicPartition, OffsetSpec>,
    isolation_level: IsolationLevel,
) -> Result<BTreeMap<TopicPartition, ListedOffset>, Error> {
    let answers = list_offsets(cluster, questions, isolation_level).await;
    answers.into_iter().map(|(partition, answer)| Ok((partition, answer?))).collect()
}

async fn ask(
    connection: Connection,
    asked: Vec<Asked<OffsetSpec>>,
    isolation_level: IsolationLevel,
    timeout: Duration,
) -> Result<Answers<ListedOffset>, Error> {
    let version = connection.version(ApiKey::ListOffsets)?;
    let needed = asked.iter().map(|asked| asked.question.wire().1).max().unwrap_or_default();
    if version < needed {
        return Err(Error::UnsupportedVersion {
            address: connection.address().clone(),
            api: ApiKey::ListOffsets,
            served: format!("versions up to {version}"),
            spoken: format!("version {needed}, which this question needs"),
        });
    }
    let topics = by_topic(asked).into_iter().map(|(topic, asked)| ListOffsetsTopic {
        name: topic.to_string(),
        partitions: asked.iter().map(wire_partition).collect(),
    });
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: isolation_level.code(),
        topics: topics.collect(),
        timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
    };
    let response = connection.request_version(&request, version, timeout).await?;
    let mut answers = Vec::new();
    for topic in response.topics {
        for found in topic.partitions {
            let partition = TopicPartition::new(topic.name.as_str(), found.partition_index);
            let answer = match found.error_code {
                0 => {
                    let (offset, timestamp) = (found.offset, found.timestamp);
                    Ok(ListedOffset { offset, timestamp, leader_epoch: found.leader_epoch })
                }
                code => Err(Error::broker(ApiKey::ListOffsets, code, connection.address(), &partition, None)),
            };
            answers.push((partition, answer));
        }
    }
    Ok(answers)
}

fn wire_partition(asked: &Asked<OffsetSpec>) -> ListOffsetsPartition {
    ListOffsetsPartition {
        partition_index: asked.partition.partition,
        current_leader_epoch: asked.leader_epoch,
        timestamp: asked.question.wire().0,
    }
}
