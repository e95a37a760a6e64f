//! DescribeConfigs (32): lists the configuration of topics, brokers and groups. Versions 1 to 4.
//!
//! By version: 1: synonyms (KIP-226) · 2: throttled after the answer (KIP-219) · 3: types and documentation (KIP-569)
//! · 4: flexible (KIP-482).

use crate::message;

message! {
    /// A request that lists the configuration of topics, brokers and groups.
    request DescribeConfigs DescribeConfigsRequest => DescribeConfigsResponse, flexible 4 {
        resources: Vec<DescribeConfigsResource> = since(0);
        include_synonyms: bool = since(1);
        include_documentation: bool = since(3);
    }

    /// Part of [`DescribeConfigsRequest`].
    struct DescribeConfigsResource {
        resource_type: i8 = since(0);
        resource_name: String = since(0);
        configuration_keys: Option<Vec<String>> = since(0).null(0);
    }

    /// Answers [`DescribeConfigsRequest`].
    message DescribeConfigsResponse, flexible 4 {
        throttle_time_ms: i32 = since(0);
        results: Vec<DescribeConfigsResult> = since(0);
    }

    /// Part of [`DescribeConfigsResponse`].
    struct DescribeConfigsResult {
        error_code: i16 = since(0);
        error_message: Option<String> = since(0).null(0);
        resource_type: i8 = since(0);
        resource_name: String = since(0);
        configs: Vec<DescribeConfigsResourceResult> = since(0);
    }

    /// Part of [`DescribeConfigsResponse`].
    struct DescribeConfigsResourceResult {
        name: String = since(0);
        value: Option<String> = since(0).null(0);
        read_only: bool = since(0);
        config_source: i8 = since(1).ignorable(), default -1;
        is_sensitive: bool = since(0);
        synonyms: Vec<DescribeConfigsSynonym> = since(1).ignorable();
        config_type: i8 = since(3).ignorable();
        documentation: Option<String> = since(3).null(0).ignorable();
    }

    /// Part of [`DescribeConfigsResponse`].
    struct DescribeConfigsSynonym {
        name: String = since(1);
        value: Option<String> = since(1).null(0);
        source: i8 = since(1);
    }
}
