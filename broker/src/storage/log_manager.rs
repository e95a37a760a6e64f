//! All logs of a data directory: opened together, put on record together, closed together.
//!
//! Owns which logs are open, the two checkpoint files, and the order of a clean stop. Does not own the folders of
//! partitions or which of them there should be (the metadata does), nor when a log is flushed for a producer (the flusher).
//!
//! Invariants: a recovery point is on record only after the flush that it speaks of, and none is on record for a log that
//! does not exist: a new log of an old name never inherits one, and one that is offline keeps its own. The directory is marked clean only if every log in it was
//! closed and nothing failed.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};

use super::checkpoint::{self, CLEANED, LOG_STARTS, Offsets, RECOVERY_POINTS};
use super::data_dir::DataDir;
use super::disk_reserve::DiskReserve;
use super::error::StorageError;
use super::log::{Log, LogContext};
use super::log_config::LogConfig;
use super::open_files::OpenFiles;
use super::producer_state::ProducerLimits;
use super::recovery::{OpenMode, RecoveryReport};
use super::vfs::DiskSpace;
use crate::types::{Offset, TopicPartition};

/// Closing a log is waiting for the disk, which serves many at once better than one after the other.
const CLOSING_THREADS: usize = 16;

/// How often a start says how far it is: after so many logs that were left in order,
const CLEAN_LOGS_BETWEEN_NEWS: usize = 1_000;
/// or so many times for all that have to be checked.
const NEWS_OF_RECOVERY: usize = 20;

/// What all logs of a data directory share.
#[derive(Debug, Clone)]
pub struct LogManagerConfig {
    /// Threads that open and close logs (`num.recovery.threads.per.data.dir`); more are used for closing, unless it is 1.
    pub threads: usize,
    /// Files of sealed segments and indexes that are kept open.
    pub open_files_max: usize,
    /// How many producers are remembered.
    pub producer_limits: ProducerLimits,
}

/// A log that is to be opened.
#[derive(Debug, Clone)]
pub struct LogToOpen {
    /// The partition, whose folder exists.
    pub topic_partition: TopicPartition,
    /// Its settings.
    pub config: Arc<LogConfig>,
}

/// The logs of a data directory.
#[derive(Debug)]
pub struct LogManager {
    data_dir: DataDir,
    context: LogContext,
    threads: usize,
    reserve: Arc<DiskReserve>,
    logs: ArcSwap<HashMap<TopicPartition, Arc<Log>>>,
    /// Changed with the table of logs; what is in the checkpoint files, too.
    on_record: Mutex<OnRecord>,
    /// Logs that could not be opened or failed: the directory cannot be left in order any more.
    failed: AtomicUsize,
    checkpoints: Mutex<Option<JoinHandle<()>>>,
    stopping: Arc<(Mutex<bool>, Condvar)>,
}

#[derive(Debug, Default)]
struct OnRecord {
    recovery_points: Offsets,
    log_starts: Offsets,
    /// Up to where compacted logs were cleaned; the cleaner says so.
    cleaned: Offsets,
    /// Logs that could not be opened: what is on record of them stays, for the start that can open them.
    offline: HashSet<TopicPartition>,
}

