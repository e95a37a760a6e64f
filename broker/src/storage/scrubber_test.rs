//! Goal: the scrubber comes to every log, also behind one that fails, can be switched off, on and stopped, and tells what it has
//! done. Method: logs on a disk in memory, one of them broken; the status is waited for.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::clock::SystemClock;
use crate::storage::test_batch::TestBatch;
use crate::storage::vfs::{FaultVfs, Vfs};
use crate::storage::{DataDir, LogConfig, LogManagerConfig, LogToOpen, ProducerLimits};
use crate::types::LeaderEpoch;

const LOGS: i32 = 5;
const AS_FAST_AS_CAN_BE: u64 = 1 << 40;
const PATIENCE: Duration = Duration::from_secs(60);

fn open(disk: &FaultVfs) -> Arc<LogManager> {
    let data_dir = DataDir::open(Arc::new(disk.clone()), Path::new("/data")).unwrap();
    let settings = LogManagerConfig { threads: 1, open_files_max: 8, producer_limits: ProducerLimits::default() };
    let config = Arc::new(LogConfig { segment_bytes: 1800, ..LogConfig::default() });
    let log = |n| LogToOpen { topic_partition: TopicPartition::new("t", n), config: Arc::clone(&config) };
    LogManager::open(data_dir, &settings, (0..LOGS).map(log).collect(), 0).unwrap()
}

/// Logs with some segments each, closed and opened again; the bytes of their sealed segments.
fn reopened() -> (FaultVfs, Arc<LogManager>, u64) {
    let disk = FaultVfs::new();
    let logs = open(&disk);
    for log in logs.logs() {
        for n in 0..20 {
            log.append(TestBatch::of(2, 300, n).build(), LeaderEpoch(1), n).unwrap();
        }
    }
    logs.close().unwrap();
    drop(logs);
    let logs = open(&disk);
    let sealed = logs.logs().iter().map(|log| log.size_bytes() - active_bytes(&disk, log.dir())).sum();
    (disk, logs, sealed)
}

fn active_bytes(disk: &FaultVfs, dir: &Path) -> u64 {
    let mut entries = disk.read_dir(dir).unwrap();
    entries.retain(|entry| entry.name.ends_with(".log"));
    entries.into_iter().max_by(|left, right| left.name.cmp(&right.name)).unwrap().size_bytes
}

fn start(logs: &Arc<LogManager>, bytes_per_second: u64) -> (Scrubber, Arc<AtomicU64>) {
    let pace = Arc::new(AtomicU64::new(bytes_per_second));
    let paced_by = Arc::clone(&pace);
    let pace_now = move || paced_by.load(Ordering::Relaxed);
    let scrubber = Scrubber::start(Arc::clone(logs), Arc::new(SystemClock::default()), Arc::new(pace_now), ());
    (scrubber, pace)
}

fn wait_for(scrubber: &Scrubber, what: &str, holds: impl Fn(&ScrubStatus) -> bool) -> ScrubStatus {
    let clock = SystemClock::default();
    loop {
        let status = scrubber.status();
        if holds(&status) {
            return status;
        }
        assert!(clock.monotonic() < PATIENCE, "{what}: {status:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_round_comes_to_every_log_also_behind_one_that_fails() {
    let (disk, logs, sealed_bytes) = reopened();
    let broken = logs.log(&TopicPartition::new("t", 2)).unwrap();
    let first = broken.dir().join(format!("{:020}.log", 0));
    let first_bytes =
        disk.read_dir(broken.dir()).unwrap().iter().find(|e| first.ends_with(&e.name)).unwrap().size_bytes;
    disk.remove_file(&first).unwrap();
    let (scrubber, _pace) = start(&logs, AS_FAST_AS_CAN_BE);
    let status = wait_for(&scrubber, "a round", |status| status.rounds == 1);
    assert_eq!((status.failures, status.checked_bytes), (1, sealed_bytes - first_bytes));
    assert_eq!((status.damaged_ranges, status.indexes_rebuilt), (0, 0));
    assert!(status.last_round_ended_ms.is_some());
    assert!(status.round_bytes >= sealed_bytes && status.round_checked_bytes == status.checked_bytes);
    scrubber.stop();
}

#[test]
fn it_is_switched_off_and_on_and_stopped_at_any_time() {
    let (_disk, logs, sealed_bytes) = reopened();
    let (scrubber, pace) = start(&logs, 0);
    assert_eq!(scrubber.status(), ScrubStatus::default());
    // So slow that a segment takes minutes.
    pace.store(20, Ordering::Relaxed);
    wait_for(&scrubber, "the begin of a round", |status| status.round_bytes > 0);
    assert!(scrubber.status().checked_bytes < sealed_bytes);
    // A stop waits for no pace.
    let clock = SystemClock::default();
    scrubber.stop();
    assert!(clock.monotonic() < PATIENCE, "{:?}", clock.monotonic());

    let (scrubber, pace) = start(&logs, 0);
    pace.store(AS_FAST_AS_CAN_BE, Ordering::Relaxed);
    let status = wait_for(&scrubber, "a round", |status| status.rounds == 1);
    assert_eq!(status.checked_bytes, sealed_bytes);
    logs.close().unwrap();
}
