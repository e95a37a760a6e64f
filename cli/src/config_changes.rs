//! `--set`, `--delete`, `--append` and `--subtract`: what the `alter` of topics, groups and the cluster has in common.

use anyhow::{Result, bail};
use clap::Args;

use ottla_client::{Admin, AlterConfigOp, ConfigEntry, ConfigResource, ConfigSource, Error};

use crate::command_line::{Bootstrap, parse_pair};
use crate::output::{plural, print};

/// Changes of settings; at least one.
#[derive(Debug, Args)]
pub(crate) struct ConfigChanges {
    /// Give a setting a value; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    set: Vec<(String, String)>,
    /// Take a setting back to what it is without one of its own; may be repeated
    #[arg(long, value_name = "KEY")]
    delete: Vec<String>,
    /// Add to a setting that is a list; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    append: Vec<(String, String)>,
    /// Take from a setting that is a list; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    subtract: Vec<(String, String)>,
}

impl ConfigChanges {
    /// Makes the changes, all or none of them, and says so; `name` is what people call the resource.
    pub(crate) async fn make(self, bootstrap: &Bootstrap, resource: ConfigResource, name: &str) -> Result<()> {
        let mut changes = Vec::new();
        changes.extend(self.set.into_iter().map(|(key, value)| AlterConfigOp::Set(key, value)));
        changes.extend(self.delete.into_iter().map(AlterConfigOp::Delete));
        changes.extend(self.append.into_iter().map(|(key, value)| AlterConfigOp::Append(key, value)));
        changes.extend(self.subtract.into_iter().map(|(key, value)| AlterConfigOp::Subtract(key, value)));
        if changes.is_empty() {
            bail!("nothing to change: use --set, --delete, --append or --subtract");
        }
        let count = changes.len() as i64;
        let admin = Admin::connect(bootstrap.client_config()).await?;
        let altered = admin.incremental_alter_configs(&[(resource, changes)], false).await?;
        admin.close().await;
        altered.into_values().collect::<Result<(), Error>>()?;
        print(&format!("changed {} of {name}\n", plural(count, "setting")))
    }
}

/// The settings of a resource; an error where it has none that the broker knows.
pub(crate) async fn settings(admin: &Admin, resource: &ConfigResource, name: &str) -> Result<Vec<ConfigEntry>> {
    let described = admin.describe_configs(std::slice::from_ref(resource), false).await?.remove(resource);
    match described {
        Some(entries) => Ok(entries?),
        None => bail!("the broker gave no settings of {name}"),
    }
}

/// Where a value comes from, in words.
pub(crate) fn source(source: ConfigSource) -> String {
    match source {
        ConfigSource::Topic => "topic".to_owned(),
        ConfigSource::DynamicBroker => "broker".to_owned(),
        ConfigSource::DynamicDefaultBroker => "all brokers".to_owned(),
        ConfigSource::StaticBroker => "start of the broker".to_owned(),
        ConfigSource::Default => "default".to_owned(),
        other => format!("{other:?}"),
    }
}
