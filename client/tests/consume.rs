//! Goal: a consumer hands out what is in the log from where it was told to, each record once. Method: produce to a real
//! broker, then read it in every way there is.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which are to panic when something fails")]

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ottla_client::{
    Compression, Consumer, ConsumerConfig, Error, ErrorCode, IsolationLevel, OffsetReset, OffsetSpec, ProducerRecord,
    SeekTo, TopicPartition,
};
use ottla_protocol::ApiKey;
use support::faulty_proxy::{Fault, FaultyProxy};
use support::{TestCluster, partitions, value, within};

/// The time of record 0.
const EPOCH: i64 = 1_700_000_000_000;

/// A topic whose records in each partition are numbered from 0 and one second apart.
async fn numbered(cluster: &TestCluster, partitions: i32, count: i64, compression: Compression) -> String {
    let topic = cluster.topic_with(partitions, &[("retention.ms", "-1")]).await;
    let producer = cluster
        .producer_with(|config| {
            config.compression = compression;
            config.batch_bytes = 1000;
        })
        .await;
    let mut deliveries = Vec::new();
    for number in 0..count {
        for partition in 0..partitions {
            let record = ProducerRecord::new(topic.as_str(), number.to_string()).partition(partition);
            deliveries.push(producer.send(record.timestamp(EPOCH + number * 1000)).await.unwrap());
        }
    }
    for delivery in deliveries {
        within(delivery).await.unwrap();
    }
    producer.close().await;
    topic
}

async fn numbers(consumer: &mut Consumer, count: usize) -> Vec<i64> {
    let mut numbers = Vec::new();
    for _ in 0..count {
        numbers.push(value(&within(consumer.recv()).await.unwrap()).parse().unwrap());
    }
    numbers
}

#[tokio::test]
async fn starts_at_the_beginning_the_end_an_offset_and_a_time() {
    let cluster = TestCluster::start().await;
    for compression in [Compression::None, Compression::Zstd] {
        let topic = numbered(&cluster, 1, 500, compression).await;
        let partition = TopicPartition::new(topic.as_str(), 0);
        let mut consumer = cluster.consumer().await;
        for (to, first) in [
            (SeekTo::Beginning, 0),
            (SeekTo::Offset(123), 123),
            (SeekTo::Timestamp(EPOCH + 200_000), 200),
            (SeekTo::Timestamp(EPOCH + 200_001), 201),
            (SeekTo::Timestamp(0), 0),
        ] {
            consumer.assign([(partition.clone(), to)]).await.unwrap();
            assert_eq!(consumer.position(&partition).unwrap(), first);
            let expected: Vec<i64> = (first..first + 50).collect();
            assert_eq!(numbers(&mut consumer, 50).await, expected, "{to:?}");
            assert_eq!(consumer.position(&partition).unwrap(), first + 50);
        }
        for to in [SeekTo::End, SeekTo::Timestamp(EPOCH + 500_000)] {
            assert_eq!(consumer.seek(&partition, to).await.unwrap(), 500);
        }
        let waiting = consumer.poll(10, Duration::from_millis(100)).await.unwrap();
        assert!(waiting.is_empty());
        let producer = cluster.producer().await;
        producer.send(ProducerRecord::new(topic.as_str(), "500")).await.unwrap();
        assert_eq!(numbers(&mut consumer, 1).await, [500]);
        assert_eq!(consumer.lag(&partition).unwrap(), Some(0));
    }
    cluster.stop().await;
}

#[tokio::test]
async fn many_partitions_come_complete_and_each_in_order() {
    let cluster = TestCluster::start().await;
    let topic = numbered(&cluster, 20, 200, Compression::Lz4).await;
    let mut consumer = cluster.consumer_with(|config| config.max_partition_fetch_bytes = 2000).await;
    let all = partitions(&topic, 20);
    consumer.assign(all.iter().map(|partition| (partition.clone(), SeekTo::Beginning))).await.unwrap();
    assert_eq!(consumer.assignment(), all);
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    for _ in 0..4000 {
        let record = within(consumer.recv()).await.unwrap();
        let next = next.entry(record.partition).or_default();
        assert_eq!((record.offset, value(&record)), (*next, next.to_string()));
        assert_eq!(record.timestamp, EPOCH + *next * 1000);
        *next += 1;
    }
    assert!(next.len() == 20 && next.values().all(|next| *next == 200));
    cluster.stop().await;
}

