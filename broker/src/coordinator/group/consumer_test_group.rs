//! A consumer group under test, with a clock, topics and a log of its records.
//!
//! Every record goes through the log: a group that is loaded from it must be the group that wrote it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::assignment::Assignment;
use super::assignor::Assignor;
use super::consumer::{ConsumerGroup, ConsumerGroupState};
use super::consumer_context::{ConsumerContext, ConsumerGroupConfig, MigrationPolicy};
use super::consumer_draft::ConsumerDraft;
use super::consumer_error::ConsumerGroupError;
use super::consumer_heartbeat::{ConsumerHeartbeat, HeartbeatAnswer, heartbeat};
use super::consumer_leave::{expire_members, start_sessions};
use super::consumer_memory::ConsumerMemory;
use super::consumer_record::ConsumerGroupRecord;
use super::members_bytes::MembersBudget;
use super::timers::Moment;
use crate::config::{GroupTimeBounds, GroupTimes};
use crate::metadata::{ImageDelta, MetadataImage, MetadataRecord};
use crate::types::TopicId;

/// See the module's text.
pub(super) struct TestGroup {
    pub(super) group: ConsumerGroup,
    pub(super) memory: ConsumerMemory,
    pub(super) config: ConsumerGroupConfig,
    pub(super) image: MetadataImage,
    pub(super) log: Vec<ConsumerGroupRecord>,
    members_budget: MembersBudget,
    image_version: u64,
    now: Duration,
    topics_made: u8,
}

/// Milliseconds since 1970 when the clock of a test begins.
pub(super) const START_MS: i64 = 1_700_000_000_000;

/// A configuration that lets a group assign at once.
pub(super) fn consumer_config() -> ConsumerGroupConfig {
    ConsumerGroupConfig {
        times: GroupTimes { session_timeout_ms: 45_000, heartbeat_interval_ms: 5_000, assignment_interval_ms: 0 },
        bounds: GroupTimeBounds {
            session_timeout_ms: 45_000..=60_000,
            heartbeat_interval_ms: 5_000..=15_000,
            assignment_interval_ms: 0..=15_000,
        },
        max_size: 100,
        assignors: Assignor::ALL.to_vec(),
        migration_policy: MigrationPolicy::Bidirectional,
    }
}

impl TestGroup {
    /// An empty group that assigns at once, and topics with these numbers of partitions.
    pub(super) fn new(topics: &[(&str, i32)]) -> Self {
        let mut group = TestGroup {
            group: ConsumerGroup::default(),
            memory: ConsumerMemory::default(),
            config: consumer_config(),
            image: MetadataImage::default(),
            log: Vec::new(),
            members_budget: MembersBudget::default(),
            image_version: 1,
            now: Duration::from_secs(1),
            topics_made: 0,
        };
        topics.iter().for_each(|(name, partitions)| group.create_topic(name, *partitions));
        group
    }

