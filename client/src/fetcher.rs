//! The consumer's task: keeps one fetch in flight to each leader that has partitions to read.
//!
//! Owns the fetch sessions, and the questions for positions that were lost. Positions, and what an answer means for them,
//! are the buffer's. Invariants: at most one fetch to a broker is unanswered; none is sent while `prefetch_bytes` or more
//! wait to be consumed, nor to a broker of whose partitions one is full (what it has is consumed first, and the next
//! fetch serves them all: nobody waits out a long poll for a partition that was left out of it).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ottla_protocol::messages::fetch::{FetchRequest, FetchResponse};
use ottla_protocol::{ApiKey, ErrorCode, Uuid};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::clock::{self, Backoff, Instant};
use crate::cluster::{Cluster, Lane};
use crate::config::ConsumerConfig;
use crate::fetch_buffer::{Asked, FetchBuffer, Wanting};
use crate::fetch_session::{FetchSession, FetchSpec};
use crate::metadata::{Metadata, error_of};
use crate::offsets::{ListedOffset, list_offsets};
use crate::{Error, TopicPartition};

/// The first version of Fetch that names topics by id.
const FETCH_BY_TOPIC_ID: i16 = 13;

/// What the consumer's handle and its task share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) buffer: Mutex<FetchBuffer>,
    /// There may be something to fetch.
    pub(crate) wake: Notify,
    /// There may be something to consume.
    pub(crate) fetched: Notify,
}

/// What the task knows of one leader.
#[derive(Debug, Default)]
struct Leader {
    session: FetchSession,
    /// Whether the session's topics go by id; another way means another session.
    by_id: bool,
    in_flight: bool,
    retry_at: Option<Instant>,
    failures: u32,
}

/// A fetch that was answered, or not.
#[derive(Debug)]
struct Fetched {
    node: i32,
    asked: HashMap<TopicPartition, Asked>,
    names: HashMap<Uuid, Arc<str>>,
    address: Arc<str>,
    outcome: Result<FetchResponse, Error>,
}

#[derive(Debug)]
enum Event {
    Fetched(Fetched),
    Located(Vec<(TopicPartition, u64, Result<ListedOffset, Error>)>),
}

#[derive(Debug)]
pub(crate) struct Fetcher {
    shared: Arc<Shared>,
    cluster: Cluster,
    config: ConsumerConfig,
    backoff: Backoff,
    leaders: HashMap<i32, Leader>,
    events: JoinSet<Event>,
}

