//! `ottla bench`: how fast a broker takes records, gives them back, and answers.
//!
//! Owns the command line, the topic that is measured with, and the order of things; each measurement has a file of its
//! name in `bench/`. Works with any broker that speaks Kafka's protocol.

mod fetch;
mod latency;
mod payload;
mod produce;
mod result;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};

use ottla_client::{Admin, NewTopic};

use crate::command_line::Bootstrap;
use crate::interrupt::Interrupt;
use crate::output::Output;
use fetch::FetchBench;
use latency::LatencyBench;
use produce::ProduceBench;
use result::{Measured, Report};

const AFTER_HELP: &str = "\
Examples:
  ottla bench produce
  ottla bench produce --record-bytes 1000 --partitions 6 --acks 1 --compression lz4
  ottla bench produce --seconds 60 --rate 50000
  ottla bench fetch --records 5000000
  ottla bench fetch --topic flights
  ottla bench latency --rate 500 --seconds 30

Without --topic, a topic is made for the measurement and deleted after it. Values are random
hexadecimal digits, which compress to about half; records go to the partitions in turn. MB are
10^6 bytes of values, CPU s is the processor time of this command, not the broker's. Latency counts
from the send of a record; where there are more than a thousand a second, that of a thousand.";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct BenchCommand {
    #[command(subcommand)]
    measurement: Measurement,
}

#[derive(Debug, Subcommand)]
enum Measurement {
    /// Send records as fast as they are taken, or at a given rate
    Produce(ProduceBench),
    /// Read records as fast as they come: those of --topic (at most --records), or of a topic that is filled for it
    Fetch(FetchBench),
    /// Send records at a low rate, each at once, and wait for each one's answer and return
    Latency(LatencyBench),
}

/// What every measurement needs to know.
#[derive(Debug, Args)]
struct Common {
    /// The topic to measure with, which must be there; without it, one that is deleted afterwards
    #[arg(short, long)]
    topic: Option<String>,
    /// How many partitions the topic gets that is made for the measurement
    #[arg(short, long, default_value_t = 1, conflicts_with = "topic", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

/// The topic that is measured with.
#[derive(Debug, Clone)]
struct BenchTopic {
    name: Arc<str>,
    partitions: i32,
}

pub(crate) async fn run(command: BenchCommand) -> Result<ExitCode> {
    let mut interrupt = Interrupt::new()?;
    let common = match &command.measurement {
        Measurement::Produce(bench) => &bench.common,
        Measurement::Fetch(bench) => &bench.common,
        Measurement::Latency(bench) => &bench.common,
    };
    let admin = Admin::connect(common.bootstrap.client_config()).await?;
    let topic = common.topic(&admin).await?;
    let measured = tokio::select! {
        measured = measure(&command.measurement, &topic) => Some(measured),
        _ = interrupt.next() => None,
    };
    if common.topic.is_none() {
        let deleted = admin.delete_topic(&topic.name).await;
        deleted.with_context(|| format!("the topic {} could not be deleted", topic.name))?;
    }
    let Some(measured) = measured else {
        anstream::eprintln!("interrupted: nothing was measured to its end");
        return Ok(ExitCode::from(130));
    };
    Report::new(&topic, measured?).print(common.output.output)?;
    Ok(ExitCode::SUCCESS)
}

async fn measure(measurement: &Measurement, topic: &BenchTopic) -> Result<Vec<Measured>> {
    match measurement {
        Measurement::Produce(bench) => bench.measure(topic).await.map(|measured| vec![measured]),
        Measurement::Fetch(bench) => bench.measure(topic).await.map(|measured| vec![measured]),
        Measurement::Latency(bench) => bench.measure(topic).await,
    }
}

impl Common {
    /// Finds the topic, or makes one.
    async fn topic(&self, admin: &Admin) -> Result<BenchTopic> {
        let Some(name) = &self.topic else {
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let name = format!("ottla-bench-{}-{}", std::process::id(), since_1970.as_millis());
            admin.create_topic(NewTopic::new(&name, self.partitions)).await?;
            return Ok(BenchTopic { name: name.into(), partitions: self.partitions });
        };
        let mut described = admin.describe_topics(&[name]).await?;
        let described = described.remove(name).with_context(|| format!("the broker does not speak of topic {name}"))?;
        let partitions = described.with_context(|| format!("topic {name}"))?.partitions.len();
        ensure!(partitions > 0, "topic {name} has no partitions");
        Ok(BenchTopic { name: name.as_str().into(), partitions: i32::try_from(partitions)? })
    }
}
