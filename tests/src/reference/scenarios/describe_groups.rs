//! DescribeGroups (15), ListGroups (16), DeleteGroups (42) and OffsetDelete (47): groups as operators see and remove them.

use anyhow::Result;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::delete_groups::DeleteGroupsRequest;
use ottla_protocol::messages::describe_groups::DescribeGroupsRequest;
use ottla_protocol::messages::join_group::JoinGroupRequest;
use ottla_protocol::messages::list_groups::ListGroupsRequest;
use ottla_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup};

use super::groups::{empty, join, join_ready, stable, stable_of};
use crate::reference::{Play, Scenario};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::each_version("describe_groups/all", ApiKey::DescribeGroups, describes),
        Scenario::each_version("list_groups/all", ApiKey::ListGroups, lists),
        Scenario::each_version("delete_groups/all", ApiKey::DeleteGroups, deletes),
        Scenario::each_version("offset_delete/all", ApiKey::OffsetDelete, offset_deletes),
    ]
}

/// Commits an offset of partition 0 of some topics, in nobody's name or a member's.
fn commit(play: &mut Play, group: &str, topics: &[&str], member: Option<&str>) -> Result<()> {
    let topic = |name: &&str| OffsetCommitRequestTopic {
        name: play.name(name),
        partitions: vec![OffsetCommitRequestPartition { committed_offset: 1, ..Default::default() }],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: play.name(group),
        generation_id_or_member_epoch: if member.is_some() { 1 } else { -1 },
        member_id: member.unwrap_or_default().to_owned(),
        topics: topics.iter().map(topic).collect(),
        ..Default::default()
    };
    let response = play.ask(9, &request)?;
    anyhow::ensure!(response.topics.iter().all(|topic| topic.partitions[0].error_code == 0), "{response:?}");
    Ok(())
}

fn all_of(play: &Play, group: &str) -> OffsetFetchRequest {
    let group = OffsetFetchRequestGroup { group_id: play.name(group), topics: None, ..Default::default() };
    OffsetFetchRequest { groups: vec![group], ..Default::default() }
}

fn describes(play: &mut Play) -> Result<()> {
    play.await_coordinator()?;
    play.create_topic("t", 1, &[])?;
    let of = |play: &Play, groups: &[&str]| DescribeGroupsRequest {
        groups: groups.iter().map(|group| play.name(group)).collect(),
        include_authorized_operations: play.version >= 3,
    };
    play.step("unknown_group", &of(play, &["none"]))?;
    play.step("no_groups", &of(play, &[]))?;
    play.step("group_without_name", &DescribeGroupsRequest { groups: vec![String::new()], ..of(play, &[]) })?;
    commit(play, "simple", &["t"], None)?;
    let member = stable(play, "g")?;
    let instance = JoinGroupRequest {
        group_instance_id: (play.version >= 4).then(|| "i".to_owned()),
        protocol_type: "connect".to_owned(),
        ..join(play, "other", "")
    };
    stable_of(play, "other", instance)?;
    play.step("several", &of(play, &["g", "other", "simple", "none"]))?;
    play.step("twice", &of(play, &["g", "g"]))?;
    let pending = play.ask(9, &join(play, "pending", ""))?;
    anyhow::ensure!(pending.error_code == 79, "{pending:?}");
    play.step("pending", &of(play, &["pending"]))?;
    let again = join(play, "g", &member);
    join_ready(play, again)?;
    play.step("before_the_assignment", &of(play, &["g"]))?;
    empty(play, "g", &member)?;
    play.step("empty", &of(play, &["g"]))?;
    Ok(())
}

