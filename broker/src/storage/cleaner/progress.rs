//! How far each compacted log is cleaned, who works on which log, and which logs could not be cleaned.
//!
//! Owns `cleaner-offset-checkpoint` (Kafka's file), which is a cache: without it a log is cleaned from its start.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::clean::CleanReport;
use super::is_due;
use crate::storage::checkpoint::Offsets;
use crate::storage::error::StorageError;
use crate::storage::log::Log;
use crate::storage::log_manager::LogManager;
use crate::types::{Offset, TopicPartition};

/// After the first failure of a log, doubled by each further one.
const RETRY_MS: i64 = 60_000;
const RETRY_MS_MAX: i64 = 3_600_000;

/// A log that compaction leaves alone for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UncleanableLog {
    /// `TOPIC-PARTITION`.
    pub log: String,
    /// What happened.
    pub reason: String,
    /// When it is tried again, in milliseconds since 1970.
    pub retry_at_ms: i64,
}

/// What the cleaner has done since the start, and what it could not do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CleanerStatus {
    /// Passes over logs that came to an end.
    pub passes: u64,
    /// Bytes of segments that were rewritten.
    pub bytes_read: u64,
    /// Bytes of those that took their place.
    pub bytes_written: u64,
    /// Records that went.
    pub records_removed: u64,
    /// Passes that failed.
    pub failures: u64,
    /// Logs that are left alone for a while.
    pub uncleanable: Vec<UncleanableLog>,
}

/// What is known of all logs.
pub(super) struct Progress(Mutex<State>);

#[derive(Default)]
struct State {
    cleaned: HashMap<TopicPartition, Cleaned>,
    in_work: HashSet<TopicPartition>,
    failed: HashMap<TopicPartition, Failed>,
    status: CleanerStatus,
}

struct Cleaned {
    /// A topic that was deleted and made again is another log.
    log: Weak<Log>,
    up_to: Offset,
    /// The pass before did not find room for all keys: whatever the share of what is dirty, there is more to do.
    more_to_do: bool,
}

struct Failed {
    reason: String,
    failures: u32,
    retry_at_ms: i64,
    /// Nothing is wrong with the log: what takes its segments' place would not fit above the reserve.
    waits_for_space: bool,
}

/// The right to work on a log; dropping it gives it back.
pub(super) struct Turn<'a> {
    progress: &'a Progress,
    name: TopicPartition,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.progress.0.lock().in_work.remove(&self.name);
    }
}

impl Progress {
    /// What the last run has left.
    pub(super) fn load(logs: &LogManager) -> Self {
        let on_record = logs.cleaned();
        let is_of = |log: &Arc<Log>| {
            let up_to = *on_record.get(log.topic_partition()).filter(|up_to| **up_to <= log.offsets().log_end)?;
            let cleaned = Cleaned { log: Arc::downgrade(log), up_to, more_to_do: false };
            Some((log.topic_partition().clone(), cleaned))
        };
        let cleaned = logs.logs().iter().filter_map(is_of).collect();
        Progress(Mutex::new(State { cleaned, ..State::default() }))
    }

