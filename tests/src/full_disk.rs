//! What a broker promises of a full disk, played against one whose disk is small: producers are refused with a code that they
//! retry and a time to wait, everything else goes on, and producing resumes by itself soon after there is space.
//!
//! Knows nothing of how the disk is made small: a test brings that as a [`SmallDisk`].

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use ottla_protocol::Records;
use ottla_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use ottla_protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use ottla_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla_protocol::messages::find_coordinator::FindCoordinatorRequest;
use ottla_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};

use crate::batch::{BatchSpec, RecordSpec};
use crate::connection::RawConnection;
use crate::wait::{PATIENCE, wait_for};

const KAFKA_STORAGE_ERROR: i16 = 56;
/// What a group gets whose change cannot be put on record: clients look for the coordinator and try again.
const COORDINATOR_NOT_AVAILABLE: i16 = 15;
const GROUP: &str = "reports";
/// More than fit into what is left of a file's last block.
const COMMITS_MAX: i64 = 10_000;
const COMMITS_BETWEEN_TAKING: i64 = 50;
const CORRUPT_OR_WORSE: &str = "an error that no full disk explains";
/// Producing goes on so soon after there is space.
const RESUMES_WITHIN: Duration = Duration::from_secs(5);
const VALUE_BYTES: usize = 8_000;

/// A small disk that the broker has its data on.
pub trait SmallDisk {
    /// What can still be written.
    fn free_bytes(&self) -> Result<u64>;
    /// Takes all that is free away from the broker, also what was freed since.
    fn take_all(&mut self) -> Result<()>;
    /// Gives back what was taken.
    fn give_back(&mut self) -> Result<()>;
}

/// A client of the broker under test.
struct Client(RawConnection);

/// Plays the whole story. The broker was started with `log.reserve.bytes = reserve_bytes` and its disk holds a few times that.
pub fn play(address: SocketAddr, disk: &mut dyn SmallDisk, reserve_bytes: u64) -> Result<()> {
    let mut client = Client(RawConnection::open(address)?);
    client.find_coordinator()?;
    client.create_topic("kept")?;
    client.create_topic("deleted")?;
    let acknowledged = client.produce_until_refused("kept", "deleted", reserve_bytes)?;
    let free_bytes = disk.free_bytes()?;
    // Of the reserve only the files beside the segments have taken something, however fast the producer was.
    let reserve = reserve_bytes - reserve_bytes / 16..reserve_bytes + reserve_bytes / 8;
    ensure!(reserve.contains(&free_bytes), "{free_bytes} bytes are left of a reserve of {reserve_bytes}");

    // Below the reserve, everything but producing goes on.
    client.read_all("kept", 0, acknowledged).context("below the reserve")?;
    client.commit(1).context("groups go on with the reserve")?;
    client.create_topic("new")?;
    client.expect_refusal("new")?;
    ensure!(client.delete_records("kept", 10)? == 10, "records can be deleted within a segment");

    // On a disk without any space at all, reading goes on, and whole segments can be deleted.
    disk.take_all()?;
    client.expect_refusal("kept")?;
    client.read_all("kept", 10, acknowledged).context("on a full disk")?;
    ensure!(client.0.list_offset("kept", -1)? == acknowledged, "the end of the log");
    let before = acknowledged / 2;
    let committed = client.commit_until_refused(disk)?;
    ensure!(client.committed()? == committed, "a commit that was acknowledged is read, one that was refused is not");
    ensure!(client.delete_records("kept", before)? == before, "records can be deleted on a full disk");
    client.read_all("kept", before, acknowledged).context("after a deletion on a full disk")?;

    // There is space again: by what others give back, and by the deletion of a topic.
    disk.give_back()?;
    client.delete_topic("deleted")?;
    let waited = Instant::now();
    wait_for("there is space again", PATIENCE, || {
        Ok((disk.free_bytes()? > reserve_bytes + reserve_bytes / 8).then_some(()))
    })?;
    let freed = Instant::now();
    client.wait_until_served("kept", freed + RESUMES_WITHIN)?;
    let end = client.0.list_offset("kept", -1)?;
    ensure!(end == acknowledged + 1, "the record after the full disk is at {acknowledged}, the log ends at {end}");
    client.read_all("kept", before, end).context("after the full disk")?;
    client.commit(committed + 1).context("a group commits again")?;
    ensure!(client.committed()? == committed + 1);
    println!("freed after {:?}, served again {:?} later", freed - waited, freed.elapsed());
    Ok(())
}

/// What a broker had acknowledged when its disk was full.
pub struct Acknowledged {
    records: i64,
    committed: i64,
}

