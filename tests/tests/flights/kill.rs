//! The real process, killed in the middle of loading, several times; the producer knows nothing of it and goes on. Whatever was
//! acknowledged is there at its offset, once, in the order of its partition.

use std::path::Path;
use std::time::Duration;

use ottla_client::{Producer, ProducerConfig, SeekTo};
use ottla_tests::process::{OttlaOptions, OttlaProcess, free_port};

use crate::january::{assert_same, by_partition, create_topic, flights, read};

fn start(data_dir: &Path, port: u16) -> OttlaProcess {
    let options = OttlaOptions { data_dir: Some(data_dir.to_owned()), port: Some(port), ..OttlaOptions::default() };
    OttlaProcess::start(options).expect("the process starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_or_doubled_when_the_broker_is_killed_while_loading() {
    const KILLS: usize = 4;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let port = free_port().expect("a free port");
    let bootstrap = format!("127.0.0.1:{port}");
    let mut process = start(directory.path(), port);
    create_topic(&bootstrap).await;

    let mut config = ProducerConfig::new(bootstrap.as_str());
    config.batch_bytes = 4_096;
    config.linger = Duration::from_millis(1);
    config.delivery_timeout = Duration::from_secs(60);
    let producer = Producer::connect(config).await.expect("the broker answers");
    let flights = flights();
    let mut deliveries = Vec::new();
    for (sent, flight) in flights.iter().enumerate() {
        deliveries.push(producer.send(flight.record()).await.expect("there is room"));
        if sent > 0 && sent % (flights.len() / (KILLS + 1)) == 0 {
            // What is in flight now gets no answer; the client sends it again, and the log must know it.
            process.kill().expect("it was alive");
            process = start(directory.path(), port);
        }
    }
    let mut acknowledged = Vec::new();
    for (flight, delivery) in flights.iter().zip(deliveries) {
        acknowledged.push((flight, delivery.await.expect("delivered in the end")));
    }
    producer.close().await;

    // Killed once more, with everything acknowledged.
    process.kill().expect("it was alive");
    let process = start(directory.path(), port);
    let expected = by_partition(&flights);
    let records = read(&bootstrap, SeekTo::Beginning, flights.len()).await;
    for (partition, flights) in &expected {
        assert_same(&records[partition], flights, 0);
    }
    for (flight, metadata) in acknowledged {
        let record = &records[&metadata.partition][usize::try_from(metadata.offset).expect("not negative")];
        assert_eq!(record.value.as_deref(), Some(flight.row.as_bytes()), "what was acknowledged for this offset");
    }
    assert!(process.terminate().expect("it ends").success(), "SIGTERM is a clean stop");
    let marker = directory.path().join(".kafka_cleanshutdown");
    assert!(marker.exists(), "a clean stop says so");
}
