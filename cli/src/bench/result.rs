//! What a measurement comes to, as a table or as JSON.

use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use super::BenchTopic;
use crate::output::{OutputFormat, or_dash, print, print_json, table};

/// A measurement under way.
#[derive(Debug)]
pub(super) struct Stopwatch {
    started: Instant,
    cpu: Duration,
}

impl Stopwatch {
    pub(super) fn start() -> Self {
        Stopwatch { started: Instant::now(), cpu: cpu_of_this_process() }
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// What it came to: so many records with so many bytes of values.
    pub(super) fn stop(self, what: &'static str, records: u64, bytes: u64, latencies: &Histogram<u64>) -> Measured {
        let seconds = self.started.elapsed().as_secs_f64().max(1e-9);
        Measured {
            what,
            records,
            bytes,
            seconds,
            records_per_second: records as f64 / seconds,
            mb_per_second: bytes as f64 / 1e6 / seconds,
            client_cpu_seconds: (cpu_of_this_process() - self.cpu).as_secs_f64(),
            latency_ms: Latency::of(latencies),
        }
    }
}

fn cpu_of_this_process() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}

/// One measurement.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    what: &'static str,
    records: u64,
    /// Bytes of values.
    bytes: u64,
    seconds: f64,
    records_per_second: f64,
    mb_per_second: f64,
    client_cpu_seconds: f64,
    latency_ms: Option<Latency>,
}

/// Quantiles in milliseconds.
#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p99: f64,
    p99_9: f64,
    max: f64,
}

impl Latency {
    /// Of microseconds; `None` where nothing was measured.
    fn of(micros: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| micros.value_at_quantile(quantile) as f64 / 1e3;
        let max = micros.max() as f64 / 1e3;
        (!micros.is_empty()).then(|| Latency { p50: at(0.5), p99: at(0.99), p99_9: at(0.999), max })
    }
}

/// A histogram for latencies in microseconds, of three significant digits.
pub(super) fn latencies() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are allowed")
}

/// Everything that is printed.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    topic: String,
    partitions: i32,
    results: Vec<Measured>,
}

impl Report {
    pub(super) fn new(topic: &BenchTopic, results: Vec<Measured>) -> Self {
        Report { topic: topic.name.to_string(), partitions: topic.partitions, results }
    }

    pub(super) fn print(&self, format: OutputFormat) -> Result<()> {
        match format {
            OutputFormat::Json => print_json(self),
            OutputFormat::Table => print(&self.table()),
        }
    }

    fn table(&self) -> String {
        let header = ["", "records", "seconds", "records/s", "MB/s", "CPU s", "p50 ms", "p99 ms", "p99.9 ms", "max ms"];
        let rows = self.results.iter().map(|measured| {
            let latency = |pick: fn(&Latency) -> f64| {
                or_dash(measured.latency_ms.as_ref().map(|latency| format!("{:.2}", pick(latency))))
            };
            [
                measured.what.to_owned(),
                measured.records.to_string(),
                format!("{:.2}", measured.seconds),
                format!("{:.0}", measured.records_per_second),
                format!("{:.1}", measured.mb_per_second),
                format!("{:.2}", measured.client_cpu_seconds),
                latency(|latency| latency.p50),
                latency(|latency| latency.p99),
                latency(|latency| latency.p99_9),
                latency(|latency| latency.max),
            ]
        });
        table(header, rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_milliseconds_and_nothing_measured_is_a_dash() {
        let mut micros = latencies();
        (1..=1000).for_each(|value| micros.record(value * 10).expect("no bound"));
        let latency = Latency::of(&micros).expect("there are some");
        assert!((latency.p50 - 5.0).abs() < 0.01 && (latency.p99 - 9.9).abs() < 0.02 && latency.max >= 10.0);

        let topic = BenchTopic { name: "t".into(), partitions: 1 };
        let measured = Stopwatch::start().stop("fetch", 10, 1000, &latencies());
        let text = Report::new(&topic, vec![measured]).table();
        let row = text.lines().nth(1).expect("a row");
        assert_eq!(row.split_whitespace().next(), Some("fetch"));
        assert_eq!(row.split_whitespace().filter(|cell| *cell == "-").count(), 4, "{text}");
    }
}
