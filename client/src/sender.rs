//! The producer's task: takes what is ready, sends each leader what is its own, and settles what comes back.
//!
//! Owns the outbox of every partition, one connection to each leader, the producer's identity and every timer. The
//! rules of order and repetition are the outbox's, those of gathering the accumulator's. Invariants: requests to one
//! broker are submitted in the order in which batches are taken, and no more than `max_in_flight` are unanswered; what a
//! partition has in flight is all at one broker.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use ottla_protocol::messages::init_producer_id::InitProducerIdRequest;
use ottla_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};
use ottla_protocol::records::{BatchFields, with_producer};
use ottla_protocol::{ApiKey, ErrorCode, Records, Uuid};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::accumulator::{Accumulator, ProducerBatch};
use crate::clock::{self, Backoff, Instant};
use crate::cluster::{Cluster, Lane};
use crate::config::{Acks, ProducerConfig};
use crate::connection::Connection;
use crate::delivery::BatchAcknowledged;
use crate::metadata::{Metadata, error_of};
use crate::outbox::{Answer, Identity, Next, Outbox, Outgoing, Verdict};
use crate::{Error, TopicPartition};

/// The first version of Produce that names topics by id.
const PRODUCE_BY_TOPIC_ID: i16 = 13;

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

/// A batch as it goes on the wire.
#[derive(Debug)]
struct Encoded {
    bytes: Bytes,
    /// What `bytes` says; differs from the outbox's after the sequences were given afresh.
    stamp: (Option<Identity>, i32),
    /// Uncompressed bytes, counted against the buffer's memory.
    size: usize,
}

impl Encoded {
    /// Makes the bytes say what the outbox says.
    fn stamp(&mut self, identity: Option<Identity>, sequence: i32) {
        if let Some(Identity { producer_id, epoch }) = identity
            && self.stamp != (identity, sequence)
        {
            self.bytes = with_producer(std::mem::take(&mut self.bytes), producer_id, epoch, sequence);
            self.stamp = (identity, sequence);
        }
    }
}

type Batch = (TopicPartition, Outgoing<Encoded>);

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
    Answered(i32, Vec<Batch>, Result<Option<ProduceResponse>, Error>),
}

