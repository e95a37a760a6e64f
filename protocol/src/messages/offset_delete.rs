//! OffsetDelete (47): deletes the offsets of a group. Versions 0.

use crate::message;

message! {
    /// Asks a broker: deletes the offsets of a group.
    request OffsetDelete OffsetDeleteRequest => OffsetDeleteResponse, flexible never {
        group_id: String = since(0);
        topics: Vec<OffsetDeleteRequestTopic> = since(0);
    }

    /// Part of [`OffsetDeleteRequest`].
    struct OffsetDeleteRequestTopic {
        name: String = since(0);
        partitions: Vec<OffsetDeleteRequestPartition> = since(0);
    }

    /// Part of [`OffsetDeleteRequest`].
    struct OffsetDeleteRequestPartition {
        partition_index: i32 = since(0);
    }

    /// Answers [`OffsetDeleteRequest`].
    message OffsetDeleteResponse, flexible never {
        error_code: i16 = since(0);
        throttle_time_ms: i32 = since(0).ignorable();
        topics: Vec<OffsetDeleteResponseTopic> = since(0);
    }

    /// Part of [`OffsetDeleteResponse`].
    struct OffsetDeleteResponseTopic {
        name: String = since(0);
        partitions: Vec<OffsetDeleteResponsePartition> = since(0);
    }

    /// Part of [`OffsetDeleteResponse`].
    struct OffsetDeleteResponsePartition {
        partition_index: i32 = since(0);
        error_code: i16 = since(0);
    }
}
