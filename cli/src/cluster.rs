//! `ottla cluster`: the id, the brokers, and what a broker speaks beside what this command speaks.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use ottla_client::Admin;

use crate::command_line::Bootstrap;
use crate::output::{Output, OutputFormat, or_dash, print, print_json, table};

const AFTER_HELP: &str = "\
Examples:
  ottla cluster
  ottla cluster --versions
  ottla cluster --output json | jq -r .cluster_id";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ClusterCommand {
    #[command(flatten)]
    bootstrap: Bootstrap,
    #[command(flatten)]
    output: Output,
    /// Also list the APIs and the versions of them that the broker serves (always in JSON)
    #[arg(long)]
    versions: bool,
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

pub(crate) async fn run(command: ClusterCommand) -> Result<()> {
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
