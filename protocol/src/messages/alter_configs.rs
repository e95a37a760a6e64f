//! AlterConfigs (33): replaces all overrides of a resource. Versions 0 to 2.
//!
//! By version: 0: KIP-133 · 1: throttled after the answer (KIP-219) · 2: flexible (KIP-482).

use crate::message;

message! {
    /// A request that replaces all overrides of a resource.
    request AlterConfigs AlterConfigsRequest => AlterConfigsResponse, flexible 2 {
        resources: Vec<AlterConfigsResource> = since(0);
        validate_only: bool = since(0);
    }

    /// Part of [`AlterConfigsRequest`].
    struct AlterConfigsResource {
        resource_type: i8 = since(0);
        resource_name: String = since(0);
        configs: Vec<AlterableConfig> = since(0);
    }

    /// Part of [`AlterConfigsRequest`].
    struct AlterableConfig {
        name: String = since(0);
        value: Option<String> = since(0).null(0);
    }

    /// Answers [`AlterConfigsRequest`].
    message AlterConfigsResponse, flexible 2 {
        throttle_time_ms: i32 = since(0);
        responses: Vec<AlterConfigsResourceResponse> = since(0);
    }

    /// Part of [`AlterConfigsResponse`].
    struct AlterConfigsResourceResponse {
        error_code: i16 = since(0);
        error_message: Option<String> = since(0).null(0);
        resource_type: i8 = since(0);
        resource_name: String = since(0);
    }
}
