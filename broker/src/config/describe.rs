//! The answer to DescribeConfigs: every key with its value, where it comes from and what it would be otherwise.
//!
//! Owns Kafka's rules for sources and synonyms (KIP-226, KIP-569). Knows no wire message: `api/describe_configs`
//! copies the entries.

use std::collections::BTreeMap;

use super::broker_config::BrokerConfig;
use super::config_key::{ConfigKey, ConfigType, UpdateMode, broker_key, broker_keys, group_keys, topic_keys};
use super::topic_config::overridable_value;
use super::value::parse;

/// Where a value comes from. The codes are those of DescribeConfigs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigSource {
    /// An override of the topic.
    DynamicTopic = 1,
    /// Altered for this broker while it runs.
    DynamicBroker = 2,
    /// Altered for all brokers while they run.
    DynamicDefaultBroker = 3,
    /// Set when the broker was started.
    StaticBroker = 4,
    /// The default.
    Default = 5,
    /// A group's own.
    DynamicGroup = 8,
}

impl ConfigSource {
    /// The code that DescribeConfigs carries.
    #[must_use]
    pub fn code(self) -> i8 {
        self as i8
    }
}

/// A value that the key has, or would have if those before it were not set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSynonym {
    /// The key that was set, which may be another than the one described.
    pub name: String,
    /// Its value; `None` for a password.
    pub value: Option<String>,
    /// Where it was set.
    pub source: ConfigSource,
}

/// One key as DescribeConfigs answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// The key.
    pub name: String,
    /// The value in force; `None` is null, and a password.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether it can change only by a restart.
    pub read_only: bool,
    /// Whether the value is kept back.
    pub sensitive: bool,
    /// What was set, the one in force first.
    pub synonyms: Vec<ConfigSynonym>,
    /// The type of the value.
    pub config_type: ConfigType,
    /// A sentence for people.
    pub documentation: String,
}

/// All keys of a topic with these overrides, in the order of their names.
#[must_use]
pub fn describe_topic(broker: &BrokerConfig, overrides: &BTreeMap<String, String>) -> Vec<ConfigEntry> {
    topic_keys()
        .filter(|key| !key.hidden || overrides.contains_key(key.name))
        .map(|key| overridable(broker, overrides, key, ConfigSource::DynamicTopic))
        .collect()
}

/// All keys of a group with these values of its own, in the order of their names.
#[must_use]
pub fn describe_group(broker: &BrokerConfig, overrides: &BTreeMap<String, String>) -> Vec<ConfigEntry> {
    group_keys().map(|key| overridable(broker, overrides, key, ConfigSource::DynamicGroup)).collect()
}

/// A key whose default is a key of the broker.
fn overridable(
    broker: &BrokerConfig,
    overrides: &BTreeMap<String, String>,
    key: &ConfigKey,
    source: ConfigSource,
) -> ConfigEntry {
    let value = overridable_value(broker.layers(), overrides, key).ok().flatten().map(|value| value.to_string());
    let mut synonyms = Vec::new();
    if overrides.contains_key(key.name) {
        synonyms.push(ConfigSynonym { name: key.name.to_owned(), value: value.clone(), source });
    }
    if let Some(first) = key.synonyms.first() {
        synonyms.extend(broker_synonyms(broker, first.name));
    }
    entry(key, value, synonyms, false)
}

/// All keys of the broker, in the order of their names.
#[must_use]
pub fn describe_broker(broker: &BrokerConfig) -> Vec<ConfigEntry> {
    let layers = broker.layers();
    let scoped = layers.static_values().keys().filter(|name| name.starts_with("listener.name."));
    let scoped = scoped.filter_map(|name| Some((name.as_str(), broker_key(name)?)));
    broker_keys()
        .filter(|key| !key.hidden || layers.get(key.name).is_some())
        .map(|key| (key.name, key))
        .chain(scoped)
        .map(|(name, key)| {
            let text = match name {
                // Each is the other's older or newer name: both show the id that is in force.
                "node.id" | "broker.id" => Some(broker.node_id.to_string()),
                _ => layers.get(name).or(key.default).map(str::to_owned),
            };
            let value = text.map(|text| canonical(key, &text));
            let read_only = key.mode == UpdateMode::ReadOnly;
            ConfigEntry { name: name.to_owned(), ..entry(key, value, broker_synonyms(broker, name), read_only) }
        })
        .collect()
}

