//! DeleteAcls (31): removes the ACLs that match filters. Versions 1 to 3.
//!
//! By version: 1: patterns (KIP-290) · 2: flexible (KIP-482) · 3: users as resources (KIP-373).

use crate::message;

message! {
    /// A request that removes the ACLs that match filters.
    request DeleteAcls DeleteAclsRequest => DeleteAclsResponse, flexible 2 {
        filters: Vec<DeleteAclsFilter> = since(0);
    }

    /// Part of [`DeleteAclsRequest`].
    struct DeleteAclsFilter {
        resource_type_filter: i8 = since(0);
        resource_name_filter: Option<String> = since(0).null(0);
        pattern_type_filter: i8 = since(1), default 3;
        principal_filter: Option<String> = since(0).null(0);
        host_filter: Option<String> = since(0).null(0);
        operation: i8 = since(0);
        permission_type: i8 = since(0);
    }

    /// Answers [`DeleteAclsRequest`].
    message DeleteAclsResponse, flexible 2 {
        throttle_time_ms: i32 = since(0);
        filter_results: Vec<DeleteAclsFilterResult> = since(0);
    }

    /// Part of [`DeleteAclsResponse`].
    struct DeleteAclsFilterResult {
        error_code: i16 = since(0);
        error_message: Option<String> = since(0).null(0);
        matching_acls: Vec<DeleteAclsMatchingAcl> = since(0);
    }

    /// Part of [`DeleteAclsResponse`].
    struct DeleteAclsMatchingAcl {
        error_code: i16 = since(0);
        error_message: Option<String> = since(0).null(0);
        resource_type: i8 = since(0);
        resource_name: String = since(0);
        pattern_type: i8 = since(1), default 3;
        principal: String = since(0);
        host: String = since(0);
        operation: i8 = since(0);
        permission_type: i8 = since(0);
    }
}
