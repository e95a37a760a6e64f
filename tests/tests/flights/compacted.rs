//! The same month in a compacted topic, in a real process that is killed in the middle of compaction: it ends with exactly the
//! last event of each tail number, each at the offset that it was given.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ottla_client::{Admin, ClientConfig, Consumer, ConsumerConfig, NewTopic, Producer, ProducerConfig, ProducerRecord};
use ottla_client::{SeekTo, TopicPartition};
use ottla_tests::process::{OttlaOptions, OttlaProcess};
use ottla_tests::wait::PATIENCE;

use crate::january::{PARTITIONS, TOPIC, flights};

/// Of a record whose only purpose is that the segments before it are sealed.
const END: &str = "END";

fn start(data_dir: &Path, bytes_per_second: &str) -> OttlaProcess {
    let settings = [
        ("log.cleaner.backoff.ms", "50"),
        ("log.cleaner.io.max.bytes.per.second", bytes_per_second),
        // Small enough for more than one pass over each partition.
        ("log.cleaner.dedupe.buffer.size", "1"),
    ];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let options = OttlaOptions { data_dir: Some(data_dir.to_owned()), settings, ..OttlaOptions::default() };
    OttlaProcess::start(options).expect("the process starts")
}

async fn create_topic(bootstrap: &str) {
    let admin = Admin::connect(ClientConfig::new(bootstrap)).await.expect("the broker answers");
    let mut topic = NewTopic::new(TOPIC, PARTITIONS);
    for (key, value) in [
        ("cleanup.policy", "compact"),
        ("internal.segment.bytes", "100000"),
        ("min.cleanable.dirty.ratio", "0"),
        ("max.compaction.lag.ms", "100"),
    ] {
        topic.configs.push((key.into(), value.into()));
    }
    admin.create_topic(topic).await.expect("the topic is new");
    admin.close().await;
}

/// Partition, offset and value of the last event of each tail number, counted from the file and the answers.
type Truth = BTreeMap<String, (i32, i64, String)>;

async fn load(producer: &Producer) -> Truth {
    let flights = flights();
    let mut deliveries = Vec::new();
    for flight in &flights {
        deliveries.push(producer.send(flight.record()).await.expect("there is room"));
    }
    let mut truth = Truth::new();
    for (flight, delivery) in flights.iter().zip(deliveries) {
        let at = delivery.await.expect("delivered");
        truth.insert(flight.tail_number.clone(), (at.partition, at.offset, flight.row.clone()));
    }
    truth
}

/// Seals what was written before, once it is old enough.
async fn send_ends(producer: &Producer) {
    for partition in 0..PARTITIONS {
        let record = ProducerRecord::new(TOPIC, "").key(END).partition(partition);
        producer.send(record).await.expect("there is room").await.expect("delivered");
    }
}

/// Every record of the topic but the ends.
async fn read_all(bootstrap: &str) -> Vec<(String, (i32, i64, String))> {
    let mut consumer = Consumer::connect(ConsumerConfig::new(bootstrap)).await.expect("the broker answers");
    let all: Vec<TopicPartition> = (0..PARTITIONS).map(|partition| TopicPartition::new(TOPIC, partition)).collect();
    let ends = consumer.end_offsets(&all).await.expect("the broker tells");
    consumer.assign(all.iter().map(|partition| (partition.clone(), SeekTo::Beginning))).await.expect("they exist");
    let mut records = Vec::new();
    while all.iter().any(|partition| consumer.position(partition).expect("assigned") < ends[partition]) {
        for record in consumer.poll(1_000, Duration::from_secs(5)).await.expect("records can be read") {
            let text =
                |bytes: Option<bytes::Bytes>| String::from_utf8(bytes.expect("not null").to_vec()).expect("text");
            let (key, value) = (text(record.key), text(record.value));
            if key != END {
                records.push((key, (record.partition, record.offset, value)));
            }
        }
    }
    consumer.close().await;
    records
}

fn compaction_is_under_way(data_dir: &Path) -> bool {
    let partitions = (0..PARTITIONS).map(|partition| data_dir.join(format!("{TOPIC}-{partition}")));
    partitions
        .filter_map(|dir| std::fs::read_dir(dir).ok())
        .flatten()
        .any(|file| file.is_ok_and(|file| file.path().extension().is_some_and(|extension| extension == "cleaned")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_ends_with_the_last_event_of_each_tail_number_though_killed_while_compacting() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    // Slow, so that the kill comes in the middle.
    let process = start(directory.path(), "3000000");
    let bootstrap = process.address().to_string();
    create_topic(&bootstrap).await;
    let mut config = ProducerConfig::new(bootstrap.as_str());
    config.batch_bytes = 16_384;
    let producer = Producer::connect(config).await.expect("the broker answers");
    let truth = load(&producer).await;
    producer.close().await;
    let started = std::time::Instant::now();
    while !compaction_is_under_way(directory.path()) {
        assert!(started.elapsed() < PATIENCE, "no compaction within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    process.kill().expect("it was alive");

    let process = start(directory.path(), "1e12");
    let bootstrap = process.address().to_string();
    let during = read_all(&bootstrap).await;
    assert!(during.len() > truth.len(), "killed before it was done");
    let newest: Truth = during.into_iter().collect();
    assert_eq!(newest, truth, "the last event of each is there at every time");
    let producer = Producer::connect(ProducerConfig::new(bootstrap.as_str())).await.expect("the broker answers");
    let started = std::time::Instant::now();
    loop {
        send_ends(&producer).await;
        let records = read_all(&bootstrap).await;
        if records.len() == truth.len() {
            assert_eq!(records.into_iter().collect::<Truth>(), truth);
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{} records of {} keys after {PATIENCE:?}", records.len(), truth.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    producer.close().await;
    assert!(process.terminate().expect("it ends").success());
}
