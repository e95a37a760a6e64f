//! ListConfigResources (74): lists resources that have a configuration. Versions 0 to 1.
//!
//! By version: 0: those of client metrics (KIP-714) · 1: of any type (KIP-1142).

use crate::message;

message! {
    /// A request that lists resources that have a configuration.
    request ListConfigResources ListConfigResourcesRequest => ListConfigResourcesResponse, flexible 0 {
        resource_types: Vec<i8> = since(1);
    }

    /// Answers [`ListConfigResourcesRequest`].
    message ListConfigResourcesResponse, flexible 0 {
        throttle_time_ms: i32 = since(0);
        error_code: i16 = since(0);
        config_resources: Vec<ConfigResource> = since(0);
    }

    /// Part of [`ListConfigResourcesResponse`].
    struct ConfigResource {
        resource_name: String = since(0);
        resource_type: i8 = since(1).ignorable(), default 16;
    }
}
