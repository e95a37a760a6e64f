//! Goal: the rules for offsets, for what operators see and delete, and for what is forgotten in time. Method: as in `classic_test`.

use bytes::Bytes;
use ottla_protocol::messages::group_records::{
    GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue,
};

use super::super::classic::ClientIdentity;
use super::super::commit::{Committer, OffsetToCommit};
use super::super::listing::{GroupFilter, GroupKind};
use super::super::retention::Expired;
use super::super::test_shard::*;
use super::*;

fn expire(shard: &mut TestShard, topics: &[&str]) -> usize {
    let wall_ms = shard.now.wall_ms;
    let Expired { more, effects } = shard.shard.expire(wall_ms, &|topic, _| topics.contains(&topic));
    assert!(!more);
    let records = effects.records.len();
    shard.apply(effects).unwrap();
    records
}

#[test]
fn whoever_belongs_to_no_group_commits_under_any_name() {
    let mut shard = TestShard::default();
    assert_eq!(shard.commit("", -1, 5), Ok(()));
    assert_eq!((shard.committed(), shard.state()), (Some(5), "Empty"));
    shard.restart();
    let offset = shard.shard.offset(GROUP, TOPIC, 0).unwrap();
    assert_eq!((offset.offset, offset.leader_epoch, offset.commit_timestamp_ms), (5, 3, shard.now.wall_ms));
    assert_eq!(shard.commit("anybody", -1, 6), Ok(()), "an empty group asks for nothing");
    assert_eq!(shard.commit("", 1, 7), Err(GroupError::UnknownMemberId));
    assert_eq!(shard.committed(), Some(6));
}

#[test]
fn members_commit_in_their_generation_only() {
    let mut shard = TestShard::default();
    let ids = shard.stable(1);
    assert_eq!(shard.commit(&ids[0], 1, 10), Ok(()));
    assert_eq!(shard.commit(&ids[0], 0, 9), Err(GroupError::IllegalGeneration));
    assert_eq!(shard.commit(&ids[0], 2, 9), Err(GroupError::IllegalGeneration));
    assert_eq!(shard.commit(&ids[0], -1, 9), Err(GroupError::IllegalGeneration));
    assert_eq!(shard.commit("nobody", 1, 9), Err(GroupError::UnknownMemberId));
    assert_eq!(shard.commit("", -1, 9), Err(GroupError::UnknownMemberId));
    // Before it joins again a member commits what it has done so far; once it has joined, it does not own anything.
    shard.join(JoinGroup { protocols: vec![("range".into(), subscription(&["more"]))], ..member(&ids[0]) });
    assert_eq!(shard.state(), "CompletingRebalance");
    assert_eq!(shard.commit(&ids[0], 1, 9), Err(GroupError::IllegalGeneration));
    assert_eq!(shard.commit(&ids[0], 2, 9), Err(GroupError::RebalanceInProgress));
    assert_eq!(shard.committed(), Some(10));
}

#[test]
fn a_member_commits_while_the_others_join() {
    let mut shard = TestShard::default();
    let ids = shard.stable(2);
    shard.join(member(&ids[0]));
    assert_eq!((shard.state(), shard.commit(&ids[1], 1, 11)), ("PreparingRebalance", Ok(())));
}

#[test]
fn a_commit_keeps_the_session_alive() {
    let mut shard = TestShard::default();
    let ids = shard.stable(1);
    for offset in 0..5 {
        shard.advance(SESSION_MS - 1);
        assert_eq!(shard.commit(&ids[0], 1, offset), Ok(()));
    }
}

#[test]
fn a_group_that_is_not_there_is_named_as_the_version_can() {
    let mut shard = TestShard::default();
    let committer = Committer { member_id: "m".into(), instance_id: None, generation: 4 };
    for unknown in [GroupError::GroupIdNotFound, GroupError::IllegalGeneration] {
        let offsets = vec![to_commit(0, 1, "")];
        let outcome = shard.shard.commit_offsets("none", &committer, offsets, None, unknown, shard.now);
        assert_eq!(shard.run(outcome), Err(unknown));
    }
}

