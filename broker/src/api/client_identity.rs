//! Who a member of a group says it is, as groups remember and tell it.

use super::context::Call;
use crate::coordinator::group::ClientIdentity;

/// The client id and the address, in the form in which Kafka's tools expect it.
pub(super) fn client_identity(call: &Call) -> ClientIdentity {
    ClientIdentity {
        client_id: call.client_id.clone().unwrap_or_default(),
        client_host: format!("/{}", call.client.peer.ip()),
    }
}
