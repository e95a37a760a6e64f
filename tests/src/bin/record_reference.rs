//! Plays the script to a running Apache Kafka and writes its answers as golden files.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use clap::Parser;
use ottla_tests::reference::{golden, run_scenarios, scenarios};

/// Plays the script of reference requests to a broker and keeps its answers.
#[derive(Parser)]
struct Arguments {
    /// Where Apache Kafka listens: a fresh single node with its default settings.
    #[arg(long, default_value = "127.0.0.1:9092")]
    bootstrap: SocketAddr,
    /// Only scenarios whose name begins with this.
    #[arg(long, default_value = "")]
    only: String,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let scenarios = scenarios::all();
    let chosen: Vec<_> = scenarios.iter().filter(|scenario| scenario.name.starts_with(&arguments.only)).collect();
    ensure!(!chosen.is_empty(), "no scenario begins with {}", arguments.only);
    let mut failed = 0;
    for scenario in chosen {
        match run_scenarios(arguments.bootstrap, [scenario]) {
            Ok(recorded) => {
                for (name, answers) in recorded {
                    golden::write(name, &answers)?;
                    println!("{name}: {} answers", answers.len());
                }
            }
            Err(error) => {
                failed += 1;
                eprintln!("{}: {error:#}", scenario.name);
            }
        }
    }
    ensure!(failed == 0, "{failed} scenarios were not recorded");
    Ok(())
}