#[test]
fn each_offset_with_too_long_a_text_is_refused_and_the_others_are_not() {
    let mut shard = TestShard::default();
    let committer = Committer { member_id: String::new(), instance_id: None, generation: -1 };
    let offsets = vec![
        to_commit(0, 1, "sixteen bytes ok"),
        to_commit(1, 1, "seventeen bytes .."),
        to_commit(2, 1, &"é".repeat(16)),
    ];
    let unknown = GroupError::IllegalGeneration;
    let outcome = shard.shard.commit_offsets(GROUP, &committer, offsets, None, unknown, shard.now);
    assert_eq!(shard.run(outcome), Ok(vec![Ok(()), Err(GroupError::OffsetMetadataTooLarge), Ok(())]));
    assert_eq!(shard.shard.offset(GROUP, TOPIC, 1), None);
    assert_eq!(&*shard.shard.offset(GROUP, TOPIC, 0).unwrap().metadata, "sixteen bytes ok");
}

#[test]
fn a_commit_that_cannot_be_written_changes_nothing() {
    let mut shard = TestShard::default();
    shard.commit("", -1, 1).unwrap();
    shard.disk_is_full = true;
    assert_eq!(shard.commit("", -1, 2), Err(GroupError::CoordinatorNotAvailable));
    assert_eq!(shard.committed(), Some(1));
}

#[test]
fn the_record_of_an_offset_with_an_expiry_is_the_version_that_has_one() {
    let mut shard = TestShard::default();
    let committer = Committer { member_id: String::new(), instance_id: None, generation: -1 };
    let unknown = GroupError::IllegalGeneration;
    let commit = |shard: &mut TestShard, expires_in_ms| {
        let offsets = vec![to_commit(0, 1, "")];
        let outcome = shard.shard.commit_offsets(GROUP, &committer, offsets, expires_in_ms, unknown, shard.now);
        shard.run(outcome).unwrap();
        shard.log.last().unwrap().1.clone().unwrap()[..2].to_vec()
    };
    assert_eq!(commit(&mut shard, Some(50)), [0, 1]);
    shard.advance(50);
    assert_eq!(expire(&mut shard, &[TOPIC]), 2, "the offset, and the group that nothing is left of");
    assert_eq!(commit(&mut shard, None), [0, 4]);
}

#[test]
fn offsets_of_an_empty_group_are_kept_for_the_retention_since_it_is_empty() {
    let mut shard = TestShard::default();
    let ids = shard.stable(1);
    shard.commit(&ids[0], 1, 1).unwrap();
    for _ in 0..200 {
        shard.advance(9_000);
        shard.heartbeat(&ids[0], 1).unwrap();
        assert_eq!(expire(&mut shard, &[TOPIC]), 0, "members read the topic");
    }
    shard.leave(vec![departure(&ids[0])]).unwrap()[0].unwrap();
    shard.restart();
    shard.advance(999_999);
    assert_eq!((expire(&mut shard, &[TOPIC]), shard.committed()), (0, Some(1)));
    shard.advance(1);
    assert_eq!((expire(&mut shard, &[TOPIC]), shard.committed(), shard.state()), (2, None, "Dead"));
    shard.restart();
    assert_eq!(shard.state(), "Dead");
}

#[test]
fn in_a_stable_group_offsets_of_topics_that_nobody_reads_any_more_age() {
    let mut shard = TestShard::default();
    let ids = shard.stable(1);
    let committer = Committer { member_id: ids[0].clone(), instance_id: None, generation: 1 };
    let elsewhere = OffsetToCommit { topic: "elsewhere".into(), ..to_commit(0, 1, "") };
    let offsets = vec![to_commit(0, 1, ""), elsewhere];
    let unknown = GroupError::IllegalGeneration;
    let outcome = shard.shard.commit_offsets(GROUP, &committer, offsets, None, unknown, shard.now);
    shard.run(outcome).unwrap();
    for _ in 0..200 {
        shard.advance(5_000);
        shard.heartbeat(&ids[0], 1).unwrap();
    }
    assert_eq!(expire(&mut shard, &[TOPIC, "elsewhere"]), 1);
    assert_eq!((shard.committed(), shard.shard.offset(GROUP, "elsewhere", 0)), (Some(1), None));
}

