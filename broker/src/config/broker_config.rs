//! The settings of the broker, typed.
//!
//! Owns the parsing of broker keys into fields and the checks between them. Immutable: a dynamic alteration makes
//! another `BrokerConfig` (`with_dynamic`). Invariant: every field lies within the bounds of its row.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::config_error::{ConfigError, Origin};
use super::config_key::{ConfigKey, broker_key};
use super::group_times::{GroupTimeBounds, GroupTimes};
use super::layers::ConfigLayers;
use super::listener::{Listener, ListenerSettings};
use super::topic_config::TopicConfig;
use super::value::Value;

/// The settings of the broker. Fields are Kafka's keys with `_` for every dot, unless they say otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerConfig {
    layers: ConfigLayers,
    /// The broker's id (`node.id`, or its older name `broker.id`).
    pub node_id: i32,
    /// The rack that Metadata names.
    pub broker_rack: Option<String>,
    /// The addresses to listen on and to tell clients (`listeners` and `advertised.listeners`); never empty.
    pub listeners: Vec<Listener>,
    /// The data directory (`log.dirs` or `log.dir`).
    pub data_dir: PathBuf,
    /// Threads that open logs at the start.
    pub num_recovery_threads_per_data_dir: i32,
    /// ms between two looks for segments to delete.
    pub log_retention_check_interval_ms: i64,
    /// ms between two writes of the recovery points.
    pub log_flush_offset_checkpoint_interval_ms: i32,
    /// Bytes of sealed segments that the scrub checks in a second; 0 is none.
    pub log_scrub_bytes_per_second: i64,
    /// Bytes of the file system that producers may not use; `None` for the smaller of 1 GiB and 5 % of it.
    pub log_reserve_bytes: Option<u64>,
    /// ms after the start until background tasks begin.
    pub log_initial_task_delay_ms: i64,
    /// Whether compacted topics are compacted.
    pub log_cleaner_enable: bool,
    /// Threads that compact.
    pub log_cleaner_threads: i32,
    /// Bytes for the keys of all compacting threads.
    pub log_cleaner_dedupe_buffer_size: i64,
    /// Bytes a second that compaction and merging read and write.
    pub log_cleaner_io_max_bytes_per_second: f64,
    /// ms that the cleaner waits when there is nothing to do.
    pub log_cleaner_backoff_ms: i64,
    /// ms between two looks for segments to merge.
    pub log_merge_interval_ms: i64,
    /// Partitions of a topic whose creator names no number.
    pub num_partitions: i32,
    /// Replication factor of a topic whose creator names none.
    pub default_replication_factor: i32,
    /// Whether Metadata creates unknown topics.
    pub auto_create_topics_enable: bool,
    /// Whether topics can be deleted.
    pub delete_topic_enable: bool,
    /// Partitions that the broker holds at most.
    pub max_partitions: i32,
    /// Largest request frame in bytes, without its size prefix.
    pub socket_request_max_bytes: i32,
    /// Bytes for requests being received or answered.
    pub queued_max_request_bytes: i64,
    /// Unanswered requests of one connection.
    pub connection_max_inflight_requests: i32,
    /// Bytes of unanswered requests of one connection.
    pub connection_max_inflight_bytes: i32,
    /// ms that a begun request may stand still.
    pub request_receive_timeout_ms: i32,
    /// Decompressed bytes of one batch.
    pub max_decompressed_bytes: i64,
    /// Partitions of one DescribeTopicPartitions answer.
    pub max_request_partition_size_limit: i32,
    /// Bytes of one fetch answer.
    pub fetch_max_bytes: i32,
    /// Bytes of all answers that wait to be read by their clients; ranges of files do not count.
    pub fetch_memory_bytes: i64,
    /// Incremental fetch sessions.
    pub max_incremental_fetch_session_cache_slots: i32,
    /// Connections open at once.
    pub max_connections: i32,
    /// Connections of one address, where no override names it.
    pub max_connections_per_ip: i32,
    /// Exceptions from `max_connections_per_ip`.
    pub max_connections_per_ip_overrides: BTreeMap<IpAddr, i32>,
    /// ms after which an idle connection is closed; negative is never.
    pub connections_max_idle_ms: i64,
    /// SO_SNDBUF; -1 leaves it alone.
    pub socket_send_buffer_bytes: i32,
    /// SO_RCVBUF; -1 leaves it alone.
    pub socket_receive_buffer_bytes: i32,
    /// Connections that wait to be accepted.
    pub socket_listen_backlog_size: i32,
    /// ms that an empty group waits for more members.
    pub group_initial_rebalance_delay_ms: i32,
    /// Shortest session timeout of a member in ms.
    pub group_min_session_timeout_ms: i32,
    /// Longest session timeout of a member in ms.
    pub group_max_session_timeout_ms: i32,
    /// Members of a group.
    pub group_max_size: i32,
    /// Characters stored beside a committed offset.
    pub offset_metadata_max_bytes: i32,
    /// ms that a change of a group waits for the disk.
    pub offsets_commit_timeout_ms: i32,
    /// Bytes read at once when groups are loaded.
    pub offsets_load_buffer_size: i32,
    /// Minutes that offsets are kept which nobody needs.
    pub offsets_retention_minutes: i32,
    /// ms between two looks for such offsets.
    pub offsets_retention_check_interval_ms: i64,
    /// Partitions of `__consumer_offsets` when it is created.
    pub offsets_topic_num_partitions: i32,
    /// `segment.bytes` of `__consumer_offsets` when it is created.
    pub offsets_topic_segment_bytes: i32,
    /// What groups of the consumer protocol have unless they have their own: `group.consumer.session.timeout.ms`,
    /// `.heartbeat.interval.ms` and `.assignment.interval.ms`.
    pub group_consumer_times: GroupTimes,
    /// What single groups may have of their own.
    pub group_consumer_bounds: GroupTimeBounds,
    /// Members of a group of the consumer protocol.
    pub group_consumer_max_size: i32,
    /// Assignors that such members may ask for; never empty.
    pub group_consumer_assignors: Vec<String>,
    /// Whether groups may change their protocol while they have members.
    pub group_consumer_migration_policy: String,
    /// ms after which a partition forgets a silent producer.
    pub producer_id_expiration_ms: i32,
    /// ms between two looks for producers to forget.
    pub producer_id_expiration_check_interval_ms: i32,
    /// The settings of a topic without overrides.
    pub topic_defaults: TopicConfig,
}

