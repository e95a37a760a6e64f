//! ConsumerGroupHeartbeat (68) and ConsumerGroupDescribe (69): members of the consumer protocol, their commits, and groups that
//! members of both protocols share (KIP-848).
//!
//! The recorded node has `group.consumer.assignment.interval.ms=0`: with a second between two assignments it would depend on the
//! machine which of them a step sees.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use ottla_protocol::messages::consumer_group_describe::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
use ottla_protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use ottla_protocol::messages::delete_groups::DeleteGroupsRequest;
use ottla_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla_protocol::messages::describe_groups::DescribeGroupsRequest;
use ottla_protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use ottla_protocol::messages::list_groups::ListGroupsRequest;
use ottla_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_protocol::messages::sync_group::SyncGroupRequest;
use ottla_protocol::{ApiKey, Uuid};

use super::groups::{await_code, heartbeat as classic_heartbeat, join, join_ready, stable, stable_of, sync};
use crate::reference::{Play, Scenario};
use crate::wait::{PATIENCE, wait_for};

const PARTITIONS: i32 = 4;
/// The newest version of ConsumerGroupHeartbeat.
const NEWEST: i16 = 1;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::each_version("consumer_group_heartbeat/refused", ApiKey::ConsumerGroupHeartbeat, refused),
        Scenario::each_version("consumer_group_heartbeat/life", ApiKey::ConsumerGroupHeartbeat, life),
        Scenario::each_version("consumer_group_heartbeat/static", ApiKey::ConsumerGroupHeartbeat, static_members),
        Scenario::once("consumer_group_heartbeat/patterns", NEWEST, patterns),
        Scenario::once("consumer_group_heartbeat/topics", NEWEST, topics),
        Scenario::each_version("consumer_group_describe/all", ApiKey::ConsumerGroupDescribe, describes),
        Scenario::each_version("consumer_group_offsets/commit", ApiKey::OffsetCommit, commits),
        Scenario::each_version("consumer_group_offsets/fetch", ApiKey::OffsetFetch, fetches),
        Scenario::once("consumer_group_operators/all", 5, operators),
        Scenario::once("consumer_group_migration/shared", NEWEST, shared),
        Scenario::once("consumer_group_migration/there_and_back", NEWEST, there_and_back),
        Scenario::once("consumer_group_migration/refused", NEWEST, migration_refused),
        Scenario::once("consumer_group_migration/empty_groups", NEWEST, empty_groups),
    ]
}

/// A request that says nothing beside the member's epoch.
fn beat(play: &Play, group: &str, member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: play.name(group),
        member_id: member.to_owned(),
        member_epoch: epoch,
        ..Default::default()
    }
}

/// The first request of a member that reads the topic `t`.
fn enter(play: &Play, group: &str, member: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec![play.name("t")]),
        topic_partitions: Some(Vec::new()),
        ..beat(play, group, member, 0)
    }
}

/// A heartbeat of a member that reads these partitions of a topic.
fn reads(
    play: &Play,
    group: &str,
    member: (&str, i32),
    topic_id: Uuid,
    partitions: &[i32],
) -> ConsumerGroupHeartbeatRequest {
    let topic = TopicPartitions { topic_id, partitions: partitions.to_vec() };
    ConsumerGroupHeartbeatRequest { topic_partitions: Some(vec![topic]), ..beat(play, group, member.0, member.1) }
}

/// A heartbeat that is not written down and must be accepted.
fn ask(play: &mut Play, request: &ConsumerGroupHeartbeatRequest) -> Result<ConsumerGroupHeartbeatResponse> {
    let answer = play.ask(NEWEST, request)?;
    ensure!(answer.error_code == 0, "heartbeat: error {} {:?}", answer.error_code, answer.error_message);
    Ok(answer)
}

fn leave(play: &mut Play, group: &str, member: &str) -> Result<()> {
    let request = beat(play, group, member, -1);
    ask(play, &request).map(|_| ())
}

/// The topic `t`, which the coordinator knows: it hears of a topic a little after everybody else.
fn known_topic(play: &mut Play) -> Result<Uuid> {
    play.await_coordinator()?;
    let id = play.create_topic("t", PARTITIONS, &[])?;
    wait_for("the coordinator knows the topic", PATIENCE, || {
        let answer = ask(play, &enter(play, "first", "m"))?;
        leave(play, "first", "m")?;
        Ok(answer.assignment.is_some_and(|assignment| !assignment.topic_partitions.is_empty()).then_some(()))
    })?;
    let groups_names = vec![play.name("first")];
    play.ask(1, &DeleteGroupsRequest { groups_names })?;
    Ok(id)
}

