//! What a user can set: one struct for the connection to a cluster, one for a producer, one for a consumer.
//!
//! Owns the defaults and their bounds; `validate` is called once, when a client connects. A field is named after Kafka's
//! key, with the unit in its type or at its end. Defaults are the Java client's unless the field says otherwise.

use std::time::Duration;

use ottla_protocol::records::Compression;

use crate::{Error, GroupConfig};

/// How to reach a cluster and how long to wait for it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Brokers to ask first, each `HOST:PORT` (`[::1]:9092` for IPv6). Any one of them that answers is enough.
    pub bootstrap_servers: Vec<String>,
    /// The name that the broker's logs and quotas know this client by. Default `ottla-client`.
    pub client_id: String,
    /// How long a request may wait for its answer. Default 30 s.
    pub request_timeout: Duration,
    /// How long making one connection may take. Default 10 s (Kafka's `socket.connection.setup.timeout.ms`).
    pub connect_timeout: Duration,
    /// How long a call that has to ask a broker (or wait for one to come back) goes on trying. Default 60 s
    /// (`default.api.timeout.ms`, and a producer's `max.block.ms`).
    pub api_timeout: Duration,
    /// The wait before the first repetition of what failed; it doubles up to `retry_backoff_max`. Default 100 ms.
    pub retry_backoff: Duration,
    /// The longest wait between two repetitions. Default 1 s.
    pub retry_backoff_max: Duration,
    /// The age at which the cluster's metadata is asked for again without a reason. Default 5 min.
    pub metadata_max_age: Duration,
    /// The largest answer that is accepted, in bytes. Default 100 MiB.
    pub receive_bytes_max: usize,
}

impl ClientConfig {
    /// The defaults, with brokers to ask first: `HOST:PORT`, several separated by commas.
    pub fn new(bootstrap_servers: impl AsRef<str>) -> Self {
        let servers = bootstrap_servers.as_ref().split(',').map(str::trim).filter(|server| !server.is_empty());
        ClientConfig {
            bootstrap_servers: servers.map(str::to_owned).collect(),
            client_id: "ottla-client".to_owned(),
            request_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            api_timeout: Duration::from_secs(60),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            metadata_max_age: Duration::from_secs(300),
            receive_bytes_max: 100 << 20,
        }
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        if self.bootstrap_servers.is_empty() {
            return refuse("bootstrap_servers", "", "at least one HOST:PORT");
        }
        for server in &self.bootstrap_servers {
            if split_host_port(server).is_none() {
                return refuse("bootstrap_servers", server, "HOST:PORT, with brackets around an IPv6 address");
            }
        }
        if self.client_id.len() > i16::MAX as usize {
            return refuse("client_id", format!("{} bytes", self.client_id.len()), "at most 32767 bytes");
        }
        for (key, value) in [
            ("request_timeout", self.request_timeout),
            ("connect_timeout", self.connect_timeout),
            ("api_timeout", self.api_timeout),
            ("retry_backoff", self.retry_backoff),
            ("metadata_max_age", self.metadata_max_age),
        ] {
            if value < Duration::from_millis(1) || value > Duration::from_millis(i32::MAX as u64) {
                return refuse(key, format!("{value:?}"), "1 ms to 24 days");
            }
        }
        if self.retry_backoff_max < self.retry_backoff {
            return refuse("retry_backoff_max", format!("{:?}", self.retry_backoff_max), "at least retry_backoff");
        }
        if !(1024..=i32::MAX as usize).contains(&self.receive_bytes_max) {
            return refuse("receive_bytes_max", self.receive_bytes_max, "1 KiB to 2 GiB");
        }
        Ok(())
    }
}

impl From<&str> for ClientConfig {
    fn from(bootstrap_servers: &str) -> Self {
        ClientConfig::new(bootstrap_servers)
    }
}

impl From<String> for ClientConfig {
    fn from(bootstrap_servers: String) -> Self {
        ClientConfig::new(bootstrap_servers)
    }
}

/// What the broker has done with a batch before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acks {
    /// Nothing: there is no answer, and no error either. A lost batch is lost silently.
    None,
    /// The leader has the batch; a crash of its machine may lose it.
    Leader,
    /// Every in-sync replica has it (with Ottla: it is on disk).
    #[default]
    All,
}

