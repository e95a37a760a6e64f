//! Goal: the rules of the classic protocol, one script each. Method: a shard without a log or a clock of its own; see `test_shard`.

use super::super::test_shard::*;
use super::*;
use crate::coordinator::group::GroupRecord;
use crate::coordinator::group::any_group::Group;

fn error_of(shard: &TestShard, token: crate::coordinator::group::Token) -> Option<GroupError> {
    shard.joined(token).and_then(|answer| answer.error)
}

#[test]
fn a_new_member_gets_its_id_first_and_joins_with_it() {
    let mut shard = TestShard::default();
    let id = shard.new_id();
    assert!(id.starts_with("client-"), "{id}");
    assert_eq!(shard.state(), "Empty");
    let token = shard.join(member(&id));
    assert_eq!((shard.state(), shard.joined(token)), ("PreparingRebalance", None));
    shard.advance(INITIAL_DELAY_MS);
    let answer = shard.joined(token).unwrap();
    assert_eq!((answer.error, answer.generation, answer.leader.as_str()), (None, 1, id.as_str()));
    assert_eq!((answer.members.len(), answer.protocol.as_deref()), (1, Some("range")));
}

#[test]
fn an_old_client_joins_without_being_asked_for_an_id() {
    let mut shard = TestShard::default();
    let token = shard.join(JoinGroup { needs_member_id: false, ..member("") });
    shard.advance(INITIAL_DELAY_MS);
    assert!(shard.joined(token).unwrap().member_id.starts_with("client-"));
}

#[test]
fn an_id_that_nobody_joins_with_is_taken_back_after_the_session_timeout() {
    let mut shard = TestShard::default();
    let id = shard.new_id();
    shard.advance(SESSION_MS);
    let token = shard.join(member(&id));
    assert_eq!(error_of(&shard, token), Some(GroupError::UnknownMemberId));
}

#[test]
fn requests_that_no_group_could_take_are_refused_with_what_they_brought() {
    let mut shard = TestShard::default();
    let refusals = [
        (JoinGroup { group_id: String::new(), ..member("") }, GroupError::InvalidGroupId),
        (JoinGroup { session_timeout_ms: 5_999, ..member("") }, GroupError::InvalidSessionTimeout),
        (JoinGroup { session_timeout_ms: 1_800_001, ..member("") }, GroupError::InvalidSessionTimeout),
        (member("nobody"), GroupError::UnknownMemberId),
        (JoinGroup { protocol_type: String::new(), ..member("") }, GroupError::InconsistentGroupProtocol),
        (JoinGroup { protocols: Vec::new(), ..member("") }, GroupError::InconsistentGroupProtocol),
    ];
    for (request, error) in refusals {
        let member_id = request.member_id.clone();
        let token = shard.join(request);
        let answer = shard.joined(token).unwrap();
        assert_eq!((answer.error, answer.generation, &answer.member_id), (Some(error), -1, &member_id));
    }
    assert!(shard.log.is_empty());
}

#[test]
fn an_initial_rebalance_is_prolonged_while_members_come_but_not_beyond_the_rebalance_timeout() {
    let mut shard = TestShard::default();
    let first = shard.join(JoinGroup { needs_member_id: false, rebalance_timeout_ms: 8_000, ..member("") });
    let mut tokens = vec![first];
    for _ in 0..3 {
        shard.advance(2_500);
        assert_eq!(shard.joined(first), None);
        tokens.push(shard.join(JoinGroup { needs_member_id: false, rebalance_timeout_ms: 8_000, ..member("") }));
    }
    shard.advance(500);
    let generations: Vec<_> = tokens.iter().map(|token| shard.joined(*token).map(|answer| answer.generation)).collect();
    assert_eq!(generations, [Some(1); 4]);
}

#[test]
fn followers_wait_for_the_leaders_assignment_and_everybody_gets_its_own() {
    let mut shard = TestShard::default();
    let ids = shard.stable(3);
    assert_eq!(shard.log.len(), 1, "one record for one generation");
    for id in &ids {
        let token = shard.sync(&sync(id, 1));
        let answer = shard.synced(token).unwrap();
        assert_eq!((answer.error, &answer.assignment[..]), (None, id.as_bytes()));
        assert_eq!(answer.protocol.as_deref(), Some("range"));
    }
}

