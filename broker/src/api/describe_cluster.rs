//! DescribeCluster (60), versions 0 to 2: the cluster's id, its brokers and its controller.
//!
//! Version 1 tells brokers from controllers (KIP-919), version 2 may list fenced brokers (KIP-1073). One node is never
//! fenced; controllers are not reachable by clients, which is MISMATCHED_ENDPOINT_TYPE, as in Kafka on a broker's listener.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};

use super::authorized_operations::{CLUSTER, or_unasked};
use super::context::{Api, Call};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Answers with this broker.
pub(super) fn handle(api: &Api, request: &DescribeClusterRequest, call: &Call) -> DescribeClusterResponse {
    if request.endpoint_type != BROKERS {
        let (code, why) = if request.endpoint_type == CONTROLLERS {
            (ErrorCode::MismatchedEndpointType, "this listener reaches brokers, not controllers".to_owned())
        } else {
            (ErrorCode::UnsupportedEndpointType, format!("endpoint type {} is unknown", request.endpoint_type))
        };
        return DescribeClusterResponse { error_code: code.into(), error_message: Some(why), ..Default::default() };
    }
    let address = api.addresses.of_listener(call.client.listener);
    DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: api.image().cluster_id().to_string(),
        controller_id: api.config().node_id,
        brokers: vec![DescribeClusterBroker {
            broker_id: api.config().node_id,
            host: address.host.clone(),
            port: i32::from(address.port),
            rack: api.config().broker_rack.clone(),
            is_fenced: false,
        }],
        cluster_authorized_operations: or_unasked(CLUSTER, request.include_cluster_authorized_operations),
        ..Default::default()
    }
}
