//! A member of a group of the consumer protocol: one heartbeat that joins, keeps up and leaves (KIP-848).
//!
//! A pure state machine, as `classic_member.rs`: [`ConsumerMember::next`] says what to do at a time, the other methods what
//! happened. Owns the member's epoch, what it owns, what the broker wants it to own, and which fields a heartbeat carries.
//! Topics go by their ids here; the names come from [`ConsumerMember::named`].
//!
//! Invariants: one heartbeat and one hand-over at a time; the broker is told that partitions are given up only after the
//! caller gave them up, and that they are owned as soon as they may come to be; after a heartbeat that failed everything is said anew, since nobody knows what was heard.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use ottla_protocol::{ErrorCode, Uuid};

use super::refusal::Refusals;
use super::step::{Change, Identity, MemberRequest, Step};
use super::subscription::Subscription;
use crate::clock::{Backoff, Instant};
use crate::metadata::error_of;
use crate::{Error, GroupConfig, TopicPartition};

/// The epoch of who joins, of who leaves, and of a static member that will be back.
const JOIN_EPOCH: i32 = 0;
const LEAVE_EPOCH: i32 = -1;
const LEAVE_STATIC_EPOCH: i32 = -2;

/// How often, and how many times, who has joined and got nothing yet asks again before the broker's interval: the broker
/// makes an assignment at most once in a time (`group.consumer.assignment.interval.ms`, by default 1 s), and says so only when
/// it is asked.
const EARLY_INTERVAL: Duration = Duration::from_secs(1);
const EARLY_HEARTBEATS: u32 = 10;

/// A partition by the id of its topic.
type IdPartition = (Uuid, i32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// Every heartbeat until the first answer is one that joins.
    Joining,
    Member,
    /// Left because the caller did not ask for records for too long.
    Stale,
    Leaving,
}

#[derive(Debug)]
pub(crate) struct ConsumerMember {
    config: GroupConfig,
    refusals: Refusals,
    backoff: Backoff,
    subscription: Option<Subscription>,
    state: State,
    member_id: String,
    epoch: i32,
    names: BTreeMap<Uuid, Arc<str>>,
    owned: BTreeSet<IdPartition>,
    /// What the broker wants this member to own.
    target: BTreeSet<IdPartition>,
    /// What is owned belongs to others already.
    fenced: bool,
    handing_over: Option<(BTreeSet<IdPartition>, BTreeSet<IdPartition>)>,
    naming: bool,
    name_at: Option<Instant>,
    /// What the broker was told last; `None` when it is to be told again.
    told_subscription: Option<Subscription>,
    told_owned: Option<BTreeSet<IdPartition>>,
    /// The broker waits to be told what is owned now.
    acknowledge: bool,
    beating: bool,
    /// The heartbeat on its way is the one that leaves.
    farewell: bool,
    heartbeat_at: Option<Instant>,
    /// A failure puts off also what would be said at once.
    retry_at: Option<Instant>,
    interval: Duration,
    /// How many more heartbeats may come early, for want of any partition since the joining.
    early_heartbeats: u32,
}

impl ConsumerMember {
    /// `member_id` is to be unique in the world (KIP-1082).
    pub(crate) fn new(config: GroupConfig, backoff: Backoff, member_id: String) -> Self {
        ConsumerMember {
            refusals: Refusals::new(&config),
            interval: config.heartbeat_interval,
            config,
            backoff,
            subscription: None,
            state: State::Idle,
            member_id,
            epoch: JOIN_EPOCH,
            names: BTreeMap::new(),
            owned: BTreeSet::new(),
            target: BTreeSet::new(),
            fenced: false,
            handing_over: None,
            naming: false,
            name_at: None,
            told_subscription: None,
            told_owned: None,
            acknowledge: false,
            beating: false,
            farewell: false,
            heartbeat_at: None,
            retry_at: None,
            early_heartbeats: 0,
        }
    }

