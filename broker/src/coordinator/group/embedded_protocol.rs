//! The subscription and the assignment that members of the classic protocol embed in JoinGroup and SyncGroup.
//!
//! Owns the two bytes of version in front, and the way between names of topics, which are embedded, and their ids. A newer
//! version is read as the newest that is known: fields are only ever added at the end.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::Message;
use ottla_protocol::messages::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartition,
};
use ottla_protocol::wire::{DecodeError, Reader, Writer};

use super::assignment::Assignment;
use crate::metadata::MetadataImage;

/// The newest version of both that is known.
const EMBEDDED_VERSION_MAX: i16 = 3;

/// What a member subscribes to.
///
/// # Errors
/// The bytes are no subscription.
pub(crate) fn decode_subscription(bytes: &Bytes) -> Result<ConsumerProtocolSubscription, DecodeError> {
    let (mut reader, version) = versioned(bytes)?;
    ConsumerProtocolSubscription::decode(&mut reader, version)
}

/// What a member was assigned; nothing before it was.
///
/// # Errors
/// The bytes are no assignment.
pub(crate) fn decode_assignment(bytes: &Bytes) -> Result<ConsumerProtocolAssignment, DecodeError> {
    if bytes.is_empty() {
        return Ok(ConsumerProtocolAssignment::default());
    }
    let (mut reader, version) = versioned(bytes)?;
    ConsumerProtocolAssignment::decode(&mut reader, version)
}

/// An assignment in the version of the member's own `subscription`.
pub(crate) fn encode_assignment(assignment: &Assignment, subscription: &Bytes, image: &MetadataImage) -> Bytes {
    let version = versioned(subscription).map_or(0, |(_, version)| version);
    let assigned_partitions = assignment
        .topics()
        .filter_map(|(topic, partitions)| {
            let topic = image.topic_by_id(topic)?.name.as_str().to_owned();
            Some(TopicPartition { topic, partitions: partitions.iter().copied().collect() })
        })
        .collect();
    let assignment = ConsumerProtocolAssignment { assigned_partitions, user_data: None };
    let mut writer = Writer::new();
    writer.i16(version);
    assignment.encode(&mut writer, version).expect("names of topics that exist fit");
    writer.finish().into_bytes().expect("nothing external was written")
}

/// Partitions of topics that exist.
pub(crate) fn to_assignment(partitions: &[TopicPartition], image: &MetadataImage) -> Assignment {
    let mut by_topic: BTreeMap<_, Vec<i32>> = BTreeMap::new();
    for topic in partitions {
        if let Some(known) = image.topic(&topic.topic) {
            by_topic.entry(known.id).or_default().extend(&topic.partitions);
        }
    }
    by_topic.into_iter().flat_map(|(topic, partitions)| partitions.into_iter().map(move |at| (topic, at))).collect()
}

fn versioned(bytes: &Bytes) -> Result<(Reader, i16), DecodeError> {
    let mut reader = Reader::new(bytes.clone());
    let version = reader.i16()?;
    Ok((reader, version.clamp(0, EMBEDDED_VERSION_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::group::consumer_test_group::TestGroup;

    #[test]
    fn an_assignment_goes_there_and_back_in_the_subscriptions_version() {
        let group = TestGroup::new(&[("t", 4)]);
        let assignment = group.partitions("t", &[1, 3]);
        for version in [0_i16, 1, 3, 9] {
            let subscription = Bytes::copy_from_slice(&version.to_be_bytes());
            let bytes = encode_assignment(&assignment, &subscription, &group.image);
            assert_eq!(bytes[..2], version.min(3).to_be_bytes());
            let decoded = decode_assignment(&bytes).unwrap();
            assert_eq!(to_assignment(&decoded.assigned_partitions, &group.image), assignment);
        }
        assert!(decode_assignment(&Bytes::new()).unwrap().assigned_partitions.is_empty());
    }

    #[test]
    fn garbage_is_refused() {
        for garbage in [&b""[..], b"\0", b"\0\x01", b"\0\x01\x7f\xff\xff\xff", b"\0\x01\0\0\0\x01\0\x09t"] {
            let garbage = Bytes::copy_from_slice(garbage);
            assert!(decode_subscription(&garbage).is_err(), "{garbage:?}");
            assert!(garbage.is_empty() || decode_assignment(&garbage).is_err(), "{garbage:?}");
        }
    }
}