/// `m` reads 0 and 1, `n` reads 2 and 3, both in epoch 3.
fn two_members(play: &mut Play, group: &str, topic_id: Uuid) -> Result<()> {
    ask(play, &enter(play, group, "m"))?;
    ask(play, &enter(play, group, "n"))?;
    ask(play, &beat(play, group, "m", 2))?;
    ask(play, &reads(play, group, ("m", 2), topic_id, &[0, 1]))?;
    ask(play, &beat(play, group, "n", 3))?;
    Ok(())
}

fn refused(play: &mut Play) -> Result<()> {
    let t = known_topic(play)?;
    let of = |play: &Play| enter(play, "g", "m");
    let empty = || Some(String::new());
    let join = of(play);
    play.step("no_group", &ConsumerGroupHeartbeatRequest { group_id: String::new(), ..join.clone() })?;
    if play.version >= 1 {
        play.step("join_without_id", &ConsumerGroupHeartbeatRequest { member_id: String::new(), ..join.clone() })?;
    }
    play.step("no_id", &beat(play, "g", "", 1))?;
    play.step("leave_without_id", &beat(play, "g", "", -1))?;
    play.step("empty_instance", &ConsumerGroupHeartbeatRequest { instance_id: empty(), ..join.clone() })?;
    play.step("empty_rack", &ConsumerGroupHeartbeatRequest { rack_id: empty(), ..join.clone() })?;
    play.step("no_rebalance_timeout", &ConsumerGroupHeartbeatRequest { rebalance_timeout_ms: -1, ..join.clone() })?;
    play.step("no_partitions", &ConsumerGroupHeartbeatRequest { topic_partitions: None, ..join.clone() })?;
    let owned = reads(play, "g", ("m", 0), t, &[0]).topic_partitions;
    play.step("owns_partitions", &ConsumerGroupHeartbeatRequest { topic_partitions: owned, ..join.clone() })?;
    play.step("no_subscription", &ConsumerGroupHeartbeatRequest { subscribed_topic_names: None, ..join.clone() })?;
    play.step("epoch_minus_3", &beat(play, "g", "m", -3))?;
    play.step("epoch_minimum", &beat(play, "g", "m", i32::MIN))?;
    play.step("static_leave_without_name", &beat(play, "g", "m", -2))?;
    let assignor = Some("sticky".to_owned());
    play.step("unknown_assignor", &ConsumerGroupHeartbeatRequest { server_assignor: assignor, ..join.clone() })?;
    play.step("unknown_group", &beat(play, "g", "m", 1))?;
    play.step("leave_unknown_group", &beat(play, "g", "m", -1))?;
    ask(play, &join)?;
    play.step("unknown_member", &beat(play, "g", "x", 1))?;
    play.step("leave_of_unknown_member", &beat(play, "g", "x", -1))?;
    play.step("epoch_before", &beat(play, "g", "m", 1))?;
    play.step("epoch_ahead", &beat(play, "g", "m", 3))?;
    leave(play, "g", "m")
}

