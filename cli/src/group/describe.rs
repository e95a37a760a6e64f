//! `ottla group describe`: members, progress and the reasons why a group may not move; once, or again and again.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use jiff::Timestamp;

use ottla_client::{Admin, ClientConfig, GroupDescription, GroupOffsets, TopicPartition};

use super::progress::progress;
use super::reasons::{Watch, reasons};
use super::settings::own_settings;
use super::view::{GroupView, MemberView, PartitionView};
use super::{all_went_well, in_words};
use crate::command_line::Bootstrap;
use crate::interrupt::Interrupt;
use crate::output::{Output, OutputFormat, or_dash, plural, print, print_json, span, table};
use crate::timestamp::format_timestamp;

const AFTER_HELP: &str = "\
Columns of the second table (in JSON times are in seconds, and what is not known is null):
  COMMITTED  the offset of the next record that the group is to read; `never` where it has
             committed nothing yet
  LAG        records from there (or from START, where that is deleted, or nothing is committed)
             to END
  LAG TIME   how much later than that next record the newest record of the partition was made, by
             the timestamps of the two records: how far behind the group is, whatever the time now
  WAITING    how long ago that next record was made, by its timestamp: how old what it reads is
  OWNER      the member that has the partition
Both times are 0 where LAG is 0. They take the broker's look-up of the newest timestamp and the
reading of one record for each partition with a lag; what takes over 10 s is left open.

What holds a group up is said below the tables, as far as it can be seen at one moment: no
members, a rebalance and for whom it waits, silent members (nothing heard for 10 s; only Ottla
tells), partitions without an owner, partitions with records of which nothing is committed yet,
committed offsets outside of the log. That a committed offset does not move (or does not
come) while records wait is known only over time: --watch says so.

Examples:
  ottla group describe readers
  ottla group describe readers writers --output json
  ottla group describe readers --watch 30";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct DescribeCommand {
    /// The groups
    #[arg(required = true)]
    groups: Vec<String>,
    /// Look again every so many seconds until SIGINT or SIGTERM, and say which committed offsets stand still; with
    /// --output json one document a line
    #[arg(short, long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    watch: Option<u64>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

pub(super) async fn run(command: DescribeCommand) -> Result<()> {
    let mut interrupt = Interrupt::new()?;
    let client = command.bootstrap.client_config();
    let admin = Admin::connect(client.clone()).await?;
    let mut watch = Watch::default();
    loop {
        let (views, failures) = tokio::select! {
            views = views(&admin, &client, &command.groups, &mut watch) => views?,
            _ = interrupt.next() => break,
        };
        let text = || views.iter().map(text).collect::<Vec<_>>().join("\n");
        let Some(seconds) = command.watch else {
            match command.output.output {
                OutputFormat::Json => print_json(&views)?,
                OutputFormat::Table => print(&text())?,
            }
            admin.close().await;
            return all_went_well(failures);
        };
        for failure in failures {
            anstream::eprintln!("{failure}");
        }
        match command.output.output {
            OutputFormat::Json => print(&(serde_json::to_string(&views)? + "\n"))?,
            OutputFormat::Table => print(&format!("-- {}\n{}\n", format_timestamp(now_ms()), text()))?,
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
            _ = interrupt.next() => break,
        }
    }
    admin.close().await;
    Ok(())
}

fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// What there is to see of each group, and of which groups there is nothing, in words.
async fn views(
    admin: &Admin,
    client: &ClientConfig,
    groups: &[String],
    watch: &mut Watch,
) -> Result<(Vec<GroupView>, Vec<String>)> {
    // A group that is named twice is shown once.
    let mut seen = BTreeSet::new();
    let names: Vec<&str> = groups.iter().map(String::as_str).filter(|name| seen.insert(*name)).collect();
    let mut described = admin.describe_groups(&names).await;
    let mut offsets = admin.group_offsets(&names).await;
    let (mut views, mut failures) = (Vec::new(), Vec::new());
    for name in names {
        let nothing = || format!("nothing was answered about the group {name}");
        let group = described.remove(name).with_context(nothing)?;
        let offsets = offsets.remove(name).with_context(nothing)?;
        match group.and_then(|group| Ok((group, offsets?))) {
            Ok((group, offsets)) => views.push(view(admin, client, group, offsets, watch).await?),
            Err(error) => failures.push(in_words(&error, name)),
        }
    }
    Ok((views, failures))
}

