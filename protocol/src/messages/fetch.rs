//! Fetch (1): reads record batches from partitions. Versions 4 to 18.
//!
//! By version: 4: isolation levels and aborted transactions (KIP-98) · 5: the log's start (KIP-107) · 7: fetch
//! sessions (KIP-227) · 8: throttled after the answer (KIP-219) · 9: the leader epoch is checked (KIP-320) · 10: zstd
//! (KIP-110) · 11: the nearest replica (KIP-392) · 12: flexible (KIP-482), divergence is told (KIP-595) · 13: topics
//! by id instead of name (KIP-516) · 14: OFFSET_MOVED_TO_TIERED_STORAGE (KIP-405) · 15: a follower's epoch (KIP-903)
//! · 16: the new leader's address (KIP-951) · 17: a follower's directory (KIP-853) · 18: a follower's high watermark
//! (KIP-1166).

use crate::Records;
use crate::Uuid;
use crate::message;

message! {
    /// A request that reads record batches from partitions.
    request Fetch FetchRequest => FetchResponse, flexible 12 {
        cluster_id: Option<String> = since(12).null(12).ignorable().tag(0);
        replica_id: i32 = since(0).until(14), default -1;
        replica_state: ReplicaState = since(15).tag(1);
        max_wait_ms: i32 = since(0);
        min_bytes: i32 = since(0);
        max_bytes: i32 = since(3).ignorable(), default i32::MAX;
        isolation_level: i8 = since(4).ignorable();
        session_id: i32 = since(7).ignorable();
        session_epoch: i32 = since(7).ignorable(), default -1;
        topics: Vec<FetchTopic> = since(0);
        forgotten_topics_data: Vec<ForgottenTopic> = since(7);
        rack_id: String = since(11).ignorable();
    }

    /// Part of [`FetchRequest`].
    struct ReplicaState {
        replica_id: i32 = since(15), default -1;
        replica_epoch: i64 = since(15), default -1;
    }

    /// Part of [`FetchRequest`].
    struct FetchTopic {
        topic: String = since(0).until(12).ignorable();
        topic_id: Uuid = since(13).ignorable();
        partitions: Vec<FetchPartition> = since(0);
    }

    /// Part of [`FetchRequest`].
    struct FetchPartition {
        partition: i32 = since(0);
        current_leader_epoch: i32 = since(9).ignorable(), default -1;
        fetch_offset: i64 = since(0);
        last_fetched_epoch: i32 = since(12), default -1;
        log_start_offset: i64 = since(5).ignorable(), default -1;
        partition_max_bytes: i32 = since(0);
        replica_directory_id: Uuid = since(17).ignorable().tag(0);
        high_watermark: i64 = since(18).ignorable().tag(1), default i64::MAX;
    }

    /// Part of [`FetchRequest`].
    struct ForgottenTopic {
        topic: String = since(7).until(12).ignorable();
        topic_id: Uuid = since(13).ignorable();
        partitions: Vec<i32> = since(7);
    }

    /// Answers [`FetchRequest`].
    message FetchResponse, flexible 12 {
        throttle_time_ms: i32 = since(1).ignorable();
        error_code: i16 = since(7).ignorable();
        session_id: i32 = since(7);
        responses: Vec<FetchableTopicResponse> = since(0);
        node_endpoints: Vec<NodeEndpoint> = since(16).tag(0);
    }

    /// Part of [`FetchResponse`].
    struct FetchableTopicResponse {
        topic: String = since(0).until(12).ignorable();
        topic_id: Uuid = since(13).ignorable();
        partitions: Vec<PartitionData> = since(0);
    }

    /// Part of [`FetchResponse`].
    struct PartitionData {
        partition_index: i32 = since(0);
        error_code: i16 = since(0);
        high_watermark: i64 = since(0);
        last_stable_offset: i64 = since(4).ignorable(), default -1;
        log_start_offset: i64 = since(5).ignorable(), default -1;
        diverging_epoch: EpochEndOffset = since(12).tag(0);
        current_leader: LeaderIdAndEpoch = since(12).tag(1);
        snapshot_id: SnapshotId = since(12).tag(2);
        aborted_transactions: Option<Vec<AbortedTransaction>> = since(4).null(4).ignorable();
        preferred_read_replica: i32 = since(11), default -1;
        records: Records = since(0).null(0);
    }

    /// Part of [`FetchResponse`].
    struct EpochEndOffset {
        epoch: i32 = since(12), default -1;
        end_offset: i64 = since(12), default -1;
    }

    /// Part of [`FetchResponse`].
    struct LeaderIdAndEpoch {
        leader_id: i32 = since(12), default -1;
        leader_epoch: i32 = since(12), default -1;
    }

    /// Part of [`FetchResponse`].
    struct SnapshotId {
        end_offset: i64 = since(0), default -1;
        epoch: i32 = since(0), default -1;
    }

    /// Part of [`FetchResponse`].
    struct AbortedTransaction {
        producer_id: i64 = since(4);
        first_offset: i64 = since(4);
    }

    /// Part of [`FetchResponse`].
    struct NodeEndpoint {
        node_id: i32 = since(16);
        host: String = since(16);
        port: i32 = since(16);
        rack: Option<String> = since(16).null(16);
    }
}