fn life(play: &mut Play) -> Result<()> {
    let t = known_topic(play)?;
    play.step("first_joins", &enter(play, "g", "m"))?;
    play.step("keeps_up", &beat(play, "g", "m", 2))?;
    let everything = ConsumerGroupHeartbeatRequest { member_epoch: 2, ..reads(play, "g", ("m", 2), t, &[0, 1, 2, 3]) };
    let full = enter(play, "g", "m");
    play.step(
        "says_everything",
        &ConsumerGroupHeartbeatRequest {
            member_epoch: 2,
            topic_partitions: everything.topic_partitions.clone(),
            ..full.clone()
        },
    )?;
    play.step("joins_again", &full)?;
    play.step("second_joins", &enter(play, "g", "n"))?;
    play.step("first_is_told", &beat(play, "g", "m", 2))?;
    play.step("second_waits", &beat(play, "g", "n", 3))?;
    play.step("first_still_reads", &everything)?;
    play.step("first_gave_up", &reads(play, "g", ("m", 2), t, &[0, 1]))?;
    play.step("answer_was_lost", &reads(play, "g", ("m", 2), t, &[0, 1]))?;
    play.step("too_much_for_the_old_epoch", &reads(play, "g", ("m", 2), t, &[0, 1, 2]))?;
    play.step("nothing_said_for_the_old_epoch", &beat(play, "g", "m", 2))?;
    play.step("second_gets", &beat(play, "g", "n", 3))?;
    play.step(
        "rack_and_timeout",
        &ConsumerGroupHeartbeatRequest {
            rack_id: Some("rack".to_owned()),
            rebalance_timeout_ms: 5_000,
            ..beat(play, "g", "m", 3)
        },
    )?;
    let range = Some("range".to_owned());
    play.step("asks_for_range", &ConsumerGroupHeartbeatRequest { server_assignor: range, ..beat(play, "g", "m", 3) })?;
    let none = Some(Vec::new());
    play.step(
        "unsubscribes",
        &ConsumerGroupHeartbeatRequest { subscribed_topic_names: none, ..beat(play, "g", "m", 3) },
    )?;
    play.step("still_reads", &reads(play, "g", ("m", 3), t, &[0, 1]))?;
    play.step(
        "reads_nothing",
        &ConsumerGroupHeartbeatRequest { topic_partitions: Some(Vec::new()), ..beat(play, "g", "m", 3) },
    )?;
    play.step("other_gets_everything", &beat(play, "g", "n", 3))?;
    play.step("leaves", &beat(play, "g", "n", -1))?;
    play.step("leaves_again", &beat(play, "g", "n", -1))?;
    play.step("subscribes_again", &ConsumerGroupHeartbeatRequest { member_epoch: 4, ..enter(play, "g", "m") })?;
    leave(play, "g", "m")?;
    play.step("joins_the_empty_group", &enter(play, "g", "m"))?;
    leave(play, "g", "m")?;
    play.step(
        "joins_for_nothing",
        &ConsumerGroupHeartbeatRequest { subscribed_topic_names: Some(Vec::new()), ..enter(play, "nothing", "m") },
    )?;
    play.step(
        "joins_for_what_is_not_there",
        &ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: Some(vec![play.name("none")]),
            ..enter(play, "missing", "m")
        },
    )?;
    play.step("timeout_of_0", &ConsumerGroupHeartbeatRequest { rebalance_timeout_ms: 0, ..enter(play, "hasty", "m") })?;
    if play.version == 0 {
        let made = play.step("broker_makes_the_id", &enter(play, "made", ""))?.context("an answer")?;
        leave(play, "made", &made.member_id.unwrap_or_default())?;
    }
    for group in ["nothing", "missing", "hasty"] {
        leave(play, group, "m")?;
    }
    Ok(())
}

fn static_members(play: &mut Play) -> Result<()> {
    known_topic(play)?;
    let named = |request: ConsumerGroupHeartbeatRequest, name: &str| ConsumerGroupHeartbeatRequest {
        instance_id: Some(name.to_owned()),
        ..request
    };
    play.step("joins", &named(enter(play, "g", "s"), "i"))?;
    play.step("joins_again", &named(enter(play, "g", "s"), "i"))?;
    play.step("another_joins", &named(enter(play, "g", "s2"), "i"))?;
    play.step("another_keeps_up", &named(beat(play, "g", "s2", 2), "i"))?;
    play.step("under_another_name", &named(beat(play, "g", "s", 2), "j"))?;
    play.step("without_name", &beat(play, "g", "s", 2))?;
    play.step("ahead", &named(beat(play, "g", "s", 9), "i"))?;
    play.step("another_goes_for_a_while", &named(beat(play, "g", "s2", -2), "i"))?;
    play.step("unknown_name_goes_for_a_while", &named(beat(play, "g", "s", -2), "j"))?;
    play.step("goes_for_a_while", &named(beat(play, "g", "s", -2), "i"))?;
    play.step("goes_again", &named(beat(play, "g", "s", -2), "i"))?;
    play.step("keeps_up_while_gone", &named(beat(play, "g", "s", 2), "i"))?;
    play.step("comes_back", &named(enter(play, "g", "s3"), "i"))?;
    play.step("the_old_one", &named(beat(play, "g", "s", 2), "i"))?;
    play.step("the_old_one_without_name", &beat(play, "g", "s", 2))?;
    play.step("another_leaves", &named(beat(play, "g", "s", -1), "i"))?;
    play.step("leaves_without_name", &beat(play, "g", "s3", -1))?;
    play.step("comes_after_all_left", &named(enter(play, "g", "s4"), "i"))?;
    play.step("leaves", &named(beat(play, "g", "s4", -1), "i")).map(|_| ())
}

