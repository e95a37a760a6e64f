//! Batches for the tests of this floor: real ones, which Kafka's dump tool reads, built here by hand.

use bytes::Bytes;
use ottla_protocol::records::crc32c;

use super::batch_header::HEADER_BYTES;
use super::open_transactions::EndTxnMarker;
use super::validated_batch::ValidatedBatch;

const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// A batch to build.
#[derive(Debug, Clone)]
pub(crate) struct TestBatch {
    pub(crate) values: Vec<Vec<u8>>,
    pub(crate) timestamp: i64,
    pub(crate) producer: Option<(i64, i16, i32)>,
    pub(crate) transactional: bool,
}

/// A batch with these values, one millisecond apart.
pub(crate) fn batch(values: &[&str], timestamp: i64) -> TestBatch {
    let values = values.iter().map(|value| value.as_bytes().to_vec()).collect();
    TestBatch { values, timestamp, producer: None, transactional: false }
}

/// The control batch with which a coordinator ends a producer's transaction.
pub(crate) fn marker(producer_id: i64, producer_epoch: i16, is_commit: bool, timestamp: i64) -> ValidatedBatch {
    let mut records = Vec::new();
    let key = [0, 0, 0, u8::from(is_commit)];
    push_record(&mut records, 0, 0, Some(&key), &[0, 0, 0, 0, 0, 7]);
    let batch = TestBatch {
        values: vec![Vec::new()],
        timestamp,
        producer: Some((producer_id, producer_epoch, -1)),
        transactional: true,
    };
    let (header, records) = batch.finish(TRANSACTIONAL | CONTROL, records);
    ValidatedBatch::new(header, records).with_end_txn_marker(EndTxnMarker { is_commit, coordinator_epoch: 7 })
}

impl TestBatch {
    pub(crate) fn of(count: usize, value_bytes: usize, timestamp: i64) -> TestBatch {
        let value = |n: usize| (0..value_bytes).map(|at| b'a' + ((n * 7 + at) % 26) as u8).collect();
        TestBatch { values: (0..count).map(value).collect(), timestamp, producer: None, transactional: false }
    }

    pub(crate) fn by_producer(mut self, id: i64, epoch: i16, first_sequence: i32) -> TestBatch {
        self.producer = Some((id, epoch, first_sequence));
        self
    }

    /// The same as part of its producer's transaction.
    pub(crate) fn in_transaction(mut self) -> TestBatch {
        self.transactional = true;
        self
    }

    /// Those of its records, in milliseconds since 1970.
    pub(crate) fn timestamps(&self) -> impl Iterator<Item = i64> + '_ {
        (self.timestamp..).take(self.values.len())
    }

    pub(crate) fn build(&self) -> ValidatedBatch {
        let mut records = Vec::new();
        for (n, value) in self.values.iter().enumerate() {
            push_record(&mut records, n as i64, n as i64, None, value);
        }
        let attributes = if self.transactional { TRANSACTIONAL } else { 0 };
        let (header, records) = self.finish(attributes, records);
        ValidatedBatch::new(header, records)
    }

    fn finish(&self, attributes: i16, records: Vec<u8>) -> ([u8; HEADER_BYTES], Bytes) {
        let count = self.values.len() as i32;
        let (producer_id, epoch, sequence) = self.producer.unwrap_or((-1, -1, -1));
        let mut header = [0; HEADER_BYTES];
        let mut put = |at: usize, field: &[u8]| header[at..at + field.len()].copy_from_slice(field);
        put(8, &((HEADER_BYTES + records.len() - 12) as i32).to_be_bytes());
        put(12, &(-1i32).to_be_bytes());
        put(16, &[2]);
        put(21, &attributes.to_be_bytes());
        put(23, &(count - 1).to_be_bytes());
        put(27, &self.timestamp.to_be_bytes());
        put(35, &(self.timestamp + i64::from(count) - 1).to_be_bytes());
        put(43, &producer_id.to_be_bytes());
        put(51, &epoch.to_be_bytes());
        put(53, &sequence.to_be_bytes());
        put(57, &count.to_be_bytes());
        let covered = [&header[21..], &records[..]].concat();
        header[17..21].copy_from_slice(&crc32c(&covered).to_be_bytes());
        (header, Bytes::from(records))
    }
}

fn push_record(records: &mut Vec<u8>, timestamp_delta: i64, offset_delta: i64, key: Option<&[u8]>, value: &[u8]) {
    let mut record = vec![0];
    push_varint(&mut record, timestamp_delta);
    push_varint(&mut record, offset_delta);
    push_varint(&mut record, key.map_or(-1, |key| key.len() as i64));
    record.extend_from_slice(key.unwrap_or_default());
    push_varint(&mut record, value.len() as i64);
    record.extend_from_slice(value);
    push_varint(&mut record, 0);
    push_varint(records, record.len() as i64);
    records.extend_from_slice(&record);
}

fn push_varint(bytes: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        bytes.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    bytes.push(zigzag as u8);
}
