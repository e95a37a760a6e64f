//! A real broker process from end to end over loopback, and beside it, in the same run, the least that it must do.
//!
//! Owns the order of the measurements and how they are printed. The processor time is the broker's alone, kernel included;
//! MB and GB are 10^6 and 10^9 bytes. Where the machine is shared, trust the ratios and the processor time, not the rates.

mod load;
mod roofline;
mod wire;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use clap::{Parser, ValueEnum};
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use ottla_protocol::records::batches;
use serde::Serialize;

use ottla_benches::BrokerProcess;
use roofline::Roofline;

const TOPIC: &str = "bench";
const SINGLE_RECORD_BYTES: usize = 1;
const FETCH_BYTES: usize = 1 << 20;

/// Measures a broker process from end to end, and its rooflines.
#[derive(Debug, Parser)]
struct Options {
    /// The program to measure; without it the `ottla` beside this one.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// A setting of the broker, KEY=VALUE; may be repeated.
    #[arg(long)]
    set: Vec<String>,
    /// Bytes of each batch that is produced and fetched.
    #[arg(long, value_delimiter = ',', default_values_t = [64_000, 900_000])]
    batch_bytes: Vec<usize>,
    /// Bytes that are produced, and fetched, at each size.
    #[arg(long, default_value_t = 1_000_000_000)]
    bytes: usize,
    /// Requests of one record.
    #[arg(long, default_value_t = 50_000)]
    requests: usize,
    /// Requests a second at which latency is measured.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Requests whose latency is measured.
    #[arg(long, default_value_t = 5_000)]
    latency_requests: u32,
    /// Below which directory the data is written; the system's temporary one without it.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// How the results are printed.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// One number, and where there is one the roofline that it is to be held against.
#[derive(Debug, Serialize)]
struct Row {
    measurement: String,
    unit: &'static str,
    value: f64,
    roofline: Option<f64>,
    /// The part of the roofline that is reached: 1 is as good as it.
    ratio: Option<f64>,
}

impl Row {
    fn new(measurement: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self { measurement: measurement.into(), unit, value, roofline: None, ratio: None }
    }

    /// A rate, of which more is better.
    fn rate(measurement: String, unit: &'static str, value: f64, roofline: f64) -> Self {
        Self { measurement, unit, value, roofline: Some(roofline), ratio: Some(value / roofline) }
    }

    /// A cost, of which less is better.
    fn cost(measurement: String, unit: &'static str, value: f64, roofline: f64) -> Self {
        Self { measurement, unit, value, roofline: Some(roofline), ratio: Some(roofline / value) }
    }
}

/// Bytes moved, and the time and processor time that it took.
#[derive(Debug, Clone, Copy)]
struct Moved {
    bytes: usize,
    wall: Duration,
    cpu: Duration,
}

impl Moved {
    fn mb_per_second(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.wall.as_secs_f64()
    }

    fn cpu_seconds_per_gb(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e9 / self.bytes as f64
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => std::env::current_exe()?.with_file_name("ottla"),
    };
    ensure!(binary.is_file(), "{} is no file; build it or pass --binary", binary.display());
    let dir = options.dir.clone().unwrap_or_else(std::env::temp_dir);
    let mut rows = Vec::new();
    for &batch_bytes in &options.batch_bytes {
        bulk(&options, &binary, &dir, batch_bytes, &mut rows)?;
    }
    single(&options, &binary, &dir, &mut rows)?;
    match options.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&rows)?),
        Output::Table => println!("{}", table(&rows)),
    }
    Ok(())
}

/// Batches of one size: produced and read back, by the roofline and by the broker, one right after the other.
fn bulk(options: &Options, binary: &Path, dir: &Path, batch_bytes: usize, rows: &mut Vec<Row>) -> Result<()> {
    let batch = wire::batch(batch_bytes)?;
    let request = wire::produce(TOPIC, 1, &batch)?;
    let count = options.bytes.div_ceil(batch.len());
    let window = (2_000_000 / batch.len()).clamp(2, 16);

    let file = tempfile::tempfile_in(dir)?;
    let least_produce = roofline_produce(file.try_clone()?, &request, window, count)?;
    let least_fetch = roofline_fetch(file, chunk(batch.len()), options.bytes)?;

    let broker = BrokerProcess::start(binary, dir, &options.set)?;
    let mut stream = broker.connect()?;
    wire::create_topic(&mut stream, TOPIC)?;
    let before = broker.cpu()?;
    let wall = load::pipeline(std::slice::from_mut(&mut stream), &request, window, count, wire::check_produced)?;
    let produced = Moved { bytes: count * request.len(), wall, cpu: broker.cpu()? - before };
    let fetched = fetch_all(&broker, count, &batch)?;

    let name = |what: &str| format!("{what}, batches of {} B", batch.len());
    let (unit, cost) = ("MB/s", "CPU s/GB");
    rows.push(Row::rate(name("produce acks=1"), unit, produced.mb_per_second(), least_produce.mb_per_second()));
    let (value, least) = (produced.cpu_seconds_per_gb(), least_produce.cpu_seconds_per_gb());
    rows.push(Row::cost(name("produce acks=1"), cost, value, least));
    rows.push(Row::rate(name("fetch"), unit, fetched.mb_per_second(), least_fetch.mb_per_second()));
    rows.push(Row::cost(name("fetch"), cost, fetched.cpu_seconds_per_gb(), least_fetch.cpu_seconds_per_gb()));
    rows.push(Row::new(name("memory after"), "MB resident", broker.resident_bytes()? as f64 / 1e6));
    Ok(())
}