#[test]
fn a_follower_cannot_assign() {
    let mut shard = TestShard::default();
    let ids = [shard.new_id(), shard.new_id()];
    let tokens = ids.each_ref().map(|id| shard.join(member(id)));
    shard.advance(2 * INITIAL_DELAY_MS);
    let leader = shard.joined(tokens[0]).unwrap().leader.clone();
    let follower = ids.iter().find(|id| **id != leader).unwrap();
    let token = shard.sync(&SyncGroup { assignments: shares(&ids), ..sync(follower, 1) });
    assert_eq!((shard.synced(token), shard.state()), (None, "CompletingRebalance"));
    // And the leader's assignment for strangers is left out.
    shard.sync(&SyncGroup { assignments: shares(&["stranger".to_owned()]), ..sync(&leader, 1) });
    assert_eq!((&shard.synced(token).unwrap().assignment[..], shard.state()), (&b""[..], "Stable"));
}

#[test]
fn a_sync_is_refused_for_the_first_thing_that_is_wrong() {
    let mut shard = TestShard::default();
    let ids = shard.stable(2);
    let refusals = [
        (SyncGroup { group_id: String::new(), ..sync(&ids[0], 1) }, GroupError::InvalidGroupId),
        (SyncGroup { group_id: "none".into(), ..sync(&ids[0], 1) }, GroupError::UnknownMemberId),
        (sync("nobody", 1), GroupError::UnknownMemberId),
        (SyncGroup { instance_id: Some("i".into()), ..sync(&ids[0], 1) }, GroupError::UnknownMemberId),
        (sync(&ids[0], 2), GroupError::IllegalGeneration),
        (SyncGroup { protocol: Some("other".into()), ..sync(&ids[0], 1) }, GroupError::InconsistentGroupProtocol),
        (
            SyncGroup { protocol_type: Some("connect".into()), ..sync(&ids[0], 1) },
            GroupError::InconsistentGroupProtocol,
        ),
    ];
    for (request, error) in refusals {
        let token = shard.sync(&request);
        assert_eq!(shard.synced(token).unwrap().error, Some(error), "{request:?}");
    }
    let token = shard.sync(&SyncGroup { protocol: None, protocol_type: None, ..sync(&ids[0], 1) });
    assert_eq!(shard.synced(token).unwrap().error, None);
}

#[test]
fn when_a_member_joins_a_stable_group_the_others_are_told_and_join_again() {
    let mut shard = TestShard::default();
    let ids = shard.stable(2);
    let newcomer = shard.new_id();
    assert_eq!(shard.state(), "Stable", "an id alone changes nothing");
    let third = shard.join(member(&newcomer));
    assert_eq!(shard.state(), "PreparingRebalance");
    assert_eq!(shard.heartbeat(&ids[0], 1), Err(GroupError::RebalanceInProgress));
    let token = shard.sync(&sync(&ids[1], 1));
    assert_eq!(shard.synced(token).unwrap().error, Some(GroupError::RebalanceInProgress));
    let first = shard.join(member(&ids[0]));
    assert_eq!(shard.joined(first), None);
    shard.join(member(&ids[1]));
    let answer = shard.joined(third).unwrap();
    assert_eq!((answer.generation, answer.leader.as_str(), answer.members.len()), (2, ids[0].as_str(), 0));
    assert_eq!(shard.joined(first).unwrap().members.len(), 3, "the leader gets the members");
}

#[test]
fn who_does_not_join_again_in_time_is_left_out() {
    let mut shard = TestShard::default();
    let ids = shard.stable(3);
    // The leader says something new, one follower hears of it, the other sends heartbeats and nothing else.
    let first = shard.join(member(&ids[0]));
    let second = shard.join(member(&ids[1]));
    for _ in 0..REBALANCE_MS / 5_000 {
        assert_eq!(shard.joined(first), None);
        assert_eq!(shard.heartbeat(&ids[2], 1), Err(GroupError::RebalanceInProgress));
        shard.advance(5_000);
    }
    assert_eq!(shard.joined(first).unwrap().members.len(), 2);
    assert_eq!(shard.joined(second).unwrap().generation, 2);
    assert_eq!(shard.heartbeat(&ids[2], 1), Err(GroupError::UnknownMemberId));
}

#[test]
fn when_the_leader_does_not_join_again_another_member_leads() {
    let mut shard = TestShard::default();
    let ids = shard.stable(2);
    let changed = JoinGroup { protocols: vec![("range".into(), subscription(&["more"]))], ..member(&ids[1]) };
    let token = shard.join(changed);
    shard.advance(REBALANCE_MS);
    let answer = shard.joined(token).unwrap();
    assert_eq!((answer.leader.as_str(), answer.members.len()), (ids[1].as_str(), 1));
}

