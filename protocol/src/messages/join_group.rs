//! JoinGroup (11): enters a group of the classic protocol, or waits for its next generation. Versions 0 to 9.
//!
//! By version: 1: a rebalance timeout of its own (KIP-62) · 2: throttle time · 3: throttled after the answer
//! (KIP-219) · 4: a new member gets its id first and joins again with it (KIP-394) · 5: static members (KIP-345) · 6:
//! flexible (KIP-482) · 7: the protocol's type and name (KIP-559) · 8: a reason (KIP-800) · 9: a leader can be told
//! to leave the assignment alone (KIP-814).

use bytes::Bytes;

use crate::message;

message! {
    /// A request that enters a group of the classic protocol, or waits for its next generation.
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
