//! One member's connection: a request, its answer, one after the other, as every consumer's connection to its coordinator.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use ottla_protocol::Request;
use ottla_protocol::frame::{RequestHeader, decode_response, encode_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const FRAME_BYTES_MAX: usize = 64 << 20;
/// Longer than any wait of a join: whoever gets no answer for so long gets none.
const ANSWER_PATIENCE: Duration = Duration::from_secs(120);

/// A connection that asks one question at a time.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    client_id: String,
    correlation_id: i32,
}

impl Connection {
    /// Connects under a name.
    pub(crate) async fn open(address: SocketAddr, client_id: String) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connect {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, client_id, correlation_id: 0 })
    }

    /// The answer to a request.
    pub(crate) async fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        self.correlation_id += 1;
        let header = RequestHeader {
            api_key: R::API_KEY.key(),
            api_version: version,
            correlation_id: self.correlation_id,
            client_id: Some(self.client_id.clone()),
        };
        let frame = encode_request(&header, request)?.into_bytes().context("a request in one piece")?;
        self.stream.write_all(&frame).await?;
        let answer = tokio::time::timeout(ANSWER_PATIENCE, self.read());
        let answer = answer.await.with_context(|| format!("{} was not answered", R::API_KEY))??;
        let (correlation_id, response) = decode_response::<R::Response>(answer, R::API_KEY, version)?;
        ensure!(correlation_id == self.correlation_id, "answer {correlation_id} to request {}", self.correlation_id);
        Ok(response)
    }

    async fn read(&mut self) -> Result<Bytes> {
        let size = usize::try_from(self.stream.read_i32().await?)?;
        ensure!(size <= FRAME_BYTES_MAX, "a frame of {size} bytes");
        let mut frame = vec![0; size];
        self.stream.read_exact(&mut frame).await?;
        Ok(Bytes::from(frame))
    }
}
