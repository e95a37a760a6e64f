//! How results are printed, how several rounds become one number, and what a missed target comes to.

use anyhow::{Result, ensure};
use clap::ValueEnum;
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use serde::Serialize;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs: one JSON document.
    Json,
}

/// Prints one line for each of `rows`: the whole of it as JSON, or its `cells` in a table.
///
/// # Errors
/// A row that is no JSON.
pub fn print<R: Serialize, const N: usize>(
    output: Output,
    rows: &[R],
    header: [&str; N],
    cells: impl Fn(&R) -> [String; N],
) -> Result<()> {
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(rows)?),
        Output::Table => {
            let mut table = Table::new();
            table.load_style(UTF8_FULL_CONDENSED);
            table.set_header(header);
            for row in rows {
                table.add_row(cells(row));
            }
            println!("{table}");
        }
    }
    Ok(())
}

/// One number, and what it may be at most.
#[derive(Debug, Serialize)]
pub struct Figure {
    /// What was measured.
    pub measurement: String,
    /// The unit of both numbers.
    pub unit: &'static str,
    /// What it came to.
    pub value: f64,
    /// Not more than this.
    pub target: Option<f64>,
}

impl Figure {
    fn is_missed(&self) -> bool {
        self.target.is_some_and(|target| self.value.is_nan() || self.value > target)
    }
}

/// Ends a run, which has printed everything, with an error that names what has missed its target.
///
/// # Errors
/// Something has.
pub fn require_none_missed<'a>(missed: impl Iterator<Item = &'a str>) -> Result<()> {
    let missed: Vec<&str> = missed.collect();
    ensure!(missed.is_empty(), "targets missed: {}", missed.join("; "));
    Ok(())
}

/// Prints figures, one a line.
///
/// # Errors
/// As [`print()`], and a target that was missed.
pub fn print_figures(output: Output, figures: &[Figure]) -> Result<()> {
    print(output, figures, ["measurement", "unit", "measured", "target", ""], |figure| {
        let verdict = figure.target.map_or("", |_| if figure.is_missed() { "missed" } else { "met" });
        [
            figure.measurement.clone(),
            figure.unit.to_owned(),
            rounded(figure.value),
            figure.target.map_or_else(String::new, |target| format!("at most {}", rounded(target))),
            verdict.to_owned(),
        ]
    })?;
    require_none_missed(figures.iter().filter(|figure| figure.is_missed()).map(|figure| &*figure.measurement))
}

/// The number in the middle; of two, the lower one. Not a number when there is none.
pub fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// Three significant digits or so.
pub fn rounded(number: f64) -> String {
    let digits = match number.abs() {
        0.0..1.0 => 3,
        1.0..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{number:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle_of_the_sorted_numbers() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0]), 1.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_run_fails_with_the_names_of_what_missed_its_target() {
        let figure = |measurement: &str, value: f64, target: Option<f64>| Figure {
            measurement: measurement.to_owned(),
            unit: "s",
            value,
            target,
        };
        let met = [figure("join", 2.0, Some(2.0)), figure("beat", 9.0, None)];
        print_figures(Output::Json, &met).unwrap();
        let missed = [figure("join", 2.1, Some(2.0)), figure("leave", 2.0, Some(2.0)), figure("come", 3.0, Some(2.0))];
        let error = print_figures(Output::Json, &missed).unwrap_err();
        assert_eq!(error.to_string(), "targets missed: join; come");
    }

    #[test]
    fn small_numbers_keep_more_digits() {
        assert_eq!([0.1234, 2.345, 23.45, 2345.6].map(rounded), ["0.123", "2.35", "23.4", "2346"]);
    }
}