/// The description of a group.
fn described(play: &mut Play, group: &str) -> Result<ConsumerGroupDescribeResponse> {
    play.ask(1, &ConsumerGroupDescribeRequest { group_ids: vec![play.name(group)], ..Default::default() })
}

fn describe(play: &Play, groups: &[&str]) -> ConsumerGroupDescribeRequest {
    let group_ids = groups.iter().map(|group| play.name(group)).collect();
    ConsumerGroupDescribeRequest { group_ids, include_authorized_operations: true }
}

fn patterns(play: &mut Play) -> Result<()> {
    known_topic(play)?;
    let by = |play: &Play, pattern: &str| ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some(pattern.to_owned()),
        ..enter(play, "g", "m")
    };
    for (step, pattern) in [
        ("unclosed", "("),
        ("bad_class", "[z-a]"),
        ("look_ahead", "a(?=b)"),
        ("back_reference", r"(a)\1"),
        ("nothing_to_repeat", "*"),
    ] {
        play.step(step, &by(play, pattern))?;
    }
    let pattern = format!("{}[a-t]", play.name(""));
    ask(play, &by(play, &pattern))?;
    // The pattern is looked up behind the answer, and the next heartbeat brings what it stands for.
    let mut epoch = 0;
    wait_for("the pattern is looked up", PATIENCE, || {
        let group = described(play, "g")?.groups.into_iter().next().context("the group")?;
        epoch = group.members.first().context("the member")?.member_epoch;
        let answer = ask(play, &beat(play, "g", "m", epoch))?;
        epoch = answer.member_epoch;
        Ok((epoch == 2).then_some(()))
    })?;
    play.step_at("stands_for_one_topic", 1, &describe(play, &["g"]))?;
    play.step(
        "not_one_any_more",
        &ConsumerGroupHeartbeatRequest { subscribed_topic_regex: Some("(".to_owned()), ..beat(play, "g", "m", epoch) },
    )?;
    play.step(
        "names_instead",
        &ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: Some(vec![play.name("t")]),
            subscribed_topic_regex: Some(String::new()),
            ..beat(play, "g", "m", epoch)
        },
    )?;
    play.step_at("stands_by_name", 1, &describe(play, &["g"]))?;
    leave(play, "g", "m")
}

fn topics(play: &mut Play) -> Result<()> {
    let t = known_topic(play)?;
    let both = |play: &Play| ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: Some(vec![play.name("t"), play.name("u")]),
        ..enter(play, "g", "m")
    };
    let request = both(play);
    play.step("one_is_not_there", &request)?;
    play.create_topic("u", 1, &[])?;
    let mut epoch = 2;
    wait_for("the new topic is assigned", PATIENCE, || {
        let answer = ask(play, &beat(play, "g", "m", epoch))?;
        epoch = answer.member_epoch;
        Ok((epoch == 3).then_some(()))
    })?;
    play.step_at("there_are_two", 1, &describe(play, &["g"]))?;
    let topics = vec![DeleteTopicState { name: Some(play.name("u")), ..Default::default() }];
    let deleted = play.ask(6, &DeleteTopicsRequest { topics, timeout_ms: 10_000, ..Default::default() })?;
    ensure!(deleted.responses[0].error_code == 0, "{deleted:?}");
    wait_for("the deleted topic is taken back", PATIENCE, || {
        let answer = ask(play, &reads(play, "g", ("m", epoch), t, &[0, 1, 2, 3]))?;
        epoch = answer.member_epoch;
        Ok((epoch == 4).then_some(()))
    })?;
    play.step_at("there_is_one", 1, &describe(play, &["g"]))?;
    leave(play, "g", "m")
}

