//! Goal: groups are found, described and changed also with coordinators that move or still load, and with brokers that
//! know older versions only. Method: a scripted broker on a real socket, whose answers the real ones rarely give.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::frame::{decode_request_header, encode_response};
use ottla_protocol::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use ottla_protocol::messages::consumer_group_describe::{
    Assignment, ConsumerGroupDescribeResponse, DescribedGroup as ConsumerGroup, Member, TopicPartitions,
};
use ottla_protocol::messages::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartition as WirePartition,
};
use ottla_protocol::messages::describe_groups::{DescribeGroupsResponse, DescribedGroup, DescribedGroupMember};
use ottla_protocol::messages::find_coordinator::{Coordinator, FindCoordinatorResponse};
use ottla_protocol::messages::metadata::{MetadataResponse, MetadataResponseBroker};
use ottla_protocol::messages::offset_commit::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_protocol::messages::offset_fetch::{
    OffsetFetchResponse, OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use ottla_protocol::messages::{AnyRequest, AnyResponse};
use ottla_protocol::wire::{Reader, Writer};
use ottla_protocol::{ApiKey, ErrorCode, Message};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::TopicPartition;

/// What is answered to each API, one after the other.
type Script = Arc<Mutex<BTreeMap<ApiKey, VecDeque<AnyResponse>>>>;

/// What was asked, with its version.
type Asked = Arc<Mutex<Vec<(i16, AnyRequest)>>>;

struct ScriptedBroker {
    port: u16,
    script: Script,
    asked: Asked,
}

impl ScriptedBroker {
    /// A broker that knows `versions` of the APIs beside those that every connection begins with.
    async fn start(versions: &[(ApiKey, i16)]) -> ScriptedBroker {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (script, asked) = (Script::default(), Asked::default());
        let mut api_keys = vec![api(ApiKey::ApiVersions, 3), api(ApiKey::Metadata, 12)];
        api_keys.extend(versions.iter().map(|(key, max)| api(*key, *max)));
        let broker = ScriptedBroker { port, script: script.clone(), asked: asked.clone() };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, port, api_keys.clone(), script.clone(), asked.clone()));
            }
        });
        broker
    }

    fn answers(&self, response: AnyResponse) {
        self.script.lock().entry(response.api_key()).or_default().push_back(response);
    }

    async fn admin(&self) -> Admin {
        Admin::connect(format!("127.0.0.1:{}", self.port)).await.unwrap()
    }

    /// The APIs that were asked, in order, and their versions.
    fn asked(&self) -> Vec<(ApiKey, i16)> {
        self.asked.lock().iter().map(|(version, request)| (request.api_key(), *version)).collect()
    }
}

fn api(api: ApiKey, max_version: i16) -> ApiVersion {
    ApiVersion { api_key: api.key(), min_version: *api.versions().start(), max_version }
}

/// Ends with the connection.
async fn serve(mut stream: TcpStream, port: u16, api_keys: Vec<ApiVersion>, script: Script, asked: Asked) {
    while let Ok(size) = stream.read_i32().await {
        let mut frame = vec![0; size as usize];
        stream.read_exact(&mut frame).await.unwrap();
        let mut reader = Reader::new(frame.into());
        let header = decode_request_header(&mut reader).unwrap();
        let api = ApiKey::from_i16(header.api_key).unwrap();
        let response = match api {
            ApiKey::ApiVersions => {
                AnyResponse::ApiVersions(ApiVersionsResponse { api_keys: api_keys.clone(), ..Default::default() })
            }
            ApiKey::Metadata => {
                let host = "127.0.0.1".to_owned();
                let broker = MetadataResponseBroker { node_id: 1, host, port: port.into(), rack: None };
                AnyResponse::Metadata(MetadataResponse { brokers: vec![broker], ..Default::default() })
            }
            api => {
                let request = AnyRequest::decode(api, &mut reader, header.api_version).unwrap();
                asked.lock().push((header.api_version, request));
                let scripted = script.lock().get_mut(&api).and_then(VecDeque::pop_front);
                scripted.unwrap_or_else(|| panic!("the script has no more answers to {api}"))
            }
        };
        let answer = encode_response(header.correlation_id, api, header.api_version, &Body(response)).unwrap();
        stream.write_all(&answer.into_bytes().unwrap()).await.unwrap();
    }
}

/// A response of any API as a message.
struct Body(AnyResponse);

impl Message for Body {
    fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), ottla_protocol::wire::EncodeError> {
        self.0.encode(writer, version)
    }

    fn decode(_: &mut Reader, _: i16) -> Result<Self, ottla_protocol::wire::DecodeError> {
        unreachable!("the broker reads no answers")
    }
}

