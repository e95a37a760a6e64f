//! GetTelemetrySubscriptions (71): asks which metrics a client is to send. Version 0.
//!
//! By version: 0: KIP-714.

use crate::Uuid;
use crate::message;

message! {
    /// A request that asks which metrics a client is to send.
    request GetTelemetrySubscriptions GetTelemetrySubscriptionsRequest => GetTelemetrySubscriptionsResponse, flexible 0 {
        client_instance_id: Uuid = since(0);
    }

    /// Answers [`GetTelemetrySubscriptionsRequest`].
    message GetTelemetrySubscriptionsResponse, flexible 0 {
        throttle_time_ms: i32 = since(0);
        error_code: i16 = since(0);
        client_instance_id: Uuid = since(0);
        subscription_id: i32 = since(0);
        accepted_compression_types: Vec<i8> = since(0);
        push_interval_ms: i32 = since(0);
        telemetry_max_bytes: i32 = since(0);
        delta_temporality: bool = since(0);
        requested_metrics: Vec<String> = since(0);
    }
}
