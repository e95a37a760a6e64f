//! Which groups there are: the types and states of groups, and the list of them over all brokers.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use ottla_protocol::messages::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};

use super::Admin;
use crate::Error;
use crate::cluster::Lane;

/// Which protocol the members of a group speak with its coordinator.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum GroupType {
    /// JoinGroup and SyncGroup: the members assign among themselves.
    Classic,
    /// KIP-848: the coordinator assigns.
    Consumer,
    /// A type that this client does not know, or one that the broker does not say (empty: before Kafka 3.8).
    Other(String),
}

/// Where a group is in its life. The names are Kafka's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum GroupState {
    /// No members; perhaps committed offsets.
    Empty,
    /// Classic: members are to join again.
    PreparingRebalance,
    /// Classic: all have joined, and wait for the assignment that the leader makes.
    CompletingRebalance,
    /// Consumer: the coordinator makes an assignment.
    Assigning,
    /// Consumer: members are still to give up or take over partitions.
    Reconciling,
    /// Everybody has what the assignment says.
    Stable,
    /// About to be removed.
    Dead,
    /// A state that this client does not know, or one that the broker does not say (empty: before Kafka 2.6).
    Other(String),
}

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct GroupListing {
    /// Its id.
    pub group_id: String,
    /// Which protocol its members speak with the coordinator.
    pub group_type: GroupType,
    /// Its state.
    pub state: GroupState,
    /// What its members are: `consumer`, `connect` or another word of theirs; empty for a group that only holds offsets.
    pub protocol_type: String,
}

impl GroupType {
    /// Kafka's name of the type.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            GroupType::Classic => "Classic",
            GroupType::Consumer => "Consumer",
            GroupType::Other(name) => name,
        }
    }
}

impl GroupState {
    /// Kafka's name of the state.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Assigning => "Assigning",
            GroupState::Reconciling => "Reconciling",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
            GroupState::Other(name) => name,
        }
    }
}

impl fmt::Display for GroupType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// By Kafka's name, in any case; whatever else there is, is [`GroupType::Other`].
impl FromStr for GroupType {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        let known = [GroupType::Classic, GroupType::Consumer];
        let found = known.into_iter().find(|one| one.name().eq_ignore_ascii_case(name));
        Ok(found.unwrap_or_else(|| GroupType::Other(name.to_owned())))
    }
}

/// By Kafka's name, in any case; whatever else there is, is [`GroupState::Other`].
impl FromStr for GroupState {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        let known = [
            GroupState::Empty,
            GroupState::PreparingRebalance,
            GroupState::CompletingRebalance,
            GroupState::Assigning,
            GroupState::Reconciling,
            GroupState::Stable,
            GroupState::Dead,
        ];
        let found = known.into_iter().find(|one| one.name().eq_ignore_ascii_case(name));
        Ok(found.unwrap_or_else(|| GroupState::Other(name.to_owned())))
    }
}

impl Admin {
    /// The groups of all brokers, by id: those in one of `states` and of one of `types`, where there are any in it
    /// (KIP-518, KIP-848).
    ///
    /// # Errors
    /// Those of reaching any of the brokers, since a list with holes would mislead; [`Error::UnencodableRequest`] for
    /// states with brokers before Kafka 2.6, and for types before 3.8.
    pub async fn list_groups(&self, states: &[GroupState], types: &[GroupType]) -> Result<Vec<GroupListing>, Error> {
        let request = ListGroupsRequest {
            states_filter: states.iter().map(ToString::to_string).collect(),
            types_filter: types.iter().map(ToString::to_string).collect(),
        };
        let mut groups = Vec::new();
        for node in self.describe_cluster().await?.nodes {
            let attempt = || async {
                let connection = self.cluster.connection(node.id, Lane::Control).await?;
                self.ask(connection, &request, |response: &ListGroupsResponse| response.error_code).await
            };
            let (_, response) = self.cluster.retrying(attempt).await?;
            groups.extend(response.groups.into_iter().map(listing));
        }
        groups.sort_unstable();
        groups.dedup();
        Ok(groups)
    }
}

fn listing(group: ListedGroup) -> GroupListing {
    GroupListing {
        group_id: group.group_id,
        group_type: known(&group.group_type),
        state: known(&group.group_state),
        protocol_type: group.protocol_type,
    }
}

/// By a name that the broker gave.
pub(super) fn known<T: FromStr<Err = Infallible>>(name: &str) -> T {
    let Ok(known) = name.parse();
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_in_any_case_and_kept_where_it_is_not() {
        assert_eq!(known::<GroupState>("preparingrebalance"), GroupState::PreparingRebalance);
        assert_eq!(known::<GroupType>("consumer").to_string(), "Consumer");
        assert_eq!(known::<GroupState>("NotReady"), GroupState::Other("NotReady".to_owned()));
        assert_eq!(known::<GroupType>("Share").to_string(), "Share");
    }
}
