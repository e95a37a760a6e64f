//! Goal: what is handed out is each visible record's batch, once, in order, from the position on. Method: answers made by
//! hand, without a task, a socket or a clock of its own.

use bytes::{Bytes, BytesMut};
use ottla_protocol::records::{BatchBuilder, BatchFields, Compression};

use super::*;
use crate::clock;
use ottla_protocol::messages::fetch::AbortedTransaction;

fn rules() -> Rules {
    Rules {
        auto_offset_reset: OffsetReset::Latest,
        isolation_level: IsolationLevel::ReadUncommitted,
        check_crcs: true,
        partition_bytes: 1000,
        decompressed_bytes_max: 1 << 20,
    }
}

fn location(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn buffer(rules: Rules, offsets: &[i64]) -> FetchBuffer {
    let mut buffer = FetchBuffer::new(rules);
    buffer.assign(offsets.iter().zip(0..).map(|(offset, partition)| (location(partition), *offset)));
    buffer
}

/// Records at `base`, `base + 1` ... whose values are their offsets.
fn batch_of(base: i64, count: i64, fields: BatchFields) -> Bytes {
    let mut builder = BatchBuilder::new();
    for offset in base..base + count {
        builder.append(1000 + offset, None, Some(offset.to_string().as_bytes()), &[]);
    }
    builder.build(&BatchFields { base_offset: base, ..fields }).unwrap()
}

fn batch(base: i64, count: i64) -> Bytes {
    batch_of(base, count, BatchFields::default())
}

fn data(batches: &[Bytes]) -> PartitionData {
    PartitionData {
        high_watermark: 500,
        last_stable_offset: 400,
        records: Records::Bytes(batches.concat().into()),
        ..Default::default()
    }
}

fn failed(code: ErrorCode) -> PartitionData {
    PartitionData { error_code: code.code(), ..Default::default() }
}

/// Takes in an answer for what the partition wants now.
fn accept(buffer: &mut FetchBuffer, partition: i32, data: PartitionData) -> bool {
    let asked = asked(buffer, partition).expect("the partition wants to be fetched");
    buffer.accept(&location(partition), asked, data, &"b:1".into(), |_| clock::now())
}

fn asked(buffer: &FetchBuffer, partition: i32) -> Option<Asked> {
    let (wanting, _) = buffer.wanting(clock::now());
    wanting.into_iter().find(|wanting| wanting.partition.partition == partition).map(|wanting| wanting.asked)
}

/// Hands out everything: the offsets of the records, and the errors' words.
fn drain(buffer: &mut FetchBuffer) -> (Vec<i64>, Vec<String>) {
    let (mut offsets, mut errors) = (Vec::new(), Vec::new());
    while let Some(fetched) = buffer.pop() {
        match fetched {
            Ok(batch) => offsets.extend(batch.records().unwrap().map(|record| record.unwrap().offset)),
            Err(error) => errors.push(error.to_string()),
        }
    }
    (offsets, errors)
}

#[test]
fn records_before_the_position_are_passed_over() {
    for compression in [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
    {
        let mut buffer = buffer(rules(), &[7]);
        let fields = BatchFields { compression, ..Default::default() };
        accept(&mut buffer, 0, data(&[batch_of(0, 5, fields), batch_of(5, 5, fields), batch_of(10, 2, fields)]));
        assert_eq!(drain(&mut buffer).0, [7, 8, 9, 10, 11], "{compression:?}");
        assert_eq!(asked(&buffer, 0).unwrap().offset, 12);
        assert_eq!(buffer.consumed(&location(0)).unwrap(), 12);
    }
}

#[test]
fn keys_and_values_of_an_uncompressed_batch_are_not_copied() {
    let mut buffer = buffer(rules(), &[0]);
    let wire = batch(0, 1);
    let range = wire.as_ptr_range();
    let answer = PartitionData { records: Records::Bytes(wire.clone()), ..Default::default() };
    accept(&mut buffer, 0, answer);
    let record = buffer.pop().unwrap().unwrap().records().unwrap().next().unwrap().unwrap();
    assert!(range.contains(&record.value.unwrap().as_ptr()));
}

#[test]
fn what_the_broker_refuses_as_damaged_halts_its_partition_where_it_is() {
    let mut buffer = buffer(rules(), &[0]);
    accept(&mut buffer, 0, data(&[batch(0, 5)]));
    assert!(!accept(&mut buffer, 0, failed(ErrorCode::CorruptMessage)), "the metadata is as good as before");
    assert_eq!(buffer.pop().unwrap().unwrap().start_offset(), 0);
    let error = buffer.pop().unwrap().unwrap_err();
    assert!(matches!(error, Error::CorruptBatch { offset: 5, next_offset: -1, .. }), "{error}");
    assert_eq!(error.code(), Some(ErrorCode::CorruptMessage));
    assert_eq!(asked(&buffer, 0), None, "halted");
}

#[test]
fn a_batch_cut_off_at_the_end_is_left_for_the_next_fetch() {
    let mut buffer = buffer(rules(), &[0]);
    let cut = batch(5, 5);
    accept(&mut buffer, 0, data(&[batch(0, 5), cut.slice(..cut.len() - 1)]));
    assert_eq!(drain(&mut buffer), (vec![0, 1, 2, 3, 4], vec![]));
    assert_eq!(asked(&buffer, 0).unwrap().offset, 5);
}

#[test]
fn less_than_one_batch_is_an_error_and_not_an_endless_loop() {
    let mut buffer = buffer(rules(), &[0]);
    accept(&mut buffer, 0, data(&[batch(0, 5).slice(..70)]));
    assert_eq!(drain(&mut buffer).1.len(), 1);
    assert_eq!(asked(&buffer, 0), None);
}

#[test]
fn a_damaged_batch_is_reported_after_the_records_before_it_and_halts_its_partition_alone() {
    let mut buffer = buffer(rules(), &[0, 0]);
    let mut damaged = BytesMut::from(batch(5, 5));
    *damaged.last_mut().unwrap() ^= 1;
    accept(&mut buffer, 0, data(&[batch(0, 5), damaged.clone().freeze(), batch(10, 1)]));
    accept(&mut buffer, 1, data(&[batch(0, 1)]));
    let first = buffer.pop().unwrap().unwrap();
    assert_eq!((first.partition().partition, first.start_offset()), (0, 0));
    assert_eq!(buffer.pop().unwrap().unwrap().partition().partition, 1);
    let error = buffer.pop().unwrap().unwrap_err();
    assert!(matches!(error, Error::CorruptBatch { offset: 5, next_offset: 10, .. }), "{error}");
    assert_eq!(asked(&buffer, 0), None, "halted");
    assert!(asked(&buffer, 1).is_some());
    buffer.seek(&location(0), 10).unwrap();
    accept(&mut buffer, 0, data(&[batch(10, 1)]));
    assert_eq!(drain(&mut buffer), (vec![10], vec![]));

    let mut unchecked = Rules { check_crcs: false, ..rules() };
    unchecked.decompressed_bytes_max = 1;
    let mut buffer = self::buffer(unchecked, &[5]);
    accept(&mut buffer, 0, data(&[damaged.freeze()]));
    assert!(buffer.pop().unwrap().is_ok(), "handed out unchecked, as asked");
}

#[test]
fn what_was_fetched_before_a_seek_is_never_handed_out() {
    let mut buffer = buffer(rules(), &[0]);
    let before = asked(&buffer, 0).unwrap();
    accept(&mut buffer, 0, data(&[batch(0, 5)]));
    buffer.seek(&location(0), 0).unwrap();
    assert!(buffer.pop().is_none());
    assert_eq!(buffer.bytes(), 0);
    buffer.accept(&location(0), before, data(&[batch(0, 5)]), &"b:1".into(), |_| clock::now());
    assert!(buffer.pop().is_none(), "the answer was to a question from before the seek");
    accept(&mut buffer, 0, data(&[batch(0, 5)]));
    assert_eq!(drain(&mut buffer).0, [0, 1, 2, 3, 4]);
}

#[test]
fn a_paused_partition_keeps_what_it_has_and_wants_no_more() {
    let mut buffer = buffer(rules(), &[0, 0]);
    accept(&mut buffer, 0, data(&[batch(0, 2)]));
    accept(&mut buffer, 1, data(&[batch(0, 2)]));
    buffer.set_paused(&location(0), true).unwrap();
    assert_eq!(asked(&buffer, 0), None);
    assert_eq!(buffer.pop().unwrap().unwrap().partition().partition, 1);
    assert!(buffer.pop().is_none());
    buffer.set_paused(&location(0), false).unwrap();
    assert_eq!(drain(&mut buffer).0, [0, 1]);
    assert!(asked(&buffer, 0).is_some());
}

#[test]
fn partitions_take_turns() {
    let mut buffer = buffer(rules(), &[0, 0]);
    accept(&mut buffer, 0, data(&[batch(0, 1), batch(1, 1), batch(2, 1)]));
    accept(&mut buffer, 1, data(&[batch(0, 1), batch(1, 1)]));
    let order: Vec<i32> = std::iter::from_fn(|| buffer.pop()).map(|b| b.unwrap().partition().partition).collect();
    assert_eq!(order, [0, 1, 0, 1, 0]);
}

#[test]
fn what_was_taken_can_be_given_back() {
    let mut buffer = buffer(rules(), &[0]);
    accept(&mut buffer, 0, data(&[batch(0, 5), batch(5, 5)]));
    let bytes = buffer.bytes();
    let mut records = buffer.pop().unwrap().unwrap().records().unwrap();
    records.by_ref().take(2).for_each(drop);
    buffer.push_front(records.into_rest());
    assert_eq!(buffer.bytes(), bytes);
    assert_eq!(buffer.consumed(&location(0)).unwrap(), 2);
    assert_eq!(drain(&mut buffer).0, [2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(buffer.bytes(), 0);
}

#[test]
fn a_partition_is_full_with_its_share_of_bytes() {
    let mut buffer = buffer(rules(), &[0]);
    accept(&mut buffer, 0, data(&[batch(0, 100)]));
    assert!(buffer.wanting(clock::now()).0[0].full);
    buffer.pop();
    assert!(!buffer.wanting(clock::now()).0[0].full);
}

#[test]
fn a_moved_leader_is_retried_after_a_wait_with_fresh_metadata() {
    let mut buffer = buffer(rules(), &[0]);
    let now = clock::now();
    let later = now + std::time::Duration::from_secs(1);
    let asked = asked(&buffer, 0).unwrap();
    let stale = buffer.accept(&location(0), asked, failed(ErrorCode::NotLeaderOrFollower), &"b:1".into(), |_| later);
    assert!(stale);
    assert_eq!(buffer.wanting(now), (vec![], Some(later)));
    assert_eq!(buffer.wanting(later).0[0].asked.offset, 0);
    assert!(buffer.pop().is_none(), "nothing the consumer has to know");
}

#[test]
fn out_of_range_follows_the_reset_policy() {
    let mut buffer = buffer(rules(), &[99]);
    accept(&mut buffer, 0, failed(ErrorCode::OffsetOutOfRange));
    assert_eq!(asked(&buffer, 0), None, "the position is not known");
    let questions = buffer.take_questions();
    let (generation, spec) = questions[&location(0)];
    assert_eq!(spec, OffsetSpec::Latest);
    assert!(buffer.take_questions().is_empty(), "asked once");
    let listed = ListedOffset { offset: 42, timestamp: -1, leader_epoch: 0 };
    buffer.located(&location(0), generation, Ok(listed));
    assert_eq!(asked(&buffer, 0).unwrap().offset, 42);

    let mut strict = self::buffer(Rules { auto_offset_reset: OffsetReset::None, ..rules() }, &[99]);
    accept(&mut strict, 0, failed(ErrorCode::OffsetOutOfRange));
    assert!(matches!(strict.pop(), Some(Err(Error::OffsetOutOfRange { offset: 99, .. }))));
    assert_eq!(asked(&strict, 0), None);
}

#[test]
fn a_refusal_halts_the_partition_until_it_is_resumed() {
    let mut buffer = buffer(rules(), &[0]);
    accept(&mut buffer, 0, failed(ErrorCode::TopicAuthorizationFailed));
    assert_eq!(drain(&mut buffer).1.len(), 1);
    assert_eq!(asked(&buffer, 0), None);
    buffer.set_paused(&location(0), false).unwrap();
    assert!(asked(&buffer, 0).is_some());
}

/// A control batch: one record whose key is the marker's version and type.
fn marker(offset: i64, producer_id: i64, kind: u8) -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.append(0, Some(&[0, 0, 0, kind]), Some(&[0; 6]), &[]);
    let fields = BatchFields {
        base_offset: offset,
        producer_id,
        producer_epoch: 0,
        is_transactional: true,
        is_control: true,
        ..Default::default()
    };
    builder.build(&fields).unwrap()
}

#[test]
fn committed_readers_see_no_aborted_records_and_nobody_sees_markers() {
    let of = |producer_id| BatchFields {
        producer_id,
        producer_epoch: 0,
        base_sequence: 0,
        is_transactional: true,
        ..Default::default()
    };
    // Producer 1 aborts what it wrote at 0 and commits what it wrote at 4; producer 2 commits; 8 is in no transaction.
    let wire = [
        batch_of(0, 2, of(1)),
        batch_of(2, 1, of(2)),
        marker(3, 1, 0),
        batch_of(4, 2, of(1)),
        marker(6, 1, 1),
        marker(7, 2, 1),
        batch(8, 1),
        marker(9, 2, 0),
    ];
    let answer = || PartitionData {
        aborted_transactions: Some(vec![AbortedTransaction { producer_id: 1, first_offset: 0 }]),
        ..data(&wire)
    };
    let mut committed = buffer(Rules { isolation_level: IsolationLevel::ReadCommitted, ..rules() }, &[0]);
    accept(&mut committed, 0, answer());
    assert_eq!(drain(&mut committed).0, [2, 4, 5, 8]);
    assert_eq!(asked(&committed, 0).unwrap().offset, 10);
    assert_eq!(committed.consumed(&location(0)).unwrap(), 10, "the marker behind the last record counts");
    assert_eq!(committed.high_watermark(&location(0)), 400);

    let mut uncommitted = buffer(rules(), &[0]);
    accept(&mut uncommitted, 0, answer());
    assert_eq!(drain(&mut uncommitted).0, [0, 1, 2, 4, 5, 8]);
    assert_eq!(uncommitted.high_watermark(&location(0)), 500);
}

#[test]
fn an_answer_of_markers_alone_moves_the_position() {
    let mut buffer = buffer(rules(), &[3]);
    accept(&mut buffer, 0, data(&[marker(3, 1, 1)]));
    assert!(buffer.pop().is_none());
    assert_eq!(buffer.consumed(&location(0)).unwrap(), 4);
}
