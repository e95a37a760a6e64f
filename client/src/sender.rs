//! The producer's task: takes what is ready, sends each leader what is its own, and settles what comes back.
//!
//! Owns the outbox of every partition, one connection to each leader, the producer's identity and every timer. The
//! rules of order and repetition are the outbox's, those of gathering the accumulator's. Invariants: requests to one
//! broker are submitted in the order in which batches are taken, and no more than `max_in_flight` are unanswered; what a
//! partition has in flight is all at one broker.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ottla_protocol::ErrorCode;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::accumulator::Accumulator;
use crate::clock::{self, Backoff, Instant};
use crate::cluster::{Cluster, Lane};
use crate::config::ProducerConfig;
use crate::connection::Connection;
use crate::metadata::Metadata;
use crate::outbox::{Answer, Identity, Next, Outbox, Outgoing, Verdict};
use crate::produce_call::{Batch, Encoded, ProduceCall, Response, Settled};
use crate::producer_identity::{Identification, ProducerIdentity, init_producer_id};
use crate::{Error, TopicPartition};

/// What the producer's handle and its task share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) accumulator: Mutex<Accumulator>,
    /// There is something for the task to do.
    pub(crate) wake: Notify,
    /// Memory was freed for those who wait to append.
    pub(crate) freed: Notify,
    /// The task ends once everything is settled.
    pub(crate) closing: AtomicBool,
    pub(crate) counters: Counters,
}

/// What happened so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) records_acknowledged: AtomicU64,
    pub(crate) records_failed: AtomicU64,
    pub(crate) bytes_acknowledged: AtomicU64,
    pub(crate) batches_acknowledged: AtomicU64,
    pub(crate) retries: AtomicU64,
}

#[derive(Debug)]
struct Partition {
    outbox: Outbox<Encoded>,
    /// Where what is in flight went to.
    node: i32,
}

/// The connection to one leader.
#[derive(Debug, Default)]
struct Link {
    connection: Option<Connection>,
    connecting: bool,
    retry_at: Option<Instant>,
    failures: u32,
    in_flight: usize,
}

/// What the task waits for.
#[derive(Debug)]
enum Event {
    Connected(i32, Result<Connection, Error>),
    Identified(Result<Identity, Error>),
    Answered(i32, ProduceCall, Response),
}

#[derive(Debug)]
pub(crate) struct Sender {
    shared: Arc<Shared>,
    cluster: Cluster,
    config: ProducerConfig,
    backoff: Backoff,
    partitions: HashMap<TopicPartition, Partition>,
    /// Those of them that have batches to be sent again.
    again: BTreeSet<TopicPartition>,
    links: HashMap<i32, Link>,
    identity: ProducerIdentity,
    /// Nothing in the accumulator expires before this.
    next_expiry: Instant,
    events: JoinSet<Event>,
    /// Rotates the partitions, so that none is always the last to find room in a request.
    turn: usize,
}

/// The earliest of the times at which there will be something to do.
#[derive(Debug, Default)]
struct Alarm(Option<Instant>);

impl Alarm {
    fn at(&mut self, time: Instant) {
        self.0 = Some(self.0.map_or(time, |earliest| earliest.min(time)));
    }
}

impl Sender {
    pub(crate) fn new(shared: Arc<Shared>, cluster: Cluster, config: ProducerConfig) -> Self {
        Sender {
            shared,
            backoff: cluster.backoff(),
            identity: ProducerIdentity::new(cluster.backoff()),
            cluster,
            partitions: HashMap::new(),
            again: BTreeSet::new(),
            links: HashMap::new(),
            next_expiry: clock::now() + config.delivery_timeout,
            config,
            events: JoinSet::new(),
            turn: 0,
        }
    }

    /// Runs until everything is settled after `closing` was set.
    pub(crate) async fn run(mut self) {
        let mut updates = self.cluster.updates();
        if self.config.enable_idempotence {
            // So that it is there when the first record comes.
            self.identity_after(None, clock::now(), &mut Alarm::default());
        }
        loop {
            let now = clock::now();
            let mut alarm = Alarm::default();
            self.expire(now, &mut alarm);
            self.send_ready(now, &mut alarm);
            if self.shared.closing.load(Ordering::Acquire) && self.shared.accumulator.lock().is_settled() {
                return;
            }
            let alarm_at = alarm.0.unwrap_or(now + self.config.delivery_timeout);
            tokio::select! {
                Some(event) = self.events.join_next(), if !self.events.is_empty() => {
                    self.handle(event.ok());
                    while let Some(event) = self.events.try_join_next() {
                        self.handle(event.ok());
                    }
                }
                () = self.shared.wake.notified() => {}
                // The sender of updates lives as long as the cluster handle.
                _ = updates.changed() => self.learn(&updates.borrow_and_update().metadata.clone()),
                () = tokio::time::sleep_until(alarm_at) => {}
            }
        }
    }

