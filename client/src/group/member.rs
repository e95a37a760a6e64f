//! A member of a group of either protocol, as the driver sees it: the two state machines behind one set of verbs.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::classic_member::ClassicMember;
use super::consumer_member::ConsumerMember;
use super::step::{Identity, MemberRequest, Step};
use super::subscription::Subscription;
use crate::clock::Instant;

#[derive(Debug)]
pub(crate) enum Member {
    Classic(Box<ClassicMember>),
    Consumer(Box<ConsumerMember>),
}

impl Member {
    pub(crate) fn next(&mut self, now: Instant) -> Step {
        match self {
            Member::Classic(member) => member.next(now),
            Member::Consumer(member) => member.next(now),
        }
    }

    pub(crate) fn identity(&self) -> Option<Identity> {
        match self {
            Member::Classic(member) => member.identity(),
            Member::Consumer(member) => member.identity(),
        }
    }

    /// Whether a commit that was refused to `identity` may be repeated under the present one.
    pub(crate) fn has_moved_on(&self, identity: &Identity) -> bool {
        match self {
            Member::Classic(member) => member.has_moved_on(identity),
            Member::Consumer(member) => member.identity().is_some_and(|own| own != *identity),
        }
    }

    /// Reads what the subscription says. `topics` are its topics as far as they are known: the classic protocol knows no
    /// patterns.
    pub(crate) fn subscribe(&mut self, subscription: Subscription, topics: BTreeSet<Arc<str>>) {
        match self {
            Member::Classic(member) => member.subscribe(topics),
            Member::Consumer(member) => member.subscribe(subscription),
        }
    }

    pub(crate) fn unsubscribe(&mut self) {
        match self {
            Member::Classic(member) => member.unsubscribe(),
            Member::Consumer(member) => member.unsubscribe(),
        }
    }

    pub(crate) fn poll_expired(&mut self) -> Option<MemberRequest> {
        match self {
            Member::Classic(member) => member.poll_expired(),
            Member::Consumer(member) => member.poll_expired(),
        }
    }

    pub(crate) fn polled(&mut self) {
        match self {
            Member::Classic(member) => member.polled(),
            Member::Consumer(member) => member.polled(),
        }
    }

    pub(crate) fn handed_over(&mut self) {
        match self {
            Member::Classic(member) => member.handed_over(),
            Member::Consumer(member) => member.handed_over(),
        }
    }

    pub(crate) fn end_now(&mut self) {
        match self {
            Member::Classic(member) => member.end_now(),
            Member::Consumer(member) => member.end_now(),
        }
    }

    pub(crate) fn classic(&mut self) -> Option<&mut ClassicMember> {
        match self {
            Member::Classic(member) => Some(member),
            Member::Consumer(_) => None,
        }
    }

    pub(crate) fn consumer(&mut self) -> Option<&mut ConsumerMember> {
        match self {
            Member::Classic(_) => None,
            Member::Consumer(member) => Some(member),
        }
    }
}
