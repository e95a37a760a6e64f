//! One TCP connection to one broker: requests go out in the order of their submission, answers come back in that order.
//!
//! Owns the socket (the only file here that touches `tokio::net`), the correlation ids, the limit of requests in flight
//! and the versions agreed on with the broker. Does not reconnect and does not retry. Invariant: every submitted
//! request is settled once, by its answer or by the error that closed the connection; after the first error nothing
//! more is read or written, because answers could no longer be told apart.

use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use ottla_protocol::frame::{self, RequestHeader};
use ottla_protocol::messages::api_versions::ApiVersionsRequest;
use ottla_protocol::wire::{DecodeError, Reader, Segment};
use ottla_protocol::{ApiKey, ErrorCode, Message, Request};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::Error;
use crate::clock::{self, Instant};
use crate::config::ClientConfig;
use crate::dial;

/// Requests that may be submitted and unanswered.
const IN_FLIGHT_MAX: usize = 128;
/// What is read at once while no large answer is expected.
const READ_BYTES: usize = 64 * 1024;
/// The least room worth a read of its own.
const READ_BYTES_MIN: usize = 4 * 1024;
/// The memory that the decoded form of an answer may take: this many times its bytes (a fetched partition is some forty
/// bytes on the wire and four times that decoded) ...
const DECODE_BUDGET_FACTOR: usize = 16;
/// ... and this much, for small answers with many short fields.
const DECODE_BUDGET_BYTES: usize = 1 << 20;
/// Pieces handed to one `writev`.
const WRITE_SLICES_MAX: usize = 64;

/// A handle on an open connection. The connection closes when the last handle and the last pending answer are gone.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    client_id: String,
    versions: OnceLock<HashMap<i16, RangeInclusive<i16>>>,
    permits: Arc<Semaphore>,
    task: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What handles and the connection's task share.
#[derive(Debug)]
struct Shared {
    address: Arc<str>,
    outgoing: Mutex<Outgoing>,
    closed: OnceLock<Error>,
}

#[derive(Debug)]
struct Outgoing {
    next_correlation_id: i32,
    /// Those who wait, in the order in which the broker will answer.
    waiting: VecDeque<Waiting>,
    /// `None` once closed.
    queue: Option<mpsc::UnboundedSender<Frame>>,
}

#[derive(Debug)]
struct Waiting {
    correlation_id: i32,
    answer: oneshot::Sender<Result<Bytes, Error>>,
}

#[derive(Debug)]
struct Frame {
    pieces: Vec<Bytes>,
    /// Told when the frame was handed to the operating system.
    written: Option<oneshot::Sender<Result<Bytes, Error>>>,
}

impl Shared {
    /// Closes for `reason`: everything in flight fails with it. Only the first reason counts.
    fn close(&self, reason: Error) -> Error {
        let reason = self.closed.get_or_init(|| reason).clone();
        let waiting = {
            let mut outgoing = self.outgoing.lock();
            outgoing.queue = None;
            std::mem::take(&mut outgoing.waiting)
        };
        for waiting in waiting {
            // Whoever no longer waits does not care.
            let _ = waiting.answer.send(Err(reason.clone()));
        }
        reason
    }

    fn lost(&self, reason: impl ToString) -> Error {
        Error::Disconnected { address: self.address.clone(), reason: reason.to_string().into() }
    }
}

impl Connection {
    /// Connects to the first of the host's addresses that accepts, and agrees on the versions of all APIs.
    ///
    /// # Errors
    /// `Connect` when no address accepts within the connect timeout; `Disconnected`, `RequestTimeout` or
    /// `MalformedResponse` when what answers is not a broker; `UnsupportedVersion` when it is too old.
    pub(crate) async fn open(host: &str, port: u16, config: &ClientConfig) -> Result<Connection, Error> {
        let address: Arc<str> = match host.contains(':') {
            true => format!("[{host}]:{port}").into(),
            false => format!("{host}:{port}").into(),
        };
        let stream = dial::connect(host, port, &address, config.connect_timeout).await?;
        let (queue, frames) = mpsc::unbounded_channel();
        let outgoing = Outgoing { next_correlation_id: 0, waiting: VecDeque::new(), queue: Some(queue) };
        let shared = Arc::new(Shared { address, outgoing: Mutex::new(outgoing), closed: OnceLock::new() });
        let task = tokio::spawn(run(stream, frames, shared.clone(), config.receive_bytes_max)).abort_handle();
        let inner = Inner {
            shared,
            client_id: config.client_id.clone(),
            versions: OnceLock::new(),
            permits: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
            task,
        };
        let connection = Connection { inner: Arc::new(inner) };
        connection.negotiate(config.request_timeout).await?;
        Ok(connection)
    }

