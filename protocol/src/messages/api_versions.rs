//! ApiVersions (18): lists the APIs and versions that a broker serves. Versions 0 to 4.
//!
//! By version: 1: throttle time · 2: throttled after the answer (KIP-219) · 3: flexible (KIP-482), the client's
//! software (KIP-511), features (KIP-584) · 4: features may begin at level 0.

use crate::message;

message! {
    /// A request that lists the APIs and versions that a broker serves.
    request ApiVersions ApiVersionsRequest => ApiVersionsResponse, flexible 3 {
        client_software_name: String = since(3).ignorable();
        client_software_version: String = since(3).ignorable();
    }

    /// Answers [`ApiVersionsRequest`].
    message ApiVersionsResponse, flexible 3 {
        error_code: i16 = since(0);
        api_keys: Vec<ApiVersion> = since(0);
        throttle_time_ms: i32 = since(1).ignorable();
        supported_features: Vec<SupportedFeatureKey> = since(3).ignorable().tag(0);
        finalized_features_epoch: i64 = since(3).ignorable().tag(1), default -1;
        finalized_features: Vec<FinalizedFeatureKey> = since(3).ignorable().tag(2);
        zk_migration_ready: bool = since(3).ignorable().tag(3);
    }

    /// Part of [`ApiVersionsResponse`].
    struct ApiVersion {
        api_key: i16 = since(0);
        min_version: i16 = since(0);
        max_version: i16 = since(0);
    }

    /// Part of [`ApiVersionsResponse`].
    struct SupportedFeatureKey {
        name: String = since(3);
        min_version: i16 = since(3);
        max_version: i16 = since(3);
    }

    /// Part of [`ApiVersionsResponse`].
    struct FinalizedFeatureKey {
        name: String = since(3);
        max_version_level: i16 = since(3);
        min_version_level: i16 = since(3);
    }
}
