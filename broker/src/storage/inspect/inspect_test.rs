//! Goal: whatever lies in a data directory, looking at it changes nothing and never panics; what recovery would cut or refuse
//! is found, and nothing else is; a repair leaves a sound directory, all sound records, and a copy of all that it changed.
//!
//! Method: a directory of three partitions on a file system in memory (several producers, transactions, several segments,
//! deleted records), closed cleanly, killed or after a power cut. Files are then damaged in all ways, by seed, and verify,
//! recovery and repair are held against each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::storage::batch_header::{BatchHeader, HEADER_BYTES};
use crate::storage::recovery::{OpenMode, RecoveryReport};
use crate::storage::test_batch::{TestBatch, marker};
use crate::storage::vfs::{Access, FaultVfs, Vfs, read_file, write_all_at};
use crate::storage::{
    AppendError, DataDir, Log, LogConfig, LogContext, LogManager, LogManagerConfig, LogToOpen, OpenFiles,
    ProducerLimits, ReadError, StorageError,
};
use crate::types::{LeaderEpoch, Offset, TopicPartition};

const DATA: &str = "/data";
const PARTITIONS: i32 = 3;
/// Files that are damaged, one after the other; each number is a seed.
const DAMAGES: u64 = 200;

fn config() -> LogConfig {
    LogConfig { segment_bytes: 1500, index_interval_bytes: 100, ..LogConfig::default() }
}

fn open(vfs: &FaultVfs) -> Result<Arc<LogManager>, StorageError> {
    let data_dir = DataDir::open(Arc::new(vfs.clone()), Path::new(DATA))?;
    let logs = (0..PARTITIONS)
        .map(|n| LogToOpen { topic_partition: TopicPartition::new("t", n), config: Arc::new(config()) })
        .collect();
    let config = LogManagerConfig { threads: 1, open_files_max: 8, producer_limits: ProducerLimits::default() };
    LogManager::open(data_dir, &config, logs, 0)
}

/// What a broker did up to its end; the manager still holds the lock.
fn used(vfs: &FaultVfs) -> Result<Arc<LogManager>, AppendError> {
    let manager = open(vfs)?;
    for partition in 0..PARTITIONS {
        let name = TopicPartition::new("t", partition);
        let log = manager.log(&name).ok_or(StorageError::LogMissing { log: name.to_string() })?;
        let mut sequences = BTreeMap::<i64, i32>::new();
        for n in 0..40i64 {
            let count = 1 + (n % 3) as usize;
            let mut batch = TestBatch::of(count, 60, 1_000 + n * 10);
            if n % 4 != 0 {
                let first = sequences.entry(n % 2).or_default();
                batch = batch.by_producer(n % 2, 0, *first);
                *first += count as i32;
            }
            let epoch = LeaderEpoch(1 + n as i32 / 15);
            log.append(batch.build(), epoch, n)?;
            if n % 10 == 3 {
                let first = sequences.entry(9).or_default();
                let batch = TestBatch::of(1, 20, 2_000).by_producer(9, 0, *first).in_transaction();
                *first += 1;
                log.append(batch.build(), epoch, n)?;
                log.append(marker(9, 0, n % 20 == 3, 2_001), epoch, n)?;
            }
            if n == 25 {
                manager.checkpoint()?;
            }
        }
        if partition == 1 {
            log.delete_records(Offset(30))?;
        }
        assert!(log.segment_count() > 2, "{}", log.segment_count());
    }
    Ok(manager)
}

fn closed() -> FaultVfs {
    let vfs = FaultVfs::new();
    used(&vfs).unwrap().close().unwrap();
    vfs.killed()
}

fn look(vfs: &FaultVfs) -> Folder {
    Folder::look(vfs, Path::new(DATA)).unwrap().unwrap()
}

fn verify(vfs: &FaultVfs) -> (Vec<PartitionReport>, Vec<Finding>) {
    let folder = look(vfs);
    let progress = Progress::default();
    let options = VerifyOptions { records: true };
    let reports = verify_partitions(vfs, &folder.partitions, options, 1, &progress);
    let reports: Vec<PartitionReport> = reports.into_iter().map(Result::unwrap).collect();
    let bytes: u64 = reports.iter().map(|report| report.bytes).sum();
    assert!(progress.bytes() <= bytes, "{} of {bytes}", progress.bytes());
    (reports, verify_checkpoints(vfs, &folder).unwrap())
}

