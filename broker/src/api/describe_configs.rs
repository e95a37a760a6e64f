//! DescribeConfigs (32), versions 1 to 4: every configuration key of a topic, broker or group, with its value and source.
//!
//! Version 1 adds sources and synonyms (KIP-226), 3 types and documentation (KIP-569), 4 is flexible. All keys are listed,
//! not only those that were set.

use std::collections::{BTreeMap, HashSet};

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};

use super::config_resource::{ConfigResource, ResourceError};
use super::context::{Api, Call};
use super::error_map::ToErrorCode;
use crate::config::{ConfigEntry, describe_broker, describe_cluster_defaults, describe_group, describe_topic};
use crate::metadata::TopicName;

/// Answers each resource by itself.
pub(super) fn handle(api: &Api, request: DescribeConfigsRequest, call: &Call) -> DescribeConfigsResponse {
    let (with_synonyms, with_documentation) = (request.include_synonyms, request.include_documentation);
    let answer = |resource: DescribeConfigsResource| {
        let (code, error_message, entries) = match entries(api, &resource) {
            Ok(entries) => (ErrorCode::None, String::new(), entries),
            Err((code, why)) => (code, why, Vec::new()),
        };
        let wanted: Option<HashSet<String>> = resource.configuration_keys.map(|keys| keys.into_iter().collect());
        DescribeConfigsResult {
            error_code: code.into(),
            // Empty instead of null when all is well, as from Kafka.
            error_message: Some(error_message),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            configs: entries
                .into_iter()
                .filter(|entry| wanted.as_ref().is_none_or(|wanted| wanted.is_empty() || wanted.contains(&entry.name)))
                .map(|entry| describe(entry, with_synonyms, with_documentation && call.version >= 3))
                .collect(),
        }
    };
    DescribeConfigsResponse { results: request.resources.into_iter().map(answer).collect(), ..Default::default() }
}

fn entries(api: &Api, resource: &DescribeConfigsResource) -> Result<Vec<ConfigEntry>, ResourceError> {
    match ConfigResource::parse(api, resource.resource_type, &resource.resource_name)? {
        ConfigResource::ClusterDefault => Ok(describe_cluster_defaults(&api.config())),
        ConfigResource::ThisBroker => Ok(describe_broker(&api.config())),
        ConfigResource::Group(name) => {
            let (image, none) = (api.image(), BTreeMap::new());
            Ok(describe_group(&api.config(), image.group_configs(&name).unwrap_or(&none)))
        }
        ConfigResource::Topic(name) => {
            TopicName::parse(&name).map_err(|error| (error.to_error_code(), error.to_string()))?;
            match api.image().topic(&name) {
                Some(topic) => Ok(describe_topic(&api.config(), &topic.configs)),
                None => Err((ErrorCode::UnknownTopicOrPartition, format!("there is no topic {name:?}"))),
            }
        }
    }
}

fn describe(entry: ConfigEntry, with_synonyms: bool, with_documentation: bool) -> DescribeConfigsResourceResult {
    let synonyms = if with_synonyms { entry.synonyms } else { Vec::new() };
    DescribeConfigsResourceResult {
        name: entry.name,
        value: entry.value,
        read_only: entry.read_only,
        config_source: entry.source.code(),
        is_sensitive: entry.sensitive,
        synonyms: synonyms
            .into_iter()
            .map(|synonym| DescribeConfigsSynonym {
                name: synonym.name,
                value: synonym.value,
                source: synonym.source.code(),
            })
            .collect(),
        config_type: entry.config_type.code(),
        documentation: with_documentation.then_some(entry.documentation),
    }
}
