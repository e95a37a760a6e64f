//! Heartbeat (12): keeps a member in its group. Versions 0 to 4.
//!
//! By version: 1: throttle time · 2: throttled after the answer (KIP-219) · 3: static members (KIP-345) · 4: flexible
//! (KIP-482).

use crate::message;

message! {
    /// A request that keeps a member in its group.
    request Heartbeat HeartbeatRequest => HeartbeatResponse, flexible 4 {
        group_id: String = since(0);
        generation_id: i32 = since(0);
        member_id: String = since(0);
        group_instance_id: Option<String> = since(3).null(3);
    }

    /// Answers [`HeartbeatRequest`].
    message HeartbeatResponse, flexible 4 {
        throttle_time_ms: i32 = since(1).ignorable();
        error_code: i16 = since(0);
    }
}
