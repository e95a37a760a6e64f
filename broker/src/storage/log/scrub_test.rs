//! Goal: a scrub finds what is wrong with sealed files that nobody reads, refuses the damaged batches and nothing else, and
//! builds indexes again, at the pace it is given, and lets go of what is deleted or to stop. Method: a log on a disk in memory, opened
//! after a clean stop, one edit of a file, a scrub with a throttle that counts and interferes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::storage::test_batch::{TestBatch, marker};
use crate::storage::vfs::{Access, Fault, FaultVfs, Vfs, read_file, write_all_at};
use crate::storage::{LogConfig, LogContext, OpenFiles, OpenMode, ProducerLimits, ReadError, Unthrottled};
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

/// What a scrub of a whole log came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Scrubbed {
    checked_bytes: u64,
    damaged_ranges: usize,
    indexes_rebuilt: usize,
    errors: usize,
}

fn scrub_with(log: &Log, throttle: &dyn Throttle) -> Result<Scrubbed, StorageError> {
    let (mut from, mut all) = (Offset::ZERO, Scrubbed::default());
    while let Some(scrubbed) = log.scrub_next(from, throttle)? {
        assert!(scrubbed.next > from);
        from = scrubbed.next;
        all.checked_bytes += scrubbed.checked_bytes;
        all.damaged_ranges += scrubbed.damaged_ranges;
        all.indexes_rebuilt += usize::from(scrubbed.index_rebuilt);
        all.errors += usize::from(scrubbed.error.is_some());
    }
    Ok(all)
}

/// Scrubs to the end, without an error.
fn scrub(log: &Log) -> Scrubbed {
    let scrubbed = scrub_with(log, &Unthrottled).unwrap();
    assert_eq!(scrubbed.errors, 0);
    scrubbed
}

/// Counts what passes, and does something once so much has.
struct Interfering<F: Fn() -> Result<(), StorageError> + Sync> {
    passed_bytes: AtomicU64,
    after_bytes: u64,
    interfere: F,
}

impl<F: Fn() -> Result<(), StorageError> + Sync> Interfering<F> {
    fn after(after_bytes: u64, interfere: F) -> Self {
        Interfering { passed_bytes: AtomicU64::new(0), after_bytes, interfere }
    }
}

impl<F: Fn() -> Result<(), StorageError> + Sync> Throttle for Interfering<F> {
    fn pass(&self, bytes: u64) -> Result<(), StorageError> {
        let before = self.passed_bytes.fetch_add(bytes, Ordering::Relaxed);
        let is_now = before <= self.after_bytes && self.after_bytes < before + bytes;
        if is_now { (self.interfere)() } else { Ok(()) }
    }
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
    let sound = Scrubbed { checked_bytes: sealed_bytes(&log), ..Scrubbed::default() };
    assert_eq!(scrub(&log), sound);
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
    assert_eq!(scrub(&log).damaged_ranges, 1);
    let damage = log.corrupt_ranges();
    assert_eq!(damage.len(), 1);
    assert!(damage[0].from >= base && damage[0].to.0 - damage[0].from.0 == 2, "{damage:?}");
    for offset in 0..log.offsets().log_end.0 {
        let read = log.read(Offset(offset), 1, log.offsets().log_end, true);
        let is_damaged = damage[0].from.0 <= offset && offset < damage[0].to.0;
        assert_eq!(matches!(read, Err(ReadError::Corrupt { .. })), is_damaged, "offset {offset}");
    }
    assert_eq!(scrub(&log).damaged_ranges, 0, "told once");
    assert_eq!(log.corrupt_ranges(), damage);

