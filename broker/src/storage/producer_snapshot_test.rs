//! Goal: files of Apache Kafka are read, damaged ones are refused, and Kafka's part of ours is laid out as Kafka's.
//! Method: bytes captured from Kafka 4.3, and every bit of a file of ours flipped.
//! That Kafka's dump tool reads ours is checked in the interoperability tests, which have a JVM.

use super::*;
use crate::storage::producer_state::{ProducerBatch, Verdict};

/// Written by Kafka 4.3: an idempotent producer, and a transactional one whose last marker bumped its epoch.
const KAFKA: &str = "0001ca05c70800000002\
    000000000000000000000000012b000000000000012b00000041000001a1fd79df27ffffffffffffffffffffffff\
    00000000000000010005ffffffffffffffffffffffff00000000000001a1fd79eacf00000000ffffffffffffffff";

fn kafka_bytes() -> Vec<u8> {
    (0..KAFKA.len()).step_by(2).map(|at| u8::from_str_radix(&KAFKA[at..at + 2], 16).unwrap()).collect()
}

fn decode(bytes: &[u8]) -> Result<ProducerState, ProducerSnapshotError> {
    ProducerState::decode_snapshot(bytes, Offset(605), 99, ProducerLimits::default())
}

fn sample() -> ProducerState {
    let mut state = decode(&kafka_bytes()).unwrap();
    for n in 0..6 {
        let batch = ProducerBatch {
            producer_id: ProducerId(0),
            producer_epoch: 0,
            first_sequence: 300 + n,
            base_offset: Offset(605 + i64::from(n)),
            last_offset: Offset(605 + i64::from(n)),
            max_timestamp: 1,
            is_transactional: n == 5,
            end_txn_marker: None,
        };
        assert_eq!(state.check(&batch), Ok(Verdict::Append));
        state.update(&batch, 7);
    }
    state
}

#[test]
fn a_file_of_kafka_is_read() {
    let state = decode(&kafka_bytes()).unwrap();
    assert_eq!((state.len(), state.end_offset()), (2, Offset(605)));
    let idempotent = state.get(ProducerId(0)).unwrap();
    let [last] = idempotent.batches() else { panic!("{idempotent:?}") };
    assert_eq!((last.first_sequence(), last.last_sequence, last.first_offset()), (234, 299, Offset(234)));
    assert_eq!((idempotent.last_timestamp, idempotent.last_update_ms), (1_795_253_985_063, 99));
    let transactional = state.get(ProducerId(1)).unwrap();
    assert_eq!((transactional.producer_epoch, transactional.coordinator_epoch), (5, 0));
    assert!(transactional.batches().is_empty() && transactional.current_txn_first_offset.is_none());
}

#[test]
fn our_file_starts_as_kafka_writes_it() {
    let kafka = kafka_bytes();
    let ours = decode(&kafka).unwrap().encode_snapshot();
    assert_eq!(ours[..2], kafka[..2]);
    assert_eq!(ours[CRC_COVERS_FROM..kafka.len()], kafka[CRC_COVERS_FROM..]);
    assert_eq!(ours[kafka.len()..][..4], *b"OTWN");
}

#[test]
fn the_whole_window_and_an_open_transaction_come_back() {
    let state = sample();
    let loaded = decode(&state.encode_snapshot()).unwrap();
    assert_eq!(loaded.get(ProducerId(0)), state.get(ProducerId(0)));
    assert_eq!(loaded.get(ProducerId(0)).unwrap().batches().len(), WINDOW_BATCHES);
    assert_eq!(loaded.first_unstable_offset(), Some(Offset(610)));
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let bytes = sample().encode_snapshot();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&flipped).is_err(), "bit {bit}");
    }
    for len in 0..bytes.len() {
        assert!(decode(&bytes[..len]).is_err(), "cut to {len}");
    }
}

#[test]
fn hostile_contents_with_a_good_checksum_are_errors() {
    let sealed = |mut bytes: Vec<u8>| {
        let crc = crc32c(&bytes[CRC_COVERS_FROM..]);
        bytes[2..CRC_COVERS_FROM].copy_from_slice(&crc.to_be_bytes());
        decode(&bytes)
    };
    let with = |at: usize, value: &[u8]| {
        let mut bytes = sample().encode_snapshot();
        bytes[at..at + value.len()].copy_from_slice(value);
        sealed(bytes)
    };
    assert!(sealed(sample().encode_snapshot()).is_ok());
    assert!(matches!(with(0, &[0, 2]), Err(ProducerSnapshotError::Version { version: 2 })));
    assert!(matches!(
        with(6, &i32::MAX.to_be_bytes()),
        Err(ProducerSnapshotError::Length { .. } | ProducerSnapshotError::Value { .. })
    ));
    assert!(matches!(with(6, &i32::MIN.to_be_bytes()), Err(ProducerSnapshotError::Windows { .. })));
    assert!(matches!(with(10, &[0xff; 8]), Err(ProducerSnapshotError::Value { field: "producer id", .. })));
    let windows = 10 + 2 * 46;
    assert!(matches!(with(windows, b"else"), Err(ProducerSnapshotError::Windows { .. })));
    assert!(matches!(with(windows + 6 + 20, &[6]), Err(ProducerSnapshotError::Value { field: "batch count", .. })));
    assert!(matches!(with(windows + 6, &[0xff; 4]), Err(ProducerSnapshotError::Value { field: "known run", .. })));
    assert!(matches!(
        with(windows + 6 + 20 + 1 + 4 * 24, &[9]),
        Err(ProducerSnapshotError::Value { field: "last sequence", .. })
    ));
    let mut longer = sample().encode_snapshot();
    longer.push(0);
    assert!(matches!(sealed(longer), Err(ProducerSnapshotError::Length { .. })));
}
