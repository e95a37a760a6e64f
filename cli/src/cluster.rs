//! `ottla cluster`: the id, the brokers, what a broker speaks beside what this command speaks, and its settings.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;

use ottla_client::{Admin, ConfigResource, ConfigSource};

use crate::command_line::Bootstrap;
use crate::config_changes::{ConfigChanges, settings, source};
use crate::output::{Output, OutputFormat, or_dash, print, print_json, table};

const AFTER_HELP: &str = "\
Examples:
  ottla cluster
  ottla cluster --versions
  ottla cluster settings
  ottla cluster alter --set log.retention.ms=86400000
  ottla cluster --output json | jq -r .cluster_id";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub(crate) struct ClusterCommand {
    #[command(subcommand)]
    action: Option<ClusterAction>,
    #[command(flatten)]
    show: ShowCommand,
}

#[derive(Debug, Subcommand)]
enum ClusterAction {
    /// Show the settings of a broker
    Settings(SettingsCommand),
    /// Change settings of the brokers while they run; docs/configuration.md says which can be
    Alter(AlterCommand),
}

#[derive(Debug, Args)]
struct ShowCommand {
    #[command(flatten)]
    bootstrap: Bootstrap,
    #[command(flatten)]
    output: Output,
    /// Also list the APIs and the versions of them that the broker serves (always in JSON)
    #[arg(long)]
    versions: bool,
}

#[derive(Debug, Args)]
struct SettingsCommand {
    /// The broker's id
    #[arg(long, value_name = "ID", default_value_t = 1)]
    broker: i32,
    /// Show all settings, not only those that differ from the default
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Args)]
struct AlterCommand {
    /// Only of the broker with this id; of all of them without it
    #[arg(long, value_name = "ID")]
    broker: Option<i32>,
    #[command(flatten)]
    changes: ConfigChanges,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Serialize)]
struct ClusterView {
    cluster_id: Option<String>,
    controller: Option<i32>,
    brokers: Vec<BrokerView>,
    apis: Vec<ApiView>,
}

#[derive(Serialize)]
struct BrokerView {
    id: i32,
    host: String,
    port: u16,
    rack: Option<String>,
}

#[derive(Serialize)]
struct ApiView {
    key: i16,
    name: Option<String>,
    min_version: i16,
    max_version: i16,
}

#[derive(Serialize)]
struct SettingView {
    name: String,
    value: Option<String>,
    source: String,
    read_only: bool,
}

pub(crate) async fn run(command: ClusterCommand) -> Result<()> {
    match command.action {
        None => show(command.show).await,
        Some(ClusterAction::Settings(command)) => show_settings(command).await,
        Some(ClusterAction::Alter(command)) => alter(command).await,
    }
}

async fn show_settings(command: SettingsCommand) -> Result<()> {
    let admin = Admin::connect(command.bootstrap.client_config()).await?;
    let name = format!("broker {}", command.broker);
    let entries = settings(&admin, &ConfigResource::Broker(command.broker), &name).await?;
    admin.close().await;
    let views: Vec<SettingView> = entries
        .into_iter()
        .filter(|entry| command.all || entry.source != ConfigSource::Default)
        .map(|entry| SettingView {
            name: entry.name,
            value: entry.value,
            source: source(entry.source),
            read_only: entry.is_read_only,
        })
        .collect();
    match command.output.output {
        OutputFormat::Json => print_json(&views),
        OutputFormat::Table if views.is_empty() => print(&format!("{name} has all settings at their defaults\n")),
        OutputFormat::Table => {
            let changed = |view: &SettingView| if view.read_only { "at a start" } else { "while it runs" }.to_owned();
            let row = |view: SettingView| {
                [view.name.clone(), or_dash(view.value.as_ref()), view.source.clone(), changed(&view)]
            };
            print(&table(["setting", "value", "set by", "changed"], views.into_iter().map(row)))
        }
    }
}

async fn alter(command: AlterCommand) -> Result<()> {
    let (resource, name) = match command.broker {
        None => (ConfigResource::AllBrokers, "all brokers".to_owned()),
        Some(id) => (ConfigResource::Broker(id), format!("broker {id}")),
    };
    command.changes.make(&command.bootstrap, resource, &name).await
}

async fn show(command: ShowCommand) -> Result<()> {
    let admin = Admin::connect(command.bootstrap.client_config()).await?;
    let cluster = admin.describe_cluster().await?;
    let versions = admin.api_versions(None).await?;
    admin.close().await;
    let brokers = cluster.nodes.into_iter();
    let view = ClusterView {
        cluster_id: cluster.cluster_id,
        controller: cluster.controller,
        brokers: brokers
            .map(|node| BrokerView { id: node.id, host: node.host, port: node.port, rack: node.rack })
            .collect(),
        apis: versions
            .into_iter()
            .map(|range| ApiView {
                key: range.key,
                name: range.api.map(|api| api.to_string()),
                min_version: range.min,
                max_version: range.max,
            })
            .collect(),
    };
    match command.output.output {
        OutputFormat::Json => print_json(&view),
        OutputFormat::Table => print(&text(&view, command.versions)),
    }
}

fn text(view: &ClusterView, versions: bool) -> String {
    let mut out = format!("cluster {}\n\n", or_dash(view.cluster_id.as_ref()));
    let row = |broker: &BrokerView| {
        let role = if view.controller == Some(broker.id) { "controller" } else { "" };
        [
            broker.id.to_string(),
            format!("{}:{}", broker.host, broker.port),
            or_dash(broker.rack.as_ref()),
            role.to_owned(),
        ]
    };
    out.push_str(&table(["broker", "address", "rack", "role"], view.brokers.iter().map(row)));
    if versions {
        let row = |api: &ApiView| {
            [api.key.to_string(), or_dash(api.name.as_ref()), format!("{}-{}", api.min_version, api.max_version)]
        };
        out.push('\n');
        out.push_str(&table(["key", "api", "versions"], view.apis.iter().map(row)));
    }
    out
}
