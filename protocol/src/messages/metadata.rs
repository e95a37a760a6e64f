//! Metadata (3): lists brokers, topics and partition leaders. Versions 0 to 13.
//!
//! By version: 1: racks, the controller, internal topics; null instead of an empty list asks for all topics · 2: the
//! cluster's id (KIP-78) · 4: creation of missing topics can be declined · 5: offline replicas (KIP-112) · 6:
//! throttled after the answer (KIP-219) · 7: leader epochs (KIP-320) · 8: authorized operations (KIP-430) · 9:
//! flexible (KIP-482) · 10: topic ids (KIP-516) · 11: the cluster's authorized operations have moved to
//! DescribeCluster (KIP-700) · 12: topics can be asked for by id · 13: an error for the whole answer (KIP-1102).

use crate::Uuid;
use crate::message;

message! {
    /// A request that lists brokers, topics and partition leaders.
    request Metadata MetadataRequest => MetadataResponse, flexible 9 {
        topics: Option<Vec<MetadataRequestTopic>> = since(0).null(1);
        allow_auto_topic_creation: bool = since(4), default true;
        include_cluster_authorized_operations: bool = since(8).until(10);
        include_topic_authorized_operations: bool = since(8);
    }

    /// Part of [`MetadataRequest`].
    struct MetadataRequestTopic {
        topic_id: Uuid = since(10).ignorable();
        name: Option<String> = since(0).null(10);
    }

    /// Answers [`MetadataRequest`].
    message MetadataResponse, flexible 9 {
        throttle_time_ms: i32 = since(3).ignorable();
        brokers: Vec<MetadataResponseBroker> = since(0);
        cluster_id: Option<String> = since(2).null(2).ignorable();
        controller_id: i32 = since(1).ignorable(), default -1;
        topics: Vec<MetadataResponseTopic> = since(0);
        cluster_authorized_operations: i32 = since(8).until(10), default i32::MIN;
        error_code: i16 = since(13).ignorable();
    }

    /// Part of [`MetadataResponse`].
    struct MetadataResponseBroker {
        node_id: i32 = since(0);
        host: String = since(0);
        port: i32 = since(0);
        rack: Option<String> = since(1).null(1).ignorable();
    }

    /// Part of [`MetadataResponse`].
    struct MetadataResponseTopic {
        error_code: i16 = since(0);
        name: Option<String> = since(0).null(12);
        topic_id: Uuid = since(10).ignorable();
        is_internal: bool = since(1).ignorable();
        partitions: Vec<MetadataResponsePartition> = since(0);
        topic_authorized_operations: i32 = since(8), default i32::MIN;
    }

    /// Part of [`MetadataResponse`].
    struct MetadataResponsePartition {
        error_code: i16 = since(0);
        partition_index: i32 = since(0);
        leader_id: i32 = since(0);
        leader_epoch: i32 = since(7).ignorable(), default -1;
        replica_nodes: Vec<i32> = since(0);
        isr_nodes: Vec<i32> = since(0);
        offline_replicas: Vec<i32> = since(5).ignorable();
    }
}
