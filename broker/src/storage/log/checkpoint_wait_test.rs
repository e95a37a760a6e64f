//! Goal: no append waits for what a checkpoint or a close does on the disk beside the log. Method: a file system on which every
//! rename, removal and sync of a checkpoint waits until an append has come to its end; one that waited for it would never come.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::storage::test_batch::TestBatch;
use crate::storage::vfs::{Access, DirEntry, DiskSpace, FileInFront, RealVfs, Vfs, VfsFile, VfsLock};
use crate::storage::{Log, LogConfig, LogContext, OpenFiles, OpenMode, ProducerLimits};
use crate::types::{LeaderEpoch, Offset, TopicPartition};

const PATIENCE: Duration = Duration::from_secs(60);

/// Calls that wait, once it is switched on, until an append is done for each.
#[derive(Debug, Default)]
struct Gate {
    is_on: AtomicBool,
    /// Calls that wait, appends that are done, and calls that had to give up.
    state: Mutex<(u64, u64, u64)>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self) {
        if !self.is_on.load(Ordering::SeqCst) {
            return;
        }
        let mut state = self.state.lock();
        state.0 += 1;
        let turn = state.0;
        self.changed.notify_all();
        while state.1 < turn {
            if self.changed.wait_for(&mut state, PATIENCE).timed_out() {
                state.2 += 1;
                return;
            }
        }
    }
}

#[derive(Debug, Clone, Default)]
struct SlowVfs(Arc<Gate>);

#[derive(Debug)]
struct SlowFile(Arc<dyn VfsFile>);

impl FileInFront for SlowFile {
    fn behind(&self) -> &dyn VfsFile {
        &*self.0
    }
}

impl Vfs for SlowVfs {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        Ok(Arc::new(SlowFile(RealVfs.open(path, access)?)))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealVfs.create_dir(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        RealVfs.read_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.pass();
        RealVfs.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.pass();
        RealVfs.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealVfs.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.pass();
        RealVfs.sync_dir(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealVfs.exists(path)
    }

    fn disk_space(&self, path: &Path) -> io::Result<DiskSpace> {
        RealVfs.disk_space(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn VfsLock>> {
        RealVfs.lock(path)
    }

    fn set_modified_ms(&self, path: &Path, modified_ms: i64) -> io::Result<()> {
        RealVfs.set_modified_ms(path, modified_ms)
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        RealVfs.is_locked(path)
    }
}

fn append(log: &Log, n: i64) {
    log.append(TestBatch::of(1, 200, n).by_producer(1, 0, n as i32).build(), LeaderEpoch(n as i32 / 7), n).unwrap();
}

#[test]
fn no_append_waits_for_the_files_of_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let vfs = SlowVfs::default();
    let context = LogContext {
        open_files: OpenFiles::new(Arc::new(vfs.clone()), 16),
        quarantine: dir.path().join("quarantine"),
        producer_limits: ProducerLimits::default(),
    };
    let config = Arc::new(LogConfig { segment_bytes: 100_000, index_interval_bytes: 100, ..LogConfig::default() });
    let log_dir = dir.path().join("t-0");
    std::fs::create_dir(&log_dir).unwrap();
    let topic_partition = TopicPartition::new("t", 0);
    let mode = OpenMode::default();
    let (log, _) = Log::open(context, &log_dir, topic_partition, config, mode, 0).unwrap();
    let gate = &vfs.0;
    let mut appended = 0;
    for round in 0..4 {
        for _ in 0..10 {
            append(&log, appended);
            appended += 1;
        }
        gate.is_on.store(true, Ordering::SeqCst);
        std::thread::scope(|scope| {
            let end = log.offsets().log_end;
            let checkpoint = scope.spawn(|| log.checkpoint());
            loop {
                let mut state = gate.state.lock();
                if state.0 == state.1 {
                    if checkpoint.is_finished() {
                        break;
                    }
                    gate.changed.wait_for(&mut state, Duration::from_millis(10));
                    continue;
                }
                drop(state);
                append(&log, appended);
                appended += 1;
                gate.state.lock().1 += 1;
                gate.changed.notify_all();
            }
            let point = checkpoint.join().unwrap().unwrap();
            assert!(point >= end && point <= log.offsets().log_end, "{point}, {end}");
        });
        gate.is_on.store(false, Ordering::SeqCst);
        let (waited, _, gave_up) = *gate.state.lock();
        assert!(waited > round && gave_up == 0, "{gave_up} of {waited} calls kept an append from its end");
    }
    assert_eq!(log.offsets().log_end, Offset(appended));
    log.close().unwrap();
}
