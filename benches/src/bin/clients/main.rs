//! The matrix: a real broker process, and clients in processes of their own that produce and fetch records of several sizes,
//! over several numbers of partitions, with each kind of acknowledgement.
//!
//! Owns the cells and their order: clients take turns within a cell, and each cell has a broker of its own. What a client
//! does, its load generator says in JSON (see `generator.rs`). Load and broker are on different processors where there are
//! several.

mod generator;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use ottla_benches::broker_process::BrokerProcess;
use ottla_benches::cpu::Processors;
use ottla_benches::report::{self, Output, rounded};
use ottla_benches::wire;
use serde::Serialize;

use generator::{Generator, Load, Work};

/// Records of the low rate.
const LOW_RATE: u32 = 500;

/// Measures a broker with our client, and with librdkafka.
#[derive(Debug, Parser)]
struct Options {
    /// What is measured; everything without it.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Subject>,
    /// One size, one partition, acks=1, a tenth of the bytes: to see whether it works, not to quote.
    #[arg(long)]
    quick: bool,
    /// Bytes of each record's value.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 10_000])]
    record_bytes: Vec<u32>,
    /// Partitions of the topic.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 6, 100])]
    partitions: Vec<u16>,
    /// Acknowledgements that are waited for.
    #[arg(long, value_delimiter = ',', default_values_t = ["0".to_owned(), "1".to_owned(), "all".to_owned()])]
    acks: Vec<String>,
    /// Bytes of values that are produced in a cell.
    #[arg(long, default_value_t = 300_000_000)]
    bytes: u64,
    /// Seconds at the low rate.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// The program to measure, and the generator with our client; without it the `ottla` beside this one.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// The load generator with librdkafka (tests/librdkafka, `cargo build --release --bin load`); left out without it.
    #[arg(long)]
    librdkafka: Option<PathBuf>,
    /// A setting of the broker, KEY=VALUE; may be repeated.
    #[arg(long)]
    set: Vec<String>,
    /// Below which directory the data is written.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// How the results are printed.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// As many records as go.
    Produce,
    /// All records of a topic.
    Fetch,
    /// Records at a low rate, without linger.
    Latency,
}

/// What one client did in one cell.
#[derive(Debug, Serialize)]
struct Row {
    work: &'static str,
    record_bytes: u32,
    partitions: u16,
    /// Of a fetch, none.
    acks: Option<String>,
    client: String,
    records_per_second: f64,
    mb_per_second: f64,
    client_cpu_us_per_record: f64,
    /// For 10^9 bytes of values.
    broker_cpu_seconds_per_gb: f64,
    /// The most memory that the broker has had so far in this cell.
    broker_peak_mb: f64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    p99_9_ms: Option<f64>,
}

/// What is the same for all cells.
struct Bench {
    options: Options,
    processors: Option<Processors>,
    generators: Vec<Generator>,
    rows: Vec<Row>,
}

fn main() -> Result<()> {
    let mut options = Options::parse();
    if options.quick {
        options.record_bytes.truncate(1);
        options.partitions.truncate(1);
        options.acks = vec!["1".to_owned()];
        options.bytes /= 10;
        options.seconds = 1;
    }
    let mut generators = vec![Generator::ours(options.binary.as_deref())?];
    generators.extend(options.librdkafka.as_deref().map(Generator::librdkafka));
    let output = options.output;
    let mut bench = Bench { processors: Processors::split()?, options, generators, rows: Vec::new() };
    bench.measure_all()?;
    let header = [
        "",
        "record B",
        "partitions",
        "acks",
        "client",
        "records/s",
        "MB/s",
        "client CPU us/record",
        "broker CPU s/GB",
        "broker peak MB",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
    ];
    report::print(output, &bench.rows, header, Row::cells)
}

impl Bench {
    fn measure_all(&mut self) -> Result<()> {
        for record_bytes in self.options.record_bytes.clone() {
            for partitions in self.options.partitions.clone() {
                eprintln!("records of {record_bytes} B, {partitions} partitions");
                self.measure_cell(record_bytes, partitions)?;
            }
        }
        Ok(())
    }

