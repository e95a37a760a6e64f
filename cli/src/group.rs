//! `ottla group`: list, describe, alter, reset-offsets, delete, delete-offsets.

mod chosen_partitions;
mod describe;
mod offsets_file;
mod partition_set;
mod progress;
mod reasons;
mod reset_offsets;
mod settings;
mod view;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde::Serialize;

use ottla_client::{Admin, Error, ErrorCode, GroupState, GroupType, TopicPartition};

use crate::command_line::Bootstrap;
use crate::output::{Output, OutputFormat, confirm, or_dash, plural, print, print_json, table};
use chosen_partitions::ChosenPartitions;
use describe::DescribeCommand;
use reset_offsets::ResetOffsetsCommand;
use settings::AlterCommand;

const AFTER_HELP: &str = "\
Examples:
  ottla group list --state Stable
  ottla group describe readers
  ottla group describe readers --watch 10
  ottla group reset-offsets readers --topic flights --to 2013-07-01
  ottla group reset-offsets readers --topic flights:0,1 --shift-by -100 --execute
  ottla group delete-offsets readers --topic flights --yes
  ottla group delete readers --yes";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct GroupCommand {
    #[command(subcommand)]
    action: GroupAction,
}

#[derive(Debug, Subcommand)]
enum GroupAction {
    /// List the groups of all brokers
    List(ListCommand),
    /// Show groups with their members, how far they have read, and why they are not moving
    Describe(DescribeCommand),
    /// Change the settings that a group has of its own
    Alter(AlterCommand),
    /// Let a group without members go on elsewhere; shows what it would do, unless told to do it
    ResetOffsets(ResetOffsetsCommand),
    /// Delete groups without members, with all their committed offsets
    Delete(DeleteCommand),
    /// Forget committed offsets of topics that no member subscribes to
    DeleteOffsets(DeleteOffsetsCommand),
}

#[derive(Debug, Args)]
struct ListCommand {
    /// Only groups in these states, such as Empty, Stable, PreparingRebalance or Reconciling; several separated by
    /// commas, in any case
    #[arg(long, value_delimiter = ',')]
    state: Vec<GroupState>,
    /// Only groups of these types, Classic or Consumer (KIP-848); several separated by commas, in any case
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    types: Vec<GroupType>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Args)]
struct DeleteCommand {
    /// The groups
    #[arg(required = true)]
    groups: Vec<String>,
    /// Do not ask; needed where there is no terminal to ask at
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Args)]
struct DeleteOffsetsCommand {
    /// The group
    group: String,
    /// A topic, or some of its partitions; may be repeated
    #[arg(short, long, required = true, value_name = "TOPIC[:PARTITION,...]")]
    topic: Vec<ChosenPartitions>,
    /// Do not ask; needed where there is no terminal to ask at
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

pub(crate) async fn run(command: GroupCommand) -> Result<()> {
    match command.action {
        GroupAction::List(command) => list(command).await,
        GroupAction::Describe(command) => describe::run(command).await,
        GroupAction::Alter(command) => settings::alter(command).await,
        GroupAction::ResetOffsets(command) => reset_offsets::run(command).await,
        GroupAction::Delete(command) => delete(command).await,
        GroupAction::DeleteOffsets(command) => delete_offsets(command).await,
    }
}

#[derive(Serialize)]
struct GroupLine {
    group: String,
    #[serde(rename = "type")]
    group_type: String,
    state: String,
    protocol_type: String,
}

async fn list(command: ListCommand) -> Result<()> {
    if let Some(unknown) = command.state.iter().find(|state| matches!(state, GroupState::Other(_))) {
        bail!(
            "{unknown:?} is no state of a group; these are Empty, PreparingRebalance, CompletingRebalance, Assigning, Reconciling, Stable, Dead",
            unknown = unknown.name()
        );
    }
    let admin = Admin::connect(command.bootstrap.client_config()).await?;
    let groups = admin.list_groups(&command.state, &command.types).await?;
    admin.close().await;
    let lines: Vec<GroupLine> = groups
        .into_iter()
        .map(|group| GroupLine {
            group: group.group_id,
            group_type: group.group_type.to_string(),
            state: group.state.to_string(),
            protocol_type: group.protocol_type,
        })
        .collect();
    match command.output.output {
        OutputFormat::Json => print_json(&lines),
        OutputFormat::Table if lines.is_empty() => {
            let all = command.state.is_empty() && command.types.is_empty();
            print(if all { "there are no groups\n" } else { "there are no such groups\n" })
        }
        OutputFormat::Table => {
            let row = |line: GroupLine| [line.group, line.group_type, line.state, dash_for_empty(line.protocol_type)];
            print(&table(["group", "type", "state", "protocol"], lines.into_iter().map(row)))
        }
    }
}

fn dash_for_empty(text: String) -> String {
    or_dash(Some(text).filter(|text| !text.is_empty()))
}

async fn delete(command: DeleteCommand) -> Result<()> {
    let question = format!("delete {} with all committed offsets?", command.groups.join(", "));
    confirm(&question, command.yes)?;
    let admin = Admin::connect(command.bootstrap.client_config()).await?;
    let groups: Vec<&str> = command.groups.iter().map(String::as_str).collect();
    let deleted = admin.delete_groups(&groups).await;
    admin.close().await;
    let mut failures = Vec::new();
    for (group, outcome) in deleted {
        match outcome {
            Ok(()) => print(&format!("deleted {group}\n"))?,
            Err(error) => failures.push(in_words(&error, &group)),
        }
    }
    all_went_well(failures)
}

async fn delete_offsets(command: DeleteOffsetsCommand) -> Result<()> {
    let question = format!("forget how far {} has read?", command.group);
    confirm(&question, command.yes)?;
    let admin = Admin::connect(command.bootstrap.client_config()).await?;
    let committed = admin.group_offsets(&[&command.group]).await.remove(&command.group).transpose()?;
    let committed = committed.unwrap_or_default();
    let is_chosen = |at: &TopicPartition| command.topic.iter().any(|chosen| chosen.contains(at));
    let partitions = committed.into_keys().filter(is_chosen).collect();
    let outcome = admin.delete_group_offsets(&command.group, &partitions).await;
    admin.close().await;
    let outcome: BTreeMap<TopicPartition, Result<(), Error>> = outcome?;
    let done = outcome.values().filter(|outcome| outcome.is_ok()).count() as i64;
    print(&format!("deleted {} of {}\n", plural(done, "committed offset"), command.group))?;
    all_went_well(outcome.into_values().filter_map(Result::err).map(|error| error.to_string()).collect())
}

/// Why a request for a group failed; one that is not there is most likely a name that was mistyped.
fn in_words(error: &Error, group: &str) -> String {
    match error.code() {
        Some(ErrorCode::GroupIdNotFound) => {
            format!("there is no group {group}: `ottla group list` shows those that there are")
        }
        _ => error.to_string(),
    }
}

fn all_went_well(failures: Vec<String>) -> Result<()> {
    if failures.is_empty() { Ok(()) } else { bail!(failures.join("\n       ")) }
}
