//! The golden files: one a scenario, steps in order, versions with the same answer together.
//!
//! ```text
//! ## unknown_topic v3-v9 v12
//! responses = list of 1
//! responses{@missing}.name = "@missing"
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::play::Lines;

/// The answers of one scenario: step, version, lines.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answers {
    steps: Vec<String>,
    lines: BTreeMap<(usize, i16), Lines>,
}

impl Answers {
    /// Adds the answers of a run in `version`.
    pub fn add(&mut self, version: i16, answers: Vec<(String, Lines)>) {
        for (step, lines) in answers {
            let position = self.position(step);
            self.lines.insert((position, version), lines);
        }
    }

    fn position(&mut self, step: String) -> usize {
        self.steps.iter().position(|known| *known == step).unwrap_or_else(|| {
            self.steps.push(step);
            self.steps.len() - 1
        })
    }

    /// The number of steps, counted in each version.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// True without any answer.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Every answer: step, version, lines.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i16, &Lines)> {
        self.lines.iter().map(|((step, version), lines)| (self.steps[*step].as_str(), *version, lines))
    }

    /// The answer to a step in a version.
    pub fn get(&self, step: &str, version: i16) -> Option<&Lines> {
        let position = self.steps.iter().position(|known| known == step)?;
        self.lines.get(&(position, version))
    }

    /// The file's text.
    pub fn to_text(&self, scenario: &str) -> String {
        let mut text =
            format!("# {scenario}: the answers of Apache Kafka 4.3. Made by record-reference; see README.md.\n");
        for (position, step) in self.steps.iter().enumerate() {
            let mut groups: Vec<(&Lines, Vec<i16>)> = Vec::new();
            for ((_, version), lines) in self.lines.range((position, i16::MIN)..=(position, i16::MAX)) {
                match groups.iter_mut().find(|(known, _)| *known == lines) {
                    Some((_, versions)) => versions.push(*version),
                    None => groups.push((lines, vec![*version])),
                }
            }
            for (lines, versions) in groups {
                let _ = writeln!(text, "\n## {step} {}", show_versions(&versions));
                for (path, value) in lines {
                    let _ = writeln!(text, "{path} = {value}");
                }
            }
        }
        text
    }

    /// Reads a file's text.
    pub fn from_text(text: &str) -> Result<Self> {
        let mut answers = Self::default();
        let mut current: Vec<(usize, i16)> = Vec::new();
        for line in text.lines() {
            if let Some(heading) = line.strip_prefix("## ") {
                let mut words = heading.split(' ');
                let step = words.next().context("a heading names a step")?;
                let position = answers.position(step.to_owned());
                current.clear();
                for range in words {
                    let (first, last) = range.split_once('-').unwrap_or((range, range));
                    let number = |text: &str| text.strip_prefix('v').and_then(|digits| digits.parse::<i16>().ok());
                    let (Some(first), Some(last)) = (number(first), number(last)) else { bail!("versions {range}") };
                    current.extend((first..=last).map(|version| (position, version)));
                }
                for key in &current {
                    answers.lines.insert(*key, Lines::new());
                }
            } else if !line.is_empty() && !line.starts_with("# ") {
                let (path, value) = line.split_once(" = ").with_context(|| format!("no value in {line}"))?;
                for key in &current {
                    answers.lines.entry(*key).or_default().push((path.to_owned(), value.to_owned()));
                }
            }
        }
        Ok(answers)
    }
}

fn show_versions(versions: &[i16]) -> String {
    let mut ranges: Vec<(i16, i16)> = Vec::new();
    for &version in versions {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == version => *last = version,
            _ => ranges.push((version, version)),
        }
    }
    let show =
        |(first, last): (i16, i16)| if first == last { format!("v{first}") } else { format!("v{first}-v{last}") };
    ranges.into_iter().map(show).collect::<Vec<_>>().join(" ")
}

/// Where the golden file of a scenario lies.
pub fn path_of(scenario: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/golden/reference")).join(format!("{scenario}.txt"))
}

/// Reads a scenario's golden file.
pub fn read(scenario: &str) -> Result<Answers> {
    let path = path_of(scenario);
    let text = std::fs::read_to_string(&path).with_context(|| format!("{}: record it first", path.display()))?;
    Answers::from_text(&text).with_context(|| path.display().to_string())
}

/// Writes a scenario's golden file.
pub fn write(scenario: &str, answers: &Answers) -> Result<()> {
    let path = path_of(scenario);
    std::fs::create_dir_all(path.parent().context("a golden file has a directory")?)?;
    Ok(std::fs::write(&path, answers.to_text(scenario))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_makes_the_round_trip_and_groups_versions() {
        let line = |value: &str| vec![("a.b".to_owned(), value.to_owned())];
        let mut answers = Answers::default();
        for (version, value) in [(0, "1"), (1, "1"), (2, "x = y"), (3, "1")] {
            answers.add(version, vec![("first".to_owned(), line(value)), ("second".to_owned(), line("0"))]);
        }
        let text = answers.to_text("api/case");
        assert!(text.contains("## first v0-v1 v3\na.b = 1\n\n## first v2\na.b = x = y\n\n## second v0-v3\n"), "{text}");
        assert_eq!(Answers::from_text(&text).unwrap(), answers);
    }
}
