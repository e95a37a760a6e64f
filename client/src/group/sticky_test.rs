//! Goal: sticky assignments are even, whole and sticky, and a cooperative hand-over never gives a partition two owners.
//! Method: the cases that matter by hand, and random groups that change at random, held to the rules.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::assignor::tests::{counts, member, shares};
use super::*;
use crate::Assignor;

/// The members after they took over what was assigned to them.
fn take_over(members: &mut [Member], assignment: &Assignment, generation: i32) {
    for member in members {
        member.owned = assignment[&member.member_id].clone();
        member.generation = generation;
    }
}

#[test]
fn a_new_member_gets_its_share_and_nothing_else_moves() {
    let topics = counts(&[("a", 6)]);
    let mut members = vec![member("c1", &["a"]), member("c2", &["a"])];
    let before = Assignor::Sticky.assign(members.clone(), &topics);
    assert_eq!(shares(&before), ["a0 a2 a4", "a1 a3 a5"]);
    take_over(&mut members, &before, 1);
    members.push(member("c3", &["a"]));
    let after = Assignor::Sticky.assign(members.clone(), &topics);
    assert_eq!(shares(&after), ["a0 a2", "a1 a3", "a4 a5"]);
}

#[test]
fn what_moves_cooperatively_goes_to_nobody_first() {
    let topics = counts(&[("a", 6)]);
    let mut members = vec![member("c1", &["a"]), member("c2", &["a"])];
    let before = Assignor::CooperativeSticky.assign(members.clone(), &topics);
    take_over(&mut members, &before, 1);
    members.push(member("c3", &["a"]));
    let halfway = Assignor::CooperativeSticky.assign(members.clone(), &topics);
    assert_eq!(shares(&halfway), ["a0 a2", "a1 a3", ""]);
    take_over(&mut members, &halfway, 2);
    let after = Assignor::CooperativeSticky.assign(members, &topics);
    assert_eq!(shares(&after), ["a0 a2", "a1 a3", "a4 a5"]);
}

#[test]
fn the_later_generation_has_the_better_claim_and_equal_ones_have_none() {
    let topics = counts(&[("a", 2)]);
    let both: BTreeSet<TopicPartition> = (0..2).map(|index| TopicPartition::new("a", index)).collect();
    let mut members = vec![member("c1", &["a"]), member("c2", &["a"])];
    members[0].owned = BTreeSet::from([TopicPartition::new("a", 0)]);
    members[0].generation = 4;
    members[1].owned = both;
    members[1].generation = 5;
    let claimed = claims(&members, &topics, members.iter().map(owned_by).collect());
    assert_eq!(claimed.iter().map(BTreeSet::len).collect::<Vec<_>>(), [0, 2]);
    members[0].generation = 5;
    let claimed = claims(&members, &topics, members.iter().map(owned_by).collect());
    assert_eq!(claimed.iter().map(BTreeSet::len).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn user_data_makes_the_round_trip_in_the_form_that_java_writes() {
    let owned: BTreeSet<TopicPartition> = [0, 3].map(|index| TopicPartition::new("t", index)).into();
    let bytes = user_data(&owned, 7).unwrap();
    assert_eq!(bytes, [0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 7].as_slice());
    assert_eq!(read_user_data(bytes.clone()), Some((owned.clone(), 7)));
    assert_eq!(read_user_data(bytes.slice(..bytes.len() - 4)), Some((owned, -1)), "the oldest form");
    assert_eq!(read_user_data(Bytes::from_static(&[0, 0, 0, 1, 0x7f, 0xff])), None);
    assert_eq!(read_user_data(Bytes::from_static(&[0, 0, 0, 1, 0, 1, b't', 0x7f, 0xff, 0xff, 0xff])), None);
}

#[test]
fn random_groups_that_change_at_random_keep_the_rules() {
    let seed = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..500 {
        let names = ["a", "b", "c"];
        let topics = counts(&names.map(|name| (name, random.random_range(0..12))));
        let mut members: Vec<Member> = Vec::new();
        for generation in 1..12 {
            if members.is_empty() || random.random_bool(0.5) {
                let reads: Vec<&str> = names.into_iter().filter(|_| random.random_bool(0.7)).collect();
                members.push(member(&format!("m{generation}"), &reads));
            } else if members.len() > 1 {
                members.remove(random.random_range(0..members.len()));
            }
            let whole = Assignor::Sticky.assign(members.clone(), &topics);
            check(&members, &topics, &whole);
            let step = Assignor::CooperativeSticky.assign(members.clone(), &topics);
            for (id, share) in &step {
                assert!(share.is_subset(&whole[id]), "a step on the way to the same assignment");
                let elsewhere = members.iter().filter(|other| other.member_id != *id);
                assert!(elsewhere.flat_map(|other| &other.owned).all(|partition| !share.contains(partition)));
            }
            // Whoever gives something up joins again, until nothing is left to be given up.
            let mut step = step;
            for round in 0.. {
                assert!(round < 5, "it does not settle");
                let gives_up = members.iter().any(|member| !member.owned.is_subset(&step[&member.member_id]));
                take_over(&mut members, &step, generation * 10 + round);
                if !gives_up {
                    break;
                }
                step = Assignor::CooperativeSticky.assign(members.clone(), &topics);
            }
            check(&members, &topics, &step);
            assert_eq!(Assignor::CooperativeSticky.assign(members.clone(), &topics), step, "settled");
        }
    }
}

/// Every partition that somebody reads has one owner, who reads it; and nobody has two more than who could take one.
fn check(members: &[Member], topics: &PartitionCounts, assignment: &Assignment) {
    for (topic, count) in topics {
        let readers: Vec<&Member> = members.iter().filter(|member| member.topics.contains(topic)).collect();
        for index in 0..*count {
            let partition = TopicPartition::new(topic.clone(), index);
            let owners: Vec<&String> =
                assignment.iter().filter(|(_, share)| share.contains(&partition)).map(|(id, _)| id).collect();
            assert_eq!(owners.len(), usize::from(!readers.is_empty()), "{partition}");
            for owner in owners {
                assert!(readers.iter().any(|reader| reader.member_id == *owner));
                for reader in &readers {
                    assert!(assignment[owner].len() <= assignment[&reader.member_id].len() + 1);
                }
            }
        }
    }
}