/// What stands in the tables.
impl Default for BrokerConfig {
    fn default() -> Self {
        BrokerConfig::from_layers(ConfigLayers::default()).expect("a test builds it from the tables' defaults")
    }
}

impl BrokerConfig {
    /// The settings with these values set and defaults for the rest.
    ///
    /// # Errors
    /// An unknown key, a value outside its bounds, or values that contradict each other.
    pub fn from_values<'a>(values: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, ConfigError> {
        let mut layers = ConfigLayers::default();
        layers.set_all(values.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())?;
        Self::from_layers(layers)
    }

    /// The settings that follow from what was set in each layer.
    ///
    /// # Errors
    /// Values that contradict each other, or addresses that do not parse.
    pub fn from_layers(layers: ConfigLayers) -> Result<Self, ConfigError> {
        let values = Values(&layers);
        Ok(BrokerConfig {
            node_id: values.node_id()?,
            broker_rack: values.optional_text("broker.rack")?,
            listeners: values.listeners()?,
            data_dir: values.data_dir()?,
            num_recovery_threads_per_data_dir: values.int("num.recovery.threads.per.data.dir")?,
            log_retention_check_interval_ms: values.long("log.retention.check.interval.ms")?,
            log_flush_offset_checkpoint_interval_ms: values.int("log.flush.offset.checkpoint.interval.ms")?,
            log_scrub_bytes_per_second: values.long("log.scrub.bytes.per.second")?,
            log_reserve_bytes: values.optional_bytes("log.reserve.bytes")?,
            log_initial_task_delay_ms: values.long("log.initial.task.delay.ms")?,
            log_cleaner_enable: values.boolean("log.cleaner.enable")?,
            log_cleaner_threads: values.int("log.cleaner.threads")?,
            log_cleaner_dedupe_buffer_size: values.long("log.cleaner.dedupe.buffer.size")?,
            log_cleaner_io_max_bytes_per_second: values.double("log.cleaner.io.max.bytes.per.second")?,
            log_cleaner_backoff_ms: values.long("log.cleaner.backoff.ms")?,
            log_merge_interval_ms: values.long("log.merge.interval.ms")?,
            num_partitions: values.int("num.partitions")?,
            default_replication_factor: values.int("default.replication.factor")?,
            auto_create_topics_enable: values.boolean("auto.create.topics.enable")?,
            delete_topic_enable: values.boolean("delete.topic.enable")?,
            max_partitions: values.int("max.partitions")?,
            socket_request_max_bytes: values.int("socket.request.max.bytes")?,
            queued_max_request_bytes: values.long("queued.max.request.bytes")?,
            connection_max_inflight_requests: values.int("connection.max.inflight.requests")?,
            connection_max_inflight_bytes: values.int("connection.max.inflight.bytes")?,
            request_receive_timeout_ms: values.int("request.receive.timeout.ms")?,
            max_decompressed_bytes: values.long("max.decompressed.bytes")?,
            max_request_partition_size_limit: values.int("max.request.partition.size.limit")?,
            fetch_max_bytes: values.int("fetch.max.bytes")?,
            fetch_memory_bytes: values.long("fetch.memory.bytes")?,
            max_incremental_fetch_session_cache_slots: values.int("max.incremental.fetch.session.cache.slots")?,
            max_connections: values.int("max.connections")?,
            max_connections_per_ip: values.int("max.connections.per.ip")?,
            max_connections_per_ip_overrides: values.connection_overrides()?,
            connections_max_idle_ms: values.long("connections.max.idle.ms")?,
            socket_send_buffer_bytes: values.int("socket.send.buffer.bytes")?,
            socket_receive_buffer_bytes: values.int("socket.receive.buffer.bytes")?,
            socket_listen_backlog_size: values.int("socket.listen.backlog.size")?,
            group_initial_rebalance_delay_ms: values.int("group.initial.rebalance.delay.ms")?,
            group_min_session_timeout_ms: values.int("group.min.session.timeout.ms")?,
            group_max_session_timeout_ms: values.int("group.max.session.timeout.ms")?,
            group_max_size: values.int("group.max.size")?,
            offset_metadata_max_bytes: values.int("offset.metadata.max.bytes")?,
            offsets_commit_timeout_ms: values.int("offsets.commit.timeout.ms")?,
            offsets_load_buffer_size: values.int("offsets.load.buffer.size")?,
            offsets_retention_minutes: values.int("offsets.retention.minutes")?,
            offsets_retention_check_interval_ms: values.long("offsets.retention.check.interval.ms")?,
            offsets_topic_num_partitions: values.int("offsets.topic.num.partitions")?,
            offsets_topic_segment_bytes: values.int("offsets.topic.segment.bytes")?,
            group_consumer_times: GroupTimes {
                session_timeout_ms: values.consumer_ms("session.timeout")?,
                heartbeat_interval_ms: values.consumer_ms("heartbeat.interval")?,
                assignment_interval_ms: values.consumer_ms("assignment.interval")?,
            },
            group_consumer_bounds: GroupTimeBounds {
                session_timeout_ms: values.consumer_bounds_ms("session.timeout")?,
                heartbeat_interval_ms: values.consumer_bounds_ms("heartbeat.interval")?,
                assignment_interval_ms: values.consumer_bounds_ms("assignment.interval")?,
            },
            group_consumer_max_size: values.int("group.consumer.max.size")?,
            group_consumer_assignors: values.assignors()?,
            group_consumer_migration_policy: values
                .optional_text("group.consumer.migration.policy")?
                .unwrap_or_default(),
            producer_id_expiration_ms: values.int("producer.id.expiration.ms")?,
            producer_id_expiration_check_interval_ms: values.int("producer.id.expiration.check.interval.ms")?,
            topic_defaults: TopicConfig::resolve(&layers, &BTreeMap::new())?,
            layers,
        })
    }

    /// The settings of this start under other dynamic values: those altered for all brokers and those for this one.
    ///
    /// # Errors
    /// As [`BrokerConfig::from_values`].
    pub fn with_dynamic(
        &self,
        cluster_wide: &BTreeMap<String, String>,
        per_broker: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        Self::from_layers(self.layers.with_dynamic(cluster_wide, per_broker)?)
    }

    /// What was set, by layer.
    #[must_use]
    pub fn layers(&self) -> &ConfigLayers {
        &self.layers
    }

    /// The keys that were set at the start and mean nothing here, with the reason.
    #[must_use]
    pub fn ignored(&self) -> Vec<(&str, &'static str)> {
        self.layers
            .static_values()
            .keys()
            .filter_map(|name| Some((name.as_str(), broker_key(name)?.ignored_because?)))
            .collect()
    }
}

