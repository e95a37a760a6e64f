//! What a user can set about membership in a group: one struct, a part of [`ConsumerConfig`](crate::ConsumerConfig).
//!
//! Owns the defaults and their bounds, which are the Java client's unless the field says otherwise.

use std::time::Duration;

use crate::Error;
use crate::config::refuse;

/// The longest group id, member id or instance id in bytes: a length of two bytes goes ahead of it on the wire.
const ID_BYTES_MAX: usize = i16::MAX as usize;

/// By which protocol the members of a group share its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GroupProtocol {
    /// [`GroupProtocol::Consumer`] where the broker serves it, else [`GroupProtocol::Classic`].
    #[default]
    Auto,
    /// The members agree among themselves: JoinGroup and SyncGroup.
    Classic,
    /// The broker assigns, member by member: ConsumerGroupHeartbeat (KIP-848).
    Consumer,
}

/// How the leader of a classic group divides the partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Assignor {
    /// Of each topic, a run of neighbouring partitions to each member.
    Range,
    /// All partitions of all topics to the members in turn.
    RoundRobin,
    /// Evenly, and as many partitions as possible stay where they were; all are given up for the time of a rebalance.
    Sticky,
    /// The same, and only partitions that move are given up (KIP-429).
    CooperativeSticky,
}

/// Membership in a group: where offsets are committed, and who shares the partitions.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GroupConfig {
    /// The group's name.
    pub group_id: String,
    /// A name that stays the same over restarts: the member keeps its partitions while it is away for less than the
    /// session timeout (KIP-345). It must be unique in the group. Default none.
    ///
    /// Consumer protocol: a member that was killed has its name until its session is over. One that comes under it before is
    /// refused for good (`UNRELEASED_INSTANCE_ID`), and may subscribe again afterwards.
    pub group_instance_id: Option<String>,
    /// Default [`GroupProtocol::Auto`].
    pub protocol: GroupProtocol,
    /// Classic: in the order of preference; the group takes one that all members have. The hand-over is cooperative if all
    /// of these are. Default [`Assignor::Range`], [`Assignor::CooperativeSticky`].
    pub assignors: Vec<Assignor>,
    /// Consumer protocol: the broker's assignor, such as `uniform` or `range`. Default none: the broker chooses.
    pub remote_assignor: Option<String>,
    /// Classic: a member that is not heard of for so long loses its partitions. Default 45 s. (In the consumer protocol
    /// the broker's configuration says it.)
    pub session_timeout: Duration,
    /// Classic: the time between two heartbeats. Default 3 s. (In the consumer protocol the broker says it.)
    pub heartbeat_interval: Duration,
    /// A member that does not ask for records for so long leaves the group, so that others take over what it does not
    /// get done; it is also how long a rebalance waits for a member to give partitions up. Default 5 min.
    pub max_poll_interval: Duration,
    /// Whether positions are committed without being asked to: at each interval, when partitions are taken away, and on
    /// close. What counts as processed is what was handed out before the latest call for records. Default true.
    pub enable_auto_commit: bool,
    /// The time between two automatic commits. Default 5 s.
    pub auto_commit_interval: Duration,
}

impl GroupConfig {
    /// The defaults, in the group of this name.
    pub fn new(group_id: impl Into<String>) -> Self {
        GroupConfig {
            group_id: group_id.into(),
            group_instance_id: None,
            protocol: GroupProtocol::Auto,
            assignors: vec![Assignor::Range, Assignor::CooperativeSticky],
            remote_assignor: None,
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
            enable_auto_commit: true,
            auto_commit_interval: Duration::from_secs(5),
        }
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        if !(1..=ID_BYTES_MAX).contains(&self.group_id.len()) {
            return refuse("group_id", &self.group_id, "1 to 32767 bytes");
        }
        if let Some(id) = self.group_instance_id.as_ref().filter(|id| !(1..=ID_BYTES_MAX).contains(&id.len())) {
            return refuse("group_instance_id", id, "1 to 32767 bytes, or none");
        }
        if self.assignors.is_empty() {
            return refuse("assignors", "none", "at least one");
        }
        for (key, value) in [
            ("session_timeout", self.session_timeout),
            ("heartbeat_interval", self.heartbeat_interval),
            ("max_poll_interval", self.max_poll_interval),
            ("auto_commit_interval", self.auto_commit_interval),
        ] {
            if value < Duration::from_millis(1) || value > Duration::from_millis(i32::MAX as u64) {
                return refuse(key, format!("{value:?}"), "1 ms to 24 days");
            }
        }
        if self.heartbeat_interval >= self.session_timeout {
            return refuse("heartbeat_interval", format!("{:?}", self.heartbeat_interval), "less than session_timeout");
        }
        Ok(())
    }
}

impl From<&str> for GroupConfig {
    fn from(group_id: &str) -> Self {
        GroupConfig::new(group_id)
    }
}

impl From<String> for GroupConfig {
    fn from(group_id: String) -> Self {
        GroupConfig::new(group_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        GroupConfig::new("g").validate().unwrap();
        let mut config = GroupConfig::new("g");
        config.heartbeat_interval = Duration::from_secs(45);
        let error = config.validate().unwrap_err();
        assert_eq!(error.to_string(), "heartbeat_interval = \"45s\" is not allowed: less than session_timeout");
        assert!(GroupConfig::new("").validate().is_err());
        let mut config = GroupConfig::new("g");
        config.assignors.clear();
        assert!(config.validate().is_err());
    }
}
