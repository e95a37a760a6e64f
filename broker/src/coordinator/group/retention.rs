//! Forgetting offsets that nobody needs any more, and groups that have neither members nor offsets (KIP-211).
//!
//! An offset with an expiry of its own goes at that time. Any other goes `offsets.retention.minutes` after: the group became
//! empty; or the offset was committed, when the group never had members, or is stable and has nobody who reads the topic. So
//! no offset goes that a member may come back to. The offset of a topic that was deleted goes at once.

use super::any_group::Group;
use super::group_shard::GroupShard;
use super::offset_store::{CHANGE_BYTES_MAX, CommittedOffset, record_bytes, tombstone};
use super::outcome::Effects;
use crate::types::TopicId;

/// The most tombstones of one look, which take half of a batch at most; what is more waits for the next.
const TOMBSTONES_MAX: usize = 1_000;

/// From when on the time of an offset counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetentionBase {
    /// From its commit.
    Commit,
    /// From this time, in milliseconds since 1970.
    Since(i64),
    /// It does not count: members may need the offset.
    Never,
}

/// What one look at a shard came to.
#[derive(Debug, Default)]
pub(crate) struct Expired {
    /// Whether there is more to forget right away.
    pub(crate) more: bool,
    /// The records that forget.
    pub(crate) effects: Effects,
}

/// What one look may still write.
#[derive(Debug)]
struct Room {
    records: usize,
    bytes: usize,
    /// Something did not fit: nothing more does.
    is_over: bool,
}

impl Room {
    /// Takes room for records of so many bytes each, if there is.
    fn take(&mut self, records: usize, bytes: usize) -> bool {
        let left = self.records.checked_sub(records).zip(self.bytes.checked_sub(records * bytes));
        self.is_over |= left.is_none();
        if self.is_over {
            return false;
        }
        (self.records, self.bytes) = left.unwrap_or_default();
        true
    }
}

impl GroupShard {
    /// Looks for what is to be forgotten by now. `topic_exists` tells of a name and an id whether there is such a topic; zero is an id
    /// that is not known.
    pub(crate) fn expire(&self, wall_ms: i64, topic_exists: &dyn Fn(&str, TopicId) -> bool) -> Expired {
        let mut expired = Expired::default();
        let mut room = Room { records: TOMBSTONES_MAX, bytes: CHANGE_BYTES_MAX / 2, is_over: false };
        for (id, group) in self.groups() {
            let mut is_without_offsets = true;
            let base = group.retention_base();
            for (topic, partitions) in self.offsets_of(id).into_iter().flatten() {
                let is_needed = group.is_subscribed_to(topic);
                for (&partition, offset) in partitions {
                    let exists = topic_exists(topic, offset.topic_id);
                    let is_over = !exists || (!is_needed && self.is_over(offset, base, wall_ms));
                    if is_over && room.take(1, record_bytes(id, topic, "")) {
                        expired.effects.records.push(tombstone(id, topic, partition));
                    } else {
                        is_without_offsets = false;
                    }
                }
            }
            if is_without_offsets && group.may_be_forgotten() {
                let tombstones = group.tombstones(id);
                // The tombstones of one group fit in any case.
                if expired.effects.records.is_empty() || room.take(tombstones.len(), record_bytes(id, "", "")) {
                    expired.effects.records.extend(tombstones);
                }
            }
            if room.is_over {
                expired.more = true;
                break;
            }
        }
        expired
    }

    fn is_over(&self, offset: &CommittedOffset, base: RetentionBase, wall_ms: i64) -> bool {
        let since = match base {
            RetentionBase::Never => return false,
            RetentionBase::Commit => offset.commit_timestamp_ms,
            RetentionBase::Since(since_ms) => since_ms,
        };
        match offset.expire_timestamp_ms {
            -1 => wall_ms.saturating_sub(since) >= self.config().offsets_retention_ms,
            expire_ms => wall_ms >= expire_ms,
        }
    }
}

impl Group {
    /// From when on the time of the group's offsets counts.
    fn retention_base(&self) -> RetentionBase {
        match self {
            Self::Classic(group) => match group.protocol_type() {
                None => RetentionBase::Commit,
                // A record of a very old broker does not say since when the group is empty.
                Some(_) if group.is_empty() && group.state_since_ms() < 0 => RetentionBase::Commit,
                Some(_) if group.is_empty() => RetentionBase::Since(group.state_since_ms()),
                Some(_) if group.is_stable_with_known_topics() => RetentionBase::Commit,
                Some(_) => RetentionBase::Never,
            },
            // What members subscribe to is known of them, whatever the group's state.
            Self::Consumer(_) => RetentionBase::Commit,
        }
    }

    /// Whether the group itself may go once it has no offsets.
    fn may_be_forgotten(&self) -> bool {
        match self {
            Self::Classic(group) => group.is_empty() && group.pending_member_count() == 0,
            Self::Consumer(group) => group.member_count() == 0,
        }
    }
}
