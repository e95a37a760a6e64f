//! A member of a classic group, spoken by hand: it joins alone, assigns itself what it is told to, and leaves.

use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::Bytes;
use ottla_protocol::frame::{RequestHeader, decode_response, encode_request};
use ottla_protocol::messages::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartition,
};
use ottla_protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_protocol::messages::leave_group::LeaveGroupRequest;
use ottla_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_protocol::wire::Writer;
use ottla_protocol::{Message, Request};

/// The last versions in which a member gets its id with its first JoinGroup, and in which all three speak of one member.
const VERSION: i16 = 2;

pub(crate) struct ClassicMember {
    stream: TcpStream,
    group_id: String,
    member_id: String,
}

impl ClassicMember {
    /// Joins a group that has no members, subscribes to `topic` and takes `partitions` of it.
    pub(crate) fn join(address: &str, group: &str, topic: &str, partitions: &[i32]) -> ClassicMember {
        let stream = TcpStream::connect(address).expect("the broker listens");
        let mut member = ClassicMember { stream, group_id: group.to_owned(), member_id: String::new() };
        let subscription = ConsumerProtocolSubscription { topics: vec![topic.to_owned()], ..Default::default() };
        let protocol = JoinGroupRequestProtocol { name: "range".to_owned(), metadata: embedded(&subscription) };
        let joined = member.ask(&JoinGroupRequest {
            group_id: group.to_owned(),
            session_timeout_ms: 30_000,
            rebalance_timeout_ms: 30_000,
            protocol_type: "consumer".to_owned(),
            protocols: vec![protocol],
            ..Default::default()
        });
        assert_eq!((joined.error_code, &joined.leader), (0, &joined.member_id), "it is alone");
        member.member_id = joined.member_id;
        let assigned = TopicPartition { topic: topic.to_owned(), partitions: partitions.to_vec() };
        let assignment = ConsumerProtocolAssignment { assigned_partitions: vec![assigned], ..Default::default() };
        let synced = member.ask(&SyncGroupRequest {
            group_id: group.to_owned(),
            generation_id: joined.generation_id,
            member_id: member.member_id.clone(),
            assignments: vec![SyncGroupRequestAssignment {
                member_id: member.member_id.clone(),
                assignment: embedded(&assignment),
            }],
            ..Default::default()
        });
        assert_eq!(synced.error_code, 0);
        member
    }

    pub(crate) fn id(&self) -> &str {
        &self.member_id
    }

    pub(crate) fn leave(mut self) {
        let (group_id, member_id) = (self.group_id.clone(), self.member_id.clone());
        let left = self.ask(&LeaveGroupRequest { group_id, member_id, ..Default::default() });
        assert_eq!(left.error_code, 0);
    }

    fn ask<R: Request>(&mut self, request: &R) -> R::Response {
        let header = RequestHeader {
            api_key: R::API_KEY.key(),
            api_version: VERSION,
            correlation_id: 0,
            client_id: Some("by-hand".to_owned()),
        };
        let request = encode_request(&header, request).expect("the version has all fields");
        self.stream.write_all(&request.into_bytes().expect("it is in memory")).expect("the broker reads");
        let mut size = [0; 4];
        self.stream.read_exact(&mut size).expect("the broker answers");
        let mut frame = vec![0; u32::from_be_bytes(size) as usize];
        self.stream.read_exact(&mut frame).expect("the broker answers");
        decode_response(frame.into(), R::API_KEY, VERSION).expect("the broker follows the protocol").1
    }
}

/// As members write to each other: with the version in front.
fn embedded(message: &impl Message) -> Bytes {
    let mut writer = Writer::new();
    writer.i16(0);
    message.encode(&mut writer, 0).expect("version 0 has all fields");
    writer.finish().into_bytes().expect("it is in memory")
}
