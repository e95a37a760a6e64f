//! The operations, and what each does to the model.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::records::{BatchBuilder, BatchFields, Compression, HEADER_BYTES};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::check;
use super::model::{DELETE_RETENTION_MS, Event, Model, ModelBatch, ModelRecord};
use crate::storage::test_batch::marker;
use crate::storage::vfs::{Access, Fault, FaultVfs, Vfs, read_file, write_all_at};
use crate::storage::{
    AppendError, CleanLimits, DataDir, Log, LogConfig, LogManager, LogManagerConfig, LogToOpen, ProducerLimits,
    ProducerStateError, StorageError, Unthrottled, ValidatedBatch,
};
use crate::types::{LeaderEpoch, Offset, ProducerId, TopicPartition};

const DATA: &str = "/data";
const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
/// Producers that are idempotent, and those that are transactional.
const IDEMPOTENT: [i64; 3] = [1, 2, 3];
const TRANSACTIONAL: [i64; 2] = [10, 11];
const KEYS: u64 = 12;
const RETENTION_MS: i64 = 60_000;
const SEGMENT_MS: i64 = 20_000;
/// How far most timestamps are from the time of the append.
const TIMESTAMP_SPREAD_MS: i64 = 400;

/// Runs so many random operations of one seed.
pub(super) fn run(seed: u64, steps: usize) {
    let _told_if_it_fails = Announcement { seed };
    let mut world = World::new(seed);
    for step in 0..steps {
        world.step(step);
    }
    world.context = format!("seed {seed}, at the end");
    world.restart_if_well(Restart::Clean);
}

struct Announcement {
    seed: u64,
}

impl Drop for Announcement {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("OTTLA_MODEL_SEED={} shows it again", self.seed);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Restart {
    Clean,
    Killed,
    PowerCut,
}

struct World {
    random: StdRng,
    vfs: FaultVfs,
    manager: Arc<LogManager>,
    model: Model,
    config: LogConfig,
    leader_epoch: i32,
    cleaned_up_to: Offset,
    /// A crash or an error may come at any call.
    is_doomed: bool,
    /// The start of the log after an operation of unknown outcome is at most this.
    log_start_max: i64,
    /// A compaction may have taken records since the last check.
    was_compacted: bool,
    context: String,
    seed: u64,
}

fn name() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn open(vfs: &FaultVfs, config: &LogConfig) -> Result<Arc<LogManager>, StorageError> {
    let data_dir = DataDir::open(Arc::new(vfs.clone()), Path::new(DATA))?;
    // In one half of the worlds two segments are replaced at once and files make room for each other, in the other half five.
    let open_files_max = if config.segment_bytes.is_multiple_of(2) { 6 } else { 120 };
    let manager_config = LogManagerConfig { threads: 1, open_files_max, producer_limits: ProducerLimits::default() };
    let log = LogToOpen { topic_partition: name(), config: Arc::new(config.clone()) };
    LogManager::open(data_dir, &manager_config, vec![log], 0)
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = StdRng::seed_from_u64(seed);
        let compact: bool = random.random();
        // Not by the random numbers: seeds that failed once go on as they did.
        let deletes = !compact || seed % 4 == 3;
        let config = LogConfig {
            segment_bytes: random.random_range(1_500..4_000),
            segment_ms: SEGMENT_MS,
            index_interval_bytes: random.random_range(0..600),
            retention_ms: if deletes { RETENTION_MS } else { -1 },
            retention_bytes: if random.random_range(0..3) == 0 && !compact { 12_000 } else { -1 },
            compact,
            delete_retention_ms: DELETE_RETENTION_MS,
            ..LogConfig::default()
        };
        let vfs = FaultVfs::new();
        // What the metadata does for a new partition.
        for dir in [Path::new(DATA), &Path::new(DATA).join("t-0")] {
            vfs.create_dir(dir).unwrap();
            vfs.sync_dir(dir.parent().unwrap()).unwrap();
        }
        let manager = open(&vfs, &config).unwrap();
        World {
            random,
            vfs,
            manager,
            model: Model { now_ms: 1_000_000, ..Model::default() },
            config,
            leader_epoch: 1,
            cleaned_up_to: Offset::ZERO,
            is_doomed: false,
            log_start_max: 0,
            was_compacted: false,
            context: String::new(),
            seed,
        }
    }

