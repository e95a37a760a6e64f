//! `ottla topic delete-records`: takes the oldest records of partitions away, for good.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use clap::Args;
use ottla_client::{Admin, OffsetSpec, TopicPartition};

use crate::command_line::Bootstrap;
use crate::output::{confirm, plural, print};
use crate::partition_offsets::{at_position, chosen_partitions, list, within_logs};
use crate::start_position::StartPosition;

const AFTER_HELP: &str = "\
The log of a partition then starts at the first record that is left, durably when the command
returns. Space is free once a whole segment is gone.

Examples:
  ottla topic delete-records flights --before 2013-07-01
  ottla topic delete-records flights --before -1000          keep the last 1000 offsets of each
  ottla topic delete-records flights --partition 0 --before 4711 --yes
  ottla topic delete-records flights --before end --yes      all that is there now";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct DeleteRecordsCommand {
    /// The topic
    topic: String,
    /// What stays begins there: an offset, -N for the last N offsets of each partition, a time (RFC 3339, a date in UTC, or
    /// @MILLISECONDS since 1970), or end for nothing
    #[arg(long, value_name = "POSITION", allow_hyphen_values = true)]
    before: StartPosition,
    /// Only in these partitions; several separated by commas
    #[arg(short, long, value_delimiter = ',', value_parser = clap::value_parser!(i32).range(0..))]
    partition: Vec<i32>,
    /// Do not ask; needed where there is no terminal to ask at
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

pub(super) async fn run(command: DeleteRecordsCommand) -> Result<()> {
    let admin = Admin::connect(command.bootstrap.client_config()).await?;
    let deleted = delete(&admin, &command).await;
    admin.close().await;
    deleted
}

async fn delete(admin: &Admin, command: &DeleteRecordsCommand) -> Result<()> {
    let partitions = partitions(admin, command).await?;
    let starts = list(admin, partitions.clone(), OffsetSpec::Earliest).await?;
    let mut wanted = within_logs(admin, at_position(admin, partitions, command.before).await?).await?;
    wanted.retain(|at, before| starts.get(at).is_some_and(|start| start < before));
    let offsets = |(at, before): (&TopicPartition, &i64)| before - starts.get(at).unwrap_or(before);
    let count: i64 = wanted.iter().map(offsets).sum();
    if count == 0 {
        return print(&format!("{} has nothing before that\n", command.topic));
    }
    let what = format!("{} in {}", plural(count, "offset"), plural(wanted.len() as i64, "partition"));
    confirm(&format!("delete {what} of {} for good?", command.topic), command.yes)?;
    let mut failures = Vec::new();
    for (at, outcome) in admin.delete_records(wanted).await {
        match outcome {
            Ok(start) => print(&format!("{at} starts at {start} now\n"))?,
            Err(error) => failures.push(error.to_string()),
        }
    }
    if failures.is_empty() { Ok(()) } else { bail!(failures.join("\n       ")) }
}

async fn partitions(admin: &Admin, command: &DeleteRecordsCommand) -> Result<BTreeSet<TopicPartition>> {
    let Some(topic) = admin.describe_topics(&[&command.topic]).await?.into_values().next().transpose()? else {
        bail!("the broker said nothing of the topic {}", command.topic);
    };
    chosen_partitions(&topic, &command.partition)
}