    /// `HOST:PORT`, as the broker was addressed.
    pub(crate) fn address(&self) -> &Arc<str> {
        &self.inner.shared.address
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inner.shared.closed.get().is_some()
    }

    /// The versions of every API that the broker serves.
    pub(crate) fn served_versions(&self) -> impl Iterator<Item = (i16, RangeInclusive<i16>)> {
        self.inner.versions.get().into_iter().flatten().map(|(key, range)| (*key, range.clone()))
    }

    /// The highest version of `api` that both sides speak.
    ///
    /// # Errors
    /// `UnsupportedVersion` when there is none.
    pub(crate) fn version(&self, api: ApiKey) -> Result<i16, Error> {
        let spoken = api.versions();
        let served = self.inner.versions.get().and_then(|versions| versions.get(&(api.key())));
        let common = served.map(|served| (*served.end()).min(*spoken.end()));
        match (common, served) {
            (Some(common), Some(served)) if common >= *served.start() && common >= *spoken.start() => Ok(common),
            (_, served) => Err(Error::UnsupportedVersion {
                address: self.address().clone(),
                api,
                served: served.map_or("no version".into(), range_in_words),
                spoken: range_in_words(&spoken),
            }),
        }
    }

    /// Sends one request, in the highest common version, and waits for its answer.
    pub(crate) async fn request<R: Request>(&self, request: &R, timeout: Duration) -> Result<R::Response, Error> {
        let version = self.version(R::API_KEY)?;
        self.request_version(request, version, timeout).await
    }

    pub(crate) async fn request_version<R: Request>(
        &self,
        request: &R,
        version: i16,
        timeout: Duration,
    ) -> Result<R::Response, Error> {
        let deadline = clock::now() + timeout;
        let permit = match tokio::time::timeout_at(deadline, self.inner.permits.clone().acquire_owned()).await {
            Ok(permit) => permit.map_err(|_| Error::Closed)?,
            Err(_) => return Err(self.timed_out(R::API_KEY, timeout)),
        };
        self.enqueue(request, version, deadline, permit)?.answer().await
    }

    /// Puts one request in line without waiting: requests are written in the order of these calls.
    ///
    /// # Errors
    /// The error that closed the connection; `Disconnected` when too many requests are in flight already.
    pub(crate) fn submit<R: Request>(
        &self,
        request: &R,
        version: i16,
        deadline: Instant,
    ) -> Result<PendingResponse<R>, Error> {
        let permit = self.inner.permits.clone().try_acquire_owned();
        let permit = permit.map_err(|_| self.inner.shared.lost(format!("over {IN_FLIGHT_MAX} requests in flight")))?;
        self.enqueue(request, version, deadline, permit)
    }

    /// Puts a request in line that has no answer (a Produce with acks=0). Resolves when it was written.
    pub(crate) fn submit_unanswered<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<oneshot::Receiver<Result<Bytes, Error>>, Error> {
        let (written, receiver) = oneshot::channel();
        let mut outgoing = self.inner.shared.outgoing.lock();
        let pieces = self.encode(request, version, outgoing.next_correlation_id)?;
        outgoing.push(Frame { pieces, written: Some(written) }).ok_or_else(|| self.close_reason())?;
        Ok(receiver)
    }

    fn enqueue<R: Request>(
        &self,
        request: &R,
        version: i16,
        deadline: Instant,
        permit: OwnedSemaphorePermit,
    ) -> Result<PendingResponse<R>, Error> {
        let (answer, receiver) = oneshot::channel();
        let mut outgoing = self.inner.shared.outgoing.lock();
        let correlation_id = outgoing.next_correlation_id;
        let pieces = self.encode(request, version, correlation_id)?;
        outgoing.push(Frame { pieces, written: None }).ok_or_else(|| self.close_reason())?;
        outgoing.waiting.push_back(Waiting { correlation_id, answer });
        drop(outgoing);
        let connection = self.clone();
        let submitted = clock::now();
        Ok(PendingResponse { connection, receiver, version, submitted, deadline, _permit: permit, _api: PhantomData })
    }

    fn encode<R: Request>(&self, request: &R, version: i16, correlation_id: i32) -> Result<Vec<Bytes>, Error> {
        let client_id = Some(self.inner.client_id.clone());
        let header = RequestHeader { api_key: R::API_KEY.key(), api_version: version, correlation_id, client_id };
        let unencodable =
            |reason: String| Error::UnencodableRequest { api: R::API_KEY, version, reason: reason.into() };
        let segments = frame::encode_request(&header, request).map_err(|error| unencodable(error.to_string()))?;
        let pieces = segments.0.into_iter().map(|segment| match segment {
            Segment::Bytes(bytes) => Ok(bytes),
            Segment::External { .. } => Err(unencodable("a client has no external records".to_owned())),
        });
        pieces.collect()
    }

