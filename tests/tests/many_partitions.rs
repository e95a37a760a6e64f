//! Many partitions under a low limit on open files: they are served, restarted and counted, and one more is refused. The full
//! scale, and what it costs, is `benches/src/bin/many_partitions.rs`.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use ottla_protocol::Records;
use ottla_protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla_protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_tests::batch::BatchSpec;
use ottla_tests::connection::RawConnection;
use ottla_tests::process::{OttlaOptions, OttlaProcess};

const INVALID_PARTITIONS: i16 = 37;
const DESCRIPTORS: u32 = 400;
/// Half of the descriptors.
const PARTITIONS: i32 = 200;
const TOPIC: &str = "many";

fn create(connection: &mut RawConnection, name: &str, partitions: i32) -> Result<(i16, Option<String>)> {
    let topic = CreatableTopic {
        name: name.to_owned(),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    };
    let response = connection.ask(7, &CreateTopicsRequest { topics: vec![topic], ..Default::default() })?;
    let result = response.topics.into_iter().next().context("a result")?;
    Ok((result.error_code, result.error_message))
}

/// A record to each partition; all are at this offset.
fn produce_to_all(connection: &mut RawConnection, offset: i64) -> Result<()> {
    let data = |index| PartitionProduceData {
        index,
        records: Records::Bytes(Bytes::from(BatchSpec::of(&["a record"]).build())),
    };
    let topic = TopicProduceData {
        name: TOPIC.to_owned(),
        partition_data: (0..PARTITIONS).map(data).collect(),
        ..Default::default()
    };
    let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    let response = connection.ask(12, &request)?;
    for partition in &response.responses[0].partition_responses {
        ensure!((partition.error_code, partition.base_offset) == (0, offset), "{partition:?}");
    }
    Ok(())
}

/// Every partition has this many batches.
fn fetch_from_all(connection: &mut RawConnection, batches: usize) -> Result<()> {
    let partition = |partition| FetchPartition { partition, partition_max_bytes: 1 << 20, ..Default::default() };
    let partitions = (0..PARTITIONS).map(partition).collect();
    let topic = FetchTopic { topic: TOPIC.to_owned(), partitions, ..Default::default() };
    let request = FetchRequest {
        min_bytes: 1,
        max_bytes: 50 << 20,
        max_wait_ms: 1_000,
        topics: vec![topic],
        ..Default::default()
    };
    let response = connection.ask(12, &request)?;
    ensure!(response.responses[0].partitions.len() == PARTITIONS as usize);
    for partition in &response.responses[0].partitions {
        let Records::Bytes(records) = &partition.records else { anyhow::bail!("{partition:?}") };
        let found = ottla_protocol::records::batches(records.clone()).collect::<Result<Vec<_>, _>>()?.len();
        ensure!(partition.error_code == 0 && found == batches, "partition {}: {found}", partition.partition_index);
    }
    Ok(())
}

#[test]
fn partitions_are_served_up_to_half_of_the_descriptors_and_refused_beyond() -> Result<()> {
    let data = tempfile::tempdir()?;
    let start = || {
        OttlaProcess::start(OttlaOptions {
            data_dir: Some(data.path().join("data")),
            descriptors: Some(DESCRIPTORS),
            ..OttlaOptions::default()
        })
    };
    let mut process = start()?;
    let mut connection = RawConnection::open(process.address())?;
    ensure!(create(&mut connection, TOPIC, PARTITIONS)?.0 == 0, "{}", process.output());
    let (code, why) = create(&mut connection, "one-more", 1)?;
    let why = why.unwrap_or_default();
    ensure!(code == INVALID_PARTITIONS && why.contains("ulimit"), "{code} {why}");
    for round in 0..3 {
        produce_to_all(&mut connection, round)?;
        fetch_from_all(&mut connection, round as usize + 1)?;
        let descriptors = process.usage()?.descriptors;
        ensure!(descriptors <= DESCRIPTORS as usize * 3 / 4, "{descriptors} descriptors");
        drop(connection);
        // A clean stop, and a kill.
        match round {
            0 => ensure!(process.terminate()?.success()),
            _ => drop(process.kill()?),
        }
        process = start()?;
        connection = RawConnection::open(process.address())?;
        fetch_from_all(&mut connection, round as usize + 1)?;
    }
    ensure!(process.terminate()?.success());
    Ok(())
}
