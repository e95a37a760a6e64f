//! Goal: what Apache Kafka 4.3 wrote is read, and what we write are the same bytes. Method: records from its
//! `__consumer_offsets`, and damaged ones.

use ottla_protocol::Uuid;

use super::*;

/// Key and value of an offset of group `g1`.
const OFFSET_KEY: &[u8] = b"\x00\x01\x00\x02g1\x00\x02t1\x00\x00\x00\x00";
const OFFSET_VALUE: &[u8] =
    b"\x00\x04\x00\x00\x00\x00\x00\x00\x00\x0a\x00\x00\x00\x00\x01\x00\x00\x01\xa2\x15\x60\x7b\xf4\
    \x01\x00\x10\x5e\x86\xcb\x30\x3a\xaa\x47\xbb\xa7\xf7\x60\xd3\x5a\x1e\xa8\x27";
/// Key and value of the same group when its last member had left.
const GROUP_KEY: &[u8] = b"\x00\x02\x00\x02g1";
const GROUP_VALUE: &[u8] =
    b"\x00\x03\x00\x08consumer\x00\x00\x00\x02\xff\xff\xff\xff\x00\x00\x01\xa2\x15\x60\x7c\x08\x00\x00\x00\x00";

fn decode(key: &'static [u8], value: Option<&'static [u8]>) -> Result<Option<GroupRecord>, GroupRecordError> {
    GroupRecord::decode(Some(&Bytes::from_static(key)), value.map(Bytes::from_static).as_ref())
}

#[test]
fn records_of_kafka_are_read_and_written_again_byte_for_byte() {
    for (key, value) in [(OFFSET_KEY, OFFSET_VALUE), (GROUP_KEY, GROUP_VALUE)] {
        let record = decode(key, Some(value)).unwrap().unwrap();
        assert_eq!(record.encode(), (Bytes::from_static(key), Some(Bytes::from_static(value))), "{record:?}");
        let tombstone = decode(key, None).unwrap().unwrap();
        assert_eq!(tombstone.encode(), (Bytes::from_static(key), None));
    }
    let Some(GroupRecord::OffsetCommit { value: Some(value), .. }) = decode(OFFSET_KEY, Some(OFFSET_VALUE)).unwrap()
    else {
        panic!("an offset")
    };
    assert_eq!((value.offset, value.leader_epoch, value.commit_timestamp), (10, 0, 1_795_654_974_452));
    assert_ne!(value.topic_id, Uuid::ZERO);
}

#[test]
fn an_offset_of_a_very_old_broker_is_read() {
    let key = b"\x00\x00\x00\x02g1\x00\x02t1\x00\x00\x00\x07";
    let value = b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x2a\x00\x04text\x00\x00\x00\x00\x00\x00\x00\x63";
    let Some(GroupRecord::OffsetCommit { key, value: Some(value) }) = decode(key, Some(value)).unwrap() else {
        panic!("an offset")
    };
    assert_eq!((key.partition, value.offset, value.metadata.as_str()), (7, 42, "text"));
    assert_eq!((value.commit_timestamp, value.leader_epoch, value.expire_timestamp), (99, -1, NO_EXPIRY));
}

#[test]
fn other_types_are_passed_over_and_damage_is_named() {
    assert_eq!(decode(b"\x00\x0b\x00\x01g", None), Ok(None), "a share group");
    assert_eq!(GroupRecord::decode(None, None), Err(GroupRecordError::NoType));
    assert_eq!(decode(b"\x00", None), Err(GroupRecordError::NoType));
    assert!(matches!(
        decode(b"\x00\x01\x00\x09g1", None),
        Err(GroupRecordError::Malformed { name: "OffsetCommit", .. })
    ));
    assert_eq!(decode(GROUP_KEY, Some(b"\x00")), Err(GroupRecordError::NoVersion { name: "GroupMetadata" }));
    let newer = GroupRecordError::NewerVersion { name: "GroupMetadata", version: 5, newest: 4 };
    assert_eq!(decode(GROUP_KEY, Some(b"\x00\x05\x00")), Err(newer));
    for cut in 2..GROUP_VALUE.len() {
        assert!(decode(GROUP_KEY, Some(&GROUP_VALUE[..cut])).is_err(), "cut at {cut}");
    }
}
