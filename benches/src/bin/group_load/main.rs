//! What consumer groups cost a real broker process: the heartbeats of many members, and the rebalance of a large group.
//!
//! Owns the order of the measurements and how they are printed. The processor time is the broker's alone, kernel included.
//! Every member has a connection of its own, as real ones have.

mod classic;
mod consumer;
mod member;
mod progress;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use ottla_protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::find_coordinator::FindCoordinatorRequest;
use tokio::task::JoinSet;

use member::Connection;
use ottla_benches::broker_process::BrokerProcess;
use ottla_benches::report::{self, Figure, Output};
use progress::Progress;

const FIND_COORDINATOR_VERSION: i16 = 4;
const CREATE_TOPICS_VERSION: i16 = 7;
/// A rebalance that takes longer is a failure of the measurement.
const REBALANCE_PATIENCE: Duration = Duration::from_secs(120);
/// The first question makes the coordinator's topic.
const COORDINATOR_PATIENCE: Duration = Duration::from_secs(30);
const COORDINATOR_LOOK: Duration = Duration::from_millis(100);

/// Measures what consumer groups cost a broker process.
#[derive(Debug, Parser)]
struct Options {
    /// The program to measure; without it the `ottla` beside this one.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// A broker that runs already, instead; its processor time is not measured then.
    #[arg(long, conflicts_with = "binary")]
    address: Option<SocketAddr>,
    /// Members of all groups together that heartbeat.
    #[arg(long, default_value_t = 10_000)]
    members: usize,
    /// Groups that they are in.
    #[arg(long, default_value_t = 1_000)]
    groups: usize,
    /// Milliseconds between two heartbeats of a member (Kafka's default for classic groups).
    #[arg(long, default_value_t = 3_000)]
    heartbeat_ms: u64,
    /// Seconds for which heartbeats are counted, for each protocol.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Members of the group that is rebalanced, with the consumer protocol.
    #[arg(long, default_value_t = 500)]
    rebalance_members: usize,
    /// Partitions that they share.
    #[arg(long, default_value_t = 1_000)]
    partitions: usize,
    /// Milliseconds between their heartbeats: a member hears of a change at the next.
    #[arg(long, default_value_t = 500)]
    rebalance_heartbeat_ms: u64,
    /// Which protocols.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Protocol::Classic, Protocol::Consumer])]
    protocol: Vec<Protocol>,
    /// How the results are printed.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// JoinGroup, SyncGroup, Heartbeat.
    Classic,
    /// ConsumerGroupHeartbeat (KIP-848).
    Consumer,
}

/// The broker that is measured.
struct Subject {
    process: Option<BrokerProcess>,
    address: SocketAddr,
}

impl Subject {
    fn start(options: &Options) -> Result<Self> {
        if let Some(address) = options.address {
            return Ok(Self { process: None, address });
        }
        let settings = [
            format!("max.connections={}", options.members.max(options.rebalance_members) + 1_000),
            "group.initial.rebalance.delay.ms=1000".to_owned(),
            format!("group.consumer.min.heartbeat.interval.ms={}", options.rebalance_heartbeat_ms),
            format!("group.consumer.heartbeat.interval.ms={}", options.rebalance_heartbeat_ms),
        ];
        let process = BrokerProcess::start(options.binary.as_deref(), &std::env::temp_dir(), &settings)?;
        let address = process.address();
        Ok(Self { process: Some(process), address })
    }