    /// Why the connection closed. Its task has ended a moment before the reason is known: that is a lost connection, too, and
    /// what was not sent can be sent on another.
    pub(crate) fn close_reason(&self) -> Error {
        let shared = &self.inner.shared;
        shared.closed.get().cloned().unwrap_or_else(|| shared.lost("the connection ends"))
    }

    fn timed_out(&self, api: ApiKey, after: Duration) -> Error {
        Error::RequestTimeout { address: self.address().clone(), api, after }
    }

    /// Gives the connection up: whatever is in flight fails with `reason`.
    fn abandon(&self, reason: Error) -> Error {
        let reason = self.inner.shared.close(reason);
        self.inner.task.abort();
        reason
    }

    /// Asks for the broker's versions. A broker that does not know our version of the question answers in version 0 of
    /// the format with UNSUPPORTED_VERSION and its own range, in which it is asked again (KIP-511).
    async fn negotiate(&self, timeout: Duration) -> Result<(), Error> {
        let request = ApiVersionsRequest {
            client_software_name: env!("CARGO_PKG_NAME").into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
        };
        let mut version = *ApiKey::ApiVersions.versions().end();
        let mut response = self.request_version(&request, version, timeout).await?;
        if response.error_code == ErrorCode::UnsupportedVersion.code() {
            let served = response.api_keys.iter().find(|api| api.api_key == ApiKey::ApiVersions.key());
            version = served.map_or(0, |served| served.max_version).clamp(0, version);
            response = self.request_version(&request, version, timeout).await?;
        }
        if response.error_code != 0 {
            return Err(Error::broker(ApiKey::ApiVersions, response.error_code, self.address(), "", None));
        }
        let versions = response.api_keys.iter().map(|api| (api.api_key, api.min_version..=api.max_version)).collect();
        // Only this function sets it, once for each connection.
        let _ = self.inner.versions.set(versions);
        Ok(())
    }
}

impl Outgoing {
    /// `None` when closed.
    fn push(&mut self, frame: Frame) -> Option<()> {
        self.queue.as_ref()?.send(frame).ok()?;
        self.next_correlation_id = self.next_correlation_id.wrapping_add(1);
        Some(())
    }
}

/// An answer that is on its way.
#[derive(Debug)]
pub(crate) struct PendingResponse<R> {
    connection: Connection,
    receiver: oneshot::Receiver<Result<Bytes, Error>>,
    version: i16,
    submitted: Instant,
    deadline: Instant,
    _permit: OwnedSemaphorePermit,
    _api: PhantomData<fn() -> R>,
}

impl<R: Request> PendingResponse<R> {
    /// Waits for the answer. Past the deadline the whole connection is given up.
    pub(crate) async fn answer(self) -> Result<R::Response, Error> {
        let frame = match tokio::time::timeout_at(self.deadline, self.receiver).await {
            Ok(Ok(answer)) => answer?,
            Ok(Err(_)) => return Err(self.connection.abandon(self.connection.inner.shared.lost("gone"))),
            Err(_) => {
                let after = self.deadline.saturating_duration_since(self.submitted);
                return Err(self.connection.abandon(self.connection.timed_out(R::API_KEY, after)));
            }
        };
        decode_response::<R>(frame, self.version).map_err(|error| {
            let (address, reason) = (self.connection.address().clone(), error.to_string().into());
            self.connection.abandon(Error::MalformedResponse { address, api: R::API_KEY, reason })
        })
    }
}

/// Reads a whole answer, from its correlation id on.
fn decode_response<R: Request>(frame: Bytes, version: i16) -> Result<R::Response, DecodeError> {
    let refused = frame.get(4..6) == Some(&ErrorCode::UnsupportedVersion.code().to_be_bytes());
    let version = if R::API_KEY == ApiKey::ApiVersions && refused { 0 } else { version };
    let budget = frame.len().saturating_mul(DECODE_BUDGET_FACTOR).saturating_add(DECODE_BUDGET_BYTES);
    let mut reader = Reader::with_budget(frame, budget);
    frame::decode_response_header(&mut reader, R::API_KEY, version)?;
    R::Response::decode(&mut reader, version)
}

fn range_in_words(range: &RangeInclusive<i16>) -> String {
    format!("versions {} to {}", range.start(), range.end())
}

