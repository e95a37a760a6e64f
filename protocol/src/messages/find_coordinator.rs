//! FindCoordinator (10): finds the broker that coordinates a group or a transactional id. Versions 0 to 6.
//!
//! By version: 1: transactional ids (KIP-98) · 2: throttled after the answer (KIP-219) · 3: flexible (KIP-482) · 4:
//! several keys at once (KIP-699) · 5: TRANSACTION_ABORTABLE (KIP-890) · 6: share groups (KIP-932).

use crate::message;

message! {
    /// A request that finds the broker that coordinates a group or a transactional id.
    request FindCoordinator FindCoordinatorRequest => FindCoordinatorResponse, flexible 3 {
        key: String = since(0).until(3);
        key_type: i8 = since(1);
        coordinator_keys: Vec<String> = since(4);
    }

    /// Answers [`FindCoordinatorRequest`].
    message FindCoordinatorResponse, flexible 3 {
        throttle_time_ms: i32 = since(1).ignorable();
        error_code: i16 = since(0).until(3);
        error_message: Option<String> = since(1).until(3).null(1).ignorable();
        node_id: i32 = since(0).until(3);
        host: String = since(0).until(3);
        port: i32 = since(0).until(3);
        coordinators: Vec<Coordinator> = since(4);
    }

    /// Part of [`FindCoordinatorResponse`].
    struct Coordinator {
        key: String = since(4);
        node_id: i32 = since(4);
        host: String = since(4);
        port: i32 = since(4);
        error_code: i16 = since(4);
        error_message: Option<String> = since(4).null(4).ignorable();
    }
}
