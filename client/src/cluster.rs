//! The way to a cluster: connections to its brokers, and metadata that is asked for when it is missing, wrong or old.
//!
//! Owns the connections (made when first needed, shared by all who need the same broker, replaced once closed), the
//! set of topics whose metadata is kept, and the task that refreshes it. Knows nothing of producing or fetching.
//! Invariant: at most one Metadata request at a time, and not more often than the retry back-off allows, however many
//! callers ask.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ottla_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use ottla_protocol::{ApiKey, ErrorCode};
use parking_lot::Mutex;
use rand::seq::SliceRandom;
use tokio::sync::{Notify, OnceCell, watch};
use tokio::task::AbortHandle;

use crate::clock::{self, Backoff};
use crate::config::{ClientConfig, split_host_port};
use crate::connection::Connection;
use crate::metadata::{Metadata, Node, PartitionMetadata, TopicMetadata};
use crate::{Error, TopicPartition};

/// How long a topic may be reported as unknown before a call that needs it fails, where asking for it may create it: time
/// enough for its partitions to get their leaders.
const CREATED_TOPIC_PATIENCE: Duration = Duration::from_secs(2);
/// The same where asking creates nothing: time enough for the news of a topic that was just created to reach every
/// broker, and little for who has misspelt it.
const UNKNOWN_TOPIC_PATIENCE: Duration = Duration::from_millis(400);

/// Which of the connections to a broker: answers come in order, so that short questions would wait behind a
/// fetch that polls for half a second, behind megabytes of records, or behind a rebalance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    Control,
    Data,
    /// The membership in a group: joining it waits for all its members.
    Group,
}

/// What the task that refreshes metadata has to say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Published {
    pub(crate) metadata: Arc<Metadata>,
    /// Why the latest attempt failed; `metadata` is older then.
    pub(crate) failure: Option<Error>,
}

/// A handle on the cluster. The connections close and the task ends when the last one is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    inner: Arc<Inner>,
    _refresher: Arc<AbortOnDrop>,
}

/// A background task that ends with its owner.
#[derive(Debug)]
pub(crate) struct AbortOnDrop(pub(crate) AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Debug)]
struct Inner {
    config: ClientConfig,
    allow_auto_create_topics: AtomicBool,
    topics: Mutex<BTreeSet<Arc<str>>>,
    slots: Mutex<HashMap<(i32, Lane), Slot>>,
    published: watch::Sender<Published>,
    /// Somebody saw that the metadata is out of date.
    stale: Notify,
    /// Somebody needs a topic that was never asked for: not worth a back-off.
    missing: Notify,
}

/// The place of one connection, empty until it is made.
#[derive(Debug, Clone)]
struct Slot {
    node: Node,
    connection: Arc<OnceCell<Connection>>,
}

