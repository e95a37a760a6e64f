//! One scenario being played to one broker in one version: its connection, its topics, and the answers so far.
//!
//! Everything that a scenario creates lies in a namespace of its own, so that scenarios can be played in any order to one
//! broker. `step` and its relatives write their answer down; the other verbs prepare, wait and tidy up.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use ottla_protocol::messages::api_versions::ApiVersionsRequest;
use ottla_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use ottla_protocol::messages::delete_groups::DeleteGroupsRequest;
use ottla_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla_protocol::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_protocol::messages::describe_groups::DescribeGroupsRequest;
use ottla_protocol::messages::find_coordinator::FindCoordinatorRequest;
use ottla_protocol::messages::init_producer_id::InitProducerIdRequest;
use ottla_protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use ottla_protocol::messages::list_groups::ListGroupsRequest;
use ottla_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use ottla_protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup};
use ottla_protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_protocol::{Records, Request, Uuid};

use super::normal_form::NormalForm;
use crate::connection::{RawConnection, Reply, decode_response};
use crate::wait::{PATIENCE, wait_for};

/// An answer as it is kept: lines of `path = value`.
pub type Lines = Vec<(String, String)>;

/// The kind of a topic in the configuration APIs.
pub const RESOURCE_TOPIC: i8 = 2;
/// The kind of a broker in the configuration APIs.
pub const RESOURCE_BROKER: i8 = 4;
/// The kind of a group in the configuration APIs.
pub const RESOURCE_GROUP: i8 = 32;

const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
const COORDINATOR_NOT_AVAILABLE: i16 = 15;
const GROUP_ID_NOT_FOUND: i16 = 69;

/// A request without an answer for so long has none.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// A scenario's view of the broker that it is played to.
pub struct Play {
    /// The version that this run is about.
    pub version: i16,
    address: SocketAddr,
    connection: Option<RawConnection>,
    /// The connections of the scenario's other clients.
    others: HashMap<&'static str, RawConnection>,
    client: &'static str,
    namespace: String,
    normal_form: NormalForm,
    answers: Vec<(String, Lines)>,
}

impl Play {
    /// A run of `scenario` in `version` against the broker at `address`.
    pub fn new(address: SocketAddr, scenario: &str, version: i16) -> Self {
        let namespace = format!("{}-v{version}-", scenario.replace(['/', '_'], "-"));
        let normal_form = NormalForm::new(namespace.clone(), address);
        Self {
            version,
            address,
            connection: None,
            others: HashMap::new(),
            client: "",
            namespace,
            normal_form,
            answers: Vec::new(),
        }
    }

    /// The answers of the steps so far.
    pub fn into_answers(self) -> Vec<(String, Lines)> {
        self.answers
    }

    /// The full name of this scenario's topic `name`.
    pub fn name(&self, name: &str) -> String {
        format!("{}{name}", self.namespace)
    }

    fn connection(&mut self) -> Result<&mut RawConnection> {
        if self.connection.is_none() {
            let mut connection = RawConnection::open(self.address)?;
            connection.set_read_patience(ANSWER_PATIENCE)?;
            self.connection = Some(connection);
        }
        self.connection.as_mut().context("just opened")
    }

    /// From here on another client of the scenario speaks, on a connection of its own.
    pub fn client(&mut self, name: &'static str) -> &mut Self {
        let before = std::mem::replace(&mut self.client, name);
        if before != name {
            if let Some(connection) = self.connection.take() {
                self.others.insert(before, connection);
            }
            self.connection = self.others.remove(name);
        }
        self
    }

    /// Sends a request in this run's version; [`Play::receive`] takes its answer.
    pub fn send<R: Request>(&mut self, request: &R) -> Result<()> {
        self.send_at(self.version, request)
    }

    /// Like [`Play::send`] in another version.
    pub fn send_at<R: Request>(&mut self, version: i16, request: &R) -> Result<()> {
        self.connection()?.send(version, request)?;
        Ok(())
    }

    /// Writes down the answer to what this client has sent in this run's version.
    pub fn receive<R>(&mut self, step: &str) -> Result<Option<R::Response>>
    where
        R: Request,
        R::Response: std::fmt::Debug,
    {
        self.receive_at::<R>(step, self.version)
    }

    /// Like [`Play::receive`] for what was sent in another version.
    pub fn receive_at<R>(&mut self, step: &str, version: i16) -> Result<Option<R::Response>>
    where
        R: Request,
        R::Response: std::fmt::Debug,
    {
        self.answer::<R>(step, version, None)
    }