impl Acks {
    pub(crate) fn code(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

/// How a [`Producer`](crate::Producer) gathers, compresses and sends.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProducerConfig {
    /// The cluster.
    pub client: ClientConfig,
    /// What is to be done before a record counts as delivered. Default [`Acks::All`].
    pub acks: Acks,
    /// Whether the broker drops repetitions, so that a retried batch is neither doubled nor reordered. Default true;
    /// needs `Acks::All` and at most five batches in flight.
    pub enable_idempotence: bool,
    /// The codec for whole batches. Default none.
    pub compression: Compression,
    /// The largest batch, in bytes before compression. Default 1,000,000 (librdkafka's; Java's is 16,384): memory is
    /// taken as a batch grows, so that a large limit costs nothing while traffic is thin.
    pub batch_bytes: usize,
    /// How long a batch waits for more records before it is sent. Default 5 ms.
    pub linger: Duration,
    /// The largest request, hence the largest record, in bytes before compression. Default 1 MiB.
    pub max_request_bytes: usize,
    /// Bytes of records that may wait to be acknowledged; then `send` waits. Default 32 MiB.
    pub buffer_memory: usize,
    /// Requests to one broker that may be unanswered. Default 5. Without idempotence more than 1 may reorder on retry.
    pub max_in_flight: usize,
    /// The time from `send` to the final success or failure of a record. Default 2 min.
    pub delivery_timeout: Duration,
    /// Whether asking for an unknown topic may create it (if the broker allows that too). Default true.
    pub allow_auto_create_topics: bool,
}

impl ProducerConfig {
    /// The defaults, for the cluster of `client` (a bootstrap address, or a [`ClientConfig`]).
    pub fn new(client: impl Into<ClientConfig>) -> Self {
        ProducerConfig {
            client: client.into(),
            acks: Acks::All,
            enable_idempotence: true,
            compression: Compression::None,
            batch_bytes: 1_000_000,
            linger: Duration::from_millis(5),
            max_request_bytes: 1 << 20,
            buffer_memory: 32 << 20,
            max_in_flight: 5,
            delivery_timeout: Duration::from_secs(120),
            allow_auto_create_topics: true,
        }
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        self.client.validate()?;
        if self.enable_idempotence && self.acks != Acks::All {
            return refuse("acks", format!("{:?}", self.acks), "All, or else enable_idempotence = false");
        }
        let in_flight_max = if self.enable_idempotence { 5 } else { 1000 };
        if !(1..=in_flight_max).contains(&self.max_in_flight) {
            return refuse("max_in_flight", self.max_in_flight, "1 to 5 with idempotence, else 1 to 1000");
        }
        if !(1..=i32::MAX as usize / 2).contains(&self.batch_bytes) {
            return refuse("batch_bytes", self.batch_bytes, "1 byte to 1 GiB");
        }
        if !(1024..=i32::MAX as usize / 2).contains(&self.max_request_bytes) {
            return refuse("max_request_bytes", self.max_request_bytes, "1 KiB to 1 GiB");
        }
        if self.buffer_memory < self.max_request_bytes {
            return refuse("buffer_memory", self.buffer_memory, "at least max_request_bytes, so that any record fits");
        }
        if self.delivery_timeout < self.linger.saturating_add(Duration::from_millis(1)) {
            return refuse("delivery_timeout", format!("{:?}", self.delivery_timeout), "more than linger");
        }
        Ok(())
    }
}

/// Which records a consumer sees of transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IsolationLevel {
    /// All of them, also those of open and aborted transactions.
    #[default]
    ReadUncommitted,
    /// Only committed ones, up to the first transaction that is still open.
    ReadCommitted,
}

impl IsolationLevel {
    pub(crate) fn code(self) -> i8 {
        match self {
            IsolationLevel::ReadUncommitted => 0,
            IsolationLevel::ReadCommitted => 1,
        }
    }
}

/// Where to go on when a position lies outside the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OffsetReset {
    /// To the first record that the log still has.
    Earliest,
    /// To the end: only records that are yet to come.
    #[default]
    Latest,
    /// Nowhere: [`Error::OffsetOutOfRange`] or [`Error::NoCommittedOffset`] is reported, and the partition halts until it
    /// is sought.
    None,
}

