//! Goal: a torn tail is cut, damage is kept and refused for exactly its offsets, caches are rebuilt, and nothing unreadable
//! is ever unlinked. Method: a log of several segments on a file system in memory, one edit of a file, and a look at every
//! offset.

use std::collections::BTreeMap;

use super::*;
use crate::storage::test_batch::TestBatch;
use crate::storage::vfs::{FaultVfs, read_file, write_all_at};
use crate::storage::{Log, LogOffsets, OpenFiles, ProducerLimits, ReadError};
use crate::types::LeaderEpoch;

const KILLED: OpenMode = OpenMode { clean: false, recovery_point: None, log_start: None, durable_end: None };
const CLEAN: OpenMode = OpenMode { clean: true, ..KILLED };
const LOG_DIR: &str = "/t-0";
const QUARANTINE: &str = "/quarantine";

/// A batch as it was written: last offset, segment file, position, bytes.
type Written = (i64, PathBuf, u64, Vec<u8>);

/// A log of five segments of three to four batches, closed cleanly.
struct Fixture {
    disk: FaultVfs,
    /// By base offset.
    batches: BTreeMap<i64, Written>,
    end: Offset,
}

fn fixture() -> Fixture {
    let disk = FaultVfs::new();
    disk.create_dir(Path::new(LOG_DIR)).unwrap();
    let log = open(&disk, KILLED).0;
    let mut batches = BTreeMap::new();
    for n in 0..17i64 {
        let batch = TestBatch::of(1 + n as usize % 3, 150, 1000 + n).build();
        let outcome = log.append(batch, LeaderEpoch(n as i32 / 6), 0).unwrap();
        batches.insert(outcome.base_offset.0, (outcome.last_offset.0, PathBuf::new(), 0, Vec::new()));
    }
    let end = log.close().unwrap();
    assert!(log.segment_count() >= 4);
    for path in files(&disk).into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "log")) {
        let bytes = read(&disk, &path);
        let mut at = 0;
        while at < bytes.len() {
            let header = crate::storage::batch_header::BatchHeader::parse(&bytes[at..]).unwrap();
            let end = at + header.size_bytes as usize;
            let entry: &mut Written = batches.get_mut(&header.base_offset.0).unwrap();
            (entry.1, entry.2, entry.3) = (path.clone(), at as u64, bytes[at..end].to_vec());
            at = end;
        }
    }
    Fixture { disk, batches, end }
}

fn open(disk: &FaultVfs, mode: OpenMode) -> (Arc<Log>, RecoveryReport) {
    let context = LogContext {
        open_files: OpenFiles::new(Arc::new(disk.clone()), 4),
        quarantine: PathBuf::from(QUARANTINE),
        producer_limits: ProducerLimits::default(),
    };
    let config = LogConfig { segment_bytes: 1800, index_interval_bytes: 100, ..LogConfig::default() };
    Log::open(context, Path::new(LOG_DIR), TopicPartition::new("t", 0), Arc::new(config), mode, 0).unwrap()
}

/// The files of the log, by name.
fn files(disk: &FaultVfs) -> Vec<PathBuf> {
    let mut entries = disk.read_dir(Path::new(LOG_DIR)).unwrap();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries.into_iter().map(|entry| Path::new(LOG_DIR).join(entry.name)).collect()
}

fn read(disk: &FaultVfs, path: &Path) -> Vec<u8> {
    read_file(disk, path, 1 << 20).unwrap().unwrap()
}

fn write(disk: &FaultVfs, path: &Path, bytes: &[u8]) {
    let file = disk.open(path, Access::CreateOrKeep).unwrap();
    file.set_len(0).unwrap();
    write_all_at(&*file, bytes, &[], 0).unwrap();
}

fn quarantined_bytes(disk: &FaultVfs) -> u64 {
    disk.read_dir(Path::new(QUARANTINE)).into_iter().flatten().map(|entry| entry.size_bytes).sum()
}

impl Fixture {
    /// The disk with one file edited.
    fn with(&self, path: &Path, bytes: &[u8]) -> FaultVfs {
        let disk = self.disk.killed();
        write(&disk, path, bytes);
        disk
    }

