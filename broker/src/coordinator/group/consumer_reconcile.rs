//! Reconciliation (KIP-848): one step of a member from what it owns to what it is to own.
//!
//! A pure function of the member, its target and what it reports. A partition is given to nobody before its owner said that it
//! gave it up (or was removed): revoke, then release, then assign. Members move independently of each other.
//!
//! Invariant: a step never assigns a partition that somebody else owns, nor one that the target does not have.

use std::collections::BTreeSet;

use super::assignment::{Assignment, OwnedPartitions};
use super::consumer_member::{ConsumerMember, MemberState};
use crate::types::TopicId;

/// What a step depends on beside the member itself.
pub(crate) struct Reconciliation<'a, F: Fn(&TopicId, i32) -> bool> {
    /// The epoch of the target assignment.
    pub(crate) target_epoch: i32,
    /// What the member is to own.
    pub(crate) target: &'a Assignment,
    /// The topics that it subscribes to now: the target may be older than the subscription.
    pub(crate) subscribed: &'a BTreeSet<TopicId>,
    /// What the member says that it owns; `None` when it does not say.
    pub(crate) reported: Option<&'a Assignment>,
    /// Whether somebody else owns a partition.
    pub(crate) owned_by_other: F,
}

/// A member whose state is not understood, and that has not given up everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnknownState;

impl<F: Fn(&TopicId, i32) -> bool> Reconciliation<'_, F> {
    /// The member after one step; `None` when it stays as it is.
    ///
    /// # Errors
    /// The member is in a state of another version and reports partitions: it has to join again.
    pub(crate) fn step(&self, member: &ConsumerMember) -> Result<Option<ConsumerMember>, UnknownState> {
        let next = match member.state {
            MemberState::Stable if member.epoch == self.target_epoch && self.subscribes_to_all(member) => {
                return Ok(None);
            }
            MemberState::Stable | MemberState::UnreleasedPartitions => self.next_assignment(member, member.epoch),
            MemberState::UnrevokedPartitions if self.still_reports(&member.pending_revocation) => {
                self.revoke_unsubscribed(member)
            }
            MemberState::UnrevokedPartitions => {
                // Everything was given up, which ends the epoch; the target may be of an older one while a new one is due.
                self.next_assignment(member, self.target_epoch.min(member.epoch.saturating_add(1)))
            }
            MemberState::Unknown if self.reported.is_some_and(Assignment::is_empty) => {
                self.next_assignment(member, self.target_epoch)
            }
            MemberState::Unknown => return Err(UnknownState),
        };
        Ok((next != *member).then_some(next))
    }

    /// The way on from a state in which nothing has to be given up any more.
    fn next_assignment(&self, member: &ConsumerMember, epoch: i32) -> ConsumerMember {
        let is_target =
            |topic: &TopicId, partition| self.target.contains(topic, partition) && self.subscribed.contains(topic);
        let (mut assigned, mut revoked) = (OwnedPartitions::default(), OwnedPartitions::default());
        for (topic, partition, since) in member.assigned.iter() {
            let side = if is_target(&topic, partition) { &mut assigned } else { &mut revoked };
            side.insert(topic, partition, since);
        }

        let mut next = member.clone();
        if !revoked.is_empty() && self.still_reports(&revoked) {
            next.move_to_epoch(epoch);
            next.state = MemberState::UnrevokedPartitions;
            next.assigned = assigned;
            next.pending_revocation = revoked;
            return next;
        }

        next.state = MemberState::Stable;
        for (topic, partition) in self.target.iter().filter(|(topic, _)| self.subscribed.contains(topic)) {
            if assigned.contains(&topic, partition) {
                continue;
            }
            if (self.owned_by_other)(&topic, partition) {
                next.state = MemberState::UnreleasedPartitions;
            } else {
                assigned.insert(topic, partition, self.target_epoch);
            }
        }
        next.move_to_epoch(self.target_epoch);
        next.assigned = assigned;
        next.pending_revocation = OwnedPartitions::default();
        next
    }

    /// A member that is still giving up partitions, and no longer subscribes to others that it owns.
    fn revoke_unsubscribed(&self, member: &ConsumerMember) -> ConsumerMember {
        let mut next = member.clone();
        let (kept, dropped): (Vec<_>, Vec<_>) =
            member.assigned.iter().partition(|(topic, ..)| self.subscribed.contains(topic));
        next.assigned = kept.into_iter().collect();
        dropped
            .into_iter()
            .for_each(|(topic, partition, since)| next.pending_revocation.insert(topic, partition, since));
        next
    }

    fn subscribes_to_all(&self, member: &ConsumerMember) -> bool {
        member.assigned.topics().all(|(topic, _)| self.subscribed.contains(topic))
    }

    /// Whether the member may own any of `partitions` still. One that does not say what it owns may.
    fn still_reports(&self, partitions: &OwnedPartitions) -> bool {
        self.reported
            .is_none_or(|reported| partitions.iter().any(|(topic, partition, _)| reported.contains(&topic, partition)))
    }
}

#[cfg(test)]
#[path = "consumer_reconcile_test.rs"]
mod tests;