/// The keys that were altered for all brokers: what Kafka answers for the resource BROKER without a name.
#[must_use]
pub fn describe_cluster_defaults(broker: &BrokerConfig) -> Vec<ConfigEntry> {
    let source = ConfigSource::DynamicDefaultBroker;
    broker
        .layers()
        .cluster_wide()
        .iter()
        .filter_map(|(name, text)| Some((name, broker_key(name)?, text)))
        .map(|(name, key, text)| {
            let value = Some(canonical(key, text));
            let synonym = ConfigSynonym { name: name.clone(), value: shown(key, value.clone()), source };
            ConfigEntry { name: name.clone(), ..entry(key, value, vec![synonym], false) }
        })
        .collect()
}

fn entry(key: &ConfigKey, value: Option<String>, synonyms: Vec<ConfigSynonym>, read_only: bool) -> ConfigEntry {
    ConfigEntry {
        name: key.name.to_owned(),
        value: shown(key, value),
        source: synonyms.first().map_or(ConfigSource::Default, |synonym| synonym.source),
        read_only,
        sensitive: key.is_sensitive(),
        synonyms,
        config_type: key.config_type,
        documentation: key.describe(),
    }
}

fn shown(key: &ConfigKey, value: Option<String>) -> Option<String> {
    value.filter(|_| !key.is_sensitive())
}

fn canonical(key: &ConfigKey, text: &str) -> String {
    parse(key, text).map_or_else(|_| text.to_owned(), |value| value.to_string())
}

/// Keys that stand for the same setting in another unit, in Kafka's order of precedence.
fn spellings(name: &str) -> Vec<&str> {
    let topic = topic_keys().find(|key| key.synonyms.first().is_some_and(|first| first.name == name));
    match topic {
        Some(key) => key.synonyms.iter().map(|synonym| synonym.name).collect(),
        None => vec![name],
    }
}

/// Layer by layer all spellings of `name` that have a value. As Kafka does, what stands before the first occurrence of
/// `name` itself is left out: `log.retention.hours` is only named where `log.retention.ms` was set.
fn broker_synonyms(broker: &BrokerConfig, name: &str) -> Vec<ConfigSynonym> {
    let layers = broker.layers();
    let spellings = spellings(name);
    let mut synonyms = Vec::new();
    let mut push = |name: &str, text: &str, source| {
        if let Some(key) = broker_key(name) {
            let value = shown(key, Some(canonical(key, text)));
            synonyms.push(ConfigSynonym { name: name.to_owned(), value, source });
        }
    };
    for (layer, source) in [
        (layers.per_broker(), ConfigSource::DynamicBroker),
        (layers.cluster_wide(), ConfigSource::DynamicDefaultBroker),
        (layers.static_values(), ConfigSource::StaticBroker),
    ] {
        for spelling in &spellings {
            if let Some(text) = layer.get(*spelling) {
                push(spelling, text, source);
            }
        }
    }
    for spelling in &spellings {
        // A default of a key for one listener is the default of the key.
        if let Some((key, text)) = broker_key(spelling).and_then(|key| Some((key, key.default?)))
            && key.name == *spelling
        {
            push(spelling, text, ConfigSource::Default);
        }
    }
    synonyms.into_iter().skip_while(|synonym| synonym.name != name).collect()
}

#[cfg(test)]
#[path = "describe_test.rs"]
mod tests;