#[tokio::test]
async fn batches_and_records_can_be_mixed() {
    let cluster = TestCluster::start().await;
    let topic = numbered(&cluster, 1, 300, Compression::Snappy).await;
    let partition = TopicPartition::new(topic.as_str(), 0);
    let mut consumer = cluster.consumer().await;
    consumer.assign([(partition.clone(), SeekTo::Offset(3))]).await.unwrap();
    assert_eq!(numbers(&mut consumer, 2).await, [3, 4]);
    let rest = within(consumer.recv_batch()).await.unwrap();
    assert_eq!(rest.start_offset(), 5);
    let mut next = 5;
    for record in rest.records().unwrap() {
        assert_eq!(record.unwrap().offset, next);
        next += 1;
    }
    while next < 300 {
        let batch = within(consumer.recv_batch()).await.unwrap();
        assert_eq!((batch.start_offset(), batch.compression()), (next, Compression::Snappy));
        next = batch.next_offset();
        assert_eq!(consumer.position(&partition).unwrap(), next);
    }
    cluster.stop().await;
}

#[tokio::test]
async fn paused_partitions_wait_and_the_others_go_on() {
    let cluster = TestCluster::start().await;
    let topic = numbered(&cluster, 2, 100, Compression::None).await;
    let both = partitions(&topic, 2);
    let mut consumer = cluster.consumer().await;
    consumer.assign(both.iter().map(|partition| (partition.clone(), SeekTo::Beginning))).await.unwrap();
    let first = within(consumer.recv()).await.unwrap();
    let paused = &both[first.partition as usize];
    consumer.pause(std::slice::from_ref(paused)).unwrap();
    for offset in 0..100 {
        let record = within(consumer.recv()).await.unwrap();
        assert_eq!((record.partition, record.offset), (1 - first.partition, offset));
    }
    assert!(consumer.poll(1, Duration::from_millis(700)).await.unwrap().is_empty());
    assert_eq!(consumer.position(paused).unwrap(), 1);
    consumer.resume(std::slice::from_ref(paused)).unwrap();
    let expected: Vec<i64> = (1..100).collect();
    assert_eq!(numbers(&mut consumer, 99).await, expected);
    cluster.stop().await;
}

