//! Goal: librdkafka works unmodified, with its default settings: every codec, idempotence, assignment, replay from offsets and
//! times, administration. Method: a broker that runs already, at BOOTSTRAP; records are produced and read back whole.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};

const TIMEOUT: Duration = Duration::from_secs(30);

fn bootstrap() -> String {
    std::env::var("BOOTSTRAP").expect("BOOTSTRAP=HOST:PORT names the broker to test; tests/foreign/run sets it")
}

fn config() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap());
    config
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

async fn topic(prefix: &str, partitions: i32) -> (AdminClient<DefaultClientContext>, String) {
    let name = format!("{prefix}-{}-{}", std::process::id(), now_ms());
    let admin: AdminClient<DefaultClientContext> = config().create().unwrap();
    let new = NewTopic::new(&name, partitions, TopicReplication::Fixed(1)).set("retention.ms", "-1");
    for result in admin.create_topics([&new], &AdminOptions::new()).await.unwrap() {
        result.unwrap();
    }
    (admin, name)
}

fn consumer(topic: &str, partitions: i32, offset: Offset) -> BaseConsumer {
    let consumer: BaseConsumer = config()
        .set("group.id", format!("group-{topic}"))
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, offset).unwrap();
    }
    consumer.assign(&list).unwrap();
    consumer
}

#[derive(Debug, PartialEq, Eq, Clone)]
struct Seen {
    offset: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp: Option<i64>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn read(consumer: &BaseConsumer, count: usize) -> BTreeMap<i32, Vec<Seen>> {
    let mut seen: BTreeMap<i32, Vec<Seen>> = BTreeMap::new();
    for read in 0..count {
        let message = consumer.poll(TIMEOUT).unwrap_or_else(|| panic!("{read} of {count} records within {TIMEOUT:?}"));
        let message = message.unwrap();
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
        });
        seen.entry(message.partition()).or_default().push(Seen {
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            timestamp: message.timestamp().to_millis(),
            headers,
        });
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn every_codec_with_and_without_idempotence_and_all_acks() {
    for (codec, idempotent, acks) in [
        ("none", "true", "all"),
        ("gzip", "true", "all"),
        ("snappy", "true", "all"),
        ("lz4", "true", "all"),
        ("zstd", "true", "all"),
        ("none", "false", "1"),
        ("zstd", "false", "0"),
    ] {
        let (admin, topic) = topic(&format!("codec-{codec}-{acks}"), 3).await;
        let producer: FutureProducer = config()
            .set("compression.type", codec)
            .set("enable.idempotence", idempotent)
            .set("acks", acks)
            .set("linger.ms", "5")
            .create()
            .unwrap();
        let start = now_ms() - 100_000;
        let mut sent = Vec::new();
        for index in 0..3_000_i64 {
            let (key, value) = (format!("key {index}"), format!("value {index} ").repeat(1 + index as usize % 20));
            let headers = OwnedHeaders::new().insert(Header { key: "index", value: Some(&index.to_string()) });
            let record = FutureRecord::to(&topic).key(&key).payload(&value).timestamp(start + index).headers(headers);
            sent.push(producer.send_result(record).map_err(|(error, _)| error).unwrap());
        }
        for delivery in sent {
            delivery.await.unwrap().unwrap();
        }
        let consumer = consumer(&topic, 3, Offset::Beginning);
        let seen = read(&consumer, 3_000);
        let mut indexes: Vec<i64> = Vec::new();
        for records in seen.values() {
            let own: Vec<i64> = records.iter().map(|record| record.timestamp.unwrap() - start).collect();
            assert!(own.is_sorted(), "{codec}: the order of a partition is that of sending");
            assert!(records.iter().zip(0..).all(|(record, offset)| record.offset == offset), "{codec}: dense offsets");
            for (record, index) in records.iter().zip(&own) {
                assert_eq!(record.key.as_deref(), Some(format!("key {index}").as_bytes()));
                assert_eq!(record.headers, [("index".to_owned(), Some(index.to_string().into_bytes()))]);
            }
            indexes.extend(own);
        }
        indexes.sort_unstable();
        assert!(indexes.iter().copied().eq(0..3_000), "{codec}: every record once");
        admin.delete_topics(&[&topic], &AdminOptions::new()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_from_an_offset_and_from_a_time() {
    let (_admin, topic) = topic("replay", 1).await;
    let producer: FutureProducer = config().create().unwrap();
    let start = now_ms() - 1_000_000;
    for index in 0..500_i64 {
        let value = index.to_string();
        let record = FutureRecord::<(), _>::to(&topic).payload(&value).timestamp(start + index * 1_000);
        producer.send(record, TIMEOUT).await.map_err(|(error, _)| error).unwrap();
    }
    let from_offset = read(&consumer(&topic, 1, Offset::Offset(123)), 10);
    assert_eq!(from_offset[&0][0].offset, 123);
    let reader = consumer(&topic, 1, Offset::Beginning);
    let mut times = TopicPartitionList::new();
    times.add_partition_offset(&topic, 0, Offset::Offset(start + 250_500)).unwrap();
    let found = reader.offsets_for_times(times, TIMEOUT).unwrap();
    assert_eq!(found.elements()[0].offset(), Offset::Offset(251));
    assert_eq!(reader.fetch_watermarks(&topic, 0, TIMEOUT).unwrap(), (0, 500));
}

#[tokio::test(flavor = "multi_thread")]
async fn administration() {
    let (admin, topic) = topic("admin", 2).await;
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
    for result in admin.create_partitions([&NewPartitions::new(&topic, 4)], &options).await.unwrap() {
        result.unwrap();
    }
    let metadata = admin.inner().fetch_metadata(Some(&topic), TIMEOUT).unwrap();
    assert_eq!(metadata.topics()[0].partitions().len(), 4);
    let described = admin.describe_configs([&ResourceSpecifier::Topic(&topic)], &options).await.unwrap();
    let resource = described.into_iter().next().unwrap().unwrap();
    assert_eq!(resource.get("retention.ms").unwrap().value.as_deref(), Some("-1"));
    for result in admin.delete_topics(&[&topic], &options).await.unwrap() {
        result.unwrap();
    }
    let all = admin.inner().fetch_metadata(None, TIMEOUT).unwrap();
    assert!(all.topics().iter().all(|other| other.name() != topic));
}
