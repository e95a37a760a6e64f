//! Reading and changing the configs of topics, brokers and groups.

use std::collections::BTreeMap;
use std::fmt;

use ottla_protocol::ApiKey;
use ottla_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
};
use ottla_protocol::messages::{alter_configs, incremental_alter_configs};

use super::topics::refused;
use super::{Admin, not_controller};
use crate::Error;
use crate::cluster::Lane;
use crate::connection::Connection;

/// What has configs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ConfigResource {
    /// A topic, by name.
    Topic(String),
    /// A broker, by id.
    Broker(i32),
    /// The defaults of all brokers.
    AllBrokers,
    /// A group, by name, whether there is one or not (Kafka 3.9 and later).
    Group(String),
}

impl ConfigResource {
    /// The resource's type and name on the wire.
    fn wire(&self) -> (i8, String) {
        match self {
            ConfigResource::Topic(name) => (2, name.clone()),
            ConfigResource::Broker(id) => (4, id.to_string()),
            ConfigResource::AllBrokers => (4, String::new()),
            ConfigResource::Group(name) => (32, name.clone()),
        }
    }

    fn from_wire(resource_type: i8, name: &str) -> Option<ConfigResource> {
        match (resource_type, name) {
            (2, name) => Some(ConfigResource::Topic(name.to_owned())),
            (4, "") => Some(ConfigResource::AllBrokers),
            (4, id) => id.parse().ok().map(ConfigResource::Broker),
            (32, name) => Some(ConfigResource::Group(name.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigResource::Topic(name) => write!(f, "topic {name}"),
            ConfigResource::Broker(id) => write!(f, "broker {id}"),
            ConfigResource::AllBrokers => f.write_str("all brokers"),
            ConfigResource::Group(name) => write!(f, "group {name}"),
        }
    }
}

/// Where a value comes from, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigSource {
    /// Set for the topic.
    Topic,
    /// Changed at run time for one broker.
    DynamicBroker,
    /// Changed at run time for all brokers.
    DynamicDefaultBroker,
    /// From the broker's configuration at its start.
    StaticBroker,
    /// Kafka's default.
    Default,
    /// Changed at run time for one broker's loggers.
    DynamicBrokerLogger,
    /// Set for the group.
    Group,
    /// A source that this client does not know, by its number.
    Other(i8),
}

impl From<i8> for ConfigSource {
    fn from(code: i8) -> Self {
        match code {
            1 => ConfigSource::Topic,
            2 => ConfigSource::DynamicBroker,
            3 => ConfigSource::DynamicDefaultBroker,
            4 => ConfigSource::StaticBroker,
            5 => ConfigSource::Default,
            6 => ConfigSource::DynamicBrokerLogger,
            8 => ConfigSource::Group,
            other => ConfigSource::Other(other),
        }
    }
}

/// A value that would hold if the stronger ones were taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigSynonym {
    /// The key, which at the broker may differ from the topic's (`log.retention.ms` and `retention.ms`).
    pub name: String,
    /// The value; `None` when sensitive.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
}

/// One key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigEntry {
    /// Kafka's name of the key.
    pub name: String,
    /// The value; `None` when unset or sensitive.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
    /// Whether it cannot be changed at run time.
    pub is_read_only: bool,
    /// Whether the value is a secret that the broker does not tell.
    pub is_sensitive: bool,
    /// The other values that are set for it, the strongest first.
    pub synonyms: Vec<ConfigSynonym>,
    /// The broker's sentence about the key, if it was asked for and has one.
    pub documentation: Option<String>,
}

impl From<DescribeConfigsResourceResult> for ConfigEntry {
    fn from(config: DescribeConfigsResourceResult) -> Self {
        let synonyms = config.synonyms.into_iter().map(|synonym| ConfigSynonym {
            name: synonym.name,
            value: synonym.value,
            source: synonym.source.into(),
        });
        ConfigEntry {
            name: config.name,
            value: config.value,
            source: config.config_source.into(),
            is_read_only: config.read_only,
            is_sensitive: config.is_sensitive,
            synonyms: synonyms.collect(),
            documentation: config.documentation,
        }
    }
}

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AlterConfigOp {
    /// Gives the key a value.
    Set(String, String),
    /// Takes the override away, so that the default holds.
    Delete(String),
    /// Adds to a list, such as `cleanup.policy`.
    Append(String, String),
    /// Takes from a list.
    Subtract(String, String),
}

impl AlterConfigOp {
    /// Key, number of the operation, value.
    fn wire(&self) -> (&str, i8, Option<&str>) {
        match self {
            AlterConfigOp::Set(name, value) => (name, 0, Some(value)),
            AlterConfigOp::Delete(name) => (name, 1, None),
            AlterConfigOp::Append(name, value) => (name, 2, Some(value)),
            AlterConfigOp::Subtract(name, value) => (name, 3, Some(value)),
        }
    }