/// Fills the disk again, to the last byte, and leaves it so: what the broker has acknowledged must survive its end. A broker that
/// has played the story.
pub fn fill_again(address: SocketAddr, disk: &mut dyn SmallDisk, reserve_bytes: u64) -> Result<Acknowledged> {
    let mut client = Client(RawConnection::open(address)?);
    client.create_topic("survives")?;
    client.create_topic("beside")?;
    let records = client.produce_until_refused("survives", "beside", reserve_bytes)?;
    disk.take_all()?;
    let committed = client.commit_until_refused(disk)?;
    client.expect_refusal("survives")?;
    Ok(Acknowledged { records, committed })
}

/// Looks at a broker that was killed on the full disk and started again with space.
pub fn check_after_kill(address: SocketAddr, acknowledged: &Acknowledged) -> Result<()> {
    let mut client = Client(RawConnection::open(address)?);
    client.wait_until_served("survives", Instant::now() + PATIENCE)?;
    client.read_all("survives", 0, acknowledged.records + 1).context("what was acknowledged on a full disk")?;
    client.find_coordinator()?;
    ensure!(client.committed()? == acknowledged.committed, "the last commit that was acknowledged");
    client.commit(acknowledged.committed + 1).context("a group commits again")
}

impl Client {
    /// Waits until the group is served; its topic is made at the first time.
    fn find_coordinator(&mut self) -> Result<()> {
        wait_for("the group's coordinator", PATIENCE, || {
            let request = FindCoordinatorRequest { coordinator_keys: vec![GROUP.to_owned()], ..Default::default() };
            let found = self.0.ask(4, &request)?.coordinators[0].error_code == 0;
            Ok((found && self.committed().is_ok()).then_some(()))
        })
    }

    /// Commits an offset of the group; the code of the answer.
    fn try_commit(&mut self, offset: i64) -> Result<i16> {
        let partition = OffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
        let topic =
            OffsetCommitRequestTopic { name: "kept".to_owned(), partitions: vec![partition], ..Default::default() };
        let request = OffsetCommitRequest { group_id: GROUP.to_owned(), topics: vec![topic], ..Default::default() };
        Ok(self.0.ask(8, &request)?.topics[0].partitions[0].error_code)
    }

    fn commit(&mut self, offset: i64) -> Result<()> {
        let code = self.try_commit(offset)?;
        ensure!(code == 0, "a commit of {offset} was refused with code {code}");
        Ok(())
    }

    /// Commits rising offsets until the broker has no space for one; the last one that was acknowledged. A file system may have room in
    /// the last block of a file, though it has no block any more; and the broker may have freed something, which is taken too.
    fn commit_until_refused(&mut self, disk: &mut dyn SmallDisk) -> Result<i64> {
        let mut committed = self.committed()?;
        for offset in committed + 1..committed + COMMITS_MAX {
            if offset % COMMITS_BETWEEN_TAKING == 0 {
                disk.take_all()?;
            }
            match self.try_commit(offset)? {
                0 => committed = offset,
                COORDINATOR_NOT_AVAILABLE => return Ok(committed),
                code => bail!("{CORRUPT_OR_WORSE}: a commit was refused with code {code}"),
            }
        }
        bail!("{COMMITS_MAX} commits found space on a full disk")
    }

    /// What the group has committed.
    fn committed(&mut self) -> Result<i64> {
        let topic =
            OffsetFetchRequestTopics { name: "kept".to_owned(), partition_indexes: vec![0], ..Default::default() };
        let group =
            OffsetFetchRequestGroup { group_id: GROUP.to_owned(), topics: Some(vec![topic]), ..Default::default() };
        let response = self.0.ask(8, &OffsetFetchRequest { groups: vec![group], ..Default::default() })?;
        let group = &response.groups[0];
        ensure!(group.error_code == 0, "{group:?}");
        let partition = &group.topics[0].partitions[0];
        ensure!(partition.error_code == 0, "{partition:?}");
        Ok(partition.committed_offset)
    }

    fn create_topic(&mut self, name: &str) -> Result<()> {
        // The records of the harness are old, and retention looks often while the disk is full.
        let configs = [("segment.bytes", "1048576"), ("retention.ms", "-1")]
            .map(|(name, value)| CreatableTopicConfig { name: name.to_owned(), value: Some(value.to_owned()) });
        let topic = CreatableTopic {
            name: name.to_owned(),
            num_partitions: 1,
            replication_factor: 1,
            configs: configs.into(),
            ..Default::default()
        };
        let response = self.0.ask(7, &CreateTopicsRequest { topics: vec![topic], ..Default::default() })?;
        let result = response.topics.first().context("a result")?;
        ensure!(result.error_code == 0, "create {name}: {} {:?}", result.error_code, result.error_message);
        Ok(())
    }

