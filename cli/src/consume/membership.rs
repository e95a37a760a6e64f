//! `ottla consume --group`: the same as a member of a group.
//!
//! Offsets are committed after the records were written to stdout, so that a command that is killed repeats some and
//! loses none. `--until-end` means the end of the partitions that this member has.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use anyhow::{Result, bail};
use ottla_client::{Consumer, Error, GroupConfig, OffsetReset, TopicPartition};

use super::{ConsumeCommand, POLL_RECORDS, POLL_WAIT, Printer};
use crate::interrupt::Interrupt;
use crate::start_position::StartPosition;

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
    let mut group = GroupConfig::new(group);
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
    let consumed = consume(&mut consumer, command, printer, interrupt).await;
    // Also after an error: what was written is committed, and the others need not wait for this member's session to end.
    consumer.close().await;
    consumed
}

async fn consume(
    consumer: &mut Consumer,
    command: &ConsumeCommand,
    printer: &Printer,
    interrupt: &mut Interrupt,
) -> Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout());
    let mut left = command.max.unwrap_or(u64::MAX);
    let mut ends = BTreeMap::new();
    while left > 0 && !(command.until_end && is_at_end(consumer, &mut ends).await?) {
        let most = POLL_RECORDS.min(usize::try_from(left).unwrap_or(usize::MAX));
        let records = tokio::select! {
            records = consumer.poll(most, POLL_WAIT) => match records {
                // Whoever reads our output took his time: the next poll joins again.
                Err(error @ Error::MaxPollIntervalExceeded { .. }) => {
                    anstream::eprintln!("{error}");
                    continue;
                }
                records => records?,
            },
            _ = interrupt.next() => break,
        };
        if records.is_empty() {
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