impl LogManager {
    /// Opens the logs of these partitions, several at once, and recovers them if the directory was not left cleanly.
    /// A log that cannot be opened stays offline and is reported; the others are served.
    ///
    /// # Errors
    /// None of them concerns one log alone.
    pub fn open(
        data_dir: DataDir,
        config: &LogManagerConfig,
        logs: Vec<LogToOpen>,
        now_ms: i64,
    ) -> Result<Arc<LogManager>, StorageError> {
        let vfs = data_dir.vfs();
        let on_record = OnRecord {
            recovery_points: checkpoint::read(&**vfs, data_dir.path(), RECOVERY_POINTS).unwrap_or_default(),
            log_starts: checkpoint::read(&**vfs, data_dir.path(), LOG_STARTS).unwrap_or_default(),
            cleaned: checkpoint::read(&**vfs, data_dir.path(), CLEANED).unwrap_or_default(),
            offline: HashSet::new(),
        };
        let context = LogContext {
            open_files: OpenFiles::new(Arc::clone(vfs), config.open_files_max),
            quarantine: data_dir.quarantine(),
            producer_limits: config.producer_limits.clone(),
        };
        let clean = data_dir.was_clean();
        if !clean && !logs.is_empty() {
            tracing::info!(logs = logs.len(), "the broker was not stopped cleanly: checking what was not flushed");
        }
        let manager = LogManager {
            data_dir,
            context,
            threads: config.threads.max(1),
            reserve: Arc::default(),
            logs: ArcSwap::default(),
            on_record: Mutex::new(on_record),
            failed: AtomicUsize::new(0),
            checkpoints: Mutex::new(None),
            stopping: Arc::default(),
        };
        let named: HashSet<&TopicPartition> = logs.iter().map(|log| &log.topic_partition).collect();
        manager.forget_deleted(&mut manager.on_record.lock(), |topic_partition| !named.contains(topic_partition));
        // Often enough to see that it goes on, whether there are few large logs or many small ones.
        let told_every = if clean { CLEAN_LOGS_BETWEEN_NEWS } else { logs.len().div_ceil(NEWS_OF_RECOVERY).max(1) };
        let progress = AtomicUsize::new(0);
        let opened = in_parallel(manager.threads, &logs, |log| {
            let mode = {
                let on_record = manager.on_record.lock();
                OpenMode {
                    clean,
                    recovery_point: on_record.recovery_points.get(&log.topic_partition).copied(),
                    log_start: on_record.log_starts.get(&log.topic_partition).copied(),
                    durable_end: None,
                }
            };
            let opened = manager.open_log(log, mode, now_ms);
            if opened.is_err() {
                manager.on_record.lock().offline.insert(log.topic_partition.clone());
            }
            let done = progress.fetch_add(1, Ordering::Relaxed) + 1;
            if done.is_multiple_of(told_every) && done < logs.len() {
                tracing::info!("opened {done} of {} logs", logs.len());
            }
            opened
        });
        if !clean && !logs.is_empty() {
            report_recovery(&opened);
        }
        let opened = opened.into_iter().filter_map(Result::ok);
        manager.logs.store(Arc::new(opened.map(|(log, _)| (log.topic_partition().clone(), log)).collect()));
        Ok(Arc::new(manager))
    }

