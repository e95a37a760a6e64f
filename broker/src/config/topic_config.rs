//! The settings of one topic, typed: the broker's defaults under the topic's own overrides.
//!
//! Owns the parsing of topic keys into fields. Immutable: an alteration makes another `TopicConfig`. Invariant: the
//! values agree with each other (`min_compaction_lag_ms <= max_compaction_lag_ms`, no tiered storage).

use std::collections::BTreeMap;

use super::broker_config::BrokerConfig;
use super::config_error::{ConfigError, Origin, Scope};
use super::config_key::{Allowed, ConfigKey, topic_key};
use super::layers::ConfigLayers;
use super::value::{Value, find, parse};

/// `cleanup.policy`: what may be done to old data. Neither flag set keeps everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Old segments are deleted by time and size.
    pub delete: bool,
    /// The last record of each key is kept; records without a key are refused.
    pub compact: bool,
}

/// `flush.mode`: what acks=all waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushMode {
    /// An fdatasync that covers the records.
    Sync,
    /// The page cache: a power cut can lose acknowledged records.
    Async,
}

/// `message.timestamp.type`: whose clock stamps the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageTimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, at the append.
    LogAppendTime,
}

/// `compression.type`: the codec that batches are stored with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredCompression {
    /// Whatever the producer chose.
    Producer,
    /// None.
    Uncompressed,
    /// gzip, at `compression.gzip.level`.
    Gzip,
    /// snappy.
    Snappy,
    /// lz4, at `compression.lz4.level`.
    Lz4,
    /// zstd, at `compression.zstd.level`.
    Zstd,
}

/// The settings of one topic. Fields are Kafka's keys with `_` for every dot.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    /// What may be done to old data.
    pub cleanup_policy: CleanupPolicy,
    /// Age in ms after which a segment may be deleted; -1 is for ever.
    pub retention_ms: i64,
    /// Bytes a partition may hold; negative is no limit.
    pub retention_bytes: i64,
    /// Size in bytes at which a segment is closed (`internal.segment.bytes` where that is set).
    pub segment_bytes: i32,
    /// Age in ms at which a segment is closed.
    pub segment_ms: i64,
    /// ms at most taken off `segment_ms` at random.
    pub segment_jitter_ms: i64,
    /// Bytes of records between two index entries.
    pub index_interval_bytes: i32,
    /// Bytes that an index may reach.
    pub segment_index_bytes: i32,
    /// Largest batch in bytes, as stored.
    pub max_message_bytes: i32,
    /// Whose clock stamps the records.
    pub message_timestamp_type: MessageTimestampType,
    /// ms that a timestamp may lie behind the broker's clock.
    pub message_timestamp_before_max_ms: i64,
    /// ms that a timestamp may lie ahead of the broker's clock.
    pub message_timestamp_after_max_ms: i64,
    /// The codec that batches are stored with.
    pub compression_type: StoredCompression,
    /// gzip level, -1 for the codec's own.
    pub compression_gzip_level: i32,
    /// lz4 level.
    pub compression_lz4_level: i32,
    /// zstd level.
    pub compression_zstd_level: i32,
    /// What acks=all waits for.
    pub flush_mode: FlushMode,
    /// Copies that acks=all needs.
    pub min_insync_replicas: i32,
    /// Uncleaned share from 0 to 1 at which a compacted log is cleaned.
    pub min_cleanable_dirty_ratio: f64,
    /// ms that compaction leaves a record alone.
    pub min_compaction_lag_ms: i64,
    /// ms after which compaction must have seen a record.
    pub max_compaction_lag_ms: i64,
    /// ms that the marker of a deleted key outlives its compaction.
    pub delete_retention_ms: i64,
}

/// Kafka's defaults.
impl Default for TopicConfig {
    fn default() -> Self {
        TopicConfig::resolve(&ConfigLayers::default(), &BTreeMap::new()).expect("a test parses every default")
    }
}

impl TopicConfig {
    /// The settings of a topic with these overrides on this broker.
    ///
    /// # Errors
    /// An unknown key, a value outside its bounds, or values that contradict each other.
    pub fn from_overrides(broker: &BrokerConfig, overrides: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        Self::resolve(broker.layers(), overrides)
    }