    fn log(&self) -> Arc<Log> {
        self.manager.log(&name()).unwrap_or_else(|| panic!("the log is offline, {}", self.context))
    }

    fn one_in(&mut self, bound: u32) -> bool {
        self.random.random_range(0..bound) == 0
    }

    fn step(&mut self, step: usize) {
        self.model.now_ms += self.random.random_range(0..1_500);
        self.vfs.set_now_ms(self.model.now_ms);
        let choice = self.random.random_range(0..100);
        let (what, done) = match choice {
            0..48 => ("append", self.append()),
            48..53 => ("repeat", self.repeat()),
            53..55 => ("gap", self.gap()),
            55..60 => ("end of a transaction", self.end_transaction()),
            60..68 => ("flush", self.flush()),
            68..71 => ("checkpoint", self.manager.checkpoint()),
            71..74 => ("delete records", self.delete_records()),
            74..77 => ("retention", self.retention()),
            77..81 => ("compaction", self.compact()),
            81..85 => ("merge", self.log().merge_segments(self.model.now_ms, &Unthrottled).map(drop)),
            85..88 => {
                self.model.now_ms += 15_000;
                ("time passes", Ok(()))
            }
            88..91 => {
                self.disturb();
                ("a call is interrupted or comes short", Ok(()))
            }
            91..93 => {
                self.doom();
                ("doom", Ok(()))
            }
            93..95 => {
                self.restart_if_well(Restart::Clean);
                ("clean restart", Ok(()))
            }
            95..97 => {
                self.restart(Restart::Killed);
                ("kill", Ok(()))
            }
            _ => {
                self.restart(Restart::PowerCut);
                ("power cut", Ok(()))
            }
        };
        self.context = format!("seed {}, step {step}, {what}", self.seed);
        match done {
            Ok(()) if self.vfs.has_crashed() => self.restart(Restart::PowerCut),
            Ok(()) => {}
            Err(error) => {
                assert!(self.is_doomed, "{error}, {}", self.context);
                let how = if self.vfs.has_crashed() || self.one_in(2) { Restart::PowerCut } else { Restart::Killed };
                self.restart(how);
            }
        }
        let log = self.log();
        println!("{}: {:?}, {} segments", self.context, log.offsets(), log.segment_count());
        log.update_high_watermark(log.offsets().log_end);
        check::offsets(&log, &self.model, &self.context);
        if !self.is_doomed && (step.is_multiple_of(8) || matches!(choice, 71..91)) {
            check::check(&log, &mut self.model, std::mem::take(&mut self.was_compacted), &self.context);
        }
    }

    /// From now on the machine stops, or a call fails, within the next operations.
    fn doom(&mut self) {
        self.is_doomed = true;
        match self.one_in(2) {
            true => self.vfs.crash_at_mutation(self.vfs.mutations() + self.random.random_range(1..40)),
            false => {
                let fault = if self.one_in(2) { Fault::IoError } else { Fault::NoSpace };
                self.vfs.fail_call(self.vfs.calls() + self.random.random_range(1..80), fault);
            }
        }
    }

    /// What has to be invisible.
    fn disturb(&mut self) {
        for _ in 0..self.random.random_range(1..6) {
            let fault = if self.one_in(2) { Fault::Short } else { Fault::Interrupted };
            self.vfs.fail_call(self.vfs.calls() + self.random.random_range(1..60), fault);
        }
    }

    fn timestamp(&mut self) -> i64 {
        match self.random.random_range(0..40) {
            0 => -1,
            1 => 0,
            2 => self.model.now_ms + 5_000_000,
            _ => self.model.now_ms + self.random.random_range(-TIMESTAMP_SPREAD_MS..TIMESTAMP_SPREAD_MS),
        }
    }

