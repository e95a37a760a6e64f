//! Rolls, retention, merging and compaction all at work in a real process that is killed with -9 again and again: whatever was
//! acknowledged and the rules keep is there after each restart, once, at its offset and in order.
//!
//! Method: segments of a few kilobytes, rounds of retention, merging and compaction without a pause, an idempotent producer that
//! knows nothing of the kills, and kills after a random number of sends and acknowledgements, by seed (`KILLS_SEED`
//! for another). At the end it is held against each of the four that it did something.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ottla_client::{Admin, ClientConfig, Delivery, NewTopic, Producer, ProducerConfig, ProducerRecord};
use ottla_protocol::Records;
use ottla_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla_protocol::records::batches_lenient;
use ottla_tests::connection::RawConnection;
use ottla_tests::process::{OttlaOptions, OttlaProcess, free_port};
use ottla_tests::wait::{PATIENCE, wait_for};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Kills go on for so long, at most,
const TIME: Duration = Duration::from_secs(15);
/// and are so many.
const KILLS_MAX: usize = 40;
const SEGMENT_BYTES: &str = "4000";
const RETENTION_BYTES: i64 = 60_000;
const VALUE_BYTES: usize = 300;
/// What a record takes at most with everything around it.
const RECORD_BYTES_MAX: i64 = VALUE_BYTES as i64 + 150;
const KEYS: u64 = 40;
const OFFSET_OUT_OF_RANGE: i16 = 1;

/// Merged only, cut at its start by size, and compacted.
const TOPICS: [(&str, &[(&str, &str)]); 3] = [
    ("kept", &[("retention.ms", "-1")]),
    ("bounded", &[("retention.ms", "-1"), ("retention.bytes", "60000")]),
    ("compacted", &[("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.05")]),
];

fn start(data_dir: &Path, port: u16) -> Result<OttlaProcess> {
    let settings = [
        ("log.retention.check.interval.ms", "10"),
        ("log.merge.interval.ms", "1"),
        ("log.cleaner.backoff.ms", "1"),
        ("log.flush.offset.checkpoint.interval.ms", "50"),
    ];
    OttlaProcess::start(OttlaOptions {
        data_dir: Some(data_dir.to_owned()),
        port: Some(port),
        settings: settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..OttlaOptions::default()
    })
}

/// A record as it was sent: the number of it among all of its topic, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sent {
    number: u64,
    key: String,
}

/// A record as it is read.
#[derive(Debug)]
struct Read {
    offset: i64,
    sent: Sent,
}

/// What is known of one topic.
#[derive(Debug, Default)]
struct Topic {
    sent: u64,
    /// By offset.
    acknowledged: BTreeMap<i64, Sent>,
    log_start: i64,
    rewritten: bool,
}

impl Topic {
    fn next(&mut self, random: &mut StdRng) -> Sent {
        let number = self.sent;
        self.sent += 1;
        Sent { number, key: format!("key {}", random.random_range(0..KEYS)) }
    }
}

fn value(number: u64) -> Vec<u8> {
    let mut value = vec![b'v'; VALUE_BYTES];
    value[..8].copy_from_slice(&number.to_be_bytes());
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_and_is_to_be_kept_survives_every_kill_of_a_busy_broker() -> Result<()> {
    let seed = match std::env::var("KILLS_SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => 1,
    };
    play(seed).await.with_context(|| format!("KILLS_SEED={seed}"))
}

async fn play(seed: u64) -> Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir()?;
    let port = free_port()?;
    let mut process = start(directory.path(), port)?;
    let bootstrap = process.address().to_string();
    let admin = Admin::connect(ClientConfig::new(bootstrap.as_str())).await?;
    for (name, configs) in TOPICS {
        let topic = NewTopic::new(name, 1).config("internal.segment.bytes", SEGMENT_BYTES);
        let topic = configs.iter().fold(topic, |topic, (key, value)| topic.config(*key, *value));
        admin.create_topic(topic).await?;
    }
    let mut config = ProducerConfig::new(bootstrap.as_str());
    config.batch_bytes = 1_000;
    config.linger = Duration::from_millis(1);
    config.delivery_timeout = Duration::from_secs(120);
    let producer = Producer::connect(config).await?;

    let mut topics: BTreeMap<&str, Topic> = TOPICS.map(|(name, _)| (name, Topic::default())).into();
    let (began, mut kills) = (Instant::now(), 0);
    while kills < KILLS_MAX && began.elapsed() < TIME {
        let mut deliveries: Vec<(&str, Sent, Delivery)> = Vec::new();
        for _ in 0..random.random_range(20..250) {
            let (name, _) = TOPICS[random.random_range(0..TOPICS.len())];
            let sent = topics.get_mut(name).context("a topic")?.next(&mut random);
            let record = ProducerRecord::new(name, value(sent.number)).key(sent.key.clone()).partition(0);
            deliveries.push((name, sent, producer.send(record).await?));
        }
        // Killed when some of them are acknowledged and others are not.
        let awaited = random.random_range(0..=deliveries.len());
        let mut rest = deliveries.split_off(awaited);
        acknowledge(deliveries, &mut topics).await?;
        process.kill()?;
        kills += 1;
        process = start(directory.path(), port)?;
        acknowledge(std::mem::take(&mut rest), &mut topics).await?;
        for (name, topic) in &mut topics {
            check(process.address(), name, topic).with_context(|| format!("{name} after {kills} kills"))?;
        }
    }
    producer.close().await;
    ensure!(kills >= 3, "{kills} kills in {TIME:?}");
    all_were_at_work(directory.path(), &topics, &process)?;
    ensure!(process.terminate()?.success(), "SIGTERM is a clean stop");
    println!("{kills} kills, {:?} records", topics.values().map(|topic| topic.sent).collect::<Vec<_>>());
    Ok(())
}