fn findings(vfs: &FaultVfs) -> Vec<Finding> {
    let (reports, checkpoints) = verify(vfs);
    reports.into_iter().flat_map(|report| report.findings).chain(checkpoints).collect()
}

/// Every file below a folder.
fn files(vfs: &FaultVfs, dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in vfs.read_dir(dir).unwrap() {
        let path = dir.join(entry.name);
        match entry.is_dir {
            true => found.extend(files(vfs, &path)),
            false => {
                found.insert(path.clone(), read_file(vfs, &path, 1 << 24).unwrap().unwrap());
            }
        }
    }
    found
}

fn write(vfs: &FaultVfs, path: &Path, content: &[u8]) {
    let file = vfs.open(path, Access::CreateOrKeep).unwrap();
    file.set_len(0).unwrap();
    write_all_at(&*file, content, &[], 0).unwrap();
}

/// What recovery, trusting nothing, comes to with a partition.
fn recover(vfs: &FaultVfs, partition: &PartitionFolder) -> (Arc<Log>, RecoveryReport) {
    let context = LogContext {
        open_files: OpenFiles::new(Arc::new(vfs.clone()), 8),
        quarantine: Path::new(DATA).join("quarantine"),
        producer_limits: ProducerLimits::default(),
    };
    let OpenMode { recovery_point, log_start, .. } = partition.mode;
    let mode = OpenMode { clean: false, recovery_point: None, log_start, durable_end: recovery_point };
    Log::open(context, &partition.dir, partition.topic_partition.clone(), Arc::new(config()), mode, 0).unwrap()
}

/// The batches that can be read, by base offset, without the two fields that a broker writes.
fn readable(log: &Log) -> BTreeMap<i64, Vec<u8>> {
    let offsets = log.offsets();
    let mut found = BTreeMap::new();
    let mut at = offsets.log_start;
    while at < offsets.log_end {
        match log.read(at, 1, offsets.log_end, true) {
            Ok(read) => {
                let bytes = read.slice.expect("there is a batch at every offset").read().unwrap();
                let header = BatchHeader::parse(&bytes).unwrap();
                if header.record_count > 0 {
                    found.insert(header.base_offset.0, bytes);
                }
                at = header.next_offset();
            }
            Err(ReadError::Corrupt { to, .. }) => at = to,
            Err(error) => panic!("{error}"),
        }
    }
    found
}

#[test]
fn a_directory_that_was_closed_is_sound_and_is_not_changed_by_looking() {
    let vfs = closed();
    let before = files(&vfs, Path::new("/"));
    let calls = vfs.mutations();
    let (reports, checkpoints) = verify(&vfs);
    assert_eq!((vfs.mutations(), files(&vfs, Path::new("/"))), (calls, before));
    assert_eq!(checkpoints, []);
    for report in &reports {
        assert_eq!(report.findings, [], "{}", report.topic_partition);
        assert_eq!(
            (report.batches, report.records),
            (report.batches, report.log_end.0 as u64 - first_base(&vfs, report))
        );
    }
    assert_eq!(reports[1].log_start, Offset(30));
    let folder = look(&vfs);
    assert!(folder.was_clean && !folder.in_use);
    assert_eq!((folder.kind, folder.partitions.len()), (FolderKind::DataDir, PARTITIONS as usize));
}

fn first_base(vfs: &FaultVfs, report: &PartitionReport) -> u64 {
    let entries = vfs.read_dir(&Path::new(DATA).join(report.topic_partition.to_string())).unwrap();
    let bases = entries.iter().filter_map(|entry| match FileKind::of(Path::new(&entry.name)) {
        Some(FileKind::Segment(base)) => Some(base.0 as u64),
        _ => None,
    });
    bases.min().unwrap()
}

