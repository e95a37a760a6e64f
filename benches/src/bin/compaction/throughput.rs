//! One pass of compaction over a log in the page cache, in process, held against a loop that reads and writes as many bytes.
//!
//! A pass reads the log for its keys and again to rewrite it, checks every batch both times, and syncs each segment that it has
//! written. The loop reads the same files twice in blocks of 1 MiB, writes as many bytes as the pass wrote, in files of the same
//! size, and syncs each of them: it looks at nothing. Rates are those of the log before it was compacted.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use ottla_benches::cpu;
use ottla_benches::samples::{Measurements, Target};
use ottla_broker::config::TopicConfig;
use ottla_broker::storage::validate::{ValidateRules, validate};
use ottla_broker::storage::vfs::RealVfs;
use ottla_broker::storage::{
    CleanLimits, Log, LogConfig, LogContext, OpenFiles, OpenMode, ProducerLimits, Unthrottled,
};
use ottla_broker::types::{LeaderEpoch, Offset, TopicPartition};
use ottla_protocol::records::{BatchBuilder, BatchFields, Compression};

use crate::Options;

const NOW_MS: i64 = 1_700_000_000_000;
const SEGMENT_BYTES: u32 = 32 << 20;
const BATCH_BYTES: usize = 64_000;
const BLOCK_BYTES: usize = 1 << 20;
/// What a broker with 10,000 partitions has under a limit of 20,000 descriptors: so many segments can be put in place together.
const OPEN_FILES_MAX: usize = 4_900;
const LIMITS: CleanLimits = CleanLimits { map_bytes_max: 128 << 20, decompressed_bytes_max: 256 << 20 };

/// Codec, how often each key was written (all but one of its records go), and bytes of each value.
pub(crate) const CASES: [(Compression, u64, usize); 5] = [
    (Compression::None, 2, 200),
    (Compression::None, 2, 1_000),
    (Compression::None, 10, 200),
    (Compression::Lz4, 2, 200),
    (Compression::Zstd, 2, 200),
];

/// What the work on a whole log took.
#[derive(Debug, Clone, Copy)]
struct Took {
    wall: Duration,
    cpu: Duration,
}

/// One kind of log, which is made anew in each round.
#[derive(Debug)]
pub(crate) struct CompactedLog {
    codec: Compression,
    versions: u64,
    value_bytes: usize,
    /// What the pass wrote in the round before: every round's is the same.
    written: Option<u64>,
}

impl CompactedLog {
    pub(crate) fn new((codec, versions, value_bytes): (Compression, u64, usize)) -> Self {
        CompactedLog { codec, versions, value_bytes, written: None }
    }

    pub(crate) fn measure(&mut self, options: &Options, loop_first: bool, into: &mut Measurements) -> Result<()> {
        let dir = tempfile::tempdir_in(&options.dir)?;
        let log = open(&dir.path().join("log"))?;
        self.fill(&log, options.bytes)?;
        log.flush()?;
        let sources = link_sealed(&dir.path().join("log"), &dir.path().join("sources"))?;
        let bytes: u64 = sources.iter().map(|source| Ok(source.metadata()?.len())).sum::<Result<u64>>()?;
        let looped_before = match self.written.filter(|_| loop_first) {
            Some(written) => Some(read_and_write(&sources, written, dir.path())?),
            None => None,
        };
        let (started, cpu_before) = (Instant::now(), cpu::of_this_thread()?);
        let report = log.clean(Offset(0), LIMITS, NOW_MS, &Unthrottled)?;
        let took = Took { wall: started.elapsed(), cpu: cpu::of_this_thread()? - cpu_before };
        ensure!(report.records_removed > 0 && !report.more_to_do, "the pass did not do its work: {report:?}");
        let looped = match looped_before {
            Some(looped) => looped,
            None => read_and_write(&sources, report.bytes_written, dir.path())?,
        };
        self.written = Some(report.bytes_written);
        log.close()?;
        let name =
            format!("compaction, {}, values of {} B, each key {} times", self.codec, self.value_bytes, self.versions);
        let target = (self.codec == Compression::None).then_some(Target::OfRoofline(0.6));
        let rate = |took: Took| bytes as f64 / 1e6 / took.wall.as_secs_f64();
        into.add_beside(name.clone(), "MB/s", target, rate(took), rate(looped));
        let cpu = |took: Took| took.cpu.as_secs_f64() * 1e9 / bytes as f64;
        into.add_beside(name, "CPU s/GB", None, cpu(took), cpu(looped));
        Ok(())
    }