#[test]
fn offsets_of_a_topic_that_is_gone_go_at_once() {
    let mut shard = TestShard::default();
    let ids = shard.stable(1);
    shard.commit(&ids[0], 1, 1).unwrap();
    assert_eq!((expire(&mut shard, &[]), shard.committed(), shard.state()), (1, None, "Stable"));
}

#[test]
fn what_is_forgotten_at_once_is_bounded() {
    let mut shard = TestShard::default();
    let committer = Committer { member_id: String::new(), instance_id: None, generation: -1 };
    let offsets = (0..2_500).map(|partition| to_commit(partition, 1, "")).collect();
    let unknown = GroupError::IllegalGeneration;
    let outcome = shard.shard.commit_offsets(GROUP, &committer, offsets, None, unknown, shard.now);
    shard.run(outcome).unwrap();
    shard.advance(1_000_000);
    let mut batches = Vec::new();
    loop {
        let wall_ms = shard.now.wall_ms;
        let Expired { more, effects } = shard.shard.expire(wall_ms, &|_, _| true);
        batches.push(effects.records.len());
        shard.apply(effects).unwrap();
        if !more {
            break;
        }
    }
    assert_eq!((batches, shard.state()), (vec![1_000, 1_000, 501], "Dead"));
}

#[test]
fn a_group_of_which_only_ids_were_handed_out_is_forgotten_with_the_last_of_them() {
    let mut shard = TestShard::default();
    let ids = [shard.new_id(), shard.new_id()];
    shard.leave(vec![departure(&ids[0])]).unwrap()[0].unwrap();
    assert_eq!((expire(&mut shard, &[]), shard.state()), (0, "Empty"));
    shard.advance(SESSION_MS);
    assert_eq!((shard.state(), shard.log.len()), ("Dead", 0));
    let id = shard.new_id();
    shard.leave(vec![departure(&id)]).unwrap()[0].unwrap();
    assert_eq!((shard.state(), shard.log.len()), ("Dead", 0));
    // Who says nothing in no protocol is refused, and leaves nothing behind.
    let token = shard.join(JoinGroup { protocols: vec![], ..member("") });
    assert_eq!(shard.joined(token).unwrap().error, Some(GroupError::InconsistentGroupProtocol));
    assert_eq!((shard.state(), shard.shard.next_due_ms()), ("Dead", None));
}

#[test]
fn an_id_that_was_handed_out_for_a_group_with_offsets_leaves_them() {
    let mut shard = TestShard::default();
    shard.commit("", -1, 1).unwrap();
    shard.new_id();
    shard.advance(SESSION_MS);
    assert_eq!((shard.state(), shard.committed()), ("Empty", Some(1)));
}

