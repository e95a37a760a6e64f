//! JoinGroup (11): enters a classic group. Versions 0 to 9.

use bytes::Bytes;

use crate::message;

message! {
    /// Asks a broker: enters a classic group.
    request JoinGroup JoinGroupRequest => JoinGroupResponse, flexible 6 {
        group_id: String = since(0);
        session_timeout_ms: i32 = since(0);
        rebalance_timeout_ms: i32 = since(1).ignorable(), default -1;
        member_id: String = since(0);
        group_instance_id: Option<String> = since(5).null(5);
        protocol_type: String = since(0);
        protocols: Vec<JoinGroupRequestProtocol> = since(0);
        reason: Option<String> = since(8).null(8).ignorable();
    }

    /// Part of [`JoinGroupRequest`].
    struct JoinGroupRequestProtocol {
        name: String = since(0);
        metadata: Bytes = since(0);
    }

    /// Answers [`JoinGroupRequest`].
    message JoinGroupResponse, flexible 6 {
        throttle_time_ms: i32 = since(2).ignorable();
        error_code: i16 = since(0);
        generation_id: i32 = since(0), default -1;
        protocol_type: Option<String> = since(7).null(7).ignorable();
        protocol_name: Option<String> = since(0).null(7);
        leader: String = since(0);
        skip_assignment: bool = since(9);
        member_id: String = since(0);
        members: Vec<JoinGroupResponseMember> = since(0);
    }

    /// Part of [`JoinGroupResponse`].
    struct JoinGroupResponseMember {
        member_id: String = since(0);
        group_instance_id: Option<String> = since(5).null(5).ignorable();
        metadata: Bytes = since(0);
    }
}
