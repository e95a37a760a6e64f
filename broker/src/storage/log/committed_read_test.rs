//! Goal: who reads committed records is told of every aborted transaction with records in the bytes that it gets, whatever becomes of
//! their segments meanwhile. Method: on the fault file system, a thread that merges or compacts is stopped before each of its calls, and
//! a reader reads there, once while it stands still and once while it goes on under the reader's own calls; and what needs no second
//! thread (retention, a roll with all that may follow) is done as a whole within each call of a reader. What is read is held against
//! what was written.
//! Regression: names were read from the files of that moment, which the new segment's may be by then, or gone.

use std::cell::Cell;
use std::sync::Arc;
use std::thread::ThreadId;

use bytes::Bytes;
use ottla_protocol::records::{BatchBuilder, BatchFields, BatchView, HEADER_BYTES};
use parking_lot::{Condvar, Mutex};

use super::*;
use crate::storage::test_batch::marker;
use crate::storage::validated_batch::ValidatedBatch;
use crate::storage::vfs::{FaultVfs, Vfs};
use crate::storage::{CleanLimits, LogConfig, LogContext, OpenFiles, OpenMode, ProducerLimits, Unthrottled};
use crate::types::{LeaderEpoch, TopicPartition};

const DIR: &str = "/t-0";
const DAY_MS: i64 = 24 * 3_600_000;
const ABORTING: i64 = 7;
const COMMITTING: i64 = 8;
const LIMITS: CleanLimits = CleanLimits { map_bytes_max: 1 << 20, decompressed_bytes_max: 1 << 20 };

fn open(vfs: &FaultVfs, config: &LogConfig) -> Arc<Log> {
    let context = LogContext {
        open_files: OpenFiles::new(Arc::new(vfs.clone()), 1024),
        quarantine: "/quarantine".into(),
        producer_limits: ProducerLimits::default(),
    };
    let (partition, config) = (TopicPartition::new("t", 0), Arc::new(config.clone()));
    let log = Log::open(context, Path::new(DIR), partition, config, OpenMode::default(), 0).unwrap().0;
    log.flush().unwrap();
    log.update_high_watermark(log.offsets().log_end);
    log
}

fn append(log: &Log, producer_id: i64, sequence: i32, value: &str) {
    let mut builder = BatchBuilder::new();
    for key in ["a", "b"] {
        builder.append(1, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
    }
    let fields = BatchFields {
        producer_id,
        producer_epoch: 0,
        base_sequence: sequence,
        is_transactional: true,
        ..Default::default()
    };
    let bytes = builder.build(&fields).unwrap();
    let mut header = [0; HEADER_BYTES];
    header.copy_from_slice(&bytes[..HEADER_BYTES]);
    log.append(ValidatedBatch::new(header, bytes.slice(HEADER_BYTES..)), LeaderEpoch(1), 1).unwrap();
}

/// Transactions of two producers at the same time, which reach over several segments; the last of one aborts in the active one.
fn written() -> FaultVfs {
    let vfs = FaultVfs::new();
    vfs.create_dir(Path::new(DIR)).unwrap();
    let log = open(&vfs, &LogConfig { segment_bytes: 340, index_interval_bytes: 100, ..LogConfig::default() });
    for n in 0..6 {
        append(&log, ABORTING, 4 * n, "aborted");
        append(&log, COMMITTING, 2 * n, "committed");
        log.append(marker(COMMITTING, 0, true, 1), LeaderEpoch(1), 1).unwrap();
        append(&log, ABORTING, 4 * n + 2, "aborted");
        log.append(marker(ABORTING, 0, false, 1), LeaderEpoch(1), 1).unwrap();
    }
    assert!((8..12).contains(&log.segment_count()), "{}", log.segment_count());
    assert_ne!(log.segments.load().active.end().size_bytes, 0);
    log.flush().unwrap();
    vfs
}

/// What was read, and whether it is of an aborted transaction.
fn batches(read: &LogRead) -> Vec<(BatchView, bool)> {
    let bytes = read.slice.as_ref().map_or_else(Vec::new, |slice| slice.read().unwrap());
    let (mut rest, mut batches) = (Bytes::from(bytes), Vec::new());
    while !rest.is_empty() {
        let (batch, behind) = BatchView::split(&rest).unwrap();
        let is_aborted = !batch.is_control()
            && batch.records(1 << 20).unwrap().any(|record| record.unwrap().value.unwrap() == "aborted");
        batches.push((batch, is_aborted));
        rest = behind;
    }
    batches
}

/// Reads at most so much and checks what it is told; returns how many batches of aborted transactions there were.
fn read(log: &Log, from: Offset, max_bytes: usize, context: &str) -> usize {
    let read = match log.read_committed_to_send(from, max_bytes, log.offsets().log_end, true) {
        Ok(read) => read,
        Err(ReadError::OutOfRange { .. }) if log.offsets().log_start > from => return 0,
        Err(error) => panic!("{context}: {error}"),
    };
    let batches = batches(&read);
    assert!(!batches.is_empty(), "{context}");
    // A batch that compaction has emptied shows nothing.
    for (batch, is_aborted) in batches.iter().filter(|(batch, _)| batch.record_count() > 0) {
        let within = |txn: &AbortedTxn| {
            let offsets = txn.first_offset.0..=txn.last_offset.0;
            txn.producer_id.0 == batch.producer_id() && offsets.contains(&batch.base_offset())
        };
        let is_named = !batch.is_control() && read.aborted.iter().any(within);
        assert_eq!(is_named, *is_aborted, "{context}, {batch:?}: {:?}", read.aborted);
    }
    batches.iter().filter(|(_, is_aborted)| *is_aborted).count()
}

/// The first offset of each batch.
fn bases(log: &Log) -> Vec<Offset> {
    let (mut at, mut bases) = (Offset::ZERO, Vec::new());
    while at < log.offsets().log_end {
        let read = log.read(at, 1, log.offsets().log_end, true).unwrap();
        bases.push(at);
        at = Offset(batches(&read)[0].0.last_offset() + 1);
    }
    bases
}

/// Stops one thread before each of its calls, until it is let through.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    thread: Option<ThreadId>,
    /// The thread stands before a call.
    stands: bool,
    /// Nobody has to stop any more.
    is_open: bool,
    /// Calls that were let through.
    calls: usize,
    is_done: bool,
}