#[test]
fn who_has_nothing_new_gets_the_current_generation_and_the_leader_a_new_one() {
    let mut shard = TestShard::default();
    let ids = shard.stable(2);
    let token = shard.join(member(&ids[1]));
    let answer = shard.joined(token).unwrap();
    assert_eq!((answer.error, answer.generation, answer.members.len(), shard.state()), (None, 1, 0, "Stable"));
    shard.join(member(&ids[0]));
    assert_eq!(shard.state(), "PreparingRebalance");
}

#[test]
fn a_member_whose_answer_was_lost_asks_again_and_the_generation_goes_on() {
    let mut shard = TestShard::default();
    let id = shard.new_id();
    shard.join(member(&id));
    shard.advance(INITIAL_DELAY_MS);
    let again = shard.join(member(&id));
    let answer = shard.joined(again).unwrap();
    assert_eq!((answer.generation, answer.members.len(), shard.state()), (1, 1, "CompletingRebalance"));
}

#[test]
fn of_two_joins_of_one_member_the_first_is_told_to_come_again() {
    let mut shard = TestShard::default();
    let id = shard.new_id();
    let first = shard.join(member(&id));
    let second = shard.join(member(&id));
    assert_eq!(error_of(&shard, first), Some(GroupError::RebalanceInProgress));
    shard.advance(INITIAL_DELAY_MS);
    assert_eq!(shard.joined(second).unwrap().error, None);
    assert_eq!(shard.joined(second).unwrap().members.len(), 1);
}

#[test]
fn a_silent_member_is_removed_and_the_others_rebalance() {
    let mut shard = TestShard::default();
    let ids = shard.stable(2);
    for _ in 0..2 {
        shard.advance(SESSION_MS / 2);
        let _rebalancing = shard.heartbeat(&ids[0], 1);
    }
    assert_eq!(shard.state(), "PreparingRebalance");
    assert_eq!(shard.heartbeat(&ids[1], 1), Err(GroupError::UnknownMemberId));
    let token = shard.join(member(&ids[0]));
    assert_eq!(shard.joined(token).unwrap().generation, 2);
}

#[test]
fn who_waits_for_an_answer_is_not_silent() {
    let mut shard = TestShard::default();
    let ids = shard.stable(2);
    let newcomer = shard.new_id();
    shard.join(member(&newcomer));
    let waiting = shard.join(member(&ids[0]));
    for _ in 0..5 {
        let _rebalancing = shard.heartbeat(&ids[1], 1);
        shard.advance(SESSION_MS - 1);
    }
    assert_eq!(shard.joined(waiting), None, "it waits for far longer than its session");
    shard.join(member(&ids[1]));
    assert_eq!(shard.joined(waiting).unwrap().error, None);
}

#[test]
fn who_does_not_sync_in_time_is_removed() {
    let mut shard = TestShard::default();
    let ids = [shard.new_id(), shard.new_id()];
    let tokens = ids.each_ref().map(|id| shard.join(member(id)));
    shard.advance(2 * INITIAL_DELAY_MS);
    let leader = shard.joined(tokens[0]).unwrap().leader.clone();
    let follower = ids.iter().find(|id| **id != leader).unwrap().clone();
    let waiting = shard.sync(&sync(&follower, 1));
    for _ in 0..REBALANCE_MS / 5_000 {
        let _late = shard.heartbeat(&leader, 1);
        shard.advance(5_000);
    }
    assert_eq!(shard.synced(waiting).unwrap().error, Some(GroupError::RebalanceInProgress));
    assert_eq!(shard.heartbeat(&leader, 1), Err(GroupError::UnknownMemberId));
    let token = shard.join(member(&follower));
    assert_eq!(shard.joined(token).unwrap().leader, follower);
}

