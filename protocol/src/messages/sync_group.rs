//! SyncGroup (14): hands the assignment of a classic group to its members. Versions 0 to 5.

use bytes::Bytes;

use crate::message;

message! {
    /// Asks a broker: hands the assignment of a classic group to its members.
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
