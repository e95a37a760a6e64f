//! A world of one seed: which operation comes next, when the machine stops or a call fails, and what a restart brings back.
//!
//! What an operation does to the log and to the model is `operations.rs`. The order of the draws is part of a seed's meaning.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::check;
use super::model::{DELETE_RETENTION_MS, Event, Model};
use crate::storage::vfs::{Access, Fault, FaultVfs, Vfs, read_file, write_all_at};
use crate::storage::{
    DataDir, Log, LogConfig, LogManager, LogManagerConfig, LogToOpen, ProducerLimits, StorageError, Unthrottled,
};
use crate::types::{Offset, TopicPartition};

const DATA: &str = "/data";
const RETENTION_MS: i64 = 60_000;
pub(super) const SEGMENT_MS: i64 = 20_000;

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

pub(super) struct World {
    pub(super) random: StdRng,
    vfs: FaultVfs,
    manager: Arc<LogManager>,
    pub(super) model: Model,
    pub(super) config: LogConfig,
    pub(super) leader_epoch: i32,
    pub(super) cleaned_up_to: Offset,
    /// A crash or an error may come at any call.
    pub(super) is_doomed: bool,
    /// The start of the log after an operation of unknown outcome is at most this.
    pub(super) log_start_max: i64,
    /// A compaction may have taken records since the last check.
    pub(super) was_compacted: bool,
    /// A new segment may not have got the time of those that it replaces: the call that sets it may have been the one to fail.
    pub(super) may_seem_young: bool,
    pub(super) context: String,
    pub(super) seed: u64,
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
            may_seem_young: false,
            context: String::new(),
            seed,
        }
    }

    pub(super) fn log(&self) -> Arc<Log> {
        self.manager.log(&name()).unwrap_or_else(|| panic!("the log is offline, {}", self.context))
    }

    pub(super) fn one_in(&mut self, bound: u32) -> bool {
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
            81..85 => {
                self.may_seem_young |= self.is_doomed;
                ("merge", self.log().merge_segments(self.model.now_ms, &Unthrottled).map(drop))
            }
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
            self.model.known_from = self.model.log_start;
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
        // What a power cut takes may have pushed out of a window what is deleted.
        let mut is_whole = end == self.model.log_end && start <= self.model.flushed;
        for range in log.corrupt_ranges().iter() {
            if self.model.is_refused(range.from.0) {
                continue;
            }
            is_whole = false;
            let context = &self.context;
            assert!(range.from.0 >= known, "durable offsets {} to {} are refused, {context}", range.from, range.to);
            self.model.refuse(range.from.0, range.to.0);
        }
        if !is_whole {
            self.model.known_from = start;
        }
        let flushed = self.model.flushed;
        let taken_back = self.model.taken_back.take().filter(|(batch, _)| batch.base_offset >= flushed);
        if how == Restart::Killed {
            self.model.taken_back = self.model.behind(end).or(taken_back.clone());
        }
        self.model.cut_at(end, offsets.flushed.0);
        if let Some((batch, records)) = taken_back
            && how == Restart::PowerCut
            && check::is_at(&log, batch.base_offset, &records[0])
        {
            self.model.put_back(batch, records);
        }
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
