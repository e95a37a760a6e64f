//! Goal: a classic member does what the protocol asks for, and never joins with partitions in hand that it has to give up.
//! Method: scripts, one a rule: what is answered, and what the member wants done next.

use std::time::Duration;

use ottla_protocol::messages::heartbeat::HeartbeatResponse;
use ottla_protocol::messages::join_group::{JoinGroupResponse, JoinGroupResponseMember};
use ottla_protocol::messages::sync_group::SyncGroupResponse;

use super::super::embedded_protocol::{decode_assignment, decode_subscription, encode_assignment};
use super::super::test_warnings::Warnings;
use super::*;
use crate::clock;

struct Script {
    member: ClassicMember,
    now: Instant,
}

fn names(topics: &[&str]) -> BTreeSet<Arc<str>> {
    topics.iter().map(|topic| Arc::from(*topic)).collect()
}

fn partitions(indexes: &[i32]) -> BTreeSet<TopicPartition> {
    indexes.iter().map(|index| TopicPartition::new("t", *index)).collect()
}

fn refusal<T: Default>(set: impl FnOnce(&mut T)) -> Result<T, Error> {
    let mut response = T::default();
    set(&mut response);
    Ok(response)
}

fn lost<T>() -> Result<T, Error> {
    Err(Error::Disconnected { address: "b:1".into(), reason: "reset".into() })
}

impl Script {
    fn new(assignors: &[Assignor], change: impl FnOnce(&mut GroupConfig)) -> Script {
        let mut config = GroupConfig::new("g");
        config.assignors = assignors.to_vec();
        change(&mut config);
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        Script { member: ClassicMember::new(config, backoff), now: clock::now() }
    }

    fn subscribed(assignors: &[Assignor]) -> Script {
        let mut script = Script::new(assignors, |_| ());
        script.member.subscribe(names(&["t"]));
        script
    }

    fn next(&mut self) -> Step {
        self.member.next(self.now)
    }