struct Values<'a>(&'a ConfigLayers);

impl Values<'_> {
    fn key(name: &str) -> &'static ConfigKey {
        broker_key(name).expect("the names above are rows of the table")
    }

    fn value(&self, name: &str) -> Result<Option<Value>, ConfigError> {
        self.0.value(Self::key(name))
    }

    fn long(&self, name: &str) -> Result<i64, ConfigError> {
        match self.value(name)? {
            Some(Value::Integer(number)) => Ok(number),
            other => unreachable!("{name} is an integer with a default in the table, not {other:?}"),
        }
    }

    fn optional_bytes(&self, name: &str) -> Result<Option<u64>, ConfigError> {
        match self.value(name)? {
            Some(Value::Integer(number)) => Ok(u64::try_from(number).ok()),
            _ => Ok(None),
        }
    }

    fn int(&self, name: &str) -> Result<i32, ConfigError> {
        Ok(i32::try_from(self.long(name)?).expect("an int key was parsed within 32 bits"))
    }

    fn double(&self, name: &str) -> Result<f64, ConfigError> {
        match self.value(name)? {
            Some(Value::Double(number)) => Ok(number),
            other => unreachable!("{name} is a double with a default in the table, not {other:?}"),
        }
    }

    fn boolean(&self, name: &str) -> Result<bool, ConfigError> {
        Ok(self.value(name)? == Some(Value::Boolean(true)))
    }

    fn optional_text(&self, name: &str) -> Result<Option<String>, ConfigError> {
        Ok(self.value(name)?.map(|value| value.to_string()))
    }

    fn list(&self, name: &str) -> Result<Vec<String>, ConfigError> {
        match self.value(name)? {
            Some(Value::List(items)) => Ok(items),
            _ => Ok(Vec::new()),
        }
    }

    fn refuse(name: &str, value: &str, allowed: impl Into<String>) -> ConfigError {
        ConfigError::InvalidValue {
            key: name.to_owned(),
            value: value.to_owned(),
            allowed: allowed.into(),
            origin: Origin::Program,
        }
    }

    fn node_id(&self) -> Result<i32, ConfigError> {
        let name = if self.0.get("broker.id").is_some() { "broker.id" } else { "node.id" };
        let id = self.int(name)?;
        if self.0.get("node.id").is_some() && self.int("node.id")? != id {
            return Err(ConfigError::Conflict(format!(
                "`broker.id` = {id} is the older name of `node.id` = {}: set one, or both alike",
                self.int("node.id")?
            )));
        }
        if id < 0 { Err(Self::refuse(name, &id.to_string(), "at least 0")) } else { Ok(id) }
    }

    /// A time of groups of the consumer protocol, which has bounds that are keys too.
    fn consumer_ms(&self, what: &str) -> Result<i32, ConfigError> {
        let name = format!("group.consumer.{what}.ms");
        let (value, bounds) = (self.int(&name)?, self.consumer_bounds_ms(what)?);
        if bounds.contains(&value) {
            return Ok(value);
        }
        let (least, most) = (bounds.start(), bounds.end());
        Err(ConfigError::Conflict(format!(
            "`{name}` = {value} lies outside of `group.consumer.min.{what}.ms` = {least} and \
             `group.consumer.max.{what}.ms` = {most}: set all three so that they agree"
        )))
    }

    fn consumer_bounds_ms(&self, what: &str) -> Result<RangeInclusive<i32>, ConfigError> {
        Ok(self.int(&format!("group.consumer.min.{what}.ms"))?..=self.int(&format!("group.consumer.max.{what}.ms"))?)
    }

    fn assignors(&self) -> Result<Vec<String>, ConfigError> {
        let name = "group.consumer.assignors";
        let assignors = self.list(name)?;
        if assignors.is_empty() { Err(Self::refuse(name, "", "at least one of uniform, range")) } else { Ok(assignors) }
    }

    fn listeners(&self) -> Result<Vec<Listener>, ConfigError> {
        ListenerSettings {
            listeners: &self.list("listeners")?,
            advertised: &self.list("advertised.listeners")?,
            protocol_map: &self.optional_text("listener.security.protocol.map")?.unwrap_or_default(),
            controller_names: &self.list("controller.listener.names")?,
        }
        .resolve()
    }

    fn data_dir(&self) -> Result<PathBuf, ConfigError> {
        let name = if self.0.get("log.dirs").is_some() { "log.dirs" } else { "log.dir" };
        match self.list(name)?.as_slice() {
            [directory] if !directory.is_empty() => Ok(PathBuf::from(directory)),
            several => Err(Self::refuse(name, &several.join(","), "exactly one directory")),
        }
    }

    fn connection_overrides(&self) -> Result<BTreeMap<IpAddr, i32>, ConfigError> {
        const NAME: &str = "max.connections.per.ip.overrides";
        let text = self.optional_text(NAME)?.unwrap_or_default();
        let entry = |item: &str| {
            let (address, count) = item.rsplit_once(':')?;
            let address = address.trim().trim_start_matches('[').trim_end_matches(']').parse().ok()?;
            let count = count.trim().parse().ok().filter(|count| *count >= 0)?;
            Some((address, count))
        };
        text.split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(|item| entry(item).ok_or_else(|| Self::refuse(NAME, item, "ADDRESS:COUNT with an IP address")))
            .collect()
    }
}

#[cfg(test)]
#[path = "broker_config_test.rs"]
mod tests;