/// The connection's task: writes what is queued and reads what comes, until either fails.
async fn run(stream: TcpStream, frames: mpsc::UnboundedReceiver<Frame>, shared: Arc<Shared>, receive_bytes_max: usize) {
    let (reader, writer) = stream.into_split();
    let reason = tokio::select! {
        reason = read_answers(reader, &shared, receive_bytes_max) => reason,
        reason = write_frames(writer, frames) => reason,
    };
    tracing::debug!(address = %shared.address, reason, "connection closed");
    let error = shared.lost(reason);
    shared.close(error);
}

/// Writes frames in order; returns why it stopped.
async fn write_frames(mut writer: OwnedWriteHalf, mut frames: mpsc::UnboundedReceiver<Frame>) -> String {
    let mut pieces: VecDeque<Bytes> = VecDeque::new();
    let mut written = Vec::new();
    while let Some(first) = frames.recv().await {
        let mut next = Some(first);
        while let Some(frame) = next {
            pieces.extend(frame.pieces);
            written.extend(frame.written);
            next = frames.try_recv().ok();
        }
        if let Err(error) = write_pieces(&mut writer, &mut pieces).await {
            return error.to_string();
        }
        for written in written.drain(..) {
            // Whoever no longer waits does not care.
            let _ = written.send(Ok(Bytes::new()));
        }
    }
    "closed by this client".to_owned()
}

async fn write_pieces(writer: &mut OwnedWriteHalf, pieces: &mut VecDeque<Bytes>) -> std::io::Result<()> {
    while !pieces.is_empty() {
        let slices: Vec<IoSlice<'_>> = pieces.iter().take(WRITE_SLICES_MAX).map(|piece| IoSlice::new(piece)).collect();
        let mut count = writer.write_vectored(&slices).await?;
        if count == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        while let Some(piece) = pieces.front_mut() {
            if piece.len() > count {
                piece.advance(count);
                break;
            }
            count -= piece.len();
            pieces.pop_front();
        }
    }
    Ok(())
}

/// Reads answers and hands each to the one that waits for it; returns why it stopped.
async fn read_answers(mut reader: OwnedReadHalf, shared: &Shared, receive_bytes_max: usize) -> String {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    loop {
        let frame = match take_frame(&mut buffer, receive_bytes_max) {
            Ok(Some(frame)) => frame,
            Ok(None) => match reader.read_buf(&mut buffer).await {
                Ok(0) if buffer.is_empty() => return "closed by the broker".to_owned(),
                Ok(0) => return format!("closed by the broker after {} bytes of an answer", buffer.len()),
                Ok(_) => continue,
                Err(error) => return error.to_string(),
            },
            Err(reason) => return reason,
        };
        if let Err(reason) = deliver(frame, shared) {
            return reason;
        }
    }
}

/// The next whole answer (without its size) from `buffer`, or else room for what is missing of it.
fn take_frame(buffer: &mut BytesMut, receive_bytes_max: usize) -> Result<Option<Bytes>, String> {
    let Some(prefix) = buffer.first_chunk::<4>() else {
        // What is left of the present allocation is used up first, so that small answers share one.
        if buffer.capacity() - buffer.len() < READ_BYTES_MIN {
            buffer.reserve(READ_BYTES);
        }
        return Ok(None);
    };
    let declared = i32::from_be_bytes(*prefix);
    let size = usize::try_from(declared).ok().filter(|size| *size >= 4);
    let size = size.ok_or_else(|| format!("an answer of {declared} bytes"))?;
    if size > receive_bytes_max {
        return Err(format!("an answer of {size} bytes; receive_bytes_max is {receive_bytes_max}"));
    }
    if buffer.len() < 4 + size {
        buffer.reserve((4 + size - buffer.len()).max(READ_BYTES_MIN));
        return Ok(None);
    }
    buffer.advance(4);
    Ok(Some(buffer.split_to(size).freeze()))
}

/// Matches an answer with the oldest request: a broker answers in order (and the ids are there to prove it).
fn deliver(frame: Bytes, shared: &Shared) -> Result<(), String> {
    let correlation_id = frame.clone().get_i32();
    let oldest = shared.outgoing.lock().waiting.pop_front();
    match oldest {
        None => Err(format!("an answer with id {correlation_id} that no request waits for")),
        Some(oldest) if oldest.correlation_id != correlation_id => {
            let error = shared.lost(format!("answer {correlation_id} came before answer {}", oldest.correlation_id));
            let reason = error.to_string();
            let _ = oldest.answer.send(Err(error));
            Err(reason)
        }
        Some(oldest) => {
            // Whoever no longer waits does not care.
            let _ = oldest.answer.send(Ok(frame));
            Ok(())
        }
    }
}

#[cfg(test)]
#[path = "connection_test.rs"]
mod tests;
