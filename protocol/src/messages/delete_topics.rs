//! DeleteTopics (20): deletes topics. Versions 1 to 6.
//!
//! By version: 1: throttle time · 2: throttled after the answer (KIP-219) · 3: TOPIC_DELETION_DISABLED (KIP-322) · 4:
//! flexible (KIP-482) · 5: THROTTLING_QUOTA_EXCEEDED and messages (KIP-599) · 6: by topic id (KIP-516).

use crate::Uuid;
use crate::message;

message! {
    /// A request that deletes topics.
    request DeleteTopics DeleteTopicsRequest => DeleteTopicsResponse, flexible 4 {
        topics: Vec<DeleteTopicState> = since(6);
        topic_names: Vec<String> = since(0).until(5).ignorable();
        timeout_ms: i32 = since(0);
    }

    /// Part of [`DeleteTopicsRequest`].
    struct DeleteTopicState {
        name: Option<String> = since(6).null(6);
        topic_id: Uuid = since(6);
    }

    /// Answers [`DeleteTopicsRequest`].
    message DeleteTopicsResponse, flexible 4 {
        throttle_time_ms: i32 = since(1).ignorable();
        responses: Vec<DeletableTopicResult> = since(0);
    }

    /// Part of [`DeleteTopicsResponse`].
    struct DeletableTopicResult {
        name: Option<String> = since(0).null(6);
        topic_id: Uuid = since(6).ignorable();
        error_code: i16 = since(0);
        error_message: Option<String> = since(5).null(5).ignorable();
    }
}
