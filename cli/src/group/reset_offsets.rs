//! `ottla group reset-offsets`: works out where a group is to go on, shows it, and commits it on the group's behalf.
//!
//! Invariant: nothing is changed without `--execute`, nor while the group has members.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;

use ottla_client::{Admin, CommittedOffset, Error, ErrorCode, GroupDescription, TopicPartition};

use super::all_went_well;
use super::chosen_partitions::ChosenPartitions;
use super::offsets_file::{read_offsets_file, write_offsets};
use crate::command_line::Bootstrap;
use crate::output::{or_dash, plural, print, print_json, table};
use crate::partition_offsets::{at_position, chosen_partitions, within_logs};
use crate::start_position::StartPosition;

const AFTER_HELP: &str = "\
Without --execute nothing is changed: the table shows where the group would go on. With it the
group must have no members, since they would go on from where they are; a group that does not
exist is created. An offset outside of a partition's log is moved to its start or end, and a
time after the newest record means the end.

The file of --from-file has no header and a line TOPIC,PARTITION,OFFSET for each partition, as
--output csv writes it, and Kafka's `kafka-consumer-groups --reset-offsets --export`.

Examples:
  ottla group reset-offsets readers --all-topics --to earliest
  ottla group reset-offsets readers --topic flights --to 2013-07-01T00:00:00Z --execute
  ottla group reset-offsets readers --topic flights:0,1 --to 4711 --execute
  ottla group reset-offsets readers --all-topics --shift-by -100 --execute
  ottla group reset-offsets readers --all-topics --shift-by 0 --output csv >offsets.csv
  ottla group reset-offsets readers --from-file offsets.csv --execute";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
