//! ApiVersions (18), versions 0 to 4: which APIs and versions this broker serves, and its features.
//!
//! A version that is not served is answered in the form of version 0 with UNSUPPORTED_VERSION and the served range
//! (KIP-511), so that any client can step down. Version 3 adds features (KIP-584) and leaves out those whose lowest level
//! is 0, version 4 has them (KIP-1022).

use std::sync::LazyLock;

use ottla_protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use ottla_protocol::{ApiKey, ErrorCode};

use super::context::Call;

/// The APIs that this broker serves; all in every version that the codec has.
pub(crate) const SERVED: &[ApiKey] = &[
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::SyncGroup,
    ApiKey::DescribeGroups,
    ApiKey::ListGroups,
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DeleteRecords,
    ApiKey::InitProducerId,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::DescribeLogDirs,
    ApiKey::CreatePartitions,
    ApiKey::DeleteGroups,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::OffsetDelete,
    ApiKey::DescribeCluster,
    ApiKey::ConsumerGroupHeartbeat,
    ApiKey::ConsumerGroupDescribe,
    ApiKey::DescribeTopicPartitions,
];

/// The level of `metadata.version` that Kafka 4.3 has; without one of the 4.x levels, consoles take a broker for ancient.
const METADATA_VERSION: i16 = 30;
/// The lowest level that Kafka 4.3 supports, 3.3-IV3.
const METADATA_VERSION_MIN: i16 = 7;

/// True when this broker answers the API at this version.
pub(crate) fn serves(api_key: ApiKey, version: i16) -> bool {
    api_key.has_version(version) && SERVED.contains(&api_key)
}

/// KAFKA-18659: librdkafka derives what a broker can from the range of Produce, and takes one that starts above 0 for a
/// broker without compression. Versions 0 to 2 are advertised and refused.
fn advertised_min(api_key: ApiKey) -> i16 {
    if api_key == ApiKey::Produce { 0 } else { *api_key.versions().start() }
}

static API_VERSIONS: LazyLock<Vec<ApiVersion>> = LazyLock::new(|| {
    let range = |&api_key: &ApiKey| ApiVersion {
        api_key: api_key.key(),
        min_version: advertised_min(api_key),
        max_version: *api_key.versions().end(),
    };
    SERVED.iter().map(range).collect()
});

/// Answers a request of a served version.
pub(super) fn handle(request: &ApiVersionsRequest, call: &Call) -> ApiVersionsResponse {
    if call.version >= 3
        && !(is_software_token(&request.client_software_name) && is_software_token(&request.client_software_version))
    {
        return ApiVersionsResponse { error_code: ErrorCode::InvalidRequest.into(), ..Default::default() };
    }
    ApiVersionsResponse {
        api_keys: API_VERSIONS.clone(),
        supported_features: vec![SupportedFeatureKey {
            name: "metadata.version".into(),
            min_version: METADATA_VERSION_MIN,
            max_version: METADATA_VERSION,
        }],
        finalized_features_epoch: 1,
        finalized_features: vec![FinalizedFeatureKey {
            name: "metadata.version".into(),
            max_version_level: METADATA_VERSION,
            min_version_level: METADATA_VERSION,
        }],
        ..Default::default()
    }
}

/// Answers a request of a version that is not served; goes out in the form of version 0.
pub(super) fn unsupported() -> ApiVersionsResponse {
    let own = API_VERSIONS.iter().find(|range| range.api_key == ApiKey::ApiVersions.key());
    ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.into(),
        api_keys: own.cloned().into_iter().collect(),
        ..Default::default()
    }
}

/// The names and versions of client software that KIP-511 allows.
fn is_software_token(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() && bytes.iter().copied().all(inner)
}