impl Cluster {
    /// Reaches one of the bootstrap servers and learns the brokers from it.
    ///
    /// # Errors
    /// `Config` for settings that cannot work; `NoBrokerReachable` when no bootstrap server answers.
    pub(crate) async fn connect(config: ClientConfig, allow_auto_create_topics: bool) -> Result<Cluster, Error> {
        config.validate()?;
        let inner = Arc::new(Inner {
            config,
            allow_auto_create_topics: AtomicBool::new(allow_auto_create_topics),
            topics: Mutex::default(),
            slots: Mutex::default(),
            published: watch::Sender::new(Published::default()),
            stale: Notify::new(),
            missing: Notify::new(),
        });
        let mut updates = inner.published.subscribe();
        let task = tokio::spawn(inner.clone().refresh_for_ever()).abort_handle();
        let cluster = Cluster { inner, _refresher: Arc::new(AbortOnDrop(task)) };
        let deadline = clock::now() + cluster.inner.config.api_timeout;
        loop {
            updates.changed().await.map_err(|_| Error::Closed)?;
            let failure = updates.borrow_and_update().failure.clone();
            match failure {
                None => return Ok(cluster),
                Some(failure) if is_starting(&failure) && clock::now() < deadline => cluster.request_update(),
                Some(failure) => return Err(failure),
            }
        }
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.inner.config
    }

    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.inner.config.retry_backoff, self.inner.config.retry_backoff_max)
    }

    /// The picture of the cluster as it is now known.
    pub(crate) fn metadata(&self) -> Arc<Metadata> {
        self.inner.published.borrow().metadata.clone()
    }

    /// A receiver that changes with every refresh, also a failed one.
    pub(crate) fn updates(&self) -> watch::Receiver<Published> {
        self.inner.published.subscribe()
    }

    /// Asks for a refresh as soon as the back-off allows. Returns at once.
    pub(crate) fn request_update(&self) {
        self.inner.stale.notify_one();
    }

    /// Keeps `topic` in the metadata from now on. Returns at once.
    pub(crate) fn want_topic(&self, topic: &Arc<str>) {
        if self.inner.topics.lock().insert(topic.clone()) {
            self.inner.missing.notify_one();
        }
    }

    /// Keeps `topics`, and no others, in the metadata from now on. Returns at once.
    pub(crate) fn want_only(&self, topics: impl IntoIterator<Item = Arc<str>>) {
        let topics: BTreeSet<Arc<str>> = topics.into_iter().collect();
        let mut wanted = self.inner.topics.lock();
        if !topics.is_subset(&wanted) {
            self.inner.missing.notify_one();
        }
        *wanted = topics;
    }

    /// The topic, once it is known and its partitions are.
    ///
    /// # Errors
    /// `Broker` when the topic is refused (a bad name, no authorization) or stays unknown for two seconds (or, if asking for
    /// it does not create it, for less than half a second);
    /// `MetadataTimeout` when nothing is heard of it within the API timeout.
    pub(crate) async fn topic(&self, topic: &Arc<str>) -> Result<Arc<TopicMetadata>, Error> {
        let mut updates = self.updates();
        self.want_topic(topic);
        let started = clock::now();
        let after = self.inner.config.api_timeout;
        let patience = match self.inner.allow_auto_create_topics.load(Ordering::Relaxed) {
            true => CREATED_TOPIC_PATIENCE,
            false => UNKNOWN_TOPIC_PATIENCE,
        };
        let mut reason = "no answer yet".to_owned();
        loop {
            let published = updates.borrow_and_update().clone();
            match published.metadata.topic(topic) {
                Some(Ok(topic)) if !topic.partitions.is_empty() => return Ok(topic.clone()),
                Some(Ok(_)) => reason = "it has no partitions yet".to_owned(),
                Some(Err(code)) => {
                    let unknown = *code == ErrorCode::UnknownTopicOrPartition;
                    if !code.is_retriable() || unknown && started.elapsed() >= patience.min(after) {
                        let address: Arc<str> = self.inner.config.bootstrap_servers.join(",").into();
                        return Err(Error::broker(ApiKey::Metadata, code.code(), &address, topic, None));
                    }
                    reason = code.to_string();
                }
                None => reason = published.failure.as_ref().map_or(reason, Error::to_string),
            }
            if published.metadata.topic(topic).is_some() || published.failure.is_some() {
                self.request_update();
            }
            if tokio::time::timeout_at(started + after, updates.changed()).await.is_err() {
                return Err(Error::MetadataTimeout { topic: topic.clone(), after, reason });
            }
        }
    }

    /// Asks for a refresh and waits for it, or for its failure.
    pub(crate) async fn updated(&self) {
        let mut updates = self.updates();
        self.request_update();
        // The task that sends updates lives as long as this handle.
        let _ = updates.changed().await;
    }

    /// The partition and the broker that leads it now.
    ///
    /// # Errors
    /// Those of [`Cluster::topic`]; `UnknownPartition`; `Broker` with LEADER_NOT_AVAILABLE.
    pub(crate) async fn led_partition(&self, partition: &TopicPartition) -> Result<(i32, PartitionMetadata), Error> {
        let mut topic = self.topic(&partition.topic).await?;
        let index = usize::try_from(partition.partition).unwrap_or(usize::MAX);
        if topic.partitions.len() <= index {
            // It may have been added since.
            self.updated().await;
            topic = self.topic(&partition.topic).await?;
        }
        let Some(found) = topic.partitions.get(index) else {
            return Err(Error::UnknownPartition { partition: partition.clone(), count: topic.partitions.len() });
        };
        match found.leader {
            Some(leader) => Ok((leader, found.clone())),
            None => {
                self.request_update();
                let address: Arc<str> = self.inner.config.bootstrap_servers.join(",").into();
                let code = ErrorCode::LeaderNotAvailable.code();
                Err(Error::broker(ApiKey::Metadata, code, &address, partition, None))
            }
        }
    }

    /// The connection to a broker, made now unless it is there already.
    pub(crate) async fn connection(&self, node: i32, lane: Lane) -> Result<Connection, Error> {
        self.inner.connection(node, lane).await
    }

    /// A connection to whichever broker can be reached.
    pub(crate) async fn any_connection(&self) -> Result<Connection, Error> {
        self.inner.any_connection().await
    }

    /// A connection to the controller where it is known, or to any broker (which forwards what is the controller's).
    pub(crate) async fn controller_connection(&self) -> Result<Connection, Error> {
        match self.metadata().controller {
            Some(controller) => self.connection(controller, Lane::Control).await,
            None => self.any_connection().await,
        }
    }

    /// Repeats `attempt` while it fails in a way that may pass, until the API timeout; each failure asks for fresh
    /// metadata.
    pub(crate) async fn retrying<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let deadline = clock::now() + self.inner.config.api_timeout;
        let mut backoff = self.backoff();
        loop {
            match attempt().await {
                Err(error) if error.is_retriable() && !matches!(error, Error::MetadataTimeout { .. }) => {
                    let wait = backoff.next();
                    if clock::now() + wait >= deadline {
                        return Err(error);
                    }
                    self.request_update();
                    tokio::time::sleep(wait).await;
                }
                settled => return settled,
            }
        }
    }
}

