//! Goal: both assignors keep what they promise: one owner for each partition, balance, few moves, and quickly.
//! Method: small examples by hand, and random groups that change step by step, checked against the promises.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::*;

fn topic(number: u8) -> TopicId {
    ottla_protocol::Uuid([number; 16])
}

/// A member of a group under test.
#[derive(Debug, Clone)]
struct Member {
    id: String,
    instance: Option<String>,
    topics: Vec<TopicId>,
    owned: Assignment,
}

impl Member {
    fn new(id: &str, topics: &[u8]) -> Self {
        let topics = topics.iter().copied().map(topic).collect();
        Member { id: id.to_owned(), instance: None, topics, owned: Assignment::default() }
    }

    fn named(self, instance: &str) -> Self {
        Member { instance: Some(instance.to_owned()), ..self }
    }
}

fn assign(assignor: Assignor, members: &mut [Member], counts: &BTreeMap<TopicId, i32>) {
    let input: Vec<AssignorMember<'_>> = members
        .iter()
        .map(|member| AssignorMember {
            member_id: &member.id,
            instance_id: member.instance.as_deref(),
            subscribed: &member.topics,
            previous: &member.owned,
        })
        .collect();
    let assigned = assignor.assign(&input, counts);
    assert_eq!(assigned.len(), members.len());
    members.iter_mut().zip(assigned).for_each(|(member, owned)| member.owned = owned);
}

fn counts(topics: &[(u8, i32)]) -> BTreeMap<TopicId, i32> {
    topics.iter().map(|(number, partitions)| (topic(*number), *partitions)).collect()
}

fn owned(member: &Member) -> Vec<(u8, i32)> {
    member.owned.iter().map(|(topic, partition)| (topic.0[0], partition)).collect()
}

fn moves(before: &[Member], after: &[Member]) -> usize {
    after
        .iter()
        .map(|member| match before.iter().find(|other| other.id == member.id) {
            Some(other) => member.owned.iter().filter(|(topic, at)| !other.owned.contains(topic, *at)).count(),
            None => 0,
        })
        .sum()
}

#[test]
fn uniform_moves_only_what_exceeds_a_share() {
    let counts = counts(&[(1, 6)]);
    let mut members = vec![Member::new("a", &[1])];
    assign(Assignor::Uniform, &mut members, &counts);
    assert_eq!(owned(&members[0]), [(1, 0), (1, 1), (1, 2), (1, 3), (1, 4), (1, 5)]);

    members.push(Member::new("b", &[1]));
    assign(Assignor::Uniform, &mut members, &counts);
    assert_eq!(owned(&members[0]), [(1, 0), (1, 1), (1, 2)]);
    assert_eq!(owned(&members[1]), [(1, 3), (1, 4), (1, 5)]);

    // A third one takes one of each; a member that leaves gives its own to those that stay.
    members.push(Member::new("0", &[1]));
    assign(Assignor::Uniform, &mut members, &counts);
    assert_eq!(owned(&members[2]), [(1, 2), (1, 5)]);
    members.remove(0);
    assign(Assignor::Uniform, &mut members, &counts);
    assert_eq!(owned(&members[0]), [(1, 1), (1, 3), (1, 4)]);
}

#[test]
fn uniform_leaves_the_odd_partition_with_whoever_has_it() {
    let counts = counts(&[(1, 5)]);
    let mut members = vec![Member::new("z", &[1])];
    assign(Assignor::Uniform, &mut members, &counts);
    members.push(Member::new("a", &[1]));
    assign(Assignor::Uniform, &mut members, &counts);
    assert_eq!(owned(&members[0]), [(1, 0), (1, 1), (1, 2)]);
    assert_eq!(owned(&members[1]), [(1, 3), (1, 4)]);
}

#[test]
fn uniform_evens_out_what_narrow_subscriptions_force() {
    // Topic 1 has one subscriber: it must take all of it, and the others take topic 2.
    let counts = counts(&[(1, 3), (2, 6)]);
    let mut members = vec![Member::new("a", &[1, 2]), Member::new("b", &[2]), Member::new("c", &[2])];
    assign(Assignor::Uniform, &mut members, &counts);
    let sizes: Vec<usize> = members.iter().map(|member| member.owned.len()).collect();
    assert_eq!(sizes, [3, 3, 3]);
}

