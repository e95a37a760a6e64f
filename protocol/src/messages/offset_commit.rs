//! OffsetCommit (8): records how far a group has read. Versions 2 to 10.
//!
//! By version: 3: throttle time · 4: throttled after the answer (KIP-219) · 5: no retention time any more (KIP-211) ·
//! 6: leader epochs (KIP-320) · 7: static members (KIP-345) · 8: flexible (KIP-482) · 9: members of the consumer
//! protocol · 10: topics by id (both KIP-848).

use crate::Uuid;
use crate::message;

message! {
    /// A request that records how far a group has read.
    request OffsetCommit OffsetCommitRequest => OffsetCommitResponse, flexible 8 {
        group_id: String = since(0);
        generation_id_or_member_epoch: i32 = since(1).ignorable(), default -1;
        member_id: String = since(1).ignorable();
        group_instance_id: Option<String> = since(7).null(7);
        retention_time_ms: i64 = since(2).until(4).ignorable(), default -1;
        topics: Vec<OffsetCommitRequestTopic> = since(0);
    }

    /// Part of [`OffsetCommitRequest`].
    struct OffsetCommitRequestTopic {
        name: String = since(0).until(9).ignorable();
        topic_id: Uuid = since(10).ignorable();
        partitions: Vec<OffsetCommitRequestPartition> = since(0);
    }

    /// Part of [`OffsetCommitRequest`].
    struct OffsetCommitRequestPartition {
        partition_index: i32 = since(0);
        committed_offset: i64 = since(0);
        committed_leader_epoch: i32 = since(6).ignorable(), default -1;
        committed_metadata: Option<String> = since(0).null(0);
    }

    /// Answers [`OffsetCommitRequest`].
    message OffsetCommitResponse, flexible 8 {
        throttle_time_ms: i32 = since(3).ignorable();
        topics: Vec<OffsetCommitResponseTopic> = since(0);
    }

    /// Part of [`OffsetCommitResponse`].
    struct OffsetCommitResponseTopic {
        name: String = since(0).until(9).ignorable();
        topic_id: Uuid = since(10).ignorable();
        partitions: Vec<OffsetCommitResponsePartition> = since(0);
    }

    /// Part of [`OffsetCommitResponse`].
    struct OffsetCommitResponsePartition {
        partition_index: i32 = since(0);
        error_code: i16 = since(0);
    }
}
