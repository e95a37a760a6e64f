//! InitProducerId (22), versions 0 to 5: an id and epoch for an idempotent producer (KIP-98).
//!
//! Version 2 is flexible, 3 lets a producer bump its epoch (KIP-360), 4 answers PRODUCER_FENCED, 5 transaction version 2
//! (KIP-890). Without a transactional id every call gives a new id, as in Kafka. Ids are handed out from blocks that are on
//! disk before their first use, so that none is ever given twice. Transactional ids are not served.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use super::context::Api;
use super::error_map::ToErrorCode;

/// Gives a new producer id. Its block is durable when it returns.
pub(super) fn handle(api: &Api, request: &InitProducerIdRequest) -> InitProducerIdResponse {
    let refused = |code: ErrorCode| InitProducerIdResponse {
        error_code: code.into(),
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    match request.transactional_id.as_deref() {
        Some("") => return refused(ErrorCode::InvalidRequest),
        Some(_) => return refused(ErrorCode::TransactionalIdAuthorizationFailed),
        None => {}
    }
    // Both or neither: an epoch without its id says nothing.
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        return refused(ErrorCode::InvalidRequest);
    }
    match api.controller.allocate_producer_id() {
        Ok(id) => InitProducerIdResponse { producer_id: id.0, producer_epoch: 0, ..Default::default() },
        Err(error) => refused(error.to_error_code()),
    }
}
