//! The append path in process: one thread takes the bytes of a produce, checks every record of them and appends them to a log
//! in the page cache. No network, no sync.
//!
//! For each codec and batch size: the check alone, and the check with the append. CPU seconds per GB are those of the one
//! thread that works, kernel included, per 10^9 bytes on the wire.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use clap::Parser;
use ottla_benches::cpu;
use ottla_benches::report::{self, Output};
use ottla_broker::config::TopicConfig;
use ottla_broker::storage::validate::{ValidateRules, validate};
use ottla_broker::storage::vfs::RealVfs;
use ottla_broker::storage::{Log, LogConfig, LogContext, OpenFiles, OpenMode, ProducerLimits};
use ottla_broker::types::{LeaderEpoch, TopicPartition};
use ottla_protocol::records::{BatchBuilder, BatchFields, Compression, crc32c};
use serde::Serialize;

const NOW_MS: i64 = 1_700_000_000_000;
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;
const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// Measures how fast batches are checked and appended, in process.
#[derive(Debug, Parser)]
struct Options {
    /// Bytes of records in a batch, before compression.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 16_000, 64_000, 900_000])]
    batch_bytes: Vec<usize>,
    /// Bytes of each record's value.
    #[arg(long, default_value_t = 100)]
    record_bytes: usize,
    /// How long each measurement takes, in milliseconds.
    #[arg(long, default_value_t = 1_000)]
    millis: u64,
    /// No log grows beyond this, in bytes; then a measurement ends early.
    #[arg(long, default_value_t = 2_000_000_000)]
    log_bytes_max: u64,
    /// Below which directory the data is written.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// How the results are printed.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
}

/// One codec at one batch size.
#[derive(Debug, Serialize)]
struct Row {
    codec: &'static str,
    batch_bytes: usize,
    records: i32,
    crc_gb_per_second: f64,
    check: Rate,
    append: Rate,
}

/// What a loop over one batch came to.
#[derive(Debug, Serialize)]
struct Rate {
    batches: u64,
    mb_per_second: f64,
    ns_per_record: f64,
    cpu_seconds_per_gb: f64,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let temporary = tempfile::tempdir_in(&options.dir)?;
    let mut rows = Vec::new();
    for codec in CODECS {
        for &batch_bytes in &options.batch_bytes {
            let dir = temporary.path().join(format!("{codec}-{batch_bytes}"));
            rows.push(measure(codec, batch_bytes, &options, &dir)?);
            std::fs::remove_dir_all(&dir)?;
        }
    }
    let header = [
        "codec",
        "batch B",
        "records",
        "CRC GB/s",
        "check MB/s",
        "check ns/record",
        "check CPU s/GB",
        "append MB/s",
        "append ns/record",
        "append CPU s/GB",
    ];
    report::print(options.output, &rows, header, |row| {
        [
            row.codec.to_owned(),
            row.batch_bytes.to_string(),
            row.records.to_string(),
            format!("{:.1}", row.crc_gb_per_second),
            format!("{:.0}", row.check.mb_per_second),
            format!("{:.1}", row.check.ns_per_record),
            format!("{:.3}", row.check.cpu_seconds_per_gb),
            format!("{:.0}", row.append.mb_per_second),
            format!("{:.1}", row.append.ns_per_record),
            format!("{:.3}", row.append.cpu_seconds_per_gb),
        ]
    })
}

fn measure(codec: Compression, batch_bytes: usize, options: &Options, dir: &Path) -> Result<Row> {
    let (batch, records) = batch(codec, batch_bytes, options.record_bytes)?;
    let config = TopicConfig { max_message_bytes: i32::MAX, ..TopicConfig::default() };
    let rules = ValidateRules::new(&config, DECOMPRESSED_BYTES_MAX);
    let span = Duration::from_millis(options.millis);
    let limit = options.log_bytes_max / batch.len() as u64;
    let crc = repeat(span / 10, u64::MAX, || {
        black_box(crc32c(black_box(&batch[21..])));
        Ok(())
    })?;
    let check = repeat(span, u64::MAX, || {
        black_box(validate(black_box(&batch), &rules, NOW_MS)?);
        Ok(())
    })?;
    let log = open(dir)?;
    let append = repeat(span, limit, || {
        log.append(validate(&batch, &rules, NOW_MS)?, LeaderEpoch(0), NOW_MS)?;
        Ok(())
    })?;
    log.close()?;
    Ok(Row {
        codec: codec.name(),
        batch_bytes: batch.len(),
        records,
        crc_gb_per_second: crc.bytes(&batch) / crc.wall.as_secs_f64() / 1e9,
        check: check.rate(&batch, records),
        append: append.rate(&batch, records),
    })
}

/// A batch with about so many bytes of records: a key, and a value that compresses as JSON does.
fn batch(codec: Compression, batch_bytes: usize, record_bytes: usize) -> Result<(Bytes, i32)> {
    let mut builder = BatchBuilder::with_capacity(batch_bytes);
    while builder.is_empty() || builder.size_in_bytes() < batch_bytes {
        let index = builder.record_count();
        let noise = u64::from(index as u32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut value = format!("{{\"flight\":{index},\"tail\":\"N{:05}\",\"delay\":{}", noise >> 48, noise % 97);
        while value.len() < record_bytes {
            value.push_str(&format!(",\"f{}\":{}", value.len(), noise.rotate_left(value.len() as u32) % 10_007));
        }
        value.truncate(record_bytes);
        builder.append(NOW_MS + i64::from(index % 50), Some(&noise.to_be_bytes()), Some(value.as_bytes()), &[]);
    }
    let records = builder.record_count();
    Ok((builder.build(&BatchFields { compression: codec, ..BatchFields::default() })?, records))
}

fn open(dir: &Path) -> Result<Arc<Log>> {
    std::fs::create_dir_all(dir)?;
    let context = LogContext {
        open_files: OpenFiles::new(Arc::new(RealVfs), 16),
        quarantine: dir.join("quarantine"),
        producer_limits: ProducerLimits::default(),
    };
    let (log, _) = Log::open(
        context,
        dir,
        TopicPartition::new("append-path", 0),
        Arc::new(LogConfig::default()),
        OpenMode::default(),
        NOW_MS,
    )?;
    Ok(log)
}

struct Measured {
    batches: u64,
    wall: Duration,
    cpu: Duration,
}

impl Measured {
    fn bytes(&self, batch: &Bytes) -> f64 {
        self.batches as f64 * batch.len() as f64
    }

    fn rate(&self, batch: &Bytes, records: i32) -> Rate {
        let bytes = self.bytes(batch);
        Rate {
            batches: self.batches,
            mb_per_second: bytes / self.wall.as_secs_f64() / 1e6,
            ns_per_record: self.cpu.as_secs_f64() * 1e9 / (self.batches as f64 * f64::from(records)),
            cpu_seconds_per_gb: self.cpu.as_secs_f64() * 1e9 / bytes,
        }
    }
}

fn repeat(span: Duration, limit: u64, mut step: impl FnMut() -> Result<()>) -> Result<Measured> {
    for _ in 0..3 {
        step()?;
    }
    let (start, cpu) = (Instant::now(), cpu::of_this_thread()?);
    let mut batches = 0;
    while start.elapsed() < span && batches < limit.max(1) {
        step()?;
        batches += 1;
    }
    Ok(Measured { batches, wall: start.elapsed(), cpu: cpu::of_this_thread()? - cpu })
}
