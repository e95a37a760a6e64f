//! PushTelemetry (72): sends a client's metrics. Version 0.
//!
//! By version: 0: KIP-714.

use bytes::Bytes;

use crate::Uuid;
use crate::message;

message! {
    /// A request that sends a client's metrics.
    request PushTelemetry PushTelemetryRequest => PushTelemetryResponse, flexible 0 {
        client_instance_id: Uuid = since(0);
        subscription_id: i32 = since(0);
        terminating: bool = since(0);
        compression_type: i8 = since(0);
        metrics: Bytes = since(0);
    }

    /// Answers [`PushTelemetryRequest`].
    message PushTelemetryResponse, flexible 0 {
        throttle_time_ms: i32 = since(0);
        error_code: i16 = since(0);
    }
}
