//! Goal: what is decoded is what was sent, and is sent the same again. Method: random messages of every type at every
//! version, as bytes, are decoded and encoded; bytes and values must be those of before.

use std::fmt::Debug;
use std::ops::RangeInclusive;

use bytes::Bytes;
use ottla_protocol::Message;
use ottla_protocol::schema::{Form, Value};
use ottla_protocol::wire::{Reader, Writer};

use crate::Subject;
use crate::generate::{Random, message};

const MESSAGES_PER_SUBJECT: usize = 40;

#[test]
fn every_message_at_every_version_comes_back_as_it_was() {
    let mut random = Random::from_environment("round trip");
    for subject in Subject::all() {
        for _ in 0..MESSAGES_PER_SUBJECT {
            let bytes = Bytes::from(message(&mut random, subject.shape(), subject.form()).bytes);
            let (decoded, left) = subject.decode(bytes.clone()).unwrap_or_else(|error| {
                panic!("{subject:?}: {error}: {bytes:?}");
            });
            assert_eq!(left, 0, "{subject:?} leaves bytes of {bytes:?}");
            let encoded = decoded.encode(subject.version).unwrap_or_else(|error| panic!("{subject:?}: {error}"));
            assert_eq!(encoded, bytes, "{subject:?}: {decoded:#?}");
            assert_eq!(subject.decode(encoded).unwrap().0, decoded, "{subject:?}");
        }
    }
}

/// One message type that no API carries by itself: what groups and transactions write into records.
fn record<T: Message + Value + PartialEq + Debug>(
    random: &mut Random,
    versions: RangeInclusive<i16>,
    flexible: Option<i16>,
) {
    for version in versions {
        let form = Form { version, flexible: flexible.is_some_and(|first| version >= first), nullable: false };
        for _ in 0..MESSAGES_PER_SUBJECT {
            let bytes = Bytes::from(message(random, T::SHAPE, form).bytes);
            let mut reader = Reader::new(bytes.clone());
            let decoded = T::decode(&mut reader, version).unwrap_or_else(|error| {
                panic!("{} {version}: {error}: {bytes:?}", std::any::type_name::<T>());
            });
            assert_eq!(reader.remaining(), 0, "{decoded:#?}");
            let mut writer = Writer::new();
            decoded.encode(&mut writer, version).expect("it was just decoded");
            assert_eq!(writer.finish().into_bytes(), Some(bytes), "version {version}: {decoded:#?}");
        }
    }
}

#[test]
fn every_embedded_record_at_every_version_comes_back_as_it_was() {
    use ottla_protocol::messages::consumer_protocol::*;
    use ottla_protocol::messages::group_records::*;
    use ottla_protocol::messages::transaction_records::*;

    let random = &mut Random::from_environment("records");
    record::<ConsumerProtocolAssignment>(random, 0..=3, None);
    record::<ConsumerProtocolSubscription>(random, 0..=3, None);
    record::<LegacyOffsetCommitKey>(random, 0..=0, None);
    record::<LegacyOffsetCommitValue>(random, 0..=0, None);
    record::<OffsetCommitKey>(random, 0..=0, None);
    record::<OffsetCommitValue>(random, 0..=4, Some(4));
    record::<GroupMetadataKey>(random, 0..=0, None);
    record::<GroupMetadataValue>(random, 0..=4, Some(4));
    record::<ConsumerGroupMetadataKey>(random, 0..=0, None);
    record::<ConsumerGroupMetadataValue>(random, 0..=0, Some(0));
    record::<ConsumerGroupPartitionMetadataKey>(random, 0..=0, None);
    record::<ConsumerGroupPartitionMetadataValue>(random, 0..=0, Some(0));
    record::<ConsumerGroupMemberMetadataKey>(random, 0..=0, None);
    record::<ConsumerGroupMemberMetadataValue>(random, 0..=0, Some(0));
    record::<ConsumerGroupTargetAssignmentMetadataKey>(random, 0..=0, None);
    record::<ConsumerGroupTargetAssignmentMetadataValue>(random, 0..=0, Some(0));
    record::<ConsumerGroupTargetAssignmentMemberKey>(random, 0..=0, None);
    record::<ConsumerGroupTargetAssignmentMemberValue>(random, 0..=0, Some(0));
    record::<ConsumerGroupCurrentMemberAssignmentKey>(random, 0..=0, None);
    record::<ConsumerGroupCurrentMemberAssignmentValue>(random, 0..=0, Some(0));
    record::<ConsumerGroupRegularExpressionKey>(random, 0..=0, None);
    record::<ConsumerGroupRegularExpressionValue>(random, 0..=0, Some(0));
    record::<TransactionLogKey>(random, 0..=0, None);
    record::<TransactionLogValue>(random, 0..=1, Some(1));
    record::<ControlRecordTypeSchema>(random, 0..=0, None);
    record::<EndTxnMarker>(random, 0..=0, None);
}
