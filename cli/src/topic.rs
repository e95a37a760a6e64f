//! `ottla topic`: create, list, describe, alter, delete, add-partitions, delete-records.

mod delete_records;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde::Serialize;

use ottla_client::{
    Admin, ConfigEntry, ConfigResource, ConfigSource, Error, IsolationLevel, NewTopic, OffsetSpec, TopicMetadata,
    TopicPartition,
};

use crate::command_line::{Bootstrap, parse_pair};
use crate::config_changes::{ConfigChanges, settings, source};
use crate::output::{Output, OutputFormat, bytes, confirm, or_dash, plural, print, print_json, table};
use delete_records::DeleteRecordsCommand;

const AFTER_HELP: &str = "\
Examples:
  ottla topic create flights --partitions 6 --config retention.ms=-1
  ottla topic list
  ottla topic describe flights
  ottla topic alter flights --set retention.ms=86400000 --delete segment.bytes
  ottla topic add-partitions flights --total 12
  ottla topic delete-records flights --before 2013-07-01
  ottla topic delete flights --yes";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct TopicCommand {
    #[command(subcommand)]
    action: TopicAction,
}

#[derive(Debug, Subcommand)]
enum TopicAction {
    /// Create a topic
    Create(CreateCommand),
    /// List all topics
    List(ListCommand),
    /// Show topics with their partitions, offsets, sizes and settings
    Describe(DescribeCommand),
    /// Change the settings of a topic
    Alter(AlterCommand),
    /// Delete topics with all their records
    Delete(DeleteCommand),
    /// Give a topic more partitions; records with keys that are produced from then on may go to other partitions
    AddPartitions(AddPartitionsCommand),
    /// Delete the oldest records of a topic
    DeleteRecords(DeleteRecordsCommand),
}

#[derive(Debug, Args)]
struct CreateCommand {
    /// The topic's name
    topic: String,
    /// How many partitions; left to the broker's num.partitions where not given
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Copies of each partition; left to the broker where not given
    #[arg(long, value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,
    /// A setting of the topic (docs/configuration.md lists them); may be repeated
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    config: Vec<(String, String)>,
    /// Succeed if the topic is already there, whatever its settings
    #[arg(long)]
    if_not_exists: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Args)]
struct ListCommand {
    /// Also list the topics that belong to the broker itself
    #[arg(long)]
    internal: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Args)]
struct DescribeCommand {
    /// The topics
    #[arg(required = true)]
    topics: Vec<String>,
    /// Show all settings, not only those that differ from the default
    #[arg(long)]
    all_configs: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Args)]
struct AlterCommand {
    /// The topic
    topic: String,
    #[command(flatten)]
    changes: ConfigChanges,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Args)]
struct DeleteCommand {
    /// The topics
    #[arg(required = true)]
    topics: Vec<String>,
    /// Do not ask; needed where there is no terminal to ask at
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Args)]
struct AddPartitionsCommand {
    /// The topic
    topic: String,
    /// How many partitions it is to have in all
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..))]
    total: i32,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

pub(crate) async fn run(command: TopicCommand) -> Result<()> {
    match command.action {
        TopicAction::Create(command) => create(command).await,
        TopicAction::List(command) => list(command).await,
        TopicAction::Describe(command) => describe(command).await,
        TopicAction::Alter(command) => alter(command).await,
        TopicAction::Delete(command) => delete(command).await,
        TopicAction::AddPartitions(command) => add_partitions(command).await,
        TopicAction::DeleteRecords(command) => delete_records::run(command).await,
    }
}

async fn create(command: CreateCommand) -> Result<()> {
    let mut topic = NewTopic::new(&command.topic, command.partitions.unwrap_or(-1));
    topic.replication_factor = command.replication_factor.unwrap_or(-1);
    topic.configs = command.config;
    let admin = Admin::connect(command.bootstrap.client_config()).await?;
    let created = admin.create_topic(topic).await;
    admin.close().await;
    match created {
        Ok(created) => {
            print(&format!("created {} with {}\n", command.topic, plural(created.partitions.into(), "partition")))
        }
        Err(error) if command.if_not_exists && is(&error, "TOPIC_ALREADY_EXISTS") => {
            print(&format!("{} is already there\n", command.topic))
        }
        Err(error) => Err(error.into()),
    }
}

