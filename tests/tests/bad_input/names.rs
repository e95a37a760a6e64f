//! Names of topics that are paths, too long or reserved; too many partitions; and what of it reaches the disk.

use std::collections::BTreeSet;

use anyhow::Result;
use ottla_protocol::messages::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use ottla_protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use ottla_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla_protocol::messages::find_coordinator::FindCoordinatorRequest;
use ottla_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use ottla_tests::batch::BatchSpec;

use crate::victim::{Victim, produce};

const INVALID_TOPIC: i16 = 17;
const INVALID_PARTITIONS: i16 = 37;

/// Names of files in the data directory and beside it.
fn files(victim: &Victim) -> Result<BTreeSet<String>> {
    let data_dir = victim.process().data_dir();
    let mut names = BTreeSet::new();
    for directory in [Some(data_dir), data_dir.parent()].into_iter().flatten() {
        for entry in std::fs::read_dir(directory)? {
            names.insert(entry?.path().display().to_string());
        }
    }
    Ok(names)
}

#[test]
fn no_file_is_made_for_a_hostile_name() {
    let mut victim = Victim::start().unwrap();
    let before = files(&victim).unwrap();
    let long = "x".repeat(250);
    let names =
        ["../../etc/passwd", "../beside", "/tmp/ottla", "a/b", "a\\b", "a\0b", ".", "..", "", " ", "zürich", &long];
    for name in names {
        let topic =
            CreatableTopic { name: name.to_owned(), num_partitions: 1, replication_factor: 1, ..Default::default() };
        let created = victim.ask(7, &CreateTopicsRequest { topics: vec![topic], ..Default::default() }).unwrap();
        assert_eq!(created.topics[0].error_code, INVALID_TOPIC, "CreateTopics {name:?}");
        let topic = MetadataRequestTopic { name: Some(name.to_owned()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
        let described = victim.ask(12, &request).unwrap();
        assert_eq!(described.topics[0].error_code, INVALID_TOPIC, "Metadata {name:?}");
        let produced = victim.ask(12, &produce(name, BatchSpec::default().build(), 1)).unwrap();
        let code = produced.responses[0].partition_responses[0].error_code;
        assert!(matches!(code, 3 | INVALID_TOPIC), "Produce {name:?}: {code}");
        let topics = vec![DeleteTopicState { name: Some(name.to_owned()), ..Default::default() }];
        let deleted = victim.ask(6, &DeleteTopicsRequest { topics, ..Default::default() }).unwrap();
        assert_ne!(deleted.responses[0].error_code, 0, "DeleteTopics {name:?}");
        victim.check(name).unwrap();
    }
    assert_eq!(files(&victim).unwrap(), before);
}

#[test]
fn more_partitions_than_there_is_room_for_are_refused() {
    let mut victim = Victim::start().unwrap();
    let before = files(&victim).unwrap();
    for (partitions, codes) in
        [(0, [INVALID_PARTITIONS; 2]), (-5, [INVALID_PARTITIONS; 2]), (i32::MAX, [INVALID_PARTITIONS, 44])]
    {
        let topic = CreatableTopic {
            name: "many".to_owned(),
            num_partitions: partitions,
            replication_factor: 1,
            ..Default::default()
        };
        let created = victim.ask(7, &CreateTopicsRequest { topics: vec![topic], ..Default::default() }).unwrap();
        assert!(codes.contains(&created.topics[0].error_code), "{partitions}: {:?}", created.topics[0]);
        victim.check(&format!("{partitions} partitions")).unwrap();
    }
    assert_eq!(files(&victim).unwrap(), before);
}

#[test]
fn internal_topics_take_nothing_from_clients() {
    let mut victim = Victim::start().unwrap();
    for name in ["__consumer_offsets", "__transaction_state"] {
        for version in [3, 9, 12] {
            let produced = victim.ask(version, &produce(name, BatchSpec::default().build(), 1)).unwrap();
            assert_ne!(produced.responses[0].partition_responses[0].error_code, 0, "{name} v{version}");
        }
        victim.check(name).unwrap();
    }
    let find = FindCoordinatorRequest { coordinator_keys: vec!["group".to_owned()], ..Default::default() };
    assert_eq!(victim.ask(6, &find).unwrap().coordinators[0].error_code, 0);
    victim.rebase().unwrap();
    let name = "__consumer_offsets";
    let produced = victim.ask(12, &produce(name, BatchSpec::default().build(), 1)).unwrap();
    assert_eq!(produced.responses[0].partition_responses[0].error_code, INVALID_TOPIC);
    let topics = vec![DeleteTopicState { name: Some(name.to_owned()), ..Default::default() }];
    let deleted = victim.ask(6, &DeleteTopicsRequest { topics, ..Default::default() }).unwrap();
    assert_eq!(deleted.responses[0].error_code, INVALID_TOPIC);
    let topics = vec![CreatePartitionsTopic { name: name.to_owned(), count: 60, ..Default::default() }];
    let grown = victim.ask(3, &CreatePartitionsRequest { topics, ..Default::default() }).unwrap();
    assert_eq!(grown.results[0].error_code, INVALID_TOPIC);
    let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset: -1 }];
    let topics = vec![DeleteRecordsTopic { name: name.to_owned(), partitions }];
    let trimmed = victim.ask(2, &DeleteRecordsRequest { topics, timeout_ms: 1_000 }).unwrap();
    assert_eq!(trimmed.topics[0].partitions[0].error_code, INVALID_TOPIC);
    victim.check(name).unwrap();
}
