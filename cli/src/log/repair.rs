//! `ottla log repair`: says what it would do, and does it when it is told to.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};

use ottla_broker::storage::inspect::{Finding, RepairOptions, RepairReport, VerifyOptions, repair};
use ottla_broker::storage::vfs::RealVfs;

use super::findings::{finding_json, finding_text};
use super::verify::{Verified, verify};
use super::{folder, now_ms, threads};
use crate::output::{Output, OutputFormat, print, print_json};

#[derive(Debug, Args)]
pub(super) struct RepairCommand {
    /// A data directory, or the folder of one partition; no broker may use it
    dir: PathBuf,
    /// Do it; without this nothing is changed
    #[arg(long)]
    apply: bool,
    /// Take damaged ranges out of their segments (into the backup): readers then step over the offsets that are lost,
    /// instead of being refused with CORRUPT_MESSAGE
    #[arg(long)]
    drop_damaged: bool,
    #[command(flatten)]
    output: Output,
}

/// Whether everything is sound afterwards; without --apply, now.
pub(super) fn run(command: &RepairCommand) -> Result<bool> {
    let before = folder(&command.dir)?;
    if before.in_use {
        bail!("a broker uses {}: stop it first, a repair needs the directory for itself", before.data_dir.display());
    }
    let threads = threads(None)?;
    let found = verify(&before, VerifyOptions::default(), threads, false)?;
    if found.is_sound() || !command.apply {
        show(command, &found, None)?;
        return Ok(found.is_sound());
    }
    let options = RepairOptions { drop_damaged: command.drop_damaged };
    let report = repair(Arc::new(RealVfs), &before, &found.reports, options, now_ms())?;
    let left = verify(&folder(&command.dir)?, VerifyOptions::default(), threads, false)?;
    show(command, &found, Some((&report, &left)))?;
    Ok(left.is_sound())
}

fn show(command: &RepairCommand, found: &Verified, done: Option<(&RepairReport, &Verified)>) -> Result<()> {
    match command.output.output {
        OutputFormat::Json => print_json(&json!({
            "applied": done.is_some(),
            "findings": found.findings().map(|finding| with_remedy(finding, command.drop_damaged)).collect::<Vec<_>>(),
            "backup": done.map(|(report, _)| report.backup.to_string_lossy()),
            "changed": done.map(|(report, _)| report.changed.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>()),
            "dropped": done.map(|(report, _)| report.dropped),
            "left": done.map(|(_, left)| left.findings().map(finding_json).collect::<Vec<_>>()),
        })),
        OutputFormat::Table => print(&text(command, found, done)),
    }
}

/// What a repair makes of a finding.
fn remedy(finding: &Finding, drop_damaged: bool) -> &'static str {
    match drop_damaged && finding.is_refused() {
        true => "taken out of the segment, into the backup; readers step over these offsets",
        false => finding.remedy,
    }
}

fn with_remedy(finding: &Finding, drop_damaged: bool) -> Value {
    let mut object = finding_json(finding);
    object["remedy"] = remedy(finding, drop_damaged).into();
    object
}

fn text(command: &RepairCommand, found: &Verified, done: Option<(&RepairReport, &Verified)>) -> String {
    if found.is_sound() {
        return "everything is sound: there is nothing to repair\n".to_owned();
    }
    let mut text = String::new();
    found.findings().for_each(|finding| text += &finding_text(finding, remedy(finding, command.drop_damaged)));
    let Some((report, left)) = done else {
        text +=
            "nothing was changed: this is what --apply would do, with a copy of all that it changes in quarantine/\n";
        if !command.drop_damaged && found.findings().any(Finding::is_refused) {
            text += "damaged ranges stay, and are refused to readers, unless --drop-damaged is given\n";
        }
        return text;
    };
    report.changed.iter().for_each(|path| text += &format!("changed {}\n", path.display()));
    text += &format!("what was there before is in {}\n", report.backup.display());
    match left.findings().count() {
        0 => text += "everything is sound now\n",
        count => {
            text += &format!("{count} findings are left:\n");
            left.findings().for_each(|finding| text += &finding_text(finding, finding.remedy));
        }
    }
    text
}
