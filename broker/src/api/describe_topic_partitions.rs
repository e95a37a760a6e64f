//! DescribeTopicPartitions (75), version 0: topics in name order, page by page (KIP-966).
//!
//! A page holds at most as many partitions as the client, `max.request.partition.size.limit` and 2,000 allow; the cursor
//! names where the next one starts.

use std::collections::BTreeSet;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};

use super::authorized_operations::TOPIC;
use super::context::Api;
use super::error_map::ToErrorCode;
use crate::metadata::{MetadataImage, TopicImage, TopicName};

/// Answers one page.
pub(super) fn handle(api: &Api, request: DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let image = api.image();
    let mut left = request.response_partition_limit.clamp(1, api.config().max_request_partition_size_limit);
    let start = request.cursor;
    let all = request.topics.is_empty();
    let mut names: BTreeSet<String> = if all {
        image.topics().map(|topic| topic.name.to_string()).collect()
    } else {
        request.topics.into_iter().map(|topic| topic.name).collect()
    };
    if let Some(cursor) = &start {
        if cursor.partition_index < 0 || !(all || names.contains(&cursor.topic_name)) {
            let topics = names.into_iter().map(|name| failure(name, ErrorCode::InvalidRequest, i32::MIN)).collect();
            return DescribeTopicPartitionsResponse { topics, ..Default::default() };
        }
        names = names.split_off(&cursor.topic_name);
    }
    let mut topics = Vec::new();
    for name in names {
        let first = match &start {
            Some(cursor) if cursor.topic_name == name => cursor.partition_index,
            _ => 0,
        };
        if left == 0 {
            let next_cursor = Some(Cursor { topic_name: name, partition_index: first });
            return DescribeTopicPartitionsResponse { topics, next_cursor, ..Default::default() };
        }
        let Some(topic) = image.topic(&name) else {
            // A topic that went away between two pages is no longer there to be missed.
            if !(all || first > 0) {
                topics.push(unknown(name));
            }
            continue;
        };
        let end = topic.partition_count.min(first.saturating_add(left));
        topics.push(describe(api, &image, topic, first..end));
        left -= (end - first).max(0);
        if end < topic.partition_count {
            let next_cursor = Some(Cursor { topic_name: name, partition_index: end });
            return DescribeTopicPartitionsResponse { topics, next_cursor, ..Default::default() };
        }
    }
    DescribeTopicPartitionsResponse { topics, ..Default::default() }
}

fn unknown(name: String) -> DescribeTopicPartitionsResponseTopic {
    let error = match TopicName::parse(&name) {
        Ok(_) => ErrorCode::UnknownTopicOrPartition,
        Err(error) => error.to_error_code(),
    };
    failure(name, error, TOPIC)
}

fn failure(name: String, error: ErrorCode, topic_authorized_operations: i32) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: error.into(),
        name: Some(name),
        topic_authorized_operations,
        ..Default::default()
    }
}

fn describe(
    api: &Api,
    image: &MetadataImage,
    topic: &TopicImage,
    range: std::ops::Range<i32>,
) -> DescribeTopicPartitionsResponseTopic {
    let node = api.config().node_id;
    let partition = |partition_index: i32| DescribeTopicPartitionsResponsePartition {
        partition_index,
        leader_id: node,
        leader_epoch: image.leader_epoch().0,
        replica_nodes: vec![node],
        isr_nodes: vec![node],
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        ..Default::default()
    };
    DescribeTopicPartitionsResponseTopic {
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        is_internal: topic.name.is_internal(),
        partitions: range.map(partition).collect(),
        topic_authorized_operations: TOPIC,
        ..Default::default()
    }
}
