//! What a start costs: after a kill, for each GiB that was not flushed; and after a clean stop, however large the logs are. And
//! what a look-up through an index on disk costs.
//!
//! In process, on the broker's own storage. Owns what is measured and how it is printed. The roofline is one thread that reads
//! the same files and computes the CRC-32C of all of their bytes. The page cache is warm: the files were just written.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use ottla_benches::report::{self, Figure, Output, median};
use ottla_benches::wire;
use ottla_broker::storage::vfs::RealVfs;
use ottla_broker::storage::{
    DataDir, HEADER_BYTES, LogConfig, LogManager, LogManagerConfig, LogToOpen, ProducerLimits, ValidatedBatch,
};
use ottla_broker::types::{LeaderEpoch, Offset, TopicPartition};
use ottla_protocol::records::Crc32c;

const GIB: u64 = 1 << 30;
const BATCH_BYTES: usize = 64 << 10;
const RECORD_BYTES: usize = 100;
const LOOK_UPS: u32 = 100_000;
/// The sparse segments of the two clean starts that are compared.
const SPARSE_SEGMENTS: [usize; 2] = [1, 100];

/// Measures starts after a kill and after a clean stop.
#[derive(Debug, Parser)]
struct Options {
    /// Where the data is put while it runs; a temporary directory of its own is made there.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// How many GiB are recovered.
    #[arg(long, default_value_t = 2)]
    gib: u64,
    /// Rounds, of which the median is shown.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How the results are printed.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let mut rows = Vec::new();
    for (partitions, threads) in [(1, 1), (4, 2)] {
        measure_unclean(&options, partitions, threads, &mut rows)?;
    }
    for segments in SPARSE_SEGMENTS {
        let took = rounds(&options, |directory| sparse_start(directory, segments))?;
        let measurement = format!("clean start, one log of {segments} GiB of sparse segments");
        rows.push(Figure { measurement, unit: "ms", value: took * 1e3, target: None });
    }
    let took = rounds(&options, |directory| look_ups(directory, options.gib * GIB))?;
    let measurement = "look-up of an offset at random, through the index of a sealed segment".to_owned();
    rows.push(Figure { measurement, unit: "us", value: took * 1e6, target: None });
    report::print_figures(options.output, &rows)
}

/// The median of so many rounds, each on a directory of its own, in seconds.
fn rounds(options: &Options, measure: impl Fn(&Path) -> Result<Duration>) -> Result<f64> {
    let mut took = Vec::new();
    for _ in 0..options.rounds.max(1) {
        let directory = tempfile::tempdir_in(&options.dir)?;
        took.push(measure(directory.path())?.as_secs_f64());
    }
    Ok(median(&took))
}

fn open(directory: &Path, partitions: i32, threads: usize, segment_bytes: u32) -> Result<Arc<LogManager>> {
    let data_dir = DataDir::open(Arc::new(RealVfs), directory)?;
    let settings = LogManagerConfig { threads, open_files_max: 1_000, producer_limits: ProducerLimits::default() };
    let config = Arc::new(LogConfig { segment_bytes, ..LogConfig::default() });
    let log = |n| LogToOpen { topic_partition: TopicPartition::new("t", n), config: Arc::clone(&config) };
    Ok(LogManager::open(data_dir, &settings, (0..partitions).map(log).collect(), 0)?)
}

/// Appends `batch` to all partitions in turn until they have so many bytes together.
fn fill(logs: &LogManager, partitions: i32, bytes: u64) -> Result<()> {
    let batch = wire::batch(BATCH_BYTES, RECORD_BYTES)?;
    let header: [u8; HEADER_BYTES] = batch[..HEADER_BYTES].try_into()?;
    let validated = ValidatedBatch::new(header, batch.slice(HEADER_BYTES..));
    let mut written = 0;
    for partition in (0..partitions).cycle() {
        if written >= bytes {
            return Ok(());
        }
        let log = logs.log(&TopicPartition::new("t", partition)).context("a log that was opened")?;
        log.append(validated.clone(), LeaderEpoch(1), 0)?;
        written += batch.len() as u64;
    }
    Ok(())
}

