//! ListOffsets (2): finds offsets by time or at the ends of a log. Versions 1 to 11.

use crate::message;

message! {
    /// Asks a broker: finds offsets by time or at the ends of a log.
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
