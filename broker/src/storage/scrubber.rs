//! Scrubs all logs, slowly and without an end.
//!
//! Owns the thread, the order and the pace; what is checked, and what is done about damage, is the log's business
//! (`log/scrub.rs`). A segment that cannot be checked keeps no other from its turn.
//!
//! Invariant: when [`Scrubber::stop`] returns, nothing reads a log any more.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use super::error::StorageError;
use super::log_manager::LogManager;
use super::throttle::{SharedThrottle, Throttle};
use crate::clock::Clock;
use crate::types::{Offset, TopicPartition};

/// The least time from the begin of one round to that of the next: what fits into memory need not be read all the time.
const ROUND_AT_LEAST: Duration = Duration::from_secs(24 * 3600);
/// How often a scrub that is switched off looks whether it still is.
const OFF_INTERVAL: Duration = Duration::from_secs(1);
/// After a segment that could not be checked: a disk that fails is not hammered.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How often a round says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(3600);

/// `log.scrub.bytes.per.second` as of now; 0 is no scrub.
pub(crate) type ScrubPace = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What the scrub has done since the start of the broker, and what it has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubStatus {
    /// Rounds over all logs that came to an end.
    pub rounds: u64,
    /// When the last of them did, in milliseconds since 1970.
    pub last_round_ended_ms: Option<i64>,
    /// Bytes that the round under way has checked.
    pub round_checked_bytes: u64,
    /// Bytes of all logs when it began.
    pub round_bytes: u64,
    /// Bytes of batches that were checked.
    pub checked_bytes: u64,
    /// Ranges of offsets that were found to be damaged, and are refused since.
    pub damaged_ranges: u64,
    /// Segments whose indexes were damaged and were built again.
    pub indexes_rebuilt: u64,
    /// Segments that could not be checked.
    pub failures: u64,
}

/// The thread that scrubs.
pub struct Scrubber {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    logs: Arc<LogManager>,
    clock: Arc<dyn Clock>,
    pace: ScrubPace,
    throttle: SharedThrottle,
    status: Mutex<ScrubStatus>,
}

impl Scrubber {
    /// Starts the thread. It holds the guard, by whose drop its owner learns of a panic.
    pub(crate) fn start<G: Send + 'static>(
        logs: Arc<LogManager>,
        clock: Arc<dyn Clock>,
        pace: ScrubPace,
        guard: G,
    ) -> Scrubber {
        let throttle = SharedThrottle::new(Arc::clone(&clock));
        let shared = Arc::new(Shared { logs, clock, pace, throttle, status: Mutex::default() });
        let scrubbing = Arc::clone(&shared);
        let work = move || {
            let _guard = guard;
            scrubbing.scrub_until_stopped();
        };
        let thread = std::thread::Builder::new().name("log-scrubber".to_owned()).spawn(work);
        let thread = thread.expect("a thread can be started when the broker starts");
        Scrubber { shared, thread: Mutex::new(Some(thread)) }
    }

    /// What it has done, and how far it is.
    pub fn status(&self) -> ScrubStatus {
        self.shared.status.lock().clone()
    }

    /// Ends it within one read, and waits for it.
    pub fn stop(&self) {
        self.shared.throttle.stop();
        if let Some(thread) = self.thread.lock().take() {
            // It has said so itself.
            let _panicked = thread.join();
        }
    }
}

impl Drop for Scrubber {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The pace as it is at each read, and while it waits: it may be changed in the middle of a segment. A scrub that was switched off is to stop at
/// once, since it holds files; what it had begun it begins again.
impl Throttle for Shared {
    fn pass(&self, bytes: u64) -> Result<(), StorageError> {
        self.throttle.pass(bytes, || match (self.pace)() {
            0 => None,
            bytes_per_second => Some(bytes_per_second as f64),
        })
    }
}

impl Shared {
    fn scrub_until_stopped(&self) {
        while self.wait_until_on().is_ok() {
            let began = self.clock.monotonic();
            if self.scrub_all(began).is_err() {
                return;
            }
            let rest = ROUND_AT_LEAST.saturating_sub(self.clock.monotonic().saturating_sub(began));
            if !self.throttle.rest(rest) {
                return;
            }
        }
    }

