//! Goal: a clean start costs the same however large the logs are. Method: logs whose sealed segments are sparse files of 1 GiB,
//! and a file system that counts the calls and the bytes that are read.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::segment::parse_segment_name;
use super::test_batch::TestBatch;
use super::vfs::{Access, DirEntry, RealVfs, Vfs, VfsFile, VfsLock};
use super::*;
use crate::types::{LeaderEpoch, TopicPartition};

#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    bytes_read: AtomicU64,
}

/// The operating system's file system, counted.
#[derive(Debug, Clone, Default)]
struct CountingVfs(Arc<Counts>);

impl CountingVfs {
    fn call(&self) -> RealVfs {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
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
        Ok(Arc::new(CountingFile { file, counts: Arc::clone(&self.0) }))
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

impl VfsFile for CountingFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let read = self.file.read_at(buffer, position)?;
        self.counts.calls.fetch_add(1, Ordering::Relaxed);
        self.counts.bytes_read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.file.write_at(parts, position)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_fd()
    }
}

fn open(dir: &Path, vfs: Arc<dyn Vfs>) -> (Arc<LogManager>, Arc<Log>) {
    let data_dir = DataDir::open(vfs, dir).unwrap();
    let config = LogManagerConfig { threads: 1, open_files_max: 64, producer_limits: ProducerLimits::default() };
    let topic_partition = TopicPartition::new("t", 0);
    let log_config = LogConfig { segment_bytes: 1000, ..LogConfig::default() };
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
    (vfs.0.calls.load(Ordering::Relaxed), vfs.0.bytes_read.load(Ordering::Relaxed))
}

#[test]
fn a_clean_start_does_not_depend_on_the_size_of_the_log() {
    let (few_calls, few_bytes) = cost_of_start(3);
    let (many_calls, many_bytes) = cost_of_start(103);
    // For each segment of 1 GiB a line of checksums, and a look for a transaction index.
    assert!(many_bytes - few_bytes < 100 * 100, "{few_bytes} bytes for 2 GiB, {many_bytes} for 102 GiB");
    assert!(many_calls - few_calls <= 100 * 2, "{few_calls} calls for 2 GiB, {many_calls} for 102 GiB");
}
