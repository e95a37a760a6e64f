//! Groups: storms of joins that never return, assignments from whoever has none to give, and more than a group may hold.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use ottla_protocol::messages::describe_groups::DescribeGroupsRequest;
use ottla_protocol::messages::find_coordinator::FindCoordinatorRequest;
use ottla_protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use ottla_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_tests::connection::RawConnection;
use ottla_tests::wait::{PATIENCE, wait_for};

use crate::victim::Victim;

const UNKNOWN_SERVER_ERROR: i16 = -1;
const COORDINATOR_NOT_AVAILABLE: i16 = 15;
const UNKNOWN_MEMBER_ID: i16 = 25;
const INVALID_REQUEST: i16 = 42;
const MEMBER_ID_REQUIRED: i16 = 79;
const GROUP_MAX_SIZE_REACHED: i16 = 81;

/// A victim whose topic of groups is there, and whose groups begin at once.
fn victim() -> Result<Victim> {
    victim_with(&[])
}

/// The same with further settings.
fn victim_with(settings: &[(&str, &str)]) -> Result<Victim> {
    let settings = [&[("group.initial.rebalance.delay.ms", "0")], settings].concat();
    let mut victim = Victim::start_with(&settings)?;
    let find = FindCoordinatorRequest { coordinator_keys: vec!["group".to_owned()], ..Default::default() };
    let found = victim.ask(6, &find)?.coordinators;
    ensure!(found[0].error_code == 0, "{found:?}");
    victim.rebase()?;
    Ok(victim)
}

fn join(group: &str, member_id: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.to_owned(),
        session_timeout_ms: 6_000,
        rebalance_timeout_ms: 6_000,
        member_id: member_id.to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![protocol("range", b"whatever")],
        ..Default::default()
    }
}

fn protocol(name: &str, metadata: &'static [u8]) -> JoinGroupRequestProtocol {
    JoinGroupRequestProtocol { name: name.to_owned(), metadata: Bytes::from_static(metadata) }
}