fn roofline_produce(file: File, request: &[u8], window: usize, count: usize) -> Result<Moved> {
    let server = Roofline::produce(file)?;
    let mut streams = [server.connect()?];
    let wall = load::pipeline(&mut streams, request, window, count, |_| Ok(()))?;
    drop(streams);
    Ok(Moved { bytes: count * request.len(), wall, cpu: server.finish()? })
}

fn roofline_fetch(file: File, chunk: usize, bytes: usize) -> Result<Moved> {
    let server = Roofline::fetch(file, chunk)?;
    let mut stream = server.connect()?;
    let request = wire::fetch(TOPIC, 0, i32::try_from(chunk)?)?;
    let (bytes, wall) = load::read_back(&mut stream, bytes, |_| Ok(request.clone()))?;
    drop(stream);
    Ok(Moved { bytes, wall, cpu: server.finish()? })
}

/// What one fetch asks for: whole batches, so that nothing is sent twice.
fn chunk(batch_bytes: usize) -> usize {
    (FETCH_BYTES / batch_bytes).max(1) * batch_bytes
}

/// Reads back as many bytes as `count` repeats of `batch` have, and fails where a fetch brings none.
fn fetch_all(broker: &BrokerProcess, count: usize, batch: &Bytes) -> Result<Moved> {
    let view = batches(batch.clone()).next().context("no batch")??;
    let records = i64::from(view.record_count());
    let chunk = i32::try_from(chunk(batch.len()))?;
    let mut stream = broker.connect()?;
    let before = broker.cpu()?;
    let mut whole = 0;
    let (bytes, wall) = load::read_back(&mut stream, count * batch.len(), |last| {
        if let Some(frame) = last {
            let brought = wire::fetched(frame)?.len() / batch.len();
            ensure!(brought > 0, "a fetch brought no whole batch after {whole} of {count}");
            whole += brought;
        }
        wire::fetch(TOPIC, i64::try_from(whole)? * records, chunk)
    })?;
    Ok(Moved { bytes, wall, cpu: broker.cpu()? - before })
}

/// One record a request: what each costs, how long it takes, how many are synced; and the start and the memory.
fn single(options: &Options, binary: &Path, dir: &Path, rows: &mut Vec<Row>) -> Result<()> {
    let broker = BrokerProcess::start(binary, dir, &options.set)?;
    let ready = broker.age();
    let mut stream = broker.connect()?;
    rows.push(Row::new("start until ready", "ms", ready.as_secs_f64() * 1e3));
    rows.push(Row::new("memory at rest", "MB resident", broker.resident_bytes()? as f64 / 1e6));
    wire::create_topic(&mut stream, TOPIC)?;

    let batch = wire::batch(SINGLE_RECORD_BYTES)?;
    let request = wire::produce(TOPIC, 1, &batch)?;
    let period = Duration::from_secs(1) / options.rate;
    let latencies = load::latency(&mut stream, &request, period, options.latency_requests, wire::check_produced)?;
    for quantile in [0.5, 0.99, 0.999] {
        let name = format!("latency of one record, acks=1, {}/s, p{}", options.rate, quantile * 100.0);
        rows.push(Row::new(name, "us", latencies.value_at_quantile(quantile) as f64 / 1e3));
    }

    let (count, one) = (options.requests, std::slice::from_mut(&mut stream));
    measure_single(&broker, "one record a request, acks=1, 1 in flight", one, &request, 1, count, rows)?;
    measure_single(&broker, "one record a request, acks=1, 160 in flight", one, &request, 160, count, rows)?;
    let request = wire::produce(TOPIC, -1, &batch)?;
    measure_single(&broker, "one record a request, acks=all, 160 in flight", one, &request, 160, count, rows)?;
    let mut streams = (0..160).map(|_| broker.connect()).collect::<Result<Vec<_>>>()?;
    let name = "one record a request, acks=all, 160 connections";
    measure_single(&broker, name, &mut streams, &request, 1, count, rows)?;
    rows.push(Row::new("memory after single records", "MB resident", broker.resident_bytes()? as f64 / 1e6));
    Ok(())
}

fn measure_single(
    broker: &BrokerProcess,
    name: &str,
    streams: &mut [std::net::TcpStream],
    request: &[u8],
    window: usize,
    count: usize,
    rows: &mut Vec<Row>,
) -> Result<()> {
    let before = broker.cpu()?;
    let wall =
        load::pipeline(streams, request, window, count, wire::check_produced).with_context(|| name.to_owned())?;
    let cpu = broker.cpu()? - before;
    rows.push(Row::new(name, "records/s", count as f64 / wall.as_secs_f64()));
    rows.push(Row::new(name, "CPU us/request", cpu.as_secs_f64() * 1e6 / count as f64));
    Ok(())
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["measurement", "unit", "broker", "roofline", "of roofline"]);
    for row in rows {
        table.add_row([
            row.measurement.clone(),
            row.unit.to_owned(),
            format!("{:.2}", row.value),
            row.roofline.map_or_else(String::new, |value| format!("{value:.2}")),
            row.ratio.map_or_else(String::new, |ratio| format!("{:.0} %", ratio * 100.0)),
        ]);
    }
    table
}