    // What happens to the same segment later is found too.
    edit(&disk, &format!("{name}.log"), |bytes| bytes[20] ^= 1);
    assert_eq!(scrub(&log), Scrubbed { damaged_ranges: 1, checked_bytes: sealed_bytes(&log), ..Scrubbed::default() });
    // They lie side by side, and are one range now.
    let both = log.corrupt_ranges();
    assert!(both.len() == 1 && both[0].from == base && both[0].to == damage[0].to, "{both:?}");
    assert!(matches!(log.read(base, 1, log.offsets().log_end, true), Err(ReadError::Corrupt { .. })));
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
            let scrubbed = scrub(&log);
            assert_eq!((scrubbed.checked_bytes, scrubbed.indexes_rebuilt), (sealed_bytes(&log), 1));
            assert_eq!(scrub(&log).indexes_rebuilt, 0);
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
fn a_segment_that_is_damaged_has_its_indexes_looked_at_too() {
    let (disk, log) = reopened();
    let (name, _) = second_segment(&log);
    edit(&disk, &format!("{name}.log"), |bytes| bytes[500] ^= 4);
    edit(&disk, &format!("{name}.timeindex"), |bytes| bytes[5] ^= 4);
    let scrubbed = scrub(&log);
    assert_eq!((scrubbed.damaged_ranges, scrubbed.indexes_rebuilt), (1, 1));
}

#[test]
fn a_segment_that_cannot_be_read_keeps_no_other_from_its_turn() {
    let (disk, log) = reopened();
    let (name, base) = second_segment(&log);
    let second_bytes = log.segments.load().sealed[1].size_bytes;
    edit(&disk, &format!("{name}.timeindex"), |bytes| bytes[5] ^= 4);
    disk.remove_file(&Path::new(LOG_DIR).join(format!("{name}.log"))).unwrap();
    let scrubbed = scrub_with(&log, &Unthrottled).unwrap();
    assert_eq!((scrubbed.errors, scrubbed.checked_bytes), (1, sealed_bytes(&log) - second_bytes));
    let error = log.scrub_next(base, &Unthrottled).unwrap().unwrap().error.unwrap().to_string();
    assert!(error.contains(&name), "{error}");
}

#[test]
fn every_byte_that_is_read_passes_the_throttle() {
    let (disk, log) = reopened();
    let counting = Interfering::after(u64::MAX, || Ok(()));
    let passed = || counting.passed_bytes.swap(0, Ordering::Relaxed);
    scrub_with(&log, &counting).unwrap();
    let sound = passed();
    assert!(sound >= sealed_bytes(&log), "{sound}");
    // An index that is built again costs its segment once more.
    let (name, _) = second_segment(&log);
    edit(&disk, &format!("{name}.index"), |bytes| bytes[5] ^= 1);
    scrub_with(&log, &counting).unwrap();
    assert!(passed() >= sound + log.segments.load().sealed[1].size_bytes);
}

#[test]
fn a_scrub_that_is_to_stop_stops_at_its_next_read() {
    let (_disk, log) = reopened();
    for after_bytes in (0..sealed_bytes(&log)).step_by(700) {
        let stopping = Interfering::after(after_bytes, || Err(StorageError::Stopped));
        assert!(matches!(scrub_with(&log, &stopping), Err(StorageError::Stopped)), "after {after_bytes} bytes");
    }
    assert!(log.corrupt_ranges().is_empty());
}

#[test]
fn a_segment_that_goes_in_the_middle_of_its_scrub_is_no_matter() {
    let (_, log) = reopened();
    let all_bytes = sealed_bytes(&log);
    for after_bytes in (0..all_bytes).step_by(1_500) {
        let (_disk, log) = reopened();
        let deleting = Interfering::after(after_bytes, || log.delete_records(Offset(12)).map(|_| ()));
        let scrubbed = scrub_with(&log, &deleting).unwrap();
        assert_eq!((scrubbed.errors, scrubbed.damaged_ranges), (0, 0), "after {after_bytes} bytes");
        assert!(scrubbed.checked_bytes >= sealed_bytes(&log) && scrubbed.checked_bytes <= all_bytes);

        // The whole log: nobody waits for the scrub, and it ends.
        let (_disk, log) = reopened();
        let abandoning = Interfering::after(after_bytes, || {
            log.abandon();
            Ok(())
        });
        assert!(matches!(scrub_with(&log, &abandoning), Err(StorageError::Closed { .. })), "after {after_bytes} bytes");
    }
}

/// Two small segments, the second of which has an aborted transaction, on record after a clean stop and about to be merged.
fn with_an_aborted_transaction() -> (FaultVfs, Arc<Log>) {
    let disk = FaultVfs::new();
    let log = open(&disk, false);
    for n in 0..3 {
        let batch = TestBatch::of(1, 1_000, 1).by_producer(7, 0, n).in_transaction();
        log.append(batch.build(), LeaderEpoch(1), 0).unwrap();
        log.append(marker(7, 0, false, 1), LeaderEpoch(1), 0).unwrap();
    }
    log.close().unwrap();
    let log = open(&disk, true);
    log.update_config(Arc::new(LogConfig { segment_bytes: 10_000, ..LogConfig::clone(&log.config()) }));
    (disk, log)
}

#[test]
fn a_transaction_index_that_was_joined_for_a_merge_that_failed_is_not_damaged() {
    let (disk, log) = with_an_aborted_transaction();
    let before = disk.calls();
    assert_eq!(log.merge_segments(0, &Unthrottled).unwrap(), 1);
    let index = segment_path(Path::new(LOG_DIR), Offset::ZERO, extension::TRANSACTION_INDEX);
    let mut joined = 0;
    for call in 1..=disk.calls() - before {
        let (disk, log) = with_an_aborted_transaction();
        let as_saved = read_file(&disk, &index, u64::MAX).unwrap();
        disk.fail_call(disk.calls() + call, Fault::IoError);
        if log.merge_segments(0, &Unthrottled).is_ok() || log.poison().is_some() {
            continue;
        }
        joined += usize::from(read_file(&disk, &index, u64::MAX).unwrap() != as_saved);
        assert_eq!(scrub(&log).indexes_rebuilt, 0, "call {call} failed");
        let segments = log.segments.load_full();
        let is_trusted = |segment: &Arc<SealedSegment>| segment.checksums(Path::new(LOG_DIR)).is_some();
        assert!(segments.sealed.iter().all(is_trusted), "call {call} failed");
    }
    assert!(joined > 0);
}