#[test]
fn the_names_of_groups_that_nobody_joins_are_bounded() {
    let mut shard = TestShard::default();
    shard.commit("", -1, 1).unwrap();
    let name = |index: usize| format!("{index:032000}");
    let join = |shard: &mut TestShard, group_id: String, member_id: &str| {
        let token = shard.join(JoinGroup { group_id, ..member(member_id) });
        shard.joined(token).map(|answer| (answer.error.unwrap(), answer.member_id.clone()))
    };
    let mut ids = Vec::new();
    let refused = loop {
        match join(&mut shard, name(ids.len()), "").unwrap() {
            (GroupError::MemberIdRequired, id) => ids.push(id),
            (error, _) => break error,
        }
    };
    assert_eq!((refused, ids.len()), (GroupError::CoordinatorNotAvailable, 32));
    assert_eq!(join(&mut shard, GROUP.into(), "").unwrap().0, GroupError::MemberIdRequired, "the group is on record");
    // A group that is joined and comes on record makes room, and so do those that nobody joins in time.
    assert_eq!(join(&mut shard, name(0), &ids[0]), None);
    shard.advance(INITIAL_DELAY_MS);
    let assignments = vec![(ids[0].clone(), Bytes::new())];
    shard.sync(&SyncGroup { group_id: name(0), assignments, ..sync(&ids[0], 1) });
    assert_eq!(join(&mut shard, name(32), "").unwrap().0, GroupError::MemberIdRequired);
    assert_eq!(join(&mut shard, name(33), "").unwrap().0, GroupError::CoordinatorNotAvailable);
    shard.advance(SESSION_MS);
    assert_eq!(join(&mut shard, name(33), "").unwrap().0, GroupError::MemberIdRequired);
}

/// Asks for an id as a client with a long name does, in a group of the shard.
fn id_of_long_name(shard: &mut TestShard, group_id: &str) -> String {
    let client = ClientIdentity { client_id: "c".repeat(32_000), client_host: "/127.0.0.1".to_owned() };
    let token = shard.join(JoinGroup { group_id: group_id.to_owned(), client, ..member("") });
    let answer = shard.joined(token).unwrap();
    assert_eq!(answer.error, Some(GroupError::MemberIdRequired));
    answer.member_id.clone()
}

#[test]
fn ids_that_nobody_joins_with_are_bounded_over_all_groups_and_the_oldest_go_first() {
    let mut shard = TestShard::default();
    let handed_out: Vec<(String, String)> = (0..2_000)
        .map(|index| {
            let group_id = format!("group-{}", index / 2);
            let id = id_of_long_name(&mut shard, &group_id);
            (group_id, id)
        })
        .collect();
    let out = shard.shard.pending_members.len();
    assert!((500..1_000).contains(&out), "{out}");
    assert_eq!(shard.shard.group_count(), out.div_ceil(2), "groups that were there for their ids alone");
    let mut join = |(group_id, id): &(String, String)| {
        let token = shard.join(JoinGroup { group_id: group_id.clone(), ..member(id) });
        shard.joined(token).map(|answer| answer.error.unwrap())
    };
    assert_eq!(join(&handed_out[0]), Some(GroupError::UnknownMemberId));
    assert_eq!(join(&handed_out[2_000 - out - 1]), Some(GroupError::UnknownMemberId));
    assert_eq!(join(&handed_out[2_000 - out]), None, "it waits for the others");
    assert_eq!(join(&handed_out[1_999]), None);
    shard.advance(SESSION_MS);
    assert_eq!((shard.shard.pending_members.len(), shard.shard.group_count()), (0, 2));
}

#[test]
fn an_id_that_is_taken_back_holds_no_rebalance_up() {
    let mut shard = TestShard::default();
    let ids = shard.stable(1);
    shard.new_id();
    let token = shard.join(member(&ids[0]));
    assert_eq!(shard.joined(token), None, "it waits for the new member");
    (0..1_000).for_each(|index| drop(id_of_long_name(&mut shard, &format!("group-{}", index % 3))));
    assert_eq!(shard.joined(token).map(|answer| (answer.error, answer.generation)), Some((None, 2)));
}

