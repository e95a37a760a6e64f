//! A broker process under attack, and the healthy client whose service is checked after each input.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use ottla_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use ottla_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use ottla_protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_protocol::{Records, Request};
use ottla_tests::batch::BatchSpec;
use ottla_tests::connection::RawConnection;
use ottla_tests::process::{OttlaOptions, OttlaProcess, Usage};
use ottla_tests::wait::{PATIENCE, wait_for};

/// The healthy client is served within this time, whatever goes on.
const SERVED_WITHIN: Duration = Duration::from_secs(5);
/// A hostile connection is closed within this time unless a test says otherwise.
pub(crate) const CLOSED_WITHIN: Duration = Duration::from_secs(5);
/// Resident memory may settle this much above the start: allocators keep what they had to use once.
const MEMORY_SLACK_BYTES: u64 = 48 << 20;

const HEALTHY_TOPIC: &str = "healthy";

pub(crate) struct Victim {
    process: OttlaProcess,
    healthy: RawConnection,
    produced: i64,
    before: Usage,
}

impl Victim {
    pub(crate) fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(settings: &[(&str, &str)]) -> Result<Self> {
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let process = OttlaProcess::start(OttlaOptions { settings, ..Default::default() })?;
        let healthy = RawConnection::open(process.address())?;
        let before = process.usage()?;
        let mut victim = Self { process, healthy, produced: 0, before };
        victim.create_topic(HEALTHY_TOPIC, 1, &[])?;
        for _ in 0..20 {
            victim.serve_healthy()?;
        }
        victim.before = victim.process.usage()?;
        Ok(victim)
    }

    pub(crate) fn process(&self) -> &OttlaProcess {
        &self.process
    }

    pub(crate) fn connect(&self) -> Result<RawConnection> {
        let mut connection = RawConnection::open(self.process.address())?;
        connection.set_read_patience(CLOSED_WITHIN)?;
        Ok(connection)
    }

    /// Asks on a connection of its own.
    pub(crate) fn ask<R: Request>(&self, version: i16, request: &R) -> Result<R::Response> {
        self.connect()?.ask(version, request)
    }

    pub(crate) fn create_topic(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Result<()> {
        let configs = configs
            .iter()
            .map(|(key, value)| CreatableTopicConfig { name: (*key).to_owned(), value: Some((*value).to_owned()) })
            .collect();
        let topic = CreatableTopic {
            name: name.to_owned(),
            num_partitions: partitions,
            replication_factor: 1,
            configs,
            ..Default::default()
        };
        let mut connection = RawConnection::open(self.process.address())?;
        let response = connection.ask(7, &CreateTopicsRequest { topics: vec![topic], ..Default::default() })?;
        let result = response.topics.first().context("a result")?;
        ensure!(result.error_code == 0, "create {name}: {} {:?}", result.error_code, result.error_message);
        Ok(())
    }

    /// Sends bytes on a new connection, which must be closed without an answer.
    pub(crate) fn refuses(&mut self, what: &str, bytes: &[u8]) -> Result<()> {
        let mut connection = self.connect()?;
        connection.send_bytes(bytes)?;
        connection.expect_closed().with_context(|| what.to_owned())?;
        self.check(what)
    }

    /// The oracle after each input. Hostile connections must be gone by now on the client's side.
    pub(crate) fn check(&mut self, what: &str) -> Result<()> {
        self.check_within(what, MEMORY_SLACK_BYTES)
    }

    /// The same, with another bound for what the allocator may have kept.
    pub(crate) fn check_within(&mut self, what: &str, memory_slack_bytes: u64) -> Result<()> {
        let alive = self.process.is_alive()?;
        ensure!(alive, "{what}: the broker ended:\n{}", self.process.output());
        self.serve_healthy().with_context(|| format!("{what}: the healthy client"))?;
        wait_for(&format!("{what}: descriptors and memory are back"), PATIENCE, || {
            let now = self.process.usage()?;
            let (descriptors, memory) = (self.before.descriptors, self.before.resident_bytes + memory_slack_bytes);
            Ok((now.descriptors <= descriptors && now.resident_bytes <= memory).then_some(()))
        })
        .with_context(|| format!("{:?} before, {:?} now", self.before, self.process.usage()))
    }

    /// Accepts what is open now as the state to come back to, such as files of topics that a test has created.
    pub(crate) fn rebase(&mut self) -> Result<()> {
        self.before = self.process.usage()?;
        Ok(())
    }

    /// One produce and one fetch of the healthy client.
    pub(crate) fn serve_healthy(&mut self) -> Result<()> {
        let started = Instant::now();
        let batch = BatchSpec::of(&["healthy"]).build();
        let response = self.healthy.ask(12, &produce(HEALTHY_TOPIC, batch.clone(), 1))?;
        let result = response.responses[0].partition_responses[0].clone();
        ensure!((result.error_code, result.base_offset) == (0, self.produced), "produce: {result:?}");
        let topic = MetadataRequestTopic { name: Some(HEALTHY_TOPIC.to_owned()), ..Default::default() };
        let metadata = self.healthy.ask(12, &MetadataRequest { topics: Some(vec![topic]), ..Default::default() })?;
        ensure!(metadata.topics[0].error_code == 0, "metadata: {metadata:?}");
        let partition =
            FetchPartition { fetch_offset: self.produced, partition_max_bytes: 1 << 20, ..Default::default() };
        let topic = FetchTopic { topic: HEALTHY_TOPIC.to_owned(), partitions: vec![partition], ..Default::default() };
        let fetch = FetchRequest { min_bytes: 1, max_wait_ms: 1000, topics: vec![topic], ..Default::default() };
        let fetched = self.healthy.ask(12, &fetch)?;
        let Records::Bytes(records) = &fetched.responses[0].partitions[0].records else {
            anyhow::bail!("fetch: {fetched:?}")
        };
        ensure!(records.len() == batch.len(), "fetched {} bytes of {}", records.len(), batch.len());
        self.produced += 1;
        ensure!(started.elapsed() < SERVED_WITHIN, "served after {:?}", started.elapsed());
        Ok(())
    }
}

/// A produce request for partition 0 of a topic.
pub(crate) fn produce(topic: &str, batch: Vec<u8>, acks: i16) -> ProduceRequest {
    let data = PartitionProduceData { index: 0, records: Records::Bytes(Bytes::from(batch)) };
    let topic = TopicProduceData { name: topic.to_owned(), partition_data: vec![data], ..Default::default() };
    ProduceRequest { acks, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() }
}
