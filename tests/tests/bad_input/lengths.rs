//! Lengths inside bodies: array counts, null, many names, many repeats, and the requests of real clients with every length
//! in turn made huge.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ottla_protocol::messages::describe_topic_partitions::{DescribeTopicPartitionsRequest, TopicRequest};
use ottla_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_protocol::messages::metadata::MetadataRequest;
use ottla_tests::connection::Reply;

use crate::victim::Victim;

/// In fixed-width lengths, and in varints: 2^31-1 and 2^32-1.
const HUGE: [&[u8]; 3] = [&[0x7f, 0xff, 0xff, 0xff], &[0xff, 0xff, 0xff, 0xff, 0x07], &[0xff, 0xff, 0xff, 0xff, 0x0f]];

fn captured_requests() -> Result<Vec<(String, Vec<u8>)>> {
    let mut requests = Vec::new();
    for client in ["kcat-1.7.1", "confluent-kafka-2.16.1", "kafka-python-3.0.12"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/captures").join(client);
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "request") {
                requests.push((path.display().to_string(), std::fs::read(&path)?));
            }
        }
    }
    ensure!(requests.len() > 30, "only {} captured requests", requests.len());
    Ok(requests)
}

/// Whatever a length becomes, the broker answers or closes; it neither hangs nor ends nor allocates what was announced.
#[test]
fn requests_of_real_clients_with_any_length_made_huge() {
    let mut victim = Victim::start().unwrap();
    let mut sent = 0;
    for (name, request) in captured_requests().unwrap() {
        // Behind key, version and correlation id. Long record batches are the matter of other tests.
        for at in 8..request.len().min(120) {
            for huge in HUGE {
                let mut body = request[..at].to_vec();
                body.extend_from_slice(huge);
                body.extend_from_slice(&request[(at + huge.len()).min(request.len())..]);
                let mut connection = victim.connect().unwrap();
                connection.send_frame(&body).unwrap();
                connection.finish_sending().unwrap();
                while let Reply::Frame(_) = connection.read().with_context(|| format!("{name} at {at}")).unwrap() {}
                sent += 1;
            }
        }
    }
    assert!(sent > 5000, "only {sent} requests");
    let highest = victim.process().usage().unwrap().resident_bytes_max;
    assert!(highest < 300 << 20, "{highest} bytes at the highest");
    // The mutated requests of administration may have made topics; their files stay open.
    victim.serve_healthy().unwrap();
}

#[test]
fn huge_counts_and_nulls_close_the_connection_at_once() {
    let mut victim = Victim::start().unwrap();
    let cases: [(&str, i16, i16, &[u8]); 9] = [
        ("Metadata with 2^31-1 topics", 3, 4, &[0x7f, 0xff, 0xff, 0xff, 0]),
        ("Metadata with -2 topics", 3, 4, &[0xff, 0xff, 0xff, 0xfe, 0]),
        ("Metadata v0 without a list", 3, 0, &[0xff, 0xff, 0xff, 0xff]),
        ("compact Metadata with 2^32-2 topics", 3, 12, &[0, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 0, 0]),
        ("Produce with 2^31-1 topics", 0, 3, &[0xff, 0xff, 0, 1, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]),
        ("Produce v9 with null topics", 0, 9, &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
        ("CreateTopics with 2^31-1 topics", 19, 4, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0]),
        ("DeleteTopics with a null name", 20, 1, &[0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0]),
        ("SyncGroup with 2^31-1 assignments", 14, 0, &[0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]),
    ];
    for (what, api_key, version, body) in cases {
        let mut connection = victim.connect().unwrap();
        connection.send_raw(api_key, version, body).unwrap();
        connection.expect_closed().with_context(|| what.to_owned()).unwrap();
        drop(connection);
        victim.check(what).unwrap();
    }
    assert!(victim.process().usage().unwrap().resident_bytes_max < 150 << 20);
}

