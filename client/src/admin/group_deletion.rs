//! Deleting groups.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::delete_groups::{DeletableGroupResult, DeleteGroupsRequest};

use super::Admin;
use super::topics::refused;
use crate::connection::Connection;
use crate::coordinator_calls::{ByGroup, by_coordinator};

impl Admin {
    /// Deletes groups with all their committed offsets. One result for each group: [`Error::Broker`] with
    /// NON_EMPTY_GROUP while it has members, with GROUP_ID_NOT_FOUND where there is none.
    ///
    /// [`Error::Broker`]: crate::Error::Broker
    pub async fn delete_groups(&self, groups: &[&str]) -> ByGroup<()> {
        let timeout = self.timeout();
        let call = |connection: Connection, groups_names: Vec<String>| async move {
            let response = connection.request(&DeleteGroupsRequest { groups_names }, timeout).await?;
            let result = |group: DeletableGroupResult| {
                let refused = refused(&connection, ApiKey::DeleteGroups, group.error_code, &group.group_id, None);
                (group.group_id, refused.map_or(Ok(()), Err))
            };
            Ok(response.results.into_iter().map(result).collect())
        };
        by_coordinator(&self.cluster, groups.iter().map(ToString::to_string).collect(), call).await
    }
}
