//! The group's task: has done what the member's state machine and the commits in line ask for.
//!
//! Owns the requests that are on their way, the choice of the protocol, and the timers. It runs beside the caller, so that
//! heartbeats go on while a record is processed. Decides nothing that belongs to the machines. Invariants: at most one
//! commit is on its way; the answer to a request that the member has given up on is not told to it.

mod committing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_protocol::{ApiKey, ErrorCode, Uuid};
use rand::RngExt;
use tokio::task::JoinSet;

use super::classic_member::ClassicMember;
use super::consumer_member::ConsumerMember;
use super::coordinator::Coordinator;
use super::member::Member;
use super::member_calls::{Timeouts, send};
use super::shared::{GroupShared, Handover, Intent};
use super::step::{Identity, MemberRequest, MemberResponse, Step};
use super::subscription::Subscription;
use crate::clock::{self, Backoff, Instant};
use crate::cluster::{Cluster, Lane};
use crate::metadata::Metadata;
use crate::topic_lookup::{all_topics, partition_counts, topic_names};
use crate::{Error, GroupProtocol, TopicPartition};

#[derive(Debug)]
enum Event {
    /// Whether the coordinator serves the consumer protocol.
    Decided(Result<bool, Error>),
    Answered(Sent, MemberResponse),
    HandedOver,
    Counted(Result<BTreeMap<Arc<str>, i32>, Error>),
    Named(Result<BTreeMap<Uuid, Arc<str>>, Error>),
    Listed(Result<BTreeSet<Arc<str>>, Error>),
    Committed(Identity, Result<BTreeMap<TopicPartition, Error>, Error>),
}

/// Which request an answer belongs to.
#[derive(Debug, Clone, Copy)]
struct Sent {
    attempt: u64,
    /// The generation of a classic heartbeat.
    generation: i32,
}

#[derive(Debug)]
pub(crate) struct Driver {
    shared: Arc<GroupShared>,
    cluster: Cluster,
    coordinator: Coordinator,
    member: Option<Member>,
    intent: Intent,
    intent_version: u64,
    /// Counts the requests of which one at a time is on its way.
    attempt: u64,
    deciding: bool,
    decide_at: Option<Instant>,
    /// Classic, by pattern: all topics are being asked for, or will be at this time.
    listing: bool,
    list_at: Option<Instant>,
    polls_seen: u64,
    polled_at: Instant,
    stale: bool,
    auto_commit_at: Instant,
    backoff: Backoff,
    events: JoinSet<Event>,
}

