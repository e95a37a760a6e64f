//! `ottla consume`: records of a topic to stdout, from anywhere, until the end or for ever.
//!
//! The start is resolved to one offset for each partition before anything is read, and so is the end with
//! `--until-end`: records that arrive meanwhile are not part of the answer. Records of one partition come in order;
//! partitions are interleaved as they arrive. With `--group` the group says where to start: see `consume/membership.rs`.

mod membership;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::{Args, ValueEnum};

use ottla_client::{
    Consumer, ConsumerConfig, ConsumerRecord, Error, IsolationLevel, OffsetReset, SeekTo, TopicPartition,
};

use crate::command_line::Bootstrap;
use crate::interrupt::Interrupt;
use crate::partition_offsets::chosen_partitions;
use crate::record_format::{PLACEHOLDERS, RecordFormat, unescape};
use crate::record_json::{OutputRecord, write_json};
use crate::start_position::StartPosition;

const AFTER_HELP: &str = "\
Examples:
  ottla consume flights                          from the beginning, then whatever comes
  ottla consume flights --from end
  ottla consume flights --from -10 --until-end   the last ten records of each partition
  ottla consume flights --from 2013-07-01 --until-end --output json
  ottla consume flights --format '%T %k %v\\n' --max 100
  ottla consume flights --until-end --output json | ottla produce copy --format json
  ottla consume flights --group reports          where the group left off, shared among its members
  ottla consume 'flights|delays-.*' --group reports --pattern

It ends at SIGINT or SIGTERM, after --max records, or at the end with --until-end: each time with
exit code 0. With --group, --until-end means the partitions that the group assigns to this member;
one that gets none, because others have them all, says so and ends.";

/// Records between two looks at signals and ends.
const POLL_RECORDS: usize = 1000;