    /// # Errors
    /// It is to stop.
    fn wait_until_on(&self) -> Result<(), StorageError> {
        while (self.pace)() == 0 {
            if !self.throttle.rest(OFF_INTERVAL) {
                return Err(StorageError::Stopped);
            }
        }
        // Tells whether it was stopped meanwhile.
        if self.throttle.rest(Duration::ZERO) { Ok(()) } else { Err(StorageError::Stopped) }
    }

    /// One round.
    ///
    /// # Errors
    /// It is to stop.
    fn scrub_all(&self, began: Duration) -> Result<(), StorageError> {
        let logs = self.logs.logs();
        let round_bytes = logs.iter().map(|log| log.size_bytes()).sum();
        // By name: who held the logs would keep the files of deleted ones from going.
        let mut round: Vec<TopicPartition> = logs.iter().map(|log| log.topic_partition().clone()).collect();
        drop(logs);
        // Each start begins elsewhere, lest a broker that is restarted often never comes to its last logs.
        round.sort_unstable();
        let first = usize::try_from(self.clock.now_ms()).unwrap_or(0) % round.len().max(1);
        round.rotate_left(first);
        let before = {
            let mut status = self.status.lock();
            (status.round_bytes, status.round_checked_bytes) = (round_bytes, 0);
            status.clone()
        };
        let mut told = began;
        for topic_partition in &round {
            let mut from = Offset::ZERO;
            while let Some(next) = self.scrub_one(topic_partition, from)? {
                from = next;
                if self.clock.monotonic().saturating_sub(told) >= PROGRESS_INTERVAL {
                    told = self.clock.monotonic();
                    let checked_bytes = self.status.lock().round_checked_bytes;
                    tracing::info!(checked_bytes, of_bytes = round_bytes, log = %topic_partition, "scrubbing");
                }
            }
        }
        let mut status = self.status.lock();
        status.rounds += 1;
        status.last_round_ended_ms = Some(self.clock.now_ms());
        if status.round_checked_bytes == 0 && status.failures == before.failures {
            // There are no sealed segments: no news.
            return Ok(());
        }
        tracing::info!(
            logs = round.len(),
            checked_bytes = status.round_checked_bytes,
            damaged_ranges = status.damaged_ranges - before.damaged_ranges,
            indexes_rebuilt = status.indexes_rebuilt - before.indexes_rebuilt,
            failures = status.failures - before.failures,
            took = ?self.clock.monotonic().saturating_sub(began),
            "scrubbed all sealed segments"
        );
        Ok(())
    }

    /// Scrubs the first segment from an offset on; where the next one begins, `None` at the end of a log or when it is gone.
    ///
    /// # Errors
    /// It is to stop.
    fn scrub_one(&self, topic_partition: &TopicPartition, from: Offset) -> Result<Option<Offset>, StorageError> {
        let Some(log) = self.logs.log(topic_partition) else { return Ok(None) };
        let scrubbed = match log.scrub_next(from, self) {
            Ok(Some(scrubbed)) => scrubbed,
            Err(StorageError::Stopped) => {
                drop(log);
                self.wait_until_on()?;
                return Ok(Some(from));
            }
            Ok(None) | Err(_) => return Ok(None),
        };
        {
            let mut status = self.status.lock();
            status.checked_bytes += scrubbed.checked_bytes;
            status.round_checked_bytes += scrubbed.checked_bytes;
            status.damaged_ranges += scrubbed.damaged_ranges as u64;
            status.indexes_rebuilt += u64::from(scrubbed.index_rebuilt);
            status.failures += u64::from(scrubbed.error.is_some());
        }
        if let Some(error) = scrubbed.error {
            tracing::error!(log = %topic_partition, %error, "a segment cannot be checked; the others are");
            if !self.throttle.rest(REST_AFTER_FAILURE) {
                return Err(StorageError::Stopped);
            }
        }
        Ok(Some(scrubbed.next))
    }
}

#[cfg(test)]
#[path = "scrubber_test.rs"]
mod tests;