#[test]
fn what_no_batch_could_hold_is_refused_before_it_is_made() {
    let mut shard = TestShard::default();
    let name = "g".repeat(32_000);
    let committer = Committer { member_id: String::new(), instance_id: None, generation: -1 };
    let commit = |shard: &mut TestShard, count: i32| {
        let offsets = (0..count).map(|index| to_commit(index % 600, 1, "")).collect();
        let unknown = GroupError::IllegalGeneration;
        let outcome = shard.shard.commit_offsets(&name, &committer, offsets, None, unknown, shard.now);
        shard.run(outcome).map(|results| results.len())
    };
    assert_eq!(commit(&mut shard, 100_000), Err(GroupError::ChangeTooLarge));
    assert_eq!((commit(&mut shard, 500), commit(&mut shard, 500)), (Ok(500), Ok(500)));
    let outcome = shard.shard.delete_offsets(&name, &[(TOPIC.into(), vec![0; 100_000])]);
    assert_eq!(shard.run(outcome), Err(GroupError::ChangeTooLarge));
    let outcome = shard.shard.delete_offsets(&name, &[(TOPIC.into(), vec![499])]);
    assert_eq!(shard.run(outcome), Ok(vec![Ok(())]));
    let outcome = shard.shard.delete_group(&name);
    assert_eq!(shard.run(outcome), Ok(()));
    assert_eq!(shard.shard.group_count(), 0);
}

#[test]
fn what_is_forgotten_at_once_fits_into_a_batch_whatever_the_groups_are_called() {
    let mut shard = TestShard::default();
    let committer = Committer { member_id: String::new(), instance_id: None, generation: -1 };
    for index in 0..40 {
        let offsets = (0..20).map(|partition| to_commit(partition, 1, "")).collect();
        let unknown = GroupError::IllegalGeneration;
        let name = format!("{index:032000}");
        let outcome = shard.shard.commit_offsets(&name, &committer, offsets, None, unknown, shard.now);
        shard.run(outcome).unwrap();
    }
    shard.advance(1_000_000);
    let mut looks = 0;
    while shard.shard.group_count() > 0 {
        let wall_ms = shard.now.wall_ms;
        let Expired { effects, .. } = shard.shard.expire(wall_ms, &|_, _| true);
        let records = effects.records.iter().map(GroupRecord::encode);
        let bytes: usize = records.map(|(key, value)| key.len() + value.map_or(0, |value| value.len())).sum();
        assert!((1..=8 << 20).contains(&bytes), "{bytes} bytes");
        shard.apply(effects).unwrap();
        looks += 1;
    }
    assert_eq!(looks, 4);
}

#[test]
fn what_members_say_is_bounded_over_all_groups() {
    let mut shard = TestShard::default();
    shard.shard.members_budget = MembersBudget::with_max(20_000);
    let join = |shard: &mut TestShard, group_id: &str, member_id: &str, bytes: usize| {
        let protocols = vec![("range".to_owned(), Bytes::from(vec![0; bytes]))];
        let request =
            JoinGroup { group_id: group_id.to_owned(), protocols, needs_member_id: false, ..member(member_id) };
        let token = shard.join(request);
        if shard.joined(token).is_none() {
            shard.advance(INITIAL_DELAY_MS);
        }
        let answer = shard.joined(token).unwrap();
        (answer.error, answer.member_id.clone())
    };
    let (_, first) = join(&mut shard, "a", "", 9_000);
    join(&mut shard, "b", "", 9_000);
    assert_eq!(join(&mut shard, "c", "", 9_000).0, Some(GroupError::CoordinatorNotAvailable));
    assert!(shard.shard.group("c").is_none());
    // Whoever is in says as much as before, or less.
    assert_eq!(join(&mut shard, "a", &first, 9_000).0, None);
    assert_eq!(join(&mut shard, "a", &first, 12_000).0, Some(GroupError::CoordinatorNotAvailable));
    assert_eq!(join(&mut shard, "a", &first, 100).0, None);
    assert_eq!(join(&mut shard, "c", "", 9_000).0, None);
    // Members that are heard of no more make room.
    shard.advance(SESSION_MS + REBALANCE_MS);
    assert_eq!(shard.shard.members_budget.taken_bytes(), 0);
    assert_eq!(join(&mut shard, "d", "", 9_000).0, None);
}

