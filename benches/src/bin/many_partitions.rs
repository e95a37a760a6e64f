//! What ten thousand partitions cost a broker process: to create them, in memory and descriptors, to stop and to start again.
//!
//! Owns the order of the measurements and their table. Every partition gets a record before anything is measured, and its end is
//! looked up after each start: partitions that lost something would be fast.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use ottla_benches::broker_process::BrokerProcess;
use ottla_benches::report::{self, Figure, Output};
use ottla_client::{
    Admin, Consumer, ConsumerConfig, NewTopic, Producer, ProducerConfig, ProducerRecord, TopicPartition,
};

/// Partitions of a topic.
const PARTITIONS_OF_TOPIC: i32 = 100;

/// Measures what many partitions cost a broker process.
#[derive(Debug, Parser)]
struct Options {
    /// The program to measure; without it the `ottla` beside this one.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Where the data is put while it runs; a temporary directory of its own is made there.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// Partitions, a multiple of 100.
    #[arg(long, default_value_t = 10_000)]
    partitions: i32,
    /// The broker's limit on open files.
    #[arg(long, default_value_t = 20_000)]
    descriptors: u32,
    /// How the results are printed.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Default)]
struct Rows(Vec<Figure>);

impl Rows {
    fn add(&mut self, measurement: &'static str, unit: &'static str, value: f64, target: Option<f64>) {
        self.0.push(Figure { measurement: measurement.to_owned(), unit, value, target });
    }

    fn seconds(&mut self, measurement: &'static str, took: Duration, target: Option<f64>) {
        self.add(measurement, "s", took.as_secs_f64(), target);
    }

    fn usage(&mut self, names: [&'static str; 2], process: &BrokerProcess) -> Result<()> {
        self.add(names[0], "MB", process.resident_bytes()? as f64 / 1e6, Some((2_u64 << 30) as f64 / 1e6));
        self.add(names[1], "", process.descriptors()? as f64, Some(15_000.0));
        Ok(())
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    ensure!(
        options.partitions % PARTITIONS_OF_TOPIC == 0 && options.partitions > 0,
        "--partitions is a multiple of 100"
    );
    let data = tempfile::tempdir_in(&options.dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rows = measure(&options, data.path(), &runtime)?;
    report::print_figures(options.output, &rows.0)
}

fn measure(options: &Options, directory: &Path, runtime: &tokio::runtime::Runtime) -> Result<Rows> {
    let mut rows = Rows::default();
    let settings = [format!("max.partitions={}", options.partitions)];
    let start = || BrokerProcess::start_on(options.binary.as_deref(), directory, &settings, Some(options.descriptors));
    let broker = start()?;
    let took = runtime.block_on(create(&broker, options.partitions))?;
    rows.seconds("create all, 100 topics a request", took, None);
    rows.usage(["memory, empty", "descriptors, empty"], &broker)?;
    let took = runtime.block_on(fill(&broker, options.partitions))?;
    rows.seconds("a record to each, acks=all", took, None);
    rows.usage(["memory, a record in each", "descriptors, a record in each"], &broker)?;
    rows.add("memory, highest", "MB", broker.resident_bytes_peak()? as f64 / 1e6, None);
    runtime.block_on(refuse_one_more(&broker))?;
    rows.seconds("clean stop", broker.stop()?, None);

    let broker = start()?;
    rows.seconds("clean start to the first answer", broker.first_answer()?, Some(10.0));
    rows.usage(["memory after a start", "descriptors after a start"], &broker)?;
    runtime.block_on(check(&broker, options.partitions, 1))?;
    // Dropping it kills it.
    drop(broker);
    let broker = start()?;
    rows.seconds("start after a kill of idle partitions", broker.first_answer()?, None);
    runtime.block_on(check(&broker, options.partitions, 1))?;
    runtime.block_on(fill(&broker, options.partitions))?;
    drop(broker);
    let broker = start()?;
    rows.seconds("start after a kill right after a record to each", broker.first_answer()?, None);
    runtime.block_on(check(&broker, options.partitions, 2))?;
    rows.seconds("clean stop again", broker.stop()?, None);
    Ok(rows)
}

fn topics(partitions: i32) -> impl Iterator<Item = String> {
    (0..partitions / PARTITIONS_OF_TOPIC).map(|n| format!("topic-{n}"))
}

async fn create(broker: &BrokerProcess, partitions: i32) -> Result<Duration> {
    let admin = Admin::connect(broker.address().to_string()).await?;
    let topics: Vec<NewTopic> = topics(partitions).map(|name| NewTopic::new(name, PARTITIONS_OF_TOPIC)).collect();
    let began = Instant::now();
    for some in topics.chunks(100) {
        for (topic, created) in admin.create_topics(some, false).await? {
            created.with_context(|| format!("create {topic}"))?;
        }
    }
    Ok(began.elapsed())
}

async fn fill(broker: &BrokerProcess, partitions: i32) -> Result<Duration> {
    let producer = Producer::connect(ProducerConfig::new(broker.address().to_string())).await?;
    let began = Instant::now();
    let mut deliveries = Vec::new();
    for topic in topics(partitions) {
        for partition in 0..PARTITIONS_OF_TOPIC {
            let record = ProducerRecord::new(topic.as_str(), "one record").partition(partition);
            deliveries.push(producer.send(record).await?);
        }
    }
    for delivery in deliveries {
        delivery.await?;
    }
    let took = began.elapsed();
    producer.close().await;
    Ok(took)
}

async fn refuse_one_more(broker: &BrokerProcess) -> Result<()> {
    let admin = Admin::connect(broker.address().to_string()).await?;
    ensure!(
        admin.create_topic(NewTopic::new("one-more", 1)).await.is_err(),
        "a partition beyond max.partitions was created"
    );
    Ok(())
}

/// Every partition has so many records.
async fn check(broker: &BrokerProcess, partitions: i32, records: i64) -> Result<()> {
    let consumer = Consumer::connect(ConsumerConfig::new(broker.address().to_string())).await?;
    for topic in topics(partitions) {
        let all: Vec<_> = (0..PARTITIONS_OF_TOPIC).map(|n| TopicPartition::new(topic.as_str(), n)).collect();
        let ends: BTreeMap<TopicPartition, i64> = consumer.end_offsets(&all).await?;
        ensure!(ends.len() == all.len() && ends.values().all(|end| *end == records), "{topic}: {ends:?}");
    }
    Ok(())
}