    fn delete_topic(&mut self, name: &str) -> Result<()> {
        let topic = DeleteTopicState { name: Some(name.to_owned()), ..Default::default() };
        let request = DeleteTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        let response = self.0.ask(6, &request)?;
        ensure!(response.responses[0].error_code == 0, "delete {name}: {:?}", response.responses[0]);
        Ok(())
    }

    fn produce(&mut self, topic: &str, record: i64) -> Result<ProduceResponse> {
        let data = PartitionProduceData { index: 0, records: Records::Bytes(Bytes::from(batch(record))) };
        let topic = TopicProduceData { name: topic.to_owned(), partition_data: vec![data], ..Default::default() };
        let request = ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() };
        self.0.ask(12, &request)
    }

    /// Writes to both topics, the first half of the records of one to the other too; how many the first has taken.
    fn produce_until_refused(&mut self, topic: &str, other: &str, reserve_bytes: u64) -> Result<i64> {
        let most = 64 * reserve_bytes / VALUE_BYTES as u64;
        for record in 0..i64::try_from(most)? {
            self.produce(other, record)?;
            let response = self.produce(topic, record)?;
            let result = partition(&response);
            match result.error_code {
                0 => ensure!(result.base_offset == record, "record {record} is at {}", result.base_offset),
                KAFKA_STORAGE_ERROR => {
                    ensure!(response.throttle_time_ms > 0, "a refused producer is told to wait: {response:?}");
                    return Ok(record);
                }
                _ => bail!("{CORRUPT_OR_WORSE}: {result:?}"),
            }
        }
        bail!("{most} records of {VALUE_BYTES} bytes did not fill the disk")
    }

    fn expect_refusal(&mut self, topic: &str) -> Result<()> {
        let response = self.produce(topic, 0)?;
        let code = partition(&response).error_code;
        ensure!(code == KAFKA_STORAGE_ERROR && response.throttle_time_ms > 0, "a producer is refused: {response:?}");
        Ok(())
    }

    fn wait_until_served(&mut self, topic: &str, deadline: Instant) -> Result<()> {
        loop {
            let late = Instant::now() > deadline;
            let response = self.produce(topic, -1)?;
            match partition(&response).error_code {
                0 if !late => return Ok(()),
                0 => bail!("producing resumed later than {RESUMES_WITHIN:?} after there was space"),
                KAFKA_STORAGE_ERROR if !late => {}
                KAFKA_STORAGE_ERROR => bail!("producing did not resume within {RESUMES_WITHIN:?}"),
                _ => bail!("{CORRUPT_OR_WORSE}: {response:?}"),
            }
        }
    }

    /// Reads the records of these offsets.
    fn read_all(&mut self, topic: &str, from: i64, end: i64) -> Result<()> {
        let mut at = from;
        while at < end {
            let partition = FetchPartition { fetch_offset: at, partition_max_bytes: 1 << 20, ..Default::default() };
            let wanted = FetchTopic { topic: topic.to_owned(), partitions: vec![partition], ..Default::default() };
            let request = FetchRequest { min_bytes: 1, max_wait_ms: 100, topics: vec![wanted], ..Default::default() };
            let response = self.0.ask(12, &request)?;
            let answer = &response.responses[0].partitions[0];
            ensure!(answer.error_code == 0, "offset {at} of {topic}: error {}", answer.error_code);
            let Records::Bytes(records) = &answer.records else { bail!("offset {at} of {topic}: no records") };
            let before = at;
            for batch in ottla_protocol::records::batches_lenient(records.clone()) {
                let batch = batch?;
                batch.check_crc()?;
                ensure!(batch.base_offset() == at, "offset {at} of {topic} is {}", batch.base_offset());
                at += i64::from(batch.record_count());
            }
            ensure!(at > before, "nothing at offset {at} of {topic}");
        }
        ensure!(at == end, "{topic} was read up to {at}, not {end}");
        Ok(())
    }

    /// Deletes the records before an offset and returns the new start of the log.
    fn delete_records(&mut self, topic: &str, before: i64) -> Result<i64> {
        let partition = DeleteRecordsPartition { partition_index: 0, offset: before };
        let topic = DeleteRecordsTopic { name: topic.to_owned(), partitions: vec![partition] };
        let response = self.0.ask(2, &DeleteRecordsRequest { topics: vec![topic], timeout_ms: 10_000 })?;
        let result = &response.topics[0].partitions[0];
        ensure!(result.error_code == 0, "delete before {before}: {result:?}");
        Ok(result.low_watermark)
    }
}

fn partition(response: &ProduceResponse) -> &PartitionProduceResponse {
    &response.responses[0].partition_responses[0]
}

fn batch(record: i64) -> Vec<u8> {
    let mut value = vec![b'x'; VALUE_BYTES];
    value[..8].copy_from_slice(&record.to_be_bytes());
    BatchSpec { records: vec![RecordSpec::value(value)], ..BatchSpec::of(&[]) }.build()
}
