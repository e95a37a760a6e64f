//! Goal: what happens to a log while it is compacted survives a stop at any operation: appends that roll, checkpoints, deleted records,
//! a merge that takes the compaction's segments away, and the deletion of its topic, whose name another one gets at once.
//!
//! Method: what asks for the pace of a compaction does these things at given moments of it, so that each run is the same. The
//! script is run again for each of its operations on the file system with the machine stopping there; then the disk is
//! opened after a kill and after a power cut.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::*;
use crate::storage::throttle::Throttle;

/// Something that is done at a moment of a compaction: when so many batches were read or written.
type Beside<'a> = (usize, Box<dyn Fn(&mut Written) + Sync + 'a>);

/// Lets everything pass until the log is closed, as the cleaner does, and does other things beside.
struct Meanwhile<'a> {
    log: &'a Log,
    passes: AtomicUsize,
    written: Mutex<&'a mut Written>,
    beside: Vec<Beside<'a>>,
}

impl Throttle for Meanwhile<'_> {
    fn pass(&self, _bytes: u64) -> Result<(), StorageError> {
        if self.log.is_closed() {
            return Err(StorageError::Stopped);
        }
        let at = self.passes.fetch_add(1, Ordering::Relaxed);
        for (_, act) in self.beside.iter().filter(|(when, _)| *when == at) {
            act(&mut self.written.lock());
        }
        Ok(())
    }
}

/// Compacts, and does these things meanwhile. Returns how many moments there were.
fn clean_beside<'a>(
    log: &'a Log,
    written: &'a mut Written,
    from: &mut Offset,
    now_ms: i64,
    beside: Vec<Beside<'a>>,
) -> usize {
    let meanwhile = Meanwhile { log, passes: AtomicUsize::new(0), written: Mutex::new(written), beside };
    let cleaned = log.clean(*from, LIMITS, now_ms, &meanwhile);
    let mut written = meanwhile.written.lock();
    if let Ok(report) = cleaned {
        *from = report.cleaned_up_to;
        written.records_removed += report.records_removed;
    }
    written.flushed = written.flushed.max(log.offsets().flushed.0);
    drop(written);
    meanwhile.passes.into_inner()
}

fn append_all(log: &Log, written: &mut Written, batches: std::ops::Range<i64>) {
    batches.for_each(|n| append(log, written, n));
}

fn delete(log: &Log, written: &mut Written, before: i64) {
    written.maybe_deleted = written.maybe_deleted.max(before);
    if let Ok(start) = log.delete_records(Offset(before)) {
        written.deleted = written.deleted.max(start.0);
    }
}

fn flush(log: &Log, written: &mut Written) {
    if let Ok(flushed) = log.flush() {
        written.flushed = flushed.0;
    }
}

/// What the script is to have done, so that its moments are where they seem to be.
#[derive(Debug, Default)]
struct Done {
    rolls: AtomicUsize,
    merged: AtomicUsize,
    /// Segments that the deletion of records took away.
    removed: AtomicUsize,
    moments: Vec<usize>,
}

fn run_beside(vfs: &FaultVfs, written: &mut Written, done: &mut Done) -> Result<(), StorageError> {
    create_folder(vfs, Path::new(DATA))?;
    create_folder(vfs, &log_dir())?;
    let manager = open(vfs)?;
    let Some(log) = the_log(&manager) else { return Ok(()) };
    let mut from = Offset::ZERO;
    append_all(&log, written, 0..40);
    let roll = |written: &mut Written, batches| {
        let before = log.segment_count();
        append_all(&log, written, batches);
        done.rolls.fetch_add(log.segment_count() - before, Ordering::Relaxed);
    };
    let delete = |written: &mut Written, before| {
        let segments = log.segment_count();
        delete(&log, written, before);
        done.removed.fetch_add(segments - log.segment_count(), Ordering::Relaxed);
    };
    let merge = || {
        // As if the topic had been given larger segments.
        let config = log.config();
        log.update_config(Arc::new(LogConfig { segment_bytes: 3_600, ..LogConfig::clone(&config) }));
        let merged = log.merge_segments(1_000, &Unthrottled);
        log.update_config(config);
        done.merged.fetch_add(merged.unwrap_or(0), Ordering::Relaxed);
    };
    let first: Vec<Beside<'_>> = vec![
        (5, Box::new(|written| roll(written, 40..52))),
        (20, Box::new(|_| drop(manager.checkpoint()))),
        (55, Box::new(|written| delete(written, 50))),
        (58, Box::new(|written| roll(written, 52..64))),
        (60, Box::new(|written| flush(&log, written))),
    ];
    let moments = clean_beside(&log, written, &mut from, 1_000, first);
    append_all(&log, written, 64..80);
    let second: Vec<Beside<'_>> = vec![(10, Box::new(|_| merge())), (40, Box::new(|written| roll(written, 80..92)))];
    let more = clean_beside(&log, written, &mut from, 1_001 + DAY_MS, second);
    clean(&log, written, &mut from, 1_002 + 2 * DAY_MS);
    done.moments = vec![moments, more];
    Ok(())
}

