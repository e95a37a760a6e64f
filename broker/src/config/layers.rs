//! The values that were set, layer over layer, and which of them is in force.
//!
//! Owns the three maps of raw text and the rule of precedence: one broker before the cluster before the start's
//! configuration before the table's default. Invariant: every name in a layer is a known broker key and its value
//! passes the key's bounds; `set_all` and `with_dynamic` are the only ways in.

use std::collections::BTreeMap;
use std::fmt;

use super::config_error::{ConfigError, Scope};
use super::config_key::{ConfigKey, Synonym};
use super::value::{Value, find, parse};

/// Spellings of one setting: a source that uses any of them replaces those of weaker sources.
const SAME_SETTING: &[&[&str]] = &[
    &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
    &["log.roll.ms", "log.roll.hours"],
    &["log.roll.jitter.ms", "log.roll.jitter.hours"],
    &["log.dirs", "log.dir"],
    &["node.id", "broker.id"],
];

/// Raw values by layer.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ConfigLayers {
    /// From flags, variables and the configuration file.
    static_values: BTreeMap<String, String>,
    /// Altered for all brokers while running (resource BROKER, empty name).
    cluster_wide: BTreeMap<String, String>,
    /// Altered for this broker while running (resource BROKER, its id).
    per_broker: BTreeMap<String, String>,
}

/// Names without values: a password must not reach a log by way of `{:?}`.
impl fmt::Debug for ConfigLayers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigLayers")
            .field("static_values", &self.static_values.keys())
            .field("cluster_wide", &self.cluster_wide.keys())
            .field("per_broker", &self.per_broker.keys())
            .finish()
    }
}

impl ConfigLayers {
    /// Sets the values of one source (a file, the flags), which is stronger than all before it: a setting that it
    /// spells in one unit is no longer there in another.
    ///
    /// # Errors
    /// An unknown key, or a value outside its bounds.
    pub fn set_all(&mut self, values: BTreeMap<String, String>) -> Result<(), ConfigError> {
        for (name, value) in &values {
            parse(find(Scope::Broker, name, value)?, value)?;
            for other in SAME_SETTING.iter().filter(|group| group.contains(&name.as_str())).flat_map(|group| *group) {
                self.static_values.remove(*other);
            }
        }
        self.static_values.extend(values);
        Ok(())
    }

    /// The same start's configuration under other dynamic values.
    ///
    /// # Errors
    /// An unknown key, or a value outside its bounds.
    pub(super) fn with_dynamic(
        &self,
        cluster_wide: &BTreeMap<String, String>,
        per_broker: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        for (name, value) in cluster_wide.iter().chain(per_broker) {
            parse(find(Scope::Broker, name, value)?, value)?;
        }
        Ok(ConfigLayers {
            static_values: self.static_values.clone(),
            cluster_wide: cluster_wide.clone(),
            per_broker: per_broker.clone(),
        })
    }

    /// The values of the start's configuration.
    #[must_use]
    pub fn static_values(&self) -> &BTreeMap<String, String> {
        &self.static_values
    }

    /// The values altered for all brokers.
    #[must_use]
    pub fn cluster_wide(&self) -> &BTreeMap<String, String> {
        &self.cluster_wide
    }

    /// The values altered for this broker.
    #[must_use]
    pub fn per_broker(&self) -> &BTreeMap<String, String> {
        &self.per_broker
    }

    /// The value that was set and is in force; `None` where the default is.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        [&self.per_broker, &self.cluster_wide, &self.static_values]
            .into_iter()
            .find_map(|layer| layer.get(name))
            .map(String::as_str)
    }

    /// The value in force of a broker key, parsed; `None` is Kafka's null.
    pub(super) fn value(&self, key: &ConfigKey) -> Result<Option<Value>, ConfigError> {
        self.get(key.name).or(key.default).map(|text| parse(key, text)).transpose()
    }

    /// The first of a topic key's synonyms that was set, and the text it was set to.
    pub(super) fn synonym(&self, key: &ConfigKey) -> Option<(Synonym, &str)> {
        key.synonyms.iter().find_map(|synonym| Some((*synonym, self.get(synonym.name)?)))
    }
}
