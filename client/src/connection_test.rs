//! Goal: whatever a broker (or something that is none) sends, every request is settled, nothing panics, and no answer is
//! taken for another's. Method: a scripted broker on a real socket that answers in the ways brokers should not.

use std::future::Future;

use ottla_protocol::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use ottla_protocol::messages::metadata::{MetadataRequest, MetadataResponse};
use ottla_protocol::wire::Segments;
use tokio::net::TcpListener;

use super::*;

/// The broker's side of a connection.
struct Script {
    stream: TcpStream,
}

impl Script {
    /// The next request: its header.
    async fn request(&mut self) -> RequestHeader {
        let size = self.stream.read_i32().await.unwrap();
        let mut frame = vec![0; size as usize];
        self.stream.read_exact(&mut frame).await.unwrap();
        frame::decode_request_header(&mut Reader::new(frame.into())).unwrap()
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn answer(&mut self, request: &RequestHeader, response: &impl Message) {
        let api = ApiKey::from_i16(request.api_key).unwrap();
        let answer = frame::encode_response(request.correlation_id, api, request.api_version, response);
        self.send(&whole(answer.unwrap())).await;
    }

    /// Reads the ApiVersions request and answers it with one version of Metadata.
    async fn greet(&mut self) {
        let request = self.request().await;
        self.answer(&request, &versions(0)).await;
    }

    /// Waits until the client closes its side.
    async fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset closes it as well as an end does.
        let _ = self.stream.read_to_end(&mut rest).await;
    }
}

fn whole(segments: Segments) -> Bytes {
    segments.into_bytes().unwrap()
}

fn versions(error_code: i16) -> ApiVersionsResponse {
    let api = |api: ApiKey, max_version| ApiVersion { api_key: api.key(), min_version: 0, max_version };
    let api_keys = vec![api(ApiKey::ApiVersions, 3), api(ApiKey::Metadata, 12)];
    ApiVersionsResponse { error_code, api_keys, ..Default::default() }
}

/// Runs `script` as the broker of one connection; returns its port.
async fn broker<F: Future<Output = ()> + Send + 'static>(script: impl FnOnce(Script) -> F + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        script(Script { stream }).await;
    });
    port
}

fn config() -> ClientConfig {
    let mut config = ClientConfig::new("unused:1");
    config.request_timeout = Duration::from_secs(5);
    config.receive_bytes_max = 4096;
    config
}

async fn open(port: u16) -> Connection {
    Connection::open("127.0.0.1", port, &config()).await.unwrap()
}

async fn metadata(connection: &Connection) -> Result<MetadataResponse, Error> {
    connection.request(&MetadataRequest::default(), Duration::from_secs(5)).await
}

/// The reason for which the connection was lost.
fn reason(error: Error) -> String {
    match error {
        Error::Disconnected { reason, .. } => reason.to_string(),
        other => panic!("not a lost connection: {other}"),
    }
}

#[tokio::test]
async fn takes_the_highest_version_that_both_speak() {
    let port = broker(|mut script| async move {
        script.greet().await;
        let request = script.request().await;
        assert_eq!((request.api_key, request.api_version), (3, 12));
        assert_eq!(request.client_id.as_deref(), Some("ottla-client"));
        script.answer(&request, &MetadataResponse { controller_id: 42, ..Default::default() }).await;
        script.closed().await;
    })
    .await;
    let connection = open(port).await;
    assert_eq!(metadata(&connection).await.unwrap().controller_id, 42);
    let error = connection.version(ApiKey::Fetch).unwrap_err();
    assert!(matches!(error, Error::UnsupportedVersion { api: ApiKey::Fetch, .. }), "{error}");
}

#[tokio::test]
async fn an_old_broker_is_asked_again_in_its_own_version() {
    let port = broker(|mut script| async move {
        let request = script.request().await;
        assert_eq!(request.api_version, 4);
        let refusal = frame::encode_response(request.correlation_id, ApiKey::ApiVersions, 0, &versions(35)).unwrap();
        script.send(&whole(refusal)).await;
        let request = script.request().await;
        assert_eq!(request.api_version, 3);
        script.answer(&request, &versions(0)).await;
        script.closed().await;
    })
    .await;
    assert_eq!(open(port).await.version(ApiKey::Metadata).unwrap(), 12);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let port = broker(|mut script| async move {
        script.greet().await;
        let (first, second) = (script.request().await, script.request().await);
        script.answer(&first, &MetadataResponse { controller_id: 1, ..Default::default() }).await;
        script.answer(&second, &MetadataResponse { controller_id: 2, ..Default::default() }).await;
        script.closed().await;
    })
    .await;
    let connection = open(port).await;
    let (first, second) = tokio::join!(metadata(&connection), metadata(&connection));
    assert_eq!((first.unwrap().controller_id, second.unwrap().controller_id), (1, 2));
}