    pub(super) fn resolve(layers: &ConfigLayers, overrides: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        for (name, value) in overrides {
            parse(find(Scope::Topic, name, value)?, value)?;
        }
        let values = Values { layers, overrides };
        let config = TopicConfig {
            cleanup_policy: values.cleanup_policy()?,
            retention_ms: values.long("retention.ms")?,
            retention_bytes: values.long("retention.bytes")?,
            segment_bytes: values.int(if overrides.contains_key("internal.segment.bytes") {
                "internal.segment.bytes"
            } else {
                "segment.bytes"
            })?,
            segment_ms: values.long("segment.ms")?,
            segment_jitter_ms: values.long("segment.jitter.ms")?,
            index_interval_bytes: values.int("index.interval.bytes")?,
            segment_index_bytes: values.int("segment.index.bytes")?,
            max_message_bytes: values.int("max.message.bytes")?,
            message_timestamp_type: values.timestamp_type()?,
            message_timestamp_before_max_ms: values.long("message.timestamp.before.max.ms")?,
            message_timestamp_after_max_ms: values.long("message.timestamp.after.max.ms")?,
            compression_type: values.compression_type()?,
            compression_gzip_level: values.int("compression.gzip.level")?,
            compression_lz4_level: values.int("compression.lz4.level")?,
            compression_zstd_level: values.int("compression.zstd.level")?,
            flush_mode: if values.text("flush.mode")? == "async" { FlushMode::Async } else { FlushMode::Sync },
            min_insync_replicas: values.int("min.insync.replicas")?,
            min_cleanable_dirty_ratio: values.double("min.cleanable.dirty.ratio")?,
            min_compaction_lag_ms: values.long("min.compaction.lag.ms")?,
            max_compaction_lag_ms: values.long("max.compaction.lag.ms")?,
            delete_retention_ms: values.long("delete.retention.ms")?,
        };
        config.check()?;
        if values.boolean("remote.storage.enable")? {
            return Err(ConfigError::InvalidValue {
                key: "remote.storage.enable".to_owned(),
                value: "true".to_owned(),
                allowed: "false: this broker has no tiered storage".to_owned(),
                origin: Origin::Program,
            });
        }
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.min_compaction_lag_ms > self.max_compaction_lag_ms {
            return Err(ConfigError::Conflict(format!(
                "`min.compaction.lag.ms` = {} is more than `max.compaction.lag.ms` = {}",
                self.min_compaction_lag_ms, self.max_compaction_lag_ms
            )));
        }
        if self.segment_bytes < 1 {
            return Err(ConfigError::Conflict(format!(
                "`internal.segment.bytes` = {} is less than 1",
                self.segment_bytes
            )));
        }
        Ok(())
    }
}

/// The value in force of a key of a topic or group: its own, or else that of the broker key that its default comes from, in the
/// unit of the key.
pub(super) fn overridable_value(
    layers: &ConfigLayers,
    overrides: &BTreeMap<String, String>,
    key: &ConfigKey,
) -> Result<Option<Value>, ConfigError> {
    if let Some(text) = overrides.get(key.name) {
        return parse(key, text).map(Some);
    }
    let Some((synonym, text)) = layers.synonym(key) else {
        return key.default.map(|text| parse(key, text)).transpose();
    };
    let value = parse(find(Scope::Broker, synonym.name, text)?, text)?;
    let Value::Integer(number) = value else { return Ok(Some(value)) };
    let least = key_least(key);
    let scaled = match number.saturating_mul(synonym.factor) {
        // Kafka takes every negative number of `log.retention.*` for "for ever".
        scaled if scaled < 0 && key.name == "retention.ms" => -1,
        scaled => scaled,
    };
    if least.is_some_and(|least| scaled < least) || (scaled == 0 && key.name == "retention.ms") {
        return Err(ConfigError::InvalidValue {
            key: synonym.name.to_owned(),
            value: text.to_owned(),
            allowed: format!("it is the default of `{}` and would make it {scaled}", key.name),
            origin: Origin::Program,
        });
    }
    Ok(Some(Value::Integer(scaled)))
}

fn key_least(key: &ConfigKey) -> Option<i64> {
    match key.allowed {
        Allowed::AtLeast(least) | Allowed::Between(least, _) => Some(least),
        _ => None,
    }
}

struct Values<'a> {
    layers: &'a ConfigLayers,
    overrides: &'a BTreeMap<String, String>,
}

impl Values<'_> {
    fn value(&self, name: &str) -> Result<Value, ConfigError> {
        let key = topic_key(name).expect("the names below are rows of the table");
        Ok(overridable_value(self.layers, self.overrides, key)?.expect("every topic key that is read has a default"))
    }

    fn long(&self, name: &str) -> Result<i64, ConfigError> {
        match self.value(name)? {
            Value::Integer(number) => Ok(number),
            other => unreachable!("{name} is an integer in the table, not {other:?}"),
        }
    }

    fn int(&self, name: &str) -> Result<i32, ConfigError> {
        Ok(i32::try_from(self.long(name)?).expect("an int key was parsed within 32 bits"))
    }

    fn boolean(&self, name: &str) -> Result<bool, ConfigError> {
        Ok(self.value(name)? == Value::Boolean(true))
    }

    fn double(&self, name: &str) -> Result<f64, ConfigError> {
        match self.value(name)? {
            Value::Double(number) => Ok(number),
            other => unreachable!("{name} is a double in the table, not {other:?}"),
        }
    }

    fn text(&self, name: &str) -> Result<String, ConfigError> {
        Ok(self.value(name)?.to_string())
    }

    fn cleanup_policy(&self) -> Result<CleanupPolicy, ConfigError> {
        let text = self.text("cleanup.policy")?;
        let has = |policy| text.split(',').any(|item| item == policy);
        Ok(CleanupPolicy { delete: has("delete"), compact: has("compact") })
    }

    fn timestamp_type(&self) -> Result<MessageTimestampType, ConfigError> {
        Ok(match self.text("message.timestamp.type")?.as_str() {
            "LogAppendTime" => MessageTimestampType::LogAppendTime,
            _ => MessageTimestampType::CreateTime,
        })
    }

    fn compression_type(&self) -> Result<StoredCompression, ConfigError> {
        Ok(match self.text("compression.type")?.as_str() {
            "uncompressed" => StoredCompression::Uncompressed,
            "gzip" => StoredCompression::Gzip,
            "snappy" => StoredCompression::Snappy,
            "lz4" => StoredCompression::Lz4,
            "zstd" => StoredCompression::Zstd,
            _ => StoredCompression::Producer,
        })
    }
}

#[cfg(test)]
#[path = "topic_config_test.rs"]
mod tests;
