//! The limits of every connection: those that a key sets, and the constants that none does.
//!
//! Owns the numbers and their units, not their enforcement.

use std::time::Duration;

use crate::config::BrokerConfig;

/// How often connections are looked at for those that stalled.
pub(super) const REAP_INTERVAL: Duration = Duration::from_millis(500);
/// A request that is being received moves at least this fast over `receive_timeout`, in bytes a second.
pub(super) const RECEIVE_RATE_MIN: u64 = 1_000;
/// A client that reads nothing of its answers for this long is closed.
pub(super) const WRITE_STALL_MAX: Duration = Duration::from_secs(60);
/// ... and for this long while answers fill half of their memory.
pub(super) const WRITE_STALL_MAX_UNDER_PRESSURE: Duration = Duration::from_secs(1);
/// After the client's end of stream, answers that still wait for something are given this long. A socket that was closed
/// looks the same as one that was closed in one direction.
pub(super) const HALF_CLOSED_MAX: Duration = Duration::from_secs(2);
/// A frame of up to this many bytes is small: memory for all of it is taken at once if half of the pool is free, and the
/// last quarter of the pool is kept for its kind.
pub(super) const SMALL_FRAME_BYTES: usize = 1024 * 1024;
/// Bytes of one read when no frame is under way.
pub(super) const READ_CHUNK_BYTES: usize = 16 * 1024;
/// File ranges from this size on go out by `sendfile`; shorter ones are cheaper to copy into the same packet as what
/// surrounds them.
pub(super) const SENDFILE_FROM_BYTES: usize = 16 * 1024;
/// Bytes that one turn of a connection may take in before others get theirs.
pub(super) const TURN_BYTES: usize = 1024 * 1024;

/// While more requests are there to be read, short answers wait for those to so many bytes of them: to be woken for each answer costs
/// a client, and who wakes it, more than the wait.
pub(super) const ANSWERS_HELD_BYTES: usize = 256 * 1024;

/// The limits that keys set.
#[derive(Debug, Clone)]
pub(crate) struct NetLimits {
    /// Largest request frame, without its size prefix.
    pub(crate) frame_bytes_max: usize,
    /// Memory for requests from their first byte until nobody holds them any more.
    pub(crate) request_memory_bytes: usize,
    /// Memory for answers that wait to be read by their clients; ranges of files do not count.
    pub(crate) response_memory_bytes: usize,
    /// Unanswered requests of a connection.
    pub(crate) in_flight_requests_max: usize,
    /// Bytes of unanswered requests and unsent answers of a connection.
    pub(crate) in_flight_bytes_max: usize,
    /// How long a begun request may stand still, or crawl.
    pub(crate) receive_timeout: Duration,
    /// How long a connection may be idle; `None` is for ever.
    pub(crate) idle_max: Option<Duration>,
}

impl NetLimits {
    /// What the configuration says.
    pub(crate) fn from_config(config: &BrokerConfig) -> Self {
        let count = |number: i32| usize::try_from(number).unwrap_or(0);
        let bytes = |number: i64| usize::try_from(number).unwrap_or(0);
        NetLimits {
            frame_bytes_max: count(config.socket_request_max_bytes),
            request_memory_bytes: bytes(config.queued_max_request_bytes),
            response_memory_bytes: bytes(config.fetch_memory_bytes),
            in_flight_requests_max: count(config.connection_max_inflight_requests),
            in_flight_bytes_max: count(config.connection_max_inflight_bytes),
            receive_timeout: Duration::from_millis(count(config.request_receive_timeout_ms) as u64),
            idle_max: u64::try_from(config.connections_max_idle_ms).ok().map(Duration::from_millis),
        }
    }
}

const _: () = assert!(SENDFILE_FROM_BYTES <= READ_CHUNK_BYTES * 4 && READ_CHUNK_BYTES < SMALL_FRAME_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_that_the_broker_ships_with() {
        let limits = NetLimits::from_config(&BrokerConfig::default());
        assert_eq!(limits.frame_bytes_max, 100 * 1024 * 1024);
        assert_eq!(limits.request_memory_bytes, 256 * 1024 * 1024);
        assert_eq!((limits.in_flight_requests_max, limits.in_flight_bytes_max), (64, 16 * 1024 * 1024));
        assert_eq!(limits.receive_timeout, Duration::from_secs(10));
        assert_eq!(limits.idle_max, Some(Duration::from_secs(600)));
    }
}
