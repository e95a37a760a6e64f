//! Fetches that wait for ever, sessions without number, replicas that are none.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use ottla_protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, ReplicaState};
use ottla_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_tests::connection::{RawConnection, Reply};
use ottla_tests::process::{OttlaOptions, OttlaProcess};

use crate::victim::Victim;

fn fetch(partition: FetchPartition) -> FetchRequest {
    let topic = FetchTopic { topic: "healthy".to_owned(), partitions: vec![partition], ..Default::default() };
    FetchRequest { max_bytes: 1 << 20, topics: vec![topic], ..Default::default() }
}

#[test]
fn a_fetch_that_waits_for_ever_goes_when_its_socket_does() {
    let mut victim = Victim::start().unwrap();
    let partition = FetchPartition { fetch_offset: 0, partition_max_bytes: 1 << 20, ..Default::default() };
    let request = FetchRequest { max_wait_ms: i32::MAX, min_bytes: i32::MAX, ..fetch(partition) };
    let mut waiting = Vec::new();
    for _ in 0..200 {
        let mut connection = victim.connect().unwrap();
        connection.send(11, &request).unwrap();
        waiting.push(connection);
    }
    victim.serve_healthy().unwrap();
    drop(waiting);
    victim.check("200 fetches without an end").unwrap();
}

#[test]
fn limits_of_zero_and_below_still_give_a_batch() {
    let mut victim = Victim::start().unwrap();
    for (max_bytes, partition_max_bytes) in [(0, 0), (-1, -1), (i32::MIN, i32::MIN), (0, i32::MAX), (i32::MAX, 0)] {
        let partition = FetchPartition { partition_max_bytes, ..Default::default() };
        let request = FetchRequest { max_bytes, max_wait_ms: -1, min_bytes: -1, ..fetch(partition) };
        let response = victim.ask(11, &request).unwrap();
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0, "{max_bytes} {partition_max_bytes}");
        let ottla_protocol::Records::Bytes(records) = &partition.records else { panic!("{partition:?}") };
        assert!(!records.is_empty(), "{max_bytes} {partition_max_bytes}: nothing came");
    }
    victim.check("limits").unwrap();
}

#[test]
fn offsets_and_epochs_that_are_not_there_get_their_codes() {
    let mut victim = Victim::start().unwrap();
    let plain = FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() };
    let cases = [
        (1, FetchPartition { fetch_offset: -5, ..plain.clone() }),
        (1, FetchPartition { fetch_offset: i64::MAX, ..plain.clone() }),
        (75, FetchPartition { current_leader_epoch: 100, ..plain.clone() }),
        (3, FetchPartition { partition: i32::MAX, ..plain }),
    ];
    for (code, partition) in cases {
        let response = victim.ask(11, &fetch(partition.clone())).unwrap();
        assert_eq!(response.responses[0].partitions[0].error_code, code, "{partition:?}");
        victim.check(&format!("{partition:?}")).unwrap();
    }
}