impl Driver {
    pub(crate) fn new(shared: Arc<GroupShared>, cluster: Cluster, coordinator: Coordinator) -> Self {
        let now = clock::now();
        Driver {
            backoff: cluster.backoff(),
            auto_commit_at: now + shared.config.auto_commit_interval,
            shared,
            cluster,
            coordinator,
            member: None,
            intent: Intent::ByHand,
            intent_version: 0,
            attempt: 0,
            deciding: false,
            decide_at: None,
            listing: false,
            list_at: None,
            polls_seen: 0,
            polled_at: now,
            stale: false,
            events: JoinSet::new(),
        }
    }

    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) {
        let mut updates = self.cluster.updates();
        loop {
            let now = clock::now();
            self.take_intent(now);
            let alarms = [
                self.decide(now),
                self.list(now),
                self.watch_polls(now),
                self.advance(now),
                self.commit(now),
                self.call_for_commit(now),
            ];
            let alarm = alarms.into_iter().flatten().min().unwrap_or(now + self.shared.config.max_poll_interval);
            tokio::select! {
                Some(event) = self.events.join_next(), if !self.events.is_empty() => match event {
                    Ok(event) => self.take_in(event),
                    Err(error) => tracing::error!(%error, "a request of a group's member ended without an outcome"),
                },
                () = self.shared.wake.notified() => {}
                // The sender of updates lives as long as the cluster handle.
                _ = updates.changed() => self.learn(&updates.borrow_and_update().metadata.clone()),
                () = tokio::time::sleep_until(alarm) => {}
            }
        }
    }

    fn take_intent(&mut self, now: Instant) {
        let state = self.shared.state.lock();
        if state.intent_version == self.intent_version {
            return;
        }
        self.intent_version = state.intent_version;
        self.intent = state.intent.clone();
        drop(state);
        match &self.intent {
            Intent::ByHand => {}
            Intent::Subscribed(subscription) => {
                self.polled_at = now;
                self.stale = false;
                self.list_at = None;
                if let Subscription::Topics(topics) = subscription {
                    let topics = topics.clone();
                    self.cluster.want_only(topics.iter().cloned().chain(self.assigned_topics()));
                    if let Some(member) = &mut self.member {
                        member.subscribe(subscription.clone(), topics);
                    }
                } else if let Some(Member::Consumer(member)) = &mut self.member {
                    member.subscribe(subscription.clone());
                }
            }
            Intent::Leave => match &mut self.member {
                Some(member) => member.unsubscribe(),
                None => self.left(),
            },
        }
    }

    fn assigned_topics(&self) -> Vec<Arc<str>> {
        self.shared.fetch.buffer.lock().assignment().map(|partition| partition.topic.clone()).collect()
    }

    /// Chooses the protocol, once.
    fn decide(&mut self, now: Instant) -> Option<Instant> {
        if self.member.is_some() || self.deciding || !matches!(self.intent, Intent::Subscribed(_)) {
            return None;
        }
        if let Some(at) = self.decide_at.filter(|at| *at > now) {
            return Some(at);
        }
        match self.shared.config.protocol {
            GroupProtocol::Classic => self.become_member(false),
            GroupProtocol::Consumer => self.become_member(true),
            GroupProtocol::Auto => {
                self.deciding = true;
                let coordinator = self.coordinator.clone();
                self.events.spawn(async move {
                    let connection = coordinator.connection(Lane::Group).await;
                    Event::Decided(connection.map(|c| c.version(ApiKey::ConsumerGroupHeartbeat).is_ok()))
                });
            }
        }
        None
    }

    fn become_member(&mut self, by_consumer_protocol: bool) {
        let (config, backoff) = (self.shared.config.clone(), self.cluster.backoff());
        self.member = Some(match by_consumer_protocol {
            true => {
                let member_id = Uuid(rand::rng().random()).to_string();
                Member::Consumer(Box::new(ConsumerMember::new(config, backoff, member_id)))
            }
            false => Member::Classic(Box::new(ClassicMember::new(config, backoff))),
        });
        // The intent is told to the member that is there now.
        self.intent_version = 0;
        self.shared.wake.notify_one();
    }

    /// Classic, by pattern: looks from time to time which topics there are.
    fn list(&mut self, now: Instant) -> Option<Instant> {
        let by_pattern = matches!(self.intent, Intent::Subscribed(Subscription::Pattern(_)));
        if self.listing || !by_pattern || !matches!(self.member, Some(Member::Classic(_))) {
            return None;
        }
        if let Some(at) = self.list_at.filter(|at| *at > now) {
            return Some(at);
        }
        self.listing = true;
        let cluster = self.cluster.clone();
        self.events.spawn(async move { Event::Listed(all_topics(&cluster).await) });
        None
    }

    /// Leaves the group when the caller does not ask for records for too long, and joins again when it does.
    fn watch_polls(&mut self, now: Instant) -> Option<Instant> {
        let polls = self.shared.polls.load(Ordering::Relaxed);
        let member = self.member.as_mut().filter(|_| matches!(self.intent, Intent::Subscribed(_)))?;
        if polls != self.polls_seen {
            self.polls_seen = polls;
            self.polled_at = now;
            if std::mem::take(&mut self.stale) {
                member.polled();
            }
        }
        let deadline = self.polled_at + self.shared.config.max_poll_interval;
        if self.stale || deadline > now {
            return (!self.stale).then_some(deadline);
        }
        self.stale = true;
        let error = Error::MaxPollIntervalExceeded {
            group: self.shared.config.group_id.as_str().into(),
            interval: self.shared.config.max_poll_interval,
        };
        tracing::warn!(%error, "leaving the group");
        let leave = member.poll_expired();
        if let Some(leave) = leave {
            let (coordinator, timeouts) = (self.coordinator.clone(), self.timeouts());
            let farewell = Sent { attempt: 0, generation: 0 };
            self.events.spawn(async move { Event::Answered(farewell, send(coordinator, leave, timeouts).await) });
        }
        let gone = self.shared.refusals.commit_failed("the caller did not ask for records within max_poll_interval");
        self.shared.state.lock().commits.forget_all(&gone);
        self.shared.fetch.buffer.lock().report(error);
        self.shared.call_attention();
        None
    }

    /// Has the member's next steps done; returns when to look again.
    fn advance(&mut self, now: Instant) -> Option<Instant> {
        let alarm = loop {
            let Some(member) = &mut self.member else { break None };
            match member.next(now) {
                Step::Wait(until) => break until,
                Step::Left => self.left(),
                Step::Send(request) => self.send(request),
                Step::HandOver(change) => {
                    let (done, waiting) = tokio::sync::oneshot::channel();
                    tracing::info!(group = self.shared.config.group_id, ?change, "partitions change hands");
                    self.shared.state.lock().handover = Some(Handover { change, done });
                    self.shared.call_attention();
                    self.events.spawn(async move {
                        // One that comes to nothing (a listener that panics) is over, too.
                        let _ = waiting.await;
                        Event::HandedOver
                    });
                }
                Step::CountPartitions(topics) => {
                    for topic in &topics {
                        self.cluster.want_topic(topic);
                    }
                    let cluster = self.cluster.clone();
                    self.events.spawn(async move { Event::Counted(partition_counts(&cluster, topics).await) });
                }
                Step::NameTopics(ids) => {
                    let cluster = self.cluster.clone();
                    self.events.spawn(async move { Event::Named(topic_names(&cluster, ids).await) });
                }
            }
        };
        self.show_identity();
        alarm
    }

    /// Lets commits be made in the member's name. Once it is no member any more, nothing that is in line can be: whoever waits
    /// for that, a hand-over too, is told so.
    fn show_identity(&self) {
        let identity = match self.intent {
            Intent::ByHand => Some(Identity::none()),
            _ => self.member.as_ref().and_then(Member::identity),
        };
        let mut state = self.shared.state.lock();
        if identity.is_none() && state.identity.as_ref().is_some_and(|before| *before != Identity::none()) {
            state
                .commits
                .forget_all(&self.shared.refusals.commit_failed("the group does not know this member any more"));
        }
        state.identity = identity;
    }

    fn send(&mut self, request: MemberRequest) {
        let generation = match &request {
            MemberRequest::Heartbeat(heartbeat) => heartbeat.generation_id,
            _ => {
                self.attempt += 1;
                0
            }
        };
        let sent = Sent { attempt: self.attempt, generation };
        let (coordinator, timeouts) = (self.coordinator.clone(), self.timeouts());
        self.events.spawn(async move { Event::Answered(sent, send(coordinator, request, timeouts).await) });
    }

    fn timeouts(&self) -> Timeouts {
        let request = self.cluster.config().request_timeout;
        Timeouts { request, rebalance: self.shared.config.max_poll_interval }
    }

    /// Compares the metadata with what a leader assigned by, and asks for it again while a topic of the subscription is not
    /// there yet.
    fn learn(&mut self, metadata: &Metadata) {
        if let Intent::Subscribed(Subscription::Topics(topics)) = &self.intent
            && topics.iter().any(|topic| matches!(metadata.topic(topic), Some(Err(code)) if code.is_retriable()))
        {
            self.cluster.request_update();
        }
        let Some(member) = self.member.as_mut().and_then(Member::classic) else { return };
        member.partitions_seen(|topic| match metadata.topic(topic)? {
            Ok(topic) => i32::try_from(topic.partitions.len()).ok(),
            Err(ErrorCode::UnknownTopicOrPartition) => Some(0),
            Err(_) => None,
        });
    }

    fn take_in(&mut self, event: Event) {
        let now = clock::now();
        match event {
            Event::Decided(Ok(by_consumer_protocol)) => {
                self.deciding = false;
                self.become_member(by_consumer_protocol);
            }
            Event::Decided(Err(error)) => {
                self.deciding = false;
                self.decide_at = Some(now + self.backoff.next());
                match error.is_retriable() {
                    true => tracing::warn!(%error, "the group's coordinator cannot be reached yet"),
                    false => self.end(error),
                }
            }
            Event::Answered(sent, response) => self.answered(now, sent, response),
            Event::HandedOver => {
                if let Some(member) = &mut self.member {
                    member.handed_over();
                }
                let subscribed = match &self.intent {
                    Intent::Subscribed(Subscription::Topics(topics)) => topics.clone(),
                    _ => BTreeSet::new(),
                };
                let led: Vec<Arc<str>> = match &mut self.member {
                    Some(Member::Classic(member)) => member.led_topics().cloned().collect(),
                    _ => Vec::new(),
                };
                self.cluster.want_only(subscribed.into_iter().chain(led).chain(self.assigned_topics()));
            }
            Event::Counted(counts) => {
                if let Some(member) = self.member.as_mut().and_then(Member::classic) {
                    member.partitions_counted(now, counts);
                }
            }
            Event::Named(names) => {
                if let Some(member) = self.member.as_mut().and_then(Member::consumer) {
                    member.named(now, names);
                }
            }
            Event::Listed(topics) => {
                self.listing = false;
                self.listed(now, topics);
            }
            Event::Committed(identity, outcome) => self.committed(now, &identity, outcome),
        }
    }

    fn listed(&mut self, now: Instant, topics: Result<BTreeSet<Arc<str>>, Error>) {
        match topics {
            Ok(topics) => {
                self.list_at = Some(now + self.cluster.config().metadata_max_age);
                if let (Intent::Subscribed(Subscription::Pattern(pattern)), Some(member)) =
                    (&self.intent, &mut self.member)
                {
                    let matching = topics.into_iter().filter(|topic| pattern.matches(topic)).collect();
                    member.subscribe(Subscription::Pattern(pattern.clone()), matching);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the topics could not be listed");
                self.list_at = Some(now + self.backoff.next());
            }
        }
    }

    fn answered(&mut self, now: Instant, sent: Sent, response: MemberResponse) {
        let current = sent.attempt == self.attempt;
        let outcome = match (&mut self.member, response) {
            (Some(Member::Classic(member)), MemberResponse::Join(response)) if current => member.joined(now, response),
            (Some(Member::Classic(member)), MemberResponse::Sync(response)) if current => member.synced(now, response),
            (Some(Member::Classic(member)), MemberResponse::Heartbeat(response)) => {
                member.beaten(now, sent.generation, response)
            }
            (Some(Member::Classic(member)), MemberResponse::Leave(_)) if current => {
                member.left();
                Ok(())
            }
            (Some(Member::Consumer(member)), MemberResponse::ConsumerHeartbeat(response)) if current => {
                member.beaten(now, response)
            }
            _ => Ok(()),
        };
        if let Err(error) = outcome {
            self.end(error);
        }
    }

    /// The membership is over for good.
    fn end(&mut self, error: Error) {
        tracing::error!(%error, "the membership in the group ended");
        if let Some(member) = &mut self.member {
            member.end_now();
        }
        let mut state = self.shared.state.lock();
        state.ended = Some(error);
        // Nothing is subscribed to from here on, as far as this task is concerned.
        self.intent = Intent::Leave;
        drop(state);
        match self.member {
            Some(_) => self.shared.fetch.fetched.notify_one(),
            None => self.left(),
        }
    }

    fn left(&mut self) {
        let gone = self.shared.refusals.commit_failed("the group was left");
        let mut state = self.shared.state.lock();
        state.commits.forget_all(&gone);
        state.left = true;
        drop(state);
        self.shared.fetch.fetched.notify_one();
    }
}
