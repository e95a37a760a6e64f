//! What the network floor hands up for each request, and what it gets back.
//!
//! The order of answers on a connection is the order of dispatch; whether the next request may start before an answer is
//! ready is the handler's choice, made here explicit as [`Dispatched`].

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::wire::Segments;

use crate::coordinator::Handled;
use crate::storage::vfs::FileSlice;

/// The peer of a connection.
#[derive(Debug, Clone)]
pub(crate) struct ClientInfo {
    /// Its address.
    pub(crate) peer: SocketAddr,
    /// Which of the configured listeners it came through; answers advertise the address that belongs to it.
    pub(crate) listener: usize,
}

/// One request as it came off the wire.
#[derive(Debug)]
pub(crate) struct Inbound {
    /// Header and body, without the size prefix.
    pub(crate) frame: Bytes,
    /// Who sent it.
    pub(crate) client: Arc<ClientInfo>,
}

/// An encoded response.
#[derive(Debug)]
pub(crate) struct ResponseFrame {
    /// Its pieces with the size prefix.
    pub(crate) segments: Segments,
    /// What the external pieces refer to by their index here.
    pub(crate) files: Vec<FileSlice>,
}

/// Why a connection is closed instead of answered; `Display` is the reason in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The request could not be read; nothing behind it can be trusted.
    BadRequest(String),
    /// An API or a version that is not served.
    Unsupported {
        /// The API's key.
        api_key: i16,
        /// The version.
        version: i16,
    },
    /// A produce with `acks=0` failed; closing is the only way to say so.
    ProduceFailed(String),
    /// A response could not be encoded: our own mistake.
    Unanswerable(String),
}

impl fmt::Display for CloseReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRequest(why) => write!(formatter, "the request is malformed: {why}"),
            Self::Unsupported { api_key, version } => {
                write!(formatter, "api key {api_key} version {version} is not served here")
            }
            Self::ProduceFailed(why) => write!(formatter, "a produce with acks=0 failed: {why}"),
            Self::Unanswerable(why) => write!(formatter, "the answer could not be encoded: {why}"),
        }
    }
}

/// The outcome of a request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Send this.
    Frame(ResponseFrame),
    /// Send nothing: a produce with `acks=0` went well.
    Nothing,
    /// Send what is due for earlier requests, then close.
    Close(CloseReason),
}

/// A reply in the making. Dropped when its connection goes, which ends any wait in it.
pub(crate) type ReplyFuture = Pin<Box<dyn Future<Output = Reply> + Send + 'static>>;

/// How a request is being served.
pub(crate) enum Dispatched {
    /// Here is the answer.
    Ready(Reply),
    /// What it changes is done, only the answer waits: later requests may be dispatched, their answers stay behind it.
    Overlapping(ReplyFuture),
    /// It is still at work: the next request of the connection must see its effect, and waits.
    Exclusive(ReplyFuture),
}

impl From<Handled<Reply>> for Dispatched {
    /// What a coordinator changes for a request is done when it was handled; only its answer may be late.
    fn from(handled: Handled<Reply>) -> Self {
        match handled {
            Handled::Ready(reply) => Self::Ready(reply),
            Handled::Later(future) => Self::Overlapping(future),
        }
    }
}

/// What serves requests.
pub(crate) trait Dispatch: Send + Sync + 'static {
    /// Starts to serve a request; never waits.
    fn dispatch(&self, inbound: Inbound) -> Dispatched;
}