fn describes(play: &mut Play) -> Result<()> {
    let t = known_topic(play)?;
    play.step("unknown_group", &describe(play, &["none"]))?;
    play.step("no_groups", &describe(play, &[]))?;
    ask(
        play,
        &ConsumerGroupHeartbeatRequest {
            instance_id: Some("i".to_owned()),
            rack_id: Some("rack".to_owned()),
            ..enter(play, "g", "m")
        },
    )?;
    play.step("one_member", &describe(play, &["g"]))?;
    ask(play, &enter(play, "g", "n"))?;
    ask(play, &beat(play, "g", "m", 2))?;
    play.step("in_between", &describe(play, &["g"]))?;
    ask(play, &reads(play, "g", ("m", 2), t, &[0, 1]))?;
    ask(play, &beat(play, "g", "n", 3))?;
    play.step("two_members", &describe(play, &["g"]))?;
    play.step("twice_and_unknown", &describe(play, &["g", "none", "g"]))?;
    let unasked = ConsumerGroupDescribeRequest { include_authorized_operations: false, ..describe(play, &["g"]) };
    play.step("operations_not_asked_for", &unasked)?;
    let gone = ConsumerGroupHeartbeatRequest { instance_id: Some("i".to_owned()), ..beat(play, "g", "m", -2) };
    ask(play, &gone)?;
    play.step("static_member_is_gone", &describe(play, &["g"]))?;
    leave(play, "g", "m")?;
    play.step("assigning", &describe(play, &["g"]))?;
    leave(play, "g", "n")?;
    play.step("empty", &describe(play, &["g"]))?;
    stable(play, "classic")?;
    play.step("classic_group", &describe(play, &["classic"])).map(|_| ())
}

fn commit(play: &Play, t: Uuid, member: &str, epoch: i32, partitions: &[i32]) -> OffsetCommitRequest {
    let partition = |partition: &i32| OffsetCommitRequestPartition {
        partition_index: *partition,
        committed_offset: 7,
        ..Default::default()
    };
    let partitions = partitions.iter().map(partition).collect();
    OffsetCommitRequest {
        group_id: play.name("g"),
        generation_id_or_member_epoch: epoch,
        member_id: member.to_owned(),
        topics: vec![OffsetCommitRequestTopic { name: play.name("t"), topic_id: t, partitions }],
        ..Default::default()
    }
}

fn commits(play: &mut Play) -> Result<()> {
    let t = known_topic(play)?;
    two_members(play, "g", t)?;
    play.step("in_its_epoch", &commit(play, t, "m", 3, &[0, 1]))?;
    play.step("of_what_it_does_not_read", &commit(play, t, "m", 3, &[2]))?;
    play.step("epoch_before_of_what_it_kept", &commit(play, t, "m", 2, &[0]))?;
    play.step("epoch_before_of_what_it_gave_up", &commit(play, t, "m", 2, &[2]))?;
    play.step("epoch_before_of_both", &commit(play, t, "m", 2, &[0, 2]))?;
    play.step("epoch_before_it_read", &commit(play, t, "n", 2, &[2]))?;
    play.step("older_epoch", &commit(play, t, "m", 1, &[0]))?;
    play.step("epoch_ahead", &commit(play, t, "m", 4, &[0]))?;
    play.step("epoch_minus_1", &commit(play, t, "m", -1, &[0]))?;
    play.step("nobody", &commit(play, t, "", -1, &[0]))?;
    play.step("stranger", &commit(play, t, "x", 3, &[0]))?;
    play.step("partition_that_is_not_there", &commit(play, t, "m", 3, &[0, 99]))?;
    leave(play, "g", "m")?;
    leave(play, "g", "n")?;
    play.step("nobody_in_the_empty_group", &commit(play, t, "", -1, &[0]))?;
    play.step("stranger_in_the_empty_group", &commit(play, t, "x", 3, &[0])).map(|_| ())
}

fn fetches(play: &mut Play) -> Result<()> {
    let t = known_topic(play)?;
    two_members(play, "g", t)?;
    let committed = play.ask(10, &commit(play, t, "m", 3, &[0, 1]))?;
    ensure!(committed.topics[0].partitions.iter().all(|partition| partition.error_code == 0), "{committed:?}");
    let of = |play: &Play, member: Option<&str>, epoch: i32| {
        let topics =
            vec![OffsetFetchRequestTopics { name: play.name("t"), topic_id: t, partition_indexes: vec![0, 2] }];
        let group = OffsetFetchRequestGroup {
            group_id: play.name("g"),
            member_id: member.map(str::to_owned),
            member_epoch: epoch,
            topics: Some(topics),
        };
        OffsetFetchRequest { groups: vec![group], ..Default::default() }
    };
    if play.version < 8 {
        use ottla_protocol::messages::offset_fetch::OffsetFetchRequestTopic;
        let topics = vec![OffsetFetchRequestTopic { name: play.name("t"), partition_indexes: vec![0, 2] }];
        let request = OffsetFetchRequest { group_id: play.name("g"), topics: Some(topics), ..Default::default() };
        play.step("nobody", &request)?;
    } else {
        play.step("nobody", &of(play, None, -1))?;
    }
    if play.version >= 9 {
        play.step("in_its_epoch", &of(play, Some("m"), 3))?;
        play.step("epoch_before", &of(play, Some("m"), 2))?;
        play.step("epoch_ahead", &of(play, Some("m"), 4))?;
        play.step("stranger", &of(play, Some("x"), 3))?;
        play.step("empty_id", &of(play, Some(""), -1))?;
    }
    leave(play, "g", "m")?;
    leave(play, "g", "n")
}

