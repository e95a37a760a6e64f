//! A consumer group (KIP-848): members, the epoch of what they ask for, and the target assignment that they move towards.
//!
//! Owns the durable state of one group. [`ConsumerGroup::replay`] is the only thing that changes it, live and at load alike;
//! who writes the records stands in `consumer_heartbeat`, `consumer_leave` and their neighbours. What is not durable, such as
//! when a member was last heard of, is in `consumer_memory`. Cheap to clone: members and assignments are shared.
//!
//! Three epochs only rise: the group's with every change of what is asked for, the target's follows it, and each member's
//! follows that one.
//!
//! Invariant: a partition is owned by one member at most, live; `owners` says by whom.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use super::assignment::Assignment;
use super::consumer_member::ConsumerMember;
use super::consumer_record::{ConsumerGroupRecord, target_from_record};
use super::members_bytes::MembersBytes;
use crate::metadata::MetadataImage;
use crate::types::TopicId;

/// The state of a group, as it is listed and described.
///
/// `Empty` -> `Assigning` (a member came) -> `Reconciling` (there is a target for the group's epoch) -> `Stable` (every
/// member has reached it); a change of what is asked for leads back to `Assigning`, the last member's leaving to `Empty`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConsumerGroupState {
    /// No members.
    Empty,
    /// The target is older than what is asked for.
    Assigning,
    /// Members are on the way to the target.
    Reconciling,
    /// Every member owns what it is to own.
    Stable,
}

impl ConsumerGroupState {
    /// Kafka's name of it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            ConsumerGroupState::Empty => "Empty",
            ConsumerGroupState::Assigning => "Assigning",
            ConsumerGroupState::Reconciling => "Reconciling",
            ConsumerGroupState::Stable => "Stable",
        }
    }
}

impl fmt::Display for ConsumerGroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The topics that a pattern stood for when it was last looked up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ResolvedRegex {
    /// Their names, in order.
    pub(crate) topics: Vec<String>,
}

/// A group. See the module's text.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConsumerGroup {
    /// Rises with every change of what is asked for; 0 before the first.
    epoch: i32,
    /// Of the topics that are subscribed to, as they were when the epoch last rose; 0 for none.
    metadata_hash: u64,
    /// The group's epoch that the target assignment was made for.
    assignment_epoch: i32,
    /// When the target assignment was made, in milliseconds since 1970; 0 for never.
    assignment_timestamp_ms: i64,
    members: BTreeMap<Arc<str>, Arc<ConsumerMember>>,
    members_bytes: MembersBytes,
    targets: BTreeMap<Arc<str>, Arc<Assignment>>,
    resolved_regexes: BTreeMap<String, Arc<ResolvedRegex>>,
    /// Who owns each partition, whether to be given up or not.
    owners: HashMap<(TopicId, i32), Arc<str>>,
    static_members: HashMap<String, Arc<str>>,
}

impl ConsumerGroup {
    /// A group without members whose members count.
    pub(super) fn new(members_bytes: MembersBytes) -> Self {
        Self { members_bytes, ..Self::default() }
    }

    /// What all members say about themselves.
    pub(crate) fn members_bytes(&self) -> usize {
        self.members_bytes.get()
    }

    /// The group's epoch.
    pub(crate) fn epoch(&self) -> i32 {
        self.epoch
    }

    /// The hash of the topics that are subscribed to, as of the group's epoch.
    pub(crate) fn metadata_hash(&self) -> u64 {
        self.metadata_hash
    }

    /// The epoch of the target assignment.
    pub(crate) fn assignment_epoch(&self) -> i32 {
        self.assignment_epoch
    }

    /// When the target assignment was made, in milliseconds since 1970; 0 for never.
    pub(crate) fn assignment_timestamp_ms(&self) -> i64 {
        self.assignment_timestamp_ms
    }

    /// The members, by id.
    pub(crate) fn members(&self) -> impl ExactSizeIterator<Item = &Arc<ConsumerMember>> {
        self.members.values()
    }

    /// How many members there are.
    pub(crate) fn member_count(&self) -> usize {
        self.members.len()
    }

    /// The member of this id.
    pub(crate) fn member(&self, member_id: &str) -> Option<&Arc<ConsumerMember>> {
        self.members.get(member_id)
    }

    /// The static member of this name.
    pub(crate) fn static_member(&self, instance_id: &str) -> Option<&Arc<ConsumerMember>> {
        self.member(self.static_members.get(instance_id)?)
    }

    /// What a member is to own.
    pub(crate) fn target(&self, member_id: &str) -> Option<&Arc<Assignment>> {
        self.targets.get(member_id)
    }

