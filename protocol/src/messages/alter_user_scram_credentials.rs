//! AlterUserScramCredentials (51): sets and deletes SCRAM credentials. Version 0.
//!
//! By version: 0: KIP-554.

use bytes::Bytes;

use crate::message;

message! {
    /// A request that sets and deletes SCRAM credentials.
    request AlterUserScramCredentials AlterUserScramCredentialsRequest => AlterUserScramCredentialsResponse, flexible 0 {
        deletions: Vec<ScramCredentialDeletion> = since(0);
        upsertions: Vec<ScramCredentialUpsertion> = since(0);
    }

    /// Part of [`AlterUserScramCredentialsRequest`].
    struct ScramCredentialDeletion {
        name: String = since(0);
        mechanism: i8 = since(0);
    }

    /// Part of [`AlterUserScramCredentialsRequest`].
    struct ScramCredentialUpsertion {
        name: String = since(0);
        mechanism: i8 = since(0);
        iterations: i32 = since(0);
        salt: Bytes = since(0);
        salted_password: Bytes = since(0);
    }

    /// Answers [`AlterUserScramCredentialsRequest`].
    message AlterUserScramCredentialsResponse, flexible 0 {
        throttle_time_ms: i32 = since(0);
        results: Vec<AlterUserScramCredentialsResult> = since(0);
    }

    /// Part of [`AlterUserScramCredentialsResponse`].
    struct AlterUserScramCredentialsResult {
        user: String = since(0);
        error_code: i16 = since(0);
        error_message: Option<String> = since(0).null(0);
    }
}