fn operators(play: &mut Play) -> Result<()> {
    known_topic(play)?;
    ask(play, &enter(play, "g", "m"))?;
    let list = |states: &[&str], types: &[&str]| ListGroupsRequest {
        states_filter: states.iter().map(|&state| state.to_owned()).collect(),
        types_filter: types.iter().map(|&kind| kind.to_owned()).collect(),
    };
    play.step("all", &list(&[], &[]))?;
    play.step("consumer", &list(&[], &["Consumer"]))?;
    play.step("classic", &list(&[], &["classic"]))?;
    play.step("stable", &list(&["STABLE"], &[]))?;
    play.step("empty", &list(&["Empty"], &[]))?;
    for version in ApiKey::DescribeGroups.versions() {
        let request = DescribeGroupsRequest { groups: vec![play.name("g")], ..Default::default() };
        play.step_at(&format!("describe_as_classic_{version}"), version, &request)?;
    }
    let delete = DeleteGroupsRequest { groups_names: vec![play.name("g")] };
    play.step_at("delete_with_a_member", 2, &delete)?;
    let leave_group = LeaveGroupRequest {
        group_id: play.name("g"),
        members: vec![MemberIdentity { member_id: "m".to_owned(), ..Default::default() }],
        ..Default::default()
    };
    play.step_at("leave_group", 5, &leave_group)?;
    play.step_at("after", 1, &describe(play, &["g"]))?;
    play.step_at("delete", 2, &delete)?;
    play.step_at("deleted", 1, &describe(play, &["g"])).map(|_| ())
}

/// A join of a classic member that says what it reads: version 1 of the subscription.
fn classic(play: &Play, group: &str, member_id: &str, owned: &[i32]) -> JoinGroupRequest {
    let topic = play.name("t");
    let mut bytes = vec![0, 1, 0, 0, 0, 1];
    let mut name = (topic.len() as i16).to_be_bytes().to_vec();
    name.extend(topic.as_bytes());
    bytes.extend(&name);
    bytes.extend((-1_i32).to_be_bytes());
    bytes.extend(i32::from(!owned.is_empty()).to_be_bytes());
    if !owned.is_empty() {
        bytes.extend(&name);
        bytes.extend((owned.len() as i32).to_be_bytes());
        owned.iter().for_each(|partition| bytes.extend(partition.to_be_bytes()));
    }
    let protocols = vec![JoinGroupRequestProtocol { name: "range".to_owned(), metadata: Bytes::from(bytes) }];
    JoinGroupRequest { protocols, ..join(play, group, member_id) }
}

