//! Produces of one record at a fixed low rate to a broker process, once while it compacts, merges and deletes all the time, and once
//! while it does none of that. Beside them, and the same in both cases, goes what there is to compact, merge and delete.
//!
//! What the work has left on the disk shows that it went on: without a difference there is no result.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use ottla_benches::broker_process::BrokerProcess;
use ottla_benches::samples::{Measurements, Target};
use ottla_benches::{load, wire};

use crate::Options;

const MEASURED: &str = "measured";
/// Its keys are written again and again.
const COMPACTED: &str = "compacted";
/// Rolls by time, small segments.
const TRICKLE: &str = "trickle";
/// Keeps the last megabytes.
const RETAINED: &str = "retained";
const TOPICS: [(&str, &[(&str, &str)]); 4] = [
    (MEASURED, &[("retention.ms", "-1")]),
    (COMPACTED, &[("cleanup.policy", "compact"), ("segment.bytes", "4194304"), ("min.cleanable.dirty.ratio", "0.01")]),
    (TRICKLE, &[("segment.ms", "100"), ("retention.ms", "-1")]),
    (RETAINED, &[("segment.bytes", "1048576"), ("retention.bytes", "4194304"), ("retention.ms", "-1")]),
];
const WORKING: [&str; 3] =
    ["log.cleaner.backoff.ms=10", "log.merge.interval.ms=100", "log.retention.check.interval.ms=100"];
const AT_REST: [&str; 3] =
    ["log.cleaner.enable=false", "log.merge.interval.ms=3600000", "log.retention.check.interval.ms=3600000"];
/// Between two batches to each of the topics: some 13 MB a second altogether.
const LOAD_PERIOD: Duration = Duration::from_millis(10);
const LOAD_BATCH_BYTES: usize = 64_000;
const TRICKLE_BATCH_BYTES: usize = 4_000;
const RECORD_BYTES: usize = 100;
const KEYS: usize = 20_000;
/// Before latencies count.
const WARM_UP: Duration = Duration::from_secs(2);

/// What one run came to.
struct Run {
    /// With acks=1, and with acks=all.
    latencies: [Histogram<u64>; 2],
    left: Left,
}

/// What is on the disk of the topics that were worked on.
struct Left {
    compacted_bytes: u64,
    retained_bytes: u64,
    trickle_segments: u64,
}

pub(crate) fn measure(options: &Options, rest_first: bool, into: &mut Measurements) -> Result<()> {
    let (working, at_rest) = match rest_first {
        true => {
            let at_rest = run(options, &AT_REST)?;
            (run(options, &WORKING)?, at_rest)
        }
        false => (run(options, &WORKING)?, run(options, &AT_REST)?),
    };
    let (with, without) = (&working.left, &at_rest.left);
    for (what, with, without) in [
        ("compacted, MB left", with.compacted_bytes as f64 / 1e6, without.compacted_bytes as f64 / 1e6),
        ("deleted by size, MB left", with.retained_bytes as f64 / 1e6, without.retained_bytes as f64 / 1e6),
        ("merged, segments left", with.trickle_segments as f64, without.trickle_segments as f64),
    ] {
        ensure!(with < without / 2.0, "the work did not go on: {what}: {with} with it, {without} without");
        into.add_beside(what, "", None, with, without);
    }
    for (acks, with, without) in
        [("1", &working.latencies[0], &at_rest.latencies[0]), ("all", &working.latencies[1], &at_rest.latencies[1])]
    {
        for (quantile, target) in [(0.5, None), (0.99, Some(Target::TimesBaseline(2.0)))] {
            let name = format!("one record, acks={acks}, {}/s, p{}", options.rate, quantile * 100.0);
            let us = |latencies: &Histogram<u64>| latencies.value_at_quantile(quantile) as f64 / 1e3;
            into.add_beside(name, "us", target, us(with), us(without));
        }
    }
    Ok(())
}

fn run(options: &Options, settings: &[&str]) -> Result<Run> {
    let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
    let broker = BrokerProcess::start(options.binary.as_deref(), &options.dir, &settings)?;
    for (topic, configs) in TOPICS {
        wire::create_topic_with(&mut broker.connect()?, topic, 1, configs)?;
    }
    let done = AtomicBool::new(false);
    let latencies = std::thread::scope(|scope| {
        let loader = scope.spawn(|| send_load(&broker, &done));
        std::thread::sleep(WARM_UP);
        let latencies = [1, -1].map(|acks| latencies(options, &broker, acks));
        done.store(true, Ordering::Relaxed);
        loader.join().map_err(|_panic| anyhow::anyhow!("the load ended in a panic"))??;
        let [one, all] = latencies;
        anyhow::Ok([one?, all?])
    })?;
    let folder = |topic: &str| broker.data_dir().join(format!("{topic}-0"));
    let left = Left {
        compacted_bytes: segments(&folder(COMPACTED))?.iter().sum(),
        retained_bytes: segments(&folder(RETAINED))?.iter().sum(),
        trickle_segments: segments(&folder(TRICKLE))?.len() as u64,
    };
    Ok(Run { latencies, left })
}

fn latencies(options: &Options, broker: &BrokerProcess, acks: i16) -> Result<Histogram<u64>> {
    let request = wire::produce(MEASURED, acks, &wire::batch(0, RECORD_BYTES)?)?;
    let period = Duration::from_secs(1) / options.rate;
    load::latency(&mut broker.connect()?, &request, period, options.requests, wire::check_produced)
}

/// Sends until `done`, at its own pace whatever the broker does.
fn send_load(broker: &BrokerProcess, done: &AtomicBool) -> Result<()> {
    let mut stream = broker.connect()?;
    let mut frames = wire::FrameBuffer::default();
    let started = Instant::now();
    for turn in 0_usize.. {
        if done.load(Ordering::Relaxed) {
            return Ok(());
        }
        for (topic, bytes) in
            [(COMPACTED, LOAD_BATCH_BYTES), (RETAINED, LOAD_BATCH_BYTES), (TRICKLE, TRICKLE_BATCH_BYTES)]
        {
            let batch = wire::keyed_batch(bytes, RECORD_BYTES, |record| (turn * 7_919 + record) % KEYS)?;
            wire::send(&mut stream, &wire::produce(topic, 1, &batch)?)?;
            wire::check_produced(frames.read(&mut stream)?)?;
        }
        let due = started + LOAD_PERIOD * u32::try_from(turn + 1)?;
        if let Some(early) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(early);
        }
    }
    Ok(())
}

/// The sizes of the segments in a partition's folder, which changes meanwhile.
fn segments(folder: &Path) -> Result<Vec<u64>> {
    let mut sizes = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            sizes.extend(path.metadata().map(|metadata| metadata.len()));
        }
    }
    Ok(sizes)
}