#[test]
fn committed_offsets_are_bounded_over_all_groups() {
    let budget = OffsetsBudget::with_max(1_160);
    let mut shard = TestShard::default();
    shard.shard.offsets = OffsetStore::of_budget(budget.clone());
    let commit = |shard: &mut TestShard, group_id: &str, partitions: std::ops::Range<i32>, metadata: &str| {
        let committer = Committer { member_id: String::new(), instance_id: None, generation: -1 };
        let offsets = partitions.map(|partition| to_commit(partition, 1, metadata)).collect();
        let unknown = GroupError::IllegalGeneration;
        let outcome = shard.shard.commit_offsets(group_id, &committer, offsets, None, unknown, shard.now);
        shard.run(outcome).map(|results| assert!(results.iter().all(Result::is_ok)))
    };
    commit(&mut shard, "a", 0..3, "").unwrap();
    commit(&mut shard, "b", 0..3, "").unwrap();
    let full = budget.taken_bytes();
    assert_eq!(commit(&mut shard, "c", 0..1, ""), Err(GroupError::CoordinatorNotAvailable));
    assert_eq!(commit(&mut shard, "a", 0..4, ""), Err(GroupError::CoordinatorNotAvailable));
    assert_eq!(commit(&mut shard, "a", 0..3, "0123456789abcdef").map(|()| budget.taken_bytes()), Ok(full + 48));
    assert!(shard.shard.group("c").is_none());
    // Whoever has committed goes on, with as much beside its offsets as before, or less.
    commit(&mut shard, "b", 0..3, "").unwrap();
    commit(&mut shard, "a", 0..3, "").unwrap();
    assert_eq!(budget.taken_bytes(), full);
    // What is deleted makes room, and so does what expires.
    let outcome = shard.shard.delete_group("a");
    shard.run(outcome).unwrap();
    commit(&mut shard, "c", 0..1, "").unwrap();
    shard.now.wall_ms += shard.config.offsets_retention_ms;
    let Expired { effects, .. } = shard.shard.expire(shard.now.wall_ms, &|_, _| true);
    shard.apply(effects).unwrap();
    assert_eq!(budget.taken_bytes(), 0);

    // A restart counts what it loads, and a shard that is gone nothing.
    commit(&mut shard, "a", 0..3, "").unwrap();
    let taken = budget.taken_bytes();
    shard.restart();
    assert_eq!((shard.shard.offsets.bytes(), budget.taken_bytes()), (taken, 0));

    // What another shard of the same broker has counts.
    let mut other = OffsetStore::of_budget(budget.clone());
    let key = OffsetCommitKey { group: "z".repeat(1_000), topic: TOPIC.to_owned(), partition: 0 };
    other.replay(&key, Some(&OffsetCommitValue::default()));
    shard.shard.offsets = OffsetStore::of_budget(budget.clone());
    assert_eq!(commit(&mut shard, "b", 0..1, ""), Err(GroupError::CoordinatorNotAvailable));
    drop(other);
    commit(&mut shard, "b", 0..1, "").unwrap();
}

#[test]
fn a_group_with_members_is_not_deleted_and_one_without_goes_with_its_offsets() {
    let mut shard = TestShard::default();
    let ids = shard.stable(1);
    shard.commit(&ids[0], 1, 1).unwrap();
    let outcome = shard.shard.delete_group(GROUP);
    assert_eq!(shard.run(outcome), Err(GroupError::NonEmptyGroup));
    shard.leave(vec![departure(&ids[0])]).unwrap()[0].unwrap();
    let outcome = shard.shard.delete_group(GROUP);
    assert_eq!(shard.run(outcome), Ok(()));
    assert_eq!((shard.state(), shard.committed()), ("Dead", None));
    let outcome = shard.shard.delete_group(GROUP);
    assert_eq!(shard.run(outcome), Err(GroupError::GroupIdNotFound));
    shard.restart();
    assert_eq!((shard.state(), shard.committed()), ("Dead", None));
}

#[test]
fn an_id_that_was_handed_out_dies_with_its_group() {
    let mut shard = TestShard::default();
    let id = shard.new_id();
    let outcome = shard.shard.delete_group(GROUP);
    assert_eq!(shard.run(outcome), Ok(()));
    let token = shard.join(member(&id));
    assert_eq!(shard.joined(token).unwrap().error, Some(GroupError::UnknownMemberId));
    assert_eq!(shard.shard.next_due_ms(), None, "no timer is left behind");
}

