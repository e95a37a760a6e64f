//! The targets: a real broker process over loopback, held against numbers and, in the same rounds, against the least that
//! any broker must do.
//!
//! Owns the order of the measurements. The processor time is the broker's alone, kernel included. Every round measures
//! everything once on a broker of its own; the first one warms up and does not count; roofline and broker take turns at
//! going first. Where the machine is shared, trust the ratios and the processor time, not the rates.

use std::fs::File;
use std::net::TcpStream;
use std::path::PathBuf;
use std::slice::from_mut;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use clap::{Parser, ValueEnum};
use ottla_benches::broker_process::BrokerProcess;
use ottla_benches::cpu::{Moved, Processors};
use ottla_benches::report::Output;
use ottla_benches::roofline::Roofline;
use ottla_benches::samples::{Measurements, Target};
use ottla_benches::{load, wire};
use ottla_protocol::records::batches;

const TOPIC: &str = "bench";
const RECORD_BYTES: usize = 100;
const FETCH_BYTES: usize = 1 << 20;
/// Fetches that are asked for before the first one is answered, where a stream is held against a stream.
const FETCH_WINDOW: usize = 2;
/// More would not fit into one segment.
const BYTES_MAX: u64 = 1_000_000_000;

/// Holds a broker process against its targets.
#[derive(Debug, Parser)]
struct Options {
    /// What is measured; everything without it.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Subject>,
    /// A fifth of everything: to see whether it works, not to quote.
    #[arg(long)]
    quick: bool,
    /// Rounds that count; there is one more to warm up.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Bytes that are produced, and fetched, at each size of batches in a round.
    #[arg(long, default_value_t = 500_000_000, value_parser = clap::value_parser!(u64).range(1_000_000..=BYTES_MAX))]
    bytes: u64,
    /// Bytes of each batch that is produced and fetched.
    #[arg(long, value_delimiter = ',', default_values_t = [64_000, 900_000])]
    batch_bytes: Vec<usize>,
    /// Requests of one record in a round.
    #[arg(long, default_value_t = 20_000)]
    requests: usize,
    /// Requests a second at which latency is measured.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Requests whose latency is measured in a round.
    #[arg(long, default_value_t = 2_000)]
    latency_requests: u32,
    /// The program to measure; without it the `ottla` beside this one.
    #[arg(long)]
    binary: Option<PathBuf>,
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
    /// Large batches, produced and fetched, beside their rooflines.
    Bulk,
    /// Requests of one record with acks=1.
    Single,
    /// The same at a fixed low rate.
    Latency,
    /// Requests of one record that are synced before they are answered.
    Durable,
    /// From the start of the process to its first answer, and memory at rest.
    Start,
    /// The most memory that large batches from many connections take.
    Memory,
}

impl Options {
    fn measures(&self, subject: Subject) -> bool {
        self.only.is_empty() || self.only.contains(&subject)
    }

    /// Less of everything.
    fn quickened(mut self) -> Self {
        if self.quick {
            self.rounds = self.rounds.min(2);
            self.bytes /= 5;
            self.requests /= 5;
            self.latency_requests /= 5;
        }
        self
    }
}

/// What is measured, and where.
#[derive(Debug)]
struct Bench {
    options: Options,
    processors: Option<Processors>,
}

/// Where a server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placement {
    /// Where the load is not in its way.
    Apart,
    /// On the load's processor, where a scheduler puts two that only wait for each other: neither is waited for then.
    Together,
}

impl Bench {
    /// Starts a server, be it a broker or a roofline, where the load is not in its way.
    fn serve<T>(&self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        self.serve_at(Placement::Apart, start)
    }

    fn serve_at<T>(&self, placement: Placement, start: impl FnOnce() -> Result<T>) -> Result<T> {
        match &self.processors {
            Some(processors) if placement == Placement::Apart => processors.for_server(start),
            _ => start(),
        }
    }

    fn start(&self) -> Result<BrokerProcess> {
        self.start_at(Placement::Apart)
    }

    fn start_at(&self, placement: Placement) -> Result<BrokerProcess> {
        let options = &self.options;
        self.serve_at(placement, || BrokerProcess::start(options.binary.as_deref(), &options.dir, &options.set))
    }

    fn start_with_topic(&self) -> Result<BrokerProcess> {
        with_topic(self.start()?)
    }
}

