//! Produce (0): appends record batches to partitions. Versions 3 to 13.
//!
//! By version: 3: batches of format 2 and a transactional id (KIP-98) · 5: the log's start (KIP-107) · 6: throttled
//! after the answer (KIP-219) · 7: zstd (KIP-110) · 8: errors by record (KIP-467) · 9: flexible (KIP-482) · 10: the
//! new leader comes with NOT_LEADER_OR_FOLLOWER (KIP-951) · 11: TRANSACTION_ABORTABLE · 12: partitions join a
//! transaction by being produced to (both KIP-890) · 13: topics by id instead of name (KIP-516).

use crate::Records;
use crate::Uuid;
use crate::message;

message! {
    /// A request that appends record batches to partitions.
    request Produce ProduceRequest => ProduceResponse, flexible 9 {
        transactional_id: Option<String> = since(3).null(3);
        acks: i16 = since(0);
        timeout_ms: i32 = since(0);
        topic_data: Vec<TopicProduceData> = since(0);
    }

    /// Part of [`ProduceRequest`].
    struct TopicProduceData {
        name: String = since(0).until(12).ignorable();
        topic_id: Uuid = since(13).ignorable();
        partition_data: Vec<PartitionProduceData> = since(0);
    }

    /// Part of [`ProduceRequest`].
    struct PartitionProduceData {
        index: i32 = since(0);
        records: Records = since(0).null(0);
    }

    /// Answers [`ProduceRequest`].
    message ProduceResponse, flexible 9 {
        responses: Vec<TopicProduceResponse> = since(0);
        throttle_time_ms: i32 = since(1).ignorable();
        node_endpoints: Vec<NodeEndpoint> = since(10).tag(0);
    }

    /// Part of [`ProduceResponse`].
    struct TopicProduceResponse {
        name: String = since(0).until(12).ignorable();
        topic_id: Uuid = since(13).ignorable();
        partition_responses: Vec<PartitionProduceResponse> = since(0);
    }

    /// Part of [`ProduceResponse`].
    struct PartitionProduceResponse {
        index: i32 = since(0);
        error_code: i16 = since(0);
        base_offset: i64 = since(0);
        log_append_time_ms: i64 = since(2).ignorable(), default -1;
        log_start_offset: i64 = since(5).ignorable(), default -1;
        record_errors: Vec<BatchIndexAndErrorMessage> = since(8).ignorable();
        error_message: Option<String> = since(8).null(8).ignorable();
        current_leader: LeaderIdAndEpoch = since(10).tag(0);
    }

    /// Part of [`ProduceResponse`].
    struct BatchIndexAndErrorMessage {
        batch_index: i32 = since(8);
        batch_index_error_message: Option<String> = since(8).null(8);
    }

    /// Part of [`ProduceResponse`].
    struct LeaderIdAndEpoch {
        leader_id: i32 = since(10), default -1;
        leader_epoch: i32 = since(10), default -1;
    }

    /// Part of [`ProduceResponse`].
    struct NodeEndpoint {
        node_id: i32 = since(10);
        host: String = since(10);
        port: i32 = since(10);
        rack: Option<String> = since(10).null(10);
    }
}
