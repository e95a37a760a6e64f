//! How fast work in the background may read and write, and when it has to stop.
//!
//! Owns the pace of compaction, merging and scrubbing, so that they leave the disk to producers and consumers. Time is an argument: it
//! comes from the clock, and the waiting is the caller's thread's.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::disk_reserve::SpaceClaim;
use super::error::StorageError;
use crate::clock::Clock;

/// What work in the background asks before it goes on.
pub trait Throttle: Sync {
    /// Waits until so many bytes may be read or written.
    ///
    /// # Errors
    /// The work is to stop.
    fn pass(&self, bytes: u64) -> Result<(), StorageError>;

    /// A step of the work begins, in which so many bytes are to pass as far as can be told.
    fn begin_step(&self, _name: &'static str, _bytes: u64) {}

    /// Claims space for so many bytes of new files, for as long as the claim lives. Without an implementation there always is some.
    ///
    /// # Errors
    /// They do not fit above the reserve.
    fn claim_space(&self, _bytes: u64) -> Result<SpaceClaim, StorageError> {
        Ok(SpaceClaim::default())
    }
}

/// No limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unthrottled;

impl Throttle for Unthrottled {
    fn pass(&self, _bytes: u64) -> Result<(), StorageError> {
        Ok(())
    }
}

/// Bytes a second on the average, shared by everybody who asks; ends all waiting when it is stopped.
#[derive(Debug)]
pub struct SharedThrottle {
    clock: std::sync::Arc<dyn Clock>,
    state: Mutex<State>,
    stopped: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// When what passed was last counted.
    counted_at: Duration,
    /// What everybody together has asked for, in bytes. Each waits until that which was asked for up to its own is let through.
    asked: f64,
    /// What time has let through, in bytes: never much more than was asked for.
    let_through: f64,
    is_stopped: bool,
}

/// What may pass at once after a pause, in seconds.
const BURST_SECONDS: f64 = 0.1;
/// How often those who wait look at the pace.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

impl SharedThrottle {
    /// One that has let nothing through yet.
    pub fn new(clock: std::sync::Arc<dyn Clock>) -> Self {
        SharedThrottle { clock, state: Mutex::default(), stopped: Condvar::new() }
    }

    /// Waits until so many bytes may be read or written, at a pace in bytes a second that may change meanwhile. Who waits asks
    /// for it every second; no pace is the end of the work.
    ///
    /// # Errors
    /// The work is to stop.
    pub fn pass(&self, bytes: u64, pace_now: impl Fn() -> Option<f64>) -> Result<(), StorageError> {
        let mut asked = None;
        loop {
            let pace = pace_now().ok_or(StorageError::Stopped)?;
            let mut state = self.state.lock();
            state.count(self.clock.monotonic(), pace);
            let asked = *asked.get_or_insert_with(|| {
                state.asked += bytes as f64;
                state.asked
            });
            if state.is_stopped {
                return Err(StorageError::Stopped);
            }
            let missing = (asked - state.let_through).max(0.0);
            let wait = Duration::try_from_secs_f64(missing / pace).unwrap_or(LOOK_INTERVAL);
            if missing == 0.0 || wait.is_zero() {
                return Ok(());
            }
            self.stopped.wait_for(&mut state, wait.min(LOOK_INTERVAL));
        }
    }

    /// Ends all work that asks, and all waits.
    pub fn stop(&self) {
        self.state.lock().is_stopped = true;
        self.stopped.notify_all();
    }

    /// Waits for some time; false when it was stopped instead.
    pub fn rest(&self, time: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.is_stopped {
            self.stopped.wait_for(&mut state, time);
        }
        !state.is_stopped
    }
}

impl State {
    fn count(&mut self, now: Duration, pace: f64) {
        let seconds = now.saturating_sub(self.counted_at).as_secs_f64();
        self.counted_at = self.counted_at.max(now);
        self.let_through = (self.let_through + pace * seconds).min(self.asked + pace * BURST_SECONDS);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn the_pace_is_kept_and_a_stop_ends_every_wait() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let throttle = SharedThrottle::new(Arc::clone(&clock));
        let pace = || Some(1_000_000.0);
        let started = clock.monotonic();
        for _ in 0..4 {
            throttle.pass(100_000, pace).unwrap();
        }
        let took = clock.monotonic() - started;
        assert!(took >= Duration::from_millis(300), "{took:?} for 400 KB at 1 MB/s after a burst of 100 ms");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| throttle.pass(3_600_000_000, pace));
            let resting = scope.spawn(|| throttle.rest(Duration::from_secs(3_600)));
            throttle.stop();
            assert!(matches!(waiting.join().unwrap(), Err(StorageError::Stopped)));
            assert!(!resting.join().unwrap());
        });
    }

    #[test]
    fn a_pause_saves_up_no_more_than_a_burst_at_the_pace_of_now() {
        let at = Duration::from_secs;
        let mut state = State::default();
        state.count(at(1), f64::MAX);
        state.asked += 50.0;
        state.count(at(1_000), f64::MAX);
        assert!(state.let_through.is_finite() && state.let_through >= 1e300);
        state.count(at(1_000), 1_000.0);
        assert_eq!(state.let_through, 50.0 + 100.0);
        state.asked += 300.0;
        state.count(at(1_000) + Duration::from_millis(50), 1_000.0);
        assert_eq!(state.let_through.round(), 200.0);
    }

    #[test]
    fn another_pace_reaches_those_who_wait_already_and_none_ends_their_wait() {
        let throttle = SharedThrottle::new(Arc::new(SystemClock::default()));
        let (pace, asked) = (AtomicU64::new(1_000), AtomicU64::new(0));
        let pace_now = || {
            asked.fetch_add(1, Ordering::Relaxed);
            Some(pace.load(Ordering::Relaxed)).filter(|pace| *pace > 0).map(|pace| pace as f64)
        };
        for (then, passes) in [(1 << 50, true), (0, false)] {
            pace.store(1_000, Ordering::Relaxed);
            let before = asked.load(Ordering::Relaxed);
            std::thread::scope(|scope| {
                // Half a month at first.
                let waiting = scope.spawn(|| throttle.pass(1_300_000_000, pace_now));
                while asked.load(Ordering::Relaxed) == before {
                    std::thread::yield_now();
                }
                pace.store(then, Ordering::Relaxed);
                assert_eq!(waiting.join().unwrap().is_ok(), passes);
            });
        }
    }
}