fn shared(play: &mut Play) -> Result<()> {
    let t = known_topic(play)?;
    ask(play, &enter(play, "g", "m"))?;
    let asked = play.step_at("classic_asks_for_an_id", 9, &classic(play, "g", "", &[]))?.context("an answer")?;
    let id = asked.member_id;
    play.step_at("classic_joins", 9, &classic(play, "g", &id, &[]))?;
    play.step_at("classic_syncs", 5, &sync(play, "g", &id, 3, &[]))?;
    play.step_at("classic_waits", 4, &classic_heartbeat(play, "g", &id, 3))?;
    play.step("consumer_is_told", &beat(play, "g", "m", 2))?;
    play.step("consumer_gave_up", &reads(play, "g", ("m", 2), t, &[0, 1]))?;
    play.step_at("classic_is_told", 4, &classic_heartbeat(play, "g", &id, 3))?;
    play.step_at("classic_joins_again", 9, &classic(play, "g", &id, &[]))?;
    play.step_at("classic_gets", 5, &sync(play, "g", &id, 3, &[]))?;
    play.step_at("classic_keeps_up", 4, &classic_heartbeat(play, "g", &id, 3))?;
    play.step_at("both", 1, &describe(play, &["g"]))?;

    let wrong_type = SyncGroupRequest { protocol_type: Some("x".to_owned()), ..sync(play, "g", &id, 3, &[]) };
    play.step_at("sync_of_another_type", 5, &wrong_type)?;
    let wrong_name = SyncGroupRequest { protocol_name: Some("x".to_owned()), ..sync(play, "g", &id, 3, &[]) };
    play.step_at("sync_of_another_protocol", 5, &wrong_name)?;
    play.step_at("sync_of_another_generation", 5, &sync(play, "g", &id, 4, &[]))?;
    play.step_at("sync_of_the_consumer", 5, &sync(play, "g", "m", 3, &[]))?;
    play.step_at("sync_of_a_stranger", 5, &sync(play, "g", "x", 3, &[]))?;
    let named = SyncGroupRequest { group_instance_id: Some("i".to_owned()), ..sync(play, "g", &id, 3, &[]) };
    play.step_at("sync_under_an_unknown_name", 5, &named)?;
    play.step_at("heartbeat_of_another_generation", 4, &classic_heartbeat(play, "g", &id, 4))?;
    play.step_at("heartbeat_of_the_consumer", 4, &classic_heartbeat(play, "g", "m", 3))?;
    play.step_at("heartbeat_of_a_stranger", 4, &classic_heartbeat(play, "g", "x", 3))?;
    let connect = JoinGroupRequest { protocol_type: "connect".to_owned(), ..classic(play, "g", "", &[]) };
    play.step_at("join_of_another_type", 9, &connect)?;
    let mut other = classic(play, "g", "", &[]);
    other.protocols[0].name = "other".to_owned();
    play.step_at("join_with_another_protocol", 9, &other)?;
    let none = JoinGroupRequest { protocols: Vec::new(), ..classic(play, "g", "", &[]) };
    play.step_at("join_without_protocols", 9, &none)?;

    play.step_at("commit", 9, &commit(play, t, &id, 3, &[2]))?;
    play.step_at("commit_of_an_old_version", 8, &commit(play, t, &id, 3, &[2]))?;
    play.step_at("commit_of_the_generation_before", 9, &commit(play, t, &id, 2, &[2]))?;
    play.step_at("commit_of_the_generation_ahead", 9, &commit(play, t, &id, 4, &[2]))?;
    let departures =
        [id.as_str(), "x", "m"].map(|member| MemberIdentity { member_id: member.to_owned(), ..Default::default() });
    let all_leave = LeaveGroupRequest { group_id: play.name("g"), members: departures.to_vec(), ..Default::default() };
    play.step_at("all_leave", 5, &all_leave)?;
    play.step_at("nobody", 1, &describe(play, &["g"])).map(|_| ())
}

fn there_and_back(play: &mut Play) -> Result<()> {
    let t = known_topic(play)?;
    // A classic member that has everything.
    let joined = join_ready(play, classic(play, "g", "", &[]))?;
    let id = joined.member_id;
    play.know_member(&id);
    let mut request = sync(play, "g", &id, 1, &[&id]);
    request.assignments[0].assignment = assignment(&play.name("t"), &[0, 1, 2, 3]);
    let synced = play.ask(5, &request)?;
    ensure!(synced.error_code == 0, "{synced:?}");
    let committed = play.ask(9, &commit(play, t, &id, 1, &[0]))?;
    ensure!(committed.topics[0].partitions[0].error_code == 0, "{committed:?}");

    play.step("consumer_joins", &enter(play, "g", "m"))?;
    play.step_at("upgraded", 1, &describe(play, &["g"]))?;
    play.step_at("classic_is_told", 4, &classic_heartbeat(play, "g", &id, 1))?;
    play.step_at("classic_joins", 9, &classic(play, "g", &id, &[0, 1, 2, 3]))?;
    let synced = play.step_at("classic_gives_up", 5, &sync(play, "g", &id, 1, &[]))?.context("an answer")?;
    ensure!(synced.error_code == 0, "{synced:?}");
    play.step_at("classic_is_told_again", 4, &classic_heartbeat(play, "g", &id, 1))?;
    let kept = partitions_of(&synced.assignment);
    play.step_at("classic_gave_up", 9, &classic(play, "g", &id, &kept))?;
    play.step_at("classic_syncs", 5, &sync(play, "g", &id, 2, &[]))?;
    play.step("consumer_gets", &beat(play, "g", "m", 2))?;
    play.step_at("settled", 1, &describe(play, &["g"]))?;
    play.step_at(
        "offsets_are_kept",
        9,
        &OffsetFetchRequest {
            groups: vec![OffsetFetchRequestGroup { group_id: play.name("g"), topics: None, ..Default::default() }],
            ..Default::default()
        },
    )?;

    play.step("consumer_leaves", &beat(play, "g", "m", -1))?;
    play.step_at("downgraded", 6, &DescribeGroupsRequest { groups: vec![play.name("g")], ..Default::default() })?;
    play.step_at("no_consumer_group", 1, &describe(play, &["g"]))?;
    play.step("consumer_keeps_up", &beat(play, "g", "m", 2))?;
    play.step_at("classic_rebalances", 4, &classic_heartbeat(play, "g", &id, 2))?;
    play.step_at("classic_joins_a_classic_group", 9, &classic(play, "g", &id, &kept))?;
    play.step_at("classic_leads", 5, &sync(play, "g", &id, 3, &[&id]))?;
    play.step_at("stable", 6, &DescribeGroupsRequest { groups: vec![play.name("g")], ..Default::default() })?;
    await_code(play, &classic_heartbeat(play, "g", &id, 3), 0)
}

