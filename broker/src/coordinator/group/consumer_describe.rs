//! A consumer group as operators see it: ConsumerGroupDescribe.

use std::collections::BTreeMap;

use super::assignment::Assignment;
use super::consumer::ConsumerGroup;
use super::consumer_context::ConsumerGroupConfig;
use super::consumer_draft::preferred_assignor;
use super::consumer_member::ConsumerMember;
use super::consumer_memory::ConsumerMemory;
use crate::metadata::MetadataImage;
use crate::types::TopicId;

/// A group, told in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DescribedConsumerGroup {
    /// The name of its state.
    pub(crate) state: &'static str,
    /// Since when it is in that state, in milliseconds since 1970; -1 if nobody knows.
    pub(crate) state_since_ms: i64,
    /// Its epoch.
    pub(crate) epoch: i32,
    /// The epoch of its target assignment.
    pub(crate) assignment_epoch: i32,
    /// The assignor that makes its next target assignment.
    pub(crate) assignor: &'static str,
    /// Its members, by id.
    pub(crate) members: Vec<DescribedConsumerMember>,
}

/// A member of a described group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DescribedConsumerMember {
    /// Its id.
    pub(crate) member_id: String,
    /// Of a static member.
    pub(crate) instance_id: Option<String>,
    /// Its rack.
    pub(crate) rack_id: Option<String>,
    /// Its epoch.
    pub(crate) epoch: i32,
    /// Who the client says it is.
    pub(crate) client_id: String,
    /// Where it calls from.
    pub(crate) client_host: String,
    /// The topics that it subscribes to by name.
    pub(crate) subscribed_topics: Vec<String>,
    /// The pattern that it subscribes to; empty for none.
    pub(crate) subscribed_regex: String,
    /// What it owns, given up soon or not, of topics that exist.
    pub(crate) assignment: Vec<DescribedTopic>,
    /// What it is to own, of topics that exist.
    pub(crate) target_assignment: Vec<DescribedTopic>,
    /// Whether it speaks the classic protocol.
    pub(crate) is_classic: bool,
    /// When it was last heard of, in milliseconds since 1970; -1 if it was not since the broker's start.
    pub(crate) last_heard_ms: i64,
}

/// Partitions of a topic, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DescribedTopic {
    /// Its id.
    pub(crate) topic_id: TopicId,
    /// Its name.
    pub(crate) topic_name: String,
    /// Its partitions, in order.
    pub(crate) partitions: Vec<i32>,
}

/// The group in full.
pub(crate) fn describe(
    group: &ConsumerGroup,
    memory: &ConsumerMemory,
    image: &MetadataImage,
    config: &ConsumerGroupConfig,
) -> DescribedConsumerGroup {
    DescribedConsumerGroup {
        state: group.state().name(),
        state_since_ms: memory.state_since_ms().unwrap_or(-1),
        epoch: group.epoch(),
        assignment_epoch: group.assignment_epoch(),
        assignor: preferred_assignor(group, config).name(),
        members: group.members().map(|member| describe_member(group, member, memory, image)).collect(),
    }
}

fn describe_member(
    group: &ConsumerGroup,
    member: &ConsumerMember,
    memory: &ConsumerMemory,
    image: &MetadataImage,
) -> DescribedConsumerMember {
    let nothing = Assignment::default();
    let target = group.target(&member.member_id).map_or(&nothing, |target| target);
    DescribedConsumerMember {
        member_id: member.member_id.to_string(),
        instance_id: member.instance_id.clone(),
        rack_id: member.rack_id.clone(),
        epoch: member.epoch,
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        subscribed_topics: member.subscribed_topics.clone(),
        subscribed_regex: member.subscribed_regex.clone(),
        assignment: by_name(member.owned(), image),
        target_assignment: by_name(target.iter(), image),
        is_classic: member.classic.is_some(),
        last_heard_ms: memory.last_heard_ms(&member.member_id).unwrap_or(-1),
    }
}

/// Partitions by topic, with the names of those topics that exist.
fn by_name(partitions: impl Iterator<Item = (TopicId, i32)>, image: &MetadataImage) -> Vec<DescribedTopic> {
    let mut topics: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(partition);
    }
    topics
        .into_iter()
        .filter_map(|(topic_id, mut partitions)| {
            partitions.sort_unstable();
            let topic_name = image.topic_by_id(&topic_id)?.name.as_str().to_owned();
            Some(DescribedTopic { topic_id, topic_name, partitions })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::group::consumer_test_group::{START_MS, TestGroup};

    #[test]
    fn a_group_is_told_with_what_members_own_and_are_to_own() {
        let mut group = TestGroup::new(&[("t", 2), ("gone", 1)]);
        group.join("m", &["t", "gone"]);
        group.pass(std::time::Duration::from_secs(3));
        group.join("n", &["t"]);
        group.beat("m", 2, None);
        group.delete_topic("gone");
        let described = describe(&group.group, &group.memory, &group.image, &group.config);
        assert_eq!((described.state, described.epoch, described.assignment_epoch), ("Reconciling", 3, 3));
        assert_eq!((described.state_since_ms, described.assignor), (START_MS + 4_000, "uniform"));

        let [m, n] = described.members.as_slice() else { panic!("{described:?}") };
        let topic_id = group.topic("t");
        let topic = |partitions: &[i32]| {
            vec![DescribedTopic { topic_id, topic_name: "t".to_owned(), partitions: partitions.to_vec() }]
        };
        // The member owns what it has to give up until it did; of a topic that is gone nothing is told.
        assert_eq!((&m.assignment, &m.target_assignment), (&topic(&[0, 1]), &topic(&[0])));
        assert_eq!((&n.assignment, &n.target_assignment), (&vec![], &topic(&[1])));
        assert_eq!((m.epoch, n.epoch, m.last_heard_ms, m.is_classic), (2, 3, START_MS + 4_000, false));
        group.restart();
        let described = describe(&group.group, &group.memory, &group.image, &group.config);
        assert_eq!((described.state_since_ms, described.members[0].last_heard_ms), (-1, -1));
    }
}
