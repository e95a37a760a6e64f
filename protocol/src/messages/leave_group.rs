//! LeaveGroup (13): takes members out of a group. Versions 0 to 5.
//!
//! By version: 1: throttle time · 2: throttled after the answer (KIP-219) · 3: several members, by instance id too
//! (KIP-345) · 4: flexible (KIP-482) · 5: a reason (KIP-800).

use crate::message;

message! {
    /// A request that takes members out of a group.
    request LeaveGroup LeaveGroupRequest => LeaveGroupResponse, flexible 4 {
        group_id: String = since(0);
        member_id: String = since(0).until(2);
        members: Vec<MemberIdentity> = since(3);
    }

    /// Part of [`LeaveGroupRequest`].
    struct MemberIdentity {
        member_id: String = since(3);
        group_instance_id: Option<String> = since(3).null(3);
        reason: Option<String> = since(5).null(5).ignorable();
    }

    /// Answers [`LeaveGroupRequest`].
    message LeaveGroupResponse, flexible 4 {
        throttle_time_ms: i32 = since(1).ignorable();
        error_code: i16 = since(0);
        members: Vec<MemberResponse> = since(3);
    }

    /// Part of [`LeaveGroupResponse`].
    struct MemberResponse {
        member_id: String = since(3);
        group_instance_id: Option<String> = since(3).null(3);
        error_code: i16 = since(3);
    }
}
