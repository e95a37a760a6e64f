//! The keys of single groups: what AlterConfigs takes for the resource GROUP (KIP-848).
//!
//! Those of Apache Kafka 4.3 for groups of the consumer protocol; it has more, for share and streams groups, which are not served
//! here. The default of a group's key is the broker key beside it, and so are its bounds (`group_times.rs`).

use super::config_key::{KeyGroup, int, same};

pub(super) static GROUPS: &[KeyGroup] = &[KeyGroup {
    title: "Groups of the consumer protocol",
    ignored_because: None,
    keys: &[
        int("consumer.session.timeout.ms", "45000").at_least(1).from(&[same("group.consumer.session.timeout.ms")]).doc(
            "How many milliseconds a member of the group may be silent before it is removed; between `group.consumer.min.session.timeout.ms` and `group.consumer.max.session.timeout.ms`.",
        ),
        int("consumer.heartbeat.interval.ms", "5000").at_least(1).from(&[same("group.consumer.heartbeat.interval.ms")]).doc(
            "How many milliseconds members of the group are told to let pass between two heartbeats; between `group.consumer.min.heartbeat.interval.ms` and `group.consumer.max.heartbeat.interval.ms`.",
        ),
        int("consumer.assignment.interval.ms", "1000").at_least(0).from(&[same("group.consumer.assignment.interval.ms")]).doc(
            "How many milliseconds lie between two assignments of the group at least; between `group.consumer.min.assignment.interval.ms` and `group.consumer.max.assignment.interval.ms`.",
        ),
    ],
}];
