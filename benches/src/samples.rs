//! What was measured in each round, and the row that all rounds of one measurement become, held against its target.

use anyhow::Result;
use serde::Serialize;

use crate::report::{self, Output, median, rounded};

/// What a measurement should come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// A cost, in the measurement's unit.
    AtMost(f64),
    /// A rate, in the measurement's unit.
    AtLeast(f64),
    /// A rate, as a part of what the roofline of the same round reached.
    OfRoofline(f64),
    /// A cost, less than so many times what the same round came to without what is measured.
    TimesBaseline(f64),
}

/// The rounds of one measurement.
#[derive(Debug)]
struct Samples {
    measurement: String,
    unit: &'static str,
    target: Option<Target>,
    values: Vec<f64>,
    rooflines: Vec<f64>,
}

/// All measurements, in the order in which they were first made.
#[derive(Debug, Default)]
pub struct Measurements {
    all: Vec<Samples>,
}

/// One measurement over all rounds.
#[derive(Debug, Serialize)]
struct Row {
    /// What was measured.
    measurement: String,
    /// The unit of all numbers here that are no ratio.
    unit: &'static str,
    /// The target in words, where there is one.
    target: Option<String>,
    /// The median of the rounds.
    measured: f64,
    /// The lowest of the rounds.
    lowest: f64,
    /// The highest of them.
    highest: f64,
    /// The median of the roofline's rounds, where it has one.
    roofline: Option<f64>,
    /// The median of the rounds' own ratios to their roofline.
    of_roofline: Option<f64>,
    /// Whether the target is met, where there is one.
    met: Option<bool>,
}

impl Measurements {
    /// Adds what one round came to.
    pub fn add(&mut self, measurement: impl Into<String>, unit: &'static str, target: Option<Target>, value: f64) {
        self.samples(measurement.into(), unit, target).values.push(value);
    }

    /// Adds what one round came to, and what its roofline did.
    pub fn add_beside(
        &mut self,
        measurement: impl Into<String>,
        unit: &'static str,
        target: Option<Target>,
        value: f64,
        roofline: f64,
    ) {
        let samples = self.samples(measurement.into(), unit, target);
        samples.values.push(value);
        samples.rooflines.push(roofline);
    }

    /// What so many rounds come to, after one that warms up and does not count. Every other round is told to begin with what the
    /// rest is held against.
    ///
    /// # Errors
    /// Those of `measure`.
    pub fn of_rounds(rounds: u32, mut measure: impl FnMut(bool, &mut Measurements) -> Result<()>) -> Result<Self> {
        eprintln!("warming up");
        measure(true, &mut Measurements::default())?;
        let mut measurements = Measurements::default();
        for round in 1..=rounds {
            eprintln!("round {round} of {rounds}");
            measure(round % 2 == 0, &mut measurements)?;
        }
        Ok(measurements)
    }

    fn rows(&self) -> Vec<Row> {
        self.all.iter().map(Samples::row).collect()
    }

    /// Prints one row a measurement under `header`, which says what [`Row::cells`] are.
    ///
    /// # Errors
    /// As [`report::print()`], and a target that was missed.
    pub fn print(&self, output: Output, header: [&str; 8]) -> Result<()> {
        let rows = self.rows();
        report::print(output, &rows, header, Row::cells)?;
        report::require_none_missed(rows.iter().filter(|row| row.met == Some(false)).map(|row| &*row.measurement))
    }

    fn samples(&mut self, measurement: String, unit: &'static str, target: Option<Target>) -> &mut Samples {
        let known = self.all.iter().position(|samples| samples.measurement == measurement && samples.unit == unit);
        let position = known.unwrap_or_else(|| {
            self.all.push(Samples { measurement, unit, target, values: Vec::new(), rooflines: Vec::new() });
            self.all.len() - 1
        });
        &mut self.all[position]
    }
}

impl Samples {
    fn row(&self) -> Row {
        let measured = median(&self.values);
        let ratios: Vec<f64> = self.values.iter().zip(&self.rooflines).map(|(value, least)| value / least).collect();
        let of_roofline = (!ratios.is_empty()).then(|| median(&ratios));
        let met = self.target.map(|target| match target {
            Target::AtMost(limit) => measured <= limit,
            Target::AtLeast(limit) => measured >= limit,
            Target::OfRoofline(part) => of_roofline.is_some_and(|ratio| ratio >= part),
            Target::TimesBaseline(limit) => of_roofline.is_some_and(|ratio| ratio < limit),
        });
        Row {
            measurement: self.measurement.clone(),
            unit: self.unit,
            target: self.target.map(Target::in_words),
            measured,
            lowest: self.values.iter().copied().fold(f64::INFINITY, f64::min),
            highest: self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            roofline: (!self.rooflines.is_empty()).then(|| median(&self.rooflines)),
            of_roofline,
            met,
        }
    }
}

impl Target {
    fn in_words(self) -> String {
        match self {
            Target::AtMost(limit) => format!("at most {limit}"),
            Target::AtLeast(limit) => format!("at least {limit}"),
            Target::OfRoofline(part) => format!("{:.0} % of roofline", part * 100.0),
            Target::TimesBaseline(limit) => format!("less than {limit} times"),
        }
    }
}

impl Row {
    /// One a column.
    fn cells(&self) -> [String; 8] {
        [
            self.measurement.clone(),
            self.unit.to_owned(),
            self.target.clone().unwrap_or_default(),
            rounded(self.measured),
            self.met.map_or("", |met| if met { "met" } else { "missed" }).to_owned(),
            format!("{} to {}", rounded(self.lowest), rounded(self.highest)),
            self.roofline.map_or_else(String::new, rounded),
            self.of_roofline.map_or_else(String::new, |ratio| format!("{:.0} %", ratio * 100.0)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_that_of_each_round_and_the_verdict_that_of_the_medians() {
        let mut measurements = Measurements::default();
        for (value, roofline) in [(70.0, 100.0), (160.0, 200.0), (9.0, 10.0)] {
            measurements.add_beside("produce", "MB/s", Some(Target::OfRoofline(0.8)), value, roofline);
        }
        measurements.add("start", "ms", Some(Target::AtMost(50.0)), 51.0);
        let rows = measurements.rows();
        assert_eq!((rows[0].measured, rows[0].of_roofline, rows[0].met), (70.0, Some(0.8), Some(true)));
        assert_eq!((rows[0].lowest, rows[0].highest), (9.0, 160.0));
        assert_eq!(rows[1].met, Some(false));
        let error = measurements.print(Output::Json, [""; 8]).unwrap_err();
        assert_eq!(error.to_string(), "targets missed: start");
    }
}