    fn wait(&mut self) -> Option<Instant> {
        self.next().expect_wait()
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn join(&mut self) -> JoinGroupRequest {
        match self.next() {
            Step::Send(MemberRequest::Join(join)) => join,
            other => panic!("{other:?} instead of a join"),
        }
    }

    fn sync(&mut self) -> SyncGroupRequest {
        match self.next() {
            Step::Send(MemberRequest::Sync(sync)) => sync,
            other => panic!("{other:?} instead of a sync"),
        }
    }

    fn heartbeat(&mut self) -> i32 {
        match self.next() {
            Step::Send(MemberRequest::Heartbeat(heartbeat)) => heartbeat.generation_id,
            other => panic!("{other:?} instead of a heartbeat"),
        }
    }

    fn hand_over(&mut self) -> Change {
        self.next().expect_hand_over()
    }

    fn answer_join(&mut self, generation: i32, leader: bool, protocol: Assignor) {
        let me = JoinGroupResponseMember {
            member_id: "m".into(),
            metadata: encode_subscription(&names(&["t"]), &BTreeSet::new(), -1, None),
            ..Default::default()
        };
        let response = JoinGroupResponse {
            generation_id: generation,
            protocol_name: Some(protocol.name().into()),
            member_id: "m".into(),
            leader: if leader { "m" } else { "other" }.into(),
            members: if leader { vec![me] } else { Vec::new() },
            ..Default::default()
        };
        self.member.joined(self.now, Ok(response)).unwrap();
    }

    fn answer_sync(&mut self, share: &[i32]) {
        let assignment = encode_assignment(&partitions(share));
        self.member.synced(self.now, Ok(SyncGroupResponse { assignment, ..Default::default() })).unwrap();
    }

    fn answer_heartbeat(&mut self, code: ErrorCode) -> Result<(), Error> {
        let generation = self.member.generation;
        self.member.beaten(self.now, generation, refusal(|r: &mut HeartbeatResponse| r.error_code = code.code()))
    }

    /// Joins as a follower and takes the share over.
    fn settle(&mut self, generation: i32, protocol: Assignor, share: &[i32]) {
        self.join();
        self.answer_join(generation, false, protocol);
        self.sync();
        self.answer_sync(share);
        if let Step::HandOver(_) = self.next() {
            self.member.handed_over();
        }
    }

    fn heartbeat_says(&mut self, code: ErrorCode) {
        self.pass(Duration::from_secs(3));
        self.heartbeat();
        self.answer_heartbeat(code).unwrap();
    }
}

#[test]
fn a_first_member_joins_twice_leads_and_takes_its_own_share() {
    let mut script = Script::subscribed(&[Assignor::Range, Assignor::CooperativeSticky]);
    let join = script.join();
    assert_eq!((join.member_id.as_str(), join.protocol_type.as_str()), ("", "consumer"));
    assert_eq!(join.protocols.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["range", "cooperative-sticky"]);
    assert_eq!(script.wait(), None, "one join at a time");
    let told = refusal(|r: &mut JoinGroupResponse| {
        (r.error_code, r.member_id) = (ErrorCode::MemberIdRequired.code(), "m".into());
    });
    script.member.joined(script.now, told).unwrap();
    assert_eq!(script.join().member_id, "m");
    assert_eq!(script.member.identity(), None);
    script.answer_join(1, true, Assignor::Range);
    let Step::CountPartitions(topics) = script.next() else { panic!("the leader has to count") };
    assert_eq!(topics, names(&["t"]));
    script.member.partitions_counted(script.now, Ok([(Arc::from("t"), 2)].into()));
    let sync = script.sync();
    assert_eq!((sync.generation_id, sync.protocol_name.as_deref()), (1, Some("range")));
    assert_eq!(decode_assignment(sync.assignments[0].assignment.clone()), Some(partitions(&[0, 1])));
    script.answer_sync(&[0, 1]);
    assert_eq!(script.hand_over().assigned, partitions(&[0, 1]));
    script.member.handed_over();
    assert_eq!(script.wait(), Some(script.now + Duration::from_secs(3)));
    assert_eq!(script.member.identity().unwrap().epoch, 1);
}

#[test]
fn heartbeats_go_on_while_the_caller_takes_its_time_and_the_eager_join_waits_for_it() {
    let mut script = Script::subscribed(&[Assignor::Range]);
    script.settle(1, Assignor::Range, &[0, 1]);
    script.heartbeat_says(ErrorCode::RebalanceInProgress);
    let change = script.hand_over();
    assert_eq!((change.revoked, change.lost), (partitions(&[0, 1]), false));
    for _ in 0..5 {
        script.heartbeat_says(ErrorCode::RebalanceInProgress);
        script.wait();
    }
    script.member.handed_over();
    let join = script.join();
    let told = decode_subscription("m", None, join.protocols[0].metadata.clone()).unwrap();
    assert!(told.owned.is_empty());
    assert_eq!(join.reason.as_deref(), Some("the group is rebalancing"));
    assert!(script.member.identity().is_some(), "commits go on under the old generation");
}

#[test]
fn a_cooperative_member_keeps_what_stays_and_joins_again_after_it_gave_something_up() {
    let mut script = Script::subscribed(&[Assignor::CooperativeSticky]);
    script.settle(1, Assignor::CooperativeSticky, &[0, 1, 2]);
    script.heartbeat_says(ErrorCode::RebalanceInProgress);
    let join = script.join();
    let told = decode_subscription("m", None, join.protocols[0].metadata.clone()).unwrap();
    assert_eq!((told.owned, told.generation), (partitions(&[0, 1, 2]), 1));
    script.answer_join(2, false, Assignor::CooperativeSticky);
    script.sync();
    script.answer_sync(&[0, 1]);
    let change = script.hand_over();
    assert_eq!((change.revoked, change.assigned), (partitions(&[2]), partitions(&[])));
    script.member.handed_over();
    let join = script.join();
    assert_eq!(join.reason.as_deref(), Some("partitions were given up for others"));
    script.answer_join(3, false, Assignor::CooperativeSticky);
    script.sync();
    script.answer_sync(&[0, 1]);
    assert!(script.wait().is_some(), "nothing changes hands");
}

#[test]
fn who_is_not_known_any_more_has_lost_everything_and_joins_as_somebody_new() {
    let mut script = Script::subscribed(&[Assignor::CooperativeSticky]);
    script.settle(1, Assignor::CooperativeSticky, &[0]);
    script.heartbeat_says(ErrorCode::UnknownMemberId);
    assert_eq!(script.member.identity(), None);
    let change = script.hand_over();
    assert_eq!((change.revoked, change.lost), (partitions(&[0]), true));
    script.member.handed_over();
    let join = script.join();
    assert_eq!(join.member_id, "");
    assert!(decode_subscription("m", None, join.protocols[0].metadata.clone()).unwrap().owned.is_empty());
}

#[test]
fn an_illegal_generation_keeps_the_member_id() {
    let mut script = Script::subscribed(&[Assignor::Range]);
    script.settle(1, Assignor::Range, &[0]);
    script.heartbeat_says(ErrorCode::IllegalGeneration);
    assert!(script.hand_over().lost);
    script.member.handed_over();
    assert_eq!(script.join().member_id, "m");
}

#[test]
fn what_may_pass_is_repeated_after_a_while() {
    let mut script = Script::subscribed(&[Assignor::Range]);
    script.join();
    script.member.joined(script.now, lost()).unwrap();
    let again = script.wait().unwrap();
    assert!(again > script.now);
    script.now = again;
    script.join();
    let loading = ErrorCode::CoordinatorLoadInProgress.code();
    script.member.joined(script.now, refusal(|r: &mut JoinGroupResponse| r.error_code = loading)).unwrap();
    script.now = script.wait().unwrap();
    script.join();
    script.answer_join(1, false, Assignor::Range);
    script.sync();
    script.member.synced(script.now, lost()).unwrap();
    script.now = script.wait().unwrap();
    script.settle(2, Assignor::Range, &[0]);
    script.pass(Duration::from_secs(3));
    script.heartbeat();
    let generation = script.member.generation;
    script.member.beaten(script.now, generation, lost()).unwrap();
    let again = script.wait().unwrap();
    assert!(again <= script.now + Duration::from_secs(2), "sooner than the usual interval");
}

#[test]
fn refusals_end_the_membership_and_what_was_owned_is_lost() {
    let mut script = Script::subscribed(&[Assignor::Range]);
    script.settle(1, Assignor::Range, &[0]);
    script.pass(Duration::from_secs(3));
    script.heartbeat();
    let error = script.answer_heartbeat(ErrorCode::FencedInstanceId).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the membership in group g ended: FENCED_INSTANCE_ID(82); another member runs with the same group_instance_id"
    );
    assert!(script.hand_over().lost);
    script.member.handed_over();
    assert!(matches!(script.next(), Step::Left));
    assert_eq!(script.wait(), None);

