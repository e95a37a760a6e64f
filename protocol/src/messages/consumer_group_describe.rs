//! ConsumerGroupDescribe (69): describes groups of the consumer protocol and their members. Versions 0 to 1.
//!
//! By version: 0: KIP-848 · 1: which protocol a member speaks (KIP-1099).
//!
//! The fields with tag 10000 are Ottla's own: other clients skip them, other brokers leave them out.

use crate::Uuid;
use crate::message;

message! {
    /// A request that describes groups of the consumer protocol and their members.
    request ConsumerGroupDescribe ConsumerGroupDescribeRequest => ConsumerGroupDescribeResponse, flexible 0 {
        group_ids: Vec<String> = since(0);
        include_authorized_operations: bool = since(0);
    }

    /// Answers [`ConsumerGroupDescribeRequest`].
    message ConsumerGroupDescribeResponse, flexible 0 {
        throttle_time_ms: i32 = since(0);
        groups: Vec<DescribedGroup> = since(0);
    }

    /// Part of [`ConsumerGroupDescribeResponse`].
    struct TopicPartitions {
        topic_id: Uuid = since(0);
        topic_name: String = since(0);
        partitions: Vec<i32> = since(0);
    }

    /// Part of [`ConsumerGroupDescribeResponse`].
    struct Assignment {
        topic_partitions: Vec<TopicPartitions> = since(0);
    }

    /// Part of [`ConsumerGroupDescribeResponse`].
    struct DescribedGroup {
        error_code: i16 = since(0);
        error_message: Option<String> = since(0).null(0);
        group_id: String = since(0);
        group_state: String = since(0);
        group_epoch: i32 = since(0);
        assignment_epoch: i32 = since(0);
        assignor_name: String = since(0);
        members: Vec<Member> = since(0);
        authorized_operations: i32 = since(0), default i32::MIN;
        state_since_ms: i64 = since(0).tag(10000), default -1;
    }

    /// Part of [`ConsumerGroupDescribeResponse`].
    struct Member {
        member_id: String = since(0);
        instance_id: Option<String> = since(0).null(0);
        rack_id: Option<String> = since(0).null(0);
        member_epoch: i32 = since(0);
        client_id: String = since(0);
        client_host: String = since(0);
        subscribed_topic_names: Vec<String> = since(0);
        subscribed_topic_regex: Option<String> = since(0).null(0);
        assignment: Assignment = since(0);
        target_assignment: Assignment = since(0);
        member_type: i8 = since(1).ignorable(), default -1;
        last_heard_ms: i64 = since(0).tag(10000), default -1;
    }
}
