//! Who gets which partition: what the leader of a classic group works out for all its members.
//!
//! Pure. Owns the names by which members agree on an assignor, and `range` and `roundrobin`, which come to the same result
//! as Kafka's (without racks), so that it does not matter which client leads. The sticky ones are in `sticky.rs`.
//! Invariants: each partition goes to at most one member, and only to one that subscribes to its topic; to none only
//! when nobody does (or, with `cooperative-sticky`, when its owner has to give it up first).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::sticky;
use crate::{Assignor, TopicPartition};

/// A member as the leader sees it.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) topics: BTreeSet<Arc<str>>,
    /// What it has, as it says.
    pub(crate) owned: BTreeSet<TopicPartition>,
    /// The generation in which it got that, -1 if it does not say.
    pub(crate) generation: i32,
    pub(crate) user_data: Option<Bytes>,
}

/// The number of partitions of each topic that exists.
pub(crate) type PartitionCounts = BTreeMap<Arc<str>, i32>;

/// Each member's share, by member id.
pub(crate) type Assignment = BTreeMap<String, BTreeSet<TopicPartition>>;

impl Assignor {
    /// The name on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Assignor::Range => "range",
            Assignor::RoundRobin => "roundrobin",
            Assignor::Sticky => "sticky",
            Assignor::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// Whether members keep what does not move during a rebalance.
    pub(crate) fn is_cooperative(self) -> bool {
        self == Assignor::CooperativeSticky
    }

    /// What a member tells the assignor beside its subscription.
    pub(crate) fn user_data(self, owned: &BTreeSet<TopicPartition>, generation: i32) -> Option<Bytes> {
        match self {
            Assignor::Range | Assignor::RoundRobin => None,
            Assignor::Sticky => sticky::user_data(owned, generation),
            Assignor::CooperativeSticky => Some(Bytes::copy_from_slice(&generation.to_be_bytes())),
        }
    }

    pub(crate) fn assign(self, mut members: Vec<Member>, counts: &PartitionCounts) -> Assignment {
        members.sort_by(|one, other| rank(one).cmp(&rank(other)));
        match self {
            Assignor::Range => range(&members, counts),
            Assignor::RoundRobin => round_robin(&members, counts),
            Assignor::Sticky => sticky::assign(&members, counts),
            Assignor::CooperativeSticky => sticky::assign_cooperatively(&members, counts),
        }
    }
}

/// Static members come first, in the order of their instance ids, then the others in that of their member ids.
fn rank(member: &Member) -> (bool, &str, &str) {
    match &member.instance_id {
        Some(instance_id) => (false, instance_id, &member.member_id),
        None => (true, &member.member_id, ""),
    }
}

fn range(members: &[Member], counts: &PartitionCounts) -> Assignment {
    let mut assignment = nothing_for(members);
    for (topic, count) in counts {
        let subscribed: Vec<&Member> = members.iter().filter(|member| member.topics.contains(topic)).collect();
        let Ok(members_count @ 1..) = i32::try_from(subscribed.len()) else { continue };
        let (share, mut extra) = (count / members_count, count % members_count);
        let mut next = 0;
        for member in subscribed {
            let end = next + share + i32::from(extra > 0);
            extra -= 1;
            let run = (next..end).map(|index| TopicPartition::new(topic.clone(), index));
            assignment.entry(member.member_id.clone()).or_default().extend(run);
            next = end;
        }
    }
    assignment
}

fn round_robin(members: &[Member], counts: &PartitionCounts) -> Assignment {
    let mut assignment = nothing_for(members);
    let mut turn = 0;
    for (topic, count) in counts {
        if !members.iter().any(|member| member.topics.contains(topic)) {
            continue;
        }
        for index in 0..*count {
            while !members[turn % members.len()].topics.contains(topic) {
                turn += 1;
            }
            let member = &members[turn % members.len()];
            turn += 1;
            assignment.entry(member.member_id.clone()).or_default().insert(TopicPartition::new(topic.clone(), index));
        }
    }
    assignment
}

