//! What the members of a classic group tell each other: their subscriptions, and the leader's assignments.
//!
//! Owns the bytes inside JoinGroup and SyncGroup: two bytes of version and the message. Invariant: bytes from another
//! member never panic; a newer version is read as the newest known here, since fields are only ever added at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ottla_protocol::Message;
use ottla_protocol::messages::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartition as WirePartitions,
};
use ottla_protocol::wire::{Reader, Writer};

use super::assignor::Member;
use crate::TopicPartition;

/// The protocol's type, as JoinGroup names it.
pub(crate) const PROTOCOL_TYPE: &str = "consumer";
/// The newest version of both messages.
const VERSION: i16 = 3;

/// What this member says of itself. `user_data` is the assignor's own.
pub(crate) fn encode_subscription(
    topics: &BTreeSet<Arc<str>>,
    owned: &BTreeSet<TopicPartition>,
    generation: i32,
    user_data: Option<Bytes>,
) -> Bytes {
    let subscription = ConsumerProtocolSubscription {
        topics: topics.iter().map(ToString::to_string).collect(),
        user_data,
        owned_partitions: to_wire(owned),
        generation_id: generation,
        rack_id: None,
    };
    encode(&subscription)
}

/// What another member says of itself; `None` for bytes that are no subscription.
pub(crate) fn decode_subscription(member_id: &str, instance_id: Option<&str>, metadata: Bytes) -> Option<Member> {
    let subscription: ConsumerProtocolSubscription = decode(metadata)?;
    Some(Member {
        member_id: member_id.to_owned(),
        instance_id: instance_id.map(str::to_owned),
        topics: subscription.topics.into_iter().map(Arc::from).collect(),
        owned: from_wire(subscription.owned_partitions),
        generation: subscription.generation_id,
        user_data: subscription.user_data,
    })
}

/// A member's share.
pub(crate) fn encode_assignment(partitions: &BTreeSet<TopicPartition>) -> Bytes {
    encode(&ConsumerProtocolAssignment { assigned_partitions: to_wire(partitions), user_data: None })
}

/// This member's share, empty bytes being none; `None` for bytes that are no assignment.
pub(crate) fn decode_assignment(assignment: Bytes) -> Option<BTreeSet<TopicPartition>> {
    if assignment.is_empty() {
        return Some(BTreeSet::new());
    }
    let assignment: ConsumerProtocolAssignment = decode(assignment)?;
    Some(from_wire(assignment.assigned_partitions))
}

fn encode(message: &impl Message) -> Bytes {
    let mut writer = Writer::new();
    message.encode(&mut writer, VERSION).expect("names that came over the wire fit on it");
    let body = writer.finish().into_bytes().expect("nothing here is external");
    let mut bytes = BytesMut::with_capacity(2 + body.len());
    bytes.put_i16(VERSION);
    bytes.put(body);
    bytes.freeze()
}

fn decode<M: Message>(mut bytes: Bytes) -> Option<M> {
    let version = bytes.try_get_i16().ok().filter(|version| *version >= 0)?;
    M::decode(&mut Reader::new(bytes), version.min(VERSION)).ok()
}

fn to_wire(partitions: &BTreeSet<TopicPartition>) -> Vec<WirePartitions> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    topics.into_iter().map(|(topic, partitions)| WirePartitions { topic: topic.to_owned(), partitions }).collect()
}

fn from_wire(topics: Vec<WirePartitions>) -> BTreeSet<TopicPartition> {
    let mut partitions = BTreeSet::new();
    for topic in topics {
        let name: Arc<str> = topic.topic.into();
        partitions.extend(topic.partitions.into_iter().map(|index| TopicPartition::new(name.clone(), index)));
    }
    partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(partitions: &[(&str, i32)]) -> BTreeSet<TopicPartition> {
        partitions.iter().map(|(topic, partition)| TopicPartition::new(*topic, *partition)).collect()
    }

    #[test]
    fn a_subscription_has_the_bytes_that_a_java_member_writes() {
        let topics = BTreeSet::from([Arc::from("b"), Arc::from("a")]);
        let bytes = encode_subscription(&topics, &set(&[("a", 1), ("a", 0)]), 5, None);
        let expected = [
            &[0, 3, 0, 0, 0, 2, 0, 1, b'a', 0, 1, b'b'][..],
            &[0xff, 0xff, 0xff, 0xff],
            &[0, 0, 0, 1, 0, 1, b'a', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1],
            &[0, 0, 0, 5, 0xff, 0xff],
        ];
        assert_eq!(bytes, expected.concat());
        let member = decode_subscription("m", Some("i"), bytes).unwrap();
        assert_eq!((member.member_id.as_str(), member.instance_id.as_deref()), ("m", Some("i")));
        assert_eq!((member.topics, member.owned, member.generation), (topics, set(&[("a", 0), ("a", 1)]), 5));
    }

    #[test]
    fn older_and_newer_versions_are_read() {
        let oldest = Bytes::from_static(&[0, 0, 0, 0, 0, 1, 0, 1, b'a', 0xff, 0xff, 0xff, 0xff]);
        let member = decode_subscription("m", None, oldest).unwrap();
        assert_eq!((member.generation, member.owned.len()), (-1, 0));
        let mut newer = encode_subscription(&BTreeSet::from([Arc::from("a")]), &BTreeSet::new(), 5, None).to_vec();
        newer[1] = 9;
        newer.extend([1, 2, 3]);
        assert_eq!(decode_subscription("m", None, newer.into()).unwrap().generation, 5);
    }

    #[test]
    fn an_assignment_makes_the_round_trip_and_nonsense_is_refused() {
        let partitions = set(&[("a", 0), ("b", 7), ("a", 3)]);
        assert_eq!(decode_assignment(encode_assignment(&partitions)), Some(partitions));
        assert_eq!(decode_assignment(Bytes::new()), Some(BTreeSet::new()));
        for nonsense in [&[0][..], &[0xff, 0xff, 0, 0], &[0, 0, 0x7f, 0xff, 0xff, 0xff], &[0, 1, 0, 0, 0, 1]] {
            assert_eq!(decode_assignment(Bytes::from_static(nonsense)), None, "{nonsense:?}");
            assert!(decode_subscription("m", None, Bytes::from_static(nonsense)).is_none(), "{nonsense:?}");
        }
    }
}
