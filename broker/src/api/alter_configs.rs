//! AlterConfigs (33), versions 0 to 2: replaces all overrides of a resource at once; what is not named is taken away.
//!
//! Superseded by IncrementalAlterConfigs, but still what sarama, kafkajs and older Python clients send.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterConfigsResourceResponse, AlterConfigsResponse,
};

use super::config_resource::{ConfigResource, ResourceError};
use super::context::Api;
use super::repeated::repeated;
use crate::metadata::ConfigChange;

/// Answers each resource by itself. Durable when it returns.
pub(super) fn handle(api: &Api, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let named = request.resources.iter().map(|resource| (resource.resource_type, resource.resource_name.clone()));
    let repeated = repeated(named);
    let answer = |resource: AlterConfigsResource| {
        let (resource_type, resource_name) = (resource.resource_type, resource.resource_name.clone());
        let replaced = if repeated.contains(&(resource_type, resource_name.clone())) {
            Err((ErrorCode::InvalidRequest, "the resource is named more than once in this request".to_owned()))
        } else {
            replace(api, resource, request.validate_only)
        };
        let (code, error_message) = match replaced {
            Ok(()) => (ErrorCode::None, None),
            Err((code, why)) => (code, Some(why)),
        };
        AlterConfigsResourceResponse { error_code: code.into(), error_message, resource_type, resource_name }
    };
    let responses = request.resources.into_iter().map(answer).collect();
    AlterConfigsResponse { responses, ..Default::default() }
}

fn replace(api: &Api, resource: AlterConfigsResource, validate_only: bool) -> Result<(), ResourceError> {
    let target = ConfigResource::parse(api, resource.resource_type, &resource.resource_name)?;
    let entries = resource.configs.into_iter().map(|config| (config.name, config.value)).collect();
    target.change(api, ConfigChange::Replace(entries), validate_only)
}
