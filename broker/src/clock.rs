//! Time as an argument: the one home of the wall clock and the monotonic clock.
//!
//! Whoever needs the time is handed a [`Clock`], so that tests move it by hand and a whole broker can run in simulation.
//! Invariant: no other file reads the operating system's clocks.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The two kinds of time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Wall-clock time in milliseconds since 1970. May jump in both directions: for timestamps, never for waiting.
    fn now_ms(&self) -> i64;
    /// Time since some moment before the broker started. Never goes back: for waiting, never for timestamps.
    fn monotonic(&self) -> Duration;
}

/// The operating system's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    started: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        // A clock that is set before 1970 or beyond the year 292 million reads as the nearer end.
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(_) => 0,
        }
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_ms: AtomicI64,
    monotonic_ns: AtomicU64,
}

impl ManualClock {
    /// A clock at `now_ms` milliseconds since 1970.
    #[must_use]
    pub fn at(now_ms: i64) -> Self {
        ManualClock { now_ms: AtomicI64::new(now_ms), monotonic_ns: AtomicU64::new(0) }
    }

    /// Lets time pass on both clocks.
    pub fn advance(&self, by: Duration) {
        let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
        self.monotonic_ns.fetch_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Sets the wall clock, in either direction; monotonic time does not notice.
    pub fn jump_to(&self, now_ms: i64) {
        self.now_ms.store(now_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.monotonic_ns.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_is_past_2025_and_never_goes_back() {
        let clock = SystemClock::default();
        assert!(clock.now_ms() > 1_735_000_000_000);
        let first = clock.monotonic();
        assert!(clock.monotonic() >= first);
    }

    #[test]
    fn a_jump_of_the_wall_clock_leaves_monotonic_time_alone() {
        let clock = ManualClock::at(5_000);
        clock.advance(Duration::from_millis(250));
        clock.jump_to(10);
        assert_eq!((clock.now_ms(), clock.monotonic()), (10, Duration::from_millis(250)));
    }
}
