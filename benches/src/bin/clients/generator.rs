//! A load generator: a program that produces or fetches with one client and says in JSON what it did.
//!
//! `ottla bench` is one; the one with librdkafka takes the same arguments and prints the same fields. Being processes of their
//! own, they are measured alike.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// A client's load generator.
#[derive(Debug)]
pub(crate) struct Generator {
    /// The client's, and that of the topic which it is measured with.
    pub(crate) name: String,
    program: PathBuf,
    arguments: Vec<String>,
}

/// What a generator is to do.
#[derive(Debug)]
pub(crate) enum Work {
    /// Send so many records as fast as possible.
    Produce { records: u64, record_bytes: u32, acks: String },
    /// Read everything that is in the topic.
    Fetch,
    /// Send so many records a second, each at once.
    LowRate { rate: u32, seconds: u32, record_bytes: u32, acks: String },
}

/// What a generator did.
#[derive(Debug, Deserialize)]
pub(crate) struct Load {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) records_per_second: f64,
    pub(crate) mb_per_second: f64,
    pub(crate) client_cpu_seconds: f64,
    pub(crate) latency_ms: Option<Latency>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p99_9: f64,
}

#[derive(Debug, Deserialize)]
struct Report {
    results: Vec<Load>,
}

impl Generator {
    /// `ottla bench`: the given `ottla`, or the one beside this program.
    pub(crate) fn ours(binary: Option<&Path>) -> Result<Self> {
        let beside = std::env::current_exe()?.with_file_name("ottla");
        let program = binary.map_or(beside, Path::to_owned);
        Ok(Generator { name: "ottla-client".to_owned(), program, arguments: vec!["bench".to_owned()] })
    }

    pub(crate) fn librdkafka(program: &Path) -> Self {
        Generator { name: "librdkafka".to_owned(), program: program.to_owned(), arguments: Vec::new() }
    }

    /// Does the work and waits for its end.
    pub(crate) fn run(&self, address: &str, work: &Work) -> Result<Load> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).args(work.arguments());
        command.args(["--bootstrap-server", address, "--topic", &self.name, "--quiet", "--output", "json"]);
        let what = format!("{} {}", self.program.display(), work.arguments().join(" "));
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context(what.clone())?;
        ensure!(output.status.success(), "{what} ended with {}", output.status);
        let report: Report = serde_json::from_slice(&output.stdout).with_context(|| format!("what {what} printed"))?;
        let load = report.results.into_iter().next().context("no result")?;
        ensure!(load.records > 0, "{what} moved no records");
        Ok(load)
    }
}

impl Work {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Work::Produce { .. } => "produce",
            Work::Fetch => "fetch",
            Work::LowRate { .. } => "low rate",
        }
    }

    pub(crate) fn acks(&self) -> Option<&str> {
        match self {
            Work::Produce { acks, .. } | Work::LowRate { acks, .. } => Some(acks),
            Work::Fetch => None,
        }
    }

    fn arguments(&self) -> Vec<String> {
        let pairs = match self {
            Work::Fetch => return vec!["fetch".to_owned()],
            Work::Produce { records, record_bytes, acks } => {
                vec![
                    ("--records", records.to_string()),
                    ("--record-bytes", record_bytes.to_string()),
                    ("--acks", acks.clone()),
                ]
            }
            Work::LowRate { rate, seconds, record_bytes, acks } => vec![
                ("--rate", rate.to_string()),
                ("--seconds", seconds.to_string()),
                ("--record-bytes", record_bytes.to_string()),
                ("--acks", acks.clone()),
                ("--linger-ms", "0".to_owned()),
            ],
        };
        let flags = pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        std::iter::once("produce".to_owned()).chain(flags).collect()
    }
}
