//! OffsetForLeaderEpoch (23): tells where a leader epoch ends. Versions 2 to 4.
//!
//! By version: 2: the leader epoch is checked · 3: ordinary consumers may ask (both KIP-320) · 4: flexible (KIP-482).

use crate::message;

message! {
    /// A request that tells where a leader epoch ends.
    request OffsetForLeaderEpoch OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse, flexible 4 {
        replica_id: i32 = since(3).ignorable(), default -2;
        topics: Vec<OffsetForLeaderTopic> = since(0);
    }

    /// Part of [`OffsetForLeaderEpochRequest`].
    struct OffsetForLeaderTopic {
        topic: String = since(0);
        partitions: Vec<OffsetForLeaderPartition> = since(0);
    }

    /// Part of [`OffsetForLeaderEpochRequest`].
    struct OffsetForLeaderPartition {
        partition: i32 = since(0);
        current_leader_epoch: i32 = since(2).ignorable(), default -1;
        leader_epoch: i32 = since(0);
    }

    /// Answers [`OffsetForLeaderEpochRequest`].
    message OffsetForLeaderEpochResponse, flexible 4 {
        throttle_time_ms: i32 = since(2).ignorable();
        topics: Vec<OffsetForLeaderTopicResult> = since(0);
    }

    /// Part of [`OffsetForLeaderEpochResponse`].
    struct OffsetForLeaderTopicResult {
        topic: String = since(0);
        partitions: Vec<EpochEndOffset> = since(0);
    }

    /// Part of [`OffsetForLeaderEpochResponse`].
    struct EpochEndOffset {
        error_code: i16 = since(0);
        partition: i32 = since(0);
        leader_epoch: i32 = since(1).ignorable(), default -1;
        end_offset: i64 = since(0), default -1;
    }
}