impl Gate {
    /// Before each call, of any thread.
    fn pass(&self) {
        let mut state = self.state.lock();
        if state.thread != Some(std::thread::current().id()) {
            return;
        }
        state.calls += 1;
        state.stands = !state.is_open;
        self.changed.notify_all();
        self.changed.wait_while(&mut state, |state| state.stands);
    }

    fn run(&self, work: impl FnOnce()) {
        self.state.lock().thread = Some(std::thread::current().id());
        let _done = Done(self);
        work();
    }

    /// Returns when the thread has taken so many calls and stands before the next one, or is done.
    fn let_through(&self, calls: usize) {
        let mut state = self.state.lock();
        let moves = |state: &mut GateState| !state.stands && !state.is_done;
        self.changed.wait_while(&mut state, moves);
        for _ in 0..calls {
            state.stands = false;
            self.changed.notify_all();
            self.changed.wait_while(&mut state, moves);
            if state.is_done {
                return;
            }
        }
    }

    /// Lets the thread through to its end, and returns when it is there.
    fn open(&self) {
        let mut state = self.state.lock();
        (state.is_open, state.stands) = (true, false);
        self.changed.notify_all();
        self.changed.wait_while(&mut state, |state| !state.is_done);
    }
}

/// Says that the thread is done also where it fails.
struct Done<'a>(&'a Gate);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.state.lock().is_done = true;
        self.0.changed.notify_all();
    }
}

/// Opens a gate also where a test fails.
struct Opened<'a>(&'a Gate);

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        (state.is_open, state.stands) = (true, false);
        self.0.changed.notify_all();
    }
}

/// How far the other thread goes meanwhile.
#[derive(Debug, Clone, Copy)]
enum Pace {
    Calls(usize),
    ToItsEnd,
}

/// When the other thread goes on under a reader.
#[derive(Debug, Clone, Copy)]
struct UnderReader {
    /// After so many of the reader's calls, and then before each of them.
    after: usize,
    pace: Pace,
}

thread_local! {
    static UNDER_READER: Cell<Option<UnderReader>> = const { Cell::new(None) };
}

