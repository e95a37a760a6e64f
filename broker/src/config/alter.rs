//! What AlterConfigs and IncrementalAlterConfigs do to a set of overrides.
//!
//! Owns the four operations and the validation of their outcome. Pure: takes the overrides as they are, returns them
//! as they are to be; `metadata` makes that durable. An error changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::broker_config::BrokerConfig;
use super::config_error::{ConfigError, Scope};
use super::config_key::{ConfigType, UpdateMode, group_key, topic_key};
use super::topic_config::{TopicConfig, overridable_value};
use super::value::{Value, find, parse};

/// One operation of IncrementalAlterConfigs (KIP-339).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlterOp {
    /// Replaces the value.
    Set,
    /// Takes the override away, so that the default counts again. Unknown keys are allowed: there is nothing to take.
    Delete,
    /// Adds to a list what is not in it yet.
    Append,
    /// Takes out of a list what is in it.
    Subtract,
}

impl AlterOp {
    /// The operation of a wire code: 0 to 3.
    #[must_use]
    pub fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(AlterOp::Set),
            1 => Some(AlterOp::Delete),
            2 => Some(AlterOp::Append),
            3 => Some(AlterOp::Subtract),
            _ => None,
        }
    }
}

/// One key of an alteration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alteration {
    /// The key.
    pub name: String,
    /// What to do.
    pub op: AlterOp,
    /// The operand; only `Delete` does without.
    pub value: Option<String>,
}

/// Which brokers an alteration of broker keys is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerScope {
    /// All of them (resource BROKER without a name).
    ClusterWide,
    /// This one.
    PerBroker,
}

/// The overrides of a topic after these alterations.
///
/// # Errors
/// An unknown key, a value outside its bounds, null, a key twice, a list operation on something else, or an outcome
/// that contradicts itself.
pub fn alter_topic(
    broker: &BrokerConfig,
    overrides: &BTreeMap<String, String>,
    alterations: &[Alteration],
) -> Result<BTreeMap<String, String>, ConfigError> {
    let altered = apply(Scope::Topic, overrides, alterations, |name| {
        let value = overridable_value(broker.layers(), overrides, topic_key(name)?).ok()??;
        Some(value.to_string())
    })?;
    TopicConfig::from_overrides(broker, &altered)?;
    Ok(altered)
}

/// The values that a group has of its own after these alterations.
///
/// # Errors
/// As [`alter_topic`], and a value beyond the bounds that the broker has for groups.
pub fn alter_group(
    broker: &BrokerConfig,
    overrides: &BTreeMap<String, String>,
    alterations: &[Alteration],
) -> Result<BTreeMap<String, String>, ConfigError> {
    let altered = apply(Scope::Group, overrides, alterations, |name| {
        let value = overridable_value(broker.layers(), overrides, group_key(name)?).ok()??;
        Some(value.to_string())
    })?;
    broker.group_consumer_bounds.check(&altered)?;
    Ok(altered)
}

/// The dynamic values of one layer of broker keys after these alterations.
///
/// # Errors
/// As [`alter_topic`], and a key that cannot change while the broker runs, or not for all brokers at once.
pub fn alter_broker(
    broker: &BrokerConfig,
    scope: BrokerScope,
    alterations: &[Alteration],
) -> Result<BTreeMap<String, String>, ConfigError> {
    for alteration in alterations.iter().filter(|alteration| alteration.op != AlterOp::Delete) {
        let value = alteration.value.as_deref().unwrap_or_default();
        let key = alteration.name.clone();
        match (find(Scope::Broker, &key, value)?.mode, scope) {
            (UpdateMode::ReadOnly, _) => return Err(ConfigError::ReadOnly { key }),
            (UpdateMode::PerBroker, BrokerScope::ClusterWide) => return Err(ConfigError::PerBrokerOnly { key }),
            (UpdateMode::PerBroker | UpdateMode::ClusterWide, _) => {}
        }
    }
    let layers = broker.layers();
    let layer = match scope {
        BrokerScope::ClusterWide => layers.cluster_wide(),
        BrokerScope::PerBroker => layers.per_broker(),
    };
    let altered = apply(Scope::Broker, layer, alterations, |name| {
        let key = find(Scope::Broker, name, "").ok()?;
        layer.get(name).map(String::as_str).or(key.default).map(str::to_owned)
    })?;
    match scope {
        BrokerScope::ClusterWide => broker.with_dynamic(&altered, layers.per_broker())?,
        BrokerScope::PerBroker => broker.with_dynamic(layers.cluster_wide(), &altered)?,
    };
    Ok(altered)
}

/// `in_force` gives the value that a list operation starts from.
fn apply(
    scope: Scope,
    current: &BTreeMap<String, String>,
    alterations: &[Alteration],
    in_force: impl Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut altered = current.clone();
    let mut seen = BTreeSet::new();
    for Alteration { name, op, value } in alterations {
        if !seen.insert(name) {
            return Err(ConfigError::DuplicateKey { key: name.clone() });
        }
        if *op == AlterOp::Delete {
            altered.remove(name);
            continue;
        }
        let text = value.as_deref().ok_or_else(|| ConfigError::NullValue { key: name.clone() })?;
        let key = find(scope, name, text)?;
        let outcome = if *op == AlterOp::Set {
            text.to_owned()
        } else if key.config_type == ConfigType::List {
            edit_list(*op, &in_force(name).unwrap_or_default(), text)
        } else {
            return Err(ConfigError::NotAList { key: name.clone(), config_type: key.config_type.name() });
        };
        // Kept as Kafka shows it, so that a value reads the same wherever it is read.
        let value = parse(key, &outcome)?;
        altered.insert(name.clone(), if let Value::Text(_) = value { outcome } else { value.to_string() });
    }
    Ok(altered)
}

fn edit_list(op: AlterOp, list: &str, operand: &str) -> String {
    let split = |text: &str| -> Vec<String> {
        text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
    };
    let mut items = split(list);
    for item in split(operand) {
        match op {
            AlterOp::Append if !items.contains(&item) => items.push(item),
            AlterOp::Subtract => items.retain(|other| *other != item),
            AlterOp::Append | AlterOp::Set | AlterOp::Delete => {}
        }
    }
    items.join(",")
}

#[cfg(test)]
#[path = "alter_test.rs"]
mod tests;