#[test]
fn a_member_that_leaves_is_gone_at_once_and_the_last_one_leaves_the_group_empty() {
    let mut shard = TestShard::default();
    let ids = shard.stable(2);
    assert_eq!(
        shard.leave(vec![departure(&ids[0]), departure("nobody")]),
        Ok(vec![Ok(()), Err(GroupError::UnknownMemberId)])
    );
    assert_eq!(shard.heartbeat(&ids[1], 1), Err(GroupError::RebalanceInProgress));
    assert_eq!(shard.leave(vec![departure(&ids[1])]), Ok(vec![Ok(())]));
    assert_eq!(shard.state(), "Empty");
    assert_eq!(shard.leave(vec![departure(&ids[1])]), Ok(vec![Err(GroupError::UnknownMemberId)]));
    shard.restart();
    let described = shard.shard.describe_classic(GROUP).unwrap();
    assert_eq!((described.state, described.protocol_type.as_str(), described.members.len()), ("Empty", "consumer", 0));
    let ids = shard.stable(1);
    assert_eq!(shard.heartbeat(&ids[0], 3), Ok(()), "two generations were there before");
}

#[test]
fn who_waits_hears_of_its_removal() {
    let mut shard = TestShard::default();
    let ids = [shard.new_id(), shard.new_id()];
    let tokens = ids.each_ref().map(|id| shard.join(member(id)));
    shard.leave(vec![departure(&ids[0])]).unwrap()[0].unwrap();
    let answer = shard.joined(tokens[0]).unwrap();
    assert_eq!((answer.error, answer.member_id.as_str()), (Some(GroupError::UnknownMemberId), ""));
    shard.advance(2 * INITIAL_DELAY_MS);
    assert_eq!(shard.joined(tokens[1]).unwrap().members.len(), 1);
}

#[test]
fn a_static_member_comes_back_under_a_new_id_without_a_rebalance_and_the_old_one_is_fenced() {
    let mut shard = TestShard::default();
    let first = shard.join(static_member("i"));
    shard.advance(INITIAL_DELAY_MS);
    let old = shard.joined(first).unwrap().member_id.clone();
    assert!(old.starts_with("i-"), "{old}");
    let share = shares(std::slice::from_ref(&old));
    let request = SyncGroup { instance_id: Some("i".into()), assignments: share, ..sync(&old, 1) };
    shard.sync(&request);
    for (can_skip_assignment, expects_members) in [(true, 1), (false, 0)] {
        let before = shard.shard.describe_classic(GROUP).unwrap().members[0].member_id.clone();
        let token = shard.join(JoinGroup { can_skip_assignment, ..static_member("i") });
        let answer = shard.joined(token).unwrap();
        assert_eq!((answer.error, answer.generation, answer.skip_assignment), (None, 1, can_skip_assignment));
        assert_eq!(answer.members.len(), expects_members);
        let leader = if can_skip_assignment { &answer.member_id } else { &before };
        assert_eq!((&answer.leader, shard.state()), (leader, "Stable"));
        let now = answer.member_id.clone();
        let outcome = shard.shard.heartbeat(GROUP, &before, Some("i"), 1, shard.now);
        assert_eq!(shard.run(outcome), Err(GroupError::FencedInstanceId));
        assert_eq!(shard.heartbeat(&now, 1), Ok(()));
        shard.restart();
        assert_eq!(shard.heartbeat(&now, 1), Ok(()), "the new id is on record");
        let token = shard.sync(&SyncGroup { instance_id: Some("i".into()), ..sync(&now, 1) });
        assert_eq!(&shard.synced(token).unwrap().assignment[..], old.as_bytes());
    }
}

#[test]
fn a_static_member_whose_return_cannot_be_written_has_not_come_back() {
    let mut shard = TestShard::default();
    let token = shard.join(static_member("i"));
    shard.advance(INITIAL_DELAY_MS);
    let id = shard.joined(token).unwrap().member_id.clone();
    shard.sync(&SyncGroup { assignments: shares(std::slice::from_ref(&id)), ..sync(&id, 1) });
    let before = shard.shard.describe_classic(GROUP);
    shard.disk_is_full = true;
    for _ in 0..2 {
        let token = shard.join(static_member("i"));
        assert_eq!(shard.joined(token).unwrap().error, Some(GroupError::CoordinatorNotAvailable));
        assert_eq!(shard.shard.describe_classic(GROUP), before);
    }
    assert_eq!((shard.heartbeat(&id, 1), shard.commit(&id, 1, 5)), (Ok(()), Err(GroupError::CoordinatorNotAvailable)));
    shard.disk_is_full = false;
    shard.restart();
    assert_eq!(shard.heartbeat(&id, 1), Ok(()));
    let token = shard.join(static_member("i"));
    let answer = shard.joined(token).unwrap().clone();
    assert_eq!((answer.error, answer.leader == answer.member_id), (None, true));
    assert_eq!(
        (shard.heartbeat(&id, 1), shard.heartbeat(&answer.member_id, 1)),
        (Err(GroupError::UnknownMemberId), Ok(()))
    );
    shard.advance(SESSION_MS);
    assert_ne!(shard.state(), "Stable", "the session of the new id has begun");
}