    /// Keys come in an order in which no two neighbours are written alike often.
    fn fill(&self, log: &Log, bytes: u64) -> Result<()> {
        let rules = ValidateRules::new(&TopicConfig::default(), LIMITS.decompressed_bytes_max);
        let keys = (bytes / (self.value_bytes as u64 + 20) / self.versions).max(1);
        let mut record = 0;
        while record < keys * self.versions {
            let mut builder = BatchBuilder::with_capacity(BATCH_BYTES);
            while builder.size_in_bytes() < BATCH_BYTES {
                let key = (record.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16) % keys;
                let value = value(record, self.value_bytes);
                builder.append(NOW_MS, Some(&key.to_be_bytes()), Some(&value), &[]);
                record += 1;
            }
            let batch: Bytes = builder.build(&BatchFields { compression: self.codec, ..BatchFields::default() })?;
            log.append(validate(&batch, &rules, NOW_MS)?, LeaderEpoch(0), NOW_MS)?;
        }
        Ok(())
    }
}

/// Hexadecimal digits at random in one half, dots in the other: some codec makes a quarter of it.
fn value(record: u64, bytes: usize) -> Vec<u8> {
    let mut value = vec![b'.'; bytes];
    let mut random = record;
    for byte in value.iter_mut().take(bytes / 2) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *byte = b"0123456789abcdef"[(random >> 60) as usize];
    }
    value
}

fn open(dir: &Path) -> Result<Arc<Log>> {
    std::fs::create_dir_all(dir)?;
    let context = LogContext {
        open_files: OpenFiles::new(Arc::new(RealVfs), OPEN_FILES_MAX),
        quarantine: dir.join("quarantine"),
        producer_limits: ProducerLimits::default(),
    };
    let config = LogConfig { segment_bytes: SEGMENT_BYTES, compact: true, retention_ms: -1, ..LogConfig::default() };
    let partition = TopicPartition::new("compaction", 0);
    Ok(Log::open(context, dir, partition, Arc::new(config), OpenMode::default(), NOW_MS)?.0)
}

/// Gives all segments but the last a second name, under which they are still there when the log has others.
fn link_sealed(log: &Path, sources: &Path) -> Result<Vec<PathBuf>> {
    std::fs::create_dir(sources)?;
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(log)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            segments.push(path);
        }
    }
    segments.sort();
    segments.pop();
    let link = |segment: PathBuf| {
        let source = sources.join(segment.file_name().unwrap_or_default());
        std::fs::hard_link(&segment, &source)?;
        Ok(source)
    };
    segments.into_iter().map(link).collect()
}

fn read_and_write(sources: &[PathBuf], written: u64, dir: &Path) -> Result<Took> {
    let mut block = vec![0; BLOCK_BYTES];
    let (started, cpu_before) = (Instant::now(), cpu::of_this_thread()?);
    for source in sources.iter().chain(sources) {
        let mut file = File::open(source)?;
        while file.read(&mut block)? > 0 {}
    }
    let mut left = written;
    while left > 0 {
        let mut file = tempfile::tempfile_in(dir)?;
        let mut of_file = left.min(u64::from(SEGMENT_BYTES));
        left -= of_file;
        while of_file > 0 {
            let len = of_file.min(BLOCK_BYTES as u64);
            file.write_all(&block[..len as usize])?;
            of_file -= len;
        }
        file.sync_data()?;
    }
    Ok(Took { wall: started.elapsed(), cpu: cpu::of_this_thread()? - cpu_before })
}
