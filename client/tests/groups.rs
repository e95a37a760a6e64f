//! Goal: what an admin is told of groups is so, and what it changes is changed. Method: groups that hold offsets and have
//! no members, made, looked at, moved and deleted on a real cluster. Groups with members are tested with the consumers.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which are to panic when something fails")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::{CommittedOffset, ErrorCode, GroupState, GroupType, TopicPartition};
use support::{TestCluster, partitions, unique_name};

#[tokio::test]
async fn offsets_are_kept_for_a_group_that_nobody_joined() {
    let cluster = TestCluster::start().await;
    let admin = cluster.admin().await;
    let topic = cluster.topic(3).await;
    let group = unique_name();
    let [first, second, third] = partitions(&topic, 3).try_into().unwrap();

    let kept = CommittedOffset { metadata: "from a table".into(), leader_epoch: Some(0), ..CommittedOffset::new(17) };
    let changes = BTreeMap::from([(first.clone(), kept.clone()), (second.clone(), CommittedOffset::new(0))]);
    let altered = admin.alter_group_offsets(&group, &changes).await.unwrap();
    assert_eq!(altered.keys().collect::<Vec<_>>(), [&first, &second]);
    assert!(altered.values().all(Result::is_ok), "{altered:?}");

    let no_such = unique_name();
    let offsets = admin.group_offsets(&[&group, &no_such]).await;
    let found: Vec<_> = offsets[&group].as_ref().unwrap().iter().map(|(at, one)| (at, one.clone().unwrap())).collect();
    assert_eq!(found, [(&first, kept), (&second, CommittedOffset::new(0))]);
    assert!(offsets[&no_such].as_ref().unwrap().is_empty());

    let described = admin.describe_groups(&[&group, &no_such]).await;
    assert_eq!(described[&no_such].as_ref().unwrap_err().code(), Some(ErrorCode::GroupIdNotFound));
    let description = described[&group].as_ref().unwrap();
    assert_eq!((&description.state, &description.group_type), (&GroupState::Empty, &GroupType::Classic));
    assert!(description.members.is_empty());

    let forgotten = BTreeSet::from([second.clone(), third.clone()]);
    let forgotten = admin.delete_group_offsets(&group, &forgotten).await.unwrap();
    assert!(forgotten[&second].is_ok() && forgotten[&third].is_ok(), "{forgotten:?}");
    let left = admin.group_offsets(&[&group]).await.remove(&group).unwrap().unwrap();
    assert_eq!(left.keys().collect::<Vec<_>>(), [&first]);
    let nobody = admin.delete_group_offsets(&no_such, &BTreeSet::from([first])).await.unwrap_err();
    assert_eq!(nobody.code(), Some(ErrorCode::GroupIdNotFound));

    let deleted = admin.delete_groups(&[&group, &no_such]).await;
    deleted[&group].as_ref().unwrap();
    assert_eq!(deleted[&no_such].as_ref().unwrap_err().code(), Some(ErrorCode::GroupIdNotFound));
    assert!(admin.group_offsets(&[&group]).await[&group].as_ref().unwrap().is_empty());
    cluster.stop().await;
}

#[tokio::test]
async fn groups_are_listed_by_state_and_type() {
    let cluster = TestCluster::start().await;
    let admin = cluster.admin().await;
    let topic = cluster.topic(1).await;
    let groups: BTreeSet<String> = (0..3).map(|_| unique_name()).collect();
    for group in &groups {
        let offset = BTreeMap::from([(TopicPartition::new(topic.as_str(), 0), CommittedOffset::new(1))]);
        admin.alter_group_offsets(group, &offset).await.unwrap();
    }
    let listed = async |states: &[GroupState], types: &[GroupType]| {
        let all = admin.list_groups(states, types).await.unwrap();
        all.into_iter().map(|group| group.group_id).filter(|group| groups.contains(group)).collect::<BTreeSet<_>>()
    };
    assert_eq!(listed(&[], &[]).await, groups);
    assert_eq!(listed(&[GroupState::Empty, GroupState::Stable], &[GroupType::Classic]).await, groups);
    assert!(listed(&[GroupState::Stable], &[]).await.is_empty());
    assert!(listed(&[], &[GroupType::Consumer]).await.is_empty());
    let all = admin.list_groups(&[], &[]).await.unwrap();
    let one = all.iter().find(|listing| groups.contains(&listing.group_id)).unwrap();
    assert_eq!(
        (&one.group_type, &one.state, one.protocol_type.as_str()),
        (&GroupType::Classic, &GroupState::Empty, "")
    );
    cluster.stop().await;
}

#[tokio::test]
async fn a_partition_that_does_not_exist_has_its_own_answer() {
    let cluster = TestCluster::start().await;
    let admin = cluster.admin().await;
    let topic = cluster.topic(1).await;
    let group = unique_name();
    let (there, outside) = (TopicPartition::new(topic.as_str(), 0), TopicPartition::new(topic.as_str(), 1));
    let changes = [there.clone(), outside.clone()].map(|at| (at, CommittedOffset::new(3)));
    let altered = admin.alter_group_offsets(&group, &BTreeMap::from(changes)).await.unwrap();
    altered[&there].as_ref().unwrap();
    assert_eq!(altered[&outside].as_ref().unwrap_err().code(), Some(ErrorCode::UnknownTopicOrPartition));
    cluster.stop().await;
}
