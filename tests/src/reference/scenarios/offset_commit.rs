//! OffsetCommit (8) and OffsetFetch (9): of whoever belongs to no group, of members, and of nobody.

use anyhow::{Context, Result};
use ottla_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ottla_protocol::{ApiKey, Uuid};

use super::groups::{join, join_ready, stable};
use crate::reference::{Play, Scenario};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::each_version("offset_commit/simple", ApiKey::OffsetCommit, simple),
        Scenario::each_version("offset_commit/members", ApiKey::OffsetCommit, members),
        Scenario::each_version("offset_fetch/all", ApiKey::OffsetFetch, fetches),
    ]
}

fn partition(partition_index: i32, committed_offset: i64, metadata: Option<&str>) -> OffsetCommitRequestPartition {
    OffsetCommitRequestPartition {
        partition_index,
        committed_offset,
        committed_metadata: metadata.map(str::to_owned),
        ..Default::default()
    }
}

/// A commit of whoever belongs to no group.
fn commit(
    play: &Play,
    group: &str,
    (topic, topic_id): (&str, Uuid),
    partitions: Vec<OffsetCommitRequestPartition>,
) -> OffsetCommitRequest {
    let topic = OffsetCommitRequestTopic { name: play.name(topic), topic_id, partitions };
    OffsetCommitRequest { group_id: play.name(group), topics: vec![topic], ..Default::default() }
}

/// All that a group has committed, in version 9.
fn all_of(play: &Play, group: &str) -> OffsetFetchRequest {
    let group = OffsetFetchRequestGroup { group_id: play.name(group), topics: None, ..Default::default() };
    OffsetFetchRequest { groups: vec![group], ..Default::default() }
}

fn simple(play: &mut Play) -> Result<()> {
    play.await_coordinator()?;
    let version = play.version;
    let id = play.create_topic("t", 3, &[])?;
    let t = ("t", id);
    let at = |offset| vec![partition(0, offset, Some("so far"))];
    play.step("first", &commit(play, "g", t, at(5)))?;
    play.step_at("first_fetched", 9, &all_of(play, "g"))?;
    play.step("back", &commit(play, "g", t, at(3)))?;
    let several = vec![partition(0, 7, None), partition(1, 8, Some("")), partition(2, i64::MAX, Some("ü"))];
    play.step("several", &commit(play, "g", t, several))?;
    play.step("partition_twice", &commit(play, "g", t, [at(11), at(12)].concat()))?;
    play.step("negative_offset", &commit(play, "g", t, vec![partition(1, -1, None)]))?;
    play.step_at("several_fetched", 9, &all_of(play, "g"))?;
    play.step("unknown_partition", &commit(play, "g", t, vec![partition(3, 1, None), partition(0, 1, None)]))?;
    play.step("unknown_partition_alone", &commit(play, "g", t, vec![partition(-1, 1, None)]))?;
    play.step("unknown_topic", &commit(play, "g", ("missing", Uuid([9; 16])), at(1)))?;
    let mut mixed = commit(play, "g", t, at(2));
    mixed.topics.extend(commit(play, "g", ("missing", Uuid([9; 16])), at(1)).topics);
    play.step("known_and_unknown_topic", &mixed)?;
    let longest = "x".repeat(4096);
    let lengths = vec![partition(0, 1, Some(&longest)), partition(1, 1, Some(&(longest.clone() + "x")))];
    play.step("longest_metadata", &commit(play, "g", t, lengths))?;
    play.step("no_topics", &OffsetCommitRequest { topics: vec![], ..commit(play, "g", t, vec![]) })?;
    play.step("no_partitions", &commit(play, "g", t, vec![]))?;
    let as_member = |play: &Play, generation, member_id: &str| OffsetCommitRequest {
        generation_id_or_member_epoch: generation,
        member_id: member_id.to_owned(),
        ..commit(play, "g", t, at(1))
    };
    play.step("empty_group_generation_0", &as_member(play, 0, ""))?;
    play.step("empty_group_generation_5", &as_member(play, 5, ""))?;
    play.step("empty_group_member", &as_member(play, -1, "nobody"))?;
    play.step("empty_group_member_and_generation", &as_member(play, 1, "nobody"))?;
    let of_none = |play: &Play, generation, member_id: &str| OffsetCommitRequest {
        group_id: play.name("none"),
        ..as_member(play, generation, member_id)
    };
    play.step("no_group_generation_0", &of_none(play, 0, "nobody"))?;
    play.step("no_group_generation_minus_2", &of_none(play, -2, "nobody"))?;
    play.step("group_without_name", &OffsetCommitRequest { group_id: String::new(), ..commit(play, "g", t, at(1)) })?;
    play.step(
        "group_without_name_generation_0",
        &OffsetCommitRequest { group_id: String::new(), ..as_member(play, 0, "nobody") },
    )?;
    if version <= 4 {
        let kept = OffsetCommitRequest { retention_time_ms: 100_000, ..commit(play, "kept", t, at(1)) };
        play.step("retention", &kept)?;
        play.step_at("retention_fetched", 9, &all_of(play, "kept"))?;
    }
    if version >= 6 {
        let mut with_epoch = partition(0, 9, None);
        with_epoch.committed_leader_epoch = 0;
        let mut negative = partition(1, 9, None);
        negative.committed_leader_epoch = -2;
        let mut newer = partition(2, 9, None);
        newer.committed_leader_epoch = 77;
        play.step("leader_epochs", &commit(play, "g", t, vec![with_epoch, negative, newer]))?;
        play.step_at("leader_epochs_fetched", 9, &all_of(play, "g"))?;
    }
    if version >= 7 {
        let request = OffsetCommitRequest { group_instance_id: Some("i".to_owned()), ..commit(play, "g", t, at(1)) };
        play.step("empty_group_instance", &request)?;
    }
    Ok(())
}

