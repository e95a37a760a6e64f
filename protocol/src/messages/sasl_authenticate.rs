//! SaslAuthenticate (36): carries SASL tokens. Versions 0 to 2.
//!
//! By version: 0: KIP-152 · 1: the session's lifetime (KIP-368) · 2: flexible (KIP-482).

use bytes::Bytes;

use crate::message;

message! {
    /// A request that carries SASL tokens.
    request SaslAuthenticate SaslAuthenticateRequest => SaslAuthenticateResponse, flexible 2 {
        auth_bytes: Bytes = since(0);
    }

    /// Answers [`SaslAuthenticateRequest`].
    message SaslAuthenticateResponse, flexible 2 {
        error_code: i16 = since(0);
        error_message: Option<String> = since(0).null(0);
        auth_bytes: Bytes = since(0);
        session_lifetime_ms: i64 = since(1).ignorable();
    }
}
