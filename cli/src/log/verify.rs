//! `ottla log verify`: is everything in a data directory, or in a partition's folder, sound?

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use ottla_broker::storage::inspect::{
    Finding, Folder, FolderKind, PartitionReport, VerifyOptions, verify_checkpoints, verify_partitions,
};
use ottla_broker::storage::vfs::RealVfs;

use super::findings::{finding_json, finding_text, report_json, report_line};
use super::{folder, threads, warn_if_in_use};
use crate::output::{Output, OutputFormat, print, print_json};
use crate::progress::Progress;

const REDRAW: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(super) struct VerifyCommand {
    /// A data directory, or the folder of one partition
    dir: PathBuf,
    /// Also decompress every batch and walk over its records, which no start of a broker does
    #[arg(short, long)]
    records: bool,
    /// Partitions that are checked at once; as many as there are processors if not given
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=256))]
    threads: Option<u64>,
    /// Only tell of partitions that are not sound
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    output: Output,
}

/// What was found in a folder.
pub(super) struct Verified {
    pub(super) reports: Vec<PartitionReport>,
    pub(super) checkpoints: Vec<Finding>,
}

impl Verified {
    pub(super) fn is_sound(&self) -> bool {
        self.checkpoints.is_empty() && self.reports.iter().all(PartitionReport::is_sound)
    }

    pub(super) fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.reports.iter().flat_map(|report| &report.findings).chain(&self.checkpoints)
    }
}

/// Whether everything is sound.
pub(super) fn run(command: &VerifyCommand) -> Result<bool> {
    let folder = folder(&command.dir)?;
    warn_if_in_use(&folder);
    let threads = threads(command.threads.map(|threads| threads as usize))?;
    let verified = verify(&folder, VerifyOptions { records: command.records }, threads, command.quiet)?;
    match command.output.output {
        OutputFormat::Json => print_json(&json!({
            "data_dir": folder.data_dir.to_string_lossy(),
            "in_use": folder.in_use,
            "was_clean": folder.was_clean,
            "quarantined": folder.quarantined,
            "sound": verified.is_sound(),
            "partitions": verified.reports.iter().map(report_json).collect::<Vec<_>>(),
            "checkpoints": verified.checkpoints.iter().map(finding_json).collect::<Vec<_>>(),
        }))?,
        OutputFormat::Table => print(&text(&folder, &verified, command.quiet))?,
    }
    Ok(verified.is_sound())
}

/// Checks the folder's partitions, with a progress bar if it takes a while.
pub(super) fn verify(folder: &Folder, options: VerifyOptions, threads: usize, quiet: bool) -> Result<Verified> {
    let bytes = folder.partitions.iter().map(|partition| partition.log_bytes).sum();
    let mut bar = Progress::new(!quiet && io::stderr().is_terminal(), Some(bytes), Duration::from_secs(1));
    let progress = ottla_broker::storage::inspect::Progress::default();
    let results = std::thread::scope(|scope| {
        let (done, finished) = channel();
        let progress = &progress;
        scope.spawn(move || {
            let results = verify_partitions(&RealVfs, &folder.partitions, options, threads, progress);
            // It fails only if nobody waits any more.
            let _ = done.send(results);
        });
        loop {
            match finished.recv_timeout(REDRAW) {
                Err(RecvTimeoutError::Timeout) => bar.update_bytes(progress.bytes()),
                received => break received.context("the check ended without a result"),
            }
        }
    })?;
    bar.finish();
    let mut reports = Vec::with_capacity(results.len());
    for (result, partition) in results.into_iter().zip(&folder.partitions) {
        reports.push(result.with_context(|| format!("{} cannot be checked", partition.topic_partition))?);
    }
    Ok(Verified { reports, checkpoints: verify_checkpoints(&RealVfs, folder)? })
}

fn text(folder: &Folder, verified: &Verified, quiet: bool) -> String {
    let mut text = String::new();
    for report in &verified.reports {
        if quiet && report.is_sound() {
            continue;
        }
        text += &report_line(report);
        report.findings.iter().for_each(|finding| text += &finding_text(finding, finding.remedy));
        if report.findings_left_out > 0 {
            text += &format!("  and {} more\n", report.findings_left_out);
        }
    }
    verified.checkpoints.iter().for_each(|finding| text += &finding_text(finding, finding.remedy));
    let sound = verified.reports.iter().filter(|report| report.is_sound()).count();
    text += &format!("{sound} of {} partitions are sound\n", verified.reports.len());
    if folder.kind == FolderKind::DataDir && !folder.was_clean && !folder.in_use {
        text += "the last broker did not stop cleanly: the next start recovers what was not flushed\n";
    }
    if folder.quarantined > 0 {
        text += &format!(
            "{} files and folders are in {}\n",
            folder.quarantined,
            folder.data_dir.join("quarantine").display()
        );
    }
    text
}
