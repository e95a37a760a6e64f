//! LeaveGroup (13): leaves a group. Versions 0 to 5.

use crate::message;

message! {
    /// Asks a broker: leaves a group.
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
