//! Why a connection ends: the kind for the counter and a sentence for the log, which is written in moderation.
//!
//! Invariant: whatever a client does, each kind of end is logged at most [`LOGGED_PER_PERIOD`] times a
//! [`LOG_PERIOD`]; what was left out is counted and told with the next line.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use parking_lot::Mutex;

use crate::api::CloseReason;
use crate::clock::Clock;
use crate::metrics::{ConnectionClose, Metrics};

const LOG_PERIOD: Duration = Duration::from_secs(10);
const LOGGED_PER_PERIOD: u64 = 5;

/// The end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Close {
    pub(super) kind: ConnectionClose,
    pub(super) why: Cow<'static, str>,
}

impl Close {
    pub(super) fn new(kind: ConnectionClose, why: impl Into<Cow<'static, str>>) -> Self {
        Close { kind, why: why.into() }
    }

    pub(super) fn io(error: &std::io::Error) -> Self {
        Close::new(ConnectionClose::Io, error.to_string())
    }
}

impl From<CloseReason> for Close {
    fn from(reason: CloseReason) -> Self {
        let kind = match &reason {
            CloseReason::BadRequest(_) => ConnectionClose::BadRequest,
            CloseReason::Unsupported { .. } => ConnectionClose::Unsupported,
            CloseReason::ProduceFailed(_) => ConnectionClose::ProduceFailed,
            CloseReason::Unanswerable(_) => ConnectionClose::Unanswerable,
        };
        Close::new(kind, reason.to_string())
    }
}

/// Counts ends of connections and logs some of them.
#[derive(Debug, Default)]
pub(super) struct CloseLog {
    periods: Mutex<[Period; ConnectionClose::ALL.len()]>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Period {
    started: Option<Duration>,
    logged: u64,
    left_out: u64,
}

impl CloseLog {
    /// Counts the end of a connection, and logs it if its kind was not logged too often.
    pub(super) fn record(&self, close: &Close, peer: SocketAddr, metrics: &Metrics, clock: &dyn Clock) {
        metrics.closed(close.kind).add(1);
        if !close.kind.is_suspicious() {
            tracing::debug!(%peer, kind = %close.kind, "connection closed: {}", close.why);
            return;
        }
        let Some(left_out) = self.admit(close.kind, clock.monotonic()) else { return };
        match close.kind {
            ConnectionClose::Unanswerable | ConnectionClose::FileTruncated => {
                tracing::error!(%peer, kind = %close.kind, left_out, "connection closed: {}", close.why);
            }
            _ => tracing::warn!(%peer, kind = %close.kind, left_out, "connection closed: {}", close.why),
        }
    }

    /// Whether to log now, and if so how many of the kind were left out before.
    fn admit(&self, kind: ConnectionClose, now: Duration) -> Option<u64> {
        let period = &mut self.periods.lock()[kind as usize];
        if period.started.is_none_or(|started| now.saturating_sub(started) >= LOG_PERIOD) {
            *period = Period { started: Some(now), logged: 0, left_out: period.left_out };
        }
        if period.logged == LOGGED_PER_PERIOD {
            period.left_out += 1;
            return None;
        }
        period.logged += 1;
        Some(std::mem::take(&mut period.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_logged_in_moderation_and_what_was_left_out_is_told() {
        let log = CloseLog::default();
        let second = Duration::from_secs;
        for _ in 0..LOGGED_PER_PERIOD {
            assert_eq!(log.admit(ConnectionClose::Tls, second(1)), Some(0));
        }
        for _ in 0..1_000 {
            assert_eq!(log.admit(ConnectionClose::Tls, second(2)), None);
        }
        assert_eq!(log.admit(ConnectionClose::Http, second(2)), Some(0));
        assert_eq!(log.admit(ConnectionClose::Tls, second(11)), Some(1_000));
        assert_eq!(log.admit(ConnectionClose::Tls, second(11)), Some(0));
    }
}
