//! `ottla group alter`, and the settings that a group has of its own.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::Args;

use ottla_client::{Admin, ConfigResource, ConfigSource};

use crate::command_line::Bootstrap;
use crate::config_changes::ConfigChanges;

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
    #[command(flatten)]
    changes: ConfigChanges,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

pub(super) async fn alter(command: AlterCommand) -> Result<()> {
    let resource = ConfigResource::Group(command.group.clone());
    command.changes.make(&command.bootstrap, resource, &command.group).await
}

/// What a group has of its own; nothing from brokers that know no settings of groups.
pub(super) async fn own_settings(admin: &Admin, group: &str) -> Result<BTreeMap<String, String>> {
    let resource = ConfigResource::Group(group.to_owned());
    let described = admin.describe_configs(std::slice::from_ref(&resource), false).await?.remove(&resource);
    let entries = described.and_then(Result::ok).unwrap_or_default();
    let own = entries.into_iter().filter(|entry| entry.source == ConfigSource::Group);
    Ok(own.filter_map(|entry| Some((entry.name, entry.value?))).collect())
}
