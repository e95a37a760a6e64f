//! OffsetFetch (9): tells how far a group has read. Versions 1 to 10.
//!
//! By version: 2: null asks for all topics, and there is an error for the whole group · 3: throttle time · 4:
//! throttled after the answer (KIP-219) · 5: leader epochs (KIP-320) · 6: flexible (KIP-482) · 7: only offsets of
//! ended transactions (KIP-447) · 8: several groups at once (KIP-709) · 9: the member is checked · 10: topics by id
//! (both KIP-848).

use crate::Uuid;
use crate::message;

message! {
    /// A request that tells how far a group has read.
    request OffsetFetch OffsetFetchRequest => OffsetFetchResponse, flexible 6 {
        group_id: String = since(0).until(7);
        topics: Option<Vec<OffsetFetchRequestTopic>> = since(0).until(7).null(2);
        groups: Vec<OffsetFetchRequestGroup> = since(8);
        require_stable: bool = since(7);
    }

    /// Part of [`OffsetFetchRequest`].
    struct OffsetFetchRequestTopic {
        name: String = since(0).until(7);
        partition_indexes: Vec<i32> = since(0).until(7);
    }

    /// Part of [`OffsetFetchRequest`].
    struct OffsetFetchRequestGroup {
        group_id: String = since(8);
        member_id: Option<String> = since(9).null(9).ignorable();
        member_epoch: i32 = since(9).ignorable(), default -1;
        topics: Option<Vec<OffsetFetchRequestTopics>> = since(8).null(8);
    }

    /// Part of [`OffsetFetchRequest`].
    struct OffsetFetchRequestTopics {
        name: String = since(8).until(9).ignorable();
        topic_id: Uuid = since(10).ignorable();
        partition_indexes: Vec<i32> = since(8);
    }

    /// Answers [`OffsetFetchRequest`].
    message OffsetFetchResponse, flexible 6 {
        throttle_time_ms: i32 = since(3).ignorable();
        topics: Vec<OffsetFetchResponseTopic> = since(0).until(7);
        error_code: i16 = since(2).until(7).ignorable();
        groups: Vec<OffsetFetchResponseGroup> = since(8);
    }

    /// Part of [`OffsetFetchResponse`].
    struct OffsetFetchResponseTopic {
        name: String = since(0).until(7);
        partitions: Vec<OffsetFetchResponsePartition> = since(0).until(7);
    }

    /// Part of [`OffsetFetchResponse`].
    struct OffsetFetchResponsePartition {
        partition_index: i32 = since(0).until(7);
        committed_offset: i64 = since(0).until(7);
        committed_leader_epoch: i32 = since(5).until(7).ignorable(), default -1;
        metadata: Option<String> = since(0).until(7).null(0);
        error_code: i16 = since(0).until(7);
    }

    /// Part of [`OffsetFetchResponse`].
    struct OffsetFetchResponseGroup {
        group_id: String = since(8);
        topics: Vec<OffsetFetchResponseTopics> = since(8);
        error_code: i16 = since(8);
    }

    /// Part of [`OffsetFetchResponse`].
    struct OffsetFetchResponseTopics {
        name: String = since(8).until(9).ignorable();
        topic_id: Uuid = since(10).ignorable();
        partitions: Vec<OffsetFetchResponsePartitions> = since(8);
    }

    /// Part of [`OffsetFetchResponse`].
    struct OffsetFetchResponsePartitions {
        partition_index: i32 = since(8);
        committed_offset: i64 = since(8);
        committed_leader_epoch: i32 = since(8).ignorable(), default -1;
        metadata: Option<String> = since(8).null(8);
        error_code: i16 = since(8);
    }
}