    /// Reads at every offset: each batch must come as it was written, save those that start at one of `damaged`.
    fn check_reads(&self, log: &Log, damaged: &[i64], context: &str) {
        for (base, (last, _, _, bytes)) in &self.batches {
            for offset in *base..=*last {
                let read = log.read(Offset(offset), 1, self.end, true);
                match read {
                    Ok(read) => {
                        assert!(!damaged.contains(base), "damage at {offset} was served: {context}");
                        let found = read.slice.unwrap_or_else(|| panic!("nothing at {offset}: {context}"));
                        assert_eq!(&found.read().unwrap(), bytes, "at {offset}: {context}");
                    }
                    Err(ReadError::Corrupt { from, to, .. }) => {
                        assert!(damaged.contains(base), "{offset} was refused, {from} to {to}: {context}");
                        assert!(from.0 <= offset && offset < to.0);
                    }
                    Err(error) => panic!("{offset}: {error}, {context}"),
                }
            }
        }
        // A long read from before the damage stops in front of it.
        let read = log.read(Offset(0), 1 << 20, self.end, true);
        if let Ok(read) = read {
            let bytes = read.slice.unwrap().read().unwrap();
            let shown: Vec<u8> = self.batches.values().flat_map(|batch| batch.3.clone()).collect();
            assert!(shown.starts_with(&bytes), "{context}");
        }
    }
}

#[test]
fn one_flipped_bit_costs_the_batch_that_it_is_in_and_nothing_else() {
    let fixture = fixture();
    let victims: Vec<i64> = fixture.batches.keys().copied().collect();
    // The last batch of all may be taken for a torn tail; every other one has good ones behind it.
    for base in &victims[..victims.len() - 1] {
        let (_, path, position, bytes) = &fixture.batches[base];
        // Base offset, length, epoch, magic, CRC, and what the CRC covers.
        for byte in [0, 5, 7, 8, 10, 11, 12, 14, 15, 16, 17, 21, 25, 26, 40, 57, 61, bytes.len() - 1] {
            for bit in [0, 6] {
                let mut edited = read(&fixture.disk, path);
                edited[*position as usize + byte] ^= 1 << bit;
                for mode in [KILLED, CLEAN] {
                    let context = format!("bit {bit} of byte {byte} of the batch at {base}, {mode:?}");
                    let (log, report) = open(&fixture.with(path, &edited), mode);
                    assert_eq!(report.cut_bytes, 0, "{context}");
                    assert_eq!(log.offsets().log_end, fixture.end, "{context}");
                    // A wrong epoch is told by the epochs on record after a clean stop. Else only by its neighbours: it may
                    // go unnoticed, or the one beside it may be blamed. Never more than one.
                    if (12..16).contains(&byte) && !mode.clean {
                        let is_refused = |base: &&i64| log.read(Offset(**base), 1, fixture.end, true).is_err();
                        let refused = victims.iter().filter(is_refused).count();
                        assert!(refused <= 1, "{refused} batches are refused: {context}");
                    } else {
                        fixture.check_reads(&log, &[*base], &context);
                    }
                    let outcome = log.append(TestBatch::of(1, 9, 0).build(), LeaderEpoch(99), 0).unwrap();
                    assert_eq!(outcome.base_offset, fixture.end, "{context}");
                }
            }
        }
    }
}

#[test]
fn the_last_batch_is_damaged_and_not_torn_where_it_was_on_the_disk_once() {
    let fixture = fixture();
    let (base, (_, path, position, bytes)) = fixture.batches.iter().next_back().unwrap();
    let mut flipped = read(&fixture.disk, path);
    flipped[*position as usize + bytes.len() - 1] ^= 1;
    let mut short = read(&fixture.disk, path);
    short.truncate(*position as usize + bytes.len() / 2);
    let mut gone = short.clone();
    gone.truncate(*position as usize);
    for edited in [flipped, short, gone] {
        for clean in [true, false] {
            let mode = OpenMode { clean, recovery_point: Some(fixture.end), ..KILLED };
            let disk = fixture.with(path, &edited);
            let (log, report) = open(&disk, mode);
            assert_eq!((report.cut_bytes, report.quarantined.len()), (0, 0), "{mode:?}");
            assert_eq!(log.offsets().log_end, fixture.end, "its offset is not given to another");
            fixture.check_reads(&log, &[*base], &format!("{mode:?}"));
            let outcome = log.append(TestBatch::of(1, 9, 0).build(), LeaderEpoch(99), 0).unwrap();
            assert_eq!(outcome.base_offset, fixture.end);
            let end = log.close().unwrap();
            let (again, _) = open(&disk, OpenMode { recovery_point: Some(end), ..mode });
            assert_eq!(again.offsets().log_end, end);
            fixture.check_reads(&again, &[*base], &format!("{mode:?}, again"));
            assert!(again.read(fixture.end, 1, end, true).unwrap().slice.is_some());
        }
    }
}

