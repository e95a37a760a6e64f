//! Server-side assignors: who is to own which partition of the topics that a group's members subscribe to.
//!
//! Owns the choice of an assignor and what goes into one; how each of them assigns stands in `assignor_range` and
//! `assignor_uniform`. Pure functions: the same question gets the same answer, in whichever order members and topics come.
//!
//! Invariant: a partition of a topic that somebody subscribes to gets exactly one owner, and that one subscribes to it.

use std::collections::BTreeMap;

use super::assignment::Assignment;
use super::{assignor_range, assignor_uniform};
use crate::types::TopicId;

/// An assignor, as members name it (KIP-848).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Assignor {
    /// As even as the subscriptions allow, moving as few partitions as that takes.
    Uniform,
    /// A run of neighbouring partitions of each topic, the same one of topics that have equally many.
    Range,
}

impl Assignor {
    /// Every assignor.
    pub(crate) const ALL: [Assignor; 2] = [Assignor::Uniform, Assignor::Range];

    /// The assignor of this name.
    pub(crate) fn from_name(name: &str) -> Option<Assignor> {
        Self::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// Kafka's name of it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    /// What each of `members` is to own, in their order. `partition_counts` has every topic that exists; others get no owner.
    pub(crate) fn assign(
        self,
        members: &[AssignorMember<'_>],
        partition_counts: &BTreeMap<TopicId, i32>,
    ) -> Vec<Assignment> {
        // Static members first: they come back under another id, and must find what they had.
        let mut order: Vec<usize> = (0..members.len()).collect();
        order.sort_unstable_by_key(|&at| {
            let member = &members[at];
            (member.instance_id.is_none(), member.instance_id, member.member_id)
        });
        let sorted: Vec<&AssignorMember<'_>> = order.iter().map(|&at| &members[at]).collect();
        let subscribed: Vec<Vec<TopicId>> =
            sorted.iter().map(|member| existing_topics(member.subscribed, partition_counts)).collect();

        let assigned = match self {
            Assignor::Uniform => assignor_uniform::assign(&sorted, &subscribed, partition_counts),
            Assignor::Range => assignor_range::assign(&subscribed, partition_counts),
        };
        let mut by_member = vec![Assignment::default(); members.len()];
        for (at, assignment) in order.into_iter().zip(assigned) {
            by_member[at] = assignment;
        }
        by_member
    }
}

/// What an assignor knows of a member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AssignorMember<'a> {
    /// Its id.
    pub(crate) member_id: &'a str,
    /// The name by which a static member comes back (KIP-345).
    pub(crate) instance_id: Option<&'a str>,
    /// The topics that it subscribes to, in any order, possibly repeated.
    pub(crate) subscribed: &'a [TopicId],
    /// What it was to own before.
    pub(crate) previous: &'a Assignment,
}

/// The topics among `subscribed` that exist: sorted, each once.
fn existing_topics(subscribed: &[TopicId], partition_counts: &BTreeMap<TopicId, i32>) -> Vec<TopicId> {
    let mut topics: Vec<TopicId> =
        subscribed.iter().filter(|topic| partition_counts.contains_key(*topic)).copied().collect();
    topics.sort_unstable();
    topics.dedup();
    topics
}

#[cfg(test)]
#[path = "assignor_test.rs"]
mod tests;