#[test]
fn what_is_done_beside_a_compaction_survives_a_stop_at_every_operation() {
    let whole = FaultVfs::new();
    let (mut written, mut done) = (Written::default(), Done::default());
    run_beside(&whole, &mut written, &mut done).unwrap();
    let is_late = done.moments[0] > 60 && done.moments[1] > 40;
    let Done { rolls, merged, removed, .. } = &done;
    let is_done = rolls.load(Ordering::Relaxed) >= 3
        && merged.load(Ordering::Relaxed) >= 1
        && removed.load(Ordering::Relaxed) >= 2;
    assert!(is_late && is_done && written.records_removed > 50, "{done:?}, {} removed", written.records_removed);
    for crash in 1..=whole.mutations() + 1 {
        let vfs = FaultVfs::new();
        vfs.crash_at_mutation(crash);
        let mut written = Written::default();
        let _stopped = run_beside(&vfs, &mut written, &mut Done::default());
        check_disk(&vfs.killed(), &written, &format!("killed at {crash}"));
        check_disk(&vfs.power_cut(crash), &written, &format!("power cut at {crash}"));
    }
}

/// How far the deletion of a topic is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Deletion {
    #[default]
    NotBegun,
    /// Its log is closed, and its folder may be renamed.
    Begun,
    /// Its folder is durable under another name, and another topic may have one of its own.
    Renamed,
}

/// What the metadata does to a topic that is deleted, and then to one that is given the same name at once.
fn delete_and_create(
    vfs: &FaultVfs,
    manager: &LogManager,
    old: &Arc<Log>,
    written: &mut Written,
    deletion: &mut Deletion,
) -> Result<(), StorageError> {
    *deletion = Deletion::Begun;
    manager.abandon([old]);
    let renamed = Path::new(DATA).join(format!("t-0.{:032x}-delete", 7));
    vfs.rename(&log_dir(), &renamed).map_err(StorageError::io("rename", &renamed))?;
    vfs.sync_dir(Path::new(DATA)).map_err(StorageError::io("sync", Path::new(DATA)))?;
    *deletion = Deletion::Renamed;
    create_folder(vfs, &log_dir())?;
    let log = manager.open_new(&[to_open()], 0).remove(0)?;
    append_all(&log, written, 0..14);
    flush(&log, written);
    // The segments of the other one had these names.
    delete(&log, written, 3);
    Ok(())
}

/// Returns the number of the first operation of the deletion.
fn run_deletion(
    vfs: &FaultVfs,
    when: usize,
    [old, new]: &mut [Written; 2],
    deletion: &mut Deletion,
) -> Result<u64, StorageError> {
    create_folder(vfs, Path::new(DATA))?;
    create_folder(vfs, &log_dir())?;
    let manager = open(vfs)?;
    let Some(log) = the_log(&manager) else { return Ok(0) };
    append_all(&log, old, 0..40);
    flush(&log, old);
    let _failure_is_a_case = manager.checkpoint();
    let began = AtomicU64::new(0);
    let beside = Mutex::new((&mut *new, deletion));
    let delete: Vec<Beside<'_>> = vec![(
        when,
        Box::new(|_| {
            began.store(vfs.mutations() + 1, Ordering::Relaxed);
            let (new, deletion) = &mut *beside.lock();
            let _failure_is_a_case = delete_and_create(vfs, &manager, &log, new, deletion);
        }),
    )];
    clean_beside(&log, old, &mut Offset::ZERO.clone(), 1_000, delete);
    if let Some(log) = the_log(&manager).filter(|_| !vfs.has_crashed()) {
        check(&log, new, &format!("deleted at {when}"));
    }
    Ok(began.into_inner())
}

#[test]
fn a_topic_deleted_in_the_middle_of_a_compaction_leaves_nothing_in_the_next_one_of_its_name() {
    for when in (2..66).step_by(7) {
        let whole = FaultVfs::new();
        let (mut written, mut deletion) = (<[Written; 2]>::default(), Deletion::default());
        let began = run_deletion(&whole, when, &mut written, &mut deletion).unwrap();
        assert!(began > 0 && deletion == Deletion::Renamed, "deleted at {when}");
        for crash in began..=whole.mutations() + 1 {
            let vfs = FaultVfs::new();
            vfs.crash_at_mutation(crash);
            let (mut written, mut deletion) = (<[Written; 2]>::default(), Deletion::default());
            let _stopped = run_deletion(&vfs, when, &mut written, &mut deletion);
            let is_there = |disk: &FaultVfs| disk.exists(&log_dir()).unwrap();
            for (disk, how) in [(vfs.killed(), "killed"), (vfs.power_cut(crash), "power cut")] {
                let context = format!("deleted at {when}, {how} at {crash}");
                match deletion {
                    Deletion::Renamed => check_disk(&disk, &written[1], &context),
                    // The start renames it.
                    _ if is_there(&disk) => check_disk(&disk, &written[0], &context),
                    _ => assert_eq!(deletion, Deletion::Begun, "{context}"),
                }
            }
        }
    }
}
