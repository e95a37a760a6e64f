//! How large a consumer group may be, so that every change of it fits into one batch.
//!
//! A change is written all or not at all, and may be about every member: a topic that grows gives new targets to all of them. Each
//! record has the group's name and the member's in it, which clients choose, up to 32 KB each. A group with a change that cannot be
//! written would go on without it for ever.
//!
//! Invariant: the records of all members of a group leave a quarter of a batch for what else is in a change: what members are to
//! own, and what patterns stand for.

use super::consumer::ConsumerGroup;
use super::offset_store::{CHANGE_BYTES_MAX, record_bytes};

/// The most records of one member in one change: a member that goes, or a group that changes its protocol, has as many.
const RECORDS_PER_MEMBER: usize = 3;

/// What the names in the records of all members may take: all but a quarter of a batch.
pub(super) const NAMES_BYTES_MAX: usize = CHANGE_BYTES_MAX / 4 * 3;

/// Whether a change can be about all members of a group.
pub(super) fn fits_into_change(group_id: &str, group: &ConsumerGroup) -> bool {
    names_bytes(group_id, group).sum::<usize>() <= NAMES_BYTES_MAX
}

/// How many members are removed at once, whoever they are: what was loaded may be larger than what is let in.
pub(super) fn removed_at_once_max(group_id: &str, group: &ConsumerGroup) -> usize {
    // The names of one group and one member are a small part of a batch.
    names_bytes(group_id, group).max().map_or(usize::MAX, |largest| NAMES_BYTES_MAX / largest)
}

/// What the names in the records of each member take in one change.
fn names_bytes(group_id: &str, group: &ConsumerGroup) -> impl Iterator<Item = usize> {
    group.members().map(move |member| RECORDS_PER_MEMBER * record_bytes(group_id, &member.member_id, ""))
}
