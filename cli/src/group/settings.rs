//! `ottla group alter`, and the settings that a group has of its own.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use clap::Args;

use ottla_client::{Admin, AlterConfigOp, ConfigResource, ConfigSource, Error};

use crate::command_line::{Bootstrap, parse_pair};
use crate::output::{plural, print};

const AFTER_HELP: &str = "\
Groups of the consumer protocol (KIP-848) have consumer.session.timeout.ms,
consumer.heartbeat.interval.ms and consumer.assignment.interval.ms (docs/configuration.md); members
follow with their next heartbeat. `ottla group describe` shows what a group has of its own.

Examples:
  ottla group alter readers --set consumer.session.timeout.ms=60000
  ottla group alter readers --delete consumer.session.timeout.ms";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct AlterCommand {
    /// The group; it need not exist yet
    group: String,
    /// Give a setting a value; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    set: Vec<(String, String)>,
    /// Take a setting back to the broker's; may be repeated
    #[arg(long, value_name = "KEY")]
    delete: Vec<String>,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

pub(super) async fn alter(command: AlterCommand) -> Result<()> {
    let mut changes: Vec<AlterConfigOp> =
        command.set.into_iter().map(|(key, value)| AlterConfigOp::Set(key, value)).collect();
    changes.extend(command.delete.into_iter().map(AlterConfigOp::Delete));
    if changes.is_empty() {
        bail!("nothing to change: use --set or --delete");
    }
    let count = changes.len() as i64;
    let admin = Admin::connect(command.bootstrap.client_config()).await?;
    let resource = ConfigResource::Group(command.group.clone());
    let altered = admin.incremental_alter_configs(&[(resource, changes)], false).await?;
    admin.close().await;
    altered.into_values().collect::<Result<(), Error>>()?;
    print(&format!("changed {} of {}\n", plural(count, "setting"), command.group))
}

/// What a group has of its own; nothing from brokers that know no settings of groups.
pub(super) async fn own_settings(admin: &Admin, group: &str) -> Result<BTreeMap<String, String>> {
    let resource = ConfigResource::Group(group.to_owned());
    let described = admin.describe_configs(std::slice::from_ref(&resource), false).await?.remove(&resource);
    let entries = described.and_then(Result::ok).unwrap_or_default();
    let own = entries.into_iter().filter(|entry| entry.source == ConfigSource::Group);
    Ok(own.filter_map(|entry| Some((entry.name, entry.value?))).collect())
}
