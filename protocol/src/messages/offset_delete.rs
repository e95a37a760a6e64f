//! OffsetDelete (47): forgets how far a group has read. Version 0.
//!
//! By version: 0: KIP-496.

use crate::message;

message! {
    /// A request that forgets how far a group has read.
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
