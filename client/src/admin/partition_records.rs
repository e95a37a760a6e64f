//! Records of partitions: where they start and end, and deleting the oldest.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_protocol::ApiKey;
use ottla_protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};

use super::Admin;
use crate::config::IsolationLevel;
use crate::connection::Connection;
use crate::leader_calls::{Answers, Asked, by_leader, by_topic};
use crate::offsets::{ListedOffset, OffsetSpec, list_offsets};
use crate::{Error, TopicPartition};

impl Admin {
    /// An offset of each partition: its start, its end, or the first at a time. One result for each partition.
    pub async fn list_offsets(
        &self,
        partitions: impl IntoIterator<Item = (TopicPartition, OffsetSpec)>,
        isolation_level: IsolationLevel,
    ) -> BTreeMap<TopicPartition, Result<ListedOffset, Error>> {
        list_offsets(&self.cluster, partitions.into_iter().collect(), isolation_level).await
    }

    /// Deletes the records before an offset; -1 stands for all that are there now. One result for each partition: the
    /// first offset that it still has.
    pub async fn delete_records(
        &self,
        partitions: impl IntoIterator<Item = (TopicPartition, i64)>,
    ) -> BTreeMap<TopicPartition, Result<i64, Error>> {
        let timeout = self.timeout();
        let call = |connection, asked| delete_before(connection, asked, timeout);
        by_leader(&self.cluster, partitions.into_iter().collect(), call).await
    }
}

async fn delete_before(
    connection: Connection,
    asked: Vec<Asked<i64>>,
    timeout: Duration,
) -> Result<Answers<i64>, Error> {
    let partition = |asked: &Asked<i64>| DeleteRecordsPartition {
        partition_index: asked.partition.partition,
        offset: asked.question,
    };
    let topics = by_topic(asked).into_iter().map(|(topic, asked)| DeleteRecordsTopic {
        name: topic.to_string(),
        partitions: asked.iter().map(partition).collect(),
    });
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let request = DeleteRecordsRequest { topics: topics.collect(), timeout_ms };
    let response = connection.request(&request, timeout).await?;
    let mut answers = Vec::new();
    for topic in response.topics {
        for found in topic.partitions {
            let partition = TopicPartition::new(topic.name.as_str(), found.partition_index);
            let answer = match found.error_code {
                0 => Ok(found.low_watermark),
                code => Err(Error::broker(ApiKey::DeleteRecords, code, connection.address(), &partition, None)),
            };
            answers.push((partition, answer));
        }
    }
    Ok(answers)
}
