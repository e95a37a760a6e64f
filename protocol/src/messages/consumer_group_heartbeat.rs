//! ConsumerGroupHeartbeat (68): joins, keeps up with and leaves a group of the consumer protocol. Versions 0 to 1.
//!
//! By version: 0: KIP-848 · 1: subscription by pattern (KIP-848), the member makes its own id (KIP-1082).

use crate::Uuid;
use crate::message;

message! {
    /// A request that joins, keeps up with and leaves a group of the consumer protocol.
    request ConsumerGroupHeartbeat ConsumerGroupHeartbeatRequest => ConsumerGroupHeartbeatResponse, flexible 0 {
        group_id: String = since(0);
        member_id: String = since(0);
        member_epoch: i32 = since(0);
        instance_id: Option<String> = since(0).null(0);
        rack_id: Option<String> = since(0).null(0);
        rebalance_timeout_ms: i32 = since(0), default -1;
        subscribed_topic_names: Option<Vec<String>> = since(0).null(0);
        subscribed_topic_regex: Option<String> = since(1).null(1);
        server_assignor: Option<String> = since(0).null(0);
        topic_partitions: Option<Vec<TopicPartitions>> = since(0).null(0);
    }

    /// Part of [`ConsumerGroupHeartbeatRequest`].
    struct TopicPartitions {
        topic_id: Uuid = since(0);
        partitions: Vec<i32> = since(0);
    }

    /// Answers [`ConsumerGroupHeartbeatRequest`].
    message ConsumerGroupHeartbeatResponse, flexible 0 {
        throttle_time_ms: i32 = since(0);
        error_code: i16 = since(0);
        error_message: Option<String> = since(0).null(0);
        member_id: Option<String> = since(0).null(0);
        member_epoch: i32 = since(0);
        heartbeat_interval_ms: i32 = since(0);
        assignment: Option<Assignment> = since(0).null(0);
    }

    /// Part of [`ConsumerGroupHeartbeatResponse`].
    struct Assignment {
        topic_partitions: Vec<TopicPartitions> = since(0);
    }
}