    fn open_log(
        &self,
        log: &LogToOpen,
        mode: OpenMode,
        now_ms: i64,
    ) -> Result<(Arc<Log>, RecoveryReport), StorageError> {
        let dir = self.data_dir.path().join(log.topic_partition.to_string());
        let created = self.data_dir.vfs().create_dir(&dir).map_err(StorageError::io("create", &dir));
        let (name, config) = (log.topic_partition.clone(), Arc::clone(&log.config));
        match created.and_then(|()| Log::open(self.context.clone(), &dir, name, config, mode, now_ms)) {
            Ok((log, report)) => {
                if report.cut_bytes > 0 || !report.corrupt.is_empty() || report.checked_bytes > 64 << 20 {
                    let RecoveryReport { checked_bytes, cut_bytes, indexes_rebuilt, .. } = report;
                    let damaged_ranges = report.corrupt.len();
                    tracing::info!(log = %log.topic_partition(), checked_bytes, cut_bytes, damaged_ranges, indexes_rebuilt, quarantined = ?report.quarantined, "recovered a log");
                }
                Ok((log, report))
            }
            Err(error) => {
                tracing::error!(log = %log.topic_partition, %error, "a log cannot be opened and is offline");
                self.failed.fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// Opens the logs of new partitions, whose folders exist and are empty. One result for each, in order. The folder's
    /// entry in the data directory is the caller's to make durable; what is in the folder becomes so with the first flush.
    pub fn open_new(&self, logs: &[LogToOpen], now_ms: i64) -> Vec<Result<Arc<Log>, StorageError>> {
        let mut on_record = self.on_record.lock();
        let new: HashSet<&TopicPartition> = logs.iter().map(|log| &log.topic_partition).collect();
        if let Err(error) = self.forget_offsets(&mut on_record, |topic_partition| new.contains(topic_partition)) {
            let cause = Arc::new(error);
            let refused = |log: &LogToOpen| StorageError::Poisoned {
                log: log.topic_partition.to_string(),
                cause: Arc::clone(&cause),
            };
            return logs.iter().map(|log| Err(refused(log))).collect();
        }
        let opened = in_parallel(self.threads, logs, |log| {
            if self.log(&log.topic_partition).is_some() {
                return Err(StorageError::LogExists { log: log.topic_partition.to_string() });
            }
            self.open_log(log, OpenMode::default(), now_ms).map(|(log, _)| log)
        });
        let mut table = HashMap::clone(&self.logs.load());
        table.extend(opened.iter().flatten().map(|log| (log.topic_partition().clone(), Arc::clone(log))));
        self.logs.store(Arc::new(table));
        opened
    }

    /// What is on record for these names speaks of logs that were deleted since the last checkpoint.
    fn forget_offsets(
        &self,
        on_record: &mut OnRecord,
        is_forgotten: impl Fn(&TopicPartition) -> bool,
    ) -> Result<(), StorageError> {
        let OnRecord { recovery_points, log_starts, cleaned, offline } = on_record;
        offline.retain(|topic_partition| !is_forgotten(topic_partition));
        for (name, offsets) in [(CLEANED, cleaned), (RECOVERY_POINTS, recovery_points), (LOG_STARTS, log_starts)] {
            if offsets.keys().any(&is_forgotten) {
                let mut others = offsets.clone();
                others.retain(|topic_partition, _| !is_forgotten(topic_partition));
                self.write(name, &others)?;
                *offsets = others;
            }
        }
        Ok(())
    }

    /// Forgets logs that were deleted, before others can get their names: a crash may come between the creation of such a one
    /// and the opening of its log.
    fn forget_deleted(&self, on_record: &mut OnRecord, is_deleted: impl Fn(&TopicPartition) -> bool) {
        if let Err(error) = self.forget_offsets(on_record, is_deleted) {
            tracing::warn!(%error, "what is on record of deleted logs cannot be removed yet");
        }
    }

    /// Up to where each log was cleaned, as far as that is on record.
    pub(super) fn cleaned(&self) -> Offsets {
        self.on_record.lock().cleaned.clone()
    }

    /// Puts on record up to where each log is cleaned.
    ///
    /// # Errors
    /// It cannot be written; then the next start looks at more of them.
    pub(super) fn record_cleaned(&self, cleaned: Offsets) -> Result<(), StorageError> {
        let mut on_record = self.on_record.lock();
        on_record.cleaned = cleaned;
        self.write(CLEANED, &on_record.cleaned)
    }

    fn write(&self, name: &str, offsets: &Offsets) -> Result<(), StorageError> {
        checkpoint::write(&**self.data_dir.vfs(), self.data_dir.path(), name, offsets)
    }

    /// The log of a partition, if it is open.
    pub fn log(&self, topic_partition: &TopicPartition) -> Option<Arc<Log>> {
        self.logs.load().get(topic_partition).cloned()
    }

    /// All logs that are open, in no order.
    pub fn logs(&self) -> Vec<Arc<Log>> {
        self.logs.load().values().cloned().collect()
    }

    /// Closes logs whose folders are to be removed: nothing is saved, and nothing touches the folders any more when it
    /// returns.
    pub fn abandon<'a>(&self, logs: impl IntoIterator<Item = &'a Arc<Log>>) {
        let mut on_record = self.on_record.lock();
        let mut table = HashMap::clone(&self.logs.load());
        let mut gone = HashSet::new();
        for log in logs {
            log.abandon();
            if table.get(log.topic_partition()).is_some_and(|open| Arc::ptr_eq(open, log)) {
                table.remove(log.topic_partition());
                gone.insert(log.topic_partition().clone());
            }
        }
        self.logs.store(Arc::new(table));
        self.forget_deleted(&mut on_record, |topic_partition| gone.contains(topic_partition));
    }

    /// Where the logs are.
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// How full the disk is.
    ///
    /// # Errors
    /// The file system does not say.
    pub fn disk_space(&self) -> Result<DiskSpace, StorageError> {
        let path = self.data_dir.path();
        self.data_dir.vfs().disk_space(path).map_err(StorageError::io("look at", path))
    }

    /// What of the disk producers may not use.
    pub fn disk_reserve(&self) -> &Arc<DiskReserve> {
        &self.reserve
    }

    /// Flushes every log and puts on record from where the next start would have to check it.
    ///
    /// # Errors
    /// A checkpoint cannot be written. A log that fails keeps the recovery point it had, and is no error here.
    pub fn checkpoint(&self) -> Result<(), StorageError> {
        // Without the lock: flushes take long. A log that is abandoned meanwhile is left out below.
        let points: Vec<(Arc<Log>, Offset)> =
            self.logs().into_iter().filter_map(|log| log.checkpoint().ok().map(|point| (log, point))).collect();
        let mut on_record = self.on_record.lock();
        let table = self.logs.load_full();
        for (log, point) in points {
            if table.get(log.topic_partition()).is_some_and(|open| Arc::ptr_eq(open, &log)) {
                on_record.recovery_points.insert(log.topic_partition().clone(), point);
            }
        }
        self.write_offsets(&mut on_record, &table)
    }

    fn write_offsets(
        &self,
        on_record: &mut OnRecord,
        table: &HashMap<TopicPartition, Arc<Log>>,
    ) -> Result<(), StorageError> {
        let OnRecord { recovery_points, log_starts, offline, .. } = on_record;
        recovery_points
            .retain(|topic_partition, _| table.contains_key(topic_partition) || offline.contains(topic_partition));
        log_starts.retain(|topic_partition, _| offline.contains(topic_partition));
        let starts = table.iter().map(|(topic_partition, log)| (topic_partition.clone(), log.offsets().log_start));
        log_starts.extend(starts.filter(|(_, start)| *start > Offset::ZERO));
        self.write(RECOVERY_POINTS, &on_record.recovery_points)?;
        self.write(LOG_STARTS, &on_record.log_starts)
    }

    /// Takes checkpoints at this interval (`log.flush.offset.checkpoint.interval.ms`) until the logs are closed.
    pub fn start_checkpoints(self: &Arc<Self>, interval: Duration) {
        let manager = Arc::downgrade(self);
        let stopping = Arc::clone(&self.stopping);
        let run = move || {
            let (stop, changed) = &*stopping;
            loop {
                let mut stop = stop.lock();
                if !*stop {
                    changed.wait_for(&mut stop, interval);
                }
                if *stop {
                    return;
                }
                drop(stop);
                let Some(manager) = manager.upgrade() else { return };
                if let Err(error) = manager.checkpoint() {
                    tracing::warn!(%error, "cannot write a checkpoint; a restart would have more to check");
                }
            }
        };
        let thread = std::thread::Builder::new().name("log-checkpoints".to_owned());
        let thread = thread.spawn(run).expect("a thread can be started when the broker starts");
        *self.checkpoints.lock() = Some(thread);
    }

    fn stop_checkpoints(&self) {
        *self.stopping.0.lock() = true;
        self.stopping.1.notify_all();
        if let Some(thread) = self.checkpoints.lock().take()
            && thread.thread().id() != std::thread::current().id()
            && let Err(panic) = thread.join()
        {
            std::panic::resume_unwind(panic);
        }
    }

    /// Closes all logs, and marks the directory as left in order if nothing ever failed. No append is taken any more.
    ///
    /// # Errors
    /// The first failure; everything that could be closed is closed nevertheless, and the next start checks the rest.
    pub fn close(&self) -> Result<(), StorageError> {
        self.stop_checkpoints();
        let logs = self.logs();
        // On one thread the order of everything is given, for simulation.
        let threads = if self.threads == 1 { 1 } else { self.threads.max(CLOSING_THREADS) };
        let closed = in_parallel(threads, &logs, |log| log.close());
        let mut on_record = self.on_record.lock();
        let table = self.logs.swap(Arc::default());
        let mut first_error = None;
        for (log, closed) in logs.iter().zip(closed) {
            match closed {
                Ok(point) => {
                    on_record.recovery_points.insert(log.topic_partition().clone(), point);
                }
                Err(error) => {
                    tracing::error!(log = %log.topic_partition(), %error, "a log could not be closed");
                    first_error.get_or_insert(error);
                }
            }
        }
        self.write_offsets(&mut on_record, &table)?;
        match first_error {
            Some(error) => Err(error),
            None if self.failed.load(Ordering::Relaxed) > 0 => Ok(()),
            None => self.data_dir.mark_clean(),
        }
    }
}

/// One line for all logs after a start that had to check them.
fn report_recovery(opened: &[Result<(Arc<Log>, RecoveryReport), StorageError>]) {
    let reports: Vec<&RecoveryReport> = opened.iter().flatten().map(|(_, report)| report).collect();
    let sum = |part: fn(&RecoveryReport) -> u64| -> u64 { reports.iter().map(|report| part(report)).sum() };
    tracing::info!(
        logs = opened.len(),
        offline = opened.len() - reports.len(),
        checked_bytes = sum(|report| report.checked_bytes),
        cut_bytes = sum(|report| report.cut_bytes),
        damaged_ranges = sum(|report| report.corrupt.len() as u64),
        "what was not flushed is checked"
    );
}

/// Runs `work` on all items, on so many threads; the results are in the items' order.
pub(super) fn in_parallel<I: Sync, O: Send>(threads: usize, items: &[I], work: impl Fn(&I) -> O + Sync) -> Vec<O> {
    let next = AtomicUsize::new(0);
    let mut done: Vec<(usize, O)> = Vec::with_capacity(items.len());
    std::thread::scope(|scope| {
        let run = || {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = items.get(index) else { return done };
                done.push((index, work(item)));
            }
        };
        let threads: Vec<_> = (1..threads.min(items.len())).map(|_| scope.spawn(run)).collect();
        done.extend(run());
        for thread in threads {
            match thread.join() {
                Ok(part) => done.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, output)| output).collect()
}

impl Drop for LogManager {
    fn drop(&mut self) {
        self.stop_checkpoints();
    }
}

#[cfg(test)]
#[path = "log_manager_test.rs"]
mod tests;
