//! ListPartitionReassignments (46): lists the partitions that are being moved. Version 0.
//!
//! By version: 0: KIP-455.

use crate::message;

message! {
    /// A request that lists the partitions that are being moved.
    request ListPartitionReassignments ListPartitionReassignmentsRequest => ListPartitionReassignmentsResponse, flexible 0 {
        timeout_ms: i32 = since(0), default 60000;
        topics: Option<Vec<ListPartitionReassignmentsTopics>> = since(0).null(0);
    }

    /// Part of [`ListPartitionReassignmentsRequest`].
    struct ListPartitionReassignmentsTopics {
        name: String = since(0);
        partition_indexes: Vec<i32> = since(0);
    }

    /// Answers [`ListPartitionReassignmentsRequest`].
    message ListPartitionReassignmentsResponse, flexible 0 {
        throttle_time_ms: i32 = since(0);
        error_code: i16 = since(0);
        error_message: Option<String> = since(0).null(0);
        topics: Vec<OngoingTopicReassignment> = since(0);
    }

    /// Part of [`ListPartitionReassignmentsResponse`].
    struct OngoingTopicReassignment {
        name: String = since(0);
        partitions: Vec<OngoingPartitionReassignment> = since(0);
    }

    /// Part of [`ListPartitionReassignmentsResponse`].
    struct OngoingPartitionReassignment {
        partition_index: i32 = since(0);
        replicas: Vec<i32> = since(0);
        adding_replicas: Vec<i32> = since(0);
        removing_replicas: Vec<i32> = since(0);
    }
}