async fn acknowledge(deliveries: Vec<(&str, Sent, Delivery)>, topics: &mut BTreeMap<&str, Topic>) -> Result<()> {
    for (name, sent, delivery) in deliveries {
        let offset = delivery.await?.offset;
        let topic = topics.get_mut(name).context("a topic")?;
        let other = topic.acknowledged.insert(offset, sent.clone());
        ensure!(other.is_none(), "{name}: offset {offset} was given to {other:?} and to {sent:?}");
    }
    Ok(())
}

/// Reads all of a topic, while retention, merging and compaction go on, and holds it against what was acknowledged. Nothing is on
/// its way.
fn check(address: SocketAddr, name: &str, topic: &mut Topic) -> Result<()> {
    let mut client = Client(RawConnection::open(address)?);
    let (start, reads) = client.read_all(name)?;
    ensure!(start >= topic.log_start, "the log began at {}, and begins at {start}", topic.log_start);
    topic.log_start = start;
    for read in &reads {
        let acknowledged = topic.acknowledged.get(&read.offset);
        ensure!(acknowledged == Some(&read.sent), "at {} is {:?}, not {acknowledged:?}", read.offset, read.sent);
    }
    let in_order = |a: &Read, b: &Read| a.offset < b.offset && a.sent.number < b.sent.number;
    ensure!(reads.is_sorted_by(in_order), "not in order, or twice");
    let there: BTreeSet<i64> = reads.iter().map(|read| read.offset).collect();
    let kept = topic.acknowledged.range(start..);
    let expected: BTreeSet<i64> = match name {
        "compacted" => {
            kept.map(|(offset, sent)| (&sent.key, *offset)).collect::<BTreeMap<_, _>>().into_values().collect()
        }
        _ => kept.map(|(offset, _)| *offset).collect(),
    };
    ensure!(expected.is_subset(&there), "missing: {:?}", expected.difference(&there).collect::<Vec<_>>());
    let end = topic.acknowledged.last_key_value().map_or(0, |(offset, _)| offset + 1);
    match name {
        "kept" => ensure!(start == 0, "nothing deletes, and the log begins at {start}"),
        "bounded" => {
            ensure!(start == 0 || (end - start) * RECORD_BYTES_MAX >= RETENTION_BYTES, "{start} to {end} is left")
        }
        _ => topic.rewritten |= there.len() < topic.acknowledged.len(),
    }
    Ok(())
}

/// That nothing was lost says little where nothing was done.
fn all_were_at_work(directory: &Path, topics: &BTreeMap<&str, Topic>, process: &OttlaProcess) -> Result<()> {
    ensure!(topics["bounded"].log_start > 0, "retention removed nothing");
    ensure!(topics["compacted"].rewritten, "compaction removed nothing");
    let segments = || -> Result<usize> {
        let files = std::fs::read_dir(directory.join("kept-0"))?.collect::<std::io::Result<Vec<_>>>()?;
        Ok(files.iter().filter(|file| file.path().extension().is_some_and(|e| e == "log")).count())
    };
    // Full ones are not merged: those that a restart or the linger of the producer left small are.
    let bytes = i64::try_from(topics["kept"].sent)? * RECORD_BYTES_MAX;
    wait_for("small segments are merged", PATIENCE, || {
        Ok((segments()? as i64 <= 2 * bytes / SEGMENT_BYTES.parse::<i64>()? + 2).then_some(()))
    })
    .with_context(|| format!("{} segments of {bytes} bytes\n{}", segments().unwrap_or_default(), process.output()))
}

struct Client(RawConnection);

impl Client {
    /// The first offset that can be read, and all records from there on.
    fn read_all(&mut self, topic: &str) -> Result<(i64, Vec<Read>)> {
        let (mut at, end) = (self.0.list_offset(topic, -2)?, self.0.list_offset(topic, -1)?);
        let mut start = at;
        let mut reads: Vec<Read> = Vec::new();
        while at < end {
            let partition = FetchPartition { fetch_offset: at, partition_max_bytes: 1 << 20, ..Default::default() };
            let wanted = FetchTopic { topic: topic.to_owned(), partitions: vec![partition], ..Default::default() };
            let request = FetchRequest { min_bytes: 1, max_wait_ms: 100, topics: vec![wanted], ..Default::default() };
            let response = self.0.ask(12, &request)?;
            let answer = &response.responses[0].partitions[0];
            if answer.error_code == OFFSET_OUT_OF_RANGE {
                // Retention was faster.
                start = self.0.list_offset(topic, -2)?;
                ensure!(start > at, "{at} is out of a range that begins at {start}");
                reads.clear();
                at = start;
                continue;
            }
            ensure!(answer.error_code == 0, "offset {at}: error {}", answer.error_code);
            let Records::Bytes(records) = &answer.records else { bail!("offset {at}: no records") };
            let before = at;
            for batch in batches_lenient(records.clone()) {
                let batch = batch?;
                batch.check_crc()?;
                ensure!(batch.base_offset() <= at && at <= batch.last_offset(), "at {at} is {batch:?}");
                for record in batch.records(1 << 20)? {
                    let record = record?;
                    if record.offset < at {
                        continue;
                    }
                    let (key, value) = (record.key.context("a key")?, record.value.context("a value")?);
                    let number = u64::from_be_bytes(value[..8].try_into()?);
                    ensure!(value.len() == VALUE_BYTES, "{} bytes", value.len());
                    let key = String::from_utf8(key.to_vec())?;
                    reads.push(Read { offset: record.offset, sent: Sent { number, key } });
                }
                at = batch.last_offset() + 1;
            }
            ensure!(at > before, "nothing at offset {at}");
        }
        Ok((start, reads))
    }
}
