//! A blocking connection that sends any bytes and reads frames: for tests that speak the protocol by hand.
//!
//! Knows nothing of retries, metadata or batching. Every read has a deadline, so that a silent broker fails a test.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use ottla_protocol::frame::{self, RequestHeader};
use ottla_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_protocol::{ApiKey, Request};

/// The longest that an answer may take.
const READ_PATIENCE: Duration = Duration::from_secs(30);

/// Frames above this size are taken for a desynchronized stream.
const FRAME_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What came back.
#[derive(Debug)]
pub enum Reply {
    /// A frame without its size prefix.
    Frame(Bytes),
    /// The other side closed the connection.
    Closed,
}

/// One connection to a broker.
#[derive(Debug)]
pub struct RawConnection {
    stream: TcpStream,
    correlation_id: i32,
}

impl RawConnection {
    /// Connects to `address`.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream =
            TcpStream::connect_timeout(&address, READ_PATIENCE).with_context(|| format!("connect {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_PATIENCE))?;
        stream.set_write_timeout(Some(READ_PATIENCE))?;
        Ok(Self { stream, correlation_id: 0 })
    }

    /// The same connection again, for another thread; correlation ids go on from here on both.
    pub fn try_clone(&self) -> Result<Self> {
        Ok(Self { stream: self.stream.try_clone()?, correlation_id: self.correlation_id })
    }

    /// Tells the other side that nothing more comes.
    pub fn finish_sending(&mut self) -> Result<()> {
        Ok(self.stream.shutdown(std::net::Shutdown::Write)?)
    }

    /// The longest that a later read waits.
    pub fn set_read_patience(&mut self, patience: Duration) -> Result<()> {
        Ok(self.stream.set_read_timeout(Some(patience))?)
    }

    /// Writes bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Writes `body` with a size prefix.
    pub fn send_frame(&mut self, body: &[u8]) -> Result<()> {
        let mut framed = i32::try_from(body.len())?.to_be_bytes().to_vec();
        framed.extend_from_slice(body);
        self.send_bytes(&framed)
    }

    /// Writes a request and returns its correlation id.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> Result<i32> {
        let header = self.next_header(R::API_KEY.key(), version);
        let frame = frame::encode_request(&header, request)?.into_bytes().context("a request in one piece")?;
        self.send_bytes(&frame)?;
        Ok(header.correlation_id)
    }

    /// Writes a request whose body is already encoded and returns its correlation id.
    pub fn send_raw(&mut self, api_key: i16, version: i16, body: &[u8]) -> Result<i32> {
        let header = self.next_header(api_key, version);
        let frame = frame::encode_request_raw(&header, body)?.into_bytes().context("a request in one piece")?;
        self.send_bytes(&frame)?;
        Ok(header.correlation_id)
    }

    fn next_header(&mut self, api_key: i16, version: i16) -> RequestHeader {
        self.correlation_id += 1;
        let client_id = Some("ottla-tests".to_owned());
        RequestHeader { api_key, api_version: version, correlation_id: self.correlation_id, client_id }
    }

    /// Reads one frame, or the end of the stream. An error when neither comes in time.
    pub fn read(&mut self) -> Result<Reply> {
        let mut size = [0; 4];
        if !self.fill(&mut size)? {
            return Ok(Reply::Closed);
        }
        let size = usize::try_from(i32::from_be_bytes(size)).context("a negative frame size")?;
        ensure!(size <= FRAME_BYTES_MAX, "a frame of {size} bytes");
        let mut body = vec![0; size];
        ensure!(self.fill(&mut body)?, "the stream ended inside a frame of {size} bytes");
        Ok(Reply::Frame(Bytes::from(body)))
    }

    /// Fills `buffer`; false when the stream ended before its first byte or was reset.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<bool> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.stream.read(&mut buffer[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => bail!("the stream ended after {filled} of {} bytes", buffer.len()),
                Ok(count) => filled += count,
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    return Ok(false);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).with_context(|| format!("read {} bytes", buffer.len())),
            }
        }
        Ok(true)
    }

    /// Reads the end of the stream; an answer or silence is an error.
    pub fn expect_closed(&mut self) -> Result<()> {
        match self.read()? {
            Reply::Closed => Ok(()),
            Reply::Frame(frame) => bail!("an answer of {} bytes where the connection should close", frame.len()),
        }
    }

    /// Sends a request and reads its answer.
    pub fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        let sent = self.send(version, request)?;
        let (answered, response) = self.read_response::<R>(version)?;
        ensure!(sent == answered, "asked with correlation id {sent}, answered with {answered}");
        Ok(response)
    }

    /// The offset of partition 0 at a time, in milliseconds since 1970; -1 is the end of the log, -2 its start.
    pub fn list_offset(&mut self, topic: &str, timestamp: i64) -> Result<i64> {
        let partition = ListOffsetsPartition { partition_index: 0, timestamp, ..Default::default() };
        let topic = ListOffsetsTopic { name: topic.to_owned(), partitions: vec![partition] };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let response = self.ask(7, &request)?;
        let result = &response.topics[0].partitions[0];
        ensure!(result.error_code == 0, "{result:?}");
        Ok(result.offset)
    }

    /// Reads the answer to a request that was sent before.
    pub fn read_response<R: Request>(&mut self, version: i16) -> Result<(i32, R::Response)> {
        match self.read()? {
            Reply::Frame(frame) => decode_response::<R>(frame, version),
            Reply::Closed => bail!("the connection was closed instead of an answer to {}", R::API_KEY),
        }
    }
}

/// Decodes an answer and checks that no byte is left.
pub fn decode_response<R: Request>(frame: Bytes, version: i16) -> Result<(i32, R::Response)> {
    let what = || format!("{} v{version}", R::API_KEY);
    let budget = frame.len().saturating_mul(64).saturating_add(1 << 20);
    let mut reader = ottla_protocol::wire::Reader::with_budget(frame, budget);
    let api_key: ApiKey = R::API_KEY;
    let correlation_id = frame::decode_response_header(&mut reader, api_key, version).with_context(what)?;
    let response = ottla_protocol::Message::decode(&mut reader, version).with_context(what)?;
    ensure!(reader.remaining() == 0, "{}: {} bytes left behind the answer", what(), reader.remaining());
    Ok((correlation_id, response))
}