#[test]
fn a_static_member_that_speaks_something_else_makes_the_group_rebalance() {
    let mut shard = TestShard::default();
    let token = shard.join(static_member("i"));
    shard.advance(INITIAL_DELAY_MS);
    let old = shard.joined(token).unwrap().member_id.clone();
    shard.sync(&SyncGroup { instance_id: Some("i".into()), ..sync(&old, 1) });
    let protocols = vec![("sticky".to_owned(), subscription(&[TOPIC])), ("range".to_owned(), subscription(&[TOPIC]))];
    let token = shard.join(JoinGroup { protocols, ..static_member("i") });
    let answer = shard.joined(token).unwrap();
    assert_eq!((answer.generation, answer.protocol.as_deref()), (2, Some("sticky")));
}

#[test]
fn an_operator_removes_a_static_member_by_its_instance_id() {
    let mut shard = TestShard::default();
    shard.join(static_member("i"));
    shard.advance(INITIAL_DELAY_MS);
    let by_instance = |id: &str| Departure { instance_id: Some(id.to_owned()), ..departure("") };
    let results = shard.leave(vec![by_instance("other"), by_instance("i"), departure("")]).unwrap();
    assert_eq!(results, [Err(GroupError::UnknownMemberId), Ok(()), Err(GroupError::UnknownMemberId)]);
    assert_eq!(shard.state(), "Empty");
}

#[test]
fn a_static_member_is_missed_only_when_its_session_ends() {
    let mut shard = TestShard::default();
    let token = shard.join(static_member("i"));
    shard.advance(INITIAL_DELAY_MS);
    let id = shard.joined(token).unwrap().member_id.clone();
    shard.sync(&SyncGroup { instance_id: Some("i".into()), ..sync(&id, 1) });
    let other = shard.new_id();
    let waiting = shard.join(member(&other));
    // It sends heartbeats and does not join: the time to join ends, and it stays.
    for _ in 0..REBALANCE_MS / 5_000 {
        let _rebalancing = shard.heartbeat(&id, 1);
        shard.advance(5_000);
    }
    assert_eq!(shard.joined(waiting).unwrap().members.len(), 2);
}

#[test]
fn the_protocol_that_most_members_like_best_is_spoken() {
    let mut shard = TestShard::default();
    let speak =
        |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), subscription(&[TOPIC]))).collect::<Vec<_>>();
    let mut tokens = Vec::new();
    for names in [["a", "b"], ["b", "a"], ["b", "a"]] {
        tokens.push(shard.join(JoinGroup { needs_member_id: false, protocols: speak(&names), ..member("") }));
    }
    let token = shard.join(JoinGroup { needs_member_id: false, protocols: speak(&["c"]), ..member("") });
    assert_eq!(error_of(&shard, token), Some(GroupError::InconsistentGroupProtocol));
    let token = shard.join(JoinGroup { protocol_type: "connect".into(), protocols: speak(&["a"]), ..member("") });
    assert_eq!(error_of(&shard, token), Some(GroupError::InconsistentGroupProtocol));
    shard.advance(2 * INITIAL_DELAY_MS);
    assert_eq!(shard.joined(tokens[0]).unwrap().protocol.as_deref(), Some("b"));
}

#[test]
fn a_full_group_takes_no_more() {
    let mut shard = TestShard::with(GroupConfig { max_size: 2, ..config() });
    let ids = shard.stable(2);
    let token = shard.join(member(""));
    let answer = shard.joined(token).unwrap();
    assert_eq!((answer.error, answer.member_id.as_str()), (Some(GroupError::GroupMaxSizeReached), ""));
    // Those who are in may join again.
    let token = shard.join(member(&ids[1]));
    assert_eq!(error_of(&shard, token), None);
}

