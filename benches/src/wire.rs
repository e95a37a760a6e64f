//! Requests as bytes, made once and sent many times, and answers read from a blocking connection.
//!
//! An answer whose error code is not zero is an error here: a broker that refuses everything would be the fastest.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};
use ottla_protocol::frame::{RequestHeader, decode_response, encode_request};
use ottla_protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse,
};
use ottla_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use ottla_protocol::messages::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use ottla_protocol::records::{BatchBuilder, BatchFields};
use ottla_protocol::{ApiKey, Records, Request};
use socket2::{Domain, SockRef, Socket, Type};

/// The last versions that name topics by name.
const PRODUCE_VERSION: i16 = 12;
const FETCH_VERSION: i16 = 12;
const CREATE_TOPICS_VERSION: i16 = 7;
const API_VERSIONS_VERSION: i16 = 2;
const FRAME_BYTES_MAX: usize = 64 << 20;
const NOW_MS: i64 = 1_700_000_000_000;

/// A connection on which nothing that is sent waits for more to come, nor for its turn.
///
/// # Errors
/// Nobody takes it.
pub fn connect(address: SocketAddr) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    send_at_once(&socket)?;
    socket.connect(&address.into())?;
    Ok(socket.into())
}

/// The same of all connections that are accepted.
///
/// # Errors
/// There is no free port.
pub fn listen() -> Result<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    send_at_once(&SockRef::from(&listener))?;
    Ok(listener)
}

/// Where the host paces what it sends, a socket that was connected so is paced for ever. The broker chooses the same within a host, and it
/// is not the host's pacing that is measured.
fn send_at_once(socket: &Socket) -> Result<()> {
    let _host_has_no_other = socket.set_tcp_congestion(b"reno");
    Ok(socket.set_tcp_nodelay(true)?)
}

fn encode<R: Request>(version: i16, request: &R) -> Result<Bytes> {
    let header = RequestHeader {
        api_key: R::API_KEY.key(),
        api_version: version,
        correlation_id: 1,
        client_id: Some("ottla-benches".to_owned()),
    };
    encode_request(&header, request)?.into_bytes().context("a request in one piece")
}

/// An uncompressed batch of about `bytes` in records of `record_bytes` each; one record where `bytes` is not more.
///
/// # Errors
/// None that should happen.
pub fn batch(bytes: usize, record_bytes: usize) -> Result<Bytes> {
    let mut builder = BatchBuilder::with_capacity(bytes);
    while builder.is_empty() || builder.size_in_bytes() < bytes {
        let value = vec![b'a' + (builder.record_count() % 26) as u8; record_bytes];
        builder.append(NOW_MS, None, Some(&value), &[]);
    }
    Ok(builder.build(&BatchFields::default())?)
}

/// The same with keys, of which `key` gives the number for each record of the batch.
///
/// # Errors
/// None that should happen.
pub fn keyed_batch(bytes: usize, record_bytes: usize, key: impl Fn(usize) -> usize) -> Result<Bytes> {
    let mut builder = BatchBuilder::with_capacity(bytes);
    while builder.is_empty() || builder.size_in_bytes() < bytes {
        let record = builder.record_count() as usize;
        let value = vec![b'a' + (record % 26) as u8; record_bytes];
        builder.append(NOW_MS, Some(&key(record).to_be_bytes()), Some(&value), &[]);
    }
    Ok(builder.build(&BatchFields::default())?)
}

/// A produce of `batch` to partition 0 of `topic`.
///
/// # Errors
/// None that should happen.
pub fn produce(topic: &str, acks: i16, batch: &Bytes) -> Result<Bytes> {
    let partition = PartitionProduceData { index: 0, records: Records::Bytes(batch.clone()) };
    let data = TopicProduceData { name: topic.to_owned(), partition_data: vec![partition], ..Default::default() };
    encode(PRODUCE_VERSION, &ProduceRequest { acks, timeout_ms: 30_000, topic_data: vec![data], ..Default::default() })
}

/// Fails unless `frame` says that all was appended.
///
/// # Errors
/// It says otherwise, or nothing that can be understood.
pub fn check_produced(frame: Bytes) -> Result<()> {
    let (_, answer) = decode_response::<ProduceResponse>(frame, ApiKey::Produce, PRODUCE_VERSION)?;
    for partition in answer.responses.iter().flat_map(|topic| &topic.partition_responses) {
        ensure!(partition.error_code == 0, "produce was answered with error {}", partition.error_code);
    }
    Ok(())
}

