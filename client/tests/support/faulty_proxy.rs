//! A proxy between client and broker that understands frames, so that it can lose an answer, or give a wrong one, at a
//! point of its choice.
//!
//! It puts its own address into Metadata answers, so that the client has no other way to the broker.

use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::frame::{self, RequestHeader};
use ottla_protocol::messages::describe_cluster::DescribeClusterResponse;
use ottla_protocol::messages::metadata::MetadataResponse;
use ottla_protocol::messages::produce::{
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use ottla_protocol::wire::Reader;
use ottla_protocol::{ApiKey, ErrorCode, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// What is to happen to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The connection ends before the broker sees it.
    LoseRequest,
    /// The connection ends after the broker has carried it out.
    LoseAnswer,
    /// A Produce request gets this code for every partition; the broker does not see it.
    Refuse(ErrorCode),
    /// A Produce request gets this code for every partition, although the broker has carried it out.
    Lie(ErrorCode),
}

type Plan = dyn Fn(ApiKey) -> Fault + Send + Sync;

pub(crate) struct FaultyProxy {
    pub(crate) address: String,
    task: AbortHandle,
}

impl Drop for FaultyProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FaultyProxy {
    /// Starts a proxy for `broker`; `plan` decides about each request.
    pub(crate) async fn start(broker: &str, plan: impl Fn(ApiKey) -> Fault + Send + Sync + 'static) -> FaultyProxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (broker, plan): (Arc<str>, Arc<Plan>) = (broker.into(), Arc::new(plan));
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (broker, plan) = (broker.clone(), plan.clone());
                // A connection that ends with an error is what the proxy is for.
                tokio::spawn(async move { drop(serve(client, &broker, port, &*plan).await) });
            }
        });
        FaultyProxy { address: format!("127.0.0.1:{port}"), task: task.abort_handle() }
    }
}

async fn serve(mut client: TcpStream, broker: &str, port: u16, plan: &Plan) -> std::io::Result<()> {
    let mut broker = TcpStream::connect(broker).await?;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    loop {
        let request = read_frame(&mut client).await?;
        let mut reader = Reader::new(request.clone());
        let header = frame::decode_request_header(&mut reader).unwrap();
        let api = ApiKey::from_i16(header.api_key).unwrap();
        let fault = plan(api);
        let answer = match fault {
            Fault::LoseRequest => return Ok(()),
            Fault::Refuse(code) => refusal(&header, &mut reader, code),
            _ => {
                write_frame(&mut broker, &request).await?;
                let answer = read_frame(&mut broker).await?;
                match fault {
                    Fault::LoseAnswer => return Ok(()),
                    Fault::Lie(code) => refusal(&header, &mut reader, code),
                    _ => rewritten(&header, api, answer, port),
                }
            }
        };
        write_frame(&mut client, &answer).await?;
    }
}

async fn read_frame(stream: &mut TcpStream) -> std::io::Result<Bytes> {
    let size = stream.read_i32().await?;
    let mut frame = vec![0; size as usize];
    stream.read_exact(&mut frame).await?;
    Ok(frame.into())
}

async fn write_frame(stream: &mut TcpStream, frame: &[u8]) -> std::io::Result<()> {
    stream.write_all(&[&(frame.len() as u32).to_be_bytes(), frame].concat()).await
}

/// The answer with the proxy's port in place of the broker's.
fn rewritten(header: &RequestHeader, api: ApiKey, answer: Bytes, port: u16) -> Bytes {
    let version = header.api_version;
    match api {
        ApiKey::Metadata => {
            let (_, mut response) = frame::decode_response::<MetadataResponse>(answer, api, version).unwrap();
            response.brokers.iter_mut().for_each(|broker| broker.port = i32::from(port));
            encoded(header, api, &response)
        }
        ApiKey::DescribeCluster => {
            let (_, mut response) = frame::decode_response::<DescribeClusterResponse>(answer, api, version).unwrap();
            response.brokers.iter_mut().for_each(|broker| broker.port = i32::from(port));
            encoded(header, api, &response)
        }
        _ => answer,
    }
}

fn refusal(header: &RequestHeader, reader: &mut Reader, code: ErrorCode) -> Bytes {
    let request = ProduceRequest::decode(reader, header.api_version).unwrap();
    let topics = request.topic_data.into_iter().map(|topic| TopicProduceResponse {
        name: topic.name,
        topic_id: topic.topic_id,
        partition_responses: topic
            .partition_data
            .into_iter()
            .map(|partition| PartitionProduceResponse {
                index: partition.index,
                error_code: code.code(),
                base_offset: -1,
                ..Default::default()
            })
            .collect(),
    });
    encoded(header, ApiKey::Produce, &ProduceResponse { responses: topics.collect(), ..Default::default() })
}

fn encoded(header: &RequestHeader, api: ApiKey, response: &impl Message) -> Bytes {
    let frame = frame::encode_response(header.correlation_id, api, header.api_version, response).unwrap();
    frame.into_bytes().unwrap().slice(4..)
}
