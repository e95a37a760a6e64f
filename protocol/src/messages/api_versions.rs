//! ApiVersions (18): tells which APIs and versions a broker serves. Versions 0 to 4.

use crate::message;

message! {
    /// Asks a broker: tells which APIs and versions a broker serves.
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
