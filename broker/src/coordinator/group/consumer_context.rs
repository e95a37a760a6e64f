//! What the handling of a consumer group's request depends on beside the request and the group: time, topics, configuration.

use std::sync::Arc;

use super::assignor::Assignor;
use super::consumer_member::ConsumerMember;
use super::members_bytes::MembersBudget;
use super::timers::Moment;
use crate::config::{GroupTimeBounds, GroupTimes};
use crate::metadata::MetadataImage;

/// The topics, and the configurations of groups, as a shard last saw them. Every other image is another version, so that a group can tell with one comparison
/// that nothing has changed.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownTopics {
    image: Arc<MetadataImage>,
    version: u64,
}

impl KnownTopics {
    /// Takes note of the image that is in force.
    pub(crate) fn observe(&mut self, image: Arc<MetadataImage>) {
        if !Arc::ptr_eq(&self.image, &image) {
            self.image = image;
            self.version += 1;
        }
    }

    /// The topics.
    pub(crate) fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// What the handlers of a group work with.
    pub(crate) fn context<'a>(
        &'a self,
        group_id: &'a str,
        config: &'a ConsumerGroupConfig,
        members_budget: &'a MembersBudget,
        now: Moment,
    ) -> ConsumerContext<'a> {
        let own = self.image.group_configs(group_id);
        let times = own.map_or(config.times, |own| config.times.under(own, &config.bounds));
        ConsumerContext {
            group_id,
            now,
            image: &self.image,
            image_version: self.version,
            config,
            members_budget,
            times,
        }
    }
}

/// See the module's text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConsumerContext<'a> {
    /// The group's name.
    pub(crate) group_id: &'a str,
    /// The time.
    pub(crate) now: Moment,
    /// The topics.
    pub(crate) image: &'a MetadataImage,
    /// Another number for every other image, rising.
    pub(crate) image_version: u64,
    /// The broker's configuration.
    pub(crate) config: &'a ConsumerGroupConfig,
    /// What the members of all groups may say about themselves.
    pub(crate) members_budget: &'a MembersBudget,
    /// The group's own, or the broker's.
    pub(crate) times: GroupTimes,
}

impl ConsumerContext<'_> {
    /// When the session of a member ends that is heard of now. One of the classic protocol said itself how long it may be silent.
    pub(crate) fn session_deadline_ms(&self, member: &ConsumerMember) -> u64 {
        let timeout_ms =
            member.classic.as_ref().map_or(self.times.session_timeout_ms, |classic| classic.session_timeout_ms);
        self.now.in_ms(timeout_ms)
    }

    /// When a member must have done what a rebalance asks of it.
    pub(crate) fn rebalance_deadline_ms(&self, member: &ConsumerMember) -> u64 {
        self.now.in_ms(member.rebalance_timeout_ms)
    }
}

/// Whether a group may move between the protocols while it has members (KIP-848).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MigrationPolicy {
    /// Neither way.
    Disabled,
    /// From the classic to the consumer protocol.
    Upgrade,
    /// From the consumer to the classic protocol.
    Downgrade,
    /// Both ways.
    Bidirectional,
}

impl MigrationPolicy {
    /// The policy of this name, in any case; both ways for every other name, which the configuration does not let pass.
    pub(crate) fn from_name(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "disabled" => MigrationPolicy::Disabled,
            "upgrade" => MigrationPolicy::Upgrade,
            "downgrade" => MigrationPolicy::Downgrade,
            _ => MigrationPolicy::Bidirectional,
        }
    }

    /// Whether a classic group becomes a consumer group when a member of that protocol joins.
    pub(crate) fn upgrades(self) -> bool {
        matches!(self, MigrationPolicy::Upgrade | MigrationPolicy::Bidirectional)
    }

    /// Whether a consumer group becomes a classic one when only members of that protocol are left.
    pub(crate) fn downgrades(self) -> bool {
        matches!(self, MigrationPolicy::Downgrade | MigrationPolicy::Bidirectional)
    }
}

/// The keys `group.consumer.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConsumerGroupConfig {
    /// Those that a group can have of its own.
    pub(crate) times: GroupTimes,
    /// Within which bounds.
    pub(crate) bounds: GroupTimeBounds,
    /// How many members a group may have.
    pub(crate) max_size: usize,
    /// The assignors that members may ask for, the first one for those that ask for none; never empty.
    pub(crate) assignors: Vec<Assignor>,
    /// Whether groups may move between the protocols.
    pub(crate) migration_policy: MigrationPolicy,
}

impl ConsumerGroupConfig {
    /// The assignor of a group in which nobody asks for one.
    pub(crate) fn default_assignor(&self) -> Assignor {
        self.assignors.first().copied().unwrap_or(Assignor::Uniform)
    }
}