#[tokio::test]
async fn a_position_outside_the_log_follows_the_policy() {
    let cluster = TestCluster::start().await;
    let topic = numbered(&cluster, 1, 50, Compression::None).await;
    let partition = TopicPartition::new(topic.as_str(), 0);
    let admin = cluster.admin().await;
    let low = admin.delete_records([(partition.clone(), 20)]).await.remove(&partition).unwrap().unwrap();
    assert_eq!(low, 20);

    let mut earliest = cluster.consumer_with(|config| config.auto_offset_reset = OffsetReset::Earliest).await;
    earliest.assign([(partition.clone(), SeekTo::Offset(5))]).await.unwrap();
    assert_eq!(numbers(&mut earliest, 1).await, [20]);

    let mut none = cluster.consumer_with(|config| config.auto_offset_reset = OffsetReset::None).await;
    none.assign([(partition.clone(), SeekTo::Offset(1000))]).await.unwrap();
    let error = within(none.recv()).await.unwrap_err();
    assert!(matches!(error, Error::OffsetOutOfRange { offset: 1000, .. }), "{error}");
    none.seek(&partition, SeekTo::Beginning).await.unwrap();
    assert_eq!(numbers(&mut none, 1).await, [20], "the stream goes on after an error");

    let mut latest = cluster.consumer().await;
    latest.assign([(partition.clone(), SeekTo::Offset(1000))]).await.unwrap();
    let waiting = tokio::spawn(async move { within(latest.recv()).await.unwrap().offset });
    let producer = cluster.producer().await;
    while !waiting.is_finished() {
        producer.send(ProducerRecord::new(topic.as_str(), "new")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(waiting.await.unwrap() >= 50);
    cluster.stop().await;
}

#[tokio::test]
async fn offsets_are_told_by_place_and_time() {
    let cluster = TestCluster::start().await;
    let topic = numbered(&cluster, 2, 40, Compression::Gzip).await;
    let both = partitions(&topic, 2);
    let consumer = cluster.consumer().await;
    assert_eq!(consumer.partitions_for(topic.as_str()).await.unwrap().partitions.len(), 2);
    let begin = consumer.beginning_offsets(&both).await.unwrap();
    let end = consumer.end_offsets(&both).await.unwrap();
    assert!(begin.values().all(|offset| *offset == 0) && end.values().all(|offset| *offset == 40));
    let times = [(both[0].clone(), EPOCH + 7_500), (both[1].clone(), EPOCH + 40_000)];
    let found = consumer.offsets_for_times(times).await.unwrap();
    let listed = found[&both[0]].unwrap();
    assert_eq!((listed.offset, listed.timestamp), (8, EPOCH + 8_000));
    assert_eq!(found[&both[1]], None);
    let admin = cluster.admin().await;
    let highest =
        admin.list_offsets([(both[0].clone(), OffsetSpec::MaxTimestamp)], IsolationLevel::ReadUncommitted).await;
    assert_eq!(highest[&both[0]].as_ref().unwrap().offset, 39);
    let error = consumer.end_offsets(&partitions(&topic, 3)).await.unwrap_err();
    assert!(matches!(error, Error::UnknownPartition { count: 2, .. }), "{error}");
    cluster.stop().await;
}

#[tokio::test]
async fn everything_can_be_moved_to_another_task() {
    fn movable<T: Send + 'static>(value: T) -> T {
        value
    }
    let cluster = TestCluster::start().await;
    let topic = cluster.topic(1).await;
    let (admin, producer) = (movable(cluster.admin().await), movable(cluster.producer().await));
    let mut consumer = movable(cluster.consumer().await);
    let all = movable(async move {
        let delivery = movable(producer.send(ProducerRecord::new(topic.as_str(), "x")).await.unwrap());
        movable(delivery.await.unwrap());
        movable(admin.list_topics().await.unwrap());
        consumer.assign([(TopicPartition::new(topic.as_str(), 0), SeekTo::Beginning)]).await.unwrap();
        let mut records = movable(movable(consumer.recv_batch().await.unwrap()).records().unwrap());
        movable(records.next().unwrap().unwrap());
        consumer.seek(&TopicPartition::new(topic.as_str(), 0), SeekTo::Beginning).await.unwrap();
        movable(consumer.recv().await.unwrap());
    });
    within(tokio::spawn(all)).await.unwrap();
    cluster.stop().await;
}

#[tokio::test]
async fn what_is_not_assigned_is_refused() {
    let cluster = TestCluster::start().await;
    let topic = cluster.topic(1).await;
    let partition = TopicPartition::new(topic.as_str(), 0);
    let mut consumer = cluster.consumer().await;
    assert!(matches!(consumer.seek(&partition, SeekTo::End).await, Err(Error::NotAssigned { .. })));
    assert!(matches!(consumer.pause(std::slice::from_ref(&partition)), Err(Error::NotAssigned { .. })));
    assert!(matches!(consumer.position(&partition), Err(Error::NotAssigned { .. })));
    let unknown = consumer.partitions_for(support::unique_name()).await.unwrap_err();
    assert_eq!(unknown.code(), Some(ErrorCode::UnknownTopicOrPartition));
    cluster.stop().await;
}

#[tokio::test]
async fn lost_fetches_and_sessions_lose_and_double_nothing() {
    let cluster = TestCluster::start().await;
    let topic = numbered(&cluster, 3, 1000, Compression::None).await;
    let requests = std::sync::atomic::AtomicU32::new(0);
    let proxy = FaultyProxy::start(&cluster.bootstrap, move |api| {
        match (api, requests.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 7) {
            (ApiKey::Fetch, 2) => Fault::LoseRequest,
            (ApiKey::Fetch, 5) => Fault::LoseAnswer,
            _ => Fault::None,
        }
    })
    .await;
    let mut config = ConsumerConfig::new(proxy.address.as_str());
    config.max_partition_fetch_bytes = 1000;
    config.client.retry_backoff = Duration::from_millis(5);
    config.client.retry_backoff_max = Duration::from_millis(10);
    let mut consumer = Consumer::connect(config).await.unwrap();
    consumer.assign(partitions(&topic, 3).into_iter().map(|p| (p, SeekTo::Beginning))).await.unwrap();
    let mut next = [0; 3];
    for _ in 0..3000 {
        let record = within(consumer.recv()).await.unwrap();
        let next = &mut next[record.partition as usize];
        assert_eq!(record.offset, *next);
        *next += 1;
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_record_is_consumed_as_soon_as_it_is_there() {
    let cluster = TestCluster::start().await;
    let topic = cluster.topic(1).await;
    let partition = TopicPartition::new(topic.as_str(), 0);
    let mut consumer = cluster.consumer_with(|config| config.fetch_max_wait = Duration::from_secs(10)).await;
    consumer.assign([(partition, SeekTo::End)]).await.unwrap();
    let producer = cluster.producer_with(|config| config.linger = Duration::ZERO).await;
    for index in 0..20 {
        let sent = Instant::now();
        producer.send(ProducerRecord::new(topic.as_str(), index.to_string())).await.unwrap();
        assert_eq!(numbers(&mut consumer, 1).await, [index]);
        assert!(sent.elapsed() < Duration::from_secs(5), "it waited for the long poll to end");
    }
    cluster.stop().await;
}
