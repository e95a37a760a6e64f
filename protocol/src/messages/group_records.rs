//! Records of the group coordinator's log, `__consumer_offsets`, as Kafka writes them, so that its tools read ours.
//!
//! A key is two bytes of record type and the key's fields; a value is two bytes of version and the value's fields; a key
//! without a value deletes what it names. Records of share and streams groups are not here.

use bytes::Bytes;

use crate::Uuid;
use crate::message;

message! {
    /// Key of [`LegacyOffsetCommitValue`]: record type 0. Version 0.
    message LegacyOffsetCommitKey, flexible never {
        group: String = since(0);
        topic: String = since(0);
        partition: i32 = since(0);
    }

    /// How far a group has read, as written by very old brokers. Version 0.
    message LegacyOffsetCommitValue, flexible never {
        offset: i64 = since(0);
        metadata: String = since(0);
        commit_timestamp: i64 = since(0);
    }

    /// Key of [`OffsetCommitValue`]: record type 1. Version 0.
    message OffsetCommitKey, flexible never {
        group: String = since(0);
        topic: String = since(0);
        partition: i32 = since(0);
    }

    /// How far a group has read in a partition. 1: an expiry, gone again in 2 (KIP-211) · 3: leader epochs (KIP-320)
    /// · 4: flexible, topic ids. Versions 0 to 4.
    message OffsetCommitValue, flexible 4 {
        offset: i64 = since(0);
        leader_epoch: i32 = since(3).ignorable(), default -1;
        metadata: String = since(0);
        commit_timestamp: i64 = since(0);
        expire_timestamp: i64 = since(1).until(1).ignorable(), default -1;
        topic_id: Uuid = since(4).ignorable().tag(0);
    }

    /// Key of [`GroupMetadataValue`]: record type 2. Version 0.
    message GroupMetadataKey, flexible never {
        group: String = since(0);
    }

    /// A classic group, whole. 1: rebalance timeouts (KIP-62) · 2: when its state changed (KIP-211) · 3: static
    /// members (KIP-345) · 4: flexible. Versions 0 to 4.
    message GroupMetadataValue, flexible 4 {
        protocol_type: String = since(0);
        generation: i32 = since(0);
        protocol: Option<String> = since(0).null(0);
        leader: Option<String> = since(0).null(0);
        current_state_timestamp: i64 = since(2).ignorable(), default -1;
        members: Vec<MemberMetadata> = since(0);
    }

    /// Part of [`GroupMetadataValue`].
    struct MemberMetadata {
        member_id: String = since(0);
        group_instance_id: Option<String> = since(3).null(3).ignorable();
        client_id: String = since(0);
        client_host: String = since(0);
        rebalance_timeout: i32 = since(1).ignorable(), default -1;
        session_timeout: i32 = since(0);
        subscription: Bytes = since(0);
        assignment: Bytes = since(0);
    }

    /// Key of [`ConsumerGroupMetadataValue`]: record type 3. Version 0.
    message ConsumerGroupMetadataKey, flexible never {
        group_id: String = since(0);
    }

    /// The epoch of a consumer group. Version 0.
    message ConsumerGroupMetadataValue, flexible 0 {
        epoch: i32 = since(0);
        metadata_hash: i64 = since(0).tag(0);
    }

    /// Key of [`ConsumerGroupPartitionMetadataValue`]: record type 4. Version 0.
    message ConsumerGroupPartitionMetadataKey, flexible never {
        group_id: String = since(0);
    }

    /// The partitions that a consumer group knew of; written by Kafka 3.x, removed by 4.x. Version 0.
    message ConsumerGroupPartitionMetadataValue, flexible 0 {
        topics: Vec<TopicMetadata> = since(0);
    }

    /// Part of [`ConsumerGroupPartitionMetadataValue`].
    struct TopicMetadata {
        topic_id: Uuid = since(0);
        topic_name: String = since(0);
        num_partitions: i32 = since(0);
        partition_metadata: Vec<PartitionMetadata> = since(0);
    }

    /// Part of [`ConsumerGroupPartitionMetadataValue`].
    struct PartitionMetadata {
        partition: i32 = since(0);
        racks: Vec<String> = since(0);
    }

    /// Key of [`ConsumerGroupMemberMetadataValue`]: record type 5. Version 0.
    message ConsumerGroupMemberMetadataKey, flexible never {
        group_id: String = since(0);
        member_id: String = since(0);
    }

    /// A member of a consumer group and what it subscribes to. Version 0.
    message ConsumerGroupMemberMetadataValue, flexible 0 {
        instance_id: Option<String> = since(0).null(0);
        rack_id: Option<String> = since(0).null(0);
        client_id: String = since(0);
        client_host: String = since(0);
        subscribed_topic_names: Vec<String> = since(0);
        subscribed_topic_regex: Option<String> = since(0).null(0);
        rebalance_timeout_ms: i32 = since(0), default -1;
        server_assignor: Option<String> = since(0).null(0);
        classic_member_metadata: Option<ClassicMemberMetadata> = since(0).null(0).tag(0);
    }

    /// Part of [`ConsumerGroupMemberMetadataValue`].
    struct ClassicMemberMetadata {
        session_timeout_ms: i32 = since(0);
        supported_protocols: Vec<ClassicProtocol> = since(0);
    }

    /// Part of [`ConsumerGroupMemberMetadataValue`].
    struct ClassicProtocol {
        name: String = since(0);
        metadata: Bytes = since(0);
    }

    /// Key of [`ConsumerGroupTargetAssignmentMetadataValue`]: record type 6. Version 0.
    message ConsumerGroupTargetAssignmentMetadataKey, flexible never {
        group_id: String = since(0);
    }

    /// The epoch of the assignment that a consumer group is to reach. Version 0.
    message ConsumerGroupTargetAssignmentMetadataValue, flexible 0 {
        assignment_epoch: i32 = since(0);
        assignment_timestamp: i64 = since(0).ignorable().tag(0);
    }

    /// Key of [`ConsumerGroupTargetAssignmentMemberValue`]: record type 7. Version 0.
    message ConsumerGroupTargetAssignmentMemberKey, flexible never {
        group_id: String = since(0);
        member_id: String = since(0);
    }

    /// What a member is to own. Version 0.
    message ConsumerGroupTargetAssignmentMemberValue, flexible 0 {
        topic_partitions: Vec<TopicPartition> = since(0);
    }

    /// Part of [`ConsumerGroupTargetAssignmentMemberValue`].
    struct TopicPartition {
        topic_id: Uuid = since(0);
        partitions: Vec<i32> = since(0);
    }

    /// Key of [`ConsumerGroupCurrentMemberAssignmentValue`]: record type 8. Version 0.
    message ConsumerGroupCurrentMemberAssignmentKey, flexible never {
        group_id: String = since(0);
        member_id: String = since(0);
    }

    /// What a member owns and what it has yet to give up. Version 0.
    message ConsumerGroupCurrentMemberAssignmentValue, flexible 0 {
        member_epoch: i32 = since(0);
        previous_member_epoch: i32 = since(0);
        state: i8 = since(0);
        assigned_partitions: Vec<AssignedTopicPartitions> = since(0);
        partitions_pending_revocation: Vec<AssignedTopicPartitions> = since(0);
    }

    /// Part of [`ConsumerGroupCurrentMemberAssignmentValue`].
    struct AssignedTopicPartitions {
        topic_id: Uuid = since(0);
        partitions: Vec<i32> = since(0);
        assignment_epochs: Option<Vec<i32>> = since(0).null(0).tag(0);
    }

    /// Key of [`ConsumerGroupRegularExpressionValue`]: record type 16. Version 0.
    message ConsumerGroupRegularExpressionKey, flexible never {
        group_id: String = since(0);
        regular_expression: String = since(0);
    }

    /// The topics that a subscription pattern stood for when it was last looked up. Version 0.
    message ConsumerGroupRegularExpressionValue, flexible 0 {
        topics: Vec<String> = since(0);
        version: i64 = since(0);
        timestamp: i64 = since(0);
    }
}
