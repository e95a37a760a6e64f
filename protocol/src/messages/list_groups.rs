//! ListGroups (16): lists groups. Versions 0 to 5.

use crate::message;

message! {
    /// Asks a broker: lists groups.
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
