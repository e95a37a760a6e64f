//! Compaction, merging and retention: how fast compaction is beside reading and writing the same bytes, and what all three at work
//! do to the latency of whoever produces.
//!
//! Owns the options and the order. Each measurement and what it is held against are made in the same round, one right after
//! the other, and take turns at going first; the first round warms up and does not count.

mod latency;
mod throughput;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use ottla_benches::report::Output;
use ottla_benches::samples::Measurements;

const BYTES_MIN: u64 = 250_000_000;

/// Measures compaction, and what the work in the background costs producers.
#[derive(Debug, Parser)]
struct Options {
    /// What is measured; everything without it.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Subject>,
    /// Less of everything: to see whether it works, not to quote.
    #[arg(long)]
    quick: bool,
    /// Rounds that count; there is one more to warm up.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Bytes of the log that is compacted: several segments, also where a codec makes a quarter of them.
    #[arg(long, default_value_t = 500_000_000, value_parser = clap::value_parser!(u64).range(BYTES_MIN..))]
    bytes: u64,
    /// Requests a second whose latency is measured.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Requests whose latency is measured in a round.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(100..))]
    requests: u32,
    /// The broker; without it the `ottla` beside this program.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Below which directory the data is written.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// How the results are printed.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// One pass over a log, in process.
    Throughput,
    /// Produces at a fixed low rate to a broker process that compacts, merges and deletes beside them.
    Latency,
}

impl Options {
    fn measures(&self, subject: Subject) -> bool {
        self.only.is_empty() || self.only.contains(&subject)
    }

    /// Less of everything.
    fn quickened(mut self) -> Self {
        if self.quick {
            self.rounds = self.rounds.min(2);
            self.bytes = BYTES_MIN;
            self.requests /= 5;
        }
        self
    }
}

fn main() -> Result<()> {
    let options = Options::parse().quickened();
    let mut logs = throughput::CASES.map(throughput::CompactedLog::new);
    let measurements = Measurements::of_rounds(options.rounds, |other_first, measurements| {
        if options.measures(Subject::Throughput) {
            for log in &mut logs {
                log.measure(&options, other_first, measurements)?;
            }
        }
        if options.measures(Subject::Latency) {
            latency::measure(&options, other_first, measurements)?;
        }
        Ok(())
    })?;
    let header = [
        "measurement",
        "unit",
        "target",
        "median",
        "",
        "lowest to highest",
        "held against",
        "of what it is held against",
    ];
    measurements.print(options.output, header)
}
