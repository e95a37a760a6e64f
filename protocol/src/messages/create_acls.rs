//! CreateAcls (30): adds ACLs. Versions 1 to 3.
//!
//! By version: 1: patterns (KIP-290) · 2: flexible (KIP-482) · 3: users as resources (KIP-373).

use crate::message;

message! {
    /// A request that adds ACLs.
    request CreateAcls CreateAclsRequest => CreateAclsResponse, flexible 2 {
        creations: Vec<AclCreation> = since(0);
    }

    /// Part of [`CreateAclsRequest`].
    struct AclCreation {
        resource_type: i8 = since(0);
        resource_name: String = since(0);
        resource_pattern_type: i8 = since(1), default 3;
        principal: String = since(0);
        host: String = since(0);
        operation: i8 = since(0);
        permission_type: i8 = since(0);
    }

    /// Answers [`CreateAclsRequest`].
    message CreateAclsResponse, flexible 2 {
        throttle_time_ms: i32 = since(0);
        results: Vec<AclCreationResult> = since(0);
    }

    /// Part of [`CreateAclsResponse`].
    struct AclCreationResult {
        error_code: i16 = since(0);
        error_message: Option<String> = since(0).null(0);
    }
}