fn lists(play: &mut Play) -> Result<()> {
    play.await_coordinator()?;
    let version = play.version;
    play.create_topic("t", 1, &[])?;
    play.step("none_of_ours", &ListGroupsRequest::default())?;
    commit(play, "simple", &["t"], None)?;
    let member = stable(play, "stable")?;
    let connect = JoinGroupRequest { protocol_type: "connect".to_owned(), ..join(play, "connect", "") };
    stable_of(play, "connect", connect)?;
    let left = stable(play, "left")?;
    empty(play, "left", &left)?;
    play.step("all", &ListGroupsRequest::default())?;
    if version >= 4 {
        for states in
            [&["Stable"][..], &["stable"], &["EMPTY", "Stable"], &["Dead"], &["nonsense"], &[" Empty "], &[""]]
        {
            let states_filter = states.iter().map(|state| (*state).to_owned()).collect();
            let step = format!("states_{}", states.join("_").replace(' ', "."));
            play.step(&step, &ListGroupsRequest { states_filter, ..Default::default() })?;
        }
    }
    if version >= 5 {
        for types in [&["classic"][..], &["Classic"], &["consumer"], &["nonsense"], &["classic", "nonsense"]] {
            let types_filter = types.iter().map(|kind| (*kind).to_owned()).collect();
            play.step(
                &format!("types_{}", types.join("_")),
                &ListGroupsRequest { types_filter, ..Default::default() },
            )?;
        }
        let both =
            ListGroupsRequest { states_filter: vec!["Stable".to_owned()], types_filter: vec!["classic".to_owned()] };
        play.step("state_and_type", &both)?;
    }
    let again = join(play, "stable", &member);
    join_ready(play, again)?;
    play.step("before_the_assignment", &ListGroupsRequest::default())?;
    Ok(())
}

fn deletes(play: &mut Play) -> Result<()> {
    play.await_coordinator()?;
    play.create_topic("t", 1, &[])?;
    let of = |play: &Play, groups: &[&str]| DeleteGroupsRequest {
        groups_names: groups.iter().map(|group| play.name(group)).collect(),
    };
    play.step("unknown_group", &of(play, &["none"]))?;
    play.step("no_groups", &of(play, &[]))?;
    play.step("group_without_name", &DeleteGroupsRequest { groups_names: vec![String::new()] })?;
    commit(play, "simple", &["t"], None)?;
    let member = stable(play, "stable")?;
    play.step("several", &of(play, &["simple", "stable", "none"]))?;
    play.step_at("offsets_are_gone", 9, &all_of(play, "simple"))?;
    play.step("again", &of(play, &["simple"]))?;
    commit(play, "stable", &["t"], Some(&member))?;
    empty(play, "stable", &member)?;
    play.step("twice", &of(play, &["stable", "stable"]))?;
    play.step_at("gone", 6, &DescribeGroupsRequest { groups: vec![play.name("stable")], ..Default::default() })?;
    Ok(())
}

fn offset_deletes(play: &mut Play) -> Result<()> {
    play.await_coordinator()?;
    play.create_topic("t", 2, &[])?;
    play.create_topic("u", 1, &[])?;
    let of = |play: &Play, group: &str, topics: &[(&str, &[i32])]| OffsetDeleteRequest {
        group_id: play.name(group),
        topics: topics
            .iter()
            .map(|(name, partitions)| OffsetDeleteRequestTopic {
                name: play.name(name),
                partitions: partitions
                    .iter()
                    .map(|&partition_index| OffsetDeleteRequestPartition { partition_index })
                    .collect(),
            })
            .collect(),
    };
    play.step("unknown_group", &of(play, "none", &[("t", &[0])]))?;
    play.step("group_without_name", &OffsetDeleteRequest { group_id: String::new(), ..of(play, "g", &[("t", &[0])]) })?;
    commit(play, "simple", &["t", "u"], None)?;
    play.step("never_committed", &of(play, "simple", &[("t", &[1])]))?;
    play.step("unknown_partition", &of(play, "simple", &[("t", &[0, 7])]))?;
    play.step("unknown_topic", &of(play, "simple", &[("missing", &[0]), ("u", &[])]))?;
    play.step("only_unknown", &of(play, "simple", &[("missing", &[0])]))?;
    play.step("only_unknown_of_unknown_group", &of(play, "none", &[("missing", &[0])]))?;
    play.step("no_topics", &of(play, "simple", &[]))?;
    play.step_at("what_is_left", 9, &all_of(play, "simple"))?;
    let member = stable(play, "g")?;
    commit(play, "g", &["t", "u"], Some(&member))?;
    play.step("subscribed", &of(play, "g", &[("t", &[0]), ("u", &[0])]))?;
    play.step_at("what_is_left_of_the_members", 9, &all_of(play, "g"))?;
    let connect = JoinGroupRequest { protocol_type: "connect".to_owned(), ..join(play, "connect", "") };
    stable_of(play, "connect", connect)?;
    play.step("other_protocol_type", &of(play, "connect", &[("t", &[0])]))?;
    let again = join(play, "g", &member);
    join_ready(play, again)?;
    play.step("before_the_assignment", &of(play, "g", &[("t", &[0])]))?;
    empty(play, "g", &member)?;
    play.step("empty", &of(play, "g", &[("t", &[0])]))?;
    Ok(())
}
