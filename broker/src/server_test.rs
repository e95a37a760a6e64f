//! A whole broker over real sockets: it starts on nothing, answers, stops cleanly, and starts again on what it left.

use bytes::Bytes;
use ottla_protocol::frame::{RequestHeader, decode_response, encode_request};
use ottla_protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::metadata::{MetadataRequest, MetadataResponse};
use ottla_protocol::{ApiKey, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

async fn ask<R: Request>(stream: &mut TcpStream, version: i16, request: &R) -> R::Response {
    let header = RequestHeader {
        api_key: R::API_KEY.key(),
        api_version: version,
        correlation_id: 7,
        client_id: Some("test".to_owned()),
    };
    let frame = encode_request(&header, request).unwrap().into_bytes().unwrap();
    stream.write_all(&frame).await.unwrap();
    let size = stream.read_i32().await.unwrap();
    let mut answer = vec![0; usize::try_from(size).unwrap()];
    stream.read_exact(&mut answer).await.unwrap();
    let (correlation_id, response) = decode_response(Bytes::from(answer), R::API_KEY, version).unwrap();
    assert_eq!(correlation_id, 7);
    response
}

async fn start(dir: &tempfile::TempDir) -> Result<Broker, StartError> {
    Broker::builder().data_dir(dir.path().join("data")).listen("127.0.0.1:0").start().await
}

#[tokio::test]
async fn a_broker_starts_on_nothing_and_again_on_what_it_left() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(&dir).await.unwrap();
    let cluster_id = broker.cluster_id().to_owned();
    let mut stream = TcpStream::connect(broker.addr()).await.unwrap();
    let versions: ApiVersionsResponse = ask(&mut stream, 2, &ApiVersionsRequest::default()).await;
    assert!(versions.api_keys.iter().any(|api| api.api_key == ApiKey::Produce.key()));
    assert_eq!(broker.metrics().requests(ApiKey::ApiVersions).get(), 1);
    let topic = CreatableTopic {
        name: "flights".to_owned(),
        num_partitions: 3,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let create = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1_000, validate_only: false };
    assert_eq!(ask(&mut stream, 5, &create).await.topics[0].error_code, 0);
    broker.stop().await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "the connection is closed");

    let broker = start(&dir).await.unwrap();
    assert_eq!(broker.cluster_id(), cluster_id);
    let mut stream = TcpStream::connect(broker.addr()).await.unwrap();
    let metadata: MetadataResponse =
        ask(&mut stream, 8, &MetadataRequest { topics: None, ..MetadataRequest::default() }).await;
    assert_eq!(metadata.topics[0].partitions.len(), 3);
    assert_eq!(metadata.brokers[0].port, i32::from(broker.addr().port()));
    assert_eq!(broker.metrics().connections_accepted.get(), 1);
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_broker_on_the_same_directory_is_refused_until_the_first_stops() {
    let dir = tempfile::tempdir().unwrap();
    let first = start(&dir).await.unwrap();
    let refused = start(&dir).await.unwrap_err();
    assert!(matches!(&refused, StartError::Storage(StorageError::DirectoryInUse { .. })), "{refused}");
    first.stop().await.unwrap();
    start(&dir).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_dropped_broker_releases_its_directory_and_its_address() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(&dir).await.unwrap();
    let address = broker.addr();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _: ApiVersionsResponse = ask(&mut stream, 2, &ApiVersionsRequest::default()).await;
    drop(broker);
    assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0, "the connection is closed");
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let again = loop {
        match start(&dir).await {
            Ok(broker) => break broker,
            Err(StartError::Storage(StorageError::DirectoryInUse { .. })) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    again.stop().await.unwrap();
}

#[tokio::test]
async fn several_listeners_tell_each_client_its_own_address() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::builder()
        .data_dir(dir.path())
        .listen("PLAINTEXT://127.0.0.1:0")
        .listen("INSIDE://[::1]:0")
        .set("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT")
        .start()
        .await
        .unwrap();
    for address in broker.addrs() {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let metadata: MetadataResponse = ask(&mut stream, 8, &MetadataRequest::default()).await;
        let told = (metadata.brokers[0].host.as_str(), metadata.brokers[0].port);
        assert_eq!(told, (address.ip().to_string().as_str(), i32::from(address.port())));
    }
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn a_wrong_setting_or_a_taken_address_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = Broker::builder().data_dir(dir.path()).set("num.partitionz", "3").start().await.unwrap_err();
    assert!(wrong.to_string().contains("num.partitions"), "{wrong}");
    let first = start(&dir).await.unwrap();
    let other = tempfile::tempdir().unwrap();
    let taken = Broker::builder().data_dir(other.path()).listen(first.addr().to_string()).start().await.unwrap_err();
    assert!(matches!(&taken, StartError::Bind { .. }), "{taken}");
    first.stop().await.unwrap();
}

#[tokio::test]
async fn bytes_behind_a_body_are_served_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(&dir).await.unwrap();
    let mut stream = TcpStream::connect(broker.addr()).await.unwrap();
    // ApiVersions v0 of correlation id 5 without a client id, and three bytes too many.
    stream.write_all(&[0, 0, 0, 13, 0, 18, 0, 0, 0, 0, 0, 5, 0xff, 0xff, 1, 2, 3]).await.unwrap();
    let size = stream.read_i32().await.unwrap();
    let mut answer = vec![0; usize::try_from(size).unwrap()];
    stream.read_exact(&mut answer).await.unwrap();
    let (correlation_id, versions): (i32, ApiVersionsResponse) =
        decode_response(Bytes::from(answer), ApiKey::ApiVersions, 0).unwrap();
    assert_eq!((correlation_id, versions.error_code, broker.metrics().trailing_bytes.get()), (5, 0, 1));
    broker.stop().await.unwrap();
}