fn found(groups: &[(&str, ErrorCode)]) -> AnyResponse {
    let coordinator = |(key, code): &(&str, ErrorCode)| Coordinator {
        key: (*key).to_owned(),
        node_id: 1,
        error_code: code.code(),
        ..Default::default()
    };
    let coordinators = groups.iter().map(coordinator).collect();
    AnyResponse::FindCoordinator(FindCoordinatorResponse { coordinators, ..Default::default() })
}

fn committed(codes: &[i16]) -> AnyResponse {
    let partitions = codes.iter().zip(0..);
    let partitions =
        partitions.map(|(code, index)| OffsetCommitResponsePartition { partition_index: index, error_code: *code });
    let topic = OffsetCommitResponseTopic { name: "t".into(), partitions: partitions.collect(), ..Default::default() };
    AnyResponse::OffsetCommit(OffsetCommitResponse { topics: vec![topic], ..Default::default() })
}

fn described_as_classic(groups: Vec<DescribedGroup>) -> AnyResponse {
    AnyResponse::DescribeGroups(DescribeGroupsResponse { groups, ..Default::default() })
}

#[tokio::test]
async fn a_coordinator_that_moves_or_loads_is_asked_again() {
    let broker = ScriptedBroker::start(&[(ApiKey::FindCoordinator, 6), (ApiKey::OffsetCommit, 10)]).await;
    broker.answers(found(&[("g", ErrorCode::CoordinatorNotAvailable)]));
    for code in [ErrorCode::NotCoordinator, ErrorCode::CoordinatorLoadInProgress] {
        broker.answers(found(&[("g", ErrorCode::None)]));
        // One partition with it stands for the coordinator.
        broker.answers(committed(&[0, code.code()]));
    }
    broker.answers(found(&[("g", ErrorCode::None)]));
    broker.answers(committed(&[0, ErrorCode::UnknownMemberId.code()]));

    let offsets = (0..2).map(|partition| (TopicPartition::new("t", partition), CommittedOffset::new(7)));
    let outcome = broker.admin().await.alter_group_offsets("g", &offsets.collect()).await.unwrap();
    outcome[&TopicPartition::new("t", 0)].as_ref().unwrap();
    let refused = outcome[&TopicPartition::new("t", 1)].as_ref().unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::UnknownMemberId));
    // The newest version with names.
    let commit = (ApiKey::OffsetCommit, 9);
    let find = (ApiKey::FindCoordinator, 6);
    assert_eq!(broker.asked(), [find, find, commit, find, commit, find, commit]);
}

#[tokio::test]
async fn each_group_has_its_answer_also_one_that_the_broker_leaves_out() {
    let broker = ScriptedBroker::start(&[(ApiKey::FindCoordinator, 4), (ApiKey::DescribeGroups, 4)]).await;
    let refused = ErrorCode::GroupAuthorizationFailed;
    broker.answers(found(&[("a", ErrorCode::None), ("b", refused), ("c", ErrorCode::None)]));
    let group = |group_id: &str, state: &str| DescribedGroup {
        group_id: group_id.to_owned(),
        group_state: state.to_owned(),
        ..Default::default()
    };
    broker.answers(described_as_classic(vec![group("a", "Empty")]));
    // Whether c was left out in haste: it is asked about once more. Dead says that it is none.
    broker.answers(found(&[("c", ErrorCode::None)]));
    broker.answers(described_as_classic(vec![group("c", "Dead")]));

    let described = broker.admin().await.describe_groups(&["a", "b", "c"]).await;
    let a = described["a"].as_ref().unwrap();
    assert_eq!((&a.state, &a.group_type, a.state_since_ms), (&GroupState::Empty, &GroupType::Classic, None));
    assert_eq!(described["b"].as_ref().unwrap_err().code(), Some(refused));
    assert_eq!(described["c"].as_ref().unwrap_err().code(), Some(ErrorCode::GroupIdNotFound));
}

#[tokio::test]
async fn brokers_before_batches_are_asked_group_by_group() {
    let broker = ScriptedBroker::start(&[(ApiKey::FindCoordinator, 3), (ApiKey::OffsetFetch, 7)]).await;
    for (offset, topic) in [(5, "t"), (6, "u")] {
        let coordinator = FindCoordinatorResponse { node_id: 1, ..Default::default() };
        broker.answers(AnyResponse::FindCoordinator(coordinator));
        let partition = |index, offset| OffsetFetchResponsePartition {
            partition_index: index,
            committed_offset: offset,
            ..Default::default()
        };
        let partitions = vec![partition(0, offset), partition(1, -1)];
        let topics = vec![OffsetFetchResponseTopic { name: topic.into(), partitions }];
        broker.answers(AnyResponse::OffsetFetch(OffsetFetchResponse { topics, ..Default::default() }));
    }
    let offsets = broker.admin().await.group_offsets(&["g", "h"]).await;
    let of = |group: &str| offsets[group].as_ref().unwrap().iter();
    let of = |group: &str| of(group).map(|(at, found)| (at.to_string(), found.as_ref().unwrap().offset)).collect();
    let (g, h): (Vec<_>, Vec<_>) = (of("g"), of("h"));
    assert_eq!((g, h), (vec![("t-0".to_owned(), 5)], vec![("u-0".to_owned(), 6)]));
}

