//! A change of a consumer group in the making: records, and the group as it is when they are replayed.
//!
//! A request is worked out on a draft: each record is replayed into a copy at once, so that the next step sees what the last
//! one did, and the group itself stays as it is until the records are appended. A draft that is dropped changed nothing; one
//! without a record never copied anything.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::messages::group_records::{
    ConsumerGroupMetadataValue, ConsumerGroupRegularExpressionValue, ConsumerGroupTargetAssignmentMetadataValue,
};

use super::assignment::Assignment;
use super::assignor::{Assignor, AssignorMember};
use super::consumer::ConsumerGroup;
use super::consumer_context::{ConsumerContext, ConsumerGroupConfig};
use super::consumer_error::ConsumerGroupError;
use super::consumer_member::ConsumerMember;
use super::consumer_reconcile::Reconciliation;
use super::consumer_record::{ConsumerGroupRecord, target_to_record};
use super::subscription_regex::SubscriptionRegex;
use super::topic_hash::hash_topics;
use crate::types::TopicId;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct ConsumerDraft<'a> {
    group: Cow<'a, ConsumerGroup>,
    /// What the members said about themselves before.
    members_bytes_before: usize,
    records: Vec<ConsumerGroupRecord>,
}

impl<'a> ConsumerDraft<'a> {
    /// A draft that starts from `group`.
    pub(crate) fn of(group: &'a ConsumerGroup) -> Self {
        let members_bytes_before = group.members_bytes();
        ConsumerDraft { group: Cow::Borrowed(group), members_bytes_before, records: Vec::new() }
    }

    /// A draft of a group that does not exist yet.
    pub(crate) fn of_new_group() -> Self {
        Self::in_place_of(0)
    }

    /// A draft of a group that takes the place of another one, whose members said so much about themselves.
    pub(crate) fn in_place_of(members_bytes_before: usize) -> Self {
        ConsumerDraft { group: Cow::Owned(ConsumerGroup::default()), members_bytes_before, records: Vec::new() }
    }

    /// The group as it is with the records so far.
    pub(crate) fn group(&self) -> &ConsumerGroup {
        &self.group
    }

    /// How much more the members say about themselves than before.
    pub(crate) fn more_members_bytes(&self) -> usize {
        self.group.members_bytes().saturating_sub(self.members_bytes_before)
    }

