//! Goal: whatever is done to a log in whatever order, it is what a simple model of a log says, and keeps what it promised.
//!
//! Method: random operations, by seed, on a log on a file system in memory: appends of every kind (plain, idempotent,
//! repeated, out of order, transactional, compressed), rolls by size and time, retention, DeleteRecords, compaction, merging,
//! flushes, checkpoints, clean and unclean restarts, power cuts that keep any part of what was not synced, calls that fail,
//! are interrupted or come short, caches that are damaged. After each the log is compared with the model: offsets, content,
//! look-ups by time, what is known of producers and transactions.
//!
//! A failure prints its seed. To run for longer, or one seed again:
//! `OTTLA_MODEL_SECONDS=3600 cargo test --release -p ottla-broker --lib model_test`, `OTTLA_MODEL_SEED=7 ...`.

use std::time::{Duration, Instant};

mod check;
mod model;
mod operations;
mod run;

/// Seeds of a usual run.
const SEEDS: u64 = 60;
/// Operations for each seed.
const STEPS: usize = 150;
/// Seeds that failed once.
const REGRESSIONS: [u64; 9] =
    [365, 394, 496, 1_354_282_857, 560_245_226, 1_723_662_627, 575_099_031, 3_869_027_831, 3_260_982_294];

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

#[test]
fn a_log_is_what_a_simple_model_of_it_says() {
    if let Some(seed) = number("OTTLA_MODEL_SEED") {
        return run::run(seed, STEPS);
    }
    REGRESSIONS.into_iter().for_each(|seed| run::run(seed, STEPS));
    let seconds = number("OTTLA_MODEL_SECONDS");
    let started = Instant::now();
    let goes_on = |seed: u64| match seconds {
        Some(seconds) => started.elapsed() < Duration::from_secs(seconds),
        None => seed < SEEDS,
    };
    // A long run does not begin where the last one did.
    let first = seconds.map_or(0, |_| u64::from(rand::random::<u32>()));
    let mut seed = first;
    while goes_on(seed) {
        run::run(seed, STEPS);
        seed += 1;
    }
    println!("{} seeds of {STEPS} operations", seed - first);
}
