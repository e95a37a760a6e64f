//! Reading every record that is there, from the beginning of all partitions to what was their end.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use ottla_client::{Consumer, ConsumerConfig, SeekTo, TopicPartition};

use super::produce::{Load, Pace, produce};
use super::result::{Measured, Stopwatch, latencies};
use super::{BenchTopic, Common};
use crate::progress::Progress;

/// How long no record may come before the rest is given up.
const PATIENCE: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct FetchBench {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(flatten)]
    load: Load,
    /// The most that one answer carries of one partition
    #[arg(long, value_name = "BYTES", default_value_t = 1_048_576)]
    partition_fetch_bytes: usize,
}

impl FetchBench {
    pub(super) async fn measure(&self, topic: &BenchTopic) -> Result<Measured> {
        let bootstrap = &self.common.bootstrap;
        if self.common.topic.is_none() {
            let pace = Pace { records: Some(self.load.records()), time: None, rate: None };
            produce(topic, &self.load, pace, bootstrap, false).await.context("filling the topic")?;
        }
        let mut config = ConsumerConfig::new(bootstrap.client_config());
        config.max_partition_fetch_bytes = self.partition_fetch_bytes;
        let mut consumer = Consumer::connect(config).await?;
        let partitions: Vec<TopicPartition> =
            (0..topic.partitions).map(|partition| TopicPartition::new(topic.name.clone(), partition)).collect();
        let mut ends = self.ends(&consumer, &partitions).await?;
        let progress_is_seen = !self.common.quiet && io::stderr().is_terminal();
        let mut progress = Progress::new(progress_is_seen, None, SHORT);
        let watch = Stopwatch::start();
        consumer.assign(partitions.into_iter().map(|partition| (partition, SeekTo::Beginning))).await?;
        let limit = self.common.topic.as_ref().and(self.load.records).unwrap_or(u64::MAX);
        let (mut records, mut bytes) = (0, 0);
        while !ends.is_empty() && records < limit {
            let batch = tokio::time::timeout(PATIENCE, consumer.recv_batch()).await;
            let batch = batch.with_context(|| format!("nothing more came after {records} records"))??;
            if ends.get(batch.partition()).is_some_and(|end| batch.next_offset() >= *end) {
                ends.remove(batch.partition());
            }
            for record in batch.records()? {
                records += 1;
                bytes += record?.value.map_or(0, |value| value.len() as u64);
            }
            progress.update(bytes, records);
        }
        let measured = watch.stop("fetch", records, bytes, &latencies());
        progress.finish();
        consumer.close().await;
        Ok(measured)
    }

    /// The end of each partition that has any record.
    async fn ends(&self, consumer: &Consumer, partitions: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, i64>> {
        let beginnings = consumer.beginning_offsets(partitions).await?;
        let mut ends = consumer.end_offsets(partitions).await?;
        ends.retain(|partition, end| beginnings.get(partition).is_none_or(|beginning| beginning < end));
        Ok(ends)
    }
}
