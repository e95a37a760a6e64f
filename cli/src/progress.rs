//! A progress bar on stderr for input that takes a while.
//!
//! Nothing is drawn before a second has passed, nor where stderr is no terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

pub(crate) struct Progress {
    started: Instant,
    /// When to begin; `None` to stay silent.
    begin: Option<Instant>,
    input_bytes: Option<u64>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// `input_bytes` is the size of the input where it is known.
    pub(crate) fn new(enabled: bool, input_bytes: Option<u64>, delay: Duration) -> Self {
        let started = Instant::now();
        Progress { started, begin: enabled.then(|| started + delay), input_bytes, bar: None }
    }

    pub(crate) fn update(&mut self, bytes: u64, records: u64) {
        self.draw(bytes, message(self.started.elapsed(), bytes, self.input_bytes, records));
    }

    /// As `update`, where records are not counted.
    pub(crate) fn update_bytes(&mut self, bytes: u64) {
        let rest = self.input_bytes.and_then(|size| time_left(self.started.elapsed(), bytes, size));
        self.draw(bytes, rest.unwrap_or_default());
    }

    fn draw(&mut self, bytes: u64, message: String) {
        if self.begin.is_none_or(|begin| Instant::now() < begin) {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| bar(self.input_bytes));
        bar.set_position(bytes);
        bar.set_message(message);
    }

    pub(crate) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Rates over the whole time: those of the last moment jump with every batch.
fn message(elapsed: Duration, bytes: u64, input_bytes: Option<u64>, records: u64) -> String {
    let seconds = elapsed.as_secs_f64().max(1e-3);
    let text = format!("{records} records, {:.0} a second", records as f64 / seconds);
    match input_bytes.and_then(|size| time_left(elapsed, bytes, size)) {
        Some(rest) => format!("{text}, {rest}"),
        None => text,
    }
}

fn time_left(elapsed: Duration, bytes: u64, input_bytes: u64) -> Option<String> {
    let seconds = elapsed.as_secs_f64().max(1e-3);
    let left = input_bytes.saturating_sub(bytes) as f64 / (bytes as f64 / seconds);
    (bytes > 0).then(|| format!("{left:.0} s to go"))
}

fn bar(input_bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match input_bytes {
        Some(size) => (ProgressBar::new(size), "{wide_bar} {bytes}/{total_bytes}, {msg}"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes}, {msg}"),
    };
    let style = ProgressStyle::with_template(template).expect("the templates above are well-formed");
    bar.with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_bar_can_be_drawn() {
        for input_bytes in [Some(100), None] {
            let mut progress = Progress::new(true, input_bytes, Duration::ZERO);
            progress.update(50, 7);
            let drawn = progress.bar.as_ref().map(|bar| (bar.position(), bar.length()));
            assert_eq!(drawn, Some((50, input_bytes)));
            progress.finish();
        }
    }

    #[test]
    fn the_message_tells_rate_and_rest() {
        let second = Duration::from_secs(1);
        assert_eq!(message(second * 2, 50, Some(200), 10), "10 records, 5 a second, 6 s to go");
        assert_eq!(message(second * 2, 50, None, 10), "10 records, 5 a second");
        assert_eq!(message(second, 0, Some(200), 0), "0 records, 0 a second");
        assert_eq!(message(second, 300, Some(200), 1), "1 records, 1 a second, 0 s to go", "a file that grows");
    }

    #[test]
    fn nothing_is_drawn_too_early_or_where_nobody_looks() {
        for (enabled, delay) in [(true, Duration::from_secs(3600)), (false, Duration::ZERO)] {
            let mut progress = Progress::new(enabled, None, delay);
            progress.update(1, 1);
            assert!(progress.bar.is_none());
        }
    }
}
