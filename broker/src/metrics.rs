//! Counters of the broker, declared once and read by whoever reports them.
//!
//! Owns the counters, not their publication. Every counter only rises, save those called gauges. Reading one never
//! disturbs who counts.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_protocol::ApiKey;

/// A number that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `by` more.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// The count since the start.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectionClose {
    /// The client closed it, between two requests or in the middle of one.
    Peer,
    /// The socket reported an error.
    Io,
    /// Nothing happened on it for `connections.max.idle.ms`.
    Idle,
    /// A frame's size is not positive or over `socket.request.max.bytes`.
    FrameSize,
    /// A TLS handshake on a port without TLS.
    Tls,
    /// An HTTP request on Kafka's port.
    Http,
    /// A request was begun and did not move on.
    Stalled,
    /// The client does not read its answers.
    SlowReader,
    /// A request waited too long for memory.
    NoMemory,
    /// A request could not be read.
    BadRequest,
    /// An API or a version that is not served.
    Unsupported,
    /// A produce with `acks=0` failed.
    ProduceFailed,
    /// An answer could not be encoded or did not fit its files: our own mistake.
    Unanswerable,
    /// A file was shorter than the answer that it is part of.
    FileTruncated,
    /// Over `max.connections` or `max.connections.per.ip`.
    TooMany,
    /// The broker stops.
    Shutdown,
}

impl ConnectionClose {
    /// All kinds, in the order of their counters.
    pub const ALL: [ConnectionClose; 16] = [
        Self::Peer,
        Self::Io,
        Self::Idle,
        Self::FrameSize,
        Self::Tls,
        Self::Http,
        Self::Stalled,
        Self::SlowReader,
        Self::NoMemory,
        Self::BadRequest,
        Self::Unsupported,
        Self::ProduceFailed,
        Self::Unanswerable,
        Self::FileTruncated,
        Self::TooMany,
        Self::Shutdown,
    ];

    /// Whether the client did something that a person may want to know of: these are logged as warnings.
    #[must_use]
    pub fn is_suspicious(self) -> bool {
        !matches!(self, Self::Peer | Self::Io | Self::Idle | Self::Shutdown)
    }
}

/// The label of the kind.
impl fmt::Display for ConnectionClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Peer => "peer",
            Self::Io => "io",
            Self::Idle => "idle",
            Self::FrameSize => "frame_size",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Stalled => "stalled",
            Self::SlowReader => "slow_reader",
            Self::NoMemory => "no_memory",
            Self::BadRequest => "bad_request",
            Self::Unsupported => "unsupported",
            Self::ProduceFailed => "produce_failed",
            Self::Unanswerable => "unanswerable",
            Self::FileTruncated => "file_truncated",
            Self::TooMany => "too_many",
            Self::Shutdown => "shutdown",
        })
    }
}

/// Everything that the broker counts.
#[derive(Debug)]
pub struct Metrics {
    /// Connections accepted.
    pub connections_accepted: Counter,
    /// Bytes that came in on all connections.
    pub bytes_in: Counter,
    /// Bytes that went out on all connections.
    pub bytes_out: Counter,
    /// Requests that had bytes behind their body. They are served: a later version of a message may have grown.
    pub trailing_bytes: Counter,
    /// Failed calls of accept, such as those for want of descriptors.
    pub accept_errors: Counter,
    requests: [Counter; ApiKey::ALL.len()],
    closed: [Counter; ConnectionClose::ALL.len()],
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            connections_accepted: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            trailing_bytes: Counter::default(),
            accept_errors: Counter::default(),
            requests: std::array::from_fn(|_| Counter::default()),
            closed: std::array::from_fn(|_| Counter::default()),
        }
    }
}

impl Metrics {
    /// Requests of this API whose header could be read, in any version.
    #[must_use]
    pub fn requests(&self, api_key: ApiKey) -> &Counter {
        // The table of APIs is sorted and does not end.
        let index = ApiKey::ALL.binary_search(&api_key).expect("the table has every API");
        &self.requests[index]
    }

    /// Connections that ended for this reason.
    #[must_use]
    pub fn closed(&self, kind: ConnectionClose) -> &Counter {
        &self.closed[kind as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_close_has_a_counter_of_its_own() {
        let metrics = Metrics::default();
        for (index, kind) in ConnectionClose::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index, "{kind}");
            metrics.closed(kind).add(index as u64 + 1);
        }
        for (index, kind) in ConnectionClose::ALL.into_iter().enumerate() {
            assert_eq!(metrics.closed(kind).get(), index as u64 + 1, "{kind}");
        }
    }

    #[test]
    fn every_api_has_a_counter_of_its_own() {
        let metrics = Metrics::default();
        ApiKey::ALL.iter().for_each(|&api_key| metrics.requests(api_key).add(1));
        assert!(ApiKey::ALL.iter().all(|&api_key| metrics.requests(api_key).get() == 1));
    }
}
