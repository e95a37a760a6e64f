//! DeleteGroups (42), versions 0 to 2: deletes groups without members, with their offsets (KIP-229).
//!
//! Each group by itself; one that is named twice is answered once.

use std::collections::HashSet;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};

use super::context::{Api, Call};
use super::dispatch::respond;
use super::error_map::ToErrorCode;
use super::exchange::Dispatched;
use crate::coordinator::Handled;

/// Deletes what may be deleted; only the answer waits for the disk.
pub(super) fn dispatch(api: &Arc<Api>, request: DeleteGroupsRequest, call: Call) -> Dispatched {
    let mut seen = HashSet::new();
    let groups = request.groups_names.into_iter().filter(|group_id| seen.insert(group_id.clone()));
    let delete = |group_id: String| {
        let deleted = api.groups.submit(&group_id, |shard, _now| shard.delete_group(&group_id));
        deleted.map(move |deleted| {
            let code = deleted.err().map_or(ErrorCode::None, |error| error.to_error_code());
            DeletableGroupResult { group_id, error_code: code.into() }
        })
    };
    let results = groups.map(delete).collect();
    Handled::all(results)
        .map(move |results| respond(&call, &DeleteGroupsResponse { results, ..Default::default() }))
        .into()
}
