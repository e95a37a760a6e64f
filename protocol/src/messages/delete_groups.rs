//! DeleteGroups (42): deletes groups. Versions 0 to 2.
//!
//! By version: 0: KIP-229 · 1: throttled after the answer (KIP-219) · 2: flexible (KIP-482).

use crate::message;

message! {
    /// A request that deletes groups.
    request DeleteGroups DeleteGroupsRequest => DeleteGroupsResponse, flexible 2 {
        groups_names: Vec<String> = since(0);
    }

    /// Answers [`DeleteGroupsRequest`].
    message DeleteGroupsResponse, flexible 2 {
        throttle_time_ms: i32 = since(0);
        results: Vec<DeletableGroupResult> = since(0);
    }

    /// Part of [`DeleteGroupsResponse`].
    struct DeletableGroupResult {
        group_id: String = since(0);
        error_code: i16 = since(0);
    }
}
