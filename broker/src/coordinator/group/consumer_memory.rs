//! What the live coordinator knows of a consumer group and never writes: when members were heard of, and until when each may
//! take for what it has to do.
//!
//! Lost with the coordinator; after a load every member's session starts afresh. Deadlines are monotonic milliseconds.
//!
//! Invariant: every member with a deadline stands in `queue` once, no later than at its earliest deadline. So a heartbeat that
//! moves a deadline on costs no more than a look-up: the queue catches up when the time comes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::consumer::ConsumerGroupState;

/// Why a member is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExpiryReason {
    /// It was silent for its session timeout.
    Session,
    /// It did not give up partitions within its rebalance timeout.
    Rebalance {
        /// The epoch in which it had to.
        epoch: i32,
    },
    /// A member of the classic protocol was told to join again, and did not within its rebalance timeout.
    Join,
    /// A member of the classic protocol joined, and did not ask for its assignment within its rebalance timeout.
    Sync,
}

/// What is known of one member.
#[derive(Debug, Clone, Default)]
struct MemberMemory {
    /// Milliseconds since 1970.
    last_heard_ms: i64,
    session: Option<u64>,
    /// With the epoch in which the member has to give up partitions.
    rebalance: Option<(u64, i32)>,
    join: Option<u64>,
    sync: Option<u64>,
    queued_at: Option<u64>,
}

impl MemberMemory {
    fn earliest(&self) -> Option<u64> {
        let deadlines = [self.session, self.rebalance.map(|(deadline, _)| deadline), self.join, self.sync];
        deadlines.into_iter().flatten().min()
    }

    fn expired(&self, now_ms: u64) -> Option<ExpiryReason> {
        let is_due = |deadline: Option<u64>| deadline.is_some_and(|deadline| deadline <= now_ms);
        if is_due(self.session) {
            Some(ExpiryReason::Session)
        } else if let Some((deadline, epoch)) = self.rebalance
            && deadline <= now_ms
        {
            Some(ExpiryReason::Rebalance { epoch })
        } else if is_due(self.join) {
            Some(ExpiryReason::Join)
        } else if is_due(self.sync) {
            Some(ExpiryReason::Sync)
        } else {
            None
        }
    }
}

/// What is known of a group. See the module's text.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConsumerMemory {
    /// The version of the metadata that the group's topics were last compared with; `None` before the first time.
    pub(crate) compared_version: Option<u64>,
    /// When patterns were last looked up.
    pub(crate) regexes_resolved_at_ms: Option<u64>,
    state: Option<(ConsumerGroupState, i64)>,
    members: HashMap<Arc<str>, MemberMemory>,
    queue: BTreeSet<(u64, Arc<str>)>,
}

impl ConsumerMemory {
    /// A member was heard of, and may be silent until `session_deadline_ms`.
    pub(crate) fn heard(&mut self, member_id: &Arc<str>, now_ms: i64, session_deadline_ms: u64) {
        self.alter(member_id, |member| {
            member.last_heard_ms = now_ms;
            member.session = Some(session_deadline_ms);
        });
    }

    /// A member's session starts afresh, though it was not heard of: it was loaded.
    pub(crate) fn start_session(&mut self, member_id: &Arc<str>, session_deadline_ms: u64) {
        self.alter(member_id, |member| member.session = Some(session_deadline_ms));
    }

    /// A member has until `deadline_ms` to give up partitions in `epoch`.
    pub(crate) fn expect_revocation(&mut self, member_id: &Arc<str>, epoch: i32, deadline_ms: u64) {
        self.alter(member_id, |member| member.rebalance = Some((deadline_ms, epoch)));
    }

    /// A member has nothing to give up.
    pub(crate) fn revoked(&mut self, member_id: &Arc<str>) {
        self.alter(member_id, |member| member.rebalance = None);
    }

    /// A classic member has until `deadline_ms` to join again; one that runs stays.
    pub(crate) fn expect_join(&mut self, member_id: &Arc<str>, deadline_ms: u64) {
        self.alter(member_id, |member| {
            member.join.get_or_insert(deadline_ms);
        });
    }

    /// A classic member joined, and has until `sync_deadline_ms` to ask for its assignment.
    pub(crate) fn joined(&mut self, member_id: &Arc<str>, sync_deadline_ms: u64) {
        self.alter(member_id, |member| {
            member.join = None;
            member.sync = Some(sync_deadline_ms);
        });
    }

    /// A classic member asked for its assignment.
    pub(crate) fn synced(&mut self, member_id: &Arc<str>) {
        self.alter(member_id, |member| member.sync = None);
    }

    /// Nothing but the time matters any more at which the member's removal is tried again.
    pub(crate) fn expire_again(&mut self, member_id: &Arc<str>, deadline_ms: u64) {
        self.alter(member_id, |member| {
            (member.rebalance, member.join, member.sync) = (None, None, None);
            member.session = Some(deadline_ms);
        });
    }

    /// A member left the classic protocol behind: no request of it is waited for.
    pub(crate) fn speaks_consumer_protocol(&mut self, member_id: &Arc<str>) {
        self.alter(member_id, |member| (member.join, member.sync) = (None, None));
    }