    /// The members that a target assignment is known for.
    pub(crate) fn target_member_ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.targets.keys()
    }

    /// Whether somebody other than `member_id` owns a partition.
    pub(crate) fn owned_by_other(&self, topic: &TopicId, partition: i32, member_id: &str) -> bool {
        self.owners.get(&(*topic, partition)).is_some_and(|owner| **owner != *member_id)
    }

    /// The patterns that are looked up, with the topics that each stands for.
    pub(crate) fn resolved_regexes(&self) -> &BTreeMap<String, Arc<ResolvedRegex>> {
        &self.resolved_regexes
    }

    /// The patterns that members subscribe to.
    pub(crate) fn subscribed_regexes(&self) -> BTreeSet<&str> {
        self.members().map(|member| member.subscribed_regex.as_str()).filter(|regex| !regex.is_empty()).collect()
    }

    /// The names of the topics that a member subscribes to, whether they exist or not.
    pub(crate) fn subscribed_names<'a>(&'a self, member: &'a ConsumerMember) -> impl Iterator<Item = &'a str> {
        let by_regex = self.resolved_regexes.get(&member.subscribed_regex).into_iter();
        let by_regex = by_regex.flat_map(|resolved| resolved.topics.iter().map(String::as_str));
        member.subscribed_topics.iter().map(String::as_str).chain(by_regex)
    }

    /// The topics that a member subscribes to and that exist.
    pub(crate) fn subscribed_topic_ids(&self, member: &ConsumerMember, image: &MetadataImage) -> BTreeSet<TopicId> {
        self.subscribed_names(member).filter_map(|name| Some(image.topic(name)?.id)).collect()
    }

    /// The names of the topics that any member subscribes to.
    pub(crate) fn all_subscribed_names(&self) -> BTreeSet<&str> {
        self.members().flat_map(|member| self.subscribed_names(member)).collect()
    }

    /// Whether a member subscribes to the topic.
    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        self.members().any(|member| self.subscribed_names(member).any(|name| name == topic))
    }

    /// Whether all members speak the classic protocol, and there are some.
    pub(crate) fn is_all_classic(&self) -> bool {
        !self.members.is_empty() && self.members().all(|member| member.classic.is_some())
    }

    /// The state, as it follows from the rest.
    pub(crate) fn state(&self) -> ConsumerGroupState {
        if self.members.is_empty() {
            ConsumerGroupState::Empty
        } else if self.epoch > self.assignment_epoch {
            ConsumerGroupState::Assigning
        } else if self.members().all(|member| member.is_reconciled_to(self.assignment_epoch)) {
            ConsumerGroupState::Stable
        } else {
            ConsumerGroupState::Reconciling
        }
    }

    /// Applies one record. A removal of what is not there changes nothing: a log that was compacted has such records.
    pub(crate) fn replay(&mut self, record: &ConsumerGroupRecord) {
        match record {
            ConsumerGroupRecord::Epoch(Some(value)) => {
                self.epoch = value.epoch;
                self.metadata_hash = value.metadata_hash.cast_unsigned();
            }
            ConsumerGroupRecord::Epoch(None) => {
                self.epoch = 0;
                self.metadata_hash = 0;
            }
            ConsumerGroupRecord::TargetEpoch(value) => {
                self.assignment_epoch = value.as_ref().map_or(0, |value| value.assignment_epoch);
                self.assignment_timestamp_ms = value.as_ref().map_or(0, |value| value.assignment_timestamp);
            }
            ConsumerGroupRecord::TargetMember(member_id, Some(value)) => {
                self.targets.insert(member_id.clone(), Arc::new(target_from_record(value)));
            }
            ConsumerGroupRecord::TargetMember(member_id, None) => drop(self.targets.remove(member_id)),
            ConsumerGroupRecord::Member(member_id, Some(value)) => {
                let member = self.member_or_new(member_id).with_metadata(value);
                self.put(member);
            }
            ConsumerGroupRecord::Member(member_id, None) => self.remove(member_id),
            ConsumerGroupRecord::CurrentAssignment(member_id, Some(value)) => {
                let member = self.member_or_new(member_id).with_current_assignment(Some(value));
                self.put(member);
            }
            ConsumerGroupRecord::CurrentAssignment(member_id, None) => {
                if let Some(member) = self.members.get(member_id) {
                    self.put(member.with_current_assignment(None));
                }
            }
            ConsumerGroupRecord::Regex(regex, Some(value)) => {
                let resolved = ResolvedRegex { topics: value.topics.clone() };
                self.resolved_regexes.insert(regex.clone(), Arc::new(resolved));
            }
            ConsumerGroupRecord::Regex(regex, None) => drop(self.resolved_regexes.remove(regex)),
        }
    }

    fn member_or_new(&self, member_id: &Arc<str>) -> ConsumerMember {
        match self.members.get(member_id) {
            Some(member) => ConsumerMember::clone(member),
            None => ConsumerMember::new(member_id.clone()),
        }
    }

    fn put(&mut self, member: ConsumerMember) {
        self.forget(&member.member_id);
        for partition in member.owned() {
            // At load a newer owner's record may stand before an older owner's: the last one counts, as it does in the end.
            self.owners.insert(partition, member.member_id.clone());
        }
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), member.member_id.clone());
        }
        self.members_bytes.add(member.metadata_bytes());
        self.members.insert(member.member_id.clone(), Arc::new(member));
    }

    fn remove(&mut self, member_id: &str) {
        self.forget(member_id);
        self.members.remove(member_id);
    }

    /// Takes back what the indexes say of a member, where they speak of this one still, and what it says itself.
    fn forget(&mut self, member_id: &str) {
        let Some(member) = self.members.get(member_id) else { return };
        self.members_bytes.remove(member.metadata_bytes());
        for partition in member.owned() {
            if self.owners.get(&partition).is_some_and(|owner| **owner == *member_id) {
                self.owners.remove(&partition);
            }
        }
        if let Some(instance_id) = &member.instance_id
            && self.static_members.get(instance_id).is_some_and(|owner| **owner == *member_id)
        {
            self.static_members.remove(instance_id);
        }
    }
}