impl Fetcher {
    pub(crate) fn new(shared: Arc<Shared>, cluster: Cluster, config: ConsumerConfig) -> Self {
        let backoff = cluster.backoff();
        Fetcher { shared, cluster, config, backoff, leaders: HashMap::new(), events: JoinSet::new() }
    }

    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) {
        let mut updates = self.cluster.updates();
        loop {
            let now = clock::now();
            self.locate();
            let alarm = self.fetch(now).unwrap_or(now + self.config.client.metadata_max_age);
            tokio::select! {
                Some(event) = self.events.join_next(), if !self.events.is_empty() => match event {
                    Ok(Event::Fetched(fetched)) => self.take_in(fetched),
                    Ok(Event::Located(answers)) => {
                        let mut buffer = self.shared.buffer.lock();
                        for (location, generation, answer) in answers {
                            buffer.located(&location, generation, answer);
                        }
                        drop(buffer);
                        self.shared.fetched.notify_one();
                    }
                    Err(error) => tracing::error!(%error, "a fetch ended without an outcome"),
                },
                () = self.shared.wake.notified() => {}
                // The sender of updates lives as long as the cluster handle.
                _ = updates.changed() => {}
                () = tokio::time::sleep_until(alarm) => {}
            }
        }
    }

    /// Asks for the positions that are not known.
    fn locate(&mut self) {
        let questions = self.shared.buffer.lock().take_questions();
        if questions.is_empty() {
            return;
        }
        let (cluster, isolation_level) = (self.cluster.clone(), self.config.isolation_level);
        self.events.spawn(async move {
            let specs = questions.iter().map(|(location, (_, spec))| (location.clone(), *spec)).collect();
            let mut answers = list_offsets(&cluster, specs, isolation_level).await;
            let answer = |(location, (generation, _))| {
                let answer = answers.remove(&location).unwrap_or(Err(Error::Closed));
                (location, generation, answer)
            };
            Event::Located(questions.into_iter().map(answer).collect())
        });
    }

    /// Sends a fetch to each leader that may get one; returns when to look again.
    fn fetch(&mut self, now: Instant) -> Option<Instant> {
        let (wanting, mut alarm) = {
            let buffer = self.shared.buffer.lock();
            if buffer.bytes() >= self.config.prefetch_bytes {
                return None;
            }
            buffer.wanting(now)
        };
        let metadata = self.cluster.metadata();
        let mut by_leader: HashMap<i32, Vec<Wanting>> = HashMap::new();
        for wanting in wanting {
            match metadata.partition(&wanting.partition).and_then(|partition| partition.leader) {
                Some(leader) => by_leader.entry(leader).or_default().push(wanting),
                // Wakes this task when it comes.
                None => self.cluster.request_update(),
            }
        }
        for (node, wanting) in by_leader {
            let leader = self.leaders.entry(node).or_default();
            if leader.in_flight || wanting.iter().any(|wanting| wanting.full) {
                continue;
            }
            if let Some(retry_at) = leader.retry_at.filter(|retry_at| *retry_at > now) {
                alarm = Some(alarm.map_or(retry_at, |alarm| alarm.min(retry_at)));
                continue;
            }
            self.fetch_from(node, wanting, &metadata);
        }
        alarm
    }

    fn fetch_from(&mut self, node: i32, wanting: Vec<Wanting>, metadata: &Metadata) {
        let leader = self.leaders.entry(node).or_default();
        leader.in_flight = true;
        let by_id = wanting.iter().all(|wanting| metadata.topic_id(&wanting.partition.topic).is_some());
        if by_id != leader.by_id {
            leader.session.lost();
            leader.by_id = by_id;
        }
        let mut request = FetchRequest {
            max_wait_ms: i32::try_from(self.config.fetch_max_wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: i32::try_from(self.config.fetch_min_bytes).unwrap_or(i32::MAX),
            max_bytes: i32::try_from(self.config.fetch_max_bytes).unwrap_or(i32::MAX),
            isolation_level: self.config.isolation_level.code(),
            ..Default::default()
        };
        let mut specs = BTreeMap::new();
        let mut asked = HashMap::new();
        let mut names = HashMap::new();
        for wanting in wanting {
            let topic_id = metadata.topic_id(&wanting.partition.topic).unwrap_or(Uuid::ZERO);
            names.insert(topic_id, wanting.partition.topic.clone());
            let spec = FetchSpec {
                topic_id,
                offset: wanting.asked.offset,
                leader_epoch: metadata.partition(&wanting.partition).map_or(-1, |partition| partition.leader_epoch),
                max_bytes: i32::try_from(self.config.max_partition_fetch_bytes).unwrap_or(i32::MAX),
            };
            asked.insert(wanting.partition.clone(), wanting.asked);
            specs.insert(wanting.partition, spec);
        }
        leader.session.ask(specs, &mut request);
        let cluster = self.cluster.clone();
        self.events.spawn(async move {
            let (address, outcome) = send(&cluster, node, &request, by_id).await;
            Event::Fetched(Fetched { node, asked, names, address, outcome })
        });
    }

    fn take_in(&mut self, fetched: Fetched) {
        let now = clock::now();
        let leader = self.leaders.entry(fetched.node).or_default();
        leader.in_flight = false;
        let response = match fetched.outcome {
            Ok(response) => response,
            Err(error) => {
                leader.session.lost();
                leader.failures = leader.failures.saturating_add(1);
                leader.retry_at = Some(now + self.backoff.after(leader.failures));
                self.cluster.request_update();
                match error.is_retriable() {
                    true => tracing::warn!(node = fetched.node, %error, "fetch failed, will be repeated"),
                    false => self.report(error),
                }
                return;
            }
        };
        if let Some(code) = error_of(response.error_code) {
            leader.session.refused(code);
            let session_only = matches!(
                code,
                ErrorCode::FetchSessionIdNotFound
                    | ErrorCode::InvalidFetchSessionEpoch
                    | ErrorCode::FetchSessionTopicIdError
            );
            if !session_only {
                leader.failures = leader.failures.saturating_add(1);
                leader.retry_at = Some(now + self.backoff.after(leader.failures));
                self.cluster.request_update();
            }
            if !code.is_retriable() {
                self.report(Error::broker(ApiKey::Fetch, response.error_code, &fetched.address, "", None));
            }
            return;
        }
        leader.session.answered(response.session_id);
        leader.failures = 0;
        let mut stale = false;
        let mut buffer = self.shared.buffer.lock();
        for topic in response.responses {
            let name = match topic.topic_id {
                Uuid::ZERO => Some(Arc::from(topic.topic)),
                id => fetched.names.get(&id).cloned(),
            };
            let Some(name) = name else { continue };
            for data in topic.partitions {
                let location = TopicPartition { topic: name.clone(), partition: data.partition_index };
                let Some(asked) = fetched.asked.get(&location) else { continue };
                let retry_at = |failures| now + self.backoff.after(failures);
                stale |= buffer.accept(&location, *asked, data, &fetched.address, retry_at);
            }
        }
        drop(buffer);
        self.shared.fetched.notify_one();
        if stale {
            self.cluster.request_update();
        }
    }

    fn report(&self, error: Error) {
        self.shared.buffer.lock().report(error);
        self.shared.fetched.notify_one();
    }
}

/// However the task ends, the consumer does not wait for what will not come.
impl Drop for Fetcher {
    fn drop(&mut self) {
        self.shared.buffer.lock().close();
        self.shared.fetched.notify_one();
    }
}

/// Sends one fetch; returns the broker's address with its answer.
async fn send(
    cluster: &Cluster,
    node: i32,
    request: &FetchRequest,
    by_id: bool,
) -> (Arc<str>, Result<FetchResponse, Error>) {
    let connection = match cluster.connection(node, Lane::Data).await {
        Ok(connection) => connection,
        Err(error) => return (format!("broker {node}").into(), Err(error)),
    };
    let version = match connection.version(ApiKey::Fetch) {
        Ok(version) if version >= FETCH_BY_TOPIC_ID && !by_id => FETCH_BY_TOPIC_ID - 1,
        Ok(version) => version,
        Err(error) => return (connection.address().clone(), Err(error)),
    };
    let timeout = cluster.config().request_timeout;
    (connection.address().clone(), connection.request_version(request, version, timeout).await)
}
