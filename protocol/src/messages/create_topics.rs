//! CreateTopics (19): creates topics. Versions 2 to 7.
//!
//! By version: 4: -1 asks for the broker's defaults (KIP-464) · 5: flexible (KIP-482), what was created comes back
//! (KIP-525) · 6: THROTTLING_QUOTA_EXCEEDED (KIP-599) · 7: topic ids (KIP-516).

use crate::Uuid;
use crate::message;

message! {
    /// A request that creates topics.
    request CreateTopics CreateTopicsRequest => CreateTopicsResponse, flexible 5 {
        topics: Vec<CreatableTopic> = since(0);
        timeout_ms: i32 = since(0), default 60000;
        validate_only: bool = since(1);
    }

    /// Part of [`CreateTopicsRequest`].
    struct CreatableTopic {
        name: String = since(0);
        num_partitions: i32 = since(0);
        replication_factor: i16 = since(0);
        assignments: Vec<CreatableReplicaAssignment> = since(0);
        configs: Vec<CreatableTopicConfig> = since(0);
    }

    /// Part of [`CreateTopicsRequest`].
    struct CreatableReplicaAssignment {
        partition_index: i32 = since(0);
        broker_ids: Vec<i32> = since(0);
    }

    /// Part of [`CreateTopicsRequest`].
    struct CreatableTopicConfig {
        name: String = since(0);
        value: Option<String> = since(0).null(0);
    }

    /// Answers [`CreateTopicsRequest`].
    message CreateTopicsResponse, flexible 5 {
        throttle_time_ms: i32 = since(2).ignorable();
        topics: Vec<CreatableTopicResult> = since(0);
    }

    /// Part of [`CreateTopicsResponse`].
    struct CreatableTopicResult {
        name: String = since(0);
        topic_id: Uuid = since(7).ignorable();
        error_code: i16 = since(0);
        error_message: Option<String> = since(1).null(0).ignorable();
        topic_config_error_code: i16 = since(5).ignorable().tag(0);
        num_partitions: i32 = since(5).ignorable(), default -1;
        replication_factor: i16 = since(5).ignorable(), default -1;
        configs: Option<Vec<CreatableTopicConfigs>> = since(5).null(5).ignorable();
    }

    /// Part of [`CreateTopicsResponse`].
    struct CreatableTopicConfigs {
        name: String = since(5);
        value: Option<String> = since(5).null(5);
        read_only: bool = since(5);
        config_source: i8 = since(5).ignorable(), default -1;
        is_sensitive: bool = since(5);
    }
}
