//! `ottla consume --group`: the same as a member of a group.
//!
//! Offsets are committed after the records were written to stdout, so that a command that is killed repeats some and
//! loses none. `--until-end` means the end of the partitions that this member has, and so a member ends at once to which
//! the group has assigned none.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::time::Duration;

use anyhow::{Result, bail};
use ottla_client::{
    Admin, Consumer, Error, GroupConfig, GroupDescription, GroupState, MemberDescription, OffsetReset, TopicPartition,
};
use tokio::time::Instant;

use super::{ConsumeCommand, POLL_RECORDS, POLL_WAIT, Printer, with_way_on};
use crate::command_line::Bootstrap;
use crate::interrupt::Interrupt;
use crate::output::plural;
use crate::start_position::StartPosition;

/// Between two questions to the coordinator whether the group is settled without partitions for this member.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

pub(super) async fn run(
    command: &ConsumeCommand,
    group: &str,
    printer: &Printer,
    interrupt: &mut Interrupt,
) -> Result<()> {
    let mut config = command.consumer_config();
    config.auto_offset_reset = match command.from {
        StartPosition::Beginning => OffsetReset::Earliest,
        StartPosition::End => OffsetReset::Latest,
        _ => bail!(
            "with --group, --from is beginning or end, for partitions of which the group has committed nothing; \
             to begin elsewhere, reset the group's offsets"
        ),
    };
    let name = group;
    let mut group = GroupConfig::new(name);
    group.enable_auto_commit = false;
    let mut consumer = Consumer::connect(config.group(group)).await?;
    match command.topic.as_slice() {
        [pattern] if command.pattern => consumer.subscribe_pattern(pattern)?,
        _ if command.pattern => bail!("--pattern takes one regular expression"),
        topics => {
            for topic in topics {
                // A name that is misspelt is said at once; the group would wait for the topic to be created.
                consumer.partitions_for(topic.as_str()).await?;
            }
            consumer.subscribe(topics.iter().map(String::as_str))?;
        }
    }
    let consumed = consume(&mut consumer, name, command, printer, interrupt).await;
    // Also after an error: what was written is committed, and the others need not wait for this member's session to end.
    consumer.close().await;
    consumed
}

async fn consume(
    consumer: &mut Consumer,
    group: &str,
    command: &ConsumeCommand,
    printer: &Printer,
    interrupt: &mut Interrupt,
) -> Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout());
    let mut left = command.max.unwrap_or(u64::MAX);
    let mut ends = BTreeMap::new();
    let mut share = Share::new(group, &command.bootstrap);
    while left > 0 && !(command.until_end && is_at_end(consumer, &mut ends).await?) {
        let most = POLL_RECORDS.min(usize::try_from(left).unwrap_or(usize::MAX));
        let records = tokio::select! {
            records = consumer.poll(most, POLL_WAIT) => match records {
                // Whoever reads our output took his time: the next poll joins again.
                Err(error @ Error::MaxPollIntervalExceeded { .. }) => {
                    anstream::eprintln!("{error}");
                    continue;
                }
                records => records.map_err(|error| with_way_on(error, Some(group)))?,
            },
            _ = interrupt.next() => break,
        };
        if records.is_empty() {
            if command.until_end
                && let Some(nothing) = share.is_nothing(consumer).await?
            {
                anstream::eprintln!("{nothing}");
                break;
            }
            continue;
        }
        for record in &records {
            printer.print(&mut out, record)?;
            left -= 1;
        }
        out.flush()?;
        consumer.commit_async()?;
    }
    Ok(())
}

/// What the group says that this member has, for as long as it has nothing.
struct Share<'a> {
    group: &'a str,
    bootstrap: &'a Bootstrap,
    /// Connected with the first question.
    admin: Option<Admin>,
    look_at: Instant,
}

impl<'a> Share<'a> {
    fn new(group: &'a str, bootstrap: &'a Bootstrap) -> Self {
        Share { group, bootstrap, admin: None, look_at: Instant::now() + LOOK_INTERVAL }
    }

    /// In words, that the group is settled and has no partition for this member; `None` if it is not so, or not yet.
    async fn is_nothing(&mut self, consumer: &Consumer) -> Result<Option<String>> {
        let Some(member_id) = consumer.member_id().filter(|_| consumer.assignment().is_empty()) else {
            return Ok(None);
        };
        if Instant::now() < self.look_at {
            return Ok(None);
        }
        let admin = match self.admin.take() {
            Some(admin) => admin,
            None => Admin::connect(self.bootstrap.client_config()).await?,
        };
        let described = admin.describe_groups(&[self.group]).await.remove(self.group);
        self.admin = Some(admin);
        self.look_at = Instant::now() + LOOK_INTERVAL;
        // A coordinator that cannot be asked now can be asked later; what is wrong for good, the membership says.
        let Some(Ok(described)) = described else { return Ok(None) };
        Ok(has_nothing(&described, &member_id).then(|| {
            let others = plural(described.members.len() as i64 - 1, "other member");
            format!(
                "the group {} has no partitions for this member, beside {others}: there is nothing to read",
                self.group
            )
        }))
    }
}

/// Whether a group is settled, and has assigned this member nothing: in a classic group that may be no assignment at all.
fn has_nothing(group: &GroupDescription, member_id: &str) -> bool {
    let is_empty = |member: &MemberDescription| {
        [&member.assignment, &member.target_assignment].into_iter().flatten().all(Vec::is_empty)
    };
    let mut members = group.members.iter();
    group.state == GroupState::Stable && members.any(|member| member.member_id == member_id && is_empty(member))
}

/// Whether all that this member has is read up to what was the end when it got it.
async fn is_at_end(consumer: &Consumer, ends: &mut BTreeMap<TopicPartition, i64>) -> Result<bool> {
    let assigned = consumer.assignment();
    ends.retain(|partition, _| assigned.contains(partition));
    let new: Vec<TopicPartition> = assigned.iter().filter(|partition| !ends.contains_key(partition)).cloned().collect();
    if !new.is_empty() {
        ends.extend(consumer.end_offsets(&new).await?);
    }
    let finished =
        |(partition, end): (&TopicPartition, &i64)| consumer.position(partition).is_ok_and(|position| position >= *end);
    Ok(!ends.is_empty() && ends.iter().all(finished))
}