#[test]
fn a_member_that_says_too_much_at_once_stays_what_it_was() {
    let mut shard = TestShard::default();
    let ids = shard.stable(2);
    let too_much = |id: &str| JoinGroup { protocols: vec![("range".into(), vec![0; 13 << 20].into())], ..member(id) };
    for id in &ids {
        let before = shard.shard.describe_classic(GROUP);
        let token = shard.join(too_much(id));
        assert_eq!(shard.joined(token).unwrap().error, Some(GroupError::GroupMaxSizeReached));
        assert_eq!((shard.shard.describe_classic(GROUP), shard.heartbeat(id, 1)), (before, Ok(())));
    }
    // In a rebalance it is waited for like any other, and a new member that is refused is not waited for.
    let new = shard.new_id();
    let joined = shard.join(member(&ids[0]));
    shard.join(too_much(&ids[1]));
    shard.join(too_much(&new));
    assert_eq!((shard.state(), shard.joined(joined)), ("PreparingRebalance", None));
    shard.join(member(&ids[1]));
    assert_eq!((shard.state(), shard.joined(joined).unwrap().generation), ("CompletingRebalance", 2));
}

#[test]
fn a_group_that_outgrew_its_limit_in_a_restart_rebalances_and_leaves_the_last_ones_out() {
    let mut shard = TestShard::default();
    let ids = shard.stable(3);
    shard.config = Arc::new(GroupConfig { max_size: 2, ..config() });
    shard.restart();
    assert_eq!(shard.heartbeat(&ids[0], 1), Err(GroupError::RebalanceInProgress));
    let tokens: Vec<_> = ids.iter().map(|id| shard.join(member(id))).collect();
    assert_eq!(error_of(&shard, tokens[2]), Some(GroupError::GroupMaxSizeReached));
    assert_eq!(shard.joined(tokens[0]).unwrap().members.len(), 2);
}

#[test]
fn members_that_say_too_much_are_refused() {
    let mut shard = TestShard::default();
    let much = |bytes| vec![("range".to_owned(), Bytes::from(vec![0; bytes]))];
    let token = shard.join(JoinGroup { protocols: much(13 << 20), ..member("") });
    assert_eq!(error_of(&shard, token), Some(GroupError::GroupMaxSizeReached));
    for _ in 0..11 {
        shard.join(JoinGroup { protocols: much(1 << 20), needs_member_id: false, ..member("") });
    }
    let token = shard.join(JoinGroup { protocols: much(1 << 20), needs_member_id: false, ..member("") });
    assert_eq!(error_of(&shard, token), Some(GroupError::GroupMaxSizeReached), "what holds it counts too");
    let many = (0..150_000).map(|number| (number.to_string(), Bytes::new())).collect();
    let token = shard.join(JoinGroup { protocols: many, group_id: "other".into(), ..member("") });
    assert_eq!(error_of(&shard, token), Some(GroupError::GroupMaxSizeReached), "names without end");
}

#[test]
fn a_restart_keeps_the_members_and_gives_them_a_new_session() {
    let mut shard = TestShard::default();
    let ids = shard.stable(2);
    shard.advance(SESSION_MS - 1);
    shard.restart();
    shard.advance(SESSION_MS - 1);
    assert_eq!(shard.heartbeat(&ids[0], 1), Ok(()));
    let token = shard.sync(&sync(&ids[0], 1));
    assert_eq!(&shard.synced(token).unwrap().assignment[..], ids[0].as_bytes());
    shard.advance(1);
    assert_eq!(shard.heartbeat(&ids[1], 1), Err(GroupError::UnknownMemberId));
}

#[test]
fn a_restart_brings_back_what_the_last_record_says_and_not_the_first() {
    let mut shard = TestShard::default();
    let id = shard.stable(1).remove(0);
    let protocols = vec![("sticky".into(), subscription(&["other"])), ("range".into(), subscription(&["other"]))];
    let timeouts = (SESSION_MS + 1, REBALANCE_MS + 1);
    let again = |id: &str| JoinGroup {
        protocols: protocols.clone(),
        session_timeout_ms: timeouts.0,
        rebalance_timeout_ms: timeouts.1,
        ..member(id)
    };
    let token = shard.join(again(&id));
    let generation = shard.joined(token).unwrap().generation;
    let assignments = shares(std::slice::from_ref(&id));
    shard.sync(&SyncGroup { assignments, protocol: None, ..sync(&id, generation) });
    shard.restart();
    let described = shard.shard.describe_classic(GROUP).unwrap();
    assert_eq!((described.state, described.protocol.as_str()), ("Stable", "sticky"));
    assert_eq!(described.members[0].metadata, subscription(&["other"]));
    let Some(Group::Classic(group)) = shard.shard.group(GROUP) else { panic!("{}", shard.state()) };
    assert_eq!((group.is_subscribed_to("other"), group.is_subscribed_to(TOPIC)), (true, false));
    let recorded = &group.members[id.as_str()];
    assert_eq!((recorded.session_timeout_ms, recorded.rebalance_timeout_ms), timeouts);
    // Who speaks what the group speaks is let in, and the member itself is.
    let token = shard.join(again(&id));
    assert_eq!(shard.joined(token).unwrap().error, None);
    let token = shard.join(JoinGroup { protocols: vec![("sticky".into(), Bytes::new())], ..member("") });
    assert_eq!(shard.joined(token).unwrap().error, Some(GroupError::MemberIdRequired));
}