#[test]
fn what_was_not_flushed_before_a_kill_is_so_still_and_costs_a_start_no_sync() {
    for (batches, segments) in [(1, 1), (3, 1), (30, 8)] {
        let disk = FaultVfs::new();
        disk.create_dir(Path::new(LOG_DIR)).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let log = open(&disk, KILLED).0;
        for n in 0..batches {
            log.append(TestBatch::of(2, 150, n).build(), LeaderEpoch(0), 0).unwrap();
        }
        assert!(log.segment_count() >= segments, "{}", log.segment_count());
        let end = log.offsets().log_end;
        let disk = disk.killed();
        drop(log);
        let before = disk.mutations();
        let (log, _) = open(&disk, KILLED);
        let LogOffsets { log_end, flushed, .. } = log.offsets();
        assert_eq!((log_end, flushed == Offset(0)), (end, segments == 1));
        if segments == 1 {
            let index_files = files(&disk).iter().filter(|path| path.extension().is_some_and(|e| e != "log")).count();
            assert!(disk.mutations() - before <= 3 * index_files as u64, "indexes are made, cut and written: no sync");
        }
        let ends_after_a_power_cut =
            || (0..20).map(|seed| open(&disk.power_cut(seed), KILLED).0.offsets().log_end).collect::<Vec<_>>();
        let ends = ends_after_a_power_cut();
        assert!(ends.iter().all(|end| *end >= flushed) && ends.iter().any(|left| *left < end), "{flushed}, {ends:?}");
        assert_eq!(log.flush().unwrap(), end);
        assert!(ends_after_a_power_cut().iter().all(|left| *left == end));
        drop(log);
    }
}

#[test]
fn a_torn_tail_is_cut_and_kept_in_quarantine() {
    let fixture = fixture();
    let (base, (_, path, position, bytes)) = fixture.batches.iter().next_back().unwrap();
    for kept in [1, 30, 60, 61, bytes.len() - 2] {
        for zeros in [0, 5000] {
            let mut edited = read(&fixture.disk, path)[..*position as usize + kept].to_vec();
            edited.resize(edited.len() + zeros, 0);
            let disk = fixture.with(path, &edited);
            let (log, report) = open(&disk, KILLED);
            assert_eq!(log.offsets().log_end, Offset(*base), "{kept} bytes kept");
            assert_eq!((report.cut_bytes, report.corrupt.len()), ((kept + zeros) as u64, 0));
            assert_eq!(quarantined_bytes(&disk), (kept + zeros) as u64);
            log.append(TestBatch::of(1, 9, 0).build(), LeaderEpoch(99), 0).unwrap();
            let again = open(&disk, KILLED);
            assert_eq!((again.1.cut_bytes, again.0.offsets().log_end), (0, Offset(base + 1)));
        }
    }
}

#[test]
fn zeroed_pages_and_a_batch_from_elsewhere_are_damage_where_they_are() {
    let fixture = fixture();
    let bases: Vec<i64> = fixture.batches.keys().copied().collect();
    for base in &bases[..bases.len() - 1] {
        let (_, path, position, bytes) = &fixture.batches[base];
        let place = *position as usize..*position as usize + bytes.len();
        let mut zeroed = read(&fixture.disk, path);
        zeroed[place.clone()].fill(0);
        // The same size, other offsets: what a misdirected write leaves.
        let mut moved = read(&fixture.disk, path);
        let donor = fixture.batches.iter().find(|(other, b)| *other != base && b.3.len() == bytes.len());
        moved[place].copy_from_slice(&donor.unwrap().1.3);
        for edited in [zeroed, moved] {
            for mode in [KILLED, CLEAN] {
                let (log, report) = open(&fixture.with(path, &edited), mode);
                assert_eq!((report.cut_bytes, log.offsets().log_end), (0, fixture.end));
                fixture.check_reads(&log, &[*base], &format!("{base} {mode:?}"));
            }
        }
    }
}

