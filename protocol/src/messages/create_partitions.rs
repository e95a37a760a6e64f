//! CreatePartitions (37): adds partitions to topics. Versions 0 to 3.
//!
//! By version: 0: KIP-195 · 1: throttled after the answer (KIP-219) · 2: flexible (KIP-482) · 3:
//! THROTTLING_QUOTA_EXCEEDED (KIP-599).

use crate::message;

message! {
    /// A request that adds partitions to topics.
    request CreatePartitions CreatePartitionsRequest => CreatePartitionsResponse, flexible 2 {
        topics: Vec<CreatePartitionsTopic> = since(0);
        timeout_ms: i32 = since(0);
        validate_only: bool = since(0);
    }

    /// Part of [`CreatePartitionsRequest`].
    struct CreatePartitionsTopic {
        name: String = since(0);
        count: i32 = since(0);
        assignments: Option<Vec<CreatePartitionsAssignment>> = since(0).null(0);
    }

    /// Part of [`CreatePartitionsRequest`].
    struct CreatePartitionsAssignment {
        broker_ids: Vec<i32> = since(0);
    }

    /// Answers [`CreatePartitionsRequest`].
    message CreatePartitionsResponse, flexible 2 {
        throttle_time_ms: i32 = since(0);
        results: Vec<CreatePartitionsTopicResult> = since(0);
    }

    /// Part of [`CreatePartitionsResponse`].
    struct CreatePartitionsTopicResult {
        name: String = since(0);
        error_code: i16 = since(0);
        error_message: Option<String> = since(0).null(0);
    }
}