fn with_topic(broker: BrokerProcess) -> Result<BrokerProcess> {
    wire::create_topic(&mut broker.connect()?, TOPIC, 1)?;
    Ok(broker)
}

fn main() -> Result<()> {
    let options = Options::parse().quickened();
    let bench = Bench { processors: Processors::split()?, options };
    let options = &bench.options;
    let measurements = Measurements::of_rounds(options.rounds, |roofline_first, measurements| {
        measure_all(&bench, roofline_first, measurements)
    })?;
    let header = ["measurement", "unit", "target", "median", "", "lowest to highest", "roofline", "of roofline"];
    measurements.print(options.output, header)
}

fn measure_all(bench: &Bench, roofline_first: bool, measurements: &mut Measurements) -> Result<()> {
    let options = &bench.options;
    if options.measures(Subject::Bulk) {
        for &batch_bytes in &options.batch_bytes {
            Bulk::new(bench, batch_bytes)?.measure(roofline_first, measurements)?;
        }
    }
    if options.measures(Subject::Start) {
        start(bench, measurements)?;
    }
    for (subject, measure) in
        [(Subject::Single, single as fn(&_, &mut _) -> _), (Subject::Latency, latency), (Subject::Durable, durable)]
    {
        if options.measures(subject) {
            measure(bench, measurements)?;
        }
    }
    if options.measures(Subject::Memory) {
        memory(bench, measurements)?;
    }
    Ok(())
}

/// Batches of one size: produced and read back, by the roofline and by the broker, one right after the other.
struct Bulk<'a> {
    bench: &'a Bench,
    batch_bytes: usize,
    /// One produce request, sent again and again.
    produce: Bytes,
    produce_count: usize,
    /// Produces without an answer, about 2 MB of them.
    produce_window: usize,
    /// What each fetch brings: whole batches, so that nothing is sent twice.
    chunk_bytes: usize,
    /// One for each chunk, in order.
    fetches: Vec<Bytes>,
}

/// What a server did in a round.
struct BulkMoved {
    produced: Moved,
    /// One fetch at a time, as most clients do.
    fetched_singly: Moved,
    /// The next one asked for before this one is read: a stream.
    fetched: Moved,
}

impl<'a> Bulk<'a> {
    fn new(bench: &'a Bench, batch_bytes: usize) -> Result<Self> {
        let batch = wire::batch(batch_bytes, RECORD_BYTES)?;
        let records = i64::from(batches(batch.clone()).next().context("no batch")??.record_count());
        let batches_of_chunk = (FETCH_BYTES / batch.len()).max(1);
        let chunks = usize::try_from(bench.options.bytes)? / (batches_of_chunk * batch.len());
        let chunk_bytes = batches_of_chunk * batch.len();
        let fetch = |chunk: usize| {
            wire::fetch(TOPIC, i64::try_from(chunk * batches_of_chunk)? * records, i32::try_from(chunk_bytes)?)
        };
        Ok(Bulk {
            bench,
            batch_bytes: batch.len(),
            produce: wire::produce(TOPIC, 1, &batch)?,
            produce_count: chunks * batches_of_chunk,
            produce_window: (2_000_000 / batch.len()).clamp(2, 16),
            chunk_bytes,
            fetches: (0..chunks).map(fetch).collect::<Result<_>>()?,
        })
    }

    fn measure(&self, roofline_first: bool, measurements: &mut Measurements) -> Result<()> {
        let (least, broker) = if roofline_first {
            let least = self.roofline()?;
            (least, self.broker()?)
        } else {
            let broker = self.broker()?;
            (self.roofline()?, broker)
        };
        self.add(measurements, "produce, acks=1", broker.produced, least.produced, 0.7, self.produce_cpu());
        self.add(measurements, "fetch, 2 in flight", broker.fetched, least.fetched, 0.85, 0.25);
        self.add(measurements, "fetch, 1 in flight", broker.fetched_singly, least.fetched_singly, 0.85, 0.25);
        Ok(())
    }

    /// CPU seconds per GB that a produce may take: the larger the batches, the less.
    fn produce_cpu(&self) -> f64 {
        if self.batch_bytes < 500_000 { 2.0 } else { 1.5 }
    }

