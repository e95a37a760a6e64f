//! Compaction and merging in the background: which log is next, and how it went.
//!
//! Owns the threads, the choice of the filthiest log, how far each was cleaned, and which could not be. The work on one log is
//! `cleaner/clean.rs` and `merge.rs`, what both have written that is not in its place yet `pending.rs`. By part: `pass.rs` (what stays), `newest.rs` (which record of each key is the newest: `offset_map.rs`
//! knows by key, in `slots.rs`, `superseded.rs` by offset, in bounded memory), `survivors.rs` (which records of a batch stay), `transactions.rs`,
//! `dense_writer.rs`, `progress.rs` (what is on record), `step.rs` (how far a pass is).
//!
//! Invariant: one thread at a time works on a log. A log that fails is left alone for a while, longer each time, and keeps no
//! other from its turn. When [`LogCleaner::stop`] returns, nothing touches a log any more.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use super::disk_reserve::SpaceClaim;
use super::error::StorageError;
use super::log::Log;
use super::log_manager::LogManager;
use super::pending;
use super::throttle::{SharedThrottle, Throttle};
use crate::clock::Clock;

mod clean;
#[cfg(test)]
mod crash_test;
mod dense_writer;
mod newest;
mod offset_map;
mod pass;
mod progress;
mod slots;
mod step;
mod superseded;
mod survivors;
mod transactions;

pub use clean::{CleanLimits, CleanReport};
use progress::Progress;
pub use progress::{CleanerStatus, UncleanableLog};
use step::{StepNews, Steps};

/// What the cleaner is given; looked at before each round, and the pace at each step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CleanerConfig {
    /// `log.cleaner.enable`: without it nothing is compacted.
    pub is_enabled: bool,
    /// `log.cleaner.dedupe.buffer.size`: bytes that all threads together may take for keys.
    pub dedupe_buffer_bytes: usize,
    /// `log.cleaner.io.max.bytes.per.second`: of reading and writing, all threads together.
    pub bytes_per_second_max: f64,
    /// `log.cleaner.backoff.ms`: between two looks when there was nothing to do.
    pub backoff: Duration,
    /// `log.merge.interval.ms`: between two looks for segments to merge.
    pub merge_interval: Duration,
    /// `max.decompressed.bytes`.
    pub decompressed_bytes_max: usize,
}

/// Where the configuration comes from, as of now.
pub(crate) type CleanerConfigSource = Arc<dyn Fn() -> CleanerConfig + Send + Sync>;

/// The threads that compact and merge.
pub struct LogCleaner {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    logs: Arc<LogManager>,
    clock: Arc<dyn Clock>,
    config: CleanerConfigSource,
    cleaning_threads: usize,
    throttle: SharedThrottle,
    progress: Progress,
}

impl LogCleaner {
    /// Starts `cleaning_threads` threads that compact (`log.cleaner.threads`), and one that merges. Each holds a guard, by
    /// whose drop its owner learns of a panic: what the thread left behind is unknown.
    pub(crate) fn start<G: Send + 'static>(
        logs: Arc<LogManager>,
        clock: Arc<dyn Clock>,
        config: CleanerConfigSource,
        cleaning_threads: usize,
        guard: impl Fn() -> G,
    ) -> LogCleaner {
        let throttle = SharedThrottle::new(Arc::clone(&clock));
        let progress = Progress::load(&logs);
        let shared = Arc::new(Shared { logs, clock, config, cleaning_threads, throttle, progress });
        let spawn = |name: String, work: fn(&Shared)| {
            let (shared, guard) = (Arc::clone(&shared), guard());
            let guarded = move || {
                let _guard = guard;
                work(&shared);
            };
            let thread = std::thread::Builder::new().name(name).spawn(guarded);
            thread.expect("a thread can be started when the broker starts")
        };
        let cleaners = (0..cleaning_threads).map(|n| spawn(format!("log-cleaner-{n}"), Shared::clean_until_stopped));
        let mut threads: Vec<_> = cleaners.collect();
        threads.push(spawn("log-merger".to_owned(), Shared::merge_until_stopped));
        LogCleaner { shared, threads: Mutex::new(threads) }
    }

    /// How far the compacted logs are cleaned, and which of them cannot be.
    pub fn status(&self) -> CleanerStatus {
        self.shared.progress.status()
    }

    /// Ends what is under way, between two batches, and waits for it.
    pub fn stop(&self) {
        self.shared.throttle.stop();
        for thread in self.threads.lock().drain(..) {
            // It has said so itself.
            let _panicked = thread.join();
        }
    }
}

impl Drop for LogCleaner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The work on one log, which ends when the log is closed or deleted: its files are to go.
struct WorkOn<'a> {
    log: &'a Log,
    shared: &'a Shared,
    steps: Steps,
}

impl<'a> WorkOn<'a> {
    fn begin(log: &'a Log, shared: &'a Shared) -> Self {
        WorkOn { log, shared, steps: Steps::new(shared.clock.monotonic()) }
    }
}

