//! UnregisterBroker (64): forgets a broker. Version 0.
//!
//! By version: 0: KIP-631.

use crate::message;

message! {
    /// A request that forgets a broker.
    request UnregisterBroker UnregisterBrokerRequest => UnregisterBrokerResponse, flexible 0 {
        broker_id: i32 = since(0);
    }

    /// Answers [`UnregisterBrokerRequest`].
    message UnregisterBrokerResponse, flexible 0 {
        throttle_time_ms: i32 = since(0);
        error_code: i16 = since(0);
        error_message: Option<String> = since(0).null(0).ignorable();
    }
}
