//! A progress bar on stderr for input that takes a while.
//!
//! Nothing is drawn before a second has passed, nor where stderr is no terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

pub(crate) struct Progress {
    /// When to begin; `None` to stay silent.
    begin: Option<Instant>,
    input_bytes: Option<u64>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// `input_bytes` is the size of the input where it is known.
    pub(crate) fn new(enabled: bool, input_bytes: Option<u64>, delay: Duration) -> Self {
        Progress { begin: enabled.then(|| Instant::now() + delay), input_bytes, bar: None }
    }

    pub(crate) fn update(&mut self, bytes: u64, records: u64) {
        if self.begin.is_none_or(|begin| Instant::now() < begin) {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| bar(self.input_bytes));
        bar.set_position(bytes);
        bar.set_message(format!("{records} records"));
    }

    pub(crate) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn bar(input_bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match input_bytes {
        Some(size) => (ProgressBar::new(size), "{bar:40} {bytes}/{total_bytes} {msg} {binary_bytes_per_sec} eta {eta}"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} {msg} {binary_bytes_per_sec}"),
    };
    let style = ProgressStyle::with_template(template).expect("the templates above are well-formed");
    bar.with_style(style)
}