    /// A member is gone.
    pub(crate) fn forget(&mut self, member_id: &str) {
        if let Some((member_id, MemberMemory { queued_at: Some(at), .. })) = self.members.remove_entry(member_id) {
            self.queue.remove(&(at, member_id));
        }
    }

    /// When a member was last heard of, in milliseconds since 1970; `None` since the coordinator started.
    pub(crate) fn last_heard_ms(&self, member_id: &str) -> Option<i64> {
        self.members.get(member_id).map(|member| member.last_heard_ms).filter(|heard| *heard > 0)
    }

    /// The group is in `state` at `now_ms`.
    pub(crate) fn observe_state(&mut self, state: ConsumerGroupState, now_ms: i64) {
        if self.state.is_none_or(|(before, _)| before != state) {
            self.state = Some((state, now_ms));
        }
    }

    /// Since when the group is in its state, in milliseconds since 1970; `None` when that was never observed.
    pub(crate) fn state_since_ms(&self) -> Option<i64> {
        self.state.map(|(_, since)| since)
    }

    /// When to ask for [`ConsumerMemory::take_expired`] next; it may turn out to be too early.
    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        self.queue.first().map(|(deadline, _)| *deadline)
    }

    /// The next member whose time is over, which then is no longer waited for; `None` when there is none.
    pub(crate) fn take_expired(&mut self, now_ms: u64) -> Option<(Arc<str>, ExpiryReason)> {
        while self.queue.first().is_some_and(|(deadline, _)| *deadline <= now_ms) {
            let (_, member_id) = self.queue.pop_first()?;
            let member = self.members.get_mut(&member_id).expect("whoever is queued is known");
            member.queued_at = None;
            if let Some(reason) = member.expired(now_ms) {
                return Some((member_id, reason));
            }
            self.alter(&member_id, |_| {});
        }
        None
    }

    fn alter(&mut self, member_id: &Arc<str>, change: impl FnOnce(&mut MemberMemory)) {
        if !self.members.contains_key(member_id) {
            self.members.insert(member_id.clone(), MemberMemory::default());
        }
        let member = self.members.get_mut(member_id).expect("it was just put there");
        change(member);
        let Some(earliest) = member.earliest() else { return };
        if member.queued_at.is_none_or(|at| earliest < at) {
            if let Some(at) = member.queued_at.replace(earliest) {
                self.queue.remove(&(at, member_id.clone()));
            }
            self.queue.insert((earliest, member_id.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> u64 {
        seconds * 1_000
    }

    #[test]
    fn a_member_that_is_heard_of_does_not_expire() {
        let (member, mut memory): (Arc<str>, _) = ("m".into(), ConsumerMemory::default());
        memory.heard(&member, 1_000, seconds(10));
        memory.heard(&member, 6_000, seconds(15));
        // The queue still has the first deadline, which turns out to be too early.
        assert_eq!(memory.next_deadline_ms(), Some(seconds(10)));
        assert_eq!(memory.take_expired(seconds(10)), None);
        assert_eq!(memory.next_deadline_ms(), Some(seconds(15)));
        assert_eq!(memory.take_expired(seconds(15)), Some((member.clone(), ExpiryReason::Session)));
        assert_eq!(memory.take_expired(seconds(15)), None);
        assert_eq!(memory.last_heard_ms("m"), Some(6_000));
        memory.forget(&member);
        assert_eq!((memory.next_deadline_ms(), memory.last_heard_ms("m")), (None, None));
    }

    #[test]
    fn the_earliest_deadline_counts_and_can_be_called_off() {
        let (member, mut memory): (Arc<str>, _) = ("m".into(), ConsumerMemory::default());
        memory.heard(&member, 0, seconds(45));
        memory.expect_revocation(&member, 5, seconds(20));
        assert_eq!(memory.next_deadline_ms(), Some(seconds(20)));
        memory.revoked(&member);
        assert_eq!(memory.take_expired(seconds(44)), None);

        memory.expect_revocation(&member, 6, seconds(40));
        assert_eq!(memory.take_expired(seconds(44)), Some((member.clone(), ExpiryReason::Rebalance { epoch: 6 })));
        memory.revoked(&member);
        memory.expect_join(&member, seconds(30));
        memory.expect_join(&member, seconds(60));
        assert_eq!(memory.take_expired(seconds(44)), Some((member.clone(), ExpiryReason::Join)));
        memory.joined(&member, seconds(41));
        assert_eq!(memory.take_expired(seconds(44)), Some((member.clone(), ExpiryReason::Sync)));
        memory.synced(&member);
        assert_eq!(memory.next_deadline_ms(), Some(seconds(45)));
    }

    #[test]
    fn a_state_lasts_since_it_was_first_observed() {
        let mut memory = ConsumerMemory::default();
        assert_eq!(memory.state_since_ms(), None);
        memory.observe_state(ConsumerGroupState::Assigning, 10);
        memory.observe_state(ConsumerGroupState::Assigning, 20);
        assert_eq!(memory.state_since_ms(), Some(10));
        memory.observe_state(ConsumerGroupState::Stable, 30);
        assert_eq!(memory.state_since_ms(), Some(30));
    }
}