#[test]
fn a_broker_that_uses_the_directory_is_noticed_and_not_disturbed() {
    let vfs = FaultVfs::new();
    let manager = used(&vfs).unwrap();
    assert!(look(&vfs).in_use);
    let refused = repair(Arc::new(vfs.clone()), &look(&vfs), &[], RepairOptions::default(), 7).unwrap_err();
    assert!(matches!(refused, StorageError::DirectoryInUse { .. }), "{refused}");
    assert!(!vfs.exists(&Path::new(DATA).join("quarantine")).unwrap());
    manager.close().unwrap();
}

#[test]
fn a_partition_by_itself_is_recognized() {
    let vfs = closed();
    let folder = Folder::look(&vfs, Path::new("/data/t-1")).unwrap().unwrap();
    assert_eq!((folder.kind, folder.data_dir.as_path()), (FolderKind::Partition, Path::new(DATA)));
    assert_eq!(folder.partitions[0].topic_partition, TopicPartition::new("t", 1));
    assert_eq!(folder.partitions[0].mode.log_start, Some(Offset(30)));
    vfs.create_dir(Path::new("/other")).unwrap();
    assert!(Folder::look(&vfs, Path::new("/other")).unwrap().is_none());
    assert!(Folder::look(&vfs, Path::new("/nowhere")).is_err());
    assert!(Folder::look(&vfs, Path::new("/data/log-start-offset-checkpoint")).unwrap().is_none(), "a file");
}

#[test]
fn a_killed_broker_leaves_a_sound_directory() {
    let vfs = FaultVfs::new();
    let manager = used(&vfs).unwrap();
    assert_eq!(findings(&vfs.killed()), []);
    drop(manager);
}

/// Verify and recovery say the same about the batches of a disk.
fn agrees_with_recovery(vfs: &FaultVfs, context: &str) {
    let (reports, _) = verify(vfs);
    for (report, partition) in reports.iter().zip(&look(vfs).partitions) {
        let context = format!("{context}, {}: {:#?}", report.topic_partition, report.findings);
        let disk = vfs.killed();
        let (log, recovered) = recover(&disk, partition);
        let corrupt: Vec<_> = report.corrupt.iter().map(|damaged| damaged.range).collect();
        assert_eq!(corrupt, recovered.corrupt, "{context}");
        let moved_away = report.findings.iter().any(|finding| finding.remedy.contains("quarantine"));
        assert_eq!(moved_away, recovered.cut_bytes > 0, "{context}: {recovered:?}");
        let offsets = log.offsets();
        assert_eq!((report.log_start, report.log_end), (offsets.log_start, offsets.log_end), "{context}");
        let refused: i64 = recovered.corrupt.iter().map(|range| range.to.0 - range.from.0).sum();
        if report.is_sound() {
            assert!(refused == 0 && recovered.cut_bytes == 0, "{context}");
        }
    }
}

#[test]
fn verify_agrees_with_recovery_after_every_power_cut() {
    let whole = FaultVfs::new();
    drop(used(&whole).unwrap());
    for crash in (40..whole.mutations()).step_by(29) {
        let vfs = FaultVfs::new();
        vfs.crash_at_mutation(crash);
        let _stopped = used(&vfs);
        assert!(vfs.has_crashed());
        for seed in 0..2 {
            let disk = vfs.power_cut(seed);
            if look(&disk).partitions.len() == PARTITIONS as usize {
                agrees_with_recovery(&disk, &format!("power cut at {crash}, seed {seed}"));
            }
        }
    }
}

/// Damages the content of a file; returns what it did.
fn damage(random: &mut StdRng, content: &mut Vec<u8>) -> String {
    let len = content.len();
    if len == 0 {
        content.push(random.random());
        return "one byte more".to_owned();
    }
    let at = random.random_range(0..len);
    let count = random.random_range(1..=len - at);
    match random.random_range(0..6) {
        0 => {
            let bit = random.random_range(0..8);
            content[at] ^= 1 << bit;
            format!("bit {bit} of byte {at} flipped")
        }
        1 => {
            content[at..at + count].fill(0);
            format!("{count} bytes zeroed at {at}")
        }
        2 => {
            content.truncate(at);
            format!("cut at {at}")
        }
        3 => {
            random.fill(&mut content[at..at + count]);
            format!("{count} random bytes at {at}")
        }
        4 => {
            let part = content[at..at + count].to_vec();
            content.splice(at..at, part);
            format!("{count} bytes at {at} twice")
        }
        _ => {
            content.drain(at..at + count);
            format!("{count} bytes at {at} left out")
        }
    }
}