    /// A batch of random records, and these as the model knows them.
    fn batch(&mut self, producer_id: i64, first_sequence: i32, count: usize) -> (ValidatedBatch, Vec<ModelRecord>) {
        let is_transactional = TRANSACTIONAL.contains(&producer_id);
        let mut builder = BatchBuilder::new();
        let mut records = Vec::new();
        for _ in 0..count {
            let timestamp = self.timestamp();
            let key = (self.config.compact || self.one_in(2))
                .then(|| format!("key {}", self.random.random_range(0..KEYS)).into_bytes());
            let len = self.random.random_range(0..250);
            let value =
                (!self.one_in(10)).then(|| (0..len).map(|_| self.random.random_range(b'a'..b'h')).collect::<Vec<u8>>());
            builder.append(timestamp, key.as_deref(), value.as_deref(), &[]);
            records.push(ModelRecord {
                base_offset: 0,
                timestamp,
                key,
                value,
                producer_id,
                is_control: false,
                is_transactional,
                appended_ms: self.model.now_ms,
            });
        }
        let fields = BatchFields {
            compression: CODECS[self.random.random_range(0..CODECS.len())],
            producer_id,
            producer_epoch: if producer_id < 0 { -1 } else { 0 },
            base_sequence: first_sequence,
            is_transactional,
            ..BatchFields::default()
        };
        let bytes = builder.build(&fields).unwrap();
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(&bytes[..HEADER_BYTES]);
        (ValidatedBatch::new(header, bytes.slice(HEADER_BYTES..)), records)
    }

    /// What the log knows of a producer's last sequence; the check holds it against the model.
    fn next_sequence(&self, producer_id: i64) -> Option<i32> {
        self.log().with_producers(|producers| Some(producers.get(ProducerId(producer_id))?.last_sequence()? + 1))
    }

    fn append(&mut self) -> Result<(), StorageError> {
        let producer_id = match self.random.random_range(0..10) {
            0..3 => -1,
            3..8 => IDEMPOTENT[self.random.random_range(0..IDEMPOTENT.len())],
            _ => TRANSACTIONAL[self.random.random_range(0..TRANSACTIONAL.len())],
        };
        let first_sequence = if producer_id < 0 { -1 } else { self.next_sequence(producer_id).unwrap_or(0) };
        let count = self.random.random_range(1..5);
        let (batch, records) = self.batch(producer_id, first_sequence, count);
        self.append_new(batch, records, first_sequence, None)
    }

    fn end_transaction(&mut self) -> Result<(), StorageError> {
        let (open, _) = self.model.transactions();
        let Some(producer_id) = open.keys().next().copied() else { return Ok(()) };
        let (commits, timestamp) = (self.random.random(), self.model.now_ms);
        let record = ModelRecord {
            base_offset: 0,
            timestamp,
            key: Some(vec![0, 0, 0, u8::from(commits)]),
            value: Some(vec![0, 0, 0, 0, 0, 7]),
            producer_id,
            is_control: true,
            is_transactional: true,
            appended_ms: timestamp,
        };
        self.append_new(marker(producer_id, 0, commits, timestamp), vec![record], -1, Some(commits))
    }

    fn append_new(
        &mut self,
        batch: ValidatedBatch,
        records: Vec<ModelRecord>,
        first_sequence: i32,
        commits: Option<bool>,
    ) -> Result<(), StorageError> {
        let base_offset = self.model.log_end;
        self.model.timeline.push(Event::Append(self.model.now_ms));
        let appended = self.log().append(batch, LeaderEpoch(self.leader_epoch), self.model.now_ms);
        let last_offset = base_offset + records.len() as i64 - 1;
        // Also where it failed: it may be in the log after all.
        self.model.log_end = last_offset + 1;
        let sent = ModelBatch {
            base_offset,
            last_offset,
            leader_epoch: self.leader_epoch,
            producer_id: records[0].producer_id,
            first_sequence,
            is_transactional: records[0].is_transactional,
            commits,
        };
        self.model.batches.insert(base_offset, sent);
        for (offset, record) in (base_offset..).zip(records) {
            self.model.records.insert(offset, ModelRecord { base_offset, ..record });
        }
        match appended {
            Ok(outcome) => {
                assert!(!outcome.duplicate, "{outcome:?}, {}", self.context);
                assert_eq!(
                    (outcome.base_offset.0, outcome.last_offset.0),
                    (base_offset, last_offset),
                    "{}",
                    self.context
                );
                Ok(())
            }
            Err(AppendError::Storage(error)) => Err(error),
            Err(error) => panic!("{error}, {}", self.context),
        }
    }

