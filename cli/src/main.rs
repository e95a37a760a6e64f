//! The `ottla` command: the broker and the tools for it, in one binary.
//!
//! Parses the command line, runs one command (each has a file of its name) and turns its outcome into an exit code.

mod base64;
mod bench;
mod cluster;
mod command_line;
mod completions;
mod config_changes;
mod consume;
mod csv_input;
mod group;
mod input_record;
mod interrupt;
mod log;
mod output;
mod partition_offsets;
mod produce;
mod producer_options;
mod progress;
mod record_format;
mod record_json;
mod serve;
mod start_position;
mod timestamp;
mod topic;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use command_line::{Command, CommandLine};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(CommandLine::parse()) {
        Ok(code) => code,
        Err(error) => output::report(&error),
    }
}

fn run(command_line: CommandLine) -> Result<ExitCode> {
    let command = match command_line.command {
        Command::Completions(command) => return completions::run(&command).map(|()| ExitCode::SUCCESS),
        Command::Log(command) => return Ok(log::run(command)),
        other => other,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the threads of the async runtime")?;
    let outcome = runtime.block_on(async {
        match command {
            Command::Serve(command) => serve::run(command).await.map(|()| ExitCode::SUCCESS),
            Command::Topic(command) => topic::run(command).await.map(|()| ExitCode::SUCCESS),
            Command::Group(command) => group::run(command).await.map(|()| ExitCode::SUCCESS),
            Command::Produce(command) => produce::run(command).await,
            Command::Consume(command) => consume::run(command).await.map(|()| ExitCode::SUCCESS),
            Command::Bench(command) => bench::run(command).await,
            Command::Cluster(command) => cluster::run(command).await.map(|()| ExitCode::SUCCESS),
            Command::Completions(command) => completions::run(&command).map(|()| ExitCode::SUCCESS),
            Command::Log(command) => Ok(log::run(command)),
        }
    });
    // A thread that waits for a line of stdin cannot be stopped, and nothing is left for it to do.
    runtime.shutdown_background();
    outcome
}
