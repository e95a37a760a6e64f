//! Goal: a scrub finds what is wrong with sealed files that nobody reads, refuses the damaged batches and nothing else, and
//! builds indexes again. Method: a log on a disk in memory, opened after a clean stop, one edit of a file, a scrub in small steps.

use std::path::{Path, PathBuf};

use super::*;
use crate::storage::test_batch::TestBatch;
use crate::storage::vfs::{Access, FaultVfs, Vfs, read_file, write_all_at};
use crate::storage::{LogConfig, LogContext, OpenFiles, OpenMode, ProducerLimits, ReadError};
use crate::types::{LeaderEpoch, TopicPartition};

const LOG_DIR: &str = "/t-0";

fn open(disk: &FaultVfs, clean: bool) -> Arc<Log> {
    let context = LogContext {
        open_files: OpenFiles::new(Arc::new(disk.clone()), 8),
        quarantine: PathBuf::from("/quarantine"),
        producer_limits: ProducerLimits::default(),
    };
    disk.create_dir(Path::new(LOG_DIR)).unwrap();
    let config = LogConfig { segment_bytes: 1800, index_interval_bytes: 100, ..LogConfig::default() };
    let mode = OpenMode { clean, ..OpenMode::default() };
    Log::open(context, Path::new(LOG_DIR), TopicPartition::new("t", 0), Arc::new(config), mode, 0).unwrap().0
}

/// A log of several segments, closed cleanly and opened again.
fn reopened() -> (FaultVfs, Arc<Log>) {
    let disk = FaultVfs::new();
    let log = open(&disk, false);
    (0..40).for_each(|n| {
        log.append(TestBatch::of(2, 150, 1_000 + n).build(), LeaderEpoch(1), n).unwrap();
    });
    assert!(log.segment_count() > 5);
    log.close().unwrap();
    let log = open(&disk, true);
    (disk, log)
}

/// Scrubs to the end; the bytes that were checked.
fn scrub(log: &Log) -> u64 {
    let (mut cursor, mut bytes) = (ScrubCursor::default(), 0);
    while let Some(checked) = log.scrub(&mut cursor, 500).unwrap() {
        bytes += checked;
    }
    bytes
}

fn sealed_bytes(log: &Log) -> u64 {
    log.segments.load().sealed.iter().map(|segment| segment.size_bytes).sum()
}

fn edit(disk: &FaultVfs, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let path = Path::new(LOG_DIR).join(name);
    let before = read_file(disk, &path, u64::MAX).unwrap().unwrap();
    let mut bytes = before.clone();
    change(&mut bytes);
    let file = disk.open(&path, Access::Write).unwrap();
    file.set_len(0).unwrap();
    write_all_at(&*file, &bytes, &[], 0).unwrap();
    before
}

fn second_segment(log: &Log) -> (String, Offset) {
    let segment = Arc::clone(&log.segments.load().sealed[1]);
    (format!("{:020}", segment.base_offset.0), segment.base_offset)
}

#[test]
fn all_sealed_bytes_are_checked_and_a_sound_log_stays_as_it_is() {
    let (disk, log) = reopened();
    let calls = disk.mutations();
    assert_eq!(scrub(&log), sealed_bytes(&log));
    assert_eq!(disk.mutations(), calls, "nothing is written");
    assert!(log.corrupt_ranges().is_empty());
    let segments = log.segments.load_full();
    assert!(segments.sealed.iter().all(|segment| segment.verified.covers(0..segment.size_bytes)));
}

#[test]
fn a_flipped_bit_is_found_without_a_read_and_costs_its_batch() {
    let (disk, log) = reopened();
    let (name, base) = second_segment(&log);
    edit(&disk, &format!("{name}.log"), |bytes| bytes[500] ^= 4);
    scrub(&log);
    let damage = log.corrupt_ranges();
    assert_eq!(damage.len(), 1);
    assert!(damage[0].from >= base && damage[0].to.0 - damage[0].from.0 == 2, "{damage:?}");
    for offset in 0..log.offsets().log_end.0 {
        let read = log.read(Offset(offset), 1, log.offsets().log_end, true);
        let is_damaged = damage[0].from.0 <= offset && offset < damage[0].to.0;
        assert_eq!(matches!(read, Err(ReadError::Corrupt { .. })), is_damaged, "offset {offset}");
    }
    scrub(&log);
    assert_eq!(log.corrupt_ranges(), damage, "told once");
}

#[test]
fn damaged_indexes_are_built_again_as_they_were() {
    let damages: [fn(&mut Vec<u8>); 3] =
        [|bytes| bytes[5] ^= 1, |bytes| bytes.fill(0), |bytes| bytes.truncate(bytes.len() / 2)];
    for extension in ["index", "timeindex"] {
        for damage in damages {
            let (disk, log) = reopened();
            let (name, _) = second_segment(&log);
            let name = format!("{name}.{extension}");
            let before = edit(&disk, &name, damage);
            assert_eq!(scrub(&log), sealed_bytes(&log));
            let rebuilt = read_file(&disk, &Path::new(LOG_DIR).join(&name), u64::MAX).unwrap().unwrap();
            assert_eq!(rebuilt, before, "{name}");
            let by_time =
                (990..1_050).map(|timestamp| log.offset_for_timestamp(timestamp).unwrap().map(|f| f.offset.0));
            let sound = open(&disk.killed(), false);
            let expected =
                (990..1_050).map(|timestamp| sound.offset_for_timestamp(timestamp).unwrap().map(|f| f.offset.0));
            assert!(by_time.eq(expected));
            log.close().unwrap();
            assert_eq!(open(&disk, true).offsets(), log.offsets());
        }
    }
}

#[test]
fn a_segment_that_goes_in_the_middle_of_its_scrub_is_no_matter() {
    let (_disk, log) = reopened();
    let mut cursor = ScrubCursor::default();
    log.scrub(&mut cursor, 500).unwrap().unwrap();
    log.delete_records(Offset(12)).unwrap();
    let mut bytes = 0;
    while let Some(checked) = log.scrub(&mut cursor, 500).unwrap() {
        bytes += checked;
    }
    assert_eq!(bytes, sealed_bytes(&log));
    log.close().unwrap();
    assert!(matches!(log.scrub(&mut ScrubCursor::default(), 500), Err(StorageError::Closed { .. })));
}