#[test]
fn caches_that_are_gone_or_wrong_are_rebuilt() {
    let fixture = fixture();
    let caches: Vec<PathBuf> =
        files(&fixture.disk).into_iter().filter(|path| path.extension().is_none_or(|e| e != "log")).collect();
    assert!(caches.len() >= 12, "{caches:?}");
    let largest = |log: &Log| log.max_timestamp_offset().unwrap().map(|found| (found.timestamp, found.offset));
    let by_time = |log: &Log| -> Vec<_> { (990..1030).map(|t| log.offset_for_timestamp(t).unwrap()).collect() };
    let (log, _) = open(&fixture.disk.killed(), CLEAN);
    let expected = (largest(&log), by_time(&log));
    for cache in caches {
        let good = read(&fixture.disk, &cache);
        let flips = (0..good.len()).step_by(3).map(|at| {
            let mut bytes = good.clone();
            bytes[at] ^= 0x10;
            Some(bytes)
        });
        let cut = good[..good.len().saturating_sub(5)].to_vec();
        let edits = flips.chain([None, Some(vec![0; good.len()]), Some(Vec::new()), Some(cut)]);
        for (n, edit) in edits.enumerate() {
            for mode in [KILLED, CLEAN] {
                let disk = edited(&fixture, &cache, edit.as_deref());
                let context = format!("edit {n} of {}, {mode:?}", cache.display());
                let (log, report) = open(&disk, mode);
                assert_eq!((report.cut_bytes, report.corrupt.len()), (0, 0), "{context}");
                fixture.check_reads(&log, &[], &context);
                assert_eq!((largest(&log), by_time(&log)), expected, "{context}");
                assert_eq!(log.flush().unwrap(), fixture.end, "{context}");
                assert_eq!(
                    log.offsets(),
                    LogOffsets { log_start: Offset(0), log_end: fixture.end, flushed: fixture.end }
                );
            }
        }
    }
}

fn edited(fixture: &Fixture, path: &Path, bytes: Option<&[u8]>) -> FaultVfs {
    match bytes {
        Some(bytes) => fixture.with(path, bytes),
        None => {
            let disk = fixture.disk.killed();
            disk.remove_file(path).unwrap();
            disk
        }
    }
}

#[test]
fn lost_segments_cost_only_their_own_offsets() {
    let fixture = fixture();
    let logs: Vec<PathBuf> =
        files(&fixture.disk).into_iter().filter(|p| p.extension().is_some_and(|e| e == "log")).collect();
    for path in &logs[1..logs.len() - 1] {
        for mode in [KILLED, CLEAN] {
            let (log, _) = open(&edited(&fixture, path, None), mode);
            assert_eq!(log.offsets().log_end, fixture.end);
            let gone: Vec<i64> = fixture.batches.iter().filter(|(_, b)| b.1 == *path).map(|(base, _)| *base).collect();
            fixture.check_reads(&log, &gone, &format!("{} is gone, {mode:?}", path.display()));
        }
    }
    // The last one, and garbage in its place: nothing valid lies behind, so the log ends before it, and the garbage is kept.
    let last = &logs[logs.len() - 1];
    let disk = fixture.with(last, &[0xa5; 777]);
    let (log, report) = open(&disk, KILLED);
    let base = fixture.batches.iter().find(|(_, batch)| batch.1 == *last).map(|(base, _)| *base);
    assert_eq!((Some(log.offsets().log_end.0), report.cut_bytes, quarantined_bytes(&disk)), (base, 777, 777));
}