#[test]
fn a_million_names_take_bounded_time_and_memory() {
    let mut victim = Victim::start().unwrap();
    let mut body = 1_000_000_i32.to_be_bytes().to_vec();
    for _ in 0..1_000_000 {
        body.extend_from_slice(&[0, 1, b'x']);
    }
    body.push(0);
    let mut connection = victim.connect().unwrap();
    connection.set_read_patience(Duration::from_secs(30)).unwrap();
    connection.send_raw(3, 4, &body).unwrap();
    // Closed, refused or answered: all that counts is what it costs.
    connection.read().unwrap();
    let highest = victim.process().usage().unwrap().resident_bytes_max;
    assert!(highest < 500 << 20, "{highest} bytes for a request of {}", body.len());
    drop((connection, body));
    victim.serve_healthy().unwrap();
}

#[test]
fn a_partition_ten_thousand_times_gets_a_bounded_answer() {
    let mut victim = Victim::start().unwrap();
    victim.create_topic("repeated", 1, &[]).unwrap();
    let batch = ottla_tests::batch::BatchSpec {
        records: vec![ottla_tests::batch::RecordSpec::value(vec![b'x'; 500_000])],
        ..Default::default()
    };
    victim.ask(12, &crate::victim::produce("repeated", batch.build(), 1)).unwrap();
    victim.rebase().unwrap();
    let partition = FetchPartition { partition_max_bytes: i32::MAX, ..Default::default() };
    let topic = FetchTopic { topic: "repeated".to_owned(), partitions: vec![partition; 10_000], ..Default::default() };
    let fetch = FetchRequest { max_bytes: i32::MAX, topics: vec![topic], ..Default::default() };
    let mut connection = victim.connect().unwrap();
    connection.set_read_patience(Duration::from_secs(30)).unwrap();
    connection.send(12, &fetch).unwrap();
    match connection.read().unwrap() {
        Reply::Frame(frame) => assert!(frame.len() < 60 << 20, "{} bytes", frame.len()),
        Reply::Closed => panic!("the fetch was not answered"),
    }
    drop(connection);
    victim.check("10,000 times in Fetch").unwrap();

    let partition = ListOffsetsPartition { timestamp: 5, ..Default::default() };
    let topic = ListOffsetsTopic { name: "repeated".to_owned(), partitions: vec![partition; 10_000] };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let response = victim.ask(4, &request).unwrap();
    assert!(response.topics.iter().all(|topic| topic.partitions.len() <= 10_000));
    victim.check("10,000 times in ListOffsets").unwrap();
}

#[test]
fn a_page_of_partitions_is_clamped() {
    let mut victim = Victim::start().unwrap();
    victim.create_topic("wide", 2_100, &[]).unwrap();
    victim.rebase().unwrap();
    let request = DescribeTopicPartitionsRequest {
        topics: vec![TopicRequest { name: "wide".to_owned() }],
        response_partition_limit: i32::MAX,
        cursor: None,
    };
    let response = victim.ask(0, &request).unwrap();
    assert_eq!(response.topics[0].partitions.len(), 2_000);
    let cursor = response.next_cursor.unwrap();
    assert_eq!((cursor.topic_name.as_str(), cursor.partition_index), ("wide", 2_000));
    victim.check("a limit of 2^31-1").unwrap();
}

/// The decoder's time does not follow what is announced.
#[test]
fn a_compact_count_without_bytes_is_refused_quickly() {
    let mut victim = Victim::start().unwrap();
    let started = Instant::now();
    for _ in 0..100 {
        let mut connection = victim.connect().unwrap();
        connection.send_raw(60, 0, &[0xff; 5]).unwrap();
        match connection.read().unwrap() {
            Reply::Closed => {}
            Reply::Frame(_) => panic!("a boolean of 0xff and tagged fields of five bytes were answered"),
        }
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let answered = victim.ask(12, &MetadataRequest::default());
    assert!(answered.is_ok(), "{answered:?}");
    victim.check("compact counts").unwrap();
}