/// How a [`Consumer`](crate::Consumer) fetches, and the group it belongs to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConsumerConfig {
    /// The cluster.
    pub client: ClientConfig,
    /// The group that commits offsets and shares partitions. Default none: partitions are assigned by hand, and nothing is
    /// committed.
    pub group: Option<GroupConfig>,
    /// Where to start in a partition of which the group has committed no offset, and where to go on when a position lies
    /// outside the log. Default [`OffsetReset::Latest`].
    pub auto_offset_reset: OffsetReset,
    /// Default [`IsolationLevel::ReadUncommitted`].
    pub isolation_level: IsolationLevel,
    /// Whether each batch's CRC-32C is compared before it is handed out. Default true.
    pub check_crcs: bool,
    /// The broker answers a fetch once it has so many bytes, ... Default 1.
    pub fetch_min_bytes: usize,
    /// ... or after this time. Default 500 ms.
    pub fetch_max_wait: Duration,
    /// The most that one answer should carry, in bytes. Default 50 MiB. A larger single batch is still delivered.
    pub fetch_max_bytes: usize,
    /// The most that one answer should carry of one partition, in bytes. Default 1 MiB. A partition with as much
    /// as this waiting to be consumed is not fetched.
    pub max_partition_fetch_bytes: usize,
    /// Bytes that may wait to be consumed, over all partitions; then fetching pauses. Default 64 MiB; one answer
    /// more than this may be held.
    pub prefetch_bytes: usize,
    /// The most that one batch may decompress to, in bytes. Default 256 MiB.
    pub decompressed_batch_bytes_max: usize,
    /// Whether asking for an unknown topic may create it (if the broker allows that too). Default false, unlike
    /// Java's: who reads a topic that does not exist has most often misspelt it.
    pub allow_auto_create_topics: bool,
}

impl ConsumerConfig {
    /// The defaults, for the cluster of `client` (a bootstrap address, or a [`ClientConfig`]).
    pub fn new(client: impl Into<ClientConfig>) -> Self {
        ConsumerConfig {
            client: client.into(),
            group: None,
            auto_offset_reset: OffsetReset::Latest,
            isolation_level: IsolationLevel::ReadUncommitted,
            check_crcs: true,
            fetch_min_bytes: 1,
            fetch_max_wait: Duration::from_millis(500),
            fetch_max_bytes: 50 << 20,
            max_partition_fetch_bytes: 1 << 20,
            prefetch_bytes: 64 << 20,
            decompressed_batch_bytes_max: 256 << 20,
            allow_auto_create_topics: false,
        }
    }

    /// The same in a group: its name, or a [`GroupConfig`].
    #[must_use]
    pub fn group(mut self, group: impl Into<GroupConfig>) -> Self {
        self.group = Some(group.into());
        self
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        self.client.validate()?;
        if let Some(group) = &self.group {
            group.validate()?;
        }
        for (key, value) in [
            ("fetch_max_bytes", self.fetch_max_bytes),
            ("max_partition_fetch_bytes", self.max_partition_fetch_bytes),
            ("prefetch_bytes", self.prefetch_bytes),
            ("decompressed_batch_bytes_max", self.decompressed_batch_bytes_max),
        ] {
            if !(1..=i32::MAX as usize).contains(&value) {
                return refuse(key, value, "1 byte to 2 GiB");
            }
        }
        if self.fetch_min_bytes > self.fetch_max_bytes {
            return refuse("fetch_min_bytes", self.fetch_min_bytes, "at most fetch_max_bytes");
        }
        if self.fetch_max_wait >= self.client.request_timeout {
            return refuse("fetch_max_wait", format!("{:?}", self.fetch_max_wait), "less than client.request_timeout");
        }
        Ok(())
    }
}

/// `HOST:PORT` or `[IPV6]:PORT` as host (without brackets) and port.
pub(crate) fn split_host_port(server: &str) -> Option<(&str, u16)> {
    let (host, port) = server.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let host = match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.is_empty()).then_some((host, port))
}

pub(crate) fn refuse(key: &'static str, value: impl ToString, allowed: &'static str) -> Result<(), Error> {
    Err(Error::Config { key, value: value.to_string(), allowed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        ProducerConfig::new("localhost:9092").validate().unwrap();
        ConsumerConfig::new("a:1, b:2,[::1]:3").validate().unwrap();
    }

    #[test]
    fn hosts_and_ports() {
        assert_eq!(split_host_port("localhost:9092"), Some(("localhost", 9092)));
        assert_eq!(split_host_port("[fe80::1]:9092"), Some(("fe80::1", 9092)));
        for bad in ["", "localhost", "localhost:", ":9092", "::1:9092", "[::1:9092", "a:0", "a:65536"] {
            assert_eq!(split_host_port(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_refused_setting_is_named_with_its_value_and_what_is_allowed() {
        let mut config = ProducerConfig::new("localhost:9092");
        config.acks = Acks::Leader;
        let error = config.validate().unwrap_err();
        assert_eq!(error.to_string(), "acks = \"Leader\" is not allowed: All, or else enable_idempotence = false");
        config.enable_idempotence = false;
        config.validate().unwrap();
        config.max_in_flight = 0;
        assert!(config.validate().is_err());
        assert!(ClientConfig::new("").validate().is_err());
        assert!(ClientConfig::new("nowhere").validate().is_err());
    }
}
