//! IncrementalAlterConfigs (44): changes single overrides of a resource. Versions 0 to 1.
//!
//! By version: 0: KIP-339 · 1: flexible (KIP-482).

use crate::message;

message! {
    /// A request that changes single overrides of a resource.
    request IncrementalAlterConfigs IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse, flexible 1 {
        resources: Vec<AlterConfigsResource> = since(0);
        validate_only: bool = since(0);
    }

    /// Part of [`IncrementalAlterConfigsRequest`].
    struct AlterConfigsResource {
        resource_type: i8 = since(0);
        resource_name: String = since(0);
        configs: Vec<AlterableConfig> = since(0);
    }

    /// Part of [`IncrementalAlterConfigsRequest`].
    struct AlterableConfig {
        name: String = since(0);
        config_operation: i8 = since(0);
        value: Option<String> = since(0).null(0);
    }

    /// Answers [`IncrementalAlterConfigsRequest`].
    message IncrementalAlterConfigsResponse, flexible 1 {
        throttle_time_ms: i32 = since(0);
        responses: Vec<AlterConfigsResourceResponse> = since(0);
    }

    /// Part of [`IncrementalAlterConfigsResponse`].
    struct AlterConfigsResourceResponse {
        error_code: i16 = since(0);
        error_message: Option<String> = since(0).null(0);
        resource_type: i8 = since(0);
        resource_name: String = since(0);
    }
}
