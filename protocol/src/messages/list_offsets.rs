//! ListOffsets (2): finds offsets by timestamp. Versions 1 to 11.
//!
//! By version: 1: one offset and its timestamp (KIP-79) · 2: isolation levels (KIP-98) · 3: throttled after the
//! answer (KIP-219) · 4: leader epochs (KIP-320) · 5: OFFSET_NOT_AVAILABLE (KIP-207) · 6: flexible (KIP-482) · 7: -3
//! asks for the highest timestamp (KIP-734) · 8: -4 for the earliest local offset (KIP-405) · 9: -5 for the latest
//! remote one (KIP-1005) · 10: a timeout for remote look-ups (KIP-1075) · 11: -6 for the earliest offset still to be
//! uploaded (KIP-1023).

use crate::message;

message! {
    /// A request that finds offsets by timestamp.
    request ListOffsets ListOffsetsRequest => ListOffsetsResponse, flexible 6 {
        replica_id: i32 = since(0);
        isolation_level: i8 = since(2);
        topics: Vec<ListOffsetsTopic> = since(0);
        timeout_ms: i32 = since(10).ignorable();
    }

    /// Part of [`ListOffsetsRequest`].
    struct ListOffsetsTopic {
        name: String = since(0);
        partitions: Vec<ListOffsetsPartition> = since(0);
    }

    /// Part of [`ListOffsetsRequest`].
    struct ListOffsetsPartition {
        partition_index: i32 = since(0);
        current_leader_epoch: i32 = since(4).ignorable(), default -1;
        timestamp: i64 = since(0);
    }

    /// Answers [`ListOffsetsRequest`].
    message ListOffsetsResponse, flexible 6 {
        throttle_time_ms: i32 = since(2).ignorable();
        topics: Vec<ListOffsetsTopicResponse> = since(0);
    }

    /// Part of [`ListOffsetsResponse`].
    struct ListOffsetsTopicResponse {
        name: String = since(0);
        partitions: Vec<ListOffsetsPartitionResponse> = since(0);
    }

    /// Part of [`ListOffsetsResponse`].
    struct ListOffsetsPartitionResponse {
        partition_index: i32 = since(0);
        error_code: i16 = since(0);
        timestamp: i64 = since(1), default -1;
        offset: i64 = since(1), default -1;
        leader_epoch: i32 = since(4), default -1;
    }
}
