//! Goal: the `kafka-protocol` crate reads what we build and we read what it builds. Method: random uncompressed records both
//! ways (its codecs would bring C libraries; the golden files hold those). Header names are distinct, since it loses others.

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as theirs;
use ottla_protocol::records::{BatchBuilder, BatchFields, Header, OffsetDeltas, Record};
use proptest::prelude::*;

use crate::round_trip::{Content, contents};
use crate::{LIMIT, records, view};

fn their_record(offset: i64, content: &Content) -> theirs::Record {
    let header = |(key, value): &(String, Option<Bytes>)| (StrBytes::from_string(key.clone()), value.clone());
    theirs::Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: 7,
        producer_epoch: 3,
        timestamp_type: theirs::TimestampType::Creation,
        offset,
        // Sequences start at 0, as if these were the producer's first records.
        sequence: offset as i32,
        timestamp: content.timestamp,
        key: content.key.clone(),
        value: content.value.clone(),
        headers: content.headers.iter().map(header).collect(),
    }
}

fn our_record(offset: i64, content: &Content) -> Record {
    let header = |(key, value): &(String, Option<Bytes>)| Header { key: key.clone(), value: value.clone() };
    Record {
        offset,
        timestamp: content.timestamp,
        key: content.key.clone(),
        value: content.value.clone(),
        headers: content.headers.iter().map(header).collect(),
    }
}

proptest! {
    #[test]
    fn both_read_the_other(contents in contents()) {
        let mut builder = BatchBuilder::new();
        let numbered = || (0..).zip(&contents);
        let ours: Vec<Record> = numbered().map(|(offset, content)| our_record(offset, content)).collect();
        let expected: Vec<theirs::Record> = numbered().map(|(offset, content)| their_record(offset, content)).collect();
        for record in &ours {
            builder.append(record.timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers);
        }
        let fields = BatchFields { producer_id: 7, producer_epoch: 3, base_sequence: 0, ..BatchFields::default() };
        let mut built = builder.build(&fields).expect("nothing to compress");
        let decoded = theirs::RecordBatchDecoder::decode(&mut built).expect("they read ours");
        prop_assert_eq!(decoded.records, expected.clone());

        let mut encoded = BytesMut::new();
        let options = theirs::RecordEncodeOptions { version: 2, compression: theirs::Compression::None };
        theirs::RecordBatchEncoder::encode(&mut encoded, &expected, &options).expect("they write");
        let batch = view(encoded.freeze());
        batch.check_crc().expect("their checksum");
        batch.check_records(OffsetDeltas::Dense, LIMIT, |_| {}).expect("we take theirs");
        prop_assert_eq!((batch.producer_id(), batch.producer_epoch(), batch.base_sequence()), (7, 3, 0));
        prop_assert_eq!(records(&batch), ours);
    }
}