    /// Whether anything changes.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.records.is_empty()
    }

    /// The records, in the order in which they must be replayed.
    pub(crate) fn into_records(self) -> Vec<ConsumerGroupRecord> {
        self.records
    }

    /// Adds a record.
    pub(crate) fn write(&mut self, record: ConsumerGroupRecord) {
        self.group.to_mut().replay(&record);
        self.records.push(record);
    }

    /// Writes what a member asks for.
    pub(crate) fn write_metadata(&mut self, member: &ConsumerMember) {
        self.write(ConsumerGroupRecord::Member(member.member_id.clone(), Some(member.to_metadata())));
    }

    /// Writes what a member owns.
    pub(crate) fn write_current_assignment(&mut self, member: &ConsumerMember) {
        let value = Some(member.to_current_assignment());
        self.write(ConsumerGroupRecord::CurrentAssignment(member.member_id.clone(), value));
    }

    /// Writes what a member is to own.
    pub(crate) fn write_target(&mut self, member_id: &Arc<str>, target: &Assignment) {
        self.write(ConsumerGroupRecord::TargetMember(member_id.clone(), Some(target_to_record(target))));
    }

    /// Removes a member with everything that is known of it.
    pub(crate) fn remove_member(&mut self, member_id: &Arc<str>) {
        self.write(ConsumerGroupRecord::CurrentAssignment(member_id.clone(), None));
        self.write(ConsumerGroupRecord::TargetMember(member_id.clone(), None));
        self.write(ConsumerGroupRecord::Member(member_id.clone(), None));
    }

    /// Removes the group; its members must be gone.
    pub(crate) fn remove_group(&mut self) {
        let targets: Vec<Arc<str>> = self.group.target_member_ids().cloned().collect();
        for member_id in targets {
            self.write(ConsumerGroupRecord::TargetMember(member_id, None));
        }
        let regexes: Vec<String> = self.group.resolved_regexes().keys().cloned().collect();
        for regex in regexes {
            self.write(ConsumerGroupRecord::Regex(regex, None));
        }
        self.write(ConsumerGroupRecord::TargetEpoch(None));
        self.write(ConsumerGroupRecord::Epoch(None));
    }

    /// Looks up the patterns that members subscribe to, and drops those that none does any more. Those that are known already
    /// are looked up again if `again`. A pattern was checked when its member brought it; one that this version does not
    /// understand any more stands for no topics.
    pub(crate) fn resolve_regexes(&mut self, context: &ConsumerContext<'_>, again: bool) {
        let mut records = Vec::new();
        let subscribed = self.group.subscribed_regexes();
        for regex in self.group.resolved_regexes().keys().filter(|regex| !subscribed.contains(regex.as_str())) {
            records.push(ConsumerGroupRecord::Regex(regex.clone(), None));
        }
        for pattern in subscribed {
            let known = self.group.resolved_regexes().get(pattern);
            if known.is_some() && !again {
                continue;
            }
            let names = context.image.topics().map(|topic| topic.name.as_str());
            let topics = SubscriptionRegex::parse(pattern).map_or_else(|_| Vec::new(), |regex| regex.select(names));
            if known.is_none_or(|known| known.topics != topics) {
                let value = ConsumerGroupRegularExpressionValue {
                    topics,
                    version: context.image_version.cast_signed(),
                    timestamp: context.now.wall_ms,
                };
                records.push(ConsumerGroupRecord::Regex(pattern.to_owned(), Some(value)));
            }
        }
        records.into_iter().for_each(|record| self.write(record));
    }

    /// Raises the group's epoch if `subscription_changed`, or the topics that are subscribed to are not as they were. A
    /// new group leaves epoch 0 in any case.
    pub(crate) fn raise_epoch(&mut self, context: &ConsumerContext<'_>, subscription_changed: bool) {
        let metadata_hash = hash_topics(&self.group.all_subscribed_names(), context.image);
        let changed = subscription_changed || metadata_hash != self.group.metadata_hash();
        let epoch = self.group.epoch().max(1).saturating_add(i32::from(changed));
        if epoch != self.group.epoch() {
            let metadata_hash = metadata_hash.cast_signed();
            self.write(ConsumerGroupRecord::Epoch(Some(ConsumerGroupMetadataValue { epoch, metadata_hash })));
        }
    }

    /// Makes a target assignment for the group's epoch, unless there is one, or the last one is younger than the interval
    /// between two. The next heartbeat after that makes it.
    pub(crate) fn assign(&mut self, context: &ConsumerContext<'_>) {
        let group = &self.group;
        if !is_assignment_due(group, context) {
            return;
        }

        let subscribed: Vec<Vec<TopicId>> = group
            .members()
            .map(|member| group.subscribed_topic_ids(member, context.image).into_iter().collect())
            .collect();
        let partition_counts: BTreeMap<TopicId, i32> = subscribed
            .iter()
            .flatten()
            .filter_map(|topic| Some((*topic, context.image.topic_by_id(topic)?.partition_count)))
            .collect();
        let nothing = Arc::new(Assignment::default());
        let members: Vec<AssignorMember<'_>> = group
            .members()
            .zip(&subscribed)
            .map(|(member, subscribed)| AssignorMember {
                member_id: &member.member_id,
                instance_id: member.instance_id.as_deref(),
                subscribed,
                previous: group.target(&member.member_id).unwrap_or(&nothing),
            })
            .collect();
        let targets = preferred_assignor(group, context.config).assign(&members, &partition_counts);

        let mut records: Vec<ConsumerGroupRecord> = group
            .members()
            .zip(&targets)
            .filter(|(member, target)| group.target(&member.member_id).is_none_or(|before| **before != **target))
            .map(|(member, target)| {
                ConsumerGroupRecord::TargetMember(member.member_id.clone(), Some(target_to_record(target)))
            })
            .collect();
        records.push(ConsumerGroupRecord::TargetEpoch(Some(ConsumerGroupTargetAssignmentMetadataValue {
            assignment_epoch: group.epoch(),
            assignment_timestamp: context.now.wall_ms,
        })));
        records.into_iter().for_each(|record| self.write(record));
    }

    /// Moves a member one step towards its target. The member as it is then; whether it changed.
    ///
    /// # Errors
    /// The member has to join again.
    pub(crate) fn reconcile(
        &mut self,
        member: &Arc<ConsumerMember>,
        reported: Option<&Assignment>,
        context: &ConsumerContext<'_>,
    ) -> Result<Option<Arc<ConsumerMember>>, ConsumerGroupError> {
        let nothing = Assignment::default();
        let subscribed = self.group.subscribed_topic_ids(member, context.image);
        let step = Reconciliation {
            target_epoch: self.group.assignment_epoch(),
            target: self.group.target(&member.member_id).map_or(&nothing, |target| target),
            subscribed: &subscribed,
            reported,
            owned_by_other: |topic: &TopicId, partition| self.group.owned_by_other(topic, partition, &member.member_id),
        };
        let next = step.step(member).map_err(|_| ConsumerGroupError::UnknownState)?;
        if let Some(next) = &next {
            self.write_current_assignment(next);
        }
        Ok(next.map(Arc::new))
    }
}

/// Whether the target assignment is to be made anew, and may be by now.
pub(crate) fn is_assignment_due(group: &ConsumerGroup, context: &ConsumerContext<'_>) -> bool {
    let made_at = group.assignment_timestamp_ms();
    // A clock that was set back must not stop assignments, so a difference in either direction counts.
    let interval_ms = u64::try_from(context.times.assignment_interval_ms).unwrap_or(0);
    let interval_is_over = context.now.wall_ms.abs_diff(made_at) >= interval_ms;
    group.epoch() > group.assignment_epoch() && (made_at == 0 || interval_is_over)
}

/// The assignor that most members ask for; the broker's first one where nobody asks.
pub(crate) fn preferred_assignor(group: &ConsumerGroup, config: &ConsumerGroupConfig) -> Assignor {
    let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
    let named = group.members().filter_map(|member| Assignor::from_name(member.server_assignor.as_deref()?));
    named.for_each(|assignor| *votes.entry(assignor).or_default() += 1);
    let most = votes.into_iter().max_by_key(|(assignor, votes)| (*votes, std::cmp::Reverse(*assignor)));
    most.map_or(config.default_assignor(), |(assignor, _)| assignor)
}
