//! AlterPartitionReassignments (45): moves partitions to other brokers, or stops a move. Versions 0 to 1.
//!
//! By version: 0: KIP-455 · 1: whether the replication factor may change (KIP-860).

use crate::message;

message! {
    /// A request that moves partitions to other brokers, or stops a move.
    request AlterPartitionReassignments AlterPartitionReassignmentsRequest => AlterPartitionReassignmentsResponse, flexible 0 {
        timeout_ms: i32 = since(0), default 60000;
        allow_replication_factor_change: bool = since(1), default true;
        topics: Vec<ReassignableTopic> = since(0);
    }

    /// Part of [`AlterPartitionReassignmentsRequest`].
    struct ReassignableTopic {
        name: String = since(0);
        partitions: Vec<ReassignablePartition> = since(0);
    }

    /// Part of [`AlterPartitionReassignmentsRequest`].
    struct ReassignablePartition {
        partition_index: i32 = since(0);
        replicas: Option<Vec<i32>> = since(0).null(0);
    }

    /// Answers [`AlterPartitionReassignmentsRequest`].
    message AlterPartitionReassignmentsResponse, flexible 0 {
        throttle_time_ms: i32 = since(0);
        allow_replication_factor_change: bool = since(1).ignorable(), default true;
        error_code: i16 = since(0);
        error_message: Option<String> = since(0).null(0);
        responses: Vec<ReassignableTopicResponse> = since(0);
    }

    /// Part of [`AlterPartitionReassignmentsResponse`].
    struct ReassignableTopicResponse {
        name: String = since(0);
        partitions: Vec<ReassignablePartitionResponse> = since(0);
    }

    /// Part of [`AlterPartitionReassignmentsResponse`].
    struct ReassignablePartitionResponse {
        partition_index: i32 = since(0);
        error_code: i16 = since(0);
        error_message: Option<String> = since(0).null(0);
    }
}
