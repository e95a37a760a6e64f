//! ListGroups (16), versions 0 to 5: all groups of both protocols.
//!
//! Version 4 asks by state (KIP-518), 5 by type (KIP-848), both in any case. What is no state or type matches no group.

use std::sync::Arc;

use ottla_protocol::messages::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};

use super::context::{Api, Call};
use super::dispatch::respond;
use super::error_map::ToErrorCode;
use super::exchange::Dispatched;
use crate::coordinator::group::{self, GroupFilter, GroupKind};

/// Reads every shard.
pub(super) fn dispatch(api: &Arc<Api>, request: ListGroupsRequest, call: Call) -> Dispatched {
    let kinds = request.types_filter;
    let filter = GroupFilter {
        states: request.states_filter.iter().map(|state| state.trim().to_ascii_lowercase()).collect(),
        kinds: (!kinds.is_empty()).then(|| kinds.iter().filter_map(|kind| GroupKind::parse(kind)).collect()),
    };
    let listed = api.groups.read_all(|shard| shard.list(&filter));
    listed
        .map(move |listed| {
            let response = match listed {
                Ok(shards) => {
                    let mut groups: Vec<_> = shards.into_iter().flatten().map(answer).collect();
                    groups.sort_unstable_by(|a, b| a.group_id.cmp(&b.group_id));
                    ListGroupsResponse { groups, ..Default::default() }
                }
                Err(error) => ListGroupsResponse { error_code: error.to_error_code().into(), ..Default::default() },
            };
            respond(&call, &response)
        })
        .into()
}

fn answer(group: group::ListedGroup) -> ListedGroup {
    ListedGroup {
        group_id: group.group_id,
        protocol_type: group.protocol_type,
        group_state: group.state.to_owned(),
        group_type: group.kind.name().to_owned(),
    }
}