/// An assignment as a leader writes it: version 0.
fn assignment(topic: &str, partitions: &[i32]) -> Bytes {
    let mut bytes = vec![0, 0, 0, 0, 0, 1];
    bytes.extend((topic.len() as i16).to_be_bytes());
    bytes.extend(topic.as_bytes());
    bytes.extend((partitions.len() as i32).to_be_bytes());
    partitions.iter().for_each(|partition| bytes.extend(partition.to_be_bytes()));
    bytes.extend((-1_i32).to_be_bytes());
    bytes.into()
}

/// The partitions in an assignment of one topic.
fn partitions_of(assignment: &Bytes) -> Vec<i32> {
    let numbers = |from: usize| {
        let bytes: [u8; 4] = assignment[from..from + 4].try_into().expect("four bytes");
        i32::from_be_bytes(bytes)
    };
    let name_length = usize::from(u16::from_be_bytes([assignment[6], assignment[7]]));
    let first = 8 + name_length + 4;
    (0..numbers(8 + name_length) as usize).map(|at| numbers(first + 4 * at)).collect()
}

fn migration_refused(play: &mut Play) -> Result<()> {
    known_topic(play)?;
    let connect = JoinGroupRequest { protocol_type: "connect".to_owned(), ..join(play, "connect", "") };
    stable_of(play, "connect", connect)?;
    play.step("of_another_type", &enter(play, "connect", "m"))?;
    // `stable` assigns what is no assignment.
    stable(play, "garbage")?;
    play.step("with_garbage", &enter(play, "garbage", "m"))?;
    play.step("heartbeat", &beat(play, "garbage", "m", 3))?;
    play.step("leave", &beat(play, "garbage", "m", -1)).map(|_| ())
}

fn empty_groups(play: &mut Play) -> Result<()> {
    let t = known_topic(play)?;
    // Offsets of nobody, then a consumer group, then a classic one in its place.
    play.step_at("offsets_of_nobody", 9, &commit(play, t, "", -1, &[0]))?;
    play.step("consumer_joins", &enter(play, "g", "m"))?;
    leave(play, "g", "m")?;
    play.step_at("classic_with_an_id", 9, &classic(play, "g", "x", &[]))?;
    let joined = join_ready(play, classic(play, "g", "", &[]))?;
    let id = joined.member_id;
    play.know_member(&id);
    let synced = play.ask(5, &sync(play, "g", &id, joined.generation_id, &[&id]))?;
    ensure!(synced.error_code == 0, "{synced:?}");
    play.step_at("classic_group", 6, &DescribeGroupsRequest { groups: vec![play.name("g")], ..Default::default() })?;
    let departure = MemberIdentity { member_id: id, ..Default::default() };
    let left =
        play.ask(3, &LeaveGroupRequest { group_id: play.name("g"), members: vec![departure], ..Default::default() })?;
    ensure!(left.error_code == 0, "{left:?}");
    play.step("consumer_joins_again", &enter(play, "g", "m"))?;
    play.step_at("consumer_group", 1, &describe(play, &["g"]))?;
    play.step_at(
        "offsets_are_kept",
        9,
        &OffsetFetchRequest {
            groups: vec![OffsetFetchRequestGroup { group_id: play.name("g"), topics: None, ..Default::default() }],
            ..Default::default()
        },
    )?;
    leave(play, "g", "m")
}
