//! DescribeGroups (15): describes groups of the classic protocol and their members. Versions 0 to 6.
//!
//! By version: 1: throttle time · 2: throttled after the answer (KIP-219) · 3: authorized operations (KIP-430) · 4:
//! static members (KIP-345) · 5: flexible (KIP-482) · 6: GROUP_ID_NOT_FOUND with a message (KIP-1043).
//!
//! The fields with tags 10000 and 10001 are Ottla's own: other clients skip them, other brokers leave them out.

use bytes::Bytes;

use crate::message;

message! {
    /// A request that describes groups of the classic protocol and their members.
    request DescribeGroups DescribeGroupsRequest => DescribeGroupsResponse, flexible 5 {
        groups: Vec<String> = since(0);
        include_authorized_operations: bool = since(3);
    }

    /// Answers [`DescribeGroupsRequest`].
    message DescribeGroupsResponse, flexible 5 {
        throttle_time_ms: i32 = since(1).ignorable();
        groups: Vec<DescribedGroup> = since(0);
    }

    /// Part of [`DescribeGroupsResponse`].
    struct DescribedGroup {
        error_code: i16 = since(0);
        error_message: Option<String> = since(6).null(6);
        group_id: String = since(0);
        group_state: String = since(0);
        protocol_type: String = since(0);
        protocol_data: String = since(0);
        members: Vec<DescribedGroupMember> = since(0);
        authorized_operations: i32 = since(3), default i32::MIN;
        state_since_ms: i64 = since(5).ignorable().tag(10000), default -1;
    }

    /// Part of [`DescribeGroupsResponse`].
    struct DescribedGroupMember {
        member_id: String = since(0);
        group_instance_id: Option<String> = since(4).null(4).ignorable();
        client_id: String = since(0);
        client_host: String = since(0);
        member_metadata: Bytes = since(0);
        member_assignment: Bytes = since(0);
        last_heard_ms: i64 = since(5).ignorable().tag(10000), default -1;
        is_awaited: i8 = since(5).ignorable().tag(10001), default -1;
    }
}