#[test]
fn a_topic_that_does_not_exist_is_nobodys() {
    let counts = counts(&[(1, 2)]);
    for assignor in Assignor::ALL {
        let mut members = vec![Member::new("a", &[1, 9]), Member::new("b", &[9])];
        assign(assignor, &mut members, &counts);
        assert_eq!((owned(&members[0]), owned(&members[1])), (vec![(1, 0), (1, 1)], vec![]));
        assert!(assignor.assign(&[], &counts).is_empty());
    }
}

#[test]
fn range_gives_neighbours_and_the_same_ones_of_each_topic() {
    let counts = counts(&[(1, 3), (2, 3)]);
    let mut members = vec![Member::new("b", &[2, 1]), Member::new("a", &[1, 2])];
    assign(Assignor::Range, &mut members, &counts);
    assert_eq!(owned(&members[1]), [(1, 0), (1, 1), (2, 0), (2, 1)]);
    assert_eq!(owned(&members[0]), [(1, 2), (2, 2)]);
}

#[test]
fn a_static_member_keeps_its_range_under_another_id() {
    let counts = counts(&[(1, 4)]);
    let mut members = vec![Member::new("m", &[1]).named("one"), Member::new("a", &[1]).named("two")];
    assign(Assignor::Range, &mut members, &counts);
    assert_eq!((owned(&members[0]), owned(&members[1])), (vec![(1, 0), (1, 1)], vec![(1, 2), (1, 3)]));
    members[0].id = "zzz".to_owned();
    assign(Assignor::Range, &mut members, &counts);
    assert_eq!((owned(&members[0]), owned(&members[1])), (vec![(1, 0), (1, 1)], vec![(1, 2), (1, 3)]));
}

/// What happens to a group between two assignments.
#[derive(Debug, Clone)]
enum Step {
    Join { topics: BTreeSet<u8>, is_static: bool },
    Leave(prop::sample::Index),
    Subscribe(prop::sample::Index, BTreeSet<u8>),
    Grow(u8, i32),
    Delete(u8),
}

fn steps(alike: bool) -> impl Strategy<Value = Vec<Step>> {
    let topics = move || if alike { Just(BTreeSet::from([1, 2, 3])).boxed() } else { btree_set(1_u8..6, 1..4).boxed() };
    let step = prop_oneof![
        4 => (topics(), any::<bool>()).prop_map(|(topics, is_static)| Step::Join { topics, is_static }),
        2 => any::<prop::sample::Index>().prop_map(Step::Leave),
        1 => (any::<prop::sample::Index>(), topics()).prop_map(|(at, topics)| Step::Subscribe(at, topics)),
        2 => (1_u8..6, 1..12).prop_map(|(topic, partitions)| Step::Grow(topic, partitions)),
        1 => (1_u8..6).prop_map(Step::Delete),
    ];
    vec(step, 1..24)
}

fn apply(step: &Step, number: usize, members: &mut Vec<Member>, counts: &mut BTreeMap<TopicId, i32>) {
    match step {
        Step::Join { topics, is_static } => {
            let topics: Vec<u8> = topics.iter().copied().collect();
            let member = Member::new(&format!("m{}", number * 7 % 24), &topics);
            if members.iter().all(|other| other.id != member.id) {
                members.push(if *is_static { member.named(&format!("i{number}")) } else { member });
            }
        }
        Step::Leave(at) if !members.is_empty() => drop(members.remove(at.index(members.len()))),
        Step::Subscribe(at, topics) if !members.is_empty() => {
            let at = at.index(members.len());
            members[at].topics = topics.iter().copied().map(topic).collect();
        }
        Step::Leave(_) | Step::Subscribe(..) => {}
        Step::Grow(number, partitions) => *counts.entry(topic(*number)).or_default() += partitions,
        Step::Delete(number) => drop(counts.remove(&topic(*number))),
    }
}

