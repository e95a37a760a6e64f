//! SaslHandshake (17): chooses a SASL mechanism. Versions 0 to 1.
//!
//! By version: 0: raw SASL tokens follow (KIP-43) · 1: SaslAuthenticate requests follow (KIP-152).

use crate::message;

message! {
    /// A request that chooses a SASL mechanism.
    request SaslHandshake SaslHandshakeRequest => SaslHandshakeResponse, flexible never {
        mechanism: String = since(0);
    }

    /// Answers [`SaslHandshakeRequest`].
    message SaslHandshakeResponse, flexible never {
        error_code: i16 = since(0);
        mechanisms: Vec<String> = since(0);
    }
}
