//! Goal: Ottla answers as Apache Kafka 4.3 does, save where it differs on purpose. Method: the script whose answers Kafka gave is
//! played to a broker in this process, and the answers are compared field by field with the golden files.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use ottla_tests::in_process::InProcessBroker;
use ottla_tests::reference::differences::DIFFERENCES;
use ottla_tests::reference::golden::Answers;
use ottla_tests::reference::run::{Mismatch, compare};
use ottla_tests::reference::{Scenario, golden, run_scenarios, scenarios};

/// That of the recorded node: its default of three seconds would be waited for hundreds of times.
const INITIAL_REBALANCE_DELAY_MS: &str = "500";

/// So many scenarios are played at once, each to a broker of its own.
const AT_ONCE: usize = 4;

/// That of the recorded node: its default of a second would make it depend on the machine which assignment a step sees.
const ASSIGNMENT_INTERVAL_MS: &str = "0";

/// So many are printed; the rest is counted.
const SHOWN_MAX: usize = 4000;

#[test]
fn ottla_answers_as_kafka_does() {
    // `OTTLA_SCENARIO=fetch/` plays a part; which differences are stale can be told only after the whole.
    let only = std::env::var("OTTLA_SCENARIO").unwrap_or_default();
    let all = scenarios::all();
    let chosen: Vec<_> = all.iter().filter(|scenario| scenario.name.starts_with(&only)).collect();
    let mut unexplained = Vec::new();
    let mut failures = Vec::new();
    let mut used = vec![false; DIFFERENCES.len()];
    let mut compared = 0;
    for (scenario, played) in chosen.iter().zip(play_all(&chosen)) {
        let (recorded, played) = match played {
            Ok(both) => both,
            Err(error) => {
                failures.push(format!("{error:#}"));
                continue;
            }
        };
        compared += played.len();
        for mismatch in compare(scenario.name, &recorded, &played) {
            match DIFFERENCES.iter().position(|difference| difference.covers(&mismatch)) {
                Some(position) => used[position] = true,
                None => unexplained.push(mismatch),
            }
        }
    }
    let shown = show(&unexplained);
    assert!(failures.is_empty() && unexplained.is_empty(), "{}\n{shown}", failures.join("\n"));
    assert!(compared > 0, "no scenario begins with {only}");
    if only.is_empty() {
        let stale: Vec<_> = DIFFERENCES.iter().zip(used).filter(|(_, used)| !used).map(|(row, _)| row.row()).collect();
        assert!(stale.is_empty(), "listed as different on purpose, but the same:\n{}", stale.join("\n"));
        assert!(compared > 5000, "only {compared} answers were compared");
    }
}

/// What Kafka and Ottla answered to each scenario. Several are played at once: most of the time they wait for groups to form.
fn play_all(scenarios: &[&Scenario]) -> Vec<Result<(Answers, Answers)>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(scenario) = scenarios.get(index) else { return };
                    let recorded = golden::read(scenario.name);
                    let both = recorded.and_then(|recorded| Ok((play(scenario, &recorded)?, recorded)));
                    done.lock()
                        .expect("nobody panics with it")
                        .insert(index, both.map(|(played, recorded)| (recorded, played)));
                }
            });
        }
    });
    done.into_inner().expect("nobody panicked with it").into_values().collect()
}

/// Plays a scenario; again when it differs in what took long, which a busy machine may be to blame for.
fn play(scenario: &Scenario, recorded: &Answers) -> Result<Answers> {
    for _ in 0..2 {
        let played = play_once(scenario)?;
        if compare(scenario.name, recorded, &played)
            .iter()
            .all(|mismatch| mismatch.path != "elapsed" || explained(mismatch))
        {
            return Ok(played);
        }
    }
    play_once(scenario)
}

fn explained(mismatch: &Mismatch) -> bool {
    DIFFERENCES.iter().any(|difference| difference.covers(mismatch))
}

/// Each time on a broker of its own: the records of the script are of 2023, and a broker that runs for long enough rightly
/// deletes them by its default retention.
fn play_once(scenario: &Scenario) -> Result<Answers> {
    let broker = InProcessBroker::start(&[
        ("group.initial.rebalance.delay.ms", INITIAL_REBALANCE_DELAY_MS),
        ("group.consumer.assignment.interval.ms", ASSIGNMENT_INTERVAL_MS),
    ])?;
    let answers = run_scenarios(broker.address(), [scenario])?.remove(scenario.name);
    broker.stop()?;
    answers.context("an answer for the scenario")
}

/// The mismatches with the versions of each together.
fn show(mismatches: &[Mismatch]) -> String {
    let mut grouped: BTreeMap<_, Vec<i16>> = BTreeMap::new();
    for Mismatch { scenario, step, version, path, kafka, ottla } in mismatches {
        grouped.entry((scenario, step, path, kafka, ottla)).or_default().push(*version);
    }
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "absent".to_owned());
    let mut lines: Vec<String> = grouped
        .iter()
        .take(SHOWN_MAX)
        .map(|((scenario, step, path, kafka, ottla), versions)| {
            format!("{scenario}/{step} {versions:?} {path}: Kafka {}, Ottla {}", value(kafka), value(ottla))
        })
        .collect();
    if grouped.len() > SHOWN_MAX {
        lines.push(format!("... and {} more", grouped.len() - SHOWN_MAX));
    }
    lines.join("\n")
}
