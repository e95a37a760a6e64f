//! DeleteTopics (20), versions 1 to 6: deletes topics, each by itself.
//!
//! Version 4 is flexible, 5 has messages (KIP-599), 6 also takes topic ids (KIP-516). A topic that is answered is gone for the
//! next request and after a crash; its files are removed behind the answer.

use ottla_protocol::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use ottla_protocol::{ErrorCode, Uuid};

use super::context::{Api, Call};
use super::error_map::ToErrorCode;
use super::repeated::repeated;
use crate::metadata::TopicReference;

/// Answers each topic by itself. Durable when it returns.
pub(super) fn handle(api: &Api, request: DeleteTopicsRequest, call: &Call) -> DeleteTopicsResponse {
    let wanted: Vec<DeleteTopicState> = if call.version >= 6 {
        request.topics
    } else {
        let by_name = |name| DeleteTopicState { name: Some(name), topic_id: Uuid::ZERO };
        request.topic_names.into_iter().map(by_name).collect()
    };
    let image = api.image();
    let mut results = Vec::with_capacity(wanted.len());
    let mut found = Vec::new();
    for topic in wanted {
        let known = match (&topic.name, topic.topic_id.is_zero()) {
            (Some(name), true) => image.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition),
            (None, false) => image.topic_by_id(&topic.topic_id).ok_or(ErrorCode::UnknownTopicId),
            (Some(_), false) | (None, true) => Err(ErrorCode::InvalidRequest),
        };
        match known {
            Ok(known) => {
                found.push((known.name.to_string(), known.id, topic.name.is_some()));
            }
            Err(code) => {
                let why = match code {
                    ErrorCode::InvalidRequest => "a topic is named by its name or by its id, not by both or neither",
                    _ => "there is no such topic",
                };
                results.push(refused(topic.name, topic.topic_id, code, why.to_owned()));
            }
        }
    }
    let repeated = repeated(found.iter().map(|(_, id, _)| *id));
    found.retain(|(name, id, by_name)| {
        let once = !repeated.contains(id);
        if !once {
            let why = format!("topic {name:?} is named more than once in this request");
            let shown = by_name.then(|| name.clone());
            results.push(refused(shown, *id, ErrorCode::InvalidRequest, why));
        }
        once
    });
    let ids: Vec<_> = found.iter().map(|(_, id, _)| TopicReference::Id(*id)).collect();
    for ((name, id, _), deleted) in found.into_iter().zip(api.controller.delete_topics(&ids)) {
        results.push(match deleted {
            Ok(_) => DeletableTopicResult { name: Some(name), topic_id: id, ..Default::default() },
            Err(error) => {
                let code = match error.to_error_code() {
                    // The code is younger than the first versions of the API.
                    ErrorCode::TopicDeletionDisabled if call.version < 3 => ErrorCode::InvalidRequest,
                    code => code,
                };
                refused(Some(name), id, code, error.to_string())
            }
        });
    }
    answer(results)
}

fn answer(responses: Vec<DeletableTopicResult>) -> DeleteTopicsResponse {
    DeleteTopicsResponse { responses, ..Default::default() }
}

fn refused(name: Option<String>, topic_id: Uuid, code: ErrorCode, why: String) -> DeletableTopicResult {
    DeletableTopicResult { name, topic_id, error_code: code.into(), error_message: Some(why) }
}
