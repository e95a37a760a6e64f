//! ListGroups (16): lists the groups of a coordinator. Versions 0 to 5.
//!
//! By version: 1: throttle time · 2: throttled after the answer (KIP-219) · 3: flexible (KIP-482) · 4: by state
//! (KIP-518) · 5: by type (KIP-848).

use crate::message;

message! {
    /// A request that lists the groups of a coordinator.
    request ListGroups ListGroupsRequest => ListGroupsResponse, flexible 3 {
        states_filter: Vec<String> = since(4);
        types_filter: Vec<String> = since(5);
    }

    /// Answers [`ListGroupsRequest`].
    message ListGroupsResponse, flexible 3 {
        throttle_time_ms: i32 = since(1).ignorable();
        error_code: i16 = since(0);
        groups: Vec<ListedGroup> = since(0);
    }

    /// Part of [`ListGroupsResponse`].
    struct ListedGroup {
        group_id: String = since(0);
        protocol_type: String = since(0);
        group_state: String = since(4).ignorable();
        group_type: String = since(5).ignorable();
    }
}
