//! Goal: records leave complete, in order, when they should, and never use more memory than allowed. Method: appends and
//! takes at chosen times, without a clock, a task or a socket.

use ottla_protocol::Uuid;
use ottla_protocol::records::{BatchFields, batches};

use super::*;
use crate::clock;
use crate::metadata::PartitionMetadata;

const LINGER: Duration = Duration::from_millis(5);

fn limits() -> Limits {
    Limits {
        batch_bytes: 1000,
        linger: LINGER,
        max_request_bytes: 2000,
        buffer_memory: 5000,
        delivery_timeout: Duration::from_secs(120),
    }
}

fn topic(partitions: i32) -> TopicMetadata {
    let partition = |partition| PartitionMetadata {
        partition,
        leader: Some(1),
        leader_epoch: 0,
        replicas: vec![1],
        in_sync_replicas: vec![1],
    };
    let partitions = (0..partitions).map(partition).collect();
    TopicMetadata { name: "t".into(), id: Uuid::ZERO, is_internal: false, partitions }
}

fn accumulator() -> Accumulator {
    let mut accumulator = Accumulator::new(limits());
    accumulator.set_topic(&topic(3));
    accumulator
}

fn record(partition: i32, bytes: usize) -> ProducerRecord {
    ProducerRecord::new("t", vec![b'x'; bytes]).partition(partition)
}