async fn view(
    admin: &Admin,
    client: &ClientConfig,
    group: GroupDescription,
    offsets: GroupOffsets,
    watch: &mut Watch,
) -> Result<GroupView> {
    let wanted = wanted(admin, &group).await?;
    let progress = progress(admin, client.clone(), offsets, wanted).await?;
    let settings = own_settings(admin, &group.group_id).await?;
    let now_ms = now_ms();
    let mut view = GroupView::new(group, &progress, now_ms);
    view.settings = settings;
    view.reasons = reasons(&view, now_ms);
    let stuck = watch.stuck(&view, now_ms);
    view.reasons.extend(stuck);
    Ok(view)
}

/// What the members have, and all partitions of the topics that they name.
async fn wanted(admin: &Admin, group: &GroupDescription) -> Result<BTreeSet<TopicPartition>> {
    let members = || group.members.iter();
    let assigned = members().flat_map(|member| [&member.assignment, &member.target_assignment]);
    let mut wanted: BTreeSet<TopicPartition> = assigned.flatten().flatten().cloned().collect();
    let topics: BTreeSet<&str> =
        members().filter_map(|member| member.topics.as_ref()).flatten().map(String::as_str).collect();
    if topics.is_empty() {
        return Ok(wanted);
    }
    let topics: Vec<&str> = topics.into_iter().collect();
    // A topic that members wait for need not exist.
    for topic in admin.describe_topics(&topics).await?.into_values().flatten() {
        wanted.extend(topic.partitions.iter().map(|one| TopicPartition::new(topic.name.clone(), one.partition)));
    }
    Ok(wanted)
}

fn text(view: &GroupView) -> String {
    let kind = match view.assignor.as_str() {
        "" => view.group_type.to_lowercase(),
        assignor => format!("{}, {assignor}", view.group_type.to_lowercase()),
    };
    let since = view.state_since_ms.map(|since| {
        let span = span((now_ms() - since).max(0));
        format!(" since {} ({span})", format_timestamp(since))
    });
    let mut out = format!(
        "{} ({kind}): {}{}, {}, {} behind\n",
        view.group,
        view.state,
        since.unwrap_or_default(),
        plural(view.members.len() as i64, "member"),
        plural(view.lag, "record"),
    );
    if !view.settings.is_empty() {
        let settings: Vec<String> = view.settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
        out.push_str(&format!("settings of its own: {}\n", settings.join(", ")));
    }
    if !view.members.is_empty() {
        let header = ["member", "client", "host", "last heard", "partitions"];
        out.push('\n');
        out.push_str(&table(header, view.members.iter().map(member_row)));
    }
    if !view.partitions.is_empty() {
        let header = ["topic", "partition", "committed", "start", "end", "lag", "lag time", "waiting", "owner"];
        out.push('\n');
        out.push_str(&table(header, view.partitions.iter().map(partition_row)));
    }
    if !view.reasons.is_empty() {
        out.push_str("\nwhat holds it up:\n");
        out.extend(view.reasons.iter().map(|reason| format!("  {reason}\n")));
    }
    out
}

fn member_row(member: &MemberView) -> [String; 5] {
    let id = match &member.group_instance_id {
        Some(instance) => format!("{} ({instance})", member.member_id),
        None => member.member_id.clone(),
    };
    let heard = member.last_heard_ms.map(|heard| format!("{} ago", span((now_ms() - heard).max(0))));
    let partitions = member.partitions.as_ref().filter(|partitions| !partitions.is_empty());
    [id, member.client_id.clone(), member.host.clone(), or_dash(heard), or_dash(partitions)]
}

fn partition_row(partition: &PartitionView) -> [String; 9] {
    let time = |seconds: Option<f64>| or_dash(seconds.map(|seconds| span((seconds * 1000.0) as i64)));
    [
        partition.topic.clone(),
        partition.partition.to_string(),
        if partition.is_never_committed { "never".to_owned() } else { or_dash(partition.committed_offset) },
        or_dash(partition.log_start_offset),
        or_dash(partition.log_end_offset),
        or_dash(partition.lag),
        time(partition.lag_seconds),
        time(partition.waiting_seconds),
        or_dash(partition.owner.as_ref()),
    ]
}
