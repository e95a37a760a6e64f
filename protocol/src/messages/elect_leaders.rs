//! ElectLeaders (43): elects leaders of partitions. Versions 0 to 2.
//!
//! By version: 0: preferred leaders (KIP-183) · 1: unclean ones too (KIP-460) · 2: flexible (KIP-482).

use crate::message;

message! {
    /// A request that elects leaders of partitions.
    request ElectLeaders ElectLeadersRequest => ElectLeadersResponse, flexible 2 {
        election_type: i8 = since(1);
        topic_partitions: Option<Vec<TopicPartitions>> = since(0).null(0);
        timeout_ms: i32 = since(0), default 60000;
    }

    /// Part of [`ElectLeadersRequest`].
    struct TopicPartitions {
        topic: String = since(0);
        partitions: Vec<i32> = since(0);
    }

    /// Answers [`ElectLeadersRequest`].
    message ElectLeadersResponse, flexible 2 {
        throttle_time_ms: i32 = since(0);
        error_code: i16 = since(1);
        replica_election_results: Vec<ReplicaElectionResult> = since(0);
    }

    /// Part of [`ElectLeadersResponse`].
    struct ReplicaElectionResult {
        topic: String = since(0);
        partition_result: Vec<PartitionResult> = since(0);
    }

    /// Part of [`ElectLeadersResponse`].
    struct PartitionResult {
        partition_id: i32 = since(0);
        error_code: i16 = since(0);
        error_message: Option<String> = since(0).null(0);
    }
}