    /// Takes a log, unless somebody works on it.
    pub(super) fn begin(&self, name: &TopicPartition) -> Option<Turn<'_>> {
        let taken = self.0.lock().in_work.insert(name.clone());
        taken.then(|| Turn { progress: self, name: name.clone() })
    }

    /// Takes the log that needs cleaning the most, and says up to where it was cleaned; it is to be given back by
    /// [`Progress::finish`].
    pub(super) fn begin_the_filthiest(&self, logs: &LogManager, now_ms: i64) -> Option<(Arc<Log>, Offset)> {
        self.begin_the_first(self.due(logs, now_ms), now_ms)
    }

    /// Takes the first of these that nobody has taken, cleaned, or failed to clean, since they were looked at.
    pub(super) fn begin_the_first(&self, due: Vec<(Arc<Log>, Offset)>, now_ms: i64) -> Option<(Arc<Log>, Offset)> {
        let mut state = self.0.lock();
        let mut take = |log: &Arc<Log>, from| {
            let name = log.topic_partition();
            state.has_turn(name, now_ms) && state.cleaned_up_to(log).0 == from && state.in_work.insert(name.clone())
        };
        due.into_iter().find(|(log, from)| take(log, *from))
    }

    /// The logs that need cleaning and that nobody works on, the filthiest first, and up to where each was cleaned.
    pub(super) fn due(&self, logs: &LogManager, now_ms: i64) -> Vec<(Arc<Log>, Offset)> {
        let mut found: Vec<(f64, Arc<Log>, Offset)> = Vec::new();
        self.0.lock().failed.retain(|name, _| logs.log(name).is_some());
        for log in logs.logs().into_iter().filter(|log| log.config().compact) {
            let (from, more_to_do) = {
                let mut state = self.0.lock();
                if !state.has_turn(log.topic_partition(), now_ms) {
                    continue;
                }
                state.cleaned_up_to(&log)
            };
            match log.dirt(from, now_ms) {
                Ok(dirt) => {
                    let due = is_due(&log, &dirt, now_ms);
                    let Some(filth) = due.or((more_to_do && dirt.dirty_bytes > 0).then_some(0.0)) else { continue };
                    found.push((filth, log, from));
                }
                Err(error) => self.0.lock().note_failure(&log, &error, now_ms),
            }
        }
        found.sort_by(|(left, ..), (right, ..)| right.total_cmp(left));
        found.into_iter().map(|(_, log, from)| (log, from)).collect()
    }

    /// Gives a log back.
    pub(super) fn finish(
        &self,
        logs: &LogManager,
        log: &Arc<Log>,
        cleaned: Result<CleanReport, StorageError>,
        now_ms: i64,
    ) {
        let mut state = self.0.lock();
        let name = log.topic_partition();
        state.in_work.remove(name);
        match cleaned {
            Ok(report) => {
                let waited = state.failed.remove(name).is_some_and(|failed| failed.waits_for_space);
                if waited && !state.is_short_of_space() {
                    tracing::info!("there is space above log.reserve.bytes again: all logs are compacted");
                }
                state.status.passes += 1;
                state.status.bytes_read += report.bytes_read;
                state.status.bytes_written += report.bytes_written;
                state.status.records_removed += report.records_removed;
                let (up_to, more_to_do) = (report.cleaned_up_to, report.more_to_do);
                let cleaned = Cleaned { log: Arc::downgrade(log), up_to, more_to_do };
                state.cleaned.insert(name.clone(), cleaned);
                state.write(logs);
            }
            Err(error) => state.note_failure(log, &error, now_ms),
        }
    }

    pub(super) fn status(&self) -> CleanerStatus {
        let state = self.0.lock();
        let uncleanable = state.failed.iter().map(|(name, failed)| UncleanableLog {
            log: name.to_string(),
            reason: failed.reason.clone(),
            retry_at_ms: failed.retry_at_ms,
        });
        CleanerStatus { uncleanable: uncleanable.collect(), ..state.status.clone() }
    }
}

impl State {
    /// Whether nobody works on a log, and it is not left alone for a while.
    fn has_turn(&self, name: &TopicPartition, now_ms: i64) -> bool {
        !self.in_work.contains(name) && self.failed.get(name).is_none_or(|failed| now_ms >= failed.retry_at_ms)
    }

    /// Up to where a log was cleaned, and whether the pass that did so was to be followed by another at once.
    fn cleaned_up_to(&mut self, log: &Arc<Log>) -> (Offset, bool) {
        let name = log.topic_partition();
        let offsets = log.offsets();
        let known = match self.cleaned.get(name) {
            Some(cleaned) if cleaned.log.ptr_eq(&Arc::downgrade(log)) => Some((cleaned.up_to, cleaned.more_to_do)),
            // Another log of this name, or a new one.
            _ => None,
        };
        let (up_to, more_to_do) = known.unwrap_or((Offset::ZERO, false));
        let up_to = up_to.max(offsets.log_start);
        self.cleaned.insert(name.clone(), Cleaned { log: Arc::downgrade(log), up_to, more_to_do });
        (up_to, more_to_do)
    }

    fn is_short_of_space(&self) -> bool {
        self.failed.values().any(|failed| failed.waits_for_space)
    }

    fn note_failure(&mut self, log: &Log, error: &StorageError, now_ms: i64) {
        // The broker stops, or the topic was deleted.
        if matches!(error, StorageError::Stopped) || log.is_closed() {
            return;
        }
        let name = log.topic_partition();
        if let StorageError::NoSpaceAboveReserve { .. } = error {
            if !self.is_short_of_space() {
                tracing::warn!(log = %name, %error, "compaction waits for space, of this log and of others that need as much; each is tried again every minute");
            }
            let (reason, retry_at_ms) = (error.to_string(), now_ms.saturating_add(RETRY_MS));
            self.failed.insert(name.clone(), Failed { reason, failures: 0, retry_at_ms, waits_for_space: true });
            return;
        }
        self.status.failures += 1;
        let failures = self.failed.get(name).map_or(0, |failed| failed.failures).saturating_add(1);
        let wait_ms = RETRY_MS.saturating_mul(1 << (failures - 1).min(20)).min(RETRY_MS_MAX);
        tracing::error!(log = %name, %error, retry_in_ms = wait_ms, "a log cannot be compacted; the others are");
        let retry_at_ms = now_ms.saturating_add(wait_ms);
        let failed = Failed { reason: error.to_string(), failures, retry_at_ms, waits_for_space: false };
        self.failed.insert(name.clone(), failed);
    }

    fn write(&mut self, logs: &LogManager) {
        self.cleaned.retain(|_, cleaned| cleaned.log.upgrade().is_some_and(|log| !log.is_closed()));
        let offsets: Offsets = self.cleaned.iter().map(|(name, cleaned)| (name.clone(), cleaned.up_to)).collect();
        if let Err(error) = logs.record_cleaned(offsets) {
            tracing::warn!(%error, "cannot write down how far logs are compacted; a restart looks at more of them");
        }
    }
}
