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

#[derive(Debug)]
struct State {
    bytes_per_second: f64,
    /// When what was let through so far is paid for.
    free_at: Duration,
    is_stopped: bool,
}

/// What may pass at once after a pause.
const BURST: Duration = Duration::from_millis(100);

impl SharedThrottle {
    /// Lets so many bytes pass in a second.
    pub fn new(clock: std::sync::Arc<dyn Clock>, bytes_per_second: f64) -> Self {
        let state = State { bytes_per_second, free_at: Duration::ZERO, is_stopped: false };
        SharedThrottle { clock, state: Mutex::new(state), stopped: Condvar::new() }
    }

    /// Sets another pace.
    pub fn set_pace(&self, bytes_per_second: f64) {
        self.state.lock().bytes_per_second = bytes_per_second;
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

impl Throttle for SharedThrottle {
    fn pass(&self, bytes: u64) -> Result<(), StorageError> {
        let mut state = self.state.lock();
        let now = self.clock.monotonic();
        let takes = Duration::try_from_secs_f64(bytes as f64 / state.bytes_per_second).unwrap_or(Duration::ZERO);
        state.free_at = state.free_at.max(now.saturating_sub(BURST)) + takes;
        let wait = state.free_at.saturating_sub(now);
        if !wait.is_zero() && !state.is_stopped {
            self.stopped.wait_for(&mut state, wait);
        }
        if state.is_stopped { Err(StorageError::Stopped) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn the_pace_is_kept_and_a_stop_ends_every_wait() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let throttle = SharedThrottle::new(Arc::clone(&clock), 1_000_000.0);
        let started = clock.monotonic();
        for _ in 0..4 {
            throttle.pass(100_000).unwrap();
        }
        let took = clock.monotonic() - started;
        assert!(took >= Duration::from_millis(300), "{took:?} for 400 KB at 1 MB/s after a burst of 100 ms");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| throttle.pass(3_600_000_000));
            let resting = scope.spawn(|| throttle.rest(Duration::from_secs(3_600)));
            throttle.stop();
            assert!(matches!(waiting.join().unwrap(), Err(StorageError::Stopped)));
            assert!(!resting.join().unwrap());
        });
    }
}