    pub(super) fn context(&self) -> ConsumerContext<'_> {
        ConsumerContext {
            group_id: "group",
            now: Moment { monotonic_ms: u64::try_from(self.now.as_millis()).unwrap(), wall_ms: self.now_ms() },
            image: &self.image,
            image_version: self.image_version,
            config: &self.config,
            members_budget: &self.members_budget,
            times: self.config.times,
        }
    }

    pub(super) fn now_ms(&self) -> i64 {
        START_MS + i64::try_from(self.now.as_millis()).unwrap()
    }

    pub(super) fn create_topic(&mut self, name: &str, partition_count: i32) {
        self.topics_made += 1;
        let topic_id = ottla_protocol::Uuid([self.topics_made; 16]);
        let configs = BTreeMap::new();
        self.alter_topics(MetadataRecord::Topic { name: name.to_owned(), topic_id, partition_count, configs });
    }

    pub(super) fn delete_topic(&mut self, name: &str) {
        let topic_id = self.topic(name);
        self.alter_topics(MetadataRecord::RemoveTopic { topic_id });
    }

    pub(super) fn add_partitions(&mut self, name: &str, partition_count: i32) {
        let topic_id = self.topic(name);
        self.alter_topics(MetadataRecord::PartitionCount { topic_id, partition_count });
    }

    fn alter_topics(&mut self, record: MetadataRecord) {
        self.image.replay(&record, &mut ImageDelta::default()).unwrap();
        self.image_version += 1;
    }

    pub(super) fn topic(&self, name: &str) -> TopicId {
        self.image.topic(name).unwrap().id
    }

    /// Partitions of one topic.
    pub(super) fn partitions(&self, topic: &str, partitions: &[i32]) -> Assignment {
        let topic = self.topic(topic);
        partitions.iter().map(|partition| (topic, *partition)).collect()
    }

    /// A request of `member` that says nothing beside its epoch.
    pub(super) fn request(&self, member: &str, epoch: i32) -> ConsumerHeartbeat {
        ConsumerHeartbeat {
            member_id: member.into(),
            member_epoch: epoch,
            rebalance_timeout_ms: -1,
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            ..Default::default()
        }
    }

    /// The first request of a member.
    pub(super) fn join_request(&self, member: &str, topics: &[&str]) -> ConsumerHeartbeat {
        ConsumerHeartbeat {
            rebalance_timeout_ms: 10_000,
            subscribed_topics: Some(topics.iter().map(|topic| (*topic).to_owned()).collect()),
            owned: Some(Assignment::default()),
            ..self.request(member, 0)
        }
    }

    pub(super) fn send(&mut self, request: &ConsumerHeartbeat) -> Result<HeartbeatAnswer, ConsumerGroupError> {
        let mut memory = std::mem::take(&mut self.memory);
        let mut draft = ConsumerDraft::of(&self.group);
        let context = self.context();
        let answer = request.check("group", &context);
        let answer = answer.and_then(|()| heartbeat(&mut draft, &mut memory, &context, request));
        let records = if answer.is_ok() { draft.into_records() } else { Vec::new() };
        self.memory = memory;
        self.append(records);
        answer
    }

    pub(super) fn join(&mut self, member: &str, topics: &[&str]) -> HeartbeatAnswer {
        self.send(&self.join_request(member, topics)).unwrap()
    }

    /// A heartbeat that says what the member owns, if anything.
    pub(super) fn beat(&mut self, member: &str, epoch: i32, owned: Option<Assignment>) -> HeartbeatAnswer {
        self.send(&ConsumerHeartbeat { owned, ..self.request(member, epoch) }).unwrap()
    }

    /// Lets time pass, and with it sessions.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(deadline) = self.memory.next_deadline_ms().map(Duration::from_millis).filter(|at| *at <= until) {
            self.now = self.now.max(deadline);
            self.expire();
        }
        self.now = until;
    }

    fn expire(&mut self) {
        let mut memory = std::mem::take(&mut self.memory);
        let mut draft = ConsumerDraft::of(&self.group);
        expire_members(&mut draft, &mut memory, &self.context(), usize::MAX);
        let records = draft.into_records();
        self.memory = memory;
        self.append(records);
    }

    fn append(&mut self, records: Vec<ConsumerGroupRecord>) {
        for record in records {
            self.group.replay(&record);
            if let ConsumerGroupRecord::Member(member_id, None) = &record {
                self.memory.forget(member_id);
            }
            self.log.push(record);
        }
        self.memory.observe_state(self.group.state(), self.now_ms());
    }

    /// The coordinator comes back with what its log says.
    pub(super) fn restart(&mut self) {
        let before = format!("{:?}", self.group.members().collect::<Vec<_>>());
        self.group = ConsumerGroup::default();
        self.log.iter().for_each(|record| self.group.replay(record));
        assert_eq!(format!("{:?}", self.group.members().collect::<Vec<_>>()), before);
        let mut memory = ConsumerMemory::default();
        start_sessions(&self.group, &mut memory, &self.context());
        self.memory = memory;
    }

    pub(super) fn state(&self) -> ConsumerGroupState {
        self.group.state()
    }

    /// What the coordinator says that a member owns.
    pub(super) fn owned(&self, member: &str) -> Assignment {
        self.group.member(member).unwrap().assigned.to_assignment()
    }
}