    /// One topic for each client, filled with every kind of acknowledgement and then read.
    fn measure_cell(&mut self, record_bytes: u32, partitions: u16) -> Result<()> {
        let options = &self.options;
        let start = || BrokerProcess::start(options.binary.as_deref(), &options.dir, &options.set);
        let broker = match &self.processors {
            Some(processors) => processors.for_server(start)?,
            None => start()?,
        };
        for generator in &self.generators {
            wire::create_topic(&mut broker.connect()?, &generator.name, i32::from(partitions))?;
        }
        let records = (options.bytes / u64::from(record_bytes)).max(1);
        let mut work: Vec<Work> = Vec::new();
        for acks in &options.acks {
            work.push(Work::Produce { records, record_bytes, acks: acks.clone() });
        }
        work.push(Work::Fetch);
        if partitions == 1 {
            let acks = |acks: &&String| *acks != "0";
            work.extend(options.acks.iter().filter(acks).map(|acks| Work::LowRate {
                rate: LOW_RATE,
                seconds: options.seconds,
                record_bytes,
                acks: acks.clone(),
            }));
        }
        let mut rows = Vec::new();
        for work in work {
            // A fetch needs what was produced, measured or not.
            let fills = matches!(work, Work::Produce { .. }) && self.measures(&Work::Fetch);
            if !fills && !self.measures(&work) {
                continue;
            }
            for generator in &self.generators {
                let before = broker.cpu()?;
                let load = generator.run(&broker.address().to_string(), &work)?;
                let cpu = broker.cpu()? - before;
                let peak = broker.resident_bytes_peak()? as f64 / 1e6;
                if self.measures(&work) {
                    rows.push(Row::new(&work, (record_bytes, partitions), generator, &load, cpu.as_secs_f64(), peak));
                }
            }
        }
        self.rows.append(&mut rows);
        Ok(())
    }

    fn measures(&self, work: &Work) -> bool {
        let subject = match work {
            Work::Produce { .. } => Subject::Produce,
            Work::Fetch => Subject::Fetch,
            Work::LowRate { .. } => Subject::Latency,
        };
        self.options.only.is_empty() || self.options.only.contains(&subject)
    }
}

impl Row {
    fn new(
        work: &Work,
        (record_bytes, partitions): (u32, u16),
        generator: &Generator,
        load: &Load,
        broker_cpu_seconds: f64,
        broker_peak_mb: f64,
    ) -> Self {
        let latency = load.latency_ms.as_ref();
        Row {
            work: work.name(),
            record_bytes,
            partitions,
            acks: work.acks().map(str::to_owned),
            client: generator.name.clone(),
            records_per_second: load.records_per_second,
            mb_per_second: load.mb_per_second,
            client_cpu_us_per_record: load.client_cpu_seconds * 1e6 / load.records as f64,
            broker_cpu_seconds_per_gb: broker_cpu_seconds * 1e9 / load.bytes as f64,
            broker_peak_mb,
            p50_ms: latency.map(|latency| latency.p50),
            p99_ms: latency.map(|latency| latency.p99),
            p99_9_ms: latency.map(|latency| latency.p99_9),
        }
    }

    fn cells(&self) -> [String; 13] {
        let or_empty = |number: Option<f64>| number.map_or_else(String::new, rounded);
        [
            self.work.to_owned(),
            self.record_bytes.to_string(),
            self.partitions.to_string(),
            self.acks.clone().unwrap_or_default(),
            self.client.clone(),
            rounded(self.records_per_second),
            rounded(self.mb_per_second),
            rounded(self.client_cpu_us_per_record),
            rounded(self.broker_cpu_seconds_per_gb),
            rounded(self.broker_peak_mb),
            or_empty(self.p50_ms),
            or_empty(self.p99_ms),
            or_empty(self.p99_9_ms),
        ]
    }
}
