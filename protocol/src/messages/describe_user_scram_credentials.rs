//! DescribeUserScramCredentials (50): lists which users have SCRAM credentials. Version 0.
//!
//! By version: 0: KIP-554.

use crate::message;

message! {
    /// A request that lists which users have SCRAM credentials.
    request DescribeUserScramCredentials DescribeUserScramCredentialsRequest => DescribeUserScramCredentialsResponse, flexible 0 {
        users: Option<Vec<UserName>> = since(0).null(0);
    }

    /// Part of [`DescribeUserScramCredentialsRequest`].
    struct UserName {
        name: String = since(0);
    }

    /// Answers [`DescribeUserScramCredentialsRequest`].
    message DescribeUserScramCredentialsResponse, flexible 0 {
        throttle_time_ms: i32 = since(0);
        error_code: i16 = since(0);
        error_message: Option<String> = since(0).null(0);
        results: Vec<DescribeUserScramCredentialsResult> = since(0);
    }

    /// Part of [`DescribeUserScramCredentialsResponse`].
    struct DescribeUserScramCredentialsResult {
        user: String = since(0);
        error_code: i16 = since(0);
        error_message: Option<String> = since(0).null(0);
        credential_infos: Vec<CredentialInfo> = since(0);
    }

    /// Part of [`DescribeUserScramCredentialsResponse`].
    struct CredentialInfo {
        mechanism: i8 = since(0);
        iterations: i32 = since(0);
    }
}
