//! SyncGroup (14): hands out the assignment of a generation. Versions 0 to 5.
//!
//! By version: 1: throttle time · 2: throttled after the answer (KIP-219) · 3: static members (KIP-345) · 4: flexible
//! (KIP-482) · 5: the protocol's type and name are checked (KIP-559).

use bytes::Bytes;

use crate::message;

message! {
    /// A request that hands out the assignment of a generation.
    request SyncGroup SyncGroupRequest => SyncGroupResponse, flexible 4 {
        group_id: String = since(0);
        generation_id: i32 = since(0);
        member_id: String = since(0);
        group_instance_id: Option<String> = since(3).null(3);
        protocol_type: Option<String> = since(5).null(5).ignorable();
        protocol_name: Option<String> = since(5).null(5).ignorable();
        assignments: Vec<SyncGroupRequestAssignment> = since(0);
    }

    /// Part of [`SyncGroupRequest`].
    struct SyncGroupRequestAssignment {
        member_id: String = since(0);
        assignment: Bytes = since(0);
    }

    /// Answers [`SyncGroupRequest`].
    message SyncGroupResponse, flexible 4 {
        throttle_time_ms: i32 = since(1).ignorable();
        error_code: i16 = since(0);
        protocol_type: Option<String> = since(5).null(5).ignorable();
        protocol_name: Option<String> = since(5).null(5).ignorable();
        assignment: Bytes = since(0);
    }
}
