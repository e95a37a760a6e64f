//! DescribeAcls (29): lists the ACLs that match a filter. Versions 1 to 3.
//!
//! By version: 1: patterns (KIP-290) · 2: flexible (KIP-482) · 3: users as resources (KIP-373).

use crate::message;

message! {
    /// A request that lists the ACLs that match a filter.
    request DescribeAcls DescribeAclsRequest => DescribeAclsResponse, flexible 2 {
        resource_type_filter: i8 = since(0);
        resource_name_filter: Option<String> = since(0).null(0);
        pattern_type_filter: i8 = since(1), default 3;
        principal_filter: Option<String> = since(0).null(0);
        host_filter: Option<String> = since(0).null(0);
        operation: i8 = since(0);
        permission_type: i8 = since(0);
    }

    /// Answers [`DescribeAclsRequest`].
    message DescribeAclsResponse, flexible 2 {
        throttle_time_ms: i32 = since(0);
        error_code: i16 = since(0);
        error_message: Option<String> = since(0).null(0);
        resources: Vec<DescribeAclsResource> = since(0);
    }

    /// Part of [`DescribeAclsResponse`].
    struct DescribeAclsResource {
        resource_type: i8 = since(0);
        resource_name: String = since(0);
        pattern_type: i8 = since(1), default 3;
        acls: Vec<AclDescription> = since(0);
    }

    /// Part of [`DescribeAclsResponse`].
    struct AclDescription {
        principal: String = since(0);
        host: String = since(0);
        operation: i8 = since(0);
        permission_type: i8 = since(0);
    }
}
