//! DescribeTopicPartitions (75): describes partitions page by page, with eligible leader replicas. Version 0.
//!
//! By version: 0: KIP-966.

use crate::Uuid;
use crate::message;

message! {
    /// A request that describes partitions page by page, with eligible leader replicas.
    request DescribeTopicPartitions DescribeTopicPartitionsRequest => DescribeTopicPartitionsResponse, flexible 0 {
        topics: Vec<TopicRequest> = since(0);
        response_partition_limit: i32 = since(0), default 2000;
        cursor: Option<Cursor> = since(0).null(0);
    }

    /// Part of [`DescribeTopicPartitionsRequest`].
    struct TopicRequest {
        name: String = since(0);
    }

    /// Part of [`DescribeTopicPartitionsRequest`].
    struct Cursor {
        topic_name: String = since(0);
        partition_index: i32 = since(0);
    }

    /// Answers [`DescribeTopicPartitionsRequest`].
    message DescribeTopicPartitionsResponse, flexible 0 {
        throttle_time_ms: i32 = since(0).ignorable();
        topics: Vec<DescribeTopicPartitionsResponseTopic> = since(0);
        next_cursor: Option<Cursor> = since(0).null(0);
    }

    /// Part of [`DescribeTopicPartitionsResponse`].
    struct DescribeTopicPartitionsResponseTopic {
        error_code: i16 = since(0);
        name: Option<String> = since(0).null(0);
        topic_id: Uuid = since(0).ignorable();
        is_internal: bool = since(0).ignorable();
        partitions: Vec<DescribeTopicPartitionsResponsePartition> = since(0);
        topic_authorized_operations: i32 = since(0), default i32::MIN;
    }

    /// Part of [`DescribeTopicPartitionsResponse`].
    struct DescribeTopicPartitionsResponsePartition {
        error_code: i16 = since(0);
        partition_index: i32 = since(0);
        leader_id: i32 = since(0);
        leader_epoch: i32 = since(0).ignorable(), default -1;
        replica_nodes: Vec<i32> = since(0);
        isr_nodes: Vec<i32> = since(0);
        eligible_leader_replicas: Option<Vec<i32>> = since(0).null(0);
        last_known_elr: Option<Vec<i32>> = since(0).null(0);
        offline_replicas: Vec<i32> = since(0).ignorable();
    }
}