/// Reads a file by every function that takes files, whatever it is.
fn dump_everything(vfs: &FaultVfs, path: &Path) {
    let _any = (dump_offset_index(vfs, path), dump_time_index(vfs, path), dump_transaction_index(vfs, path));
    let _any = (dump_snapshot(vfs, path), dump_leader_epochs(vfs, path), dump_log_start(vfs, path));
    let _any = dump_checkpoint(vfs, path);
    if let Ok(reader) = SegmentReader::open(vfs, path) {
        let mut end = 0;
        for item in reader.items() {
            match item.unwrap() {
                SegmentItem::Batch(batch) => {
                    let _records = reader.records(&batch);
                    end = end.max(batch.position + u64::from(batch.size_bytes));
                }
                SegmentItem::Damage(damage) => end = end.max(damage.end_position),
            }
        }
        assert_eq!(end, reader.size_bytes(), "every byte is a batch or damage");
    }
}

/// All bytes that a repair took away are in the backup, and it names all files that it touched.
fn assert_kept(before: &BTreeMap<PathBuf, Vec<u8>>, vfs: &FaultVfs, report: &RepairReport, context: &str) {
    let after = files(vfs, Path::new(DATA));
    let copies: Vec<&Vec<u8>> =
        after.iter().filter(|(path, _)| path.starts_with(&report.backup)).map(|(_, copy)| copy).collect();
    for (path, old) in before.iter().filter(|(path, _)| !path.ends_with(".kafka_cleanshutdown")) {
        let new = after.get(path).map_or(&[][..], Vec::as_slice);
        if old == new {
            continue;
        }
        assert!(report.changed.contains(path), "{context}: {} was changed in silence", path.display());
        let is_kept = match path.extension().is_some_and(|extension| extension == "log") {
            true => segment_is_kept(old, new, &taken_out(path, &report.backup, &after), &copies),
            false => {
                let gone = bytes_gone(old, new);
                gone.is_empty() || copies.iter().any(|copy| copy.ends_with(gone))
            }
        };
        assert!(is_kept, "{context}: {} is lost", path.display());
    }
}

/// The end of a file that was cut, nothing of one that grew, all of one that was replaced or removed.
fn bytes_gone<'a>(old: &'a [u8], new: &[u8]) -> &'a [u8] {
    match old.strip_prefix(new) {
        Some(rest) => rest,
        None if new.starts_with(old) => &[],
        None => old,
    }
}

/// A segment is what it was, save that ranges were taken out, each kept and some with a batch without records in their
/// place, and that its end was cut off, and kept.
fn segment_is_kept(old: &[u8], new: &[u8], taken_out: &BTreeMap<usize, &[u8]>, copies: &[&Vec<u8>]) -> bool {
    let (mut in_old, mut in_new) = (0, 0);
    for (&position, kept) in taken_out {
        let unchanged = position - in_old;
        if old[in_old..position] != new[in_new..in_new + unchanged] || !old[position..].starts_with(kept) {
            return false;
        }
        in_old = position + kept.len();
        in_new += unchanged;
        if BatchHeader::parse(&new[in_new..]).is_some_and(|header| header.record_count == 0) {
            in_new += HEADER_BYTES;
        }
    }
    let (old, new) = (&old[in_old..], &new[in_new..]);
    let was_added = BatchHeader::parse(new.strip_prefix(old).unwrap_or_default());
    let is_filled_up =
        was_added.is_some_and(|header| header.record_count == 0 && new.len() == old.len() + HEADER_BYTES);
    is_filled_up || old.strip_prefix(new).is_some_and(|tail| tail.is_empty() || copies.iter().any(|copy| *copy == tail))
}

