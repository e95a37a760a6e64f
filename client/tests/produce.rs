//! Goal: what a producer was told is what is in the log. Method: produce to a real broker and read everything back; for
//! faults, through a proxy that loses answers and tells lies.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which are to panic when something fails")]

mod support;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_client::{Acks, Compression, Error, ErrorCode, Producer, ProducerConfig, ProducerRecord, partition_for_key};
use ottla_protocol::ApiKey;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use support::faulty_proxy::{Fault, FaultyProxy};
use support::{TestCluster, partitions, value, within};

const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

#[tokio::test]
async fn every_field_of_a_record_comes_back_through_every_codec() {
    let cluster = TestCluster::start().await;
    for compression in CODECS {
        let topic = cluster.topic(1).await;
        let producer = cluster.producer_with(|config| config.compression = compression).await;
        let full = ProducerRecord::new(topic.as_str(), "value")
            .key("key")
            .header("h", "1")
            .header("h", "2")
            .timestamp(1_372_636_800_123);
        let mut tombstone = ProducerRecord::tombstone(topic.as_str()).key("").timestamp(0);
        tombstone.headers.push(ottla_client::Header { key: String::new(), value: None });
        let large = ProducerRecord::new(topic.as_str(), vec![7; 300_000]);
        for (offset, record) in [&full, &tombstone, &large].into_iter().enumerate() {
            let metadata = within(producer.send(record.clone()).await.unwrap()).await.unwrap();
            assert_eq!((metadata.partition, metadata.offset), (0, offset as i64));
            assert!(record.timestamp.is_none_or(|timestamp| timestamp == metadata.timestamp));
        }
        producer.close().await;
        let read = cluster.read_all(&topic).await.remove(&0).unwrap();
        for (read, sent) in read.iter().zip([&full, &tombstone, &large]) {
            assert_eq!((&read.key, &read.value, &read.headers), (&sent.key, &sent.value, &sent.headers));
            assert!(sent.timestamp.is_none_or(|timestamp| timestamp == read.timestamp));
        }
        assert_eq!(read.len(), 3, "{compression:?}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn records_are_acknowledged_at_the_offsets_where_they_are() {
    let cluster = TestCluster::start().await;
    for (acks, idempotent) in [(Acks::All, true), (Acks::All, false), (Acks::Leader, false)] {
        let topic = cluster.topic(3).await;
        let producer = cluster
            .producer_with(|config| {
                config.acks = acks;
                config.enable_idempotence = idempotent;
                config.batch_bytes = 2000;
            })
            .await;
        let mut deliveries = Vec::new();
        for index in 0..3000 {
            let record = ProducerRecord::new(topic.as_str(), index.to_string()).key((index % 40).to_string());
            deliveries.push((index, producer.send(record).await.unwrap()));
        }
        let mut expected: BTreeMap<(i32, i64), String> = BTreeMap::new();
        for (index, delivery) in deliveries {
            let metadata = within(delivery).await.unwrap();
            assert_eq!(metadata.partition, partition_for_key((index % 40).to_string().as_bytes(), 3));
            expected.insert((metadata.partition, metadata.offset), index.to_string());
        }
        producer.close().await;
        let read = cluster.read_all(&topic).await;
        let read = read.values().flatten().map(|record| ((record.partition, record.offset), value(record)));
        assert_eq!(read.collect::<BTreeMap<_, _>>(), expected);
    }
    cluster.stop().await;
}

#[tokio::test]
async fn without_acknowledgements_records_arrive_and_their_offsets_are_unknown() {
    let cluster = TestCluster::start().await;
    let topic = cluster.topic(1).await;
    let producer = cluster
        .producer_with(|config| {
            config.acks = Acks::None;
            config.enable_idempotence = false;
        })
        .await;
    let first = within(producer.send(ProducerRecord::new(topic.as_str(), "a")).await.unwrap()).await.unwrap();
    assert_eq!(first.offset, -1);
    producer.send(ProducerRecord::new(topic.as_str(), "b")).await.unwrap();
    within(producer.close()).await;
    let mut consumer = cluster.consumer().await;
    let start = partitions(&topic, 1).into_iter().map(|p| (p, ottla_client::SeekTo::Offset(0)));
    consumer.assign(start).await.unwrap();
    for expected in ["a", "b"] {
        assert_eq!(value(&within(consumer.recv()).await.unwrap()), expected);
    }
    cluster.stop().await;
}

#[tokio::test]
async fn keyless_records_reach_every_partition_in_batches() {
    let cluster = TestCluster::start().await;
    let topic = cluster.topic(4).await;
    let producer = cluster.producer().await;
    for index in 0..4000 {
        producer.send(ProducerRecord::new(topic.as_str(), format!("{index:0>100}"))).await.unwrap();
    }
    within(producer.flush()).await;
    let stats = producer.stats();
    assert_eq!((stats.records_acknowledged, stats.records_failed, stats.buffered_bytes), (4000, 0, 0));
    assert!(stats.batches_acknowledged < 400, "{stats:?}");
    let read = cluster.read_all(&topic).await;
    assert!(read.values().all(|records| records.len() > 100), "some partition was left out");
    assert_eq!(read.values().map(Vec::len).sum::<usize>(), 4000);
    producer.close().await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_full_buffer_makes_send_wait_and_try_send_refuse() {
    let cluster = TestCluster::start().await;
    let topic = cluster.topic(1).await;
    let producer = cluster
        .producer_with(|config| {
            config.max_request_bytes = 20_000;
            config.buffer_memory = 20_000;
            config.linger = Duration::from_secs(60);
        })
        .await;
    producer.partitions_for(topic.as_str()).await.unwrap();
    let record = ProducerRecord::new(topic.as_str(), vec![b'x'; 1000]);
    let mut taken = 0;
    let refused = loop {
        match producer.try_send(&record) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::BufferFull { limit: 20_000, .. }), "{refused}");
    assert!((15..20).contains(&taken), "{taken}");
    for _ in 0..100 {
        within(producer.send(record.clone())).await.unwrap();
        assert!(producer.stats().buffered_bytes <= 20_000);
    }
    within(producer.close()).await;
    assert_eq!(cluster.read_all(&topic).await[&0].len(), taken + 100, "a full buffer does not wait for its linger");
    cluster.stop().await;
}

#[tokio::test]
async fn a_refused_batch_fails_its_records_and_no_others() {
    let cluster = TestCluster::start().await;
    let topic = cluster.topic_with(1, &[("max.message.bytes", "2000")]).await;
    let producer = cluster.producer_with(|config| config.batch_bytes = 1500).await;
    let mut deliveries = Vec::new();
    for index in 0..200 {
        let size = if index % 50 == 25 { 3000 } else { 500 };
        let text = format!("{index:0>size$}");
        deliveries.push((index, producer.send(ProducerRecord::new(topic.as_str(), text)).await.unwrap()));
    }
    let mut expected = Vec::new();
    for (index, delivery) in deliveries {
        match within(delivery).await {
            Ok(_) => expected.push(index),
            Err(error) => {
                assert_eq!((index % 50, error.code()), (25, Some(ErrorCode::MessageTooLarge)), "{error}");
            }
        }
    }
    assert_eq!(expected.len(), 196);
    let too_large = producer.send(ProducerRecord::new(topic.as_str(), vec![0; 2 << 20])).await.unwrap_err();
    assert!(matches!(too_large, Error::RecordTooLarge { .. }), "{too_large}");
    within(producer.close()).await;
    let read = cluster.read_all(&topic).await;
    let found: Vec<i32> = read[&0].iter().map(|record| value(record).parse().unwrap()).collect();
    assert_eq!(found, expected, "in order, under a new epoch after each refusal");
    cluster.stop().await;
}

#[tokio::test]
async fn a_batch_that_is_too_large_for_its_topic_goes_in_parts() {
    let cluster = TestCluster::start().await;
    for (idempotent, compression) in [(true, Compression::None), (true, Compression::Zstd), (false, Compression::None)]
    {
        let topic = cluster.topic_with(1, &[("max.message.bytes", "3000")]).await;
        let configure = |config: &mut ProducerConfig| {
            config.enable_idempotence = idempotent;
            config.compression = compression;
            config.batch_bytes = 20_000;
            // Without idempotence the order needs it.
            config.max_in_flight = if idempotent { 5 } else { 1 };
        };
        let producer = cluster.producer_with(configure).await;
        let mut deliveries = Vec::new();
        for index in 0..300_u64 {
            // Text that does not compress away.
            let noise: String =
                (0..30).map(|word| format!("{:x}", (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> word)).collect();
            let record = ProducerRecord::new(topic.as_str(), format!("{index} {noise}"));
            deliveries.push(producer.send(record.key(index.to_string()).header("h", "x")).await.unwrap());
        }
        let flushed = producer.flush();
        within(flushed).await;
        let mut offsets = Vec::new();
        for delivery in deliveries {
            offsets.push(within(delivery).await.unwrap().offset);
        }
        assert_eq!(offsets, (0..300).collect::<Vec<i64>>(), "each once, in order");
        assert_eq!(producer.stats().buffered_bytes, 0);
        within(producer.close()).await;
        let read = cluster.read_all(&topic).await;
        for (index, record) in read[&0].iter().enumerate() {
            assert!(value(record).starts_with(&format!("{index} ")));
            assert_eq!((record.key.as_deref(), record.headers.len()), (Some(index.to_string().as_bytes()), 1));
        }
    }
    cluster.stop().await;
}

#[tokio::test]
async fn unknown_topics_and_partitions_are_errors_of_their_records() {
    let cluster = TestCluster::start().await;
    let topic = cluster.topic(2).await;
    let producer = cluster.producer().await;
    let outside = within(producer.send(ProducerRecord::new(topic.as_str(), "x").partition(2))).await.unwrap_err();
    assert!(matches!(outside, Error::UnknownPartition { count: 2, .. }), "{outside}");
    let invalid = within(producer.send(ProducerRecord::new("no/such", "x"))).await.unwrap_err();
    assert_eq!(invalid.code(), Some(ErrorCode::InvalidTopicException), "{invalid}");
    let strict = cluster.producer_with(|config| config.allow_auto_create_topics = false).await;
    let unknown = within(strict.send(ProducerRecord::new(support::unique_name(), "x"))).await.unwrap_err();
    assert_eq!(unknown.code(), Some(ErrorCode::UnknownTopicOrPartition), "{unknown}");
    cluster.stop().await;
}

#[tokio::test]
async fn producing_to_a_topic_that_does_not_exist_creates_it() {
    let cluster = TestCluster::start().await;
    let producer = cluster.producer().await;
    let topic = support::unique_name();
    for offset in 0..3 {
        let record = ProducerRecord::new(topic.as_str(), offset.to_string()).partition(0);
        let delivery = within(producer.send(record)).await.unwrap();
        assert_eq!(within(delivery).await.unwrap().offset, offset);
    }
    within(producer.close()).await;
    assert_eq!(cluster.read_all(&topic).await[&0].len(), 3);
    cluster.stop().await;
}

#[tokio::test]
async fn closed_and_dropped_producers_leave_nobody_waiting() {
    let cluster = TestCluster::start().await;
    let topic = cluster.topic(1).await;
    let producer = cluster.producer_with(|config| config.linger = Duration::from_secs(60)).await;
    let delivery = producer.send(ProducerRecord::new(topic.as_str(), "in time")).await.unwrap();
    within(producer.close()).await;
    assert_eq!(within(delivery).await.unwrap().offset, 0);
    let late = producer.send(ProducerRecord::new(topic.as_str(), "late")).await.unwrap_err();
    assert!(matches!(late, Error::Closed));

    let dropped = cluster.producer_with(|config| config.linger = Duration::from_secs(60)).await;
    let delivery = dropped.send(ProducerRecord::new(topic.as_str(), "lost")).await.unwrap();
    drop(dropped);
    assert!(matches!(within(delivery).await, Err(Error::Closed)));
    cluster.stop().await;
}

/// Produces `count` numbered records to three partitions through a proxy with faults; returns the numbers in each
/// partition of the log, and those that were acknowledged.
async fn produce_through(
    cluster: &TestCluster,
    count: i32,
    plan: impl Fn(ApiKey) -> Fault + Send + Sync + 'static,
) -> (BTreeMap<i32, Vec<i32>>, HashSet<i32>) {
    let topic = cluster.topic(3).await;
    let proxy = FaultyProxy::start(&cluster.bootstrap, plan).await;
    let mut config = ProducerConfig::new(proxy.address.as_str());
    config.batch_bytes = 500;
    config.client.retry_backoff = Duration::from_millis(5);
    config.client.retry_backoff_max = Duration::from_millis(20);
    let producer = Producer::connect(config).await.unwrap();
    let mut deliveries = Vec::new();
    for index in 0..count {
        let record = ProducerRecord::new(topic.as_str(), index.to_string()).partition(index % 3);
        deliveries.push((index, within(producer.send(record)).await.unwrap()));
    }
    let mut acknowledged = HashSet::new();
    for (index, delivery) in deliveries {
        if let Ok(metadata) = within(delivery).await {
            assert_eq!(metadata.partition, index % 3);
            acknowledged.insert(index);
        }
    }
    within(producer.close()).await;
    let read = cluster.read_all(&topic).await;
    let numbers = |records: Vec<_>| records.iter().map(|record| value(record).parse().unwrap()).collect();
    (read.into_iter().map(|(partition, records)| (partition, numbers(records))).collect(), acknowledged)
}

#[tokio::test]
async fn under_lost_requests_and_answers_and_refusals_every_record_is_there_once_and_in_order() {
    let cluster = TestCluster::start().await;
    for seed in 0..4 {
        let random = Arc::new(Mutex::new(StdRng::seed_from_u64(seed)));
        let plan = move |api| match random.lock().random_range(0..40) {
            0 => Fault::LoseRequest,
            1 => Fault::LoseAnswer,
            2 if api == ApiKey::Produce => Fault::Refuse(ErrorCode::NotLeaderOrFollower),
            3 if api == ApiKey::Produce => Fault::Lie(ErrorCode::RequestTimedOut),
            4 if api == ApiKey::Produce => Fault::Refuse(ErrorCode::KafkaStorageError),
            _ => Fault::None,
        };
        let (log, acknowledged) = produce_through(&cluster, 6000, plan).await;
        assert_eq!(acknowledged.len(), 6000, "seed {seed}: everything is acknowledged in the end");
        for partition in 0..3 {
            let expected: Vec<i32> = (0..6000).filter(|index| index % 3 == partition).collect();
            assert_eq!(log[&partition], expected, "seed {seed}, partition {partition}");
        }
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_broker_that_forgets_the_producer_costs_no_record() {
    let cluster = TestCluster::start().await;
    for code in [ErrorCode::UnknownProducerId, ErrorCode::OutOfOrderSequenceNumber, ErrorCode::InvalidProducerEpoch] {
        let random = Arc::new(Mutex::new(StdRng::seed_from_u64(9)));
        let plan = move |api| match random.lock().random_range(0..50) {
            0 if api == ApiKey::Produce => Fault::Refuse(code),
            1 => Fault::LoseRequest,
            _ => Fault::None,
        };
        let (log, acknowledged) = produce_through(&cluster, 3000, plan).await;
        assert_eq!(acknowledged.len(), 3000, "{code}");
        for partition in 0..3 {
            let expected: Vec<i32> = (0..3000).filter(|index| index % 3 == partition).collect();
            assert_eq!(log[&partition], expected, "{code}, partition {partition}");
        }
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_record_that_is_never_acknowledged_fails_at_its_delivery_timeout() {
    let cluster = TestCluster::start().await;
    let topic = cluster.topic(1).await;
    let plan = |api| if api == ApiKey::Produce { Fault::LoseRequest } else { Fault::None };
    let proxy = FaultyProxy::start(&cluster.bootstrap, plan).await;
    let mut config = ProducerConfig::new(proxy.address.as_str());
    config.delivery_timeout = Duration::from_millis(600);
    let producer = Producer::connect(config).await.unwrap();
    let delivery = producer.send(ProducerRecord::new(topic.as_str(), "x")).await.unwrap();
    let error = within(delivery).await.unwrap_err();
    assert!(matches!(error, Error::DeliveryTimeout { .. }), "{error}");
    within(producer.close()).await;
    assert_eq!(producer.stats().records_failed, 1);
    cluster.stop().await;
}