#[test]
fn a_log_whose_segments_are_all_gone_goes_on_behind_them() {
    let fixture = fixture();
    let logs: Vec<PathBuf> =
        files(&fixture.disk).into_iter().filter(|p| p.extension().is_some_and(|e| e == "log")).collect();
    let last_base = parse_segment_name(&logs[logs.len() - 1].file_name().unwrap().to_string_lossy(), "log").unwrap();
    let without_segments = || {
        let disk = fixture.disk.killed();
        logs.iter().for_each(|path| disk.remove_file(path).unwrap());
        disk
    };
    let without = |extensions: &[&str]| {
        let disk = without_segments();
        let goes = |path: &PathBuf| path.extension().is_some_and(|e| extensions.iter().any(|other| e == *other));
        files(&disk).iter().filter(|path| goes(path)).for_each(|path| disk.remove_file(path).unwrap());
        disk
    };
    let on_record = |clean| OpenMode { clean, recovery_point: Some(fixture.end), ..KILLED };
    for (disk, mode, end) in [
        (without_segments(), on_record(true), fixture.end),
        (without_segments(), on_record(false), fixture.end),
        (without(&["snapshot", "index", "timeindex"]), on_record(true), fixture.end),
        (
            without(&["snapshot", "index", "timeindex"]),
            OpenMode { durable_end: Some(fixture.end), ..KILLED },
            fixture.end,
        ),
        (without_segments(), KILLED, fixture.end),
        (without(&["snapshot", "timeindex"]), KILLED, last_base),
        (without(&["snapshot", "index"]), OpenMode { recovery_point: Some(Offset(1)), ..KILLED }, last_base),
    ] {
        let context = format!("{mode:?}, {:?}", files(&disk));
        let (log, report) = open(&disk, mode);
        assert_eq!((report.missing, report.corrupt.len()), (Some((Offset(0), end)), 0), "{context}");
        assert_eq!(log.offsets(), LogOffsets { log_start: end, log_end: end, flushed: end }, "{context}");
        assert!(matches!(log.read(Offset(0), 1, end, true), Err(ReadError::OutOfRange { .. })), "{context}");
        drop(log);
        // As after a kill before anything was appended: it is no other log then.
        let (log, _) = open(&disk, OpenMode { clean: false, ..mode });
        let outcome = log.append(TestBatch::of(1, 9, 0).build(), LeaderEpoch(99), 0).unwrap();
        assert_eq!(outcome.base_offset, end, "{context}");
        let closed = log.close().unwrap();
        let (log, report) = open(&disk, OpenMode { clean: true, recovery_point: Some(closed), ..KILLED });
        assert_eq!((report.missing, log.offsets().log_start, log.offsets().log_end), (None, end, closed), "{context}");
    }
    // A folder in which nothing ever was is that of a new log.
    let (log, report) = open(&without(&["snapshot", "index", "timeindex"]), KILLED);
    assert_eq!((report.missing, log.offsets().log_end), (None, Offset(0)));
}

#[test]
fn a_log_whose_last_segments_are_gone_refuses_what_was_on_record() {
    let fixture = fixture();
    let logs: Vec<PathBuf> =
        files(&fixture.disk).into_iter().filter(|p| p.extension().is_some_and(|e| e == "log")).collect();
    for gone in 1..logs.len() {
        for clean in [true, false] {
            let disk = fixture.disk.killed();
            let (_, lost) = logs.split_at(logs.len() - gone);
            lost.iter().for_each(|path| disk.remove_file(path).unwrap());
            let mode = OpenMode { clean, recovery_point: Some(fixture.end), ..KILLED };
            let damaged: Vec<i64> =
                fixture.batches.iter().filter(|(_, b)| lost.contains(&b.1)).map(|(base, _)| *base).collect();
            for again in [false, true] {
                let context = format!("{gone} segments gone, {mode:?}, again: {again}");
                let (log, _) = open(&disk, mode);
                assert_eq!((log.offsets().log_start, log.offsets().log_end), (Offset(0), fixture.end), "{context}");
                fixture.check_reads(&log, &damaged, &context);
            }
        }
    }
}

#[test]
fn stray_files_are_left_alone() {
    let fixture = fixture();
    let stray = ["00000000000000000003.log.swap", "notes.txt", "00000000000000000003.log.cleaned", "3.log"];
    let disk = fixture.disk.killed();
    let paths = stray.map(|name| Path::new(LOG_DIR).join(name));
    paths.iter().for_each(|path| write(&disk, path, b"whatever"));
    for mode in [KILLED, CLEAN] {
        let (log, _) = open(&disk, mode);
        fixture.check_reads(&log, &[], "stray files");
    }
    paths.iter().for_each(|path| assert_eq!(read(&disk, path), b"whatever"));
}