    let mut script = Script::subscribed(&[Assignor::Range]);
    script.join();
    let code = ErrorCode::InconsistentGroupProtocol.code();
    script.member.joined(script.now, refusal(|r: &mut JoinGroupResponse| r.error_code = code)).unwrap_err();
    assert!(matches!(script.next(), Step::Left));
}

#[test]
fn who_polls_too_rarely_leaves_and_joins_again_with_the_next_poll() {
    let mut script = Script::subscribed(&[Assignor::Range]);
    script.settle(1, Assignor::Range, &[0]);
    let Some(MemberRequest::Leave(leave)) = script.member.poll_expired() else { panic!("it says that it goes") };
    assert_eq!(leave.members[0].member_id, "m");
    assert_eq!(script.wait(), None);
    assert_eq!(script.member.identity(), None);
    assert!(script.member.poll_expired().is_none(), "once");
    script.member.polled();
    assert!(script.hand_over().lost);
    script.member.handed_over();
    assert_eq!(script.join().member_id, "");
}

#[test]
fn a_static_member_does_not_say_that_it_goes() {
    let mut script = Script::new(&[Assignor::Range], |config| config.group_instance_id = Some("i".into()));
    script.member.subscribe(names(&["t"]));
    script.settle(1, Assignor::Range, &[0]);
    script.member.unsubscribe();
    assert_eq!(script.hand_over().revoked, partitions(&[0]));
    script.member.handed_over();
    assert!(matches!(script.next(), Step::Left));
}

