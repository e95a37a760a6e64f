//! What commands print: tables or JSON on stdout, errors on stderr.
//!
//! Owns the layout of tables and the exit code of a failure. Results go to stdout and nothing else does, so that a pipe
//! carries data only.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people
    Table,
    /// For programs: one JSON document
    Json,
}

/// How a list is printed.
#[derive(Debug, Args)]
pub(crate) struct Output {
    /// How to print the result
    #[arg(short = 'o', long, value_enum, default_value_t = OutputFormat::Table)]
    pub(crate) output: OutputFormat,
}

/// A table without lines, as wide as it needs to be: easy to read, and to cut by columns.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.map(str::to_uppercase));
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

/// Prints text as it is.
pub(crate) fn print(text: &str) -> Result<()> {
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

/// Prints one JSON document and a line break.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    print(&text)
}

/// Tells a person why the command failed, and gives the exit code of a failure.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    report_as(error, 1)
}

/// As [`report`], for a command with an exit code of its own for a failure.
pub(crate) fn report_as(error: &anyhow::Error, code: u8) -> ExitCode {
    if is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    anstream::eprintln!("\u{1b}[1;31merror:\u{1b}[0m {error:#}");
    ExitCode::from(code)
}

/// Whoever read our output has seen enough (`ottla consume t | head`): that is no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Goes on where the command line says `--yes`, or a person at a terminal does.
///
/// # Errors
/// A no; and that there is nobody to ask, since a script that forgot `--yes` may not mean it.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        bail!("{question} There is no terminal to ask at, and nothing was deleted: say --yes");
    }
    let mut out = io::stderr();
    write!(out, "{question} [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    ensure!(matches!(answer.trim(), "y" | "Y" | "yes"), "nothing was deleted");
    Ok(())
}

/// A count and its noun.
pub(crate) fn plural(count: i64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A span of time for people: its two largest units.
pub(crate) fn span(milliseconds: i64) -> String {
    const UNITS: [(i64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    match UNITS.iter().position(|(size, _)| milliseconds >= *size) {
        None | Some(3) => format!("{}.{}s", milliseconds / 1000, milliseconds % 1000 / 100),
        Some(at) => {
            let ((large, large_name), (small, small_name)) = (UNITS[at], UNITS[at + 1]);
            format!("{}{large_name}{:02}{small_name}", milliseconds / large, milliseconds % large / small)
        }
    }
}

/// A number of bytes for people.
pub(crate) fn bytes(count: i64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut size = count as f64;
    let mut unit = 0;
    while size.abs() >= 1024.0 && unit < UNITS.len() - 1 {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{size:.1} {}", UNITS[unit]) }
}

/// An option for people.
pub(crate) fn or_dash(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_columns_without_trailing_space() {
        let rows = [["a".to_owned(), "1".to_owned()], ["long name".to_owned(), String::new()]];
        assert_eq!(table(["topic", "n"], rows), "TOPIC      N\na          1\nlong name\n");
    }

    #[test]
    fn sizes_have_a_unit() {
        for (count, text) in [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_572_864, "1.5 MiB")] {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(bytes(i64::MAX), "8388608.0 TiB");
    }

    #[test]
    fn spans_have_their_two_largest_units() {
        for (milliseconds, text) in [
            (0, "0.0s"),
            (12_345, "12.3s"),
            (60_000, "1m00s"),
            (3_599_999, "59m59s"),
            (7_500_000, "2h05m"),
            (86_400_000 * 12, "12d00h"),
        ] {
            assert_eq!(span(milliseconds), text);
        }
    }

    #[test]
    fn a_closed_pipe_is_found_below_its_context() {
        let error = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("cannot print");
        assert!(is_broken_pipe(&error));
        assert!(!is_broken_pipe(&anyhow::anyhow!("something else")));
    }
}