    /// Does to a full set of overrides what the operation says; `before` is the value that holds for the key now.
    fn apply(&self, overrides: &mut BTreeMap<String, String>, before: Option<&str>) {
        let items = |list: &str| -> Vec<String> {
            list.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
        };
        match self {
            AlterConfigOp::Set(name, value) => drop(overrides.insert(name.clone(), value.clone())),
            AlterConfigOp::Delete(name) => drop(overrides.remove(name)),
            AlterConfigOp::Append(name, value) => {
                let mut list = items(before.unwrap_or_default());
                let added: Vec<String> = items(value).into_iter().filter(|item| !list.contains(item)).collect();
                list.extend(added);
                overrides.insert(name.clone(), list.join(","));
            }
            AlterConfigOp::Subtract(name, value) => {
                let removed = items(value);
                let mut list = items(before.unwrap_or_default());
                list.retain(|item| !removed.contains(item));
                overrides.insert(name.clone(), list.join(","));
            }
        }
    }
}

type ByResource<T> = BTreeMap<ConfigResource, Result<T, Error>>;

impl Admin {
    /// Every key of each resource, with its value, source and synonyms. One result for each resource.
    ///
    /// # Errors
    /// Those of reaching a broker.
    pub async fn describe_configs(
        &self,
        resources: &[ConfigResource],
        include_documentation: bool,
    ) -> Result<ByResource<Vec<ConfigEntry>>, Error> {
        let mut described = BTreeMap::new();
        for (broker, resources) in by_broker(resources.iter().map(|resource| (resource.clone(), ()))) {
            let wire = resources.iter().map(|(resource, ())| {
                let (resource_type, resource_name) = resource.wire();
                DescribeConfigsResource { resource_type, resource_name, configuration_keys: None }
            });
            let request =
                DescribeConfigsRequest { resources: wire.collect(), include_synonyms: true, include_documentation };
            let attempt = || async { self.ask(self.broker_or_any(broker).await?, &request, |_| 0).await };
            let (connection, response) = self.cluster.retrying(attempt).await?;
            for result in response.results {
                let Some(resource) = ConfigResource::from_wire(result.resource_type, &result.resource_name) else {
                    continue;
                };
                let message = result.error_message;
                let refused = refused(&connection, ApiKey::DescribeConfigs, result.error_code, &resource, message);
                let configs = result.configs.into_iter().map(ConfigEntry::from).collect();
                described.insert(resource, refused.map_or(Ok(configs), Err));
            }
        }
        Ok(described)
    }

    /// Changes some keys and leaves the others as they are. With `validate_only` it is just checked. One result for each
    /// resource.
    ///
    /// A broker before Kafka 2.3 can only replace all overrides of a resource at once: there the present ones are read
    /// first, so that two such changes at the same time may undo each other.
    ///
    /// # Errors
    /// Those of reaching a broker.
    pub async fn incremental_alter_configs(
        &self,
        changes: &[(ConfigResource, Vec<AlterConfigOp>)],
        validate_only: bool,
    ) -> Result<ByResource<()>, Error> {
        let mut altered = BTreeMap::new();
        for (broker, changes) in by_broker(changes.iter().cloned()) {
            let connection = self.broker_or_any(broker).await?;
            let results = match connection.version(ApiKey::IncrementalAlterConfigs) {
                Ok(_) => self.alter_incrementally(broker, &changes, validate_only).await?,
                Err(_) => self.alter_wholly(broker, changes, validate_only).await?,
            };
            altered.extend(results);
        }
        Ok(altered)
    }

    async fn alter_incrementally(
        &self,
        broker: Option<i32>,
        changes: &[(ConfigResource, Vec<AlterConfigOp>)],
        validate_only: bool,
    ) -> Result<ByResource<()>, Error> {
        use incremental_alter_configs::{AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest};
        let config = |op: &AlterConfigOp| {
            let (name, config_operation, value) = op.wire();
            AlterableConfig { name: name.to_owned(), config_operation, value: value.map(str::to_owned) }
        };
        let resource = |(resource, ops): &(ConfigResource, Vec<AlterConfigOp>)| {
            let (resource_type, resource_name) = resource.wire();
            AlterConfigsResource { resource_type, resource_name, configs: ops.iter().map(config).collect() }
        };
        let request =
            IncrementalAlterConfigsRequest { resources: changes.iter().map(resource).collect(), validate_only };
        let attempt = || async {
            let refusal = |response: &incremental_alter_configs::IncrementalAlterConfigsResponse| {
                not_controller(response.responses.iter().map(|resource| resource.error_code))
            };
            self.ask(self.broker_or_any(broker).await?, &request, refusal).await
        };
        let (connection, response) = self.cluster.retrying(attempt).await?;
        let api = ApiKey::IncrementalAlterConfigs;
        let results = response.responses.into_iter().filter_map(|result| {
            let resource = ConfigResource::from_wire(result.resource_type, &result.resource_name)?;
            let refused = refused(&connection, api, result.error_code, &resource, result.error_message);
            Some((resource, refused.map_or(Ok(()), Err)))
        });
        Ok(results.collect())
    }