    /// Sends a batch again that is in the log.
    fn repeat(&mut self) -> Result<(), StorageError> {
        let producer_id = IDEMPOTENT[self.random.random_range(0..IDEMPOTENT.len())];
        let window = self.model.window(producer_id);
        if window.is_empty() {
            return Ok(());
        }
        let of_producer = |batch: &&ModelBatch| batch.producer_id == producer_id && batch.commits.is_none();
        let older: Vec<ModelBatch> = self.model.batches.values().filter(of_producer).copied().collect();
        let in_window = !self.one_in(4);
        let from = if in_window { &window } else { &older };
        let sent = from[self.random.random_range(0..from.len())];
        if self.next_sequence(producer_id) == Some(sent.first_sequence) {
            // Its producer was forgotten and began anew: this is no repeat of it.
            return Ok(());
        }
        let count = (sent.last_offset - sent.base_offset + 1) as usize;
        let (batch, _) = self.batch(producer_id, sent.first_sequence, count);
        match self.log().append(batch, LeaderEpoch(self.leader_epoch), self.model.now_ms) {
            Ok(outcome) => {
                assert!(outcome.duplicate, "a repeat of {sent:?} was appended: {outcome:?}, seed {}", self.seed);
                // A producer that was forgotten, and began anew, used the same sequences again.
                let again = |batch: &&ModelBatch| of_producer(batch) && batch.first_sequence == sent.first_sequence;
                let newest = self.model.batches.values().rfind(again).map(|batch| batch.base_offset);
                assert_eq!(Some(outcome.base_offset.0), newest, "a repeat of {sent:?}, seed {}", self.seed);
            }
            Err(AppendError::Producer(error)) => {
                assert!(!in_window, "a repeat of {sent:?} is refused: {error}, seed {}", self.seed);
            }
            Err(AppendError::Storage(error)) => return Err(error),
            Err(error) => panic!("{error}, seed {}", self.seed),
        }
        Ok(())
    }

    fn gap(&mut self) -> Result<(), StorageError> {
        let producer_id = IDEMPOTENT[self.random.random_range(0..IDEMPOTENT.len())];
        let Some(next) = self.next_sequence(producer_id) else { return Ok(()) };
        let first_sequence = next + self.random.random_range(1..100);
        let (batch, _) = self.batch(producer_id, first_sequence, 1);
        match self.log().append(batch, LeaderEpoch(self.leader_epoch), self.model.now_ms) {
            Err(AppendError::Producer(ProducerStateError::OutOfOrderSequence { expected, .. })) => {
                assert_eq!(expected, next, "seed {}", self.seed);
                Ok(())
            }
            Err(AppendError::Storage(error)) => Err(error),
            other => panic!("a gap was not refused: {other:?}, seed {}", self.seed),
        }
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        let flushed = self.log().flush()?;
        assert_eq!(flushed.0, self.model.log_end, "seed {}", self.seed);
        self.model.flushed = flushed.0;
        Ok(())
    }

    fn delete_records(&mut self) -> Result<(), StorageError> {
        let (open, _) = self.model.transactions();
        let end = open.values().min().copied().unwrap_or(self.model.log_end).max(self.model.log_start);
        // Mostly a little, now and then nearly all.
        let span = if self.one_in(4) { end - self.model.log_start } else { (end - self.model.log_start) / 4 };
        let before = self.model.log_start + self.random.random_range(0..=span);
        self.log_start_max = self.log_start_max.max(before);
        let start = self.log().delete_records(Offset(before))?;
        assert_eq!(start.0, before, "seed {}", self.seed);
        self.model.start_at(start.0);
        Ok(())
    }

