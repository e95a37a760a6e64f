//! Groups of the consumer protocol: epochs that are none, patterns that blow up, members that say too much, storms of members and
//! groups that never come back.

use ottla_protocol::Uuid;
use ottla_protocol::messages::consumer_group_describe::ConsumerGroupDescribeRequest;
use ottla_protocol::messages::consumer_group_heartbeat::{ConsumerGroupHeartbeatRequest, TopicPartitions};
use ottla_protocol::messages::find_coordinator::FindCoordinatorRequest;
use ottla_tests::wait::{PATIENCE, wait_for};

use crate::victim::Victim;

const INVALID_REQUEST: i16 = 42;
const GROUP_MAX_SIZE_REACHED: i16 = 81;
const FENCED_MEMBER_EPOCH: i16 = 110;
const INVALID_REGULAR_EXPRESSION: i16 = 128;

/// A victim whose topic of groups is there, and whose members may be silent for so many milliseconds.
fn victim(session_timeout_ms: &str) -> Victim {
    let settings = [
        ("group.consumer.session.timeout.ms", session_timeout_ms),
        ("group.consumer.min.session.timeout.ms", "1"),
        ("group.consumer.max.size", "1000"),
    ];
    let mut victim = Victim::start_with(&settings).expect("a broker starts");
    let find = FindCoordinatorRequest { coordinator_keys: vec!["group".to_owned()], ..Default::default() };
    assert_eq!(victim.ask(6, &find).expect("an answer").coordinators[0].error_code, 0);
    victim.rebase().expect("usage can be read");
    victim
}

fn enter(group: &str, member: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.to_owned(),
        member_id: member.to_owned(),
        rebalance_timeout_ms: 3_000,
        subscribed_topic_names: Some(vec!["healthy".to_owned()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    }
}

fn error(victim: &Victim, request: &ConsumerGroupHeartbeatRequest) -> i16 {
    victim.ask(1, request).expect("an answer").error_code
}

fn members(victim: &Victim, group: &str) -> usize {
    let request = ConsumerGroupDescribeRequest { group_ids: vec![group.to_owned()], ..Default::default() };
    victim.ask(1, &request).expect("an answer").groups[0].members.len()
}

#[test]
fn epochs_that_are_none_change_nothing() {
    let mut victim = victim("45000");
    assert_eq!(error(&victim, &enter("g", "m")), 0);
    for epoch in [-3, -4, i32::MIN] {
        let request = ConsumerGroupHeartbeatRequest { member_epoch: epoch, ..enter("g", "m") };
        assert_eq!(error(&victim, &request), INVALID_REQUEST, "{epoch}");
    }
    for epoch in [1, 3, i32::MAX] {
        let request = ConsumerGroupHeartbeatRequest { member_epoch: epoch, ..enter("g", "m") };
        assert_eq!(error(&victim, &request), FENCED_MEMBER_EPOCH, "{epoch}");
    }
    assert_eq!(members(&victim, "g"), 1);
    victim.check("epochs that are none").unwrap();
}

#[test]
fn patterns_that_blow_up_are_refused_or_take_linear_time() {
    let mut victim = victim("45000");
    for number in 0..50 {
        victim.create_topic(&format!("{}{number}", "a".repeat(240)), 1, &[]).unwrap();
    }
    victim.rebase().unwrap();
    let by = |member: &str, pattern: &str| ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some(pattern.to_owned()),
        ..enter("g", member)
    };
    let deep = format!("{}a{}", "(".repeat(5_000), ")".repeat(5_000));
    let long = "a".repeat(20_000);
    let bombs = ["(", "a(?=b)", r"(a)\1", "((((a{100}){100}){100}){100}){100}", r"(\pL{999}){999}", &deep, &long];
    for bomb in bombs {
        let start: String = bomb.chars().take(20).collect();
        assert_eq!(error(&victim, &by("m", bomb)), INVALID_REGULAR_EXPRESSION, "{start}");
        victim.check(&start).unwrap();
    }
    for catastrophe in ["(a+)+b", "(a|aa)*b", "(.*)(.*)(.*)(.*)(.*)(.*)b", "(a?){240}a{240}", "(a*)*(a*)*(a*)*b"] {
        assert_eq!(error(&victim, &by("m", catastrophe)), 0, "{catastrophe}");
        victim.check(catastrophe).unwrap();
    }
}

#[test]
fn members_that_say_too_much_are_refused_and_forgotten() {
    let mut victim = victim("15000");
    let topics: Vec<String> = (0..28_000).map(|number| format!("{number}-{}", "x".repeat(240))).collect();
    let much = |member: &str| ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: Some(topics.clone()),
        ..enter("g", member)
    };
    let answers = ["m0", "m1", "m2"].map(|member| error(&victim, &much(member)));
    assert_eq!(answers, [0, GROUP_MAX_SIZE_REACHED, GROUP_MAX_SIZE_REACHED]);

    // What it says that it owns is not kept at all.
    let owned = (0..200_u8)
        .map(|number| TopicPartitions { topic_id: Uuid([number; 16]), partitions: (0..5_000).collect() })
        .collect();
    let request = ConsumerGroupHeartbeatRequest { member_epoch: 2, topic_partitions: Some(owned), ..enter("g", "m0") };
    assert_eq!(error(&victim, &request), 0);
    wait_for("the session ends", PATIENCE, || Ok((members(&victim, "g") == 0).then_some(()))).unwrap();
    victim.check("members that say too much").unwrap();
}

#[test]
fn a_storm_of_members_that_never_come_back_leaves_nothing_behind() {
    let mut victim = victim("5000");
    let mut connection = victim.connect().unwrap();
    let (mut taken, mut refused) = (0, 0);
    for number in 0..3_000 {
        match connection.ask(1, &enter("storm", &format!("m{number}"))).unwrap().error_code {
            0 => taken += 1,
            GROUP_MAX_SIZE_REACHED => refused += 1,
            other => panic!("member {number} gets {other}"),
        }
    }
    assert!(taken >= 1_000 && refused > 0, "{taken} taken, {refused} refused");
    for number in 0..2_000 {
        assert_eq!(connection.ask(1, &enter(&format!("group-{number}"), "m")).unwrap().error_code, 0);
    }
    drop(connection);
    let last = "group-1999";
    wait_for("sessions end", PATIENCE, || {
        Ok((members(&victim, "storm") == 0 && members(&victim, last) == 0).then_some(()))
    })
    .unwrap();
    victim.check("members that never come back").unwrap();
}