    /// Replaces all overrides by the present ones with the changes made to them.
    async fn alter_wholly(
        &self,
        broker: Option<i32>,
        changes: Vec<(ConfigResource, Vec<AlterConfigOp>)>,
        validate_only: bool,
    ) -> Result<ByResource<()>, Error> {
        use alter_configs::{AlterConfigsRequest, AlterConfigsResource, AlterableConfig};
        let resources: Vec<ConfigResource> = changes.iter().map(|(resource, _)| resource.clone()).collect();
        let mut described = self.describe_configs(&resources, false).await?;
        let mut altered = BTreeMap::new();
        let mut wire = Vec::new();
        for (resource, ops) in changes {
            let entries = match described.remove(&resource) {
                Some(Ok(entries)) => entries,
                Some(Err(error)) => {
                    altered.insert(resource, Err(error));
                    continue;
                }
                None => continue,
            };
            let overrides = entries.iter().filter(|entry| is_override(&resource, entry.source));
            let mut overrides: BTreeMap<String, String> =
                overrides.filter_map(|entry| Some((entry.name.clone(), entry.value.clone()?))).collect();
            for op in &ops {
                let name = op.wire().0;
                let set = overrides.get(name).cloned();
                let holds = || entries.iter().find(|entry| entry.name == name).and_then(|entry| entry.value.clone());
                op.apply(&mut overrides, set.or_else(holds).as_deref());
            }
            let (resource_type, resource_name) = resource.wire();
            let configs = overrides.into_iter().map(|(name, value)| AlterableConfig { name, value: Some(value) });
            wire.push(AlterConfigsResource { resource_type, resource_name, configs: configs.collect() });
        }
        let request = AlterConfigsRequest { resources: wire, validate_only };
        let attempt = || async { self.ask(self.broker_or_any(broker).await?, &request, |_| 0).await };
        let (connection, response) = self.cluster.retrying(attempt).await?;
        for result in response.responses {
            let Some(resource) = ConfigResource::from_wire(result.resource_type, &result.resource_name) else {
                continue;
            };
            let message = result.error_message;
            let refused = refused(&connection, ApiKey::AlterConfigs, result.error_code, &resource, message);
            altered.insert(resource, refused.map_or(Ok(()), Err));
        }
        Ok(altered)
    }

    /// The broker whose own configs are meant, or any.
    async fn broker_or_any(&self, broker: Option<i32>) -> Result<Connection, Error> {
        match broker {
            Some(broker) => self.cluster.connection(broker, Lane::Control).await,
            None => self.cluster.any_connection().await,
        }
    }
}

/// A single broker's configs are known to that broker alone; all others to any.
fn by_broker<T>(
    resources: impl Iterator<Item = (ConfigResource, T)>,
) -> BTreeMap<Option<i32>, Vec<(ConfigResource, T)>> {
    let mut brokers: BTreeMap<Option<i32>, Vec<(ConfigResource, T)>> = BTreeMap::new();
    for (resource, value) in resources {
        let broker = match resource {
            ConfigResource::Broker(id) => Some(id),
            _ => None,
        };
        brokers.entry(broker).or_default().push((resource, value));
    }
    brokers
}

/// Whether a value was set for this very resource.
fn is_override(resource: &ConfigResource, source: ConfigSource) -> bool {
    source
        == match resource {
            ConfigResource::Topic(_) => ConfigSource::Topic,
            ConfigResource::Broker(_) => ConfigSource::DynamicBroker,
            ConfigResource::AllBrokers => ConfigSource::DynamicDefaultBroker,
            ConfigResource::Group(_) => ConfigSource::Group,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_made_to_the_present_overrides() {
        let mut overrides = BTreeMap::from([("retention.ms".to_owned(), "1".to_owned())]);
        AlterConfigOp::Set("retention.ms".into(), "2".into()).apply(&mut overrides, Some("1"));
        AlterConfigOp::Append("cleanup.policy".into(), "compact,delete".into()).apply(&mut overrides, Some("delete"));
        assert_eq!(overrides["retention.ms"], "2");
        assert_eq!(overrides["cleanup.policy"], "delete,compact");
        AlterConfigOp::Subtract("cleanup.policy".into(), "delete".into()).apply(&mut overrides, Some("delete,compact"));
        assert_eq!(overrides["cleanup.policy"], "compact");
        AlterConfigOp::Delete("retention.ms".into()).apply(&mut overrides, None);
        assert!(!overrides.contains_key("retention.ms"));
    }

    #[test]
    fn resources_make_the_round_trip() {
        let group = ConfigResource::Group("g".into());
        for resource in
            [ConfigResource::Topic("t".into()), ConfigResource::Broker(3), ConfigResource::AllBrokers, group]
        {
            let (resource_type, name) = resource.wire();
            assert_eq!(ConfigResource::from_wire(resource_type, &name), Some(resource));
        }
        assert_eq!(ConfigResource::from_wire(4, "x"), None);
    }
}