/// A fetch of at most `bytes_max` from partition 0 of `topic`.
///
/// # Errors
/// None that should happen.
pub fn fetch(topic: &str, offset: i64, bytes_max: i32) -> Result<Bytes> {
    let partition = FetchPartition { fetch_offset: offset, partition_max_bytes: bytes_max, ..Default::default() };
    let topic = FetchTopic { topic: topic.to_owned(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: bytes_max,
        topics: vec![topic],
        ..Default::default()
    };
    encode(FETCH_VERSION, &request)
}

/// How many bytes of records `frame` brought.
///
/// # Errors
/// An error code, or nothing that can be understood.
pub fn fetched(frame: Bytes) -> Result<usize> {
    let (_, answer) = decode_response::<FetchResponse>(frame, ApiKey::Fetch, FETCH_VERSION)?;
    ensure!(answer.error_code == 0, "fetch was answered with error {}", answer.error_code);
    let partition = answer.responses.into_iter().flat_map(|topic| topic.partitions).next().context("no partition")?;
    ensure!(partition.error_code == 0, "fetch was answered with error {}", partition.error_code);
    match partition.records {
        Records::Bytes(bytes) => Ok(bytes.len()),
        other => anyhow::bail!("fetch was answered with {other:?}"),
    }
}

/// Sends a request.
///
/// # Errors
/// The connection fails.
pub fn send(stream: &mut TcpStream, request: &[u8]) -> Result<()> {
    Ok(stream.write_all(request)?)
}

/// Makes a topic.
///
/// # Errors
/// It is refused, or the connection fails.
pub fn create_topic(stream: &mut TcpStream, name: &str, partitions: i32) -> Result<()> {
    create_topic_with(stream, name, partitions, &[])
}

/// Makes a topic with a configuration of its own.
///
/// # Errors
/// It is refused, or the connection fails.
pub fn create_topic_with(stream: &mut TcpStream, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Result<()> {
    let name = name.to_owned();
    let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
    };
    let configs = configs.iter().map(config).collect();
    let topic =
        CreatableTopic { name, num_partitions: partitions, replication_factor: 1, configs, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
    stream.write_all(&encode(CREATE_TOPICS_VERSION, &request)?)?;
    let frame = FrameBuffer::default().read(stream)?;
    let (_, answer) = decode_response::<CreateTopicsResponse>(frame, ApiKey::CreateTopics, CREATE_TOPICS_VERSION)?;
    for topic in answer.topics {
        ensure!(topic.error_code == 0, "the topic was answered with error {}", topic.error_code);
    }
    Ok(())
}

/// Asks which versions are spoken: the first thing that every client does.
///
/// # Errors
/// The connection fails, or an error comes back.
pub fn ask_versions(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(&encode(API_VERSIONS_VERSION, &ApiVersionsRequest::default())?)?;
    let frame = FrameBuffer::default().read(stream)?;
    let (_, answer) = decode_response::<ApiVersionsResponse>(frame, ApiKey::ApiVersions, API_VERSIONS_VERSION)?;
    ensure!(answer.error_code == 0, "the versions were answered with error {}", answer.error_code);
    Ok(())
}

/// Memory for one frame after the other, taken once: new memory for each would be the larger part of what a reader does.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    memory: Bytes,
}

impl FrameBuffer {
    /// Reads one frame, without its size. Its memory is used again once it is dropped.
    ///
    /// # Errors
    /// The connection fails or ends, or the frame is larger than 64 MiB.
    pub fn read(&mut self, stream: &mut TcpStream) -> Result<Bytes> {
        let mut size = [0; 4];
        stream.read_exact(&mut size)?;
        let size = u32::from_be_bytes(size) as usize;
        ensure!(size <= FRAME_BYTES_MAX, "a frame of {size} bytes");
        let mut memory = std::mem::take(&mut self.memory).try_into_mut().unwrap_or_else(|_| BytesMut::new());
        if memory.len() < size {
            memory.resize(size, 0);
        }
        stream.read_exact(&mut memory[..size])?;
        self.memory = memory.freeze();
        Ok(self.memory.slice(..size))
    }
}
