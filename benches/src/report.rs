//! How results are printed, and how several rounds become one number.

use anyhow::Result;
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

/// Prints figures, one a line.
///
/// # Errors
/// As [`print()`].
pub fn print_figures(output: Output, figures: &[Figure]) -> Result<()> {
    print(output, figures, ["measurement", "unit", "measured", "target", ""], |figure| {
        let verdict = figure.target.map_or("", |target| if figure.value <= target { "met" } else { "missed" });
        [
            figure.measurement.clone(),
            figure.unit.to_owned(),
            rounded(figure.value),
            figure.target.map_or_else(String::new, |target| format!("at most {}", rounded(target))),
            verdict.to_owned(),
        ]
    })
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
    fn small_numbers_keep_more_digits() {
        assert_eq!([0.1234, 2.345, 23.45, 2345.6].map(rounded), ["0.123", "2.35", "23.4", "2346"]);
    }
}