pub(super) fn nothing_for(members: &[Member]) -> Assignment {
    members.iter().map(|member| (member.member_id.clone(), BTreeSet::new())).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn member(id: &str, topics: &[&str]) -> Member {
        Member {
            member_id: id.to_owned(),
            instance_id: None,
            topics: topics.iter().map(|topic| Arc::from(*topic)).collect(),
            owned: BTreeSet::new(),
            generation: -1,
            user_data: None,
        }
    }

    pub(in super::super) fn counts(topics: &[(&str, i32)]) -> PartitionCounts {
        topics.iter().map(|(topic, count)| (Arc::from(*topic), *count)).collect()
    }

    /// `a0 a1 b2` for each member, in the order of their ids.
    pub(in super::super) fn shares(assignment: &Assignment) -> Vec<String> {
        let share = |partitions: &BTreeSet<TopicPartition>| {
            let names: Vec<String> = partitions.iter().map(|p| format!("{}{}", p.topic, p.partition)).collect();
            names.join(" ")
        };
        assignment.values().map(share).collect()
    }

    #[test]
    fn range_gives_neighbours_and_the_first_members_more() {
        let members = vec![member("c2", &["a", "b"]), member("c1", &["a", "b"])];
        let assignment = Assignor::Range.assign(members, &counts(&[("a", 3), ("b", 3)]));
        assert_eq!(shares(&assignment), ["a0 a1 b0 b1", "a2 b2"]);
        let three = vec![member("c1", &["a"]), member("c2", &["a", "b"]), member("c3", &["a"])];
        let assignment = Assignor::Range.assign(three, &counts(&[("a", 3), ("b", 2), ("unread", 9)]));
        assert_eq!(shares(&assignment), ["a0", "a1 b0 b1", "a2"]);
    }

    #[test]
    fn range_leaves_members_without_anything_when_they_are_too_many() {
        let members = vec![member("c1", &["a"]), member("c2", &["a"]), member("c3", &["gone"])];
        assert_eq!(shares(&Assignor::Range.assign(members, &counts(&[("a", 1)]))), ["a0", "", ""]);
    }

    #[test]
    fn static_members_come_first_by_their_instance_ids() {
        let mut members = vec![member("c1", &["a"]), member("c2", &["a"]), member("c3", &["a"])];
        members[1].instance_id = Some("y".into());
        members[2].instance_id = Some("x".into());
        let assignment = Assignor::Range.assign(members, &counts(&[("a", 4)]));
        assert_eq!(shares(&assignment), ["a3", "a2", "a0 a1"]);
    }

    #[test]
    fn round_robin_deals_all_topics_in_turn_and_passes_over_who_does_not_read_them() {
        let members = vec![member("c1", &["a", "b"]), member("c2", &["a", "b"])];
        let assignment = Assignor::RoundRobin.assign(members, &counts(&[("a", 3), ("b", 3)]));
        assert_eq!(shares(&assignment), ["a0 a2 b1", "a1 b0 b2"]);
        let three = vec![member("c1", &["a"]), member("c2", &["a", "b"]), member("c3", &["a", "b", "c"])];
        let assignment = Assignor::RoundRobin.assign(three, &counts(&[("a", 1), ("b", 2), ("c", 3)]));
        assert_eq!(shares(&assignment), ["a0", "b0", "b1 c0 c1 c2"]);
    }

    /// The golden file has what Kafka's own assignors answered; beside it is what asked them.
    #[test]
    fn range_and_round_robin_come_to_kafkas_own_results() {
        let golden = include_str!("../../tests/golden/assignments.txt");
        assert_eq!(golden.lines().count(), 120);
        for line in golden.lines() {
            let [name, topics, described, expected] = line.split(';').collect::<Vec<_>>().try_into().unwrap();
            let assignor = if name == "range" { Assignor::Range } else { Assignor::RoundRobin };
            assert_eq!(assignor.name(), name);
            let count = |topic: &str| {
                let (name, count) = topic.split_once(':').unwrap();
                (Arc::from(name), count.parse().unwrap())
            };
            let described = described.split(' ').map(|one| {
                let [id, instance, topics] = one.split('/').collect::<Vec<_>>().try_into().unwrap();
                let topics: Vec<&str> = topics.split(',').filter(|topic| !topic.is_empty()).collect();
                let instance_id = (instance != "-").then(|| instance.to_owned());
                Member { instance_id, ..member(id, &topics) }
            });
            let assignment = assignor.assign(described.collect(), &topics.split(' ').map(count).collect());
            let share = |(id, partitions): (&String, &BTreeSet<TopicPartition>)| {
                let names: Vec<String> = partitions.iter().map(|p| format!("{}:{}", p.topic, p.partition)).collect();
                format!("{id}/{}", names.join(","))
            };
            let shares: Vec<String> = assignment.iter().map(share).collect();
            assert_eq!(shares.join(" "), expected, "{line}");
        }
    }
}
