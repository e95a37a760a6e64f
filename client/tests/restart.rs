//! Goal: a broker that goes away and comes back costs a client time and nothing else. Method: stop and start a broker on
//! the same folder and port while records flow.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which are to panic when something fails")]

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ottla_broker::Broker;
use ottla_client::{Admin, Consumer, ConsumerConfig, NewTopic, Producer, ProducerConfig, ProducerRecord, SeekTo};
use support::{partitions, value, within};

const RECORDS: i32 = 3000;

async fn start(directory: &Path, listen: &str) -> Broker {
    Broker::builder().data_dir(directory).listen(listen).start().await.unwrap()
}

async fn produce_slowly(address: SocketAddr) -> Vec<(i32, i64)> {
    let mut config = ProducerConfig::new(address.to_string());
    config.client.retry_backoff = Duration::from_millis(10);
    config.batch_bytes = 1000;
    let producer = Producer::connect(config).await.unwrap();
    let mut deliveries = Vec::new();
    for index in 0..RECORDS {
        let record = ProducerRecord::new("t", index.to_string()).partition(index % 2);
        deliveries.push(producer.send(record).await.unwrap());
        if index % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let mut acknowledged = Vec::new();
    for delivery in deliveries {
        let record = within(delivery).await.unwrap();
        acknowledged.push((record.partition, record.offset));
    }
    producer.close().await;
    acknowledged
}

async fn consume_all(address: SocketAddr) -> BTreeMap<i32, Vec<(i64, i32)>> {
    let mut config = ConsumerConfig::new(address.to_string());
    config.client.retry_backoff = Duration::from_millis(10);
    let mut consumer = Consumer::connect(config).await.unwrap();
    consumer.assign(partitions("t", 2).into_iter().map(|p| (p, SeekTo::Beginning))).await.unwrap();
    let mut read: BTreeMap<i32, Vec<(i64, i32)>> = BTreeMap::new();
    for _ in 0..RECORDS {
        let record = within(consumer.recv()).await.unwrap();
        read.entry(record.partition).or_default().push((record.offset, value(&record).parse().unwrap()));
    }
    read
}

#[tokio::test]
async fn producers_and_consumers_outlive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut broker = start(directory.path(), "127.0.0.1:0").await;
    let address = broker.addr();
    let admin = Admin::connect(address.to_string()).await.unwrap();
    admin.create_topic(NewTopic::new("t", 2)).await.unwrap();
    let (producing, consuming) = (tokio::spawn(produce_slowly(address)), tokio::spawn(consume_all(address)));
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        within(broker.stop()).await.unwrap();
        broker = start(directory.path(), &address.to_string()).await;
    }
    let acknowledged = producing.await.unwrap();
    let read = consuming.await.unwrap();
    for partition in 0..2 {
        let expected: Vec<(i64, i32)> = (0..).zip((0..RECORDS).filter(|index| index % 2 == partition)).collect();
        assert_eq!(read[&partition], expected, "each once, in order, at its offset");
    }
    for (index, (partition, offset)) in acknowledged.into_iter().enumerate() {
        assert_eq!((partition, offset), (index as i32 % 2, index as i64 / 2));
    }
    admin.list_topics().await.unwrap();
    within(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn nobody_there_is_said_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path(), "127.0.0.1:0").await;
    let address = broker.addr();
    broker.stop().await.unwrap();
    let error = Admin::connect(address.to_string()).await.unwrap_err();
    assert!(error.is_retriable());
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn everything_works_over_ipv6() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("NOT CHECKED: this machine has no IPv6 loopback");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path(), "[::1]:0").await;
    let address = broker.addr();
    assert!(address.is_ipv6());
    Admin::connect(address.to_string()).await.unwrap().create_topic(NewTopic::new("t", 2)).await.unwrap();
    let (_, read) = tokio::join!(produce_slowly(address), consume_all(address));
    assert_eq!(read.values().map(Vec::len).sum::<usize>(), RECORDS as usize);
    within(broker.stop()).await.unwrap();
}