/// By the name of Kafka's code.
fn is(error: &Error, code: &str) -> bool {
    error.code().is_some_and(|found| found.to_string().starts_with(code))
}

#[derive(Serialize)]
struct TopicLine {
    topic: String,
    partitions: usize,
    id: String,
    internal: bool,
}

async fn list(command: ListCommand) -> Result<()> {
    let admin = Admin::connect(command.bootstrap.client_config()).await?;
    let topics = admin.list_topics().await?;
    admin.close().await;
    let topics = topics.into_iter().filter(|topic| command.internal || !topic.is_internal);
    let lines: Vec<TopicLine> = topics
        .map(|topic| TopicLine {
            topic: topic.name,
            partitions: topic.partitions,
            id: topic.id.to_string(),
            internal: topic.is_internal,
        })
        .collect();
    match command.output.output {
        OutputFormat::Json => print_json(&lines),
        OutputFormat::Table if lines.is_empty() => print("no topics; `ottla topic create NAME` creates one\n"),
        OutputFormat::Table => {
            let row = |line: TopicLine| [line.topic, line.partitions.to_string(), line.id];
            print(&table(["topic", "partitions", "id"], lines.into_iter().map(row)))
        }
    }
}

#[derive(Serialize)]
struct TopicView {
    topic: String,
    id: String,
    internal: bool,
    partitions: Vec<PartitionView>,
    configs: Vec<ConfigView>,
}

#[derive(Serialize)]
struct PartitionView {
    partition: i32,
    leader: Option<i32>,
    leader_epoch: i32,
    replicas: Vec<i32>,
    in_sync_replicas: Vec<i32>,
    start_offset: Option<i64>,
    end_offset: Option<i64>,
    size_bytes: Option<i64>,
}

#[derive(Serialize)]
struct ConfigView {
    name: String,
    value: Option<String>,
    source: String,
}

async fn describe(command: DescribeCommand) -> Result<()> {
    let admin = Admin::connect(command.bootstrap.client_config()).await?;
    let names: Vec<&str> = command.topics.iter().map(String::as_str).collect();
    let mut described = admin.describe_topics(&names).await?;
    let mut views = Vec::new();
    for name in &command.topics {
        let topic =
            described.remove(name).with_context(|| format!("the broker said nothing of the topic {name}"))??;
        views.push(view(&admin, topic, command.all_configs).await?);
    }
    admin.close().await;
    match command.output.output {
        OutputFormat::Json => print_json(&views),
        OutputFormat::Table => print(&views.iter().map(text).collect::<Vec<_>>().join("\n")),
    }
}

async fn view(admin: &Admin, topic: TopicMetadata, all_configs: bool) -> Result<TopicView> {
    let partitions: Vec<TopicPartition> =
        topic.partitions.iter().map(|one| TopicPartition::new(topic.name.clone(), one.partition)).collect();
    let starts = offsets(admin, &partitions, OffsetSpec::Earliest).await;
    let ends = offsets(admin, &partitions, OffsetSpec::Latest).await;
    let sizes = sizes(admin, &partitions).await;
    let configs = configs(admin, &topic.name, all_configs).await?;
    let of = |map: &BTreeMap<i32, i64>, partition: i32| map.get(&partition).copied();
    let partitions = topic.partitions.iter().map(|one| PartitionView {
        partition: one.partition,
        leader: one.leader,
        leader_epoch: one.leader_epoch,
        replicas: one.replicas.clone(),
        in_sync_replicas: one.in_sync_replicas.clone(),
        start_offset: of(&starts, one.partition),
        end_offset: of(&ends, one.partition),
        size_bytes: of(&sizes, one.partition),
    });
    Ok(TopicView {
        topic: topic.name.to_string(),
        id: topic.id.to_string(),
        internal: topic.is_internal,
        partitions: partitions.collect(),
        configs,
    })
}