#[test]
fn unsubscribing_gives_up_leaves_and_waits_for_the_answer_even_from_within_a_join() {
    let mut script = Script::subscribed(&[Assignor::CooperativeSticky]);
    script.settle(1, Assignor::CooperativeSticky, &[0]);
    script.heartbeat_says(ErrorCode::RebalanceInProgress);
    script.join();
    script.member.unsubscribe();
    let change = script.hand_over();
    assert_eq!((change.revoked, change.lost), (partitions(&[0]), false));
    script.member.handed_over();
    let Step::Send(MemberRequest::Leave(leave)) = script.next() else { panic!("it leaves") };
    assert_eq!(leave.members[0].member_id, "m");
    // The answer to the join that was given up on.
    script.answer_join(2, false, Assignor::CooperativeSticky);
    assert_eq!(script.wait(), None);
    script.member.left();
    assert!(matches!(script.next(), Step::Left));
    script.member.subscribe(names(&["t"]));
    script.join();
}

#[test]
fn who_leaves_in_the_middle_of_a_rebalance_goes_on_with_it_until_the_last_commits_are_through() {
    let mut script = Script::subscribed(&[Assignor::CooperativeSticky]);
    script.settle(1, Assignor::CooperativeSticky, &[0]);
    script.heartbeat_says(ErrorCode::RebalanceInProgress);
    script.join();
    script.member.unsubscribe();
    assert_eq!(script.hand_over().revoked, partitions(&[0]));
    let old = script.member.identity().unwrap();
    assert!(script.member.has_moved_on(&old), "a commit that is refused now is repeated");
    // No commit is taken between the join and the sync: it leads, and without it there is no sync.
    script.answer_join(2, true, Assignor::CooperativeSticky);
    assert!(matches!(script.next(), Step::CountPartitions(_)));
    script.member.partitions_counted(script.now, Ok([(Arc::from("t"), 1)].into()));
    assert_eq!(script.sync().generation_id, 2);
    script.answer_sync(&[0]);
    assert_eq!(script.member.identity().unwrap().epoch, 2, "the one to commit in");
    script.pass(Duration::from_secs(3));
    assert_eq!(script.heartbeat(), 2, "its session goes on meanwhile");
    script.wait();
    script.member.handed_over();
    assert!(matches!(script.next(), Step::Send(MemberRequest::Leave(_))), "nothing of its new share is taken over");
    script.member.left();
    assert!(matches!(script.next(), Step::Left));
}

#[test]
fn who_is_fenced_while_it_leaves_leaves_all_the_same() {
    let mut script = Script::subscribed(&[Assignor::CooperativeSticky]);
    script.settle(1, Assignor::CooperativeSticky, &[0]);
    script.member.unsubscribe();
    script.hand_over();
    script.member.fenced_by_commit();
    assert_eq!(script.member.identity(), None);
    script.member.handed_over();
    assert!(matches!(script.next(), Step::Left), "there is no membership to end");
}