    /// Tells the accumulator of partitions that were added or lost their leaders.
    fn learn(&self, metadata: &Metadata) {
        let mut accumulator = self.shared.accumulator.lock();
        let topics: Vec<Arc<str>> = accumulator.topics().cloned().collect();
        for topic in topics {
            if let Some(Ok(topic)) = metadata.topic(&topic) {
                accumulator.set_topic(topic);
            }
        }
    }

    /// Fails what is past its delivery timeout.
    fn expire(&mut self, now: Instant, alarm: &mut Alarm) {
        if self.next_expiry <= now {
            let (expired, next) = self.shared.accumulator.lock().take_expired(now);
            self.next_expiry = next.unwrap_or(now + self.config.delivery_timeout);
            for batch in expired {
                let partition = batch.delivery.partition().clone();
                let reason = "they could not be sent".to_owned();
                let error = Error::DeliveryTimeout { partition, after: self.config.delivery_timeout, reason };
                self.fail(batch.number, batch.size, batch.records, error);
            }
        }
        alarm.at(self.next_expiry);
        let mut late = Vec::new();
        for location in &self.again {
            let Some(partition) = self.partitions.get_mut(location) else { continue };
            let (expired, next) = partition.outbox.take_expired(now);
            late.extend(expired.into_iter().map(|outgoing| (location.clone(), outgoing)));
            if let Some(next) = next {
                alarm.at(next);
            }
        }
        for (partition, outgoing) in late {
            let reason = "no repetition succeeded".to_owned();
            let error = Error::DeliveryTimeout { partition, after: self.config.delivery_timeout, reason };
            self.fail(outgoing.number, outgoing.batch.size, outgoing.records as u32, error);
        }
    }

    /// Sends all that may be sent now: at most one batch of a partition in a request, and as many requests as the brokers
    /// may have unanswered.
    fn send_ready(&mut self, now: Instant, alarm: &mut Alarm) {
        let metadata = self.cluster.metadata();
        loop {
            let requests = self.gather(&metadata, now, alarm);
            if requests.is_empty() {
                return;
            }
            for (node, batches) in requests {
                self.submit(node, batches, &metadata, now);
            }
        }
    }

    /// Takes the batches of the next request to each leader.
    fn gather(&mut self, metadata: &Metadata, now: Instant, alarm: &mut Alarm) -> BTreeMap<i32, Vec<Batch>> {
        self.again.retain(|location| self.partitions.get(location).is_some_and(|p| p.outbox.peek().is_some()));
        let mut candidates: Vec<TopicPartition> = self.again.iter().cloned().collect();
        for (location, ready_at) in self.shared.accumulator.lock().waiting() {
            if ready_at > now {
                alarm.at(ready_at);
            } else if !self.again.contains(location) {
                candidates.push(location.clone());
            }
        }
        let mut requests: BTreeMap<i32, Vec<Batch>> = BTreeMap::new();
        let mut sizes: HashMap<i32, usize> = HashMap::new();
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn % candidates.len().max(1);
        candidates.rotate_left(first);
        for location in candidates {
            let Some(node) = metadata.partition(&location).and_then(|partition| partition.leader) else {
                // Wakes this task when it comes.
                self.cluster.want_topic(&location.topic);
                self.cluster.request_update();
                continue;
            };
            if !self.link_ready(node, now, alarm) {
                continue;
            }
            let size = sizes.entry(node).or_default();
            let room = if *size == 0 { usize::MAX } else { self.config.max_request_bytes.saturating_sub(*size) };
            if let Some(batch) = self.next_batch(&location, node, room, now, alarm) {
                *size += batch.batch.len();
                requests.entry(node).or_default().push((location, batch));
            }
        }
        requests
    }

    /// Whether a request may be submitted to a broker now. Connects if there is no connection.
    fn link_ready(&mut self, node: i32, now: Instant, alarm: &mut Alarm) -> bool {
        let link = self.links.entry(node).or_default();
        if link.connection.as_ref().is_some_and(|connection| !connection.is_closed()) {
            return link.in_flight < self.config.max_in_flight;
        }
        if let Some(retry_at) = link.retry_at.filter(|retry_at| *retry_at > now) {
            alarm.at(retry_at);
        } else if !link.connecting {
            link.connecting = true;
            let cluster = self.cluster.clone();
            self.events.spawn(async move { Event::Connected(node, cluster.connection(node, Lane::Data).await) });
        }
        false
    }