impl Throttle for WorkOn<'_> {
    fn pass(&self, bytes: u64) -> Result<(), StorageError> {
        let pace = || (!self.log.is_closed()).then(|| (self.shared.config)().bytes_per_second_max);
        self.shared.throttle.pass(bytes, pace)?;
        if let Some(news) = self.steps.count(bytes, self.shared.clock.monotonic()) {
            let StepNews { name: step, done_bytes, of_bytes, bytes_per_second } = news;
            tracing::info!(log = %self.log.topic_partition(), step, done_bytes, of_bytes, bytes_per_second, "compaction or merging goes on");
        }
        Ok(())
    }

    fn begin_step(&self, name: &'static str, bytes: u64) {
        self.steps.begin(name, bytes, self.shared.clock.monotonic());
    }

    fn claim_space(&self, bytes: u64) -> Result<SpaceClaim, StorageError> {
        match self.shared.logs.disk_space() {
            Ok(space) => self.shared.logs.disk_reserve().claim(space, bytes),
            // As producers are served where nobody can tell.
            Err(_) => Ok(SpaceClaim::default()),
        }
    }
}

impl Shared {
    fn clean_until_stopped(&self) {
        loop {
            let config = (self.config)();
            let worked = config.is_enabled && self.clean_the_filthiest(&config);
            // A moment even when there is more to do, so that nobody waits for a stop.
            let rest = if worked { Duration::ZERO } else { config.backoff.max(Duration::from_millis(1)) };
            if !self.throttle.rest(rest) {
                return;
            }
        }
    }

    /// False when there was nothing to do.
    fn clean_the_filthiest(&self, config: &CleanerConfig) -> bool {
        let now_ms = self.clock.now_ms();
        let Some((log, from)) = self.progress.begin_the_filthiest(&self.logs, now_ms) else { return false };
        let limits = CleanLimits {
            map_bytes_max: config.dedupe_buffer_bytes / self.cleaning_threads.max(1),
            decompressed_bytes_max: config.decompressed_bytes_max,
        };
        let started = self.clock.monotonic();
        let cleaned = log.clean(from, limits, now_ms, &WorkOn::begin(&log, self));
        if let Ok(report) = &cleaned {
            let took = self.clock.monotonic() - started;
            tracing::info!(log = %log.topic_partition(), %from, up_to = %report.cleaned_up_to, keys = report.keys, removed = report.records_removed, bytes_before = report.bytes_read, bytes_after = report.bytes_written, ?took, "compacted");
        }
        self.progress.finish(&self.logs, &log, cleaned, self.clock.now_ms());
        true
    }

    fn merge_until_stopped(&self) {
        let mut was_short = false;
        loop {
            let interval = (self.config)().merge_interval.max(Duration::from_millis(1));
            if !self.throttle.rest(interval) {
                return;
            }
            let mut is_short = false;
            // By name: who held the logs would keep the files of deleted ones from going.
            let names: Vec<_> = self.logs.logs().iter().map(|log| log.topic_partition().clone()).collect();
            for topic_partition in names {
                // Compaction joins the segments of its logs itself, and both at once would be in each other's way.
                let Some(_turn) = self.progress.begin(&topic_partition) else { continue };
                let Some(log) = self.logs.log(&topic_partition) else { continue };
                match log.merge_segments(self.clock.now_ms(), &WorkOn::begin(&log, self)) {
                    Ok(_) | Err(StorageError::Poisoned { .. }) => {}
                    Err(_) if log.is_closed() => {}
                    Err(StorageError::Stopped) => return,
                    Err(error @ StorageError::NoSpaceAboveReserve { .. }) => {
                        if !was_short && !is_short {
                            tracing::warn!(log = %topic_partition, %error, "merging waits for space, of this log and of others that need as much; each is tried again at every look");
                        }
                        is_short = true;
                    }
                    Err(error) => {
                        tracing::warn!(log = %topic_partition, %error, "small segments could not be merged; it is tried again");
                    }
                }
            }
            if was_short && !is_short {
                tracing::info!("there is space above log.reserve.bytes again: the segments of all logs are merged");
            }
            was_short = is_short;
        }
    }
}

/// What the choice between logs goes by.
fn is_due(log: &Log, dirt: &clean::Dirt, now_ms: i64) -> Option<f64> {
    let config = log.config();
    if dirt.dirty_bytes == 0 {
        return None;
    }
    let ratio = dirt.dirty_bytes as f64 / dirt.cleanable_bytes as f64;
    let waited_ms = dirt.oldest_dirty_ms.map_or(0, |oldest| now_ms.saturating_sub(oldest));
    let overdue = waited_ms > config.max_compaction_lag_ms;
    (overdue || ratio > config.min_cleanable_dirty_ratio).then_some(if overdue { 1.0 + ratio } else { ratio })
}

#[cfg(test)]
#[path = "cleaner/cleaner_test.rs"]
mod tests;
