//! Goal: a torn tail is cut, damage is kept and refused for exactly its offsets, caches are rebuilt, and nothing unreadable
//! is ever unlinked. Method: a log of several segments on real files, one edit of a file, and a look at every offset.

use std::collections::BTreeMap;
use std::fs;

use super::*;
use crate::storage::test_batch::TestBatch;
use crate::storage::vfs::RealVfs;
use crate::storage::{Log, LogOffsets, OpenFiles, ProducerLimits, ReadError};

const CLEAN: OpenMode = OpenMode { clean: true, recovery_point: None, log_start: None };
const KILLED: OpenMode = OpenMode { clean: false, recovery_point: None, log_start: None };

struct Fixture {
    dir: tempfile::TempDir,
    /// Batches by base offset: last offset, segment file, position, bytes.
    batches: BTreeMap<i64, (i64, PathBuf, u64, Vec<u8>)>,
    end: Offset,
}

/// A log of five segments of three to four batches, closed cleanly.
fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("t-0")).unwrap();
    let mut fixture = Fixture { dir, batches: BTreeMap::new(), end: Offset(0) };
    let log = fixture.open(KILLED).0;
    for n in 0..17i64 {
        let batch = TestBatch::of(1 + n as usize % 3, 150, 1000 + n).by_producer(n % 2, 0, 0);
        let batch = TestBatch { producer: None, ..batch };
        let outcome = log.append(batch.build(), LeaderEpoch(n as i32 / 6), 0).unwrap();
        fixture.batches.insert(outcome.base_offset.0, (outcome.last_offset.0, PathBuf::new(), 0, Vec::new()));
    }
    fixture.end = log.close().unwrap();
    assert!(log.segment_count() >= 4);
    let mut logs: Vec<_> = fs::read_dir(fixture.log_dir()).unwrap().map(|e| e.unwrap().path()).collect();
    logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    for path in logs {
        let bytes = fs::read(&path).unwrap();
        let mut at = 0;
        while at < bytes.len() {
            let header = crate::storage::batch_header::BatchHeader::parse(&bytes[at..]).unwrap();
            let end = at + header.size_bytes as usize;
            let entry = fixture.batches.get_mut(&header.base_offset.0).unwrap();
            (entry.1, entry.2, entry.3) = (path.clone(), at as u64, bytes[at..end].to_vec());
            at = end;
        }
    }
    fixture
}

impl Fixture {
    fn log_dir(&self) -> PathBuf {
        self.dir.path().join("t-0")
    }

    fn open(&self, mode: OpenMode) -> (Arc<Log>, RecoveryReport) {
        let context = LogContext {
            open_files: OpenFiles::new(Arc::new(RealVfs), 4),
            quarantine: self.dir.path().join("quarantine"),
            producer_limits: ProducerLimits::default(),
        };
        let config = LogConfig { segment_bytes: 1800, index_interval_bytes: 100, ..LogConfig::default() };
        Log::open(context, &self.log_dir(), TopicPartition::new("t", 0), Arc::new(config), mode, 0).unwrap()
    }