#[test]
fn a_restart_in_a_rebalance_goes_back_to_the_generation_before() {
    let mut shard = TestShard::default();
    let ids = shard.stable(1);
    let newcomer = shard.new_id();
    shard.join(member(&newcomer));
    shard.join(member(&ids[0]));
    assert_eq!(shard.state(), "CompletingRebalance");
    shard.restart();
    assert_eq!(shard.heartbeat(&ids[0], 2), Err(GroupError::IllegalGeneration));
    assert_eq!(shard.heartbeat(&newcomer, 2), Err(GroupError::UnknownMemberId));
    assert_eq!(shard.heartbeat(&ids[0], 1), Ok(()));
}

#[test]
fn when_an_assignment_cannot_be_written_all_join_again() {
    let mut shard = TestShard::default();
    let (ids, _) = shard.unassigned(2);
    let (leader, other) = (ids[0].clone(), ids[1].clone());
    let waits = shard.sync(&sync(&other, 1));
    shard.disk_is_full = true;
    let request = SyncGroup { assignments: shares(&ids), ..sync(&leader, 1) };
    let token = shard.sync(&request);
    for token in [waits, token] {
        assert_eq!(shard.synced(token).unwrap().error, Some(GroupError::CoordinatorNotAvailable));
    }
    assert_eq!((shard.state(), shard.log.len()), ("PreparingRebalance", 0));
    shard.disk_is_full = false;
    assert_eq!(shard.heartbeat(&other, 1), Err(GroupError::RebalanceInProgress));
    let token = shard.sync(&request);
    assert_eq!(shard.synced(token).unwrap().error, Some(GroupError::RebalanceInProgress));

    // A leader that sends heartbeats and nothing else is waited for as in any rebalance, and then it is out.
    let token = shard.join(member(&other));
    shard.only_heartbeats(&leader, 1);
    let answer = shard.joined(token).unwrap();
    assert_eq!((answer.error, answer.generation, &answer.leader), (None, 2, &other));
    let token = shard.sync(&SyncGroup { assignments: shares(&ids), ..sync(&other, 2) });
    assert_eq!((shard.synced(token).unwrap().error, shard.state()), (None, "Stable"));
}

#[test]
fn an_assignment_that_no_record_can_hold_is_refused_and_the_leader_hands_in_another() {
    let mut shard = TestShard::default();
    let (ids, _) = shard.unassigned(2);
    let (leader, other) = (ids[0].clone(), ids[1].clone());
    let waits = shard.sync(&sync(&other, 1));
    let of_bytes = |id: &str, bytes: usize| (id.to_owned(), Bytes::from(vec![b'x'; bytes]));
    let hand_in = |assignments| SyncGroup { assignments, ..sync(&leader, 1) };
    let token = shard.sync(&hand_in(vec![of_bytes(&leader, 8 << 20), of_bytes(&other, 8 << 20)]));
    assert_eq!(shard.synced(token).unwrap().error, Some(GroupError::ChangeTooLarge));
    assert_eq!((shard.state(), shard.synced(waits), shard.log.len()), ("CompletingRebalance", None, 0));
    // What is for strangers counts for nothing.
    let token = shard.sync(&hand_in(vec![of_bytes("stranger", 20 << 20), of_bytes(&other, 9 << 20)]));
    assert_eq!((shard.synced(token).unwrap().error, shard.state()), (None, "Stable"));
    assert_eq!(shard.synced(waits).unwrap().assignment.len(), 9 << 20);

    // A leader that has nothing else to hand in is out with the end of the time to sync.
    let token = shard.join(JoinGroup { protocols: vec![("range".into(), subscription(&["more"]))], ..member(&leader) });
    let _waits = shard.join(member(&other));
    assert_eq!(shard.joined(token).unwrap().generation, 2);
    let waits = shard.sync(&sync(&other, 2));
    let too_much = SyncGroup { assignments: vec![of_bytes(&leader, 20 << 20)], ..sync(&leader, 2) };
    shard.sync(&too_much);
    shard.only_heartbeats(&leader, 2);
    assert_eq!(shard.heartbeat(&leader, 2), Err(GroupError::UnknownMemberId));
    assert_eq!(shard.synced(waits).unwrap().error, Some(GroupError::RebalanceInProgress));
}

