//! DescribeQuorum (55): describes the voters and observers of the metadata log. Versions 0 to 2.
//!
//! By version: 0: KIP-595 · 1: when a replica fetched last (KIP-836) · 2: directories, listeners and messages
//! (KIP-853).

use crate::Uuid;
use crate::message;

message! {
    /// A request that describes the voters and observers of the metadata log.
    request DescribeQuorum DescribeQuorumRequest => DescribeQuorumResponse, flexible 0 {
        topics: Vec<TopicData> = since(0);
    }

    /// Part of [`DescribeQuorumRequest`].
    struct TopicData {
        topic_name: String = since(0);
        partitions: Vec<PartitionData> = since(0);
    }

    /// Part of [`DescribeQuorumRequest`].
    struct PartitionData {
        partition_index: i32 = since(0);
    }

    /// Answers [`DescribeQuorumRequest`].
    message DescribeQuorumResponse, flexible 0 {
        error_code: i16 = since(0);
        error_message: Option<String> = since(2).null(2).ignorable();
        topics: Vec<TopicDataResponse> = since(0);
        nodes: Vec<Node> = since(2);
    }

    /// Part of [`DescribeQuorumResponse`].
    struct ReplicaState {
        replica_id: i32 = since(0);
        replica_directory_id: Uuid = since(2);
        log_end_offset: i64 = since(0);
        last_fetch_timestamp: i64 = since(1).ignorable(), default -1;
        last_caught_up_timestamp: i64 = since(1).ignorable(), default -1;
    }

    /// Part of [`DescribeQuorumResponse`].
    struct TopicDataResponse {
        topic_name: String = since(0);
        partitions: Vec<PartitionDataResponse> = since(0);
    }

    /// Part of [`DescribeQuorumResponse`].
    struct PartitionDataResponse {
        partition_index: i32 = since(0);
        error_code: i16 = since(0);
        error_message: Option<String> = since(2).null(2).ignorable();
        leader_id: i32 = since(0);
        leader_epoch: i32 = since(0);
        high_watermark: i64 = since(0);
        current_voters: Vec<ReplicaState> = since(0);
        observers: Vec<ReplicaState> = since(0);
    }

    /// Part of [`DescribeQuorumResponse`].
    struct Node {
        node_id: i32 = since(2);
        listeners: Vec<Listener> = since(2);
    }

    /// Part of [`DescribeQuorumResponse`].
    struct Listener {
        name: String = since(2);
        host: String = since(2);
        port: u16 = since(2);
    }
}
