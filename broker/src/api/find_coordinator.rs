//! FindCoordinator (10), versions 0 to 6: which broker coordinates a group or a transactional id. Here always this one.
//!
//! Version 1 adds transactional ids (KIP-98), 3 is flexible, 4 asks for several keys at once (KIP-699), 5 lets
//! TRANSACTION_ABORTABLE be answered (KIP-890), 6 adds share partitions (KIP-932), which are not served.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};

use super::context::{Api, Call};
use crate::coordinator::{OFFSETS_TOPIC, internal_topic_of};
use crate::metadata::ControllerError;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// True when answering has to create the topic that groups are kept in, which waits for the disk.
pub(super) fn creates_topic(api: &Api, request: &FindCoordinatorRequest) -> bool {
    request.key_type == GROUP && api.image().topic(OFFSETS_TOPIC).is_none()
}

/// Answers each key by itself. The first one that asks for a group brings the topic that groups are kept in.
pub(super) fn handle(api: &Api, request: FindCoordinatorRequest, call: &Call) -> FindCoordinatorResponse {
    let known = request.key_type == GROUP || request.key_type == TRANSACTION;
    let created = if creates_topic(api, &request) { create_topic(api) } else { Ok(()) };
    let (error_code, error_message) = if let Err(error) = created {
        (ErrorCode::CoordinatorNotAvailable, Some(format!("{OFFSETS_TOPIC} cannot be created: {error}")))
    } else if known {
        (ErrorCode::None, None)
    } else {
        let message = format!("key type {} is not served: 0 is a group, 1 a transactional id", request.key_type);
        (ErrorCode::InvalidRequest, Some(message))
    };
    let address = api.addresses.of_listener(call.client.listener);
    let (node_id, host, port) = if error_code == ErrorCode::None {
        (api.config().node_id, address.host.clone(), i32::from(address.port))
    } else {
        (-1, String::new(), -1)
    };
    if call.version < 4 {
        let error_message =
            if call.version >= 1 { error_message.or(Some(ErrorCode::None.name().into())) } else { None };
        return FindCoordinatorResponse {
            error_code: error_code.into(),
            error_message,
            node_id,
            host,
            port,
            ..Default::default()
        };
    }
    let answer = |key: String| Coordinator {
        key,
        node_id,
        host: host.clone(),
        port,
        error_code: error_code.into(),
        // Empty instead of null when all is well, as from Kafka.
        error_message: Some(error_message.clone().unwrap_or_default()),
    };
    FindCoordinatorResponse {
        coordinators: request.coordinator_keys.into_iter().map(answer).collect(),
        ..Default::default()
    }
}

fn create_topic(api: &Api) -> Result<(), ControllerError> {
    let created = api.controller.create_topics(vec![internal_topic_of(&api.config())]).remove(0);
    match created {
        // Somebody else was faster.
        Ok(_) | Err(ControllerError::TopicExists { .. }) => {
            api.groups.take_over();
            Ok(())
        }
        Err(error) => {
            tracing::error!(%error, "groups cannot be served: {OFFSETS_TOPIC} cannot be created");
            Err(error)
        }
    }
}