    fn retention(&mut self) -> Result<(), StorageError> {
        self.log_start_max = self.model.log_end;
        let size_before = self.log().size_bytes();
        let removed = self.log().apply_retention(self.model.now_ms)?;
        let start = self.log().offsets().log_start.0;
        let context = format!("retention, seed {}", self.seed);
        assert!(start >= self.model.log_start && start <= self.model.log_end, "{context}");
        // The last segment stays when all of its records are deleted: it goes without a record once it is not the last any more.
        assert!(removed > 0 || start == self.model.log_start, "{context}");
        assert!(self.log().first_segment_end().is_none_or(|end| end.0 > start), "a segment before {start}, {context}");
        let by_size = self.config.retention_bytes >= 0 && size_before > self.config.retention_bytes as u64;
        let oldest = self.model.now_ms - self.config.retention_ms;
        // A time of the future keeps nothing longer than the time of its append.
        // What a compaction since the last check may have taken was not there to make its segment young.
        let must_stay = self.model.must_stay();
        let was_there = |offset: &i64| !self.was_compacted || must_stay.contains(offset);
        let is_young = |record: &ModelRecord| record.timestamp.min(record.appended_ms) >= oldest;
        let young = self.model.records.range(..start).find(|(offset, record)| was_there(offset) && is_young(record));
        assert!(young.is_none() || by_size, "{young:?} was removed, {context}");
        assert!(self.config.retention_ms >= 0 || by_size || start == self.model.log_start, "{context}");
        if by_size && start > self.model.log_start && young.is_some() {
            assert!(self.log().size_bytes() >= self.config.retention_bytes as u64, "{context}");
        }
        self.model.start_at(start);
        self.log_start_max = start;
        self.check_ages();
        Ok(())
    }

    /// Right after retention no record is there that no segment can hold it for: each goes with the last append to its segment, or
    /// with the newest record of a merged one, which reaches over a tenth of the retention.
    fn check_ages(&self) {
        if self.config.retention_ms < 0 {
            return;
        }
        let oldest_ms = self.model.now_ms - self.config.retention_ms;
        for (offset, record) in &self.model.records {
            let alone_ms = self.model.last_append_beside(record.appended_ms, SEGMENT_MS);
            let merged_ms = record.appended_ms + self.config.retention_ms / 10 + TIMESTAMP_SPREAD_MS;
            assert!(
                alone_ms.max(merged_ms) >= oldest_ms,
                "{offset} is still there, {} ms after the last append beside it: {record:?}, {}",
                self.model.now_ms - alone_ms,
                self.context
            );
        }
    }

    fn compact(&mut self) -> Result<(), StorageError> {
        if !self.config.compact {
            return Ok(());
        }
        self.was_compacted = true;
        let map_bytes_max = if self.one_in(3) { 200 } else { 1 << 20 };
        let limits = CleanLimits { map_bytes_max, decompressed_bytes_max: 1 << 20 };
        let log = self.log();
        let report = match log.clean(self.cleaned_up_to, limits, self.model.now_ms, &Unthrottled) {
            // A segment with damage is not compacted, and the others are at the next attempt.
            Err(StorageError::Damaged { .. }) if !self.model.refused.is_empty() => return Ok(()),
            report => report?,
        };
        assert!(report.cleaned_up_to >= self.cleaned_up_to, "{report:?}, seed {}", self.seed);
        self.cleaned_up_to = report.cleaned_up_to;
        Ok(())
    }

    fn restart_if_well(&mut self, how: Restart) {
        let how = if self.is_doomed { Restart::PowerCut } else { how };
        self.restart(how);
    }