fn measure_unclean(options: &Options, partitions: i32, threads: usize, rows: &mut Vec<Figure>) -> Result<()> {
    let bytes = options.gib * GIB;
    let gib = options.gib as f64;
    let (mut starts, mut rooflines, mut clean) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds.max(1) {
        let directory = tempfile::tempdir_in(&options.dir)?;
        let logs = open(directory.path(), partitions, threads, 1 << 30)?;
        fill(&logs, partitions, bytes)?;
        // As a kill leaves it: in the page cache, never flushed, without a recovery point.
        drop(logs);
        rooflines.push(read_and_check(directory.path())?.as_secs_f64() / gib);
        let began = Instant::now();
        let logs = open(directory.path(), partitions, threads, 1 << 30)?;
        starts.push(began.elapsed().as_secs_f64() / gib);
        let recovered: u64 = logs.logs().iter().map(|log| log.size_bytes()).sum();
        ensure!(recovered >= bytes, "{recovered} of {bytes} bytes are there after the start");
        logs.close()?;
        drop(logs);
        let began = Instant::now();
        open(directory.path(), partitions, threads, 1 << 30)?;
        clean.push(began.elapsed().as_secs_f64());
    }
    let what = format!("{partitions} partitions of {:.1} GiB, {threads} threads", gib / f64::from(partitions));
    let mut add = |measurement, unit, value, target| rows.push(Figure { measurement, unit, value, target });
    add(format!("roofline: read and CRC-32C, {what}"), "s/GiB", median(&rooflines), None);
    add(format!("start after a kill, {what}"), "s/GiB", median(&starts), Some(1.5));
    add(format!("clean start, {what}"), "ms", median(&clean) * 1e3, None);
    Ok(())
}

/// Reads all segments on one thread.
fn read_and_check(directory: &Path) -> Result<Duration> {
    let began = Instant::now();
    let mut block = vec![0; 1 << 20];
    for folder in std::fs::read_dir(directory)? {
        let folder = folder?.path();
        if !folder.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(folder)? {
            let path = file?.path();
            if path.extension().is_none_or(|extension| extension != "log") {
                continue;
            }
            let mut file = File::open(path)?;
            let mut crc = Crc32c::new();
            loop {
                match file.read(&mut block)? {
                    0 => break,
                    read => crc.update(&block[..read]),
                }
            }
            std::hint::black_box(crc.finish());
        }
    }
    Ok(began.elapsed())
}

/// What one look-up takes in a log whose segments were all checked before.
fn look_ups(directory: &Path, bytes: u64) -> Result<Duration> {
    let logs = open(directory, 1, 1, 1 << 30)?;
    fill(&logs, 1, bytes)?;
    let log = logs.log(&TopicPartition::new("t", 0)).context("a log that was opened")?;
    let end = log.offsets().log_end;
    // The upper half is the active segment, or near it.
    let sealed = end.0 / 2;
    let mut random = 1_u64;
    let began = Instant::now();
    for _ in 0..LOOK_UPS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let offset = Offset(i64::try_from((random >> 33) % sealed.unsigned_abs())?);
        let read = log.read(offset, 1, end, true)?;
        ensure!(read.slice.is_some(), "nothing at {offset}");
    }
    Ok(began.elapsed() / LOOK_UPS)
}

/// A clean start of a log whose sealed segments are sparse files of 1 GiB.
fn sparse_start(directory: &Path, segments: usize) -> Result<Duration> {
    // Each batch fills a segment.
    let segment_bytes = u32::try_from(BATCH_BYTES)? * 3 / 2;
    let logs = open(directory, 1, 1, segment_bytes)?;
    fill(&logs, 1, (segments as u64 + 1) * BATCH_BYTES as u64)?;
    logs.close()?;
    drop(logs);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(directory.join("t-0"))?.map(|file| Ok(file?.path())).collect::<Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    files.sort_unstable();
    for path in files.iter().take(segments) {
        File::options().write(true).open(path)?.set_len(GIB)?;
    }
    let began = Instant::now();
    let logs = open(directory, 1, 1, segment_bytes)?;
    let took = began.elapsed();
    ensure!(logs.logs()[0].size_bytes() >= segments as u64 * GIB, "the segments are {segments} GiB");
    Ok(took)
}