/// Offsets by partition; one that has no leader is left out.
async fn offsets(admin: &Admin, partitions: &[TopicPartition], spec: OffsetSpec) -> BTreeMap<i32, i64> {
    let asked = partitions.iter().map(|partition| (partition.clone(), spec));
    let answers = admin.list_offsets(asked, IsolationLevel::ReadUncommitted).await;
    answers.into_iter().filter_map(|(at, answer)| Some((at.partition, answer.ok()?.offset))).collect()
}

/// Bytes by partition, of the largest copy; empty where the broker does not say.
async fn sizes(admin: &Admin, partitions: &[TopicPartition]) -> BTreeMap<i32, i64> {
    let mut sizes = BTreeMap::new();
    let directories = admin.describe_log_dirs(&[]).await.unwrap_or_default();
    for directory in directories.into_values().flatten().flatten() {
        for (at, size) in directory.replicas.iter().filter(|(at, size)| partitions.contains(at) && !size.is_future) {
            let largest = sizes.entry(at.partition).or_insert(0);
            *largest = size.size.max(*largest);
        }
    }
    sizes
}

async fn configs(admin: &Admin, topic: &str, all: bool) -> Result<Vec<ConfigView>> {
    let entries = settings(admin, &ConfigResource::Topic(topic.to_owned()), topic).await?;
    let shown = |entry: &ConfigEntry| all || entry.source != ConfigSource::Default;
    let entries = entries.into_iter().filter(shown);
    let views = entries.map(|entry| ConfigView { name: entry.name, value: entry.value, source: source(entry.source) });
    Ok(views.collect())
}

fn text(view: &TopicView) -> String {
    let records: i64 = view.partitions.iter().filter_map(|one| Some(one.end_offset? - one.start_offset?)).sum();
    let size: i64 = view.partitions.iter().filter_map(|one| one.size_bytes).sum();
    let partitions = plural(view.partitions.len() as i64, "partition");
    let mut out =
        format!("{} ({}): {partitions}, {}, {}\n\n", view.topic, view.id, plural(records, "offset"), bytes(size));
    let ids = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let row = |one: &PartitionView| {
        [
            one.partition.to_string(),
            or_dash(one.leader),
            ids(&one.replicas),
            ids(&one.in_sync_replicas),
            or_dash(one.start_offset),
            or_dash(one.end_offset),
            or_dash(one.size_bytes.map(bytes)),
        ]
    };
    let header = ["partition", "leader", "replicas", "in sync", "start", "end", "size"];
    out.push_str(&table(header, view.partitions.iter().map(row)));
    if !view.configs.is_empty() {
        let row = |one: &ConfigView| [one.name.clone(), or_dash(one.value.as_ref()), one.source.clone()];
        out.push('\n');
        out.push_str(&table(["setting", "value", "set by"], view.configs.iter().map(row)));
    }
    out
}

async fn alter(command: AlterCommand) -> Result<()> {
    let resource = ConfigResource::Topic(command.topic.clone());
    command.changes.make(&command.bootstrap, resource, &command.topic).await
}

async fn delete(command: DeleteCommand) -> Result<()> {
    confirm(&format!("delete {} with all records?", command.topics.join(", ")), command.yes)?;
    let admin = Admin::connect(command.bootstrap.client_config()).await?;
    let names: Vec<&str> = command.topics.iter().map(String::as_str).collect();
    let deleted = admin.delete_topics(&names).await?;
    admin.close().await;
    let mut failures = Vec::new();
    for (topic, outcome) in deleted {
        match outcome {
            Ok(()) => print(&format!("deleted {topic}\n"))?,
            Err(error) => failures.push(error.to_string()),
        }
    }
    if failures.is_empty() { Ok(()) } else { bail!(failures.join("\n       ")) }
}

async fn add_partitions(command: AddPartitionsCommand) -> Result<()> {
    let admin = Admin::connect(command.bootstrap.client_config()).await?;
    let outcome = admin.create_partitions(&[(&command.topic, command.total)], false).await?;
    admin.close().await;
    outcome.into_values().collect::<Result<(), Error>>()?;
    print(&format!("{} has {} now\n", command.topic, plural(command.total.into(), "partition")))
}
