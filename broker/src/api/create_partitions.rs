//! CreatePartitions (37), versions 0 to 3: adds partitions to topics, each topic by itself (KIP-195).
//!
//! New partitions take produce with the very next request. The number can only rise.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopicResult,
};

use super::context::Api;
use super::error_map::ToErrorCode;
use super::repeated::repeated;
use crate::metadata::NewPartitions;

/// Answers each topic by itself. Durable when it returns.
pub(super) fn handle(api: &Api, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let repeated = repeated(request.topics.iter().map(|topic| topic.name.as_str()));
    let mut refusals_due = repeated.clone();
    let mut results: Vec<CreatePartitionsTopicResult> = Vec::new();
    let mut new = Vec::new();
    for topic in &request.topics {
        if repeated.contains(topic.name.as_str()) {
            if refusals_due.remove(topic.name.as_str()) {
                results.push(CreatePartitionsTopicResult {
                    name: topic.name.clone(),
                    error_code: ErrorCode::InvalidRequest.into(),
                    error_message: Some("the topic is named more than once in this request".into()),
                });
            }
            continue;
        }
        let assignments = topic.assignments.as_ref();
        new.push(NewPartitions {
            name: topic.name.clone(),
            count: topic.count,
            assignments: assignments.map(|all| all.iter().map(|one| one.broker_ids.clone()).collect()),
            validate_only: request.validate_only,
        });
    }
    let names: Vec<String> = new.iter().map(|topic| topic.name.clone()).collect();
    for (name, created) in names.into_iter().zip(api.controller.create_partitions(new)) {
        let (code, error_message) = match created {
            Ok(_) => (ErrorCode::None, None),
            Err(error) => (error.to_error_code(), Some(error.to_string())),
        };
        results.push(CreatePartitionsTopicResult { name, error_code: code.into(), error_message });
    }
    CreatePartitionsResponse { results, ..Default::default() }
}
