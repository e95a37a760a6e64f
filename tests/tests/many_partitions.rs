//! Many partitions with several segments each under a low limit on open files: they are served, restarted and counted, and one more
//! is refused. The full scale, and what it costs, is `benches/src/bin/many_partitions.rs`.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use ottla_protocol::Records;
use ottla_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
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
    // Each batch goes into a segment of its own, if a millisecond has passed since the one before.
    let configs = [("segment.ms", "1"), ("retention.ms", "-1")]
        .map(|(name, value)| CreatableTopicConfig { name: name.to_owned(), value: Some(value.to_owned()) });
    let topic = CreatableTopic {
        name: name.to_owned(),
        num_partitions: partitions,
        replication_factor: 1,
        configs: configs.into(),
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

/// Every partition has a batch at this offset. An answer brings those of as many partitions as there may be files in use; who asks
/// for the others gets them.
fn fetch_from_all(connection: &mut RawConnection, offset: i64) -> Result<()> {
    let mut wanted: BTreeSet<i32> = (0..PARTITIONS).collect();
    while !wanted.is_empty() {
        let partition = |partition| FetchPartition {
            partition,
            fetch_offset: offset,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        };
        let partitions = wanted.iter().copied().map(partition).collect();
        let topic = FetchTopic { topic: TOPIC.to_owned(), partitions, ..Default::default() };
        let request = FetchRequest {
            min_bytes: 1,
            max_bytes: 50 << 20,
            max_wait_ms: 1_000,
            topics: vec![topic],
            ..Default::default()
        };
        let response = connection.ask(12, &request)?;
        let before = wanted.len();
        for partition in &response.responses[0].partitions {
            let index = partition.partition_index;
            ensure!(partition.error_code == 0, "offset {offset} of partition {index}: error {}", partition.error_code);
            let Records::Bytes(records) = &partition.records else { continue };
            let Some(first) = ottla_protocol::records::batches(records.clone()).next() else { continue };
            let first = first?;
            ensure!(first.base_offset() == offset, "partition {index}: {} for {offset}", first.base_offset());
            wanted.remove(&index);
        }
        ensure!(wanted.len() < before, "nothing at offset {offset} of {wanted:?}");
    }
    Ok(())
}

/// Segments of all partitions.
fn segments(process: &OttlaProcess) -> Result<usize> {
    let mut segments = 0;
    for partition in 0..PARTITIONS {
        for file in std::fs::read_dir(process.data_dir().join(format!("{TOPIC}-{partition}")))? {
            segments += usize::from(file?.path().extension().is_some_and(|extension| extension == "log"));
        }
    }
    Ok(segments)
}

#[test]
fn partitions_are_served_up_to_half_of_the_descriptors_and_refused_beyond() -> Result<()> {
    let data = tempfile::tempdir()?;
    let start = || {
        OttlaProcess::start(OttlaOptions {
            data_dir: Some(data.path().join("data")),
            // They are to stay as they are.
            settings: vec![("log.merge.interval.ms".to_owned(), "3600000".to_owned())],
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
    for round in 0..2 {
        produce_to_all(&mut connection, 2 * round).with_context(|| process.output())?;
        produce_to_all(&mut connection, 2 * round + 1).with_context(|| process.output())?;
        for _ in 0..2 {
            // Sealed segments and their indexes, several times as many files as may be open.
            let fetched = (0..2 * round + 2).try_for_each(|offset| fetch_from_all(&mut connection, offset));
            fetched.with_context(|| process.output())?;
            let descriptors = process.usage()?.descriptors;
            ensure!(descriptors <= DESCRIPTORS as usize * 3 / 4, "{descriptors} descriptors");
        }
        drop(connection);
        // A clean stop, and a kill.
        match round {
            0 => ensure!(process.terminate()?.success()),
            _ => {
                process.kill()?;
            }
        }
        process = start()?;
        connection = RawConnection::open(process.address())?;
        let fetched = (0..2 * round + 2).try_for_each(|offset| fetch_from_all(&mut connection, offset));
        fetched.with_context(|| process.output())?;
    }
    let segments = segments(&process)?;
    ensure!(segments > 2 * PARTITIONS as usize, "{segments} segments of {PARTITIONS} partitions");
    ensure!(process.terminate()?.success());
    Ok(())
}