    /// What to do now. To be asked again after each thing done and each thing that happened.
    pub(crate) fn next(&mut self, now: Instant) -> Step {
        if let Some(change) = self.change_to_hand_over() {
            return Step::HandOver(change);
        }
        if let Some(unknown) = self.topics_to_name(now) {
            return Step::NameTopics(unknown);
        }
        let naming_at = self.name_at.filter(|at| *at > now && !self.unnamed().is_empty());
        let wait = |at: Option<Instant>| Step::Wait([at, naming_at].into_iter().flatten().min());
        if self.beating {
            return wait(None);
        }
        match self.state {
            State::Idle | State::Stale => wait(None),
            State::Joining | State::Leaving if self.must_hand_over_first() && self.epoch <= JOIN_EPOCH => wait(None),
            State::Leaving if self.epoch <= JOIN_EPOCH => {
                self.state = State::Idle;
                Step::Left
            }
            State::Leaving if !self.must_hand_over_first() => self.say_farewell(),
            State::Joining | State::Member | State::Leaving => match self.due_at(now) {
                Some(at) if at > now => wait(Some(at)),
                _ => self.beat(),
            },
        }
    }

    /// Who commits now; `None` while nobody could.
    pub(crate) fn identity(&self) -> Option<Identity> {
        (self.epoch > JOIN_EPOCH && !self.fenced).then(|| Identity {
            member_id: self.member_id.clone(),
            epoch: self.epoch,
            instance_id: self.config.group_instance_id.clone(),
            is_consumer_protocol: true,
        })
    }

    pub(crate) fn subscribe(&mut self, subscription: Subscription) {
        self.subscription = Some(subscription);
        if matches!(self.state, State::Idle | State::Leaving) {
            self.retry_at = None;
            self.join_anew();
        }
    }

    /// Gives everything up and leaves; [`Step::Left`] follows.
    pub(crate) fn unsubscribe(&mut self) {
        self.state = State::Leaving;
    }

    /// Takes in the names of topics, or that they could not be had.
    pub(crate) fn named(&mut self, now: Instant, names: Result<BTreeMap<Uuid, Arc<str>>, Error>) {
        self.naming = false;
        match names {
            Ok(names) => self.names.extend(names),
            Err(error) => tracing::warn!(group = self.config.group_id, %error, "no names of assigned topics yet"),
        }
        self.name_at = (!self.unnamed().is_empty()).then(|| now + self.backoff.next());
    }

    /// The caller asked for nothing for too long: leaves. Returns the request to send, where there is one.
    pub(crate) fn poll_expired(&mut self) -> Option<MemberRequest> {
        if !matches!(self.state, State::Joining | State::Member) {
            return None;
        }
        let leave = (self.epoch > JOIN_EPOCH).then(|| MemberRequest::ConsumerHeartbeat(self.leave_request()));
        self.lose_membership();
        self.state = State::Stale;
        leave
    }

    /// The caller asks for records again.
    pub(crate) fn polled(&mut self) {
        if self.state == State::Stale {
            self.join_anew();
        }
    }

    pub(crate) fn handed_over(&mut self) {
        let Some((revoked, assigned)) = self.handing_over.take() else { return };
        self.owned.retain(|partition| !revoked.contains(partition));
        self.owned.extend(assigned);
        self.acknowledge = true;
        if self.owned.is_empty() {
            self.fenced = false;
        }
    }

    /// Takes in the answer to a heartbeat.
    ///
    /// # Errors
    /// What ends the membership for good, or what it goes on without.
    pub(crate) fn beaten(
        &mut self,
        now: Instant,
        response: Result<ConsumerGroupHeartbeatResponse, Error>,
    ) -> Result<(), Error> {
        if !std::mem::take(&mut self.beating) {
            return Ok(());
        }
        if std::mem::take(&mut self.farewell) {
            // Whatever the answer is: the session's end does the same.
            self.epoch = JOIN_EPOCH;
            return Ok(());
        }
        let response = match response {
            Ok(response) => response,
            Err(error) if error.is_retriable() => {
                tracing::warn!(group = self.config.group_id, %error, "a heartbeat failed");
                self.fail(now);
                return Ok(());
            }
            Err(error) => {
                self.end_now();
                return Err(error);
            }
        };
        match error_of(response.error_code) {
            None => self.succeed(now, response),
            Some(ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId) => {
                self.lose_membership();
                if self.state != State::Leaving {
                    self.state = State::Joining;
                }
            }
            // Not among these, as in Kafka's own consumer: UNRELEASED_INSTANCE_ID. Whether the other one under this name is
            // dead or alive only its session tells, and two that are alive would wait for each other in silence.
            Some(code) if code.is_retriable() => {
                self.refusals.warn_of("ConsumerGroupHeartbeat", code);
                self.fail(now);
            }
            Some(code @ ErrorCode::TopicAuthorizationFailed) => {
                self.fail(now);
                return Err(self.refusals.with(code, response.error_message));
            }
            Some(code) => {
                self.end_now();
                return Err(self.refusals.with(code, response.error_message));
            }
        }
        Ok(())
    }