fn members(play: &mut Play) -> Result<()> {
    play.await_coordinator()?;
    let id = play.create_topic("t", 2, &[])?;
    let t = ("t", id);
    let member = stable(play, "g")?;
    let request = |play: &Play, member_id: &str, generation| OffsetCommitRequest {
        generation_id_or_member_epoch: generation,
        member_id: member_id.to_owned(),
        ..commit(play, "g", t, vec![partition(0, 4, None)])
    };
    play.step("member", &request(play, &member, 1))?;
    play.step("old_generation", &request(play, &member, 0))?;
    play.step("new_generation", &request(play, &member, 2))?;
    play.step("generation_minus_1", &request(play, &member, -1))?;
    play.step("unknown_member", &request(play, "nobody", 1))?;
    play.step("no_member", &request(play, "", 1))?;
    play.step("neither", &request(play, "", -1))?;
    if play.version >= 7 {
        let request = OffsetCommitRequest { group_instance_id: Some("i".to_owned()), ..request(play, &member, 1) };
        play.step("unknown_instance", &request)?;
    }
    play.step_at("fetched", 9, &all_of(play, "g"))?;
    // The leader joins again: the generation begins, and its assignment is not there yet.
    let again = join(play, "g", &member);
    join_ready(play, again)?;
    play.step("before_the_assignment", &request(play, &member, 2))?;
    play.step("before_the_assignment_old_generation", &request(play, &member, 1))?;
    play.step("before_the_assignment_neither", &request(play, "", -1))?;
    Ok(())
}

/// A fetch of a group in the form of `version`.
fn fetch(play: &Play, version: i16, group: &str, topics: Option<Vec<(&str, Uuid, Vec<i32>)>>) -> OffsetFetchRequest {
    let group_id = play.name(group);
    if version >= 8 {
        let topic = |(name, topic_id, partition_indexes): (&str, Uuid, Vec<i32>)| OffsetFetchRequestTopics {
            name: play.name(name),
            topic_id,
            partition_indexes,
        };
        let topics = topics.map(|topics| topics.into_iter().map(topic).collect());
        let group = OffsetFetchRequestGroup { group_id, topics, ..Default::default() };
        return OffsetFetchRequest { groups: vec![group], ..Default::default() };
    }
    let topic = |(name, _, partition_indexes): (&str, Uuid, Vec<i32>)| OffsetFetchRequestTopic {
        name: play.name(name),
        partition_indexes,
    };
    OffsetFetchRequest {
        group_id,
        topics: topics.map(|topics| topics.into_iter().map(topic).collect()),
        ..Default::default()
    }
}

fn fetches(play: &mut Play) -> Result<()> {
    play.await_coordinator()?;
    let version = play.version;
    let (id, other) = (play.create_topic("t", 3, &[])?, play.create_topic("u", 1, &[])?);
    play.ask(9, &commit(play, "g", ("t", id), vec![partition(0, 5, Some("five")), partition(2, 6, None)]))?;
    play.ask(9, &commit(play, "g", ("u", other), vec![partition(0, 1, None)]))?;
    play.step("some", &fetch(play, version, "g", Some(vec![("t", id, vec![0, 1, 2, 9])])))?;
    play.step("twice", &fetch(play, version, "g", Some(vec![("t", id, vec![0, 0])])))?;
    let missing = Uuid([9; 16]);
    play.step(
        "unknown_topic",
        &fetch(play, version, "g", Some(vec![("missing", missing, vec![0]), ("u", other, vec![0])])),
    )?;
    play.step("no_topics", &fetch(play, version, "g", Some(vec![])))?;
    play.step("no_partitions", &fetch(play, version, "g", Some(vec![("t", id, vec![])])))?;
    play.step("unknown_group", &fetch(play, version, "none", Some(vec![("t", id, vec![0])])))?;
    if version >= 2 {
        play.step("all", &fetch(play, version, "g", None))?;
        play.step("all_of_unknown_group", &fetch(play, version, "none", None))?;
    }
    if version >= 7 {
        let stable = OffsetFetchRequest { require_stable: true, ..fetch(play, version, "g", None) };
        play.step("all_stable", &stable)?;
    }
    if version >= 8 {
        let mut several = fetch(play, version, "g", Some(vec![("t", id, vec![0])]));
        several.groups.extend(fetch(play, version, "none", None).groups);
        several.groups.extend(fetch(play, version, "g", None).groups);
        play.step("several_groups", &several)?;
        play.step("no_groups", &OffsetFetchRequest::default())?;
    }
    if version >= 9 {
        let mut named = fetch(play, version, "g", None);
        let group = named.groups.first_mut().context("one group")?;
        group.member_id = Some("nobody".to_owned());
        group.member_epoch = 3;
        play.step("member_of_an_empty_group", &named)?;
    }
    if version >= 10 {
        play.step("zero_id", &fetch(play, version, "g", Some(vec![("t", Uuid::ZERO, vec![0])])))?;
    }
    let mut nameless = fetch(play, version, "g", Some(vec![("t", id, vec![0])]));
    nameless.group_id.clear();
    nameless.groups.iter_mut().for_each(|group| group.group_id.clear());
    play.step("group_without_name", &nameless)?;
    Ok(())
}