    /// Sends a request in this run's version and writes down what comes back. `None` when the connection was closed.
    pub fn step<R>(&mut self, step: &str, request: &R) -> Result<Option<R::Response>>
    where
        R: Request,
        R::Response: std::fmt::Debug,
    {
        self.step_at(step, self.version, request)
    }

    /// Like [`Play::step`] in another version.
    pub fn step_at<R>(&mut self, step: &str, version: i16, request: &R) -> Result<Option<R::Response>>
    where
        R: Request,
        R::Response: std::fmt::Debug,
    {
        self.connection()?.send(version, request).with_context(|| format!("step {step}"))?;
        self.answer::<R>(step, version, None)
    }

    /// Like [`Play::step`], and writes down whether the answer took as long as `wait`.
    pub fn timed_step<R>(&mut self, step: &str, wait: Duration, request: &R) -> Result<Option<R::Response>>
    where
        R: Request,
        R::Response: std::fmt::Debug,
    {
        let version = self.version;
        let started = Instant::now();
        self.connection()?.send(version, request).with_context(|| format!("step {step}"))?;
        self.answer::<R>(step, version, Some((started, wait)))
    }

    /// Sends an encoded body and writes down what comes back, as an answer to `R`.
    pub fn raw_step<R>(&mut self, step: &str, version: i16, body: &[u8]) -> Result<Option<R::Response>>
    where
        R: Request,
        R::Response: std::fmt::Debug,
    {
        self.connection()?.send_raw(R::API_KEY.key(), version, body)?;
        self.answer::<R>(step, version, None)
    }

    /// Sends a request of any key and version, of which an answer cannot be decoded, and writes down whether one comes.
    pub fn unknown_step(&mut self, step: &str, api_key: i16, version: i16, body: &[u8]) -> Result<()> {
        self.connection()?.send_raw(api_key, version, body)?;
        let lines = match self.connection()?.read().with_context(|| format!("step {step}"))? {
            Reply::Closed => self.closed(),
            Reply::Frame(_) => vec![("answer".to_owned(), "some".to_owned())],
        };
        self.answers.push((step.to_owned(), lines));
        Ok(())
    }

    /// Sends a request that gets no answer, and writes down whether the connection goes on.
    pub fn unanswered_step<R: Request>(&mut self, step: &str, request: &R) -> Result<()> {
        let version = self.version;
        let connection = self.connection()?;
        connection.send(version, request)?;
        let probe = connection.send(0, &ApiVersionsRequest::default());
        let lines = match probe.and_then(|_| connection.read()) {
            Ok(Reply::Closed) | Err(_) => self.closed(),
            Ok(Reply::Frame(_)) => vec![("answer".to_owned(), "none, the connection goes on".to_owned())],
        };
        self.answers.push((step.to_owned(), lines));
        Ok(())
    }

    fn closed(&mut self) -> Lines {
        self.connection = None;
        vec![("answer".to_owned(), "none, the connection is closed".to_owned())]
    }

    fn answer<R>(&mut self, step: &str, version: i16, timed: Option<(Instant, Duration)>) -> Result<Option<R::Response>>
    where
        R: Request,
        R::Response: std::fmt::Debug,
    {
        let what = || format!("step {step} of {} v{version}", R::API_KEY);
        ensure!(self.answers.iter().all(|(other, _)| other != step), "two steps are called {step}");
        let frame = match self.connection()?.read() {
            Ok(Reply::Frame(frame)) => frame,
            Ok(Reply::Closed) => {
                let lines = self.closed();
                self.answers.push((step.to_owned(), lines));
                return Ok(None);
            }
            Err(error) if is_silence(&error) => {
                self.connection = None;
                self.answers.push((step.to_owned(), vec![("answer".to_owned(), "none".to_owned())]));
                return Ok(None);
            }
            Err(error) => return Err(error.context(what())),
        };
        // An unsupported version of ApiVersions is answered in the form of version 0.
        let form = if R::API_KEY.has_version(version) { version } else { 0 };
        let (_, response) = decode_response::<R>(frame, form).with_context(what)?;
        let mut lines = self.normal_form.lines(&response).with_context(what)?;
        if let Some((started, wait)) = timed {
            let taken = if started.elapsed() >= wait.mul_f32(0.9) { "waited" } else { "at once" };
            lines.push(("elapsed".to_owned(), taken.to_owned()));
        }
        self.answers.push((step.to_owned(), lines));
        Ok(Some(response))
    }

