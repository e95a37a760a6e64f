//! How long one record takes at a low rate: to its acknowledgement, and to a consumer that waits for it.
//!
//! The next record is sent when it is due, whether or not the one before has arrived, so that a pause of the broker shows
//! in every record that it delays. Each value begins with the number of this run and the time of its send.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::{BufMut, Bytes, BytesMut};
use clap::Args;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use ottla_client::{Consumer, ConsumerConfig, Producer, ProducerConfig, ProducerRecord, SeekTo, TopicPartition};

use super::result::{Measured, Stopwatch, latencies};
use super::{BenchTopic, Common};
use crate::producer_options::AcksArgument;

/// The number of the run and the time of the send.
const STAMP_BYTES: u16 = 16;
/// How long records may take to come back after the last was sent.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(super) struct LatencyBench {
    #[command(flatten)]
    pub(super) common: Common,
    /// Records a second
    #[arg(long, value_name = "RECORDS", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// How long records are sent
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Bytes of each record's value
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(i64::from(STAMP_BYTES)..=1_000_000))]
    record_bytes: u32,
    /// What to wait for
    #[arg(short, long, value_enum, default_value_t = AcksArgument::All)]
    acks: AcksArgument,
}

impl LatencyBench {
    /// What it takes to the acknowledgement, and to the consumer.
    pub(super) async fn measure(&self, topic: &BenchTopic) -> Result<Vec<Measured>> {
        let mut config = ProducerConfig::new(self.common.bootstrap.client_config());
        self.acks.apply(&mut config);
        config.linger = Duration::ZERO;
        let producer = Producer::connect(config).await?;
        producer.partitions_for(topic.name.clone()).await?;
        let mut consumer = Consumer::connect(ConsumerConfig::new(self.common.bootstrap.client_config())).await?;
        let partition = |partition| (TopicPartition::new(topic.name.clone(), partition), SeekTo::End);
        consumer.assign((0..topic.partitions).map(partition)).await?;

        let count = u64::from(self.rate) * u64::from(self.seconds);
        let run = Run { number: u64::from(std::process::id()), start: Instant::now() };
        let received = tokio::spawn(receive(consumer, run, count));
        let (sent_watch, received_watch) = (Stopwatch::start(), Stopwatch::start());
        let mut waiting = JoinSet::new();
        let period = Duration::from_secs(1) / self.rate;
        for number in 0..count {
            let due = run.start + period * u32::try_from(number)?;
            tokio::time::sleep_until(due.into()).await;
            let partition = (number % topic.partitions.unsigned_abs() as u64) as i32;
            let (sent, value) = (Instant::now(), run.stamp(self.record_bytes as usize));
            let record = ProducerRecord::new(topic.name.clone(), value).partition(partition);
            let delivery = producer.send(record).await?;
            waiting.spawn(async move { delivery.await.map(|_| sent.elapsed()) });
        }
        let mut acknowledged = latencies();
        while let Some(ended) = waiting.join_next().await {
            let latency = ended?.context("a record was not acknowledged")?;
            acknowledged.record(latency.as_micros() as u64)?;
        }
        if self.acks == AcksArgument::None {
            acknowledged.reset();
        }
        let bytes = count * u64::from(self.record_bytes);
        let acknowledged = sent_watch.stop("acknowledged", count, bytes, &acknowledged);
        let received = tokio::time::timeout(PATIENCE, received).await;
        let received = received.context("not every record came back to the consumer")???;
        producer.close().await;
        Ok(vec![acknowledged, received_watch.stop("received", count, bytes, &received)])
    }
}

/// What tells the records of this run from others, and when one was sent.
#[derive(Debug, Clone, Copy)]
struct Run {
    number: u64,
    start: Instant,
}

impl Run {
    /// A value of `size` bytes that says when it was made.
    fn stamp(&self, size: usize) -> Bytes {
        let mut value = BytesMut::with_capacity(size);
        value.put_u64(self.number);
        value.put_u64(self.start.elapsed().as_nanos() as u64);
        value.resize(size, b'.');
        value.freeze()
    }

    /// How long ago a value was made; `None` for one of somebody else.
    fn age(&self, value: &[u8]) -> Option<Duration> {
        let (number, rest) = value.split_first_chunk()?;
        let (nanos, _) = rest.split_first_chunk()?;
        let made = Duration::from_nanos(u64::from_be_bytes(*nanos));
        (u64::from_be_bytes(*number) == self.number).then(|| self.start.elapsed().saturating_sub(made))
    }
}

/// Reads until `count` records of this run came.
async fn receive(mut consumer: Consumer, run: Run, count: u64) -> Result<Histogram<u64>> {
    let mut latencies = latencies();
    while latencies.len() < count {
        let record = consumer.recv().await?;
        if let Some(age) = record.value.as_deref().and_then(|value| run.age(value)) {
            latencies.record(age.as_micros() as u64)?;
        }
    }
    consumer.close().await;
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_back_and_that_of_others_is_not() {
        let run = Run { number: 7, start: Instant::now() };
        let value = run.stamp(40);
        assert_eq!(value.len(), 40);
        assert!(run.age(&value).is_some_and(|age| age < Duration::from_secs(60)));
        assert_eq!(Run { number: 8, ..run }.age(&value), None);
        assert_eq!(run.age(b"too short"), None);
    }
}