    /// Ends the broker one way or another, opens the log again, and holds what is there against what was promised.
    fn restart(&mut self, how: Restart) {
        let before = self.context.clone();
        self.context = format!("{before}, then {how:?}");
        if how == Restart::Clean {
            self.manager.close().unwrap_or_else(|error| panic!("{error}, {}", self.context));
            self.model.flushed = self.model.log_end;
        }
        let disk = match how {
            Restart::PowerCut => self.vfs.power_cut(self.random.random()),
            Restart::Clean | Restart::Killed => self.vfs.killed(),
        };
        if !self.is_doomed && how != Restart::PowerCut && self.one_in(3) {
            self.damage_a_cache(&disk);
        }
        self.vfs = disk;
        self.manager = open(&self.vfs, &self.config).unwrap_or_else(|error| panic!("{error}, {}", self.context));
        self.leader_epoch += 1;
        self.model.timeline.push(Event::Open);
        let log = self.log();
        let offsets = log.offsets();
        let (start, end) = (offsets.log_start.0, offsets.log_end.0);
        let known = if how == Restart::PowerCut || self.is_doomed { self.model.flushed } else { self.model.log_end };
        assert!(
            end >= known && end <= self.model.log_end,
            "{offsets:?}, {known} to {}, {}",
            self.model.log_end,
            self.context
        );
        let start_max = self.log_start_max.max(self.model.log_start);
        assert!(
            start >= self.model.log_start && start <= start_max,
            "{offsets:?}, {}, {}",
            self.model.log_start,
            self.context
        );
        for range in log.corrupt_ranges().iter() {
            if self.model.is_refused(range.from.0) {
                continue;
            }
            let context = &self.context;
            assert!(range.from.0 >= known, "durable offsets {} to {} are refused, {context}", range.from, range.to);
            self.model.refuse(range.from.0, range.to.0);
        }
        self.model.cut_at(end, offsets.flushed.0);
        self.model.start_at(start);
        self.log_start_max = start;
        self.cleaned_up_to = self.cleaned_up_to.min(Offset(end));
        self.is_doomed = false;
        let may_be_gone = std::mem::take(&mut self.was_compacted);
        log.update_high_watermark(offsets.log_end);
        let context = self.context.clone();
        println!("{context}: {offsets:?}, damage {:?}", log.corrupt_ranges());
        check::check(&log, &mut self.model, may_be_gone, &context);
    }

    /// Does something to a file that the start has to do without.
    fn damage_a_cache(&mut self, disk: &FaultVfs) {
        let folder = Path::new(DATA).join("t-0");
        let files_in = |dir: &Path| -> Vec<PathBuf> {
            let entries = disk.read_dir(dir).unwrap().into_iter().filter(|entry| !entry.is_dir);
            entries.map(|entry| dir.join(entry.name)).collect()
        };
        let mut caches = files_in(&folder);
        caches.retain(|path| {
            let name = path.to_string_lossy();
            !name.ends_with(".log") && !name.ends_with(".swap") && !name.ends_with("sync-failed")
        });
        caches
            .extend(files_in(Path::new(DATA)).into_iter().filter(|path| path.to_string_lossy().contains("checkpoint")));
        caches.sort_unstable();
        if caches.is_empty() {
            return;
        }
        let path = &caches[self.random.random_range(0..caches.len())];
        let mut content = read_file(disk, path, 1 << 20).unwrap().unwrap();
        let at = self.random.random_range(0..=content.len());
        let how = self.random.random_range(0..4);
        match how {
            0 => content.truncate(at),
            1 => content[at..].fill(0),
            2 => {
                if let Some(byte) = content.get_mut(at) {
                    *byte ^= 1 << self.random.random_range(0..8);
                }
            }
            _ => disk.remove_file(path).unwrap(),
        }
        if how < 3 {
            let file = disk.open(path, Access::Write).unwrap();
            file.set_len(0).unwrap();
            write_all_at(&*file, &content, &[], 0).unwrap();
        }
        self.context += &format!(", {} damaged (way {how} at {at})", path.display());
    }
}
