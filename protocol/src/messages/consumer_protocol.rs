//! What members of a classic consumer group tell each other through JoinGroup and SyncGroup.
//!
//! The coordinator passes both on without looking inside. On the wire two bytes of version precede each; a reader takes a
//! newer version for the newest that it knows, as fields are only ever added at the end.

use bytes::Bytes;

use crate::message;

message! {
    /// What the leader assigns to a member. Versions 0 to 3.
    message ConsumerProtocolAssignment, flexible never {
        assigned_partitions: Vec<TopicPartition> = since(0);
        user_data: Option<Bytes> = since(0).null(0);
    }

    /// Part of [`ConsumerProtocolAssignment`].
    struct TopicPartition {
        topic: String = since(0);
        partitions: Vec<i32> = since(0);
    }

    /// What a member subscribes to. 1: what it owns (KIP-429) · 2: since which generation (KIP-792) · 3: its rack
    /// (KIP-881). Versions 0 to 3.
    message ConsumerProtocolSubscription, flexible never {
        topics: Vec<String> = since(0);
        user_data: Option<Bytes> = since(0).null(0);
        owned_partitions: Vec<TopicPartition> = since(1).ignorable();
        generation_id: i32 = since(2).ignorable(), default -1;
        rack_id: Option<String> = since(3).null(3).ignorable();
    }
}
