//! DescribeCluster (60): describes the cluster. Versions 0 to 2.
//!
//! By version: 0: KIP-700 · 1: brokers or controllers (KIP-919) · 2: fenced brokers (KIP-1073).

use crate::message;

message! {
    /// A request that describes the cluster.
    request DescribeCluster DescribeClusterRequest => DescribeClusterResponse, flexible 0 {
        include_cluster_authorized_operations: bool = since(0);
        endpoint_type: i8 = since(1), default 1;
        include_fenced_brokers: bool = since(2);
    }

    /// Answers [`DescribeClusterRequest`].
    message DescribeClusterResponse, flexible 0 {
        throttle_time_ms: i32 = since(0);
        error_code: i16 = since(0);
        error_message: Option<String> = since(0).null(0);
        endpoint_type: i8 = since(1), default 1;
        cluster_id: String = since(0);
        controller_id: i32 = since(0), default -1;
        brokers: Vec<DescribeClusterBroker> = since(0);
        cluster_authorized_operations: i32 = since(0), default i32::MIN;
    }

    /// Part of [`DescribeClusterResponse`].
    struct DescribeClusterBroker {
        broker_id: i32 = since(0);
        host: String = since(0);
        port: i32 = since(0);
        rack: Option<String> = since(0).null(0);
        is_fenced: bool = since(2);
    }
}
