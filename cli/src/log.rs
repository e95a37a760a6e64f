//! `ottla log`: looks at what lies on the disk, without a broker: `dump`, `verify`, `repair`.
//!
//! Owns the words; what is read, checked and changed is `ottla_broker::storage::inspect`. Nothing but `repair --apply`
//! changes, creates or locks anything.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use ottla_broker::storage::inspect::Folder;
use ottla_broker::storage::vfs::RealVfs;

use crate::output::report_as;

mod dump;
mod dumped;
mod findings;
mod internal_record;
mod repair;
mod verify;

const AFTER_HELP: &str = "\
Examples:
  ottla log verify ottla-data                     is everything sound?
  ottla log dump ottla-data/flights-0 --records   all of one partition
  ottla log dump ottla-data --topic-partition flights-0 --from 100 --to 200 -o json
  ottla log dump ottla-data/flights-0/00000000000000000000.index
  ottla log repair ottla-data                     what a repair would do
  ottla log repair ottla-data --apply             does it, and keeps a copy of all that it changes

Exit codes: 0 sound, 1 damage was found, 2 it could not be looked at, or the command line is wrong.";

/// The exit code of damage.
const DAMAGED: u8 = 1;
/// The exit code of a failure to look at something.
const FAILED: u8 = 2;

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct LogCommand {
    #[command(subcommand)]
    action: LogAction,
}

#[derive(Debug, Subcommand)]
enum LogAction {
    /// Show what is in segments, indexes, snapshots and checkpoints
    Dump(dump::DumpCommand),
    /// Check everything that a broker would check at its start, and more; changes nothing
    Verify(verify::VerifyCommand),
    /// Put in order what is damaged: says what it would do, and does it with --apply
    Repair(repair::RepairCommand),
}

pub(crate) fn run(command: LogCommand) -> ExitCode {
    let outcome = match command.action {
        LogAction::Dump(command) => dump::run(&command),
        LogAction::Verify(command) => verify::run(&command),
        LogAction::Repair(command) => repair::run(&command),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(DAMAGED),
        Err(error) => report_as(&error, FAILED),
    }
}

/// A data directory or a partition's folder.
fn folder(path: &Path) -> Result<Folder> {
    match Folder::look(&RealVfs, path)? {
        Some(folder) => Ok(folder),
        None => bail!("{} is neither a data directory of a broker nor the folder of a partition", path.display()),
    }
}

/// Tells the user that what he is looking at is changing.
fn warn_if_in_use(folder: &Folder) {
    if folder.in_use {
        anstream::eprintln!(
            "\u{1b}[1;33mwarning:\u{1b}[0m a broker uses {}: what it is writing just now may look torn",
            folder.data_dir.display()
        );
    }
}

/// Milliseconds since 1970.
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// As many as there are processors, unless the user says otherwise.
fn threads(asked: Option<usize>) -> Result<usize> {
    match asked {
        Some(threads) => Ok(threads),
        None => Ok(std::thread::available_parallelism().context("cannot tell how many processors there are")?.get()),
    }
}