    fn add(&self, to: &mut Measurements, name: &str, broker: Moved, least: Moved, part: f64, cpu: f64) {
        let name = format!("{name}, batches of {} B", self.batch_bytes);
        let rate = Some(Target::OfRoofline(part));
        to.add_beside(name.clone(), "MB/s", rate, broker.mb_per_second(), least.mb_per_second());
        let cost = Some(Target::AtMost(cpu));
        to.add_beside(name, "CPU s/GB", cost, broker.cpu_seconds_per_gb(), least.cpu_seconds_per_gb());
    }

    fn roofline(&self) -> Result<BulkMoved> {
        let file = tempfile::tempfile_in(&self.bench.options.dir)?;
        let server = self.bench.serve(|| Roofline::produce(file.try_clone()?))?;
        let wall = self.send_produces(server.connect()?, |_| Ok(()))?;
        let produced = Moved { bytes: self.produced_bytes(), wall, cpu: server.finish()? };
        let fetched_singly = self.roofline_fetch(&file, 1)?;
        let fetched = self.roofline_fetch(&file, FETCH_WINDOW)?;
        Ok(BulkMoved { produced, fetched_singly, fetched })
    }

    fn roofline_fetch(&self, file: &File, window: usize) -> Result<Moved> {
        let server = self.bench.serve(|| Roofline::fetch(file.try_clone()?, self.chunk_bytes))?;
        let wall = self.send_fetches(server.connect()?, window, |_| Ok(()))?;
        Ok(Moved { bytes: self.fetched_bytes(), wall, cpu: server.finish()? })
    }

    fn broker(&self) -> Result<BulkMoved> {
        let broker = self.bench.start_with_topic()?;
        let before = broker.cpu()?;
        let wall = self.send_produces(broker.connect()?, wire::check_produced)?;
        let produced = Moved { bytes: self.produced_bytes(), wall, cpu: broker.cpu()? - before };
        let fetched_singly = self.broker_fetch(&broker, 1)?;
        let fetched = self.broker_fetch(&broker, FETCH_WINDOW)?;
        Ok(BulkMoved { produced, fetched_singly, fetched })
    }

    fn broker_fetch(&self, broker: &BrokerProcess, window: usize) -> Result<Moved> {
        let before = broker.cpu()?;
        let wall = self.send_fetches(broker.connect()?, window, |frame| {
            let brought = wire::fetched(frame)?;
            ensure!(brought == self.chunk_bytes, "a fetch brought {brought} B of {}", self.chunk_bytes);
            Ok(())
        })?;
        Ok(Moved { bytes: self.fetched_bytes(), wall, cpu: broker.cpu()? - before })
    }

    fn send_produces(&self, mut stream: TcpStream, check: impl Fn(Bytes) -> Result<()>) -> Result<Duration> {
        load::pipeline(from_mut(&mut stream), |_| self.produce.clone(), self.produce_window, self.produce_count, check)
    }

    fn send_fetches(
        &self,
        mut stream: TcpStream,
        window: usize,
        check: impl Fn(Bytes) -> Result<()>,
    ) -> Result<Duration> {
        load::pipeline(from_mut(&mut stream), |chunk| self.fetches[chunk].clone(), window, self.fetches.len(), check)
    }

    fn produced_bytes(&self) -> usize {
        self.produce_count * self.produce.len()
    }

    fn fetched_bytes(&self) -> usize {
        self.fetches.len() * self.chunk_bytes
    }
}

fn start(bench: &Bench, measurements: &mut Measurements) -> Result<()> {
    let broker = bench.start()?;
    let ready = broker.first_answer()?;
    measurements.add("start to first answer", "ms", Some(Target::AtMost(50.0)), ready.as_secs_f64() * 1e3);
    let resident = broker.resident_bytes()? as f64 / 1e6;
    measurements.add("memory at rest", "MB", Some(Target::AtMost(40.0)), resident);
    Ok(())
}

/// One record a request, answered from the page cache. The roofline shows what two processes that wake each other cost here.
fn single(bench: &Bench, measurements: &mut Measurements) -> Result<()> {
    singles(bench, Placement::Apart, &[1, 160], measurements)?;
    singles(bench, Placement::Together, &[1], measurements)
}

