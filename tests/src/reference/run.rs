//! Plays scenarios to a broker, and compares what it answered with what was recorded.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use ottla_protocol::ApiKey;

use super::golden::Answers;
use super::play::{Lines, Play};

/// A part of the script, played once in each version.
pub struct Scenario {
    /// `api/case`, also the name of its golden file.
    pub name: &'static str,
    /// The versions that it is played in.
    pub versions: Vec<i16>,
    /// The script itself.
    pub script: fn(&mut Play) -> Result<()>,
}

impl Scenario {
    /// A scenario for every version of `api`.
    pub fn each_version(name: &'static str, api: ApiKey, script: fn(&mut Play) -> Result<()>) -> Self {
        Self { name, versions: api.versions().collect(), script }
    }

    /// A scenario about what does not depend on the version.
    pub fn once(name: &'static str, version: i16, script: fn(&mut Play) -> Result<()>) -> Self {
        Self { name, versions: vec![version], script }
    }
}

/// Plays `scenarios` to the broker at `address` and returns the answers by scenario.
pub fn run_scenarios<'a>(
    address: SocketAddr,
    scenarios: impl IntoIterator<Item = &'a Scenario>,
) -> Result<BTreeMap<&'static str, Answers>> {
    let mut all = BTreeMap::new();
    for scenario in scenarios {
        let mut answers = Answers::default();
        for &version in &scenario.versions {
            let mut play = Play::new(address, scenario.name, version);
            let played = play.tidy_up().and_then(|()| (scenario.script)(&mut play));
            let tidied = play.tidy_up();
            played.and(tidied).with_context(|| format!("scenario {} v{version}", scenario.name))?;
            answers.add(version, play.into_answers());
        }
        all.insert(scenario.name, answers);
    }
    Ok(all)
}

/// One field that two brokers answered differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The scenario.
    pub scenario: String,
    /// The step in it.
    pub step: String,
    /// The version it was asked in.
    pub version: i16,
    /// The field.
    pub path: String,
    /// Kafka's value, or nothing where it has no such field.
    pub kafka: Option<String>,
    /// Ottla's value.
    pub ottla: Option<String>,
}

/// Every field of a scenario in which `ottla` differs from `kafka`.
pub fn compare(scenario: &str, kafka: &Answers, ottla: &Answers) -> Vec<Mismatch> {
    let mut mismatches = Vec::new();
    let none = Lines::new();
    for (step, version, expected) in kafka.iter() {
        let actual = ottla.get(step, version).unwrap_or(&none);
        compare_lines(expected, actual, |path, kafka, ottla| {
            mismatches.push(Mismatch {
                scenario: scenario.to_owned(),
                step: step.to_owned(),
                version,
                path,
                kafka,
                ottla,
            });
        });
    }
    for (step, version, _) in ottla.iter().filter(|(step, version, _)| kafka.get(step, *version).is_none()) {
        mismatches.push(Mismatch {
            scenario: scenario.to_owned(),
            step: step.to_owned(),
            version,
            path: String::new(),
            kafka: None,
            ottla: Some("an answer that was never recorded".to_owned()),
        });
    }
    mismatches
}

fn compare_lines(expected: &Lines, actual: &Lines, mut differ: impl FnMut(String, Option<String>, Option<String>)) {
    let expected: BTreeMap<&String, &String> = expected.iter().map(|(path, value)| (path, value)).collect();
    let actual: BTreeMap<&String, &String> = actual.iter().map(|(path, value)| (path, value)).collect();
    for (path, kafka) in &expected {
        let ottla = actual.get(path);
        if ottla != Some(kafka) {
            differ((*path).clone(), Some((*kafka).clone()), ottla.map(|value| (*value).clone()));
        }
    }
    for (path, ottla) in actual.iter().filter(|(path, _)| !expected.contains_key(*path)) {
        differ((*path).clone(), None, Some((*ottla).clone()));
    }
}