/// Where ranges were taken out of a segment, and what is kept of them.
fn taken_out<'a>(path: &Path, backup: &Path, after: &'a BTreeMap<PathBuf, Vec<u8>>) -> BTreeMap<usize, &'a [u8]> {
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let prefix = format!("{}.{}.", name(path.parent().unwrap()), name(path));
    let kept = after.iter().filter(|(copy, _)| copy.starts_with(backup));
    let position = |copy: &Path| name(copy).strip_prefix(&prefix)?.strip_suffix(".dropped")?.parse().ok();
    kept.filter_map(|(copy, bytes)| Some((position(copy)?, bytes.as_slice()))).collect()
}

#[test]
fn any_damage_is_found_and_repaired_with_a_copy_of_what_was_there() {
    let clean = closed();
    let sound: Vec<BTreeMap<i64, Vec<u8>>> =
        look(&clean).partitions.iter().map(|partition| readable(&recover(&clean.killed(), partition).0)).collect();
    let names: Vec<PathBuf> = files(&clean, Path::new(DATA)).into_keys().collect();
    for seed in 0..DAMAGES {
        let mut random = StdRng::seed_from_u64(seed);
        let vfs = clean.killed();
        let path = &names[random.random_range(0..names.len())];
        let mut content = read_file(&vfs, path, 1 << 20).unwrap().unwrap();
        let before = content.clone();
        let what = match random.random_range(0..8) {
            0 => {
                content.clear();
                vfs.remove_file(path).unwrap();
                "removed".to_owned()
            }
            _ => {
                let what = damage(&mut random, &mut content);
                write(&vfs, path, &content);
                what
            }
        };
        let context = format!("seed {seed}, {}: {what}", path.display());
        if vfs.exists(path).unwrap() {
            dump_everything(&vfs, path);
        }
        agrees_with_recovery(&vfs, &context);
        let found = findings(&vfs);
        if before != content && path.extension().is_some_and(|extension| extension == "log") {
            assert!(
                found.iter().any(|finding| finding.kind == FindingKind::Records) || shorter_tail(&before, &content),
                "{context}"
            );
        }
        let damaged = files(&vfs, Path::new(DATA));
        let (reports, _) = verify(&vfs);
        let folder = look(&vfs);
        let drop_damaged = random.random();
        let repaired = repair(Arc::new(vfs.clone()), &folder, &reports, RepairOptions { drop_damaged }, 7).unwrap();
        assert_kept(&damaged, &vfs, &repaired, &context);
        let left = findings(&vfs);
        let refused = left.iter().filter(|finding| finding.remedy.contains("CORRUPT_MESSAGE")).count();
        assert_eq!(left.len(), refused, "{context}: {left:#?}\nafter {found:#?}");
        assert!(refused == 0 || !drop_damaged, "{context}: {left:#?}");
        // Every record that is still there is one that was there, and none is gone that was not damaged.
        for ((partition, sound), report) in look(&vfs).partitions.iter().zip(&sound).zip(&reports) {
            let there = readable(&recover(&vfs.killed(), partition).0);
            for (offset, bytes) in &there {
                assert_eq!(Some(bytes), sound.get(offset), "{context}, {} at {offset}", partition.topic_partition);
            }
            if report.findings.iter().all(|finding| finding.kind == FindingKind::Cache)
                && !shorter_tail(&before, &content)
            {
                let kept = sound.keys().filter(|offset| **offset >= report.log_start.0).count();
                assert_eq!(there.keys().filter(|offset| **offset >= report.log_start.0).count(), kept, "{context}");
            }
        }
        assert_eq!(look(&vfs).was_clean, folder.was_clean, "{context}");
    }
}