#[test]
fn offsets_are_deleted_unless_members_read_the_topic() {
    let mut shard = TestShard::default();
    let delete = |shard: &mut TestShard, topic: &str| {
        let outcome = shard.shard.delete_offsets(GROUP, &[(topic.into(), vec![0, 1])]);
        shard.run(outcome)
    };
    assert_eq!(delete(&mut shard, TOPIC), Err(GroupError::GroupIdNotFound));
    let ids = shard.stable(1);
    shard.commit(&ids[0], 1, 1).unwrap();
    assert_eq!(delete(&mut shard, TOPIC), Ok(vec![Err(GroupError::GroupSubscribedToTopic)]));
    assert_eq!(delete(&mut shard, "other"), Ok(vec![Ok(())]));
    shard.leave(vec![departure(&ids[0])]).unwrap()[0].unwrap();
    assert_eq!((delete(&mut shard, TOPIC), shard.committed()), (Ok(vec![Ok(())]), None));
}

#[test]
fn a_group_that_is_no_consumers_keeps_its_offsets_while_it_has_members() {
    let mut shard = TestShard::default();
    shard.join(JoinGroup { protocol_type: "connect".into(), needs_member_id: false, ..member("") });
    let outcome = shard.shard.delete_offsets(GROUP, &[(TOPIC.into(), vec![0])]);
    assert_eq!(shard.run(outcome), Err(GroupError::NonEmptyGroup));
}

#[test]
fn groups_are_listed_by_state_and_kind() {
    let mut shard = TestShard::default();
    shard.stable(1);
    let committer = Committer { member_id: String::new(), instance_id: None, generation: -1 };
    let unknown = GroupError::IllegalGeneration;
    let outcome = shard.shard.commit_offsets("simple", &committer, vec![to_commit(0, 1, "")], None, unknown, shard.now);
    shard.run(outcome).unwrap();
    let ids = |filter: &GroupFilter| {
        let mut ids: Vec<_> = shard.shard.list(filter).into_iter().map(|group| (group.group_id, group.state)).collect();
        ids.sort();
        ids
    };
    let (stable, empty) = ((GROUP.to_owned(), "Stable"), ("simple".to_owned(), "Empty"));
    assert_eq!(ids(&GroupFilter::default()), [stable.clone(), empty.clone()]);
    assert_eq!(ids(&GroupFilter { states: vec!["stable".into()], kinds: None }), std::slice::from_ref(&stable));
    assert_eq!(ids(&GroupFilter { states: vec!["none".into()], kinds: None }), []);
    assert_eq!(ids(&GroupFilter { states: vec![], kinds: Some(vec![GroupKind::Classic]) }), [stable, empty]);
    assert_eq!(ids(&GroupFilter { states: vec![], kinds: Some(vec![]) }), []);
}

#[test]
fn a_group_with_a_very_old_record_ages_by_its_commits() {
    let mut shard = TestShard::default();
    let value = GroupMetadataValue { protocol_type: "consumer".into(), generation: 3, ..Default::default() };
    let group = GroupRecord::GroupMetadata { key: GroupMetadataKey { group: GROUP.into() }, value: Some(value) };
    let key = OffsetCommitKey { group: GROUP.into(), topic: TOPIC.into(), partition: 0 };
    let offset = OffsetCommitValue { offset: 1, commit_timestamp: shard.now.wall_ms - 999_000, ..Default::default() };
    let offset = GroupRecord::OffsetCommit { key, value: Some(offset) };
    shard.apply(Effects { records: vec![group, offset], ..Effects::default() }).unwrap();
    assert_eq!(expire(&mut shard, &[TOPIC]), 0);
    shard.advance(1_000);
    assert_eq!(expire(&mut shard, &[TOPIC]), 2);
}