    /// The partition's next batch, if it may go to `node` now.
    fn next_batch(
        &mut self,
        location: &TopicPartition,
        node: i32,
        room: usize,
        now: Instant,
        alarm: &mut Alarm,
    ) -> Option<Outgoing<Encoded>> {
        let (idempotent, max_in_flight) = (self.config.enable_idempotence, self.config.max_in_flight);
        let fresh = || Partition { outbox: Outbox::new(idempotent, max_in_flight), node };
        let mut partition = self.partitions.remove(location).unwrap_or_else(fresh);
        let batch = self.next_of(&mut partition, location, node, room, now, alarm);
        self.partitions.insert(location.clone(), partition);
        batch
    }

    fn next_of(
        &mut self,
        partition: &mut Partition,
        location: &TopicPartition,
        node: i32,
        room: usize,
        now: Instant,
        alarm: &mut Alarm,
    ) -> Option<Outgoing<Encoded>> {
        let outbox = &mut partition.outbox;
        if outbox.in_flight() > 0 && partition.node != node {
            return None;
        }
        let mut next = outbox.next(now);
        if next == Next::NeedsIdentity {
            outbox.adopt(self.identity_after(outbox.identity(), now, alarm)?);
            next = outbox.next(now);
        }
        let mut outgoing = match next {
            Next::Wait(until) => {
                if let Some(until) = until {
                    alarm.at(until);
                }
                return None;
            }
            Next::NeedsIdentity => return None,
            Next::Resend if outbox.peek()?.batch.len() > room => return None,
            Next::Resend => outbox.resend()?,
            Next::New => {
                let batch = self.shared.accumulator.lock().take(location, now, room)?;
                let deadline = batch.created + self.config.delivery_timeout;
                let (number, size, records) = (batch.number, batch.size, batch.records);
                let compression = self.config.compression;
                match Encoded::new(batch, compression, outbox.identity(), outbox.next_sequence()) {
                    Ok(encoded) => outbox.admit(encoded, number, records as i32, deadline),
                    Err(reason) => {
                        let topic = location.topic.clone();
                        self.fail(number, size, records, Error::InvalidRecord { topic, reason });
                        return None;
                    }
                }
            }
        };
        partition.node = node;
        outgoing.batch.stamp(outbox.identity(), outgoing.sequence);
        Some(outgoing)
    }

    /// An identity other than `spent`, if there is one now.
    fn identity_after(&mut self, spent: Option<Identity>, now: Instant, alarm: &mut Alarm) -> Option<Identity> {
        match self.identity.other_than(spent, now) {
            Identification::Known(identity) => return Some(identity),
            Identification::Ask => {
                let cluster = self.cluster.clone();
                self.events.spawn(async move { Event::Identified(init_producer_id(&cluster).await) });
            }
            Identification::Wait(Some(until)) => alarm.at(until),
            Identification::Wait(None) => {}
        }
        None
    }

    /// Submits one request; what cannot be submitted is in line again.
    fn submit(&mut self, node: i32, batches: Vec<Batch>, metadata: &Metadata, now: Instant) {
        let link = self.links.get_mut(&node).expect("batches are gathered for a link that is ready");
        let connection = link.connection.as_ref().expect("a link that is ready is connected");
        let timeout = self.config.client.request_timeout;
        let expiry = batches.iter().map(|(_, outgoing)| outgoing.deadline).min();
        let deadline = expiry.map_or(now + timeout, |expiry| expiry.min(now + timeout));
        match ProduceCall::submit(connection, batches, metadata, self.config.acks, timeout, deadline) {
            Ok((call, response)) => {
                link.in_flight += 1;
                self.events.spawn(async move { Event::Answered(node, call, response.await) });
            }
            Err(settled) => settled.into_iter().for_each(|settled| self.settle(settled, now)),
        }
    }

    fn handle(&mut self, event: Option<Event>) {
        let now = clock::now();
        match event {
            None => {}
            Some(Event::Connected(node, outcome)) => {
                let link = self.links.entry(node).or_default();
                link.connecting = false;
                match outcome {
                    Ok(connection) => {
                        link.connection = Some(connection);
                        link.failures = 0;
                    }
                    Err(error) => {
                        link.failures += 1;
                        link.retry_at = Some(now + self.backoff.after(link.failures));
                        tracing::warn!(node, %error, "no connection to a leader");
                        self.cluster.request_update();
                    }
                }
            }
            Some(Event::Identified(answer)) => {
                if let Err(error) = self.identity.answered(answer, now) {
                    tracing::error!(%error, "no producer id: the producer cannot go on");
                    let mut accumulator = self.shared.accumulator.lock();
                    accumulator.refuse(error.clone());
                    accumulator.fail_all(&error);
                    drop(accumulator);
                    self.shared.freed.notify_waiters();
                }
            }
            Some(Event::Answered(node, call, response)) => {
                if let Some(link) = self.links.get_mut(&node) {
                    link.in_flight -= 1;
                }
                call.settle(response).into_iter().for_each(|settled| self.settle(settled, now));
            }
        }
    }