    /// Every file of the log with its bytes.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let paths = fs::read_dir(self.log_dir()).unwrap().map(|e| e.unwrap().path());
        paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    fn restore(&self, files: &BTreeMap<PathBuf, Vec<u8>>) {
        fs::remove_dir_all(self.log_dir()).unwrap();
        fs::create_dir(self.log_dir()).unwrap();
        files.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
        let _there_may_be_none = fs::remove_dir_all(self.dir.path().join("quarantine"));
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

    fn kept_bytes(&self) -> u64 {
        let quarantine = self.dir.path().join("quarantine");
        let there = fs::read_dir(quarantine).into_iter().flatten().map(|e| e.unwrap().metadata().unwrap().len());
        there.sum()
    }
}

#[test]
fn one_flipped_bit_costs_the_batch_that_it_is_in_and_nothing_else() {
    let fixture = fixture();
    let files = fixture.files();
    let victims: Vec<i64> = fixture.batches.keys().copied().collect();
    // The last batch of all may be taken for a torn tail; every other one has good ones behind it.
    for base in &victims[..victims.len() - 1] {
        let (_, path, position, bytes) = &fixture.batches[base];
        // Base offset, length, epoch, magic, CRC, and what the CRC covers.
        for byte in [0, 5, 7, 8, 10, 11, 12, 14, 15, 16, 17, 21, 25, 26, 40, 57, 61, bytes.len() - 1] {
            for bit in [0, 6] {
                let mut edited = files[path].clone();
                edited[*position as usize + byte] ^= 1 << bit;
                fs::write(path, &edited).unwrap();
                for mode in [KILLED, CLEAN] {
                    let context = format!("bit {bit} of byte {byte} of the batch at {base}, {mode:?}");
                    let (log, report) = fixture.open(mode);
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
                    drop(log);
                    fixture.restore(&files);
                    fs::write(path, &edited).unwrap();
                }
                fixture.restore(&files);
            }
        }
    }
}

#[test]
fn a_torn_tail_is_cut_and_kept_in_quarantine() {
    let fixture = fixture();
    let files = fixture.files();
    let (base, (_, path, position, bytes)) = fixture.batches.iter().next_back().unwrap();
    for kept in [1, 30, 60, 61, bytes.len() - 2] {
        for zeros in [0, 5000] {
            let mut edited = files[path][..*position as usize + kept].to_vec();
            edited.resize(edited.len() + zeros, 0);
            fs::write(path, &edited).unwrap();
            let (log, report) = fixture.open(KILLED);
            assert_eq!(log.offsets().log_end, Offset(*base), "{kept} bytes kept");
            assert_eq!((report.cut_bytes, report.corrupt.len()), ((kept + zeros) as u64, 0));
            assert_eq!(fixture.kept_bytes(), (kept + zeros) as u64);
            log.append(TestBatch::of(1, 9, 0).build(), LeaderEpoch(99), 0).unwrap();
            drop(log);
            let again = fixture.open(KILLED);
            assert_eq!((again.1.cut_bytes, again.0.offsets().log_end), (0, Offset(base + 1)));
            fixture.restore(&files);
        }
    }
}

#[test]
fn zeroed_pages_and_a_batch_from_elsewhere_are_damage_where_they_are() {
    let fixture = fixture();
    let files = fixture.files();
    let bases: Vec<i64> = fixture.batches.keys().copied().collect();
    for pair in bases.windows(2) {
        let (_, path, position, bytes) = &fixture.batches[&pair[0]];
        let mut zeroed = files[path].clone();
        zeroed[*position as usize..*position as usize + bytes.len()].fill(0);
        // The same size, other offsets: what a misdirected write leaves.
        let mut moved = files[path].clone();
        let donor = fixture.batches.iter().find(|(base, b)| **base != pair[0] && b.3.len() == bytes.len());
        moved[*position as usize..*position as usize + bytes.len()].copy_from_slice(&donor.unwrap().1.3);
        for edited in [zeroed, moved] {
            fs::write(path, &edited).unwrap();
            for mode in [KILLED, CLEAN] {
                let (log, report) = fixture.open(mode);
                assert_eq!((report.cut_bytes, log.offsets().log_end), (0, fixture.end));
                fixture.check_reads(&log, &pair[..1], &format!("{pair:?} {mode:?}"));
            }
        }
        fixture.restore(&files);
    }
}

#[test]
fn caches_that_are_gone_or_wrong_are_rebuilt() {
    let fixture = fixture();
    let files = fixture.files();
    let caches: Vec<&PathBuf> = files.keys().filter(|path| path.extension().is_none_or(|e| e != "log")).collect();
    assert!(caches.len() >= 12, "{caches:?}");
    let largest = |log: &Log| log.max_timestamp_offset().unwrap().map(|found| (found.timestamp, found.offset));
    let by_time = |log: &Log| -> Vec<_> { (990..1030).map(|t| log.offset_for_timestamp(t).unwrap()).collect() };
    let (log, _) = fixture.open(CLEAN);
    let expected = (largest(&log), by_time(&log));
    drop(log);
    for cache in caches {
        let good = &files[cache];
        let flips = (0..good.len()).step_by(3).map(|at| {
            let mut bytes = good.clone();
            bytes[at] ^= 0x10;
            Some(bytes)
        });
        let truncated = good.len().saturating_sub(5);
        let edits = flips.chain([None, Some(vec![0; good.len()]), Some(Vec::new()), Some(good[..truncated].to_vec())]);
        for (n, edit) in edits.enumerate() {
            for mode in [KILLED, CLEAN] {
                match &edit {
                    Some(bytes) => fs::write(cache, bytes).unwrap(),
                    None => fs::remove_file(cache).unwrap(),
                }
                let context = format!("edit {n} of {}, {mode:?}", cache.display());
                let (log, report) = fixture.open(mode);
                assert_eq!((report.cut_bytes, report.corrupt.len()), (0, 0), "{context}");
                fixture.check_reads(&log, &[], &context);
                assert_eq!((largest(&log), by_time(&log)), expected, "{context}");
                assert_eq!(
                    log.offsets(),
                    LogOffsets { log_start: Offset(0), log_end: fixture.end, flushed: fixture.end }
                );
                drop(log);
                fixture.restore(&files);
            }
        }
    }
}

#[test]
fn lost_segments_cost_only_their_own_offsets() {
    let fixture = fixture();
    let files = fixture.files();
    let mut logs: Vec<&PathBuf> = files.keys().filter(|p| p.extension().is_some_and(|e| e == "log")).collect();
    logs.sort();
    for path in &logs[1..logs.len() - 1] {
        fs::remove_file(path).unwrap();
        for mode in [KILLED, CLEAN] {
            let (log, _) = fixture.open(mode);
            assert_eq!(log.offsets().log_end, fixture.end);
            let gone: Vec<i64> = fixture.batches.iter().filter(|(_, b)| b.1 == **path).map(|(base, _)| *base).collect();
            fixture.check_reads(&log, &gone, &format!("{} is gone, {mode:?}", path.display()));
        }
        fixture.restore(&files);
    }
    // The last one, and garbage in its place: nothing valid lies behind, so the log ends before it, and the garbage is kept.
    let last = logs[logs.len() - 1];
    fs::write(last, vec![0xa5; 777]).unwrap();
    let (log, report) = fixture.open(KILLED);
    let base = fixture.batches.iter().find(|(_, batch)| batch.1 == *last).map(|(base, _)| *base);
    assert_eq!((Some(log.offsets().log_end.0), report.cut_bytes, fixture.kept_bytes()), (base, 777, 777));
}

#[test]
fn stray_files_are_left_alone() {
    let fixture = fixture();
    let stray = ["00000000000000000003.log.swap", "notes.txt", "00000000000000000003.log.cleaned", "3.log"];
    stray.iter().for_each(|name| fs::write(fixture.log_dir().join(name), "whatever").unwrap());
    for mode in [KILLED, CLEAN] {
        let (log, _) = fixture.open(mode);
        fixture.check_reads(&log, &[], "stray files");
    }
    stray.iter().for_each(|name| assert!(fixture.log_dir().join(name).exists()));
}