#[derive(Debug)]
pub(crate) struct Sender {
    shared: Arc<Shared>,
    cluster: Cluster,
    config: ProducerConfig,
    backoff: Backoff,
    partitions: HashMap<TopicPartition, Partition>,
    links: HashMap<i32, Link>,
    identity: Option<Identity>,
    identifying: bool,
    identify_at: Option<Instant>,
    identify_failures: u32,
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
            cluster,
            partitions: HashMap::new(),
            links: HashMap::new(),
            identity: None,
            identifying: false,
            identify_at: None,
            identify_failures: 0,
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
            self.identify(clock::now());
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
        for (location, partition) in &mut self.partitions {
            if partition.outbox.peek().is_none() {
                continue;
            }
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
        let mut candidates: Vec<TopicPartition> = Vec::new();
        for (location, partition) in &self.partitions {
            if partition.outbox.peek().is_some() {
                candidates.push(location.clone());
            }
        }
        for (location, ready_at) in self.shared.accumulator.lock().waiting() {
            if ready_at > now {
                alarm.at(ready_at);
            } else if self.partitions.get(location).is_none_or(|partition| partition.outbox.peek().is_none()) {
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
                *size += batch.batch.bytes.len();
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
            Next::Resend if outbox.peek()?.batch.bytes.len() > room => return None,
            Next::Resend => outbox.resend()?,
            Next::New => {
                let batch = self.shared.accumulator.lock().take(location, now, room)?;
                let deadline = batch.created + self.config.delivery_timeout;
                let (number, size, records) = (batch.number, batch.size, batch.records);
                match self.encode(batch, outbox.identity(), outbox.next_sequence()) {
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

    fn encode(&self, batch: ProducerBatch, identity: Option<Identity>, sequence: i32) -> Result<Encoded, String> {
        let mut fields = BatchFields { compression: self.config.compression, ..Default::default() };
        if let Some(identity) = identity {
            fields.producer_id = identity.producer_id;
            fields.producer_epoch = identity.epoch;
            fields.base_sequence = sequence;
        }
        let bytes = batch.builder.build(&fields).map_err(|error| error.to_string())?;
        Ok(Encoded { bytes, stamp: (identity, sequence), size: batch.size })
    }

    /// An identity other than `spent`: the producer's own if it has moved on, else one under the next epoch.
    fn identity_after(&mut self, spent: Option<Identity>, now: Instant, alarm: &mut Alarm) -> Option<Identity> {
        let identity = match self.identity {
            Some(identity) if Some(identity) != spent => return Some(identity),
            Some(identity) if identity.epoch < i16::MAX => Identity { epoch: identity.epoch + 1, ..identity },
            _ => {
                self.identity = None;
                match self.identify_at.filter(|identify_at| *identify_at > now) {
                    Some(identify_at) => alarm.at(identify_at),
                    None => self.identify(now),
                }
                return None;
            }
        };
        self.identity = Some(identity);
        Some(identity)
    }

    /// Asks for a producer id.
    fn identify(&mut self, now: Instant) {
        if self.identifying || self.identify_at.is_some_and(|identify_at| identify_at > now) {
            return;
        }
        self.identifying = true;
        let cluster = self.cluster.clone();
        self.events.spawn(async move { Event::Identified(init_producer_id(&cluster).await) });
    }

    /// Submits one request; what cannot be submitted is in line again.
    fn submit(&mut self, node: i32, batches: Vec<Batch>, metadata: &Metadata, now: Instant) {
        match self.try_submit(node, &batches, metadata, now) {
            Ok(answer) => {
                if let Some(link) = self.links.get_mut(&node) {
                    link.in_flight += 1;
                }
                self.events.spawn(async move { Event::Answered(node, batches, answer.await) });
            }
            Err(error) => self.settle_all(batches, &error, !error.is_retriable(), false),
        }
    }

    fn try_submit(
        &self,
        node: i32,
        batches: &[Batch],
        metadata: &Metadata,
        now: Instant,
    ) -> Result<impl Future<Output = Result<Option<ProduceResponse>, Error>> + use<>, Error> {
        let link = self.links.get(&node).and_then(|link| link.connection.clone());
        let connection = link.ok_or(Error::Closed)?;
        let mut version = connection.version(ApiKey::Produce)?;
        let identified = batches.iter().all(|(location, _)| metadata.topic_id(&location.topic).is_some());
        if version >= PRODUCE_BY_TOPIC_ID && !identified {
            version = PRODUCE_BY_TOPIC_ID - 1;
        }
        let timeout = self.config.client.request_timeout;
        let request = ProduceRequest {
            transactional_id: None,
            acks: self.config.acks.code(),
            timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
            topic_data: topic_data(batches, metadata),
        };
        let expiry = batches.iter().map(|(_, outgoing)| outgoing.deadline).min();
        let deadline = expiry.map_or(now + timeout, |expiry| expiry.min(now + timeout));
        let (written, pending) = match self.config.acks {
            Acks::None => (Some(connection.submit_unanswered(&request, version)?), None),
            _ => (None, Some(connection.submit(&request, version, deadline)?)),
        };
        Ok(async move {
            match (written, pending) {
                (_, Some(pending)) => pending.answer().await.map(Some),
                (Some(written), None) => match written.await {
                    Ok(written) => written.map(|_| None),
                    Err(_) => Err(connection.close_reason()),
                },
                (None, None) => Ok(None),
            }
        })
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
            Some(Event::Identified(Ok(identity))) => {
                self.identifying = false;
                self.identify_failures = 0;
                self.identity = Some(identity);
            }
            Some(Event::Identified(Err(error))) if error.is_retriable() => {
                self.identifying = false;
                self.identify_failures += 1;
                self.identify_at = Some(now + self.backoff.after(self.identify_failures));
                tracing::warn!(%error, "no producer id yet");
            }
            Some(Event::Identified(Err(error))) => {
                tracing::error!(%error, "no producer id: the producer cannot go on");
                let mut accumulator = self.shared.accumulator.lock();
                accumulator.refuse(error.clone());
                accumulator.fail_all(&error);
                drop(accumulator);
                self.shared.freed.notify_waiters();
            }
            Some(Event::Answered(node, batches, outcome)) => {
                if let Some(link) = self.links.get_mut(&node) {
                    link.in_flight -= 1;
                }
                match outcome {
                    Ok(Some(response)) => self.settle_answered(node, batches, response, now),
                    Ok(None) => {
                        let unknown = BatchAcknowledged { base_offset: -1, log_append_time: -1 };
                        for (location, outgoing) in batches {
                            self.settle(&location, outgoing, Answer::Acknowledged, Ok(unknown), now);
                        }
                    }
                    Err(error) => self.settle_all(batches, &error, !error.is_retriable(), true),
                }
            }
        }
    }

    /// Settles batches whose request failed as a whole.
    fn settle_all(&mut self, batches: Vec<Batch>, error: &Error, is_final: bool, sent: bool) {
        self.cluster.request_update();
        let answer = match (sent, is_final) {
            (true, _) => Answer::Lost,
            (false, true) => Answer::Impossible,
            (false, false) => Answer::NotSent,
        };
        let now = clock::now();
        for (location, outgoing) in batches {
            self.settle(&location, outgoing, answer, Err(error.clone()), now);
        }
    }

    fn settle_answered(&mut self, node: i32, batches: Vec<Batch>, response: ProduceResponse, now: Instant) {
        let metadata = self.cluster.metadata();
        let address = self.links.get(&node).and_then(|link| link.connection.as_ref()).map(|c| c.address().clone());
        let address = address.unwrap_or_else(|| format!("broker {node}").into());
        let mut answers: HashMap<TopicPartition, PartitionProduceResponse> = HashMap::new();
        for topic in response.responses {
            let name = match topic.topic_id {
                Uuid::ZERO => Some(Arc::from(topic.name)),
                id => metadata.name(&id).cloned(),
            };
            let Some(name) = name else { continue };
            for partition in topic.partition_responses {
                answers.insert(TopicPartition { topic: name.clone(), partition: partition.index }, partition);
            }
        }
        for (location, outgoing) in batches {
            let Some(answer) = answers.remove(&location) else {
                let reason = format!("it leaves out {location}").into();
                let error = Error::MalformedResponse { address: address.clone(), api: ApiKey::Produce, reason };
                self.settle(&location, outgoing, Answer::Lost, Err(error), now);
                continue;
            };
            let acknowledged =
                BatchAcknowledged { base_offset: answer.base_offset, log_append_time: answer.log_append_time_ms };
            match error_of(answer.error_code) {
                None => self.settle(&location, outgoing, Answer::Acknowledged, Ok(acknowledged), now),
                Some(code @ ErrorCode::DuplicateSequenceNumber) => {
                    self.settle(&location, outgoing, Answer::Refused(code), Ok(acknowledged), now);
                }
                Some(code) => {
                    let message = refusal_message(&answer);
                    let error = Error::broker(ApiKey::Produce, answer.error_code, &address, &location, message);
                    if code.is_retriable() {
                        self.cluster.request_update();
                    }
                    self.settle(&location, outgoing, Answer::Refused(code), Err(error), now);
                }
            }
        }
    }

    fn settle(
        &mut self,
        location: &TopicPartition,
        outgoing: Outgoing<Encoded>,
        answer: Answer,
        outcome: Result<BatchAcknowledged, Error>,
        now: Instant,
    ) {
        let Some(partition) = self.partitions.get_mut(location) else { return };
        let backoff = self.backoff.after(partition.outbox.failures() + 1);
        let expired = outgoing.deadline <= now;
        match partition.outbox.settle(outgoing, answer, now, backoff) {
            Verdict::Retry => {
                self.shared.counters.retries.fetch_add(1, Ordering::Relaxed);
                if let Err(error) = outcome {
                    tracing::debug!(partition = %location, %error, "a batch is sent again");
                }
            }
            Verdict::Delivered(outgoing) => {
                let counters = &self.shared.counters;
                counters.records_acknowledged.fetch_add(outgoing.records as u64, Ordering::Relaxed);
                counters.bytes_acknowledged.fetch_add(outgoing.batch.bytes.len() as u64, Ordering::Relaxed);
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

/// The broker's words about a refused batch, with those about its first bad record.
fn refusal_message(answer: &PartitionProduceResponse) -> Option<String> {
    let record = answer.record_errors.first().map(|record| {
        let message = record.batch_index_error_message.as_deref().unwrap_or("invalid");
        format!("record {} of the batch: {message}", record.batch_index)
    });
    match (answer.error_message.clone(), record) {
        (Some(message), Some(record)) => Some(format!("{message}; {record}")),
        (message, record) => message.or(record),
    }
}

fn topic_data(batches: &[Batch], metadata: &Metadata) -> Vec<TopicProduceData> {
    let mut topics: BTreeMap<&str, Vec<PartitionProduceData>> = BTreeMap::new();
    for (location, outgoing) in batches {
        let records = Records::Bytes(outgoing.batch.bytes.clone());
        let data = PartitionProduceData { index: location.partition, records };
        topics.entry(&location.topic).or_default().push(data);
    }
    let topic = |(name, partition_data): (&str, _)| TopicProduceData {
        name: name.to_owned(),
        topic_id: metadata.topic_id(name).unwrap_or(Uuid::ZERO),
        partition_data,
    };
    topics.into_iter().map(topic).collect()
}

async fn init_producer_id(cluster: &Cluster) -> Result<Identity, Error> {
    let request = InitProducerIdRequest { transaction_timeout_ms: i32::MAX, ..Default::default() };
    let connection = cluster.any_connection().await?;
    let response = connection.request(&request, cluster.config().request_timeout).await?;
    match response.error_code {
        0 => Ok(Identity { producer_id: response.producer_id, epoch: response.producer_epoch }),
        code => Err(Error::broker(ApiKey::InitProducerId, code, connection.address(), "", None)),
    }
}