    fn cpu(&self) -> Result<Option<Duration>> {
        self.process.as_ref().map(BrokerProcess::cpu).transpose()
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    let mut rows = Vec::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for &protocol in &options.protocol {
        runtime.block_on(heartbeats(&options, protocol, &mut rows))?;
        if protocol == Protocol::Consumer {
            runtime.block_on(rebalance(&options, &mut rows))?;
        }
    }
    report::print_figures(options.output, &rows)
}

/// Many members in many groups, joined and at rest: what their heartbeats cost.
async fn heartbeats(options: &Options, protocol: Protocol, rows: &mut Vec<Figure>) -> Result<()> {
    let subject = Subject::start(options)?;
    let run = format!("{protocol:?}-{}", std::process::id());
    prepare(subject.address, &run, options.members.div_ceil(options.groups)).await?;
    let interval = Duration::from_millis(options.heartbeat_ms);
    let per_group = options.members.div_ceil(options.groups);
    let progress = Progress::new(options.members, interval);
    let mut members = JoinSet::new();
    for number in 0..options.members {
        let (address, group, progress) = (subject.address, format!("{run}-{}", number / per_group), progress.clone());
        match protocol {
            Protocol::Classic => members.spawn(classic::run(address, group, number, progress)),
            Protocol::Consumer => members.spawn(consumer::run(address, group, run.clone(), number, progress)),
        };
    }
    let name = |what: &str| format!("{protocol:?}, {} members in {} groups: {what}", options.members, options.groups);
    if protocol == Protocol::Classic {
        let all = unless_one_fails(&mut members, progress.until_assigned(options.members)).await?;
        rows.push(Figure {
            measurement: name("all assigned after"),
            unit: "s",
            value: all.as_secs_f64(),
            target: None,
        });
    }
    // What joining has set off is over when each has heartbeaten a few times.
    unless_one_fails(&mut members, tokio::time::sleep(interval * 4)).await?;
    let (before, heard) = (subject.cpu()?, progress.heartbeats());
    unless_one_fails(&mut members, tokio::time::sleep(Duration::from_secs(options.seconds))).await?;
    let heard = progress.heartbeats() - heard;
    let rate = heard as f64 / options.seconds as f64;
    rows.push(Figure { measurement: name("heartbeats"), unit: "1/s", value: rate, target: None });
    if let (Some(before), Some(after)) = (before, subject.cpu()?) {
        let cpu = (after - before).as_secs_f64();
        let cores = cpu / options.seconds as f64;
        rows.push(Figure { measurement: name("broker"), unit: "cores", value: cores, target: Some(1.0) });
        let each = cpu * 1e6 / heard as f64;
        rows.push(Figure { measurement: name("a heartbeat"), unit: "CPU us", value: each, target: None });
    }
    if let Some(process) = &subject.process {
        let resident = process.resident_bytes()? as f64 / 1e6;
        rows.push(Figure { measurement: name("broker"), unit: "MB resident", value: resident, target: None });
    }
    members.shutdown().await;
    Ok(())
}

/// One large consumer group: all join at once, one leaves, one comes.
async fn rebalance(options: &Options, rows: &mut Vec<Figure>) -> Result<()> {
    let subject = Subject::start(options)?;
    let run = format!("rebalance-{}", std::process::id());
    prepare(subject.address, &run, options.partitions).await?;
    let interval = Duration::from_millis(options.rebalance_heartbeat_ms);
    let (count, partitions) = (options.rebalance_members, options.partitions);
    let progress = Progress::new(count, interval);
    let mut members = JoinSet::new();
    for number in 0..count {
        members.spawn(consumer::run(subject.address, run.clone(), run.clone(), number, progress.clone()));
    }
    let mut row = |what: &str, took: Duration| {
        let measurement = format!("Consumer, {count} members, {partitions} partitions: {what}");
        rows.push(Figure { measurement, unit: "s", value: took.as_secs_f64(), target: Some(2.0) });
    };
    let balanced = progress.until_balanced(count, partitions, 0);
    let (epoch, took) = within(&mut members, balanced).await?;
    row("all join at once, until all partitions are owned", took);

    progress.leave_from(count - 1);
    let (epoch, took) = within(&mut members, progress.until_balanced(count - 1, partitions, epoch)).await?;
    row("one leaves", took);

    progress.leave_from(usize::MAX);
    members.spawn(consumer::run(subject.address, run.clone(), run, count - 1, progress.clone()));
    let (_, took) = within(&mut members, progress.until_balanced(count, partitions, epoch)).await?;
    row("one comes", took);
    members.shutdown().await;
    Ok(())
}

async fn within<T>(members: &mut JoinSet<Result<()>>, wait: impl Future<Output = T>) -> Result<T> {
    let wait = tokio::time::timeout(REBALANCE_PATIENCE, wait);
    unless_one_fails(members, wait).await?.with_context(|| format!("no balance within {REBALANCE_PATIENCE:?}"))
}

/// Waits, unless a member fails: its error ends the measurement.
async fn unless_one_fails<T>(members: &mut JoinSet<Result<()>>, wait: impl Future<Output = T>) -> Result<T> {
    let mut wait = std::pin::pin!(wait);
    loop {
        tokio::select! {
            done = &mut wait => return Ok(done),
            Some(ended) = members.join_next() => ended??,
        }
    }
}

/// Makes the topic that members subscribe to, and waits until the broker coordinates groups.
async fn prepare(address: SocketAddr, topic: &str, partitions: usize) -> Result<()> {
    let mut connection = Connection::open(address, "group_load".to_owned()).await?;
    let topic = CreatableTopic {
        name: topic.to_owned(),
        num_partitions: i32::try_from(partitions)?,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
    let answer = connection.ask(CREATE_TOPICS_VERSION, &request).await?;
    let refused = answer.topics.iter().find(|topic| topic.error_code != 0);
    ensure!(refused.is_none(), "the topic was refused: {refused:?}");
    let request = FindCoordinatorRequest { coordinator_keys: vec!["any".to_owned()], ..Default::default() };
    let started = tokio::time::Instant::now();
    loop {
        let answer = connection.ask(FIND_COORDINATOR_VERSION, &request).await?;
        let coordinator = answer.coordinators.first().context("no coordinator in the answer")?;
        if coordinator.error_code == 0 {
            return Ok(());
        }
        ensure!(started.elapsed() < COORDINATOR_PATIENCE, "no coordinator: error {}", coordinator.error_code);
        tokio::time::sleep(COORDINATOR_LOOK).await;
    }
}
