//! Goal: a clean start costs the same however large the logs are, and a start after a kill what was not flushed, with several logs
//! at once. Method: logs whose sealed segments are sparse files of 1 GiB, or whose active segment is long, and a file system
//! that counts the calls, the bytes that are read and the threads that read.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use std::sync::Arc;

use super::segment::parse_segment_name;
use super::test_batch::TestBatch;
use super::vfs::{Access, DirEntry, FileInFront, RealVfs, Vfs, VfsFile, VfsLock};
use super::*;
use crate::types::{LeaderEpoch, TopicPartition};

const PATIENCE: Duration = Duration::from_secs(60);
const FIRST_SEGMENT: &str = "00000000000000000000.log";

#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    bytes_read: AtomicU64,
}

/// The operating system's file system, counted.
#[derive(Debug, Clone, Default)]
struct CountingVfs {
    counts: Arc<Counts>,
    /// Where the threads meet that open the first segment of each of the first logs.
    meeting: Option<Arc<Meeting>>,
}

/// Where threads wait for each other.
#[derive(Debug, Default)]
struct Meeting {
    present: Mutex<usize>,
    came: Condvar,
}

impl Meeting {
    fn wait_for(&self, threads: usize) {
        let mut present = self.present.lock();
        *present += 1;
        self.came.notify_all();
        while *present < threads {
            assert!(!self.came.wait_for(&mut present, PATIENCE).timed_out(), "{present} of {threads} threads came");
        }
    }
}

impl CountingVfs {
    fn call(&self) -> RealVfs {
        self.counts.calls.fetch_add(1, Ordering::Relaxed);
        RealVfs
    }
}

#[derive(Debug)]
struct CountingFile {
    file: Arc<dyn VfsFile>,
    counts: Arc<Counts>,
}