/// A log whose other thread stands before a call. `read` is given the first offset of each batch.
fn at_stop(
    disk: &FaultVfs,
    config: &LogConfig,
    act: fn(&Log),
    stop: usize,
    read: impl FnOnce(&Log, &[Offset]),
) -> usize {
    let vfs = disk.killed();
    let log = open(&vfs, config);
    let bases = bases(&log);
    let gate = Arc::new(Gate::default());
    let hook = Arc::clone(&gate);
    vfs.before_each_call(move || match UNDER_READER.take() {
        None => hook.pass(),
        Some(under @ UnderReader { after: 0, pace }) => {
            match pace {
                Pace::Calls(calls) => hook.let_through(calls),
                Pace::ToItsEnd => hook.open(),
            }
            UNDER_READER.set(Some(under));
        }
        Some(UnderReader { after, pace }) => UNDER_READER.set(Some(UnderReader { after: after - 1, pace })),
    });
    std::thread::scope(|scope| {
        let _opened = Opened(&gate);
        scope.spawn(|| gate.run(|| act(&log)));
        gate.let_through(stop);
        read(&log, &bases);
    });
    let bases_left = bases.iter().filter(|base| **base >= log.offsets().log_start);
    for base in bases_left {
        self::read(&log, *base, 1, "at the end");
    }
    gate.state.lock().calls
}

/// Reads while the other thread goes on.
fn read_under(log: &Log, from: Offset, under: UnderReader, context: &str) -> usize {
    UNDER_READER.set(Some(under));
    let aborted = read(log, from, 1 << 20, &format!("{context}, from {from}, {under:?}"));
    UNDER_READER.set(None);
    aborted
}

/// Reads at every stop, and from one offset or the other while it goes on from there.
fn read_everywhere(config: &LogConfig, act: fn(&Log)) {
    let disk = written();
    let mut aborted = 0;
    let calls = at_stop(&disk, config, act, 0, |log, bases| {
        aborted = bases.iter().map(|base| read(log, *base, 1, "before")).sum();
    });
    assert!(calls > 30 && aborted == 12, "{calls} calls, {aborted} aborted batches");
    for stop in 0..=calls {
        let under = [(stop % 5, Pace::ToItsEnd), (0, Pace::Calls(1)), (0, Pace::Calls(4))];
        for (number, (after, pace)) in under.into_iter().enumerate() {
            let context = format!("stopped before call {stop}");
            at_stop(&disk, config, act, stop, |log, bases| {
                for base in bases {
                    read(log, *base, 1, &context);
                }
                let from = bases[(stop + 7 * number) % bases.len()];
                read_under(log, from, UnderReader { after, pace }, &context);
            });
        }
    }
}

fn compacted(segment_bytes: u32) -> LogConfig {
    LogConfig { compact: true, retention_ms: -1, segment_bytes, ..LogConfig::default() }
}

fn merge(log: &Log) {
    assert!(log.merge_segments(10, &Unthrottled).unwrap() > 4);
}

fn clean(log: &Log) {
    assert!(log.clean(Offset::ZERO, LIMITS, 10, &Unthrottled).unwrap().records_removed > 10);
}

/// Seals the segment that was active, and replaces it with the others.
fn seal_and_clean(log: &Log) {
    log.update_config(Arc::new(LogConfig { segment_ms: 0, ..compacted(1 << 20) }));
    append(log, COMMITTING, 12, "committed");
    log.append(marker(COMMITTING, 0, true, 1), LeaderEpoch(1), 1).unwrap();
    log.update_high_watermark(log.offsets().log_end);
    clean(log);
    log.clean(Offset::ZERO, LIMITS, 20 + 2 * DAY_MS, &Unthrottled).unwrap();
}

fn delete(log: &Log) {
    log.delete_records(Offset(log.offsets().log_end.0 * 2 / 3)).unwrap();
}

#[test]
fn what_is_merged_is_read_with_its_aborted_transactions_at_every_moment() {
    // Several merged segments take their places together.
    read_everywhere(&LogConfig { retention_ms: -1, segment_bytes: 1_000, ..LogConfig::default() }, merge);
}

#[test]
fn what_is_compacted_is_read_with_its_aborted_transactions_at_every_moment() {
    read_everywhere(&compacted(1_000), clean);
}

#[test]
fn whatever_happens_within_a_read_it_is_told_of_the_aborted_transactions_or_refused() {
    let disk = written();
    for act in [merge, clean, seal_and_clean, delete] {
        let mut reads = Vec::new();
        at_stop(&disk, &compacted(1 << 20), act, 0, |_, bases| reads = bases.to_vec());
        let mut aborted = 0;
        for from in reads {
            for after in 0..12 {
                at_stop(&disk, &compacted(1 << 20), act, 0, |log, _| {
                    aborted += read_under(log, from, UnderReader { after, pace: Pace::ToItsEnd }, "not begun");
                });
            }
        }
        assert!(aborted > 100, "{aborted} batches of aborted transactions");
    }
}