/// How long a poll waits; an end that is reached by nothing but a gap is noticed after this.
const POLL_WAIT: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RecordOutput {
    /// The value and a line break
    Text,
    /// One JSON object a line, which `produce --format json` reads
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ConsumeCommand {
    /// The topic; with --group there may be several
    #[arg(required = true)]
    topic: Vec<String>,
    /// Read as a member of this group: its members share the partitions, and each goes on where the group has committed.
    /// What is written is committed afterwards
    #[arg(short, long, value_name = "GROUP", conflicts_with = "partition")]
    group: Option<String>,
    /// TOPIC is a regular expression, which has to match whole names
    #[arg(long, requires = "group")]
    pattern: bool,
    /// Where to begin: beginning, end, an offset, -N for the last N records of each partition, a time (RFC 3339, a date
    /// in UTC, or @MILLISECONDS since 1970). With --group beginning or end, and only where the group has committed nothing
    #[arg(short, long, default_value = "beginning", allow_hyphen_values = true, value_name = "POSITION")]
    from: StartPosition,
    /// Only these partitions; several separated by commas
    #[arg(short, long, value_delimiter = ',', value_parser = clap::value_parser!(i32).range(0..))]
    partition: Vec<i32>,
    /// Stop at what is the end now
    #[arg(short = 'e', long)]
    until_end: bool,
    /// Stop after so many records
    #[arg(short = 'n', long, value_name = "COUNT")]
    max: Option<u64>,
    /// Only records of committed transactions, and those outside of any
    #[arg(long)]
    read_committed: bool,
    /// How to print a record
    #[arg(short, long, value_enum, default_value_t = RecordOutput::Text)]
    output: RecordOutput,
    /// text: print the key, this separator and the value; \t is a tab
    #[arg(short = 'K', long, value_name = "TEXT", conflicts_with = "format")]
    key_separator: Option<String>,
    #[arg(long, value_name = "FORMAT", conflicts_with = "output", help = format_help(), value_parser = RecordFormat::parse)]
    format: Option<RecordFormat>,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

fn format_help() -> String {
    format!("Print each record in this format, without a line break of its own: {PLACEHOLDERS}")
}

impl ConsumeCommand {
    fn consumer_config(&self) -> ConsumerConfig {
        let mut config = ConsumerConfig::new(self.bootstrap.client_config());
        // Every position is looked up before: one outside the log means that retention overtook the reading.
        config.auto_offset_reset = OffsetReset::Earliest;
        if self.read_committed {
            config.isolation_level = IsolationLevel::ReadCommitted;
        }
        config
    }

    fn printer(&self) -> Result<Printer> {
        Ok(match (&self.format, &self.key_separator, self.output) {
            (Some(format), _, _) => Printer::Format(format.clone()),
            (None, _, RecordOutput::Json) => Printer::Json,
            (None, separator, RecordOutput::Text) => {
                Printer::Text { key_separator: separator.as_deref().map(unescape).transpose()? }
            }
        })
    }
}

/// How records are written.
enum Printer {
    Text { key_separator: Option<String> },
    Json,
    Format(RecordFormat),
}

impl Printer {
    fn print(&self, out: &mut impl Write, record: &ConsumerRecord) -> io::Result<()> {
        let headers = record.headers.iter().map(|header| (header.key.as_str(), header.value.as_deref()));
        let record = OutputRecord {
            topic: &record.topic,
            partition: record.partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: headers.collect(),
        };
        match self {
            Printer::Json => write_json(out, &record),
            Printer::Format(format) => format.write(out, &record),
            Printer::Text { key_separator } => {
                if let Some(separator) = key_separator {
                    out.write_all(record.key.unwrap_or_default())?;
                    out.write_all(separator.as_bytes())?;
                }
                out.write_all(record.value.unwrap_or_default())?;
                out.write_all(b"\n")
            }
        }
    }
}

pub(crate) async fn run(command: ConsumeCommand) -> Result<()> {
    let mut interrupt = Interrupt::new()?;
    let printer = command.printer()?;
    if let Some(group) = &command.group {
        return membership::run(&command, group, &printer, &mut interrupt).await;
    }
    let mut consumer = Consumer::connect(command.consumer_config()).await?;
    let partitions = partitions(&consumer, &command).await?;
    let ends = consumer.end_offsets(&partitions).await?;
    let starts = starts(&consumer, command.from, &partitions, &ends).await?;
    let mut open = OpenPartitions::new(command.until_end.then_some(&ends), &starts);
    consumer.assign(starts.into_iter().map(|(at, offset)| (at, SeekTo::Offset(offset)))).await?;

    let mut out = BufWriter::with_capacity(1 << 16, io::stdout());
    let mut left = command.max.unwrap_or(u64::MAX);
    while left > 0 && !open.is_done() {
        let most = POLL_RECORDS.min(usize::try_from(left).unwrap_or(usize::MAX));
        let records = tokio::select! {
            records = consumer.poll(most, POLL_WAIT) => records.map_err(|error| with_way_on(error, None))?,
            _ = interrupt.next() => break,
        };
        for record in records.iter().filter(|record| open.wants(record)) {
            printer.print(&mut out, record)?;
            left -= 1;
        }
        // What is there goes out before the next wait, or a reader of the pipe would see it late.
        out.flush()?;
        open.close_finished(&mut consumer)?;
    }
    out.flush()?;
    consumer.close().await;
    Ok(())
}

/// The error, and for damaged records how to go on behind them.
fn with_way_on(error: Error, group: Option<&str>) -> anyhow::Error {
    let Error::CorruptBatch { partition, next_offset, .. } = &error else { return error.into() };
    let TopicPartition { topic, partition } = partition;
    let behind = if *next_offset < 0 { "OFFSET".to_owned() } else { next_offset.to_string() };
    let way_on = match group {
        None => format!("ottla consume {topic} --partition {partition} --from {behind}"),
        Some(group) => {
            format!("ottla group reset-offsets {group} --topic {topic}:{partition} --to {behind} --execute")
        }
    };
    anyhow!(
        "{error}: `{way_on}` goes on behind it; which offsets are damaged, the broker's log says, and `ottla log verify` on its data \
         directory"
    )
}

async fn partitions(consumer: &Consumer, command: &ConsumeCommand) -> Result<Vec<TopicPartition>> {
    let [topic] = command.topic.as_slice() else { bail!("several topics can only be read as a member of a --group") };
    let topic = consumer.partitions_for(topic.as_str()).await?;
    Ok(chosen_partitions(&topic, &command.partition)?.into_iter().collect())
}

/// One offset for each partition, never outside its log.
async fn starts(
    consumer: &Consumer,
    from: StartPosition,
    partitions: &[TopicPartition],
    ends: &BTreeMap<TopicPartition, i64>,
) -> Result<BTreeMap<TopicPartition, i64>> {
    let beginnings = match from {
        StartPosition::End => return Ok(ends.clone()),
        StartPosition::Timestamp(time) => {
            let times = partitions.iter().map(|partition| (partition.clone(), time));
            let found = consumer.offsets_for_times(times).await?;
            let offset = |at: &TopicPartition| found.get(at).and_then(Option::as_ref).map(|listed| listed.offset);
            return Ok(ends.iter().map(|(at, end)| (at.clone(), offset(at).unwrap_or(*end))).collect());
        }
        StartPosition::Beginning | StartPosition::Offset(_) | StartPosition::Last(_) => {
            consumer.beginning_offsets(partitions).await?
        }
    };
    let start = |at: &TopicPartition, beginning: i64| {
        let end = ends.get(at).copied().unwrap_or(beginning);
        let wanted = match from {
            StartPosition::Offset(offset) => offset,
            StartPosition::Last(count) => end.saturating_sub(count),
            StartPosition::Beginning | StartPosition::End | StartPosition::Timestamp(_) => beginning,
        };
        let start = wanted.clamp(beginning, end.max(beginning));
        if start != wanted && matches!(from, StartPosition::Offset(_)) {
            anstream::eprintln!("{at} has offsets from {beginning} to {end}: starting at {start}");
        }
        start
    };
    Ok(beginnings.into_iter().map(|(at, beginning)| (at.clone(), start(&at, beginning))).collect())
}

/// The partitions that are not yet at their end; `None` where there is no end.
struct OpenPartitions(Option<BTreeMap<TopicPartition, i64>>);

impl OpenPartitions {
    fn new(ends: Option<&BTreeMap<TopicPartition, i64>>, starts: &BTreeMap<TopicPartition, i64>) -> Self {
        let is_open = |at: &TopicPartition, end: i64| starts.get(at).is_some_and(|start| *start < end);
        OpenPartitions(ends.map(|ends| {
            ends.iter().filter(|(at, end)| is_open(at, **end)).map(|(at, end)| (at.clone(), *end)).collect()
        }))
    }

    fn is_done(&self) -> bool {
        self.0.as_ref().is_some_and(BTreeMap::is_empty)
    }

    /// Whether the record was there when the reading began.
    fn wants(&self, record: &ConsumerRecord) -> bool {
        let Some(open) = &self.0 else { return true };
        let at = TopicPartition::new(record.topic.clone(), record.partition);
        open.get(&at).is_some_and(|end| record.offset < *end)
    }

    /// By position and not by record: the last offsets may be none that is ever handed out.
    fn close_finished(&mut self, consumer: &mut Consumer) -> Result<()> {
        let Some(open) = &mut self.0 else { return Ok(()) };
        let mut finished = Vec::new();
        for (at, end) in open.iter() {
            if consumer.position(at)? >= *end {
                finished.push(at.clone());
            }
        }
        consumer.pause(&finished)?;
        open.retain(|at, _| !finished.contains(at));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_starts_at_its_end_is_done() {
        let map = |offsets: [(i32, i64); 2]| -> BTreeMap<TopicPartition, i64> {
            offsets.into_iter().map(|(partition, offset)| (TopicPartition::new("t", partition), offset)).collect()
        };
        let ends = map([(0, 5), (1, 0)]);
        let open = OpenPartitions::new(Some(&ends), &map([(0, 3), (1, 0)]));
        assert_eq!(open.0.as_ref().map(|open| open.keys().map(|at| at.partition).collect()), Some(vec![0]));
        assert!(!open.is_done());
        assert!(OpenPartitions::new(Some(&ends), &ends).is_done());
        assert!(!OpenPartitions::new(None, &ends).is_done());
    }
}