fn singles(bench: &Bench, placement: Placement, windows: &[usize], measurements: &mut Measurements) -> Result<()> {
    let broker = with_topic(bench.start_at(placement)?)?;
    let request = single_record(1)?;
    let mut streams = [broker.connect()?];
    let placed = match placement {
        Placement::Apart => "",
        Placement::Together => ", on the client's processor",
    };
    for &window in windows {
        let file = tempfile::tempfile_in(&bench.options.dir)?;
        let server = bench.serve_at(placement, || Roofline::produce(file))?;
        let count = bench.options.requests;
        let wall = load::pipeline(&mut [server.connect()?], |_| request.clone(), window, count, |_| Ok(()))?;
        let least = Singles { count, wall, cpu: server.finish()? };
        let moved = send_singles(&broker, &mut streams, &request, window, count)?;
        let name = format!("one record a request, acks=1, {window} in flight{placed}");
        let target = Some(Target::AtMost(20.0));
        measurements.add_beside(name.clone(), "CPU us", target, moved.cpu_us(), least.cpu_us());
        measurements.add_beside(name, "records/s", None, moved.per_second(), least.per_second());
    }
    Ok(())
}

fn latency(bench: &Bench, measurements: &mut Measurements) -> Result<()> {
    let (broker, options) = (bench.start_with_topic()?, &bench.options);
    let request = single_record(1)?;
    let period = Duration::from_secs(1) / options.rate;
    let mut stream = broker.connect()?;
    let count = options.latency_requests;
    let latencies = load::latency(&mut stream, &request, period, count, wire::check_produced)?;
    for (quantile, target) in [(0.5, Some(Target::AtMost(150.0))), (0.99, None), (0.999, None)] {
        let name = format!("one record, acks=1, {}/s, p{}", options.rate, quantile * 100.0);
        measurements.add(name, "us", target, latencies.value_at_quantile(quantile) as f64 / 1e3);
    }
    Ok(())
}

/// One record a request, answered once the disk has it.
fn durable(bench: &Bench, measurements: &mut Measurements) -> Result<()> {
    let broker = bench.start_with_topic()?;
    let request = single_record(-1)?;
    let mut one = [broker.connect()?];
    let mut many = (0..160).map(|_| broker.connect()).collect::<Result<Vec<_>>>()?;
    let target = Some(Target::AtLeast(40_000.0));
    for (what, streams, window) in
        [("160 in flight on one connection", one.as_mut_slice(), 160), ("160 connections", &mut many, 1)]
    {
        let name = format!("one record a request, acks=all, {what}");
        let moved = send_singles(&broker, streams, &request, window, bench.options.requests)?;
        measurements.add(name.clone(), "records/s", target, moved.per_second());
        measurements.add(name, "CPU us", None, moved.cpu_us());
    }
    Ok(())
}

/// The most that 16 connections with two batches of the largest size each in flight, and a fetch of all of it, take.
fn memory(bench: &Bench, measurements: &mut Measurements) -> Result<()> {
    const CONNECTIONS: usize = 16;
    let bulk = Bulk::new(bench, bench.options.batch_bytes.iter().copied().max().context("no --batch-bytes")?)?;
    let broker = bench.start_with_topic()?;
    let mut streams = (0..CONNECTIONS).map(|_| broker.connect()).collect::<Result<Vec<_>>>()?;
    load::pipeline(&mut streams, |_| bulk.produce.clone(), 2, bulk.produce_count, wire::check_produced)?;
    bulk.broker_fetch(&broker, FETCH_WINDOW)?;
    let peak = broker.resident_bytes_peak()? as f64 / 1e6;
    let name = format!("memory peak, {CONNECTIONS} connections, batches of {} B", bulk.batch_bytes);
    measurements.add(name, "MB", Some(Target::AtMost(150.0)), peak);
    Ok(())
}

fn single_record(acks: i16) -> Result<Bytes> {
    wire::produce(TOPIC, acks, &wire::batch(0, RECORD_BYTES)?)
}

/// Requests that were answered.
struct Singles {
    count: usize,
    wall: Duration,
    cpu: Duration,
}

impl Singles {
    fn per_second(&self) -> f64 {
        self.count as f64 / self.wall.as_secs_f64()
    }

    fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.count as f64
    }
}

fn send_singles(
    broker: &BrokerProcess,
    streams: &mut [TcpStream],
    request: &Bytes,
    window: usize,
    count: usize,
) -> Result<Singles> {
    let before = broker.cpu()?;
    let wall = load::pipeline(streams, |_| request.clone(), window, count, wire::check_produced)?;
    Ok(Singles { count, wall, cpu: broker.cpu()? - before })
}
