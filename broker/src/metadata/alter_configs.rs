//! AlterConfigs and IncrementalAlterConfigs: overrides of topics and groups, and of the broker's own configuration while it runs.
//!
//! What an operation does to a value is `config`'s; here it becomes durable and takes effect.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::controller::{Controller, Plan, fail_all};
use super::controller_error::ControllerError;
use super::image::TopicImage;
use super::internal_topic;
use super::metadata_record::MetadataRecord;
use crate::config::{AlterOp, Alteration, BrokerConfig, BrokerScope, alter_broker, alter_group, alter_topic};

/// The longest name of a group that can have a configuration of its own, in bytes.
pub(super) const GROUP_NAME_BYTES_MAX: usize = 1024;
/// How many groups can have a configuration of their own: every image has all of them.
pub(super) const CONFIGURED_GROUPS_MAX: usize = 10_000;

/// What is to happen to a set of overrides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    /// These operations; other keys keep what they have (IncrementalAlterConfigs).
    Alter(Vec<Alteration>),
    /// Exactly these values; every other override is taken away (AlterConfigs).
    Replace(Vec<(String, Option<String>)>),
}

/// A change of one topic's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfigChange {
    /// The topic.
    pub name: String,
    /// The change.
    pub change: ConfigChange,
    /// Only check whether it could be made.
    pub validate_only: bool,
}

impl Controller {
    /// Changes the configuration of topics, each for itself. Answers in the order of the wishes. When it returns, the changes are
    /// durable and in force.
    ///
    /// # Errors
    /// For each topic, why it was not changed.
    pub fn alter_topic_configs(
        &self,
        changes: Vec<TopicConfigChange>,
    ) -> Vec<Result<Arc<TopicImage>, ControllerError>> {
        let mut state = match self.lock() {
            Ok(state) => state,
            Err(error) => return changes.iter().map(|_| Err(error.clone())).collect(),
        };
        let config = self.config();
        let mut plan = self.plan(&state);
        let results = changes.into_iter().map(|change| plan_topic_configs(&mut plan, &config, change)).collect();
        match self.commit(&mut state, plan) {
            Ok(()) => results,
            Err(error) => fail_all(results, &error),
        }
    }

    /// Changes the configuration of a group, whether there is one of that name or not. When it returns, the change is durable and
    /// in force.
    ///
    /// # Errors
    /// Why it was not changed.
    pub fn alter_group_configs(
        &self,
        group: &str,
        change: ConfigChange,
        validate_only: bool,
    ) -> Result<(), ControllerError> {
        if !(1..=GROUP_NAME_BYTES_MAX).contains(&group.len()) {
            return Err(ControllerError::InvalidGroupName { bytes: group.len() });
        }
        let mut state = self.lock()?;
        let mut plan = self.plan(&state);
        let current = plan.image.group_configs(group).cloned().unwrap_or_default();
        let configs = alter_group(&self.config(), &current, &change.into_alterations(&current))?;
        if current.is_empty() && !configs.is_empty() && plan.image.configured_group_count() >= CONFIGURED_GROUPS_MAX {
            return Err(ControllerError::TooManyConfiguredGroups);
        }
        if validate_only || configs == current {
            return Ok(());
        }
        plan.add(MetadataRecord::GroupConfigs { group: group.to_owned(), configs });
        self.commit(&mut state, plan)
    }

    /// Changes the broker's configuration, for all brokers or for this one. When it returns, the change is durable and in force:
    /// [`Controller::config`] has it, and the listener was told.
    ///
    /// # Errors
    /// Why it was not changed.
    pub fn alter_broker_configs(
        &self,
        scope: BrokerScope,
        change: ConfigChange,
        validate_only: bool,
    ) -> Result<(), ControllerError> {
        let mut state = self.lock()?;
        let mut plan = self.plan(&state);
        let mut dynamic = plan.image.broker_configs().clone();
        let layer = match scope {
            BrokerScope::ClusterWide => &mut dynamic.cluster_wide,
            BrokerScope::PerBroker => &mut dynamic.per_broker,
        };
        let altered = alter_broker(&self.config(), scope, &change.into_alterations(layer))?;
        if validate_only || altered == *layer {
            return Ok(());
        }
        *layer = altered;
        plan.add(MetadataRecord::BrokerConfigs { cluster_wide: dynamic.cluster_wide, per_broker: dynamic.per_broker });
        self.commit(&mut state, plan)
    }
}

impl ConfigChange {
    /// The change as operations on the overrides that are there.
    fn into_alterations(self, current: &BTreeMap<String, String>) -> Vec<Alteration> {
        let values = match self {
            ConfigChange::Alter(alterations) => return alterations,
            ConfigChange::Replace(values) => values,
        };
        let gone = current.keys().filter(|key| values.iter().all(|(name, _)| name != *key));
        let deletions: Vec<Alteration> =
            gone.map(|key| Alteration { name: key.clone(), op: AlterOp::Delete, value: None }).collect();
        let sets = values.into_iter().map(|(name, value)| Alteration { name, op: AlterOp::Set, value });
        deletions.into_iter().chain(sets).collect()
    }
}

fn plan_topic_configs(
    plan: &mut Plan,
    config: &BrokerConfig,
    wish: TopicConfigChange,
) -> Result<Arc<TopicImage>, ControllerError> {
    let Some(topic) = plan.image.topic(&wish.name).cloned() else {
        return Err(ControllerError::UnknownTopic { name: wish.name });
    };
    let configs = alter_topic(config, &topic.configs, &wish.change.into_alterations(&topic.configs))?;
    if configs == topic.configs {
        return Ok(topic);
    }
    internal_topic::check(&topic.name, &configs)?;
    if wish.validate_only {
        return Ok(Arc::new(TopicImage { configs, ..TopicImage::clone(&topic) }));
    }
    plan.add(MetadataRecord::TopicConfigs { topic_id: topic.id, configs });
    Ok(plan.image.topic_by_id(&topic.id).expect("it is changed, not removed").clone())
}
