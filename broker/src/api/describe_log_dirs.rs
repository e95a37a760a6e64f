//! DescribeLogDirs (35), versions 1 to 5: how large each partition is on disk (KIP-113), and how full the disk (KIP-827).
//!
//! There is one data directory. Version 5 tells whether it is cordoned (KIP-1066), which it never is.

use std::collections::HashSet;

use ottla_protocol::messages::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
    DescribeLogDirsTopic,
};

use super::context::Api;
use crate::replica::TopicReplicas;

/// Answers for the partitions that are named and exist, or for all.
pub(super) fn handle(api: &Api, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let mut topics = Vec::new();
    match request.topics {
        None => topics.extend(api.replicas.all().iter().map(|topic| describe(topic, |_| true))),
        Some(wanted) => {
            for wanted in wanted {
                let partitions: HashSet<i32> = wanted.partitions.into_iter().collect();
                if let Some(topic) = api.replicas.by_name(&wanted.topic) {
                    topics.push(describe(&topic, |partition| partitions.contains(&partition)));
                }
            }
        }
    }
    topics.retain(|topic| !topic.partitions.is_empty());
    let space = api.replicas.disk_space();
    DescribeLogDirsResponse {
        results: vec![DescribeLogDirsResult {
            log_dir: api.replicas.data_dir().display().to_string(),
            topics,
            total_bytes: space.map_or(-1, |space| as_i64(space.total_bytes)),
            usable_bytes: space.map_or(-1, |space| as_i64(space.usable_bytes)),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn describe(topic: &TopicReplicas, wanted: impl Fn(i32) -> bool) -> DescribeLogDirsTopic {
    let partitions = topic
        .partitions()
        .filter(|partition| wanted(partition.index()))
        .map(|partition| DescribeLogDirsPartition {
            partition_index: partition.index(),
            partition_size: as_i64(partition.size_bytes()),
            offset_lag: 0,
            is_future_key: false,
        })
        .collect();
    DescribeLogDirsTopic { name: topic.name().to_owned(), partitions }
}

fn as_i64(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