fn sync(group: &str, joined: &JoinGroupResponse, bytes: usize) -> SyncGroupRequest {
    let assignment =
        SyncGroupRequestAssignment { member_id: joined.member_id.clone(), assignment: Bytes::from(vec![b'x'; bytes]) };
    SyncGroupRequest {
        group_id: group.to_owned(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        protocol_type: Some("consumer".to_owned()),
        protocol_name: Some("range".to_owned()),
        assignments: vec![assignment],
        ..Default::default()
    }
}

/// State and number of members.
fn state(victim: &Victim, group: &str) -> Result<(String, usize)> {
    let request = DescribeGroupsRequest { groups: vec![group.to_owned()], ..Default::default() };
    let described = victim.ask(5, &request)?.groups.into_iter().next().context("the group")?;
    Ok((described.group_state, described.members.len()))
}

#[test]
fn a_storm_of_joins_that_never_return_leaves_nothing_behind() {
    let mut victim = victim().unwrap();
    let mut connection = victim.connect().unwrap();
    for number in 0..20_000 {
        let group = format!("storm-{}", number % 50);
        assert_eq!(connection.ask(9, &join(&group, "")).unwrap().error_code, MEMBER_ID_REQUIRED);
    }
    drop(connection);
    victim.check("20,000 ids that nobody joins with").unwrap();
    // A group in the storm serves whoever comes back, once the ids that do not have had their time.
    let first = victim.ask(9, &join("storm-0", "")).unwrap().member_id;
    let joined = victim.ask(9, &join("storm-0", &first)).unwrap();
    assert_eq!((joined.error_code, joined.leader), (0, first));
    let highest = victim.process().usage().unwrap().resident_bytes_max;
    assert!(highest < 200 << 20, "{highest} bytes at the highest");
}

#[test]
fn joins_whose_connections_go_away_do_not_keep_them() {
    let mut victim = victim().unwrap();
    let mut waiting: Vec<RawConnection> = Vec::new();
    let leader = victim.ask(3, &join("group", "")).unwrap();
    for _ in 0..300 {
        let mut connection = victim.connect().unwrap();
        connection.send(3, &join("group", "")).unwrap();
        waiting.push(connection);
    }
    wait_for("all have joined", PATIENCE, || Ok((state(&victim, "group")?.1 == 301).then_some(()))).unwrap();
    drop(waiting);
    victim.check("300 joins that nobody waits for").unwrap();
    // The leader leaves them behind: those who wait are in the next generation, and out again when they do not sync.
    let joined = victim.ask(3, &join("group", &leader.member_id)).unwrap();
    assert_eq!((joined.error_code, joined.members.len()), (0, 301));
    assert_eq!(victim.ask(3, &sync_v3(sync("group", &joined, 10))).unwrap().error_code, 0);
    let gone = || Ok((state(&victim, "group")?.1 <= 1).then_some(()));
    wait_for("the silent ones are gone", PATIENCE, gone).unwrap();
    victim.check("after 300 silent members").unwrap();
}

/// The same for a version that does not name the protocol.
fn sync_v3(request: SyncGroupRequest) -> SyncGroupRequest {
    SyncGroupRequest { protocol_type: None, protocol_name: None, ..request }
}

#[test]
fn assignments_from_whoever_has_none_to_give_change_nothing() {
    let mut victim = victim().unwrap();
    let leader = victim.ask(3, &join("group", "")).unwrap();
    let before = state(&victim, "group").unwrap();
    assert_eq!(before, ("CompletingRebalance".to_owned(), 1));
    let stranger = JoinGroupResponse { member_id: "stranger".to_owned(), ..leader.clone() };
    for round in 0..12 {
        for bytes in [0, 1_000, 20 << 20] {
            let answer = victim.ask(5, &sync("group", &stranger, bytes)).unwrap();
            assert_eq!(answer.error_code, UNKNOWN_MEMBER_ID, "{bytes} bytes from a stranger");
            assert_eq!(state(&victim, "group").unwrap(), before);
        }
        // More than a record of the group may hold: refused, and the leader can try again.
        let answer = victim.ask(5, &sync("group", &leader, 20 << 20)).unwrap();
        assert_eq!(answer.error_code, UNKNOWN_SERVER_ERROR);
        assert_eq!(state(&victim, "group").unwrap(), before);
        if round == 5 {
            // What the allocator keeps of requests of this size it has by now.
            victim.rebase().unwrap();
        }
    }
    victim.check("assignments of 20 MiB").unwrap();
    let answer = victim.ask(5, &sync("group", &leader, 1_000)).unwrap();
    assert_eq!((answer.error_code, answer.assignment.len()), (0, 1_000));
    assert_eq!(state(&victim, "group").unwrap(), ("Stable".to_owned(), 1));
    // Assignments for a hundred thousand strangers are left out of the record.
    let again = victim.ask(3, &join("group", &leader.member_id)).unwrap();
    let mut request = sync("group", &again, 5);
    let share = |number: usize| SyncGroupRequestAssignment {
        member_id: format!("stranger-{number}"),
        assignment: Bytes::from_static(b"something"),
    };
    request.assignments.extend((0..100_000).map(share));
    assert_eq!(victim.ask(5, &request).unwrap().error_code, 0);
    victim.check("100,000 assignments").unwrap();
}

#[test]
fn assignments_from_a_member_that_does_not_lead_change_nothing() {
    let mut victim = victim().unwrap();
    let mut follower = victim.connect().unwrap();
    let first = victim.ask(3, &join("group", "")).unwrap();
    follower.send(3, &join("group", "")).unwrap();
    wait_for("both are in", PATIENCE, || Ok((state(&victim, "group")?.1 == 2).then_some(()))).unwrap();
    let leader = victim.ask(3, &join("group", &first.member_id)).unwrap();
    let (_, joined) = follower.read_response::<JoinGroupRequest>(3).unwrap();
    assert_eq!((leader.error_code, joined.error_code, &joined.leader), (0, 0, &leader.member_id));

    // It gives itself something while the leader's word is awaited: it waits like any other.
    let mut usurping = sync_v3(sync("group", &joined, 1_000));
    let of_leader = SyncGroupRequestAssignment { member_id: leader.member_id.clone(), assignment: Bytes::new() };
    usurping.assignments.push(of_leader);
    follower.send(3, &usurping).unwrap();
    let of_follower =
        SyncGroupRequestAssignment { member_id: joined.member_id.clone(), assignment: Bytes::from_static(b"little") };
    let mut leading = sync_v3(sync("group", &leader, 10));
    leading.assignments.push(of_follower);
    // Whichever of the two comes first: what counts is the leader's.
    assert_eq!(victim.ask(3, &leading).unwrap().assignment.len(), 10);
    let (_, synced) = follower.read_response::<SyncGroupRequest>(3).unwrap();
    assert_eq!((synced.error_code, synced.assignment.as_ref()), (0, &b"little"[..]));
    let again = follower.ask(3, &usurping).unwrap();
    assert_eq!((again.error_code, again.assignment.as_ref()), (0, &b"little"[..]), "and when the group is stable");
    drop(follower);
    victim.check("assignments of a follower").unwrap();
}

#[test]
fn one_member_more_than_a_group_may_have_is_refused() {
    let mut victim = victim_with(&[("group.max.size", "3")]).unwrap();
    let leader = victim.ask(3, &join("group", "")).unwrap();
    let mut waiting: Vec<RawConnection> = (0..2).map(|_| victim.connect().unwrap()).collect();
    waiting.iter_mut().for_each(|connection| {
        connection.send(3, &join("group", "")).unwrap();
    });
    wait_for("three are in", PATIENCE, || Ok((state(&victim, "group")?.1 == 3).then_some(()))).unwrap();
    let joined = victim.ask(3, &join("group", &leader.member_id)).unwrap();
    assert_eq!((joined.error_code, joined.members.len()), (0, 3));
    for version in [0, 3, 9] {
        assert_eq!(victim.ask(version, &join("group", "")).unwrap().error_code, GROUP_MAX_SIZE_REACHED, "v{version}");
    }
    assert_eq!(state(&victim, "group").unwrap().1, 3);
    assert_eq!(victim.ask(3, &sync_v3(sync("group", &joined, 10))).unwrap().error_code, 0, "who is in may stay");
    drop(waiting);
    victim.check("a member too many").unwrap();
}

#[test]
fn more_than_a_group_may_hold_is_refused() {
    let mut victim = victim().unwrap();
    let mut many = join("many", "");
    many.protocols = (0..100_000).map(|number| protocol(&format!("{number:060}"), b"")).collect();
    assert_eq!(victim.ask(9, &many).unwrap().error_code, GROUP_MAX_SIZE_REACHED);
    let mut large = join("large", "");
    large.protocols[0].metadata = Bytes::from(vec![0; 30 << 20]);
    for round in 0..10 {
        assert_eq!(victim.ask(9, &large).unwrap().error_code, GROUP_MAX_SIZE_REACHED);
        if round == 4 {
            // What the allocator keeps of requests of this size it has by now.
            victim.rebase().unwrap();
        }
    }
    victim.check("joins of many megabytes").unwrap();
    let longest = "x".repeat(i16::MAX as usize);
    let joined = victim.ask(3, &join(&longest, "")).unwrap();
    assert_eq!(joined.error_code, 0);
    let synced = victim.ask(5, &sync(&longest, &joined, 10)).unwrap();
    assert_eq!(synced.error_code, 0, "the longest name stands in a record like any other");
    victim.check("the longest name").unwrap();
}

#[test]
fn commits_of_ten_thousand_groups_are_kept_and_cost_little() {
    let mut victim = victim().unwrap();
    victim.create_topic("flights", 1, &[]).unwrap();
    victim.rebase().unwrap();
    let mut connection = victim.connect().unwrap();
    // Many in flight: their answers share the disk.
    for round in 0..200 {
        for number in 0..50 {
            connection.send(9, &commit(&format!("group-{round}-{number}"), number, "")).unwrap();
        }
        for number in 0..50 {
            let (_, answer) = connection.read_response::<OffsetCommitRequest>(9).unwrap();
            let code = answer.topics[0].partitions[0].error_code;
            assert_eq!(code, 0, "group-{round}-{number}");
        }
    }
    drop(connection);
    ensure_small(&victim).unwrap();
    victim.check("10,000 groups").unwrap();
}

/// Commits an offset of `flights`, in no member's name.
fn commit(group: &str, offset: i64, text: &str) -> OffsetCommitRequest {
    let committed_metadata = Some(text.to_owned());
    let partition = OffsetCommitRequestPartition { committed_offset: offset, committed_metadata, ..Default::default() };
    let topic =
        OffsetCommitRequestTopic { name: "flights".to_owned(), partitions: vec![partition], ..Default::default() };
    OffsetCommitRequest { group_id: group.to_owned(), topics: vec![topic], ..Default::default() }
}

#[test]
fn members_of_many_groups_say_no_more_together_than_all_may() {
    let mut victim = victim_with(&[("group.max.session.timeout.ms", "1800000")]).unwrap();
    for number in 0..60 {
        let mut connection = victim.connect().unwrap();
        let mut large = join(&format!("large-{number}"), "");
        (large.session_timeout_ms, large.rebalance_timeout_ms) = (1_800_000, 1_800_000);
        large.protocols[0].metadata = Bytes::from(vec![0; 8 << 20]);
        let answer = connection.ask(3, &large).unwrap();
        assert_eq!(answer.error_code, if number < 15 { 0 } else { COORDINATOR_NOT_AVAILABLE }, "{number}");
    }
    let highest = victim.process().usage().unwrap().resident_bytes_max;
    assert!(highest < 400 << 20, "{highest} bytes at the highest");
    // There is room for an ordinary member.
    let joined = victim.ask(3, &join("ordinary", "")).unwrap();
    assert_eq!((joined.error_code, joined.members.len()), (0, 1));
    assert_eq!(victim.ask(3, &sync_v3(sync("ordinary", &joined, 1_000))).unwrap().error_code, 0);
    victim.serve_healthy().unwrap();
}

#[test]
fn what_is_asked_for_ten_thousand_times_is_not_told_ten_thousand_times() {
    let mut victim = victim().unwrap();
    victim.create_topic("flights", 1, &[]).unwrap();
    let leader = victim.ask(3, &join("group", "")).unwrap();
    assert_eq!(victim.ask(3, &sync_v3(sync("group", &leader, 10 << 20))).unwrap().error_code, 0);
    for version in [5, 6] {
        let request = DescribeGroupsRequest { groups: vec!["group".to_owned(); 10_000], ..Default::default() };
        let groups = victim.ask(version, &request).unwrap().groups;
        let told = groups.iter().filter(|group| group.error_code == 0);
        let bytes: usize = told.flat_map(|group| &group.members).map(|member| member.member_assignment.len()).sum();
        assert!((50 << 20..=64 << 20).contains(&bytes), "{bytes} bytes");
        let last = groups.last().unwrap();
        assert_eq!((groups.len(), last.error_code), (10_000, INVALID_REQUEST));
        assert_eq!(last.error_message.as_ref().map(|text| text.contains("too large")), (version == 6).then_some(true));
    }
    let answer = victim.ask(9, &commit("simple", 5, &"x".repeat(4_096))).unwrap();
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    let of = |partitions: usize| {
        let topic = OffsetFetchRequestTopics {
            name: "flights".to_owned(),
            partition_indexes: vec![0; partitions],
            ..Default::default()
        };
        OffsetFetchRequestGroup { group_id: "simple".to_owned(), topics: Some(vec![topic]), ..Default::default() }
    };
    let all = OffsetFetchRequestGroup { topics: None, ..of(0) };
    let request = OffsetFetchRequest { groups: vec![of(1), of(1_000_000), all], ..Default::default() };
    let groups = victim.ask(9, &request).unwrap().groups;
    let codes: Vec<i16> = groups.iter().map(|group| group.error_code).collect();
    assert_eq!(codes, [0, INVALID_REQUEST, INVALID_REQUEST]);
    let highest = victim.process().usage().unwrap().resident_bytes_max;
    assert!(highest < 600 << 20, "{highest} bytes at the highest");
    victim.serve_healthy().unwrap();
}

fn ensure_small(victim: &Victim) -> Result<()> {
    let highest = victim.process().usage()?.resident_bytes_max;
    ensure!(highest < 150 << 20, "{highest} bytes at the highest");
    Ok(())
}
