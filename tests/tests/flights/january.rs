//! The file, and what a topic that holds it must answer.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_client::{
    Admin, Consumer, ConsumerConfig, ConsumerRecord, NewTopic, ProducerRecord, SeekTo, TopicPartition,
    partition_for_key,
};

pub(crate) const TOPIC: &str = "flights";
pub(crate) const PARTITIONS: i32 = 6;
const COLUMN_TAIL_NUMBER: usize = 11;
const COLUMN_TIME_HOUR: usize = 18;

/// One row of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flight {
    pub(crate) row: String,
    pub(crate) tail_number: String,
    pub(crate) timestamp: i64,
}

/// All flights, in the order of the file.
pub(crate) fn flights() -> Vec<Flight> {
    let text = include_str!("../../data/flights-2013-01.csv");
    let flights: Vec<Flight> = text.lines().skip(1).map(flight).collect();
    assert_eq!(flights.len(), 27_004);
    flights
}

fn flight(row: &str) -> Flight {
    let cells: Vec<&str> = row.split(',').collect();
    let timestamp = january_ms(cells[COLUMN_TIME_HOUR]);
    Flight { row: row.to_owned(), tail_number: cells[COLUMN_TAIL_NUMBER].to_owned(), timestamp }
}

/// Milliseconds since 1970 of `2013-01-DDTHH:00:00Z`, or of the first hours of February.
pub(crate) fn january_ms(text: &str) -> i64 {
    const JANUARY_2013_MS: i64 = 1_356_998_400_000;
    let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().expect("digits");
    let days = number(8..10) - 1 + if &text[5..7] == "02" { 31 } else { 0 };
    JANUARY_2013_MS + (days * 24 + number(11..13)) * 3_600_000
}

impl Flight {
    pub(crate) fn record(&self) -> ProducerRecord {
        ProducerRecord::new(TOPIC, self.row.clone()).key(self.tail_number.clone()).timestamp(self.timestamp)
    }

    /// By Kafka's own rule for keys, the partition is a function of the file.
    pub(crate) fn partition(&self) -> i32 {
        partition_for_key(self.tail_number.as_bytes(), PARTITIONS as usize)
    }
}

/// What each partition holds, in order.
pub(crate) fn by_partition(flights: &[Flight]) -> BTreeMap<i32, Vec<&Flight>> {
    let mut partitions: BTreeMap<i32, Vec<&Flight>> = BTreeMap::new();
    for flight in flights {
        partitions.entry(flight.partition()).or_default().push(flight);
    }
    partitions
}

pub(crate) async fn create_topic(bootstrap: &str) {
    let admin = Admin::connect(ottla_client::ClientConfig::new(bootstrap)).await.expect("the broker answers");
    let mut topic = NewTopic::new(TOPIC, PARTITIONS);
    // The flights are of 2013: by the default retention of a week they would rightly be gone.
    topic.configs.push(("retention.ms".into(), "-1".into()));
    admin.create_topic(topic).await.expect("the topic is new");
    admin.close().await;
}

/// Reads `count` records from where each partition is told to begin.
pub(crate) async fn read(bootstrap: &str, from: SeekTo, count: usize) -> BTreeMap<i32, Vec<ConsumerRecord>> {
    let mut consumer = Consumer::connect(ConsumerConfig::new(bootstrap)).await.expect("the broker answers");
    let partitions = (0..PARTITIONS).map(|partition| (TopicPartition::new(TOPIC, partition), from));
    consumer.assign(partitions).await.expect("the topic exists");
    let mut records: BTreeMap<i32, Vec<ConsumerRecord>> = BTreeMap::new();
    let mut left = count;
    while left > 0 {
        let some = consumer.poll(left, Duration::from_secs(20)).await.expect("records can be read");
        assert!(!some.is_empty(), "{left} of {count} records did not come within 20 s");
        left -= some.len();
        for record in some {
            records.entry(record.partition).or_default().push(record);
        }
    }
    consumer.close().await;
    records
}

/// Offsets are dense from `start`, and every record is its flight.
pub(crate) fn assert_same(records: &[ConsumerRecord], flights: &[&Flight], start: i64) {
    assert_eq!(records.len(), flights.len());
    for (offset, (record, flight)) in (start..).zip(records.iter().zip(flights)) {
        assert_eq!(record.offset, offset);
        assert_eq!(record.timestamp, flight.timestamp, "offset {offset}");
        assert_eq!(record.key.as_deref(), Some(flight.tail_number.as_bytes()), "offset {offset}");
        assert_eq!(record.value.as_deref(), Some(flight.row.as_bytes()), "offset {offset}");
    }
}