    /// The membership cannot go on: what is owned is lost.
    pub(crate) fn end_now(&mut self) {
        self.lose_membership();
        self.state = State::Leaving;
    }

    fn succeed(&mut self, now: Instant, response: ConsumerGroupHeartbeatResponse) {
        self.backoff.reset();
        self.refusals.are_over();
        self.retry_at = None;
        if let Some(member_id) = response.member_id.filter(|id| !id.is_empty()) {
            self.member_id = member_id;
        }
        self.epoch = response.member_epoch;
        self.interval = Duration::from_millis(u64::try_from(response.heartbeat_interval_ms).unwrap_or(0).max(1));
        if self.state == State::Joining {
            self.state = State::Member;
            self.early_heartbeats = EARLY_HEARTBEATS;
        }
        if let Some(assignment) = response.assignment {
            let partitions = assignment.topic_partitions.into_iter();
            let with_id =
                |topic: TopicPartitions| topic.partitions.into_iter().map(move |index| (topic.topic_id, index));
            self.target = partitions.flat_map(with_id).collect();
            self.acknowledge = true;
        }
        self.heartbeat_at = Some(now + self.until_next_heartbeat());
    }

    fn until_next_heartbeat(&mut self) -> Duration {
        if !self.target.is_empty() {
            self.early_heartbeats = 0;
        }
        match self.early_heartbeats.checked_sub(1) {
            Some(left) => {
                self.early_heartbeats = left;
                self.interval.min(EARLY_INTERVAL)
            }
            None => self.interval,
        }
    }

    fn fail(&mut self, now: Instant) {
        self.told_subscription = None;
        self.told_owned = None;
        self.retry_at = Some(now + self.backoff.next());
    }

    /// The next hand-over: of everything that is lost or to be left, or else of the difference to what the broker wants
    /// (as far as the names are known).
    fn change_to_hand_over(&mut self) -> Option<Change> {
        if self.handing_over.is_some() {
            return None;
        }
        let (revoked, assigned): (BTreeSet<IdPartition>, BTreeSet<IdPartition>) = match self.state {
            _ if self.fenced => (self.owned.clone(), BTreeSet::new()),
            State::Leaving => (self.owned.clone(), BTreeSet::new()),
            State::Member => {
                let added = self.target.difference(&self.owned).filter(|(topic, _)| self.names.contains_key(topic));
                (self.owned.difference(&self.target).copied().collect(), added.copied().collect())
            }
            State::Idle | State::Joining | State::Stale => return None,
        };
        let change = Change { revoked: self.by_name(&revoked), lost: self.fenced, assigned: self.by_name(&assigned) };
        if change.is_empty() {
            self.fenced = false;
            return None;
        }
        self.handing_over = Some((revoked, assigned));
        Some(change)
    }

    fn topics_to_name(&mut self, now: Instant) -> Option<BTreeSet<Uuid>> {
        if self.naming || self.state != State::Member || self.name_at.is_some_and(|at| at > now) {
            return None;
        }
        let unnamed = self.unnamed();
        self.naming = !unnamed.is_empty();
        self.naming.then_some(unnamed)
    }

    fn unnamed(&self) -> BTreeSet<Uuid> {
        self.target.iter().map(|(topic, _)| *topic).filter(|topic| !self.names.contains_key(topic)).collect()
    }

