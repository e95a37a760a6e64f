//! Sending as many records as are asked for, in turn to all partitions, as fast as the producer takes them or at a rate.
//!
//! Latency is measured of at most a thousand records a second, each by a task of its own that waits for its
//! acknowledgement: awaiting every one would measure the awaiting.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use ottla_client::{Error, Producer, ProducerConfig, ProducerRecord};

use super::payload::Payload;
use super::result::{Measured, Stopwatch, latencies};
use super::{BenchTopic, Common};
use crate::command_line::Bootstrap;
use crate::producer_options::{AcksArgument, ProducerOptions};
use crate::progress::Progress;

const RECORDS: u64 = 1_000_000;
/// What the default number of records comes to at most.
const BYTES_MAX: u64 = 1_000_000_000;
/// Between two records whose latency is measured.
const SAMPLE_PERIOD: Duration = Duration::from_millis(1);
/// A pause shorter than this is not worth its timer.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const SHORT: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct ProduceBench {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(flatten)]
    load: Load,
    /// Send for so long instead of a number of records
    #[arg(long, conflicts_with = "records", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// Send at most so many records a second
    #[arg(long, value_name = "RECORDS", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
}

/// What is sent, and how.
#[derive(Debug, Args)]
pub(super) struct Load {
    /// How many records; a million, or as many as make 1 GB, if not given
    #[arg(short = 'n', long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) records: Option<u64>,
    /// Bytes of each record's value
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    record_bytes: usize,
    #[command(flatten)]
    producer: ProducerOptions,
}

impl Load {
    /// How many records are meant.
    pub(super) fn records(&self) -> u64 {
        self.records.unwrap_or_else(|| RECORDS.min(BYTES_MAX / self.record_bytes.max(1) as u64).max(1))
    }
}

/// When sending ends, and how fast it goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// `None`: until the time is over.
    pub(super) records: Option<u64>,
    pub(super) time: Option<Duration>,
    pub(super) rate: Option<u64>,
}

impl ProduceBench {
    pub(super) async fn measure(&self, topic: &BenchTopic) -> Result<Measured> {
        let time = self.seconds.map(Duration::from_secs);
        let records = time.is_none().then(|| self.load.records());
        let pace = Pace { records, time, rate: self.rate };
        produce(topic, &self.load, pace, &self.common.bootstrap, !self.common.quiet).await
    }
}

/// Produces, and waits until everything is acknowledged.
///
/// # Errors
/// Any record that was not acknowledged.
pub(super) async fn produce(
    topic: &BenchTopic,
    load: &Load,
    pace: Pace,
    bootstrap: &Bootstrap,
    shows_progress: bool,
) -> Result<Measured> {
    let mut config = ProducerConfig::new(bootstrap.client_config());
    load.producer.apply(&mut config);
    let producer = Producer::connect(config).await?;
    producer.partitions_for(topic.name.clone()).await?;
    let input_bytes = pace.records.map(|records| records * load.record_bytes as u64);
    let mut progress = Progress::new(shows_progress && io::stderr().is_terminal(), input_bytes, SHORT);
    let mut payload = Payload::new(load.record_bytes);
    let mut samples = Samples::new(load.producer.acks != AcksArgument::None);
    let watch = Stopwatch::start();
    let mut sent = 0;
    while pace.records.is_none_or(|records| sent < records) {
        let now = Instant::now();
        let elapsed = now - watch.started();
        if pace.time.is_some_and(|time| elapsed >= time) {
            break;
        }
        if let Some(pause) = pace.pause(sent, elapsed) {
            tokio::time::sleep(pause).await;
            continue;
        }
        let partition = (sent % topic.partitions.unsigned_abs() as u64) as i32;
        let record = ProducerRecord::new(topic.name.clone(), payload.next()).partition(partition);
        let delivery = producer.send(record).await.with_context(|| format!("record {sent} of the benchmark"))?;
        sent += 1;
        if samples.is_due(now) {
            samples.add(now, delivery)?;
            progress.update(sent * load.record_bytes as u64, sent);
        }
    }
    producer.flush().await;
    progress.finish();
    let latencies = samples.finish().await?;
    let measured = watch.stop("produce", sent, sent * load.record_bytes as u64, &latencies);
    let failed = producer.stats().records_failed;
    producer.close().await;
    ensure!(failed == 0, "{failed} of {sent} records were not acknowledged");
    Ok(measured)
}

impl Pace {
    /// How long to wait before the next record, if the rate says so.
    fn pause(&self, sent: u64, elapsed: Duration) -> Option<Duration> {
        let due = Duration::from_secs_f64(sent as f64 / self.rate? as f64);
        due.checked_sub(elapsed).filter(|pause| *pause >= PAUSE_MIN)
    }
}

/// The records whose latency is measured.
struct Samples {
    /// Whether there is an answer to wait for.
    answered: bool,
    last: Option<Instant>,
    waiting: JoinSet<Result<Duration, Error>>,
    latencies: Histogram<u64>,
}

impl Samples {
    fn new(answered: bool) -> Self {
        Samples { answered, last: None, waiting: JoinSet::new(), latencies: latencies() }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now - last >= SAMPLE_PERIOD)
    }

    /// Waits for a record in the background, and fails if one before it did.
    fn add(&mut self, sent: Instant, delivery: ottla_client::Delivery) -> Result<()> {
        self.last = Some(sent);
        self.waiting.spawn(async move { delivery.await.map(|_| sent.elapsed()) });
        while let Some(ended) = self.waiting.try_join_next() {
            self.note(ended?)?;
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Histogram<u64>> {
        while let Some(ended) = self.waiting.join_next().await {
            self.note(ended?)?;
        }
        Ok(self.latencies)
    }

    fn note(&mut self, outcome: Result<Duration, Error>) -> Result<()> {
        match outcome {
            Ok(latency) if self.answered => Ok(self.latencies.record(latency.as_micros() as u64)?),
            Ok(_) => Ok(()),
            Err(error) => bail!("a record was not acknowledged: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_makes_pauses_only_while_sending_is_ahead() {
        let pace = Pace { records: None, time: None, rate: Some(1000) };
        assert_eq!(pace.pause(500, Duration::from_millis(400)), Some(Duration::from_millis(100)));
        assert_eq!(pace.pause(500, Duration::from_millis(500)), None);
        assert_eq!(pace.pause(500, Duration::from_secs(9)), None);
        assert_eq!(Pace { rate: None, ..pace }.pause(500, Duration::ZERO), None);
    }
}
