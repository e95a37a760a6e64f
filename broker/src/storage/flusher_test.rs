//! Goal: everybody who waits is told, and many share one flush. Method: threads that append and wait, on real files.

use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::*;
use crate::storage::test_batch::batch;
use crate::storage::vfs::RealVfs;
use crate::storage::{LogConfig, LogContext, LogObserver, OpenFiles, OpenMode, ProducerLimits, StorageError};
use crate::types::{LeaderEpoch, TopicPartition};

#[derive(Default)]
struct Waiters {
    flushed: Mutex<Offset>,
    changed: Condvar,
    flushes: AtomicUsize,
}

impl LogObserver for Waiters {
    fn flushed(&self, up_to: Offset) {
        let mut flushed = self.flushed.lock();
        *flushed = flushed.max(up_to);
        self.flushes.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_all();
    }
    fn failed(&self, _why: &StorageError) {}
}

#[test]
fn waiting_producers_share_flushes() {
    let dir = tempfile::tempdir().unwrap();
    let context = LogContext {
        open_files: OpenFiles::new(Arc::new(RealVfs), 4),
        quarantine: dir.path().join("quarantine"),
        producer_limits: ProducerLimits::default(),
    };
    let name = TopicPartition::new("t", 0);
    let config = Arc::new(LogConfig::default());
    let (log, _) = Log::open(context, dir.path(), name, config, OpenMode::default(), 0).unwrap();
    let waiters = Arc::new(Waiters::default());
    log.observe(waiters.clone());
    let flusher = Flusher::start(2);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let end = log.append(batch(&["x"], 0).build(), LeaderEpoch(0), 0).unwrap().log_end_offset;
                    flusher.request(&log, end);
                    let mut flushed = waiters.flushed.lock();
                    while *flushed < end {
                        let timed_out = waiters.changed.wait_for(&mut flushed, Duration::from_secs(30)).timed_out();
                        assert!(!timed_out, "{end} was never flushed");
                    }
                }
            });
        }
    });
    assert_eq!(log.offsets().flushed, Offset(400));
    let flushes = waiters.flushes.load(Ordering::Relaxed);
    assert!(flushes < 400, "{flushes} flushes for 400 appends of 8 threads");
    flusher.stop();
}