#[tokio::test]
async fn answers_in_the_wrong_order_close_the_connection() {
    let port = broker(|mut script| async move {
        script.greet().await;
        let (_, second) = (script.request().await, script.request().await);
        script.answer(&second, &MetadataResponse::default()).await;
        script.closed().await;
    })
    .await;
    let connection = open(port).await;
    let (first, second) = tokio::join!(metadata(&connection), metadata(&connection));
    assert!(reason(first.unwrap_err()).contains("came before"));
    second.unwrap_err();
    assert!(connection.is_closed());
}

#[tokio::test]
async fn an_answer_cut_short_by_the_end_of_the_stream_is_an_error() {
    let port = broker(|mut script| async move {
        script.greet().await;
        let request = script.request().await;
        script.send(&[0, 0, 0, 100]).await;
        script.send(&request.correlation_id.to_be_bytes()).await;
    })
    .await;
    let error = metadata(&open(port).await).await.unwrap_err();
    assert!(error.is_retriable());
    assert_eq!(reason(error), "closed by the broker after 8 bytes of an answer");
}

#[tokio::test]
async fn a_body_that_cannot_be_read_closes_the_connection() {
    let port = broker(|mut script| async move {
        script.greet().await;
        let request = script.request().await;
        let mut frame = vec![0, 0, 0, 9];
        frame.extend(request.correlation_id.to_be_bytes());
        frame.extend([0, 0, 0, 0, 0]);
        script.send(&frame).await;
        script.closed().await;
    })
    .await;
    let connection = open(port).await;
    let error = metadata(&connection).await.unwrap_err();
    assert!(matches!(error, Error::MalformedResponse { api: ApiKey::Metadata, .. }), "{error}");
    assert!(connection.is_closed());
}

#[tokio::test]
async fn sizes_that_cannot_be_are_refused() {
    for (size, expected) in [(-1, "an answer of -1 bytes"), (3, "an answer of 3 bytes"), (4097, "receive_bytes_max")] {
        let port = broker(move |mut script| async move {
            script.greet().await;
            script.request().await;
            script.send(&i32::to_be_bytes(size)).await;
            script.closed().await;
        })
        .await;
        let reason = reason(metadata(&open(port).await).await.unwrap_err());
        assert!(reason.contains(expected), "{size}: {reason}");
    }
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_closes_the_connection() {
    let port = broker(|mut script| async move {
        script.greet().await;
        script.send(&[0, 0, 0, 4, 0, 0, 0, 99]).await;
        script.closed().await;
    })
    .await;
    let connection = open(port).await;
    let error = metadata(&connection).await.unwrap_err();
    assert!(reason(error).contains("99"));
}

#[tokio::test]
async fn silence_ends_at_the_timeout_and_fails_all_that_wait() {
    let port = broker(|mut script| async move {
        script.greet().await;
        script.closed().await;
    })
    .await;
    let connection = open(port).await;
    let request = MetadataRequest::default();
    let short = connection.request(&request, Duration::from_millis(50));
    let (short, long) = tokio::join!(short, metadata(&connection));
    assert!(matches!(short, Err(Error::RequestTimeout { .. })));
    assert!(matches!(long, Err(Error::RequestTimeout { .. })), "answers come in order: none will come any more");
    assert!(matches!(metadata(&connection).await, Err(Error::RequestTimeout { .. })), "the reason stays");
}

#[tokio::test]
async fn dropping_the_handle_closes_the_socket() {
    let (told, closed) = oneshot::channel();
    let port = broker(|mut script| async move {
        script.greet().await;
        script.closed().await;
        told.send(()).unwrap();
    })
    .await;
    drop(open(port).await);
    closed.await.unwrap();
}

#[tokio::test]
async fn nobody_listening_is_said_with_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = Connection::open("127.0.0.1", port, &config()).await.unwrap_err();
    assert!(matches!(&error, Error::Connect { address, .. } if **address == format!("127.0.0.1:{port}")), "{error}");
}

#[tokio::test]
async fn connects_over_ipv6() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        eprintln!("NOT CHECKED: this machine has no IPv6 loopback");
        return;
    };
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut script = Script { stream };
        script.greet().await;
        script.closed().await;
    });
    let connection = Connection::open("::1", port, &config()).await.unwrap();
    assert_eq!(connection.address().as_ref(), format!("[::1]:{port}"));
}

/// A producer gave up on batches that came in this moment, instead of sending them again.
#[tokio::test]
async fn a_request_between_the_end_of_the_task_and_its_reason_can_be_repeated() {
    let port = broker(|mut script| async move {
        script.greet().await;
        script.closed().await;
    })
    .await;
    let connection = open(port).await;
    let (queue, task) = mpsc::unbounded_channel();
    connection.inner.shared.outgoing.lock().queue = Some(queue);
    drop(task);
    let error = metadata(&connection).await.unwrap_err();
    assert!(error.is_retriable(), "{error}");
}