#[command(group = clap::ArgGroup::new("where").required(true).args(["to", "shift_by", "from_file"]))]
#[command(group = clap::ArgGroup::new("which").required(true).args(["topic", "all_topics", "from_file"]))]
pub(super) struct ResetOffsetsCommand {
    /// The group
    group: String,
    /// A topic, or some of its partitions; may be repeated
    #[arg(short, long, value_name = "TOPIC[:PARTITION,...]", conflicts_with = "all_topics")]
    topic: Vec<ChosenPartitions>,
    /// Every partition in which the group has committed
    #[arg(long)]
    all_topics: bool,
    /// Go on there: earliest, latest, an offset, -N for the last N records of each partition, a time (RFC 3339, a date in
    /// UTC, or @MILLISECONDS since 1970)
    #[arg(long, value_name = "POSITION", allow_hyphen_values = true)]
    to: Option<StartPosition>,
    /// Go on so many records further, or back where it is negative
    #[arg(long, value_name = "RECORDS", allow_hyphen_values = true)]
    shift_by: Option<i64>,
    /// Go on at the offsets of this file
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// Do it
    #[arg(long)]
    execute: bool,
    /// How to print the result
    #[arg(short = 'o', long, value_enum, default_value_t = ResetOutput::Table)]
    output: ResetOutput,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ResetOutput {
    /// For people
    Table,
    /// For programs: one JSON document
    Json,
    /// For --from-file, and for Kafka's tools: a line TOPIC,PARTITION,OFFSET for each partition
    Csv,
}

/// What happens, or would happen, to one partition.
#[derive(Debug, Serialize)]
struct Reset {
    topic: String,
    partition: i32,
    committed_offset: Option<i64>,
    new_offset: i64,
    executed: bool,
}

pub(super) async fn run(command: ResetOffsetsCommand) -> Result<()> {
    let admin = Admin::connect(command.bootstrap.client_config()).await?;
    let members = members(&admin, &command.group).await?;
    if let Some(members) = &members {
        if command.execute {
            bail!("{members}; nothing was changed");
        }
        anstream::eprintln!("{members}; --execute would be refused now");
    }
    let committed = admin.group_offsets(&[&command.group]).await.remove(&command.group).transpose()?;
    let committed: BTreeMap<TopicPartition, i64> = committed
        .unwrap_or_default()
        .into_iter()
        .map(|(at, found)| found.map(|found| (at, found.offset)))
        .collect::<Result<_, Error>>()?;
    let wanted = wanted(&admin, &command, &committed).await?;
    let targets = within_logs(&admin, wanted).await?;
    let failures = match command.execute {
        true => commit(&admin, &command.group, &targets).await?,
        false => BTreeMap::new(),
    };
    admin.close().await;
    let resets: Vec<Reset> = targets
        .into_iter()
        .map(|(at, new_offset)| Reset {
            topic: at.topic.to_string(),
            partition: at.partition,
            committed_offset: committed.get(&at).copied(),
            new_offset,
            executed: command.execute && !failures.contains_key(&at),
        })
        .collect();
    show(&command, &resets)?;
    all_went_well(failures.into_values().collect())
}

fn show(command: &ResetOffsetsCommand, resets: &[Reset]) -> Result<()> {
    match command.output {
        ResetOutput::Json => print_json(&resets)?,
        ResetOutput::Csv => {
            let rows = resets.iter().map(|reset| (reset.topic.as_str(), reset.partition, reset.new_offset));
            print(&write_offsets(rows))?;
        }
        ResetOutput::Table => {
            let row = |reset: &Reset| {
                let (partition, new_offset) = (reset.partition.to_string(), reset.new_offset.to_string());
                [reset.topic.clone(), partition, or_dash(reset.committed_offset), new_offset]
            };
            print(&table(["topic", "partition", "committed", "new"], resets.iter().map(row)))?;
        }
    }
    let done = resets.iter().filter(|reset| reset.executed).count() as i64;
    match command.execute {
        true => anstream::eprintln!("{} goes on elsewhere in {}", command.group, plural(done, "partition")),
        false => anstream::eprintln!("nothing was changed; --execute does it"),
    }
    Ok(())
}

/// Who is in the way, in words; nothing where there are no members, or no group.
async fn members(admin: &Admin, group: &str) -> Result<Option<String>> {
    let described = admin.describe_groups(&[group]).await.remove(group).transpose();
    let described: Option<GroupDescription> = match described {
        Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => return Ok(None),
        other => other?,
    };
    let Some(described) = described.filter(|described| !described.members.is_empty()) else { return Ok(None) };
    let some: Vec<String> = described
        .members
        .iter()
        .take(3)
        .map(|member| format!("{} at {}", member.client_id, member.client_host))
        .collect();
    let more = described.members.len() - some.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let count = plural(described.members.len() as i64, "member");
    Ok(Some(format!(
        "{group} has {count} ({}{more}), which would go on from where they are: stop them first",
        some.join(", ")
    )))
}

/// Where each partition is to go on, perhaps outside of its log.
async fn wanted(
    admin: &Admin,
    command: &ResetOffsetsCommand,
    committed: &BTreeMap<TopicPartition, i64>,
) -> Result<BTreeMap<TopicPartition, i64>> {
    if let Some(path) = &command.from_file {
        let offsets = read_offsets_file(path, &command.group)?;
        return Ok(offsets);
    }
    let partitions = partitions(admin, command, committed).await?;
    if let Some(by) = command.shift_by {
        let shifted = |at: TopicPartition| {
            let from = committed.get(&at).copied();
            let from = from.with_context(|| format!("{} has not committed in {at}: use --to", command.group))?;
            Ok((at, from.saturating_add(by)))
        };
        return partitions.into_iter().map(shifted).collect();
    }
    at_position(admin, partitions, command.to.unwrap_or(StartPosition::End)).await
}

async fn partitions(
    admin: &Admin,
    command: &ResetOffsetsCommand,
    committed: &BTreeMap<TopicPartition, i64>,
) -> Result<BTreeSet<TopicPartition>> {
    if command.all_topics {
        if committed.is_empty() {
            bail!("{} has not committed anywhere: name its topics with --topic", command.group);
        }
        return Ok(committed.keys().cloned().collect());
    }
    let mut partitions = BTreeSet::new();
    let topics: Vec<&str> = command.topic.iter().map(|chosen| chosen.topic.as_str()).collect();
    let described = admin.describe_topics(&topics).await?;
    for topic in described.into_values() {
        let topic = topic?;
        for chosen in command.topic.iter().filter(|chosen| *chosen.topic == *topic.name) {
            partitions.extend(chosen_partitions(&topic, &chosen.partitions)?);
        }
    }
    Ok(partitions)
}

/// Commits, and gives what was refused, in words.
async fn commit(
    admin: &Admin,
    group: &str,
    targets: &BTreeMap<TopicPartition, i64>,
) -> Result<BTreeMap<TopicPartition, String>> {
    let offsets = targets.iter().map(|(at, offset)| (at.clone(), CommittedOffset::new(*offset))).collect();
    let outcome = admin.alter_group_offsets(group, &offsets).await?;
    let refused = |(at, outcome): (TopicPartition, Result<(), Error>)| {
        let error = outcome.err()?;
        let joined = matches!(error.code(), Some(ErrorCode::UnknownMemberId | ErrorCode::StaleMemberEpoch));
        let advice = if joined { "; a member joined meanwhile: stop it first" } else { "" };
        Some((at, format!("{error}{advice}")))
    };
    Ok(outcome.into_iter().filter_map(refused).collect())
}