    /// Asks without writing the answer down.
    pub fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        self.connection()?.ask(version, request)
    }

    /// Creates the topic `name` of this scenario and waits until it can be used.
    pub fn create_topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Result<Uuid> {
        let configs = configs
            .iter()
            .map(|(key, value)| CreatableTopicConfig { name: (*key).to_owned(), value: Some((*value).to_owned()) })
            .collect();
        let full_name = self.name(name);
        let topic = CreatableTopic {
            name: full_name.clone(),
            num_partitions: partitions,
            replication_factor: 1,
            configs,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let response = self.ask(7, &request)?;
        let result = response.topics.first().context("no result for the topic")?;
        ensure!(result.error_code == 0, "create {full_name}: error {} {:?}", result.error_code, result.error_message);
        self.await_topic(name, partitions)
    }

    /// Waits until the topic `name` has `partitions` partitions with a leader, and returns its id.
    pub fn await_topic(&mut self, name: &str, partitions: i32) -> Result<Uuid> {
        let full_name = self.name(name);
        let request = metadata_of(&full_name);
        let id = wait_for(&format!("topic {full_name} has its partitions"), PATIENCE, || {
            let response = self.ask(12, &request)?;
            let Some(topic) = response.topics.first() else { bail!("no answer for {full_name}") };
            let led = topic.partitions.iter().filter(|partition| partition.leader_id >= 0).count();
            Ok((topic.error_code == 0 && led == partitions as usize).then_some(topic.topic_id))
        })?;
        self.await_leader(&full_name, partitions)?;
        self.normal_form.bind_id(id, format!("<id of @{name}>"));
        Ok(id)
    }

    /// Waits until the broker leads all partitions: Kafka says in its metadata that it does a moment before it is so.
    fn await_leader(&mut self, full_name: &str, partitions: i32) -> Result<()> {
        let partition = |partition_index| ListOffsetsPartition { partition_index, timestamp: -1, ..Default::default() };
        let topic =
            ListOffsetsTopic { name: full_name.to_owned(), partitions: (0..partitions).map(partition).collect() };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        wait_for(&format!("topic {full_name} answers"), PATIENCE, || {
            let response = self.ask(4, &request)?;
            let mut answers = response.topics.iter().flat_map(|topic| &topic.partitions);
            Ok(answers.all(|partition| partition.error_code == 0).then_some(()))
        })
    }

    /// Waits until the topic `name` is gone.
    pub fn await_no_topic(&mut self, name: &str) -> Result<()> {
        self.await_gone(&self.name(name))
    }

    fn await_gone(&mut self, full_name: &str) -> Result<()> {
        let request = metadata_of(full_name);
        wait_for(&format!("topic {full_name} is gone"), PATIENCE, || {
            let response = self.ask(12, &request)?;
            Ok(response.topics.iter().all(|topic| topic.error_code == 3).then_some(()))
        })
    }

    /// Waits until the broker says that `key` of a resource has `value`.
    pub fn await_config(&mut self, resource_type: i8, resource_name: &str, key: &str, value: &str) -> Result<()> {
        let resource = DescribeConfigsResource {
            resource_type,
            resource_name: resource_name.to_owned(),
            configuration_keys: Some(vec![key.to_owned()]),
        };
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        wait_for(&format!("{key} of {resource_name} is {value}"), PATIENCE, || {
            let response = self.ask(4, &request)?;
            let mut configs = response.results.iter().flat_map(|result| &result.configs);
            Ok(configs.any(|config| config.name == key && config.value.as_deref() == Some(value)).then_some(()))
        })
    }

    /// Appends to a topic of this scenario and returns the base offset.
    pub fn append(&mut self, name: &str, partition: i32, batch: Vec<u8>) -> Result<i64> {
        let request = produce_request(&self.name(name), Uuid::ZERO, partition, batch);
        let response = self.ask(12, &request)?;
        let result = response.responses.first().and_then(|topic| topic.partition_responses.first());
        let result = result.context("no result for the partition")?;
        ensure!(result.error_code == 0, "append to {name}: error {} {:?}", result.error_code, result.error_message);
        Ok(result.base_offset)
    }

    /// A producer id of its own.
    pub fn producer_id(&mut self) -> Result<(i64, i16)> {
        let request = InitProducerIdRequest { transaction_timeout_ms: 60_000, ..Default::default() };
        wait_for("a producer id", PATIENCE, || {
            let response = self.ask(4, &request)?;
            match response.error_code {
                0 => Ok(Some((response.producer_id, response.producer_epoch))),
                COORDINATOR_LOAD_IN_PROGRESS => Ok(None),
                other => bail!("InitProducerId: error {other}"),
            }
        })
    }

    /// Waits until there is a coordinator for groups: the first question makes Kafka create its internal topic.
    pub fn await_coordinator(&mut self) -> Result<()> {
        let request = FindCoordinatorRequest { coordinator_keys: vec!["some-key".to_owned()], ..Default::default() };
        wait_for("a coordinator is there", PATIENCE, || {
            let response = self.ask(4, &request)?;
            match response.coordinators.first().context("an answer for the key")?.error_code {
                0 => Ok(Some(())),
                COORDINATOR_NOT_AVAILABLE => Ok(None),
                other => bail!("FindCoordinator answers {other}"),
            }
        })?;
        // The partitions' leader says so before it has loaded them: groups in all of them are asked for.
        let group = |number: i32| OffsetFetchRequestGroup { group_id: number.to_string(), ..Default::default() };
        let request = OffsetFetchRequest { groups: (0..500).map(group).collect(), ..Default::default() };
        wait_for("groups are loaded", PATIENCE, || {
            Ok(self.ask(8, &request)?.groups.iter().all(|group| group.error_code == 0).then_some(()))
        })
    }

    /// Gives the member id its number in the order of these calls, wherever it is shown first.
    pub fn know_member(&mut self, member_id: &str) {
        self.normal_form.know_member(member_id);
    }

    /// Removes the members of this scenario's groups, and the groups. The one without a name is every scenario's.
    fn tidy_up_groups(&mut self) -> Result<()> {
        let listed = self.ask(0, &ListGroupsRequest::default())?.groups;
        let ids = listed.into_iter().map(|group| group.group_id);
        let ours: Vec<String> = ids.filter(|id| id.is_empty() || id.starts_with(&self.namespace)).collect();
        for group_id in ours {
            let describe = DescribeGroupsRequest { groups: vec![group_id.clone()], ..Default::default() };
            let described = self.ask(4, &describe)?.groups;
            let members = described.into_iter().flat_map(|group| group.members);
            let members: Vec<_> = members
                .map(|member| MemberIdentity {
                    member_id: member.member_id,
                    group_instance_id: member.group_instance_id,
                    ..Default::default()
                })
                .collect();
            if !members.is_empty() {
                self.ask(3, &LeaveGroupRequest { group_id: group_id.clone(), members, ..Default::default() })?;
            }
            let delete = DeleteGroupsRequest { groups_names: vec![group_id.clone()] };
            wait_for(&format!("group {group_id} is gone"), PATIENCE, || {
                let results = self.ask(1, &delete)?.results;
                Ok(results.iter().all(|result| matches!(result.error_code, 0 | GROUP_ID_NOT_FOUND)).then_some(()))
            })?;
        }
        Ok(())
    }

    /// Deletes what the scenario created, and what a run of it left behind that was interrupted.
    pub fn tidy_up(&mut self) -> Result<()> {
        self.client("").tidy_up_groups()?;
        let all = self.ask(12, &MetadataRequest { allow_auto_topic_creation: false, ..Default::default() })?;
        let names = all.topics.into_iter().filter_map(|topic| topic.name);
        let topics: Vec<_> = names
            .filter(|name| name.starts_with(&self.namespace))
            .map(|name| DeleteTopicState { name: Some(name), topic_id: Uuid::ZERO })
            .collect();
        let names: Vec<_> = topics.iter().filter_map(|topic| topic.name.clone()).collect();
        if !topics.is_empty() {
            self.ask(6, &DeleteTopicsRequest { topics, timeout_ms: 30_000, ..Default::default() })?;
        }
        names.iter().try_for_each(|name| self.await_gone(name))
    }
}

/// True when nothing came in time.
fn is_silence(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    matches!(kind, Some(ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

fn metadata_of(topic: &str) -> MetadataRequest {
    let topic = MetadataRequestTopic { name: Some(topic.to_owned()), ..Default::default() };
    MetadataRequest { topics: Some(vec![topic]), allow_auto_topic_creation: false, ..Default::default() }
}

/// A produce request with acks=all for one partition.
pub fn produce_request(name: &str, topic_id: Uuid, partition: i32, batch: Vec<u8>) -> ProduceRequest {
    let data = PartitionProduceData { index: partition, records: Records::Bytes(Bytes::from(batch)) };
    let topic = TopicProduceData { name: name.to_owned(), topic_id, partition_data: vec![data] };
    ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() }
}