#[test]
fn a_damaged_last_batch_is_no_torn_tail_where_it_was_on_the_disk_once() {
    let clean = closed();
    let partition = &look(&clean).partitions[0];
    let (end, sound) = (partition.mode.recovery_point.unwrap(), readable(&recover(&clean.killed(), partition).0));
    let names: Vec<PathBuf> = files(&clean, &partition.dir).into_keys().collect();
    let segments: Vec<&PathBuf> = names.iter().filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    let content = |path: &Path| read_file(&clean, path, 1 << 20).unwrap().unwrap();
    let last = segments[segments.len() - 1];
    let mut flipped = content(last);
    let last_byte = flipped.len() - 1;
    flipped[last_byte] ^= 1;
    let short = flipped[..last_byte].to_vec();
    // The segment with damage at its end, and those behind it that hold nothing sound, or are gone.
    let damages: [(&PathBuf, Option<Vec<u8>>, bool); 5] = [
        (last, Some(flipped), false),
        (last, Some(short), false),
        (last, Some(vec![0; 700]), false),
        (last, None, false),
        (segments[segments.len() - 2], Some(content(segments[segments.len() - 2])[..100].to_vec()), true),
    ];
    for (damaged, content, last_is_zeroed) in damages {
        for drop_damaged in [false, true] {
            let vfs = clean.killed();
            let context =
                format!("{}, {:?} bytes, drop {drop_damaged}", damaged.display(), content.as_ref().map(Vec::len));
            match &content {
                Some(content) => write(&vfs, damaged, content),
                None => vfs.remove_file(damaged).unwrap(),
            }
            if last_is_zeroed {
                write(&vfs, last, &[0; 300]);
            }
            let before = files(&vfs, Path::new(DATA));
            let (reports, _) = verify(&vfs);
            let refused: Vec<&Finding> = reports[0].findings.iter().filter(|finding| finding.is_refused()).collect();
            assert_eq!(refused.len(), 1, "{context}: {:#?}", reports[0].findings);
            assert_eq!((reports[0].log_end, refused[0].offsets.unwrap().1), (end, end), "{context}");
            let options = RepairOptions { drop_damaged };
            let report = repair(Arc::new(vfs.clone()), &look(&vfs), &reports, options, 7).unwrap();
            assert_eq!(report.dropped, usize::from(drop_damaged), "{context}");
            if !last_is_zeroed {
                assert_kept(&before, &vfs, &report, &context);
            }
            let left = findings(&vfs);
            assert_eq!(left.len(), usize::from(!drop_damaged), "{context}: {left:#?}");
            // A start appends behind the damage, and what was sound is read.
            let manager = open(&vfs).unwrap();
            let log = manager.log(&partition.topic_partition).unwrap();
            assert_eq!(log.offsets().log_end, end, "{context}");
            let there = readable(&log);
            assert!(
                !there.is_empty() && there.iter().all(|(offset, bytes)| sound.get(offset) == Some(bytes)),
                "{context}"
            );
            let first_lost = refused[0].offsets.unwrap().0;
            assert!(sound.keys().all(|offset| there.contains_key(offset) == (*offset < first_lost.0)), "{context}");
            let outcome = log.append(TestBatch::of(1, 60, 5_000).build(), LeaderEpoch(9), 5_000).unwrap();
            assert_eq!(outcome.base_offset, end, "{context}");
            manager.close().unwrap();
            assert_eq!(findings(&vfs).len(), usize::from(!drop_damaged), "{context}, after a start");
        }
    }
}

#[test]
fn a_partition_whose_segments_are_all_gone_is_told_and_repaired_behind_them() {
    let clean = closed();
    let partition = &look(&clean).partitions[1];
    let end = partition.mode.recovery_point.unwrap();
    let gone: Vec<PathBuf> =
        files(&clean, &partition.dir).into_keys().filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    gone.iter().for_each(|path| clean.remove_file(path).unwrap());
    agrees_with_recovery(&clean, "all segments gone");
    let (reports, _) = verify(&clean);
    let told = reports[1].findings.iter().find(|finding| finding.what.contains("all segments are gone")).unwrap();
    assert_eq!((told.offsets, reports[1].log_end), (Some((Offset(30), end)), end));
    repair(Arc::new(clean.clone()), &look(&clean), &reports, RepairOptions::default(), 7).unwrap();
    assert_eq!(findings(&clean), []);
    let log = open(&clean).unwrap().log(&partition.topic_partition).unwrap();
    assert_eq!((log.offsets().log_start, log.offsets().log_end), (end, end));
}

/// A log that ends after a whole batch looks like any other, if nothing says where it ended.
fn shorter_tail(before: &[u8], after: &[u8]) -> bool {
    before.starts_with(after)
}