#[tokio::test]
async fn both_types_are_described_with_what_their_members_have() {
    let versions = [(ApiKey::FindCoordinator, 6), (ApiKey::ConsumerGroupDescribe, 1), (ApiKey::DescribeGroups, 6)];
    let broker = ScriptedBroker::start(&versions).await;
    broker.answers(found(&[("new", ErrorCode::None), ("old", ErrorCode::None)]));
    let partitions = |partitions: &[i32]| Assignment {
        topic_partitions: vec![TopicPartitions {
            topic_name: "t".into(),
            partitions: partitions.to_vec(),
            ..Default::default()
        }],
    };
    let member = Member {
        member_id: "m".into(),
        member_epoch: 3,
        subscribed_topic_regex: Some("t.*".into()),
        assignment: partitions(&[1]),
        target_assignment: partitions(&[1, 0]),
        member_type: 1,
        last_heard_ms: 1_372_636_800_000,
        ..Default::default()
    };
    let new = ConsumerGroup {
        group_id: "new".into(),
        group_state: "Reconciling".into(),
        group_epoch: 4,
        assignment_epoch: 4,
        assignor_name: "uniform".into(),
        members: vec![member],
        state_since_ms: 1_372_636_700_000,
        ..Default::default()
    };
    let code = ErrorCode::GroupIdNotFound.code();
    let no_such = ConsumerGroup { group_id: "old".into(), error_code: code, ..Default::default() };
    let groups = vec![no_such, new];
    broker.answers(AnyResponse::ConsumerGroupDescribe(ConsumerGroupDescribeResponse { groups, ..Default::default() }));
    let subscription = ConsumerProtocolSubscription { topics: vec!["t".into()], ..Default::default() };
    let assigned = vec![WirePartition { topic: "t".into(), partitions: vec![2, 0] }];
    let assignment = ConsumerProtocolAssignment { assigned_partitions: assigned, ..Default::default() };
    let joined = DescribedGroupMember {
        client_id: "a".into(),
        member_metadata: embedded(3, &subscription, b"fields of a later version"),
        member_assignment: embedded(0, &assignment, b""),
        ..Default::default()
    };
    let strange = DescribedGroupMember {
        client_id: "b".into(),
        member_metadata: Bytes::from_static(b"\x00\x01\x7f\xff\xff\xff"),
        ..Default::default()
    };
    broker.answers(described_as_classic(vec![DescribedGroup {
        group_id: "old".into(),
        group_state: "Stable".into(),
        protocol_type: "consumer".into(),
        protocol_data: "range".into(),
        members: vec![strange, joined],
        ..Default::default()
    }]));

    let described = broker.admin().await.describe_groups(&["new", "old"]).await;
    let at = |partition| TopicPartition::new("t", partition);
    let new = described["new"].as_ref().unwrap();
    assert_eq!((&new.group_type, &new.state), (&GroupType::Consumer, &GroupState::Reconciling));
    assert_eq!((new.group_epoch, new.state_since_ms), (Some(4), Some(1_372_636_700_000)));
    let member = &new.members[0];
    assert_eq!(
        (member.epoch, member.last_heard_ms, member.is_classic),
        (Some(3), Some(1_372_636_800_000), Some(false))
    );
    assert_eq!((&member.assignment, &member.target_assignment), (&Some(vec![at(1)]), &Some(vec![at(0), at(1)])));
    assert_eq!(member.topic_regex.as_deref(), Some("t.*"));
    let old = described["old"].as_ref().unwrap();
    assert_eq!((&old.group_type, old.assignor.as_str(), old.group_epoch), (&GroupType::Classic, "range", None));
    assert_eq!(old.members[0].topics, Some(vec!["t".to_owned()]));
    assert_eq!(old.members[0].assignment, Some(vec![at(0), at(2)]));
    assert_eq!((&old.members[1].topics, &old.members[1].assignment), (&None, &None));
    let only_the_classic = BTreeSet::from(["old".to_owned()]);
    let asked = broker.asked.lock().iter().find_map(|(_, request)| match request {
        AnyRequest::DescribeGroups(request) => Some(request.groups.iter().cloned().collect::<BTreeSet<_>>()),
        _ => None,
    });
    assert_eq!(asked, Some(only_the_classic));
}

/// A message as members write it for each other: two bytes of version, and perhaps more than we know at its end.
fn embedded(version: i16, message: &impl Message, more: &[u8]) -> Bytes {
    let mut writer = Writer::new();
    writer.i16(version);
    message.encode(&mut writer, version).unwrap();
    writer.raw(more);
    writer.finish().into_bytes().unwrap()
}