#[test]
fn what_is_assigned_counts_with_what_the_members_of_all_groups_say() {
    let mut shard = TestShard::default();
    shard.shard.members_budget = MembersBudget::with_max(10_000);
    let token = shard.join(JoinGroup { needs_member_id: false, ..member("") });
    shard.advance(INITIAL_DELAY_MS);
    let id = shard.joined(token).unwrap().member_id.clone();
    let hand_in = |shard: &mut TestShard, generation: i32, bytes: usize| {
        let assignments = vec![(id.clone(), Bytes::from(vec![b'x'; bytes]))];
        let token = shard.sync(&SyncGroup { assignments, ..sync(&id, generation) });
        shard.synced(token).unwrap().error
    };
    assert_eq!(hand_in(&mut shard, 1, 9_990), Some(GroupError::CoordinatorNotAvailable));
    assert_eq!((hand_in(&mut shard, 1, 8_000), shard.state()), (None, "Stable"));
    // It may have as much again.
    shard.join(member(&id));
    assert_eq!(hand_in(&mut shard, 2, 9_990), Some(GroupError::CoordinatorNotAvailable));
    assert_eq!((hand_in(&mut shard, 2, 8_000), shard.state()), (None, "Stable"));
    shard.leave(vec![departure(&id)]).unwrap()[0].unwrap();
    assert_eq!(shard.shard.members_budget.taken_bytes(), 0);
}

#[test]
fn a_group_that_cannot_be_written_empty_is_tried_again() {
    let mut shard = TestShard::default();
    let ids = shard.stable(1);
    shard.disk_is_full = true;
    assert_eq!(shard.leave(vec![departure(&ids[0])]), Err(GroupError::CoordinatorNotAvailable));
    shard.advance(10_000);
    assert_eq!(shard.state(), "PreparingRebalance");
    shard.disk_is_full = false;
    shard.advance(1_000);
    assert_eq!(shard.state(), "Empty");
    let record = GroupRecord::decode(Some(&shard.log.last().unwrap().0), shard.log.last().unwrap().1.as_ref());
    let Ok(Some(GroupRecord::GroupMetadata { value: Some(value), .. })) = record else { panic!("{record:?}") };
    assert_eq!((value.generation, value.members.len()), (2, 0));
}

#[test]
fn times_are_told_of_states_and_members() {
    let mut shard = TestShard::default();
    let ids = shard.stable(2);
    let stable_since = shard.now.wall_ms;
    shard.advance(2_000);
    shard.heartbeat(&ids[0], 1).unwrap();
    let described = shard.shard.describe_classic(GROUP).unwrap();
    assert_eq!(described.state_since_ms, stable_since);
    let heard = |id: &String| described.members.iter().find(|member| member.member_id == *id).unwrap().last_heard_ms;
    assert_eq!(heard(&ids[0]), shard.now.wall_ms);
    assert!(heard(&ids[1]) < stable_since);
    shard.restart();
    assert_eq!(shard.shard.describe_classic(GROUP).unwrap().members[0].last_heard_ms, -1);
}

#[test]
fn a_description_names_whom_the_rebalance_waits_for() {
    let mut shard = TestShard::default();
    let ids = shard.stable(2);
    let awaited = |shard: &TestShard| -> Vec<String> {
        let members = shard.shard.describe_classic(GROUP).unwrap().members.into_iter();
        members.filter(|member| member.is_awaited).map(|member| member.member_id).collect()
    };
    assert_eq!(awaited(&shard), [""; 0]);
    let newcomer = shard.new_id();
    shard.join(member(&newcomer));
    shard.join(member(&ids[0]));
    assert_eq!((shard.state(), awaited(&shard)), ("PreparingRebalance", vec![ids[1].clone()]));
    let token = shard.join(member(&ids[1]));
    let leader = shard.joined(token).unwrap().leader.clone();
    assert_eq!((shard.state(), awaited(&shard)), ("CompletingRebalance", vec![leader.clone()]));
    shard.sync(&SyncGroup { assignments: shares(&ids), ..sync(&leader, 2) });
    assert_eq!((shard.state(), awaited(&shard)), ("Stable", vec![]));
}
