//! What the handling of a consumer group's request depends on beside the request and the group: time, topics, configuration.

use std::time::Duration;

use super::assignor::Assignor;
use super::consumer_member::ConsumerMember;
use crate::metadata::MetadataImage;

/// See the module's text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConsumerContext<'a> {
    /// Wall-clock time, in milliseconds since 1970: for what is recorded.
    pub(crate) now_ms: i64,
    /// Monotonic time: for deadlines.
    pub(crate) now: Duration,
    /// The topics.
    pub(crate) image: &'a MetadataImage,
    /// Another number for every other image, rising.
    pub(crate) image_version: u64,
    /// The configuration.
    pub(crate) config: &'a ConsumerGroupConfig,
}

impl ConsumerContext<'_> {
    /// How long a member may be silent: what it said itself if it speaks the classic protocol.
    pub(crate) fn session_timeout(&self, member: &ConsumerMember) -> Duration {
        match &member.classic {
            Some(classic) => Duration::from_millis(u64::try_from(classic.session_timeout_ms).unwrap_or(0)),
            None => self.config.session_timeout,
        }
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
    /// How long a member may be silent.
    pub(crate) session_timeout: Duration,
    /// How often members are told to send heartbeats, in milliseconds.
    pub(crate) heartbeat_interval_ms: i32,
    /// How many members a group may have.
    pub(crate) max_size: usize,
    /// How many milliseconds lie between two target assignments of a group at least.
    pub(crate) assignment_interval_ms: u64,
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
