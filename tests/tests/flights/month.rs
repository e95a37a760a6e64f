//! A month through a broker in this process: read back whole, replayed from a time, and again after a restart.

use ottla_broker::Broker;
use ottla_client::{Compression, Producer, ProducerConfig, SeekTo};

use crate::january::{assert_same, by_partition, create_topic, flights, january_ms, read};

async fn load(bootstrap: &str, compression: Compression) {
    let mut config = ProducerConfig::new(bootstrap);
    config.compression = compression;
    let producer = Producer::connect(config).await.expect("the broker answers");
    let mut deliveries = Vec::new();
    for flight in flights() {
        deliveries.push((flight.partition(), producer.send(flight.record()).await.expect("there is room")));
    }
    for (partition, delivery) in deliveries {
        assert_eq!(delivery.await.expect("delivered").partition, partition);
    }
    producer.close().await;
}

async fn compare(bootstrap: &str) {
    let flights = flights();
    let expected = by_partition(&flights);
    let all = read(bootstrap, SeekTo::Beginning, flights.len()).await;
    for (partition, flights) in &expected {
        assert_same(&all[partition], flights, 0);
    }
    // Kafka's rule: the first record, by offset, whose time is at or after the one asked for.
    let time = january_ms("2013-01-15T00:00:00Z");
    let mut count = 0;
    let mut tails = std::collections::BTreeMap::new();
    for (&partition, flights) in &expected {
        let start = flights.iter().position(|flight| flight.timestamp >= time).expect("there are later flights");
        count += flights.len() - start;
        tails.insert(partition, (start, &flights[start..]));
    }
    let replayed = read(bootstrap, SeekTo::Timestamp(time), count).await;
    for (partition, (start, flights)) in tails {
        assert_same(&replayed[&partition], flights, start as i64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_comes_back_as_it_went_in_and_again_after_a_restart() {
    for compression in [Compression::None, Compression::Zstd] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let start = || Broker::builder().data_dir(directory.path()).listen("127.0.0.1:0").start();
        let broker = start().await.expect("it starts");
        let bootstrap = broker.addr().to_string();
        create_topic(&bootstrap).await;
        load(&bootstrap, compression).await;
        compare(&bootstrap).await;
        broker.stop().await.expect("it stops");
        let broker = start().await.expect("it starts again");
        compare(&broker.addr().to_string()).await;
        broker.stop().await.expect("it stops");
    }
}