fn partition(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn take(accumulator: &mut Accumulator, index: i32, now: Instant) -> Option<ProducerBatch> {
    accumulator.take(&partition(index), now, usize::MAX)
}

#[test]
fn a_batch_waits_for_its_linger() {
    let (mut accumulator, start) = (accumulator(), clock::now());
    assert!(accumulator.append(&record(0, 10), 1, || start).unwrap().wake_sender, "a new batch has to be timed");
    let later = start + LINGER / 2;
    assert!(!accumulator.append(&record(0, 10), 2, || later).unwrap().wake_sender);
    let waiting: Vec<_> = accumulator.waiting().map(|(location, at)| (location.clone(), at)).collect();
    assert_eq!(waiting, [(partition(0), start + LINGER)]);
    assert!(take(&mut accumulator, 0, start + LINGER - Duration::from_nanos(1)).is_none());
    assert_eq!(take(&mut accumulator, 0, start + LINGER).unwrap().records, 2);
    assert!(accumulator.waiting().next().is_none());
}

#[test]
fn a_full_batch_does_not_wait() {
    let (mut accumulator, start) = (accumulator(), clock::now());
    accumulator.append(&record(1, 300), 1, || start).unwrap();
    accumulator.append(&record(1, 300), 1, || start).unwrap();
    assert!(take(&mut accumulator, 1, start).is_none());
    assert!(accumulator.append(&record(1, 300), 1, || start).unwrap().wake_sender);
    let full = take(&mut accumulator, 1, start).unwrap();
    assert_eq!(full.records, 2, "the third did not fit with the header's and each record's own bytes");
    assert!(full.size <= 1000);
    assert!(take(&mut accumulator, 1, start).is_none(), "the rest waits for its linger");
}

#[test]
fn a_record_larger_than_a_batch_goes_alone_and_one_larger_than_a_request_not_at_all() {
    let (mut accumulator, start) = (accumulator(), clock::now());
    accumulator.append(&record(0, 1500), 1, || start).unwrap();
    assert_eq!(take(&mut accumulator, 0, start).unwrap().records, 1, "at once: nothing fits beside it");
    let refused = accumulator.append(&record(0, 2000), 1, || start);
    assert!(matches!(refused, Err(Refused::Never(Error::RecordTooLarge { limit: 2000, .. }))));
}

#[test]
fn when_memory_is_used_up_everything_is_made_ready_and_settling_frees_it() {
    let (mut accumulator, start) = (accumulator(), clock::now());
    let mut deliveries = Vec::new();
    let refused = loop {
        match accumulator.append(&record(deliveries.len() as i32 % 3, 200), 1, || start) {
            Ok(appended) => deliveries.push(appended.delivery),
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, Refused::Full));
    assert!(accumulator.used() <= 5000);
    let mut taken = Vec::new();
    for index in 0..3 {
        taken.extend(std::iter::from_fn(|| take(&mut accumulator, index, start)));
    }
    assert_eq!(taken.iter().map(|batch| batch.records as usize).sum::<usize>(), deliveries.len());
    assert!(matches!(accumulator.append(&record(0, 200), 1, || start), Err(Refused::Full)), "taken is not settled");
    for batch in taken {
        let acknowledged = BatchAcknowledged { base_offset: 7, log_append_time: -1 };
        accumulator.settle(batch.number, batch.size, Ok(acknowledged));
    }
    assert_eq!(accumulator.used(), 0);
    assert!(accumulator.is_settled());
    accumulator.append(&record(0, 200), 1, || start).unwrap();
}

#[test]
fn records_leave_in_the_order_in_which_they_came() {
    let (mut accumulator, start) = (accumulator(), clock::now());
    let mut expected = Vec::new();
    for index in 0..20 {
        let value = format!("{index:0>150}");
        accumulator.append(&ProducerRecord::new("t", value.clone()).partition(2), index, || start).unwrap();
        expected.push(value);
    }
    accumulator.seal_all();
    let mut found = Vec::new();
    while let Some(batch) = take(&mut accumulator, 2, start) {
        let bytes = batch.builder.build(&BatchFields::default()).unwrap();
        for view in batches(bytes) {
            for record in view.unwrap().records(usize::MAX).unwrap() {
                found.push(String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap());
            }
        }
    }
    assert_eq!(found, expected);
}

#[test]
fn a_batch_too_large_for_the_room_left_stays() {
    let (mut accumulator, start) = (accumulator(), clock::now());
    accumulator.append(&record(0, 500), 1, || start).unwrap();
    accumulator.seal_all();
    assert!(accumulator.take(&partition(0), start, 400).is_none());
    assert!(accumulator.take(&partition(0), start, 1000).is_some());
}

#[test]
fn batches_expire_oldest_first() {
    let (mut accumulator, start) = (accumulator(), clock::now());
    let timeout = limits().delivery_timeout;
    accumulator.append(&record(0, 900), 1, || start).unwrap();
    accumulator.append(&record(0, 900), 1, || start + LINGER).unwrap();
    let (expired, next) = accumulator.take_expired(start + timeout);
    assert_eq!((expired.len(), next), (1, Some(start + LINGER + timeout)));
    let (expired, next) = accumulator.take_expired(start + timeout + LINGER);
    assert_eq!((expired.len(), next), (1, None));
}

#[test]
fn the_same_key_goes_to_the_same_partition_as_with_java() {
    let (mut accumulator, start) = (accumulator(), clock::now());
    accumulator.set_topic(&topic(6));
    for (key, expected) in [("N14228", 2), ("N24211", 3), ("N619AA", 1)] {
        let record = ProducerRecord::new("t", "v").key(key);
        let delivery = accumulator.append(&record, 1, || start).unwrap().delivery;
        assert_eq!(delivery.partition().partition, expected);
    }
}

#[test]
fn unknown_topics_and_partitions_are_told_apart_from_a_full_buffer() {
    let (mut accumulator, start) = (accumulator(), clock::now());
    let elsewhere = ProducerRecord::new("elsewhere", "v");
    assert!(matches!(accumulator.append(&elsewhere, 1, || start), Err(Refused::UnknownPartition)));
    for index in [3, -1] {
        assert!(matches!(accumulator.append(&record(index, 1), 1, || start), Err(Refused::UnknownPartition)));
    }
    assert_eq!(accumulator.used(), 0);
    accumulator.refuse(Error::Closed);
    assert!(matches!(accumulator.append(&record(0, 1), 1, || start), Err(Refused::Never(Error::Closed))));
}

#[tokio::test]
async fn failing_everything_reaches_those_with_the_sender_too() {
    let (mut accumulator, start) = (accumulator(), clock::now());
    let first = accumulator.append(&record(0, 1000), 1, || start).unwrap().delivery;
    let taken = take(&mut accumulator, 0, start).unwrap();
    let second = accumulator.append(&record(0, 10), 1, || start).unwrap().delivery;
    assert_eq!(accumulator.fail_all(&Error::Closed), 2);
    assert!(matches!(first.await, Err(Error::Closed)));
    assert!(matches!(second.await, Err(Error::Closed)));
    accumulator.settle(taken.number, taken.size, Err(Error::Closed));
    assert_eq!(accumulator.used(), 0, "freed once");
}

#[test]
fn a_topic_that_shrinks_keeps_the_partitions_that_have_records() {
    let (mut accumulator, start) = (accumulator(), clock::now());
    accumulator.append(&record(2, 10), 1, || start).unwrap();
    accumulator.set_topic(&topic(1));
    assert!(take(&mut accumulator, 2, start + LINGER).is_some());
    accumulator.set_topic(&topic(1));
    assert!(matches!(accumulator.append(&record(2, 10), 1, || start), Err(Refused::UnknownPartition)));
}

#[test]
fn a_new_batch_has_room_for_one_like_the_last_and_never_for_more_than_a_batch() {
    assert_eq!(expected_bytes(0, 1_000_000), 0, "thin traffic takes no memory ahead");
    assert_eq!(expected_bytes(400, 1_000_000), 500);
    assert_eq!(expected_bytes(996_000, 1_000_000), 1_000_000);
}