#[test]
fn leader_epochs_from_before_and_after_get_their_codes() {
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        let options = OttlaOptions { data_dir: Some(directory.path().to_owned()), ..Default::default() };
        OttlaProcess::start(options).unwrap()
    };
    let process = start();
    let topic =
        CreatableTopic { name: "healthy".to_owned(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let mut connection = RawConnection::open(process.address()).unwrap();
    connection.ask(7, &CreateTopicsRequest { topics: vec![topic], ..Default::default() }).unwrap();
    process.kill().unwrap();
    // What was torn off by a power cut: the log is cut back, and the epoch rises (KIP-320).
    let log = directory.path().join("healthy-0/00000000000000000000.log");
    OpenOptions::new().append(true).open(log).unwrap().write_all(b"the beginning of a batch").unwrap();

    let process = start();
    let mut connection = RawConnection::open(process.address()).unwrap();
    for (epoch, code) in [(0, 74), (1, 0), (2, 75), (-1, 0)] {
        let partition = FetchPartition { current_leader_epoch: epoch, ..Default::default() };
        let response = connection.ask(11, &fetch(partition)).unwrap();
        assert_eq!(response.responses[0].partitions[0].error_code, code, "epoch {epoch}");
        let partition = ListOffsetsPartition { current_leader_epoch: epoch, timestamp: -1, ..Default::default() };
        let topic = ListOffsetsTopic { name: "healthy".to_owned(), partitions: vec![partition] };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let response = connection.ask(4, &request).unwrap();
        assert_eq!(response.topics[0].partitions[0].error_code, code, "epoch {epoch}");
    }
}

#[test]
fn a_client_that_claims_to_be_a_replica_is_refused_and_moves_nothing() {
    let mut victim = Victim::start().unwrap();
    let end = |victim: &Victim| {
        let partition = ListOffsetsPartition { timestamp: -1, ..Default::default() };
        let topic = ListOffsetsTopic { name: "healthy".to_owned(), partitions: vec![partition] };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        victim.ask(4, &request).unwrap().topics[0].partitions[0].offset
    };
    let before = end(&victim);
    let ahead = FetchPartition { fetch_offset: 1_000_000, partition_max_bytes: 1 << 20, ..Default::default() };
    for replica_id in [0, 1, 2, i32::MAX] {
        let response = victim.ask(11, &FetchRequest { replica_id, ..fetch(ahead.clone()) }).unwrap();
        assert_ne!(response.error_code, 0, "replica {replica_id}");
        let replica_state = ReplicaState { replica_id, replica_epoch: 1 };
        let response = victim.ask(17, &FetchRequest { replica_state, ..fetch(ahead.clone()) }).unwrap();
        assert_ne!(response.error_code, 0, "replica {replica_id} in a tag");
    }
    assert_eq!(end(&victim), before);
    victim.check("replicas").unwrap();
}

#[test]
fn unknown_sessions_get_their_codes_and_sessions_without_number_are_bounded() {
    let mut victim = Victim::start().unwrap();
    let partition = FetchPartition { partition_max_bytes: 1, ..Default::default() };
    let of = |session_id, session_epoch| FetchRequest { session_id, session_epoch, ..fetch(partition.clone()) };
    assert_eq!(victim.ask(11, &of(12_345, 1)).unwrap().error_code, 70);
    let opened = victim.ask(11, &of(0, 0)).unwrap();
    assert_eq!(victim.ask(11, &of(opened.session_id, 5)).unwrap().error_code, 71);
    let mut connection = victim.connect().unwrap();
    connection.set_read_patience(Duration::from_secs(20)).unwrap();
    const SESSIONS: usize = 100_000;
    const IN_FLIGHT: usize = 50;
    let mut sessions = 0;
    for _ in 0..SESSIONS / IN_FLIGHT {
        for _ in 0..IN_FLIGHT {
            connection.send(11, &of(0, 0)).unwrap();
        }
        for _ in 0..IN_FLIGHT {
            let (_, response) = connection.read_response::<FetchRequest>(11).unwrap();
            assert_eq!(response.error_code, 0);
            sessions += usize::from(response.session_id != 0);
        }
    }
    assert!(
        sessions <= 2_000,
        "{sessions} sessions were given out, max.incremental.fetch.session.cache.slots is 1,000"
    );
    drop(connection);
    victim.check("100,000 sessions").unwrap();
}

#[test]
fn a_client_that_never_reads_its_fetches_costs_nobody_else() {
    let mut victim = Victim::start().unwrap();
    let batch = ottla_tests::batch::BatchSpec {
        records: vec![ottla_tests::batch::RecordSpec::value(vec![b'x'; 900_000])],
        ..Default::default()
    };
    victim.create_topic("large", 1, &[]).unwrap();
    for _ in 0..20 {
        victim.ask(12, &crate::victim::produce("large", batch.build(), 1)).unwrap();
    }
    victim.rebase().unwrap();
    let partition = FetchPartition { partition_max_bytes: 50 << 20, ..Default::default() };
    let topic = FetchTopic { topic: "large".to_owned(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest { max_bytes: 50 << 20, topics: vec![topic], ..Default::default() };
    let mut stalled = Vec::new();
    for _ in 0..50 {
        let mut connection = victim.connect().unwrap();
        for _ in 0..10 {
            connection.send(11, &request).unwrap();
        }
        stalled.push(connection);
    }
    for _ in 0..20 {
        victim.serve_healthy().unwrap();
    }
    let highest = victim.process().usage().unwrap().resident_bytes_max;
    assert!(highest < 400 << 20, "{highest} bytes for clients that do not read");
    // One of them wakes up and still gets all of it, in order.
    let late = &mut stalled[0];
    for _ in 0..10 {
        match late.read().unwrap() {
            Reply::Frame(frame) => assert!(frame.len() > 15 << 20, "{} bytes", frame.len()),
            Reply::Closed => panic!("the stalled client was closed"),
        }
    }
    drop(stalled);
    victim.check("50 stalled clients").unwrap();
}