/// A broker that answers but is not ready, or that went away again while it was asked: worth waiting for.
fn is_starting(failure: &Error) -> bool {
    matches!(failure, Error::Disconnected { .. })
        || failure.code().is_some_and(|code| code.is_retriable() || code == ErrorCode::BrokerNotAvailable)
}

impl Inner {
    async fn refresh_for_ever(self: Arc<Self>) {
        let mut backoff = Backoff::new(self.config.retry_backoff, self.config.retry_backoff_max);
        loop {
            let refreshed = self.fetch_metadata().await;
            let incomplete = match refreshed {
                Ok(metadata) => {
                    let incomplete = metadata.topics().any(|(_, topic)| topic.is_err());
                    self.slots.lock().retain(|(node, _), slot| metadata.nodes.get(node) == Some(&slot.node));
                    self.published.send_replace(Published { metadata: Arc::new(metadata), failure: None });
                    incomplete
                }
                Err(error) => {
                    tracing::warn!(%error, "metadata could not be refreshed");
                    self.published.send_modify(|published| published.failure = Some(error));
                    true
                }
            };
            if !incomplete {
                backoff.reset();
            }
            let wait = backoff.next();
            tokio::select! {
                () = self.missing.notified() => {}
                () = async { tokio::time::sleep(wait).await; self.stale.notified().await } => {}
                () = tokio::time::sleep(self.config.metadata_max_age) => {}
            }
        }
    }

    async fn fetch_metadata(&self) -> Result<Metadata, Error> {
        let connection = self.any_connection().await?;
        let topics: Vec<MetadataRequestTopic> = {
            let wanted = self.topics.lock();
            let named = |topic: &Arc<str>| MetadataRequestTopic { name: Some(topic.to_string()), ..Default::default() };
            wanted.iter().map(named).collect()
        };
        let request = MetadataRequest {
            topics: Some(topics),
            allow_auto_topic_creation: self.allow_auto_create_topics.load(Ordering::Relaxed),
            ..Default::default()
        };
        let response = connection.request(&request, self.config.request_timeout).await?;
        if response.error_code != 0 {
            return Err(Error::broker(ApiKey::Metadata, response.error_code, connection.address(), "", None));
        }
        if response.brokers.is_empty() {
            let code = ErrorCode::BrokerNotAvailable.code();
            let message = "the broker knows no brokers yet".to_owned();
            return Err(Error::broker(ApiKey::Metadata, code, connection.address(), "", Some(message)));
        }
        let known = self.published.borrow().metadata.clone();
        Ok(known.after(response))
    }

    async fn connection(&self, id: i32, lane: Lane) -> Result<Connection, Error> {
        let node = self.published.borrow().metadata.nodes.get(&id).cloned();
        let node = node.ok_or_else(|| Error::Disconnected {
            address: format!("broker {id}").into(),
            reason: "the cluster has no such broker now".into(),
        })?;
        let slot = self.slot(node, lane);
        let open = || Connection::open(&slot.node.host, slot.node.port, &self.config);
        slot.connection.get_or_try_init(open).await.cloned()
    }

    /// The slot of a broker; a new one when the connection in it has closed or the broker has moved.
    fn slot(&self, node: Node, lane: Lane) -> Slot {
        let mut slots = self.slots.lock();
        let slot = slots.entry((node.id, lane));
        let fresh = || Slot { node: node.clone(), connection: Arc::default() };
        let slot = slot.or_insert_with(fresh);
        if slot.node != node || slot.connection.get().is_some_and(Connection::is_closed) {
            *slot = fresh();
        }
        slot.clone()
    }

    /// An open connection if there is one, else one to a known broker, else one to a bootstrap server (KIP-899).
    async fn any_connection(&self) -> Result<Connection, Error> {
        let open = {
            let slots = self.slots.lock();
            let control = slots.iter().filter(|((_, lane), _)| *lane == Lane::Control);
            let mut connections = control.filter_map(|(_, slot)| slot.connection.get());
            connections.find(|connection| !connection.is_closed()).cloned()
        };
        if let Some(open) = open {
            return Ok(open);
        }
        let mut nodes: Vec<i32> = self.published.borrow().metadata.nodes.keys().copied().collect();
        nodes.shuffle(&mut rand::rng());
        let mut tried = Vec::new();
        let mut last = None;
        for node in nodes {
            match self.connection(node, Lane::Control).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = Some(error),
            }
            tried.push(format!("broker {node}"));
        }
        let mut servers = self.config.bootstrap_servers.clone();
        servers.shuffle(&mut rand::rng());
        for server in servers {
            let (host, port) = split_host_port(&server).expect("validated when the client was made");
            match Connection::open(host, port, &self.config).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = Some(error),
            }
            tried.push(server);
        }
        let last = Box::new(last.unwrap_or(Error::Closed));
        Err(Error::NoBrokerReachable { tried: tried.join(", "), last })
    }
}