impl Vfs for CountingVfs {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        let file = self.call().open(path, access)?;
        let log_dir = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
        let is_first_of_three = access == Access::Write && ["t-0", "t-1", "t-2"].contains(&log_dir);
        if let Some(meeting) = self.meeting.as_ref().filter(|_| is_first_of_three && path.ends_with(FIRST_SEGMENT)) {
            meeting.wait_for(3);
        }
        Ok(Arc::new(CountingFile { file, counts: Arc::clone(&self.counts) }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.call().create_dir(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.call().read_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call().rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call().remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.call().remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call().sync_dir(path)
    }

    fn set_modified_ms(&self, path: &Path, modified_ms: i64) -> io::Result<()> {
        self.call().set_modified_ms(path, modified_ms)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.call().exists(path)
    }

    fn disk_space(&self, path: &Path) -> io::Result<DiskSpace> {
        self.call().disk_space(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn VfsLock>> {
        self.call().lock(path)
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.call().is_locked(path)
    }
}

impl FileInFront for CountingFile {
    fn behind(&self) -> &dyn VfsFile {
        &*self.file
    }

    fn read_in_front(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let read = self.file.read_at(buffer, position)?;
        self.counts.calls.fetch_add(1, Ordering::Relaxed);
        self.counts.bytes_read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

fn open(dir: &Path, vfs: Arc<dyn Vfs>) -> (Arc<LogManager>, Arc<Log>) {
    open_with(dir, vfs, LogConfig { segment_bytes: 1000, ..LogConfig::default() })
}

fn open_with(dir: &Path, vfs: Arc<dyn Vfs>, log_config: LogConfig) -> (Arc<LogManager>, Arc<Log>) {
    let data_dir = DataDir::open(vfs, dir).unwrap();
    let config = LogManagerConfig { threads: 1, open_files_max: 64, producer_limits: ProducerLimits::default() };
    let topic_partition = TopicPartition::new("t", 0);
    let log = LogToOpen { topic_partition: topic_partition.clone(), config: Arc::new(log_config) };
    let manager = LogManager::open(data_dir, &config, vec![log], 0).unwrap();
    let log = manager.log(&topic_partition).unwrap();
    (manager, log)
}

/// What a clean start of a log of so many segments costs: calls and bytes read.
fn cost_of_start(segments: usize) -> (u64, u64) {
    let dir = tempfile::tempdir().unwrap();
    let (manager, log) = open(dir.path(), Arc::new(RealVfs));
    for n in 0..segments as i64 {
        log.append(TestBatch::of(1, 800, n).by_producer(1, 0, n as i32).build(), LeaderEpoch(0), n).unwrap();
    }
    assert_eq!(log.segment_count(), segments);
    manager.close().unwrap();
    let end = log.offsets();
    drop((manager, log));
    let log_dir = dir.path().join("t-0");
    let names = RealVfs.read_dir(&log_dir).unwrap();
    let mut names: Vec<_> = names.iter().filter(|e| parse_segment_name(&e.name, "log").is_some()).collect();
    names.sort_by(|left, right| left.name.cmp(&right.name));
    for entry in &names[..names.len() - 1] {
        RealVfs.open(&log_dir.join(&entry.name), Access::Write).unwrap().set_len(1 << 30).unwrap();
    }

    let vfs = CountingVfs::default();
    let (_manager, log) = open(dir.path(), Arc::new(vfs.clone()));
    assert_eq!(log.offsets(), end);
    assert!(log.size_bytes() >= (segments as u64 - 1) << 30);
    (vfs.counts.calls.load(Ordering::Relaxed), vfs.counts.bytes_read.load(Ordering::Relaxed))
}

#[test]
fn a_clean_start_does_not_depend_on_the_size_of_the_log() {
    let (few_calls, few_bytes) = cost_of_start(3);
    let (many_calls, many_bytes) = cost_of_start(103);
    // For each segment of 1 GiB a line of checksums, and a look for a transaction index.
    assert!(many_bytes - few_bytes < 100 * 100, "{few_bytes} bytes for 2 GiB, {many_bytes} for 102 GiB");
    assert!(many_calls - few_calls <= 100 * 2, "{few_calls} calls for 2 GiB, {many_calls} for 102 GiB");
}

const BATCH_BYTES: u64 = 10_000;

/// The bytes that a start reads after a kill of a broker that had flushed so many batches at its last checkpoint, and appended
/// `unflushed` more.
fn cost_of_recovery(flushed: i64, unflushed: i64) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let log_config = LogConfig::default();
    let (manager, log) = open_with(dir.path(), Arc::new(RealVfs), log_config.clone());
    let append = |n: i64| {
        let batch = TestBatch::of(1, BATCH_BYTES as usize, n).by_producer(1, 0, n as i32).build();
        log.append(batch, LeaderEpoch(0), 0).unwrap();
    };
    (0..flushed / 2).for_each(append);
    manager.checkpoint().unwrap();
    (flushed / 2..flushed).for_each(append);
    manager.checkpoint().unwrap();
    manager.checkpoint().unwrap();
    (flushed..flushed + unflushed).for_each(append);
    let (end, producers) = (log.offsets().log_end, log.with_producers(ProducerState::encode_snapshot));
    drop((manager, log));

    let vfs = CountingVfs::default();
    let (_manager, log) = open_with(dir.path(), Arc::new(vfs.clone()), log_config);
    assert_eq!((log.offsets().log_end, log.segment_count()), (end, 1));
    assert!(log.with_producers(ProducerState::encode_snapshot) == producers, "what is known of producers");
    vfs.counts.bytes_read.load(Ordering::Relaxed)
}

#[test]
fn a_start_after_a_kill_reads_what_was_not_flushed() {
    let (unflushed, indexes_and_headers) = (30, 30 * (16 << 10));
    let short = cost_of_recovery(100, unflushed);
    let long = cost_of_recovery(3_000, unflushed);
    let unflushed_bytes = unflushed as u64 * BATCH_BYTES;
    assert!((unflushed_bytes..unflushed_bytes + indexes_and_headers + 100_000).contains(&short), "{short}");
    // 30 MB are before the checkpoint; their two indexes have 20 bytes a batch, and are read twice.
    assert!(long < short + 2 * 2_900 * 20 + 50_000, "{short} bytes behind 1 MB, {long} behind 30 MB");
    // Nothing behind it: hardly anything is read.
    let nothing = cost_of_recovery(3_000, 0);
    assert!(nothing < 2 * 3_000 * 20 + 100_000, "{nothing}");
}

#[test]
fn several_logs_are_recovered_at_once() {
    const LOGS: i32 = 8;
    let dir = tempfile::tempdir().unwrap();
    let open = |vfs: Arc<dyn Vfs>| {
        let settings = LogManagerConfig { threads: 3, open_files_max: 64, producer_limits: ProducerLimits::default() };
        let log = |n| LogToOpen { topic_partition: TopicPartition::new("t", n), config: Arc::default() };
        LogManager::open(DataDir::open(vfs, dir.path()).unwrap(), &settings, (0..LOGS).map(log).collect(), 0).unwrap()
    };
    let manager = open(Arc::new(RealVfs));
    for log in manager.logs() {
        log.append(TestBatch::of(1, 100, 0).build(), LeaderEpoch(0), 0).unwrap();
    }
    drop(manager);
    // Each of three opens a log of its own and waits until the others have too.
    let vfs = CountingVfs { meeting: Some(Arc::default()), ..CountingVfs::default() };
    let manager = open(Arc::new(vfs));
    assert!(manager.logs().iter().all(|log| log.offsets().log_end.0 == 1));
}