    /// When the next heartbeat is due: at once with news, but not sooner after a failure than the back-off allows.
    fn due_at(&self, now: Instant) -> Option<Instant> {
        let news = self.state == State::Joining
            || self.told_subscription.is_some() && self.told_subscription != self.subscription
            || self.acknowledge && self.handing_over.is_none();
        match (self.retry_at, news) {
            (Some(retry_at), _) => Some(retry_at),
            (None, true) => Some(now),
            (None, false) => self.heartbeat_at,
        }
    }

    fn beat(&mut self) -> Step {
        self.beating = true;
        let joining = self.state == State::Joining;
        if joining {
            self.told_subscription = None;
            self.told_owned = None;
        }
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id: self.config.group_id.clone(),
            member_id: self.member_id.clone(),
            member_epoch: self.epoch,
            instance_id: self.config.group_instance_id.clone(),
            ..Default::default()
        };
        if self.told_subscription.is_none() {
            request.rebalance_timeout_ms = self.config.max_poll_interval.as_millis() as i32;
            request.server_assignor = self.config.remote_assignor.clone();
        }
        if self.told_subscription != self.subscription {
            match &self.subscription {
                Some(Subscription::Topics(topics)) => {
                    request.subscribed_topic_names = Some(topics.iter().map(ToString::to_string).collect());
                    // A pattern of before would go on beside the names.
                    request.subscribed_topic_regex =
                        matches!(self.told_subscription, Some(Subscription::Pattern(_))).then(String::new);
                }
                Some(Subscription::Pattern(pattern)) => {
                    request.subscribed_topic_names = Some(Vec::new());
                    request.subscribed_topic_regex = Some(pattern.as_str().to_owned());
                }
                None => {}
            }
            self.told_subscription.clone_from(&self.subscription);
        }
        if joining || self.acknowledge && self.handing_over.is_none() || self.told_owned.is_none() {
            let owned = if joining { BTreeSet::new() } else { self.reported() };
            request.topic_partitions = Some(to_wire(&owned));
            self.told_owned = Some(owned);
            self.acknowledge = false;
        }
        Step::Send(MemberRequest::ConsumerHeartbeat(request))
    }

    /// What the broker is to believe that this member has: also what it was told to take and has not begun with. Were that left
    /// out, the broker could give it to another member with an answer that this one never gets.
    fn reported(&self) -> BTreeSet<IdPartition> {
        let beginning = self.handing_over.iter().flat_map(|(_, assigned)| assigned);
        self.owned.iter().chain(&self.target).chain(beginning).copied().collect()
    }

    fn must_hand_over_first(&self) -> bool {
        self.handing_over.is_some() || self.fenced
    }

    fn say_farewell(&mut self) -> Step {
        self.beating = true;
        self.farewell = true;
        Step::Send(MemberRequest::ConsumerHeartbeat(self.leave_request()))
    }

    fn leave_request(&self) -> ConsumerGroupHeartbeatRequest {
        let is_static = self.config.group_instance_id.is_some();
        ConsumerGroupHeartbeatRequest {
            group_id: self.config.group_id.clone(),
            member_id: self.member_id.clone(),
            member_epoch: if is_static { LEAVE_STATIC_EPOCH } else { LEAVE_EPOCH },
            instance_id: self.config.group_instance_id.clone(),
            ..Default::default()
        }
    }

    fn join_anew(&mut self) {
        self.epoch = JOIN_EPOCH;
        self.target.clear();
        self.acknowledge = false;
        self.state = State::Joining;
    }

    fn lose_membership(&mut self) {
        self.epoch = JOIN_EPOCH;
        self.target.clear();
        self.acknowledge = false;
        self.beating = false;
        self.farewell = false;
        self.fenced = !self.owned.is_empty() || self.handing_over.is_some();
    }

    fn by_name(&self, partitions: &BTreeSet<IdPartition>) -> BTreeSet<TopicPartition> {
        let name = |(topic, index): &IdPartition| {
            Some(TopicPartition { topic: self.names.get(topic)?.clone(), partition: *index })
        };
        partitions.iter().filter_map(name).collect()
    }
}

fn to_wire(partitions: &BTreeSet<IdPartition>) -> Vec<TopicPartitions> {
    let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(*topic).or_default().push(*partition);
    }
    topics.into_iter().map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions }).collect()
}

#[cfg(test)]
#[path = "consumer_member_test.rs"]
mod tests;
