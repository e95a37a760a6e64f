//! IncrementalAlterConfigs (44), versions 0 and 1: sets, deletes, extends and shortens single entries (KIP-339).
//!
//! An alteration is in force for the next request and after a crash. A resource named twice gets INVALID_REQUEST, as does an
//! unknown operation; a value out of bounds gets INVALID_CONFIG with the key, the value and the bounds.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use super::config_resource::{ConfigResource, ResourceError};
use super::context::Api;
use super::repeated::repeated;
use crate::config::{AlterOp, Alteration};
use crate::metadata::ConfigChange;

/// Answers each resource by itself. Durable when it returns.
pub(super) fn handle(api: &Api, request: IncrementalAlterConfigsRequest) -> IncrementalAlterConfigsResponse {
    let named = request.resources.iter().map(|resource| (resource.resource_type, resource.resource_name.clone()));
    let repeated = repeated(named);
    let answer = |resource: AlterConfigsResource| {
        let (resource_type, resource_name) = (resource.resource_type, resource.resource_name.clone());
        let altered = if repeated.contains(&(resource_type, resource_name.clone())) {
            Err((ErrorCode::InvalidRequest, "the resource is named more than once in this request".to_owned()))
        } else {
            alter(api, resource, request.validate_only)
        };
        let (code, error_message) = match altered {
            Ok(()) => (ErrorCode::None, None),
            Err((code, why)) => (code, Some(why)),
        };
        AlterConfigsResourceResponse { error_code: code.into(), error_message, resource_type, resource_name }
    };
    let responses = request.resources.into_iter().map(answer).collect();
    IncrementalAlterConfigsResponse { responses, ..Default::default() }
}

fn alter(api: &Api, resource: AlterConfigsResource, validate_only: bool) -> Result<(), ResourceError> {
    let target = ConfigResource::parse(api, resource.resource_type, &resource.resource_name)?;
    let mut alterations = Vec::with_capacity(resource.configs.len());
    for config in resource.configs {
        let code = config.config_operation;
        let op = AlterOp::from_code(code).ok_or_else(|| {
            (
                ErrorCode::InvalidRequest,
                format!("operation {code} is unknown: 0 sets, 1 deletes, 2 appends, 3 subtracts"),
            )
        })?;
        alterations.push(Alteration { name: config.name, op, value: config.value });
    }
    target.change(api, ConfigChange::Alter(alterations), validate_only)
}