    /// Lets two halves of a batch that is too large for its topic take its place. `None` when that is done.
    fn split(&mut self, settled: Settled) -> Option<Settled> {
        let halves = match settled.outgoing.batch.halves(self.config.compression) {
            Ok(halves) => halves,
            Err(reason) => {
                tracing::warn!(partition = %settled.partition, reason, "a batch that is too large cannot be split");
                return Some(settled);
            }
        };
        let Some(partition) = self.partitions.get_mut(&settled.partition) else { return Some(settled) };
        let counts: Vec<u32> = halves.iter().map(|(_, count)| *count).collect();
        let numbers = self.shared.accumulator.lock().split(settled.outgoing.number, &counts);
        let Some(numbers) = numbers else { return Some(settled) };
        tracing::debug!(partition = %settled.partition, ?counts, "a batch is too large and is sent in two");
        let parts = halves.into_iter().zip(numbers).map(|((half, count), number)| (half, number, count as i32));
        partition.outbox.split(settled.outgoing, parts);
        self.again.insert(settled.partition);
        self.shared.counters.retries.fetch_add(1, Ordering::Relaxed);
        None
    }

    fn settle(&mut self, settled: Settled, now: Instant) {
        let too_large = settled.answer == Answer::Refused(ErrorCode::MessageTooLarge);
        let settled = match too_large && settled.outgoing.records > 1 && settled.outgoing.deadline > now {
            true => self.split(settled),
            false => Some(settled),
        };
        let Some(Settled { partition: location, outgoing, answer, outcome }) = settled else { return };
        if outcome.as_ref().is_err_and(Error::is_retriable) {
            self.cluster.request_update();
        }
        let Some(partition) = self.partitions.get_mut(&location) else { return };
        let backoff = self.backoff.after(partition.outbox.failures() + 1);
        let expired = outgoing.deadline <= now;
        match partition.outbox.settle(outgoing, answer, now, backoff) {
            Verdict::Retry => {
                self.again.insert(location.clone());
                self.shared.counters.retries.fetch_add(1, Ordering::Relaxed);
                if let Err(error) = outcome {
                    tracing::debug!(partition = %location, %error, "a batch is sent again");
                }
            }
            Verdict::Delivered(outgoing) => {
                let counters = &self.shared.counters;
                counters.records_acknowledged.fetch_add(outgoing.records as u64, Ordering::Relaxed);
                counters.bytes_acknowledged.fetch_add(outgoing.batch.len() as u64, Ordering::Relaxed);
                counters.batches_acknowledged.fetch_add(1, Ordering::Relaxed);
                self.shared.accumulator.lock().settle(outgoing.number, outgoing.batch.size, outcome);
                self.shared.freed.notify_waiters();
            }
            Verdict::Failed(outgoing) => {
                let error = match outcome {
                    Err(error) if expired && error.is_retriable() => Error::DeliveryTimeout {
                        partition: location.clone(),
                        after: self.config.delivery_timeout,
                        reason: error.to_string(),
                    },
                    Err(error) => error,
                    Ok(_) => Error::Closed,
                };
                self.fail(outgoing.number, outgoing.batch.size, outgoing.records as u32, error);
            }
        }
    }

    fn fail(&self, number: u64, size: usize, records: u32, error: Error) {
        self.shared.counters.records_failed.fetch_add(u64::from(records), Ordering::Relaxed);
        self.shared.accumulator.lock().settle(number, size, Err(error));
        self.shared.freed.notify_waiters();
    }
}

/// However the task ends, nobody waits for ever: not after `close()` was forgotten, nor after a panic.
impl Drop for Sender {
    fn drop(&mut self) {
        let mut accumulator = self.shared.accumulator.lock();
        accumulator.refuse(Error::Closed);
        let lost = accumulator.fail_all(&Error::Closed);
        drop(accumulator);
        self.shared.freed.notify_waiters();
        if lost > 0 {
            tracing::warn!(batches = lost, "a producer ended without close(): these batches may not have been sent");
        }
    }
}