/// Every partition of a topic that somebody subscribes to has one owner, which subscribes to it.
fn check_owners(members: &[Member], counts: &BTreeMap<TopicId, i32>) {
    let mut owners: BTreeMap<(TopicId, i32), &str> = BTreeMap::new();
    for member in members {
        for (topic, partition) in member.owned.iter() {
            assert!(member.topics.contains(&topic), "{} owns what it does not subscribe to", member.id);
            assert!((0..counts[&topic]).contains(&partition), "{topic}-{partition} does not exist");
            let other = owners.insert((topic, partition), &member.id);
            assert_eq!(other, None, "{topic}-{partition} has two owners, {} is one", member.id);
        }
    }
    let subscribed: BTreeSet<&TopicId> =
        members.iter().flat_map(|member| &member.topics).filter(|topic| counts.contains_key(topic)).collect();
    let all: usize = subscribed.into_iter().map(|topic| counts[topic] as usize).sum();
    assert_eq!(owners.len(), all, "a partition has no owner");
}

/// No single move of a partition could make two members more even.
fn check_balance(members: &[Member]) {
    for from in members {
        for topic in from.owned.topics().map(|(topic, _)| topic) {
            for to in members.iter().filter(|to| to.topics.contains(topic)) {
                assert!(
                    from.owned.len() <= to.owned.len() + 1,
                    "{} has {} and {} has {}",
                    from.id,
                    from.owned.len(),
                    to.id,
                    to.owned.len()
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_group_that_changes_keeps_every_promise(steps in steps(false), assignor in prop::sample::select(&Assignor::ALL)) {
        let (mut members, mut counts) = (Vec::new(), counts(&[(1, 4), (2, 1), (3, 7)]));
        for (number, step) in steps.iter().enumerate() {
            apply(step, number, &mut members, &mut counts);
            assign(assignor, &mut members, &counts);
            check_owners(&members, &counts);
            if assignor == Assignor::Uniform {
                check_balance(&members);
            }
            // Asked again, nothing moves; and the order of the question does not matter.
            let mut again: Vec<Member> = members.iter().rev().cloned().collect();
            assign(assignor, &mut again, &counts);
            again.reverse();
            prop_assert_eq!(moves(&members, &again), 0);
        }
    }

    #[test]
    fn members_that_subscribe_alike_lose_only_what_exceeds_their_share(steps in steps(true)) {
        let (mut members, mut counts) = (Vec::new(), counts(&[(1, 4), (2, 1), (3, 7)]));
        for (number, step) in steps.iter().enumerate() {
            apply(step, number, &mut members, &mut counts);
            let before = members.clone();
            assign(Assignor::Uniform, &mut members, &counts);
            check_owners(&members, &counts);
            check_balance(&members);
            if members.is_empty() {
                continue;
            }

            // What a member may keep: its share, and one more for as many members as the division leaves.
            let total: usize = members.iter().map(|member| member.owned.len()).sum();
            let (share, mut extras) = (total / members.len(), total % members.len());
            let mut kept_at_best = 0;
            for member in &before {
                let exists = |(topic, partition): &(TopicId, i32)| counts.get(topic).is_some_and(|count| partition < count);
                let had = member.owned.iter().filter(exists).count();
                let extra = usize::from(had > share && extras > 0);
                extras -= extra;
                kept_at_best += had.min(share + extra);
            }
            let kept: usize = before
                .iter()
                .zip(&members)
                .map(|(before, after)| before.owned.iter().filter(|(topic, at)| after.owned.contains(topic, *at)).count())
                .sum();
            prop_assert_eq!(kept, kept_at_best);
        }
    }
}

#[test]
fn five_hundred_members_are_assigned_thousands_of_partitions_quickly() {
    let counts = counts(&[(1, 1000), (2, 2000), (3, 1500), (4, 500)]);
    for (assignor, unlike) in [(Assignor::Uniform, false), (Assignor::Uniform, true), (Assignor::Range, true)] {
        let topics = |number: usize| if unlike && number.is_multiple_of(2) { vec![1, 2] } else { vec![1, 2, 3, 4] };
        let mut members: Vec<Member> =
            (0..500).map(|number| Member::new(&format!("m{number:03}"), &topics(number))).collect();
        assign(assignor, &mut members[..499], &counts);
        let started = Instant::now();
        assign(assignor, &mut members, &counts);
        // A few milliseconds where the code is optimized; the bound forgives a build that is not and a machine that is busy.
        assert!(started.elapsed().as_millis() < 2_000, "{assignor:?} took {:?}", started.elapsed());
        check_owners(&members, &counts);
    }
}
