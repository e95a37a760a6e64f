//! UpdateFeatures (57): raises and lowers finalized features. Versions 0 to 2.
//!
//! By version: 0: KIP-584 · 1: kinds of downgrade, validation only (KIP-778) · 2: one result for all (KIP-1022).

use crate::message;

message! {
    /// A request that raises and lowers finalized features.
    request UpdateFeatures UpdateFeaturesRequest => UpdateFeaturesResponse, flexible 0 {
        timeout_ms: i32 = since(0), default 60000;
        feature_updates: Vec<FeatureUpdateKey> = since(0);
        validate_only: bool = since(1);
    }

    /// Part of [`UpdateFeaturesRequest`].
    struct FeatureUpdateKey {
        feature: String = since(0);
        max_version_level: i16 = since(0);
        allow_downgrade: bool = since(0).until(0);
        upgrade_type: i8 = since(1), default 1;
    }

    /// Answers [`UpdateFeaturesRequest`].
    message UpdateFeaturesResponse, flexible 0 {
        throttle_time_ms: i32 = since(0);
        error_code: i16 = since(0);
        error_message: Option<String> = since(0).null(0);
        results: Vec<UpdatableFeatureResult> = since(0).until(1).ignorable();
    }

    /// Part of [`UpdateFeaturesResponse`].
    struct UpdatableFeatureResult {
        feature: String = since(0);
        error_code: i16 = since(0);
        error_message: Option<String> = since(0).null(0);
    }
}