#[test]
fn other_topics_or_other_numbers_of_partitions_mean_another_join() {
    let mut script = Script::subscribed(&[Assignor::Range]);
    script.join();
    script.answer_join(1, true, Assignor::Range);
    script.next();
    script.member.partitions_counted(script.now, Ok([(Arc::from("t"), 1)].into()));
    script.sync();
    script.answer_sync(&[0]);
    script.hand_over();
    script.member.handed_over();
    script.member.partitions_seen(|_| Some(1));
    script.member.partitions_seen(|_| None);
    assert!(script.wait().is_some());
    script.member.partitions_seen(|_| Some(2));
    script.hand_over();
    script.member.handed_over();
    assert_eq!(script.join().reason.as_deref(), Some("the partitions of t changed"));
    script.answer_join(2, false, Assignor::Range);
    script.sync();
    script.answer_sync(&[0]);
    script.hand_over();
    script.member.handed_over();
    script.member.subscribe(names(&["t", "u"]));
    script.hand_over();
    script.member.handed_over();
    assert_eq!(script.join().reason.as_deref(), Some("the subscription changed"));
}

#[test]
fn a_commit_of_the_old_generation_is_repeated_during_a_rebalance_and_fences_at_rest() {
    let mut script = Script::subscribed(&[Assignor::CooperativeSticky]);
    script.settle(1, Assignor::CooperativeSticky, &[0]);
    let identity = script.member.identity().unwrap();
    assert!(!script.member.has_moved_on(&identity));
    script.heartbeat_says(ErrorCode::RebalanceInProgress);
    script.join();
    assert!(script.member.has_moved_on(&identity), "the new generation is on its way");
    script.answer_join(2, false, Assignor::CooperativeSticky);
    script.sync();
    script.answer_sync(&[0]);
    script.wait();
    assert!(script.member.has_moved_on(&identity));
    script.member.fenced_by_commit();
    assert!(script.hand_over().lost);
}

#[test]
fn a_static_leader_that_came_back_leaves_the_assignment_alone() {
    let mut script = Script::new(&[Assignor::Range], |config| config.group_instance_id = Some("i".into()));
    script.member.subscribe(names(&["t"]));
    script.join();
    let response = JoinGroupResponse {
        generation_id: 4,
        protocol_name: Some("range".into()),
        member_id: "m2".into(),
        leader: "m2".into(),
        skip_assignment: true,
        ..Default::default()
    };
    script.member.joined(script.now, Ok(response)).unwrap();
    assert!(script.sync().assignments.is_empty());
    script.answer_sync(&[3]);
    assert_eq!(script.hand_over().assigned, partitions(&[3]));
}

#[test]
fn what_holds_a_member_up_is_logged_once_for_each_cause() {
    let warnings = Warnings::default();
    let _here = tracing::subscriber::set_default(warnings.clone());
    let mut script = Script::subscribed(&[Assignor::Range]);
    let refuse = |script: &mut Script, code: ErrorCode| {
        script.join();
        let response = refusal(|response: &mut JoinGroupResponse| response.error_code = code.code());
        script.member.joined(script.now, response).unwrap();
        script.now = script.wait().unwrap();
    };
    let (loading, gone) = (ErrorCode::CoordinatorLoadInProgress, ErrorCode::CoordinatorNotAvailable);
    for (code, logged) in [(loading, 1), (loading, 1), (gone, 2), (loading, 2), (ErrorCode::RebalanceInProgress, 3)] {
        refuse(&mut script, code);
        assert_eq!(warnings.count(), logged, "{code}");
    }
    for (generation, logged) in [(1, 4), (2, 4)] {
        script.join();
        script.answer_join(generation, false, Assignor::Range);
        script.sync();
        let response = refusal(|response: &mut SyncGroupResponse| response.error_code = gone.code());
        script.member.synced(script.now, response).unwrap();
        script.now = script.wait().unwrap();
        assert_eq!(warnings.count(), logged, "a member that joins and gets no assignment says so");
    }
    // Once it has its share, it is news again.
    script.settle(3, Assignor::Range, &[0]);
    for (code, logged) in [(gone, 5), (gone, 5), (ErrorCode::None, 5), (gone, 6)] {
        script.heartbeat_says(code);
        assert_eq!(warnings.count(), logged, "{code}");
    }
    script.heartbeat_says(ErrorCode::RebalanceInProgress);
    script.hand_over();
    script.member.handed_over();
    refuse(&mut script, loading);
    assert_eq!(warnings.count(), 7);
}
