//! `ottla produce`: records from stdin or a file into a topic.
//!
//! A thread reads and parses, the command's task sends, another task collects acknowledgements in the order of the input:
//! three stages with bounded queues between them, so that memory does not grow with the input. The first failure stops
//! the reading; what was sent by then is still waited for, and the message says how much of it was written.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result};
use bytes::Bytes;
use clap::{Args, CommandFactory, ValueEnum};
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use ottla_client::{Delivery, Header, Producer, ProducerConfig, ProducerRecord};

use crate::command_line::{Bootstrap, CommandLine, parse_pair};
use crate::csv_input::{CsvInput, CsvOptions};
use crate::input_record::{InputRecord, LineReader, RecordInput};
use crate::interrupt::Interrupt;
use crate::output::print_json;
use crate::producer_options::ProducerOptions;
use crate::progress::Progress;
use crate::record_format::unescape;

const AFTER_HELP: &str = "\
Examples:
  echo 'hello' | ottla produce greetings
  ottla produce orders orders.txt --key-separator : --header source=import
  zcat flights.csv.gz | ottla produce flights --format csv \\
      --key-column tailnum --timestamp-column time_hour
  ottla consume old --until-end --output json | ottla produce new --format json

Formats:
  lines  one record a line: the value, or key and value with --key-separator
  csv    a header row, then one record a row: a JSON object with the columns as fields, in their
         order. All fields are text, as in the file; --infer writes numbers, true and false as such
  json   one object a line with the fields key, value, headers ([{\"key\": .., \"value\": ..}]),
         timestamp (ms) and partition, all optional; key_base64 and value_base64 take bytes that
         are no text";

/// Records between reading and sending, and deliveries between sending and acknowledgement.
const QUEUE_RECORDS: usize = 10_000;

/// How long it takes until progress is shown.
const SHORT: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum InputFormat {
    /// One record a line
    Lines,
    /// One record a row, the first row names the columns
    Csv,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SummaryFormat {
    /// A line on stderr
    Text,
    /// A JSON document on stdout
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ProduceCommand {
    /// The topic; the broker creates it if its auto.create.topics.enable is on
    topic: String,
    /// The file to read; stdin if not given or -
    file: Option<PathBuf>,
    /// What the input looks like
    #[arg(short, long, value_enum, default_value_t = InputFormat::Lines)]
    format: InputFormat,
    /// lines: what separates key and value, at its first occurrence; \t is a tab
    #[arg(short = 'K', long, value_name = "TEXT")]
    key_separator: Option<String>,
    /// lines: a value that stands for null, which deletes the key from a compacted topic
    #[arg(long, value_name = "TEXT")]
    null_marker: Option<String>,
    /// csv: the column that becomes the key
    #[arg(long, value_name = "COLUMN")]
    key_column: Option<String>,
    /// csv: the column that becomes the timestamp: RFC 3339, a date, or milliseconds since 1970
    #[arg(long, value_name = "COLUMN")]
    timestamp_column: Option<String>,
    /// csv: what separates the columns; \t is a tab
    #[arg(long, value_name = "CHARACTER", default_value = ",")]
    delimiter: String,
    /// csv: write numbers and booleans as such instead of as text
    #[arg(long)]
    infer: bool,
    /// The key of every record that brings none
    #[arg(short, long)]
    key: Option<String>,
    /// A header of every record; may be repeated
    #[arg(short = 'H', long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    header: Vec<(String, String)>,
    /// The partition of every record; chosen by the key if not given
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    #[command(flatten)]
    producer: ProducerOptions,
    /// How to print the summary
    #[arg(short, long, value_enum, default_value_t = SummaryFormat::Text)]
    output: SummaryFormat,
    /// Print neither progress nor a summary
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

impl ProduceCommand {
    /// Refuses, with the exit code of a wrong command line, what would be silently without effect.
    fn check(&self) {
        let only = |format: InputFormat, given: bool, flag: &str| {
            if given && self.format != format {
                let name = format.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned());
                let message = format!("{flag} is for --format {name}");
                CommandLine::command().error(clap::error::ErrorKind::ArgumentConflict, message).exit();
            }
        };
        only(InputFormat::Lines, self.key_separator.is_some(), "--key-separator");
        only(InputFormat::Lines, self.null_marker.is_some(), "--null-marker");
        only(InputFormat::Csv, self.key_column.is_some(), "--key-column");
        only(InputFormat::Csv, self.timestamp_column.is_some(), "--timestamp-column");
        only(InputFormat::Csv, self.delimiter != ",", "--delimiter");
        only(InputFormat::Csv, self.infer, "--infer");
    }

    fn producer_config(&self) -> ProducerConfig {
        let mut config = ProducerConfig::new(self.bootstrap.client_config());
        self.producer.apply(&mut config);
        config
    }

    fn reads_stdin(&self) -> bool {
        self.file.as_deref().is_none_or(|path| path.as_os_str() == "-")
    }

    fn input(&self, consumed: Arc<AtomicU64>) -> Result<(RecordInput<Input>, Option<u64>)> {
        let (raw, size): (Box<dyn Read + Send>, _) = match self.file.as_deref() {
            Some(path) if !self.reads_stdin() => {
                let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
                let size = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len());
                (Box::new(file), size)
            }
            _ => (Box::new(io::stdin()), None),
        };
        let reader = BufReader::with_capacity(1 << 16, CountingReader { inner: raw, consumed });
        let input = match self.format {
            InputFormat::Lines => RecordInput::Lines {
                reader: LineReader::new(reader),
                key_separator: self.key_separator.as_deref().map(unescape).transpose()?,
                null_marker: self.null_marker.clone(),
            },
            InputFormat::Json => RecordInput::Json(LineReader::new(reader)),
            InputFormat::Csv => {
                let options = CsvOptions {
                    delimiter: delimiter(&self.delimiter)?,
                    key_column: self.key_column.clone(),
                    timestamp_column: self.timestamp_column.clone(),
                    infer: self.infer,
                };
                RecordInput::Csv(Box::new(CsvInput::new(reader, &options)?))
            }
        };
        Ok((input, size))
    }
}

fn delimiter(text: &str) -> Result<u8> {
    match unescape(text)?.as_bytes() {
        [one] => Ok(*one),
        _ => anyhow::bail!("--delimiter {text:?} is not one ASCII character"),
    }
}

type Input = BufReader<CountingReader>;

/// Counts what was read, for the progress bar.
struct CountingReader {
    inner: Box<dyn Read + Send>,
    consumed: Arc<AtomicU64>,
}

impl Read for CountingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.consumed.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// What has become of the records.
#[derive(Debug, Default)]
struct Tally {
    acknowledged: u64,
    failed: u64,
    first_failure: Option<Error>,
}

impl Tally {
    fn fail(&mut self, error: Error) {
        self.failed += 1;
        self.first_failure.get_or_insert(error);
    }
}

#[derive(Serialize)]
struct Summary<'a> {
    topic: &'a str,
    records: u64,
    bytes: u64,
    seconds: f64,
}

pub(crate) async fn run(command: ProduceCommand) -> Result<ExitCode> {
    command.check();
    let mut interrupt = Interrupt::new()?;
    let started = Instant::now();
    let consumed = Arc::new(AtomicU64::new(0));
    let (input, input_bytes) = command.input(Arc::clone(&consumed))?;
    let producer = Producer::connect(command.producer_config()).await?;

    let (records, mut to_send) = mpsc::channel(QUEUE_RECORDS);
    let reader = tokio::task::spawn_blocking(move || read_all(input, &records));
    let (deliveries, to_settle) = mpsc::channel(QUEUE_RECORDS);
    let (failed, mut failure_seen) = watch::channel(false);
    let acknowledged = Arc::new(AtomicU64::new(0));
    let settled = tokio::spawn(settle_all(to_settle, failed, Arc::clone(&acknowledged)));

    let typed = command.reads_stdin() && io::stdin().is_terminal();
    let shows_progress = !command.quiet && io::stderr().is_terminal() && !typed;
    let mut progress = Progress::new(shows_progress, input_bytes, SHORT);
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let stamp = RecordStamp::new(&command);
    let mut batch: Vec<InputRecord> = Vec::new();
    let mut bytes = 0;
    let mut refused = None;
    let mut interrupted = false;
    'input: loop {
        tokio::select! {
            count = to_send.recv_many(&mut batch, 1000) => {
                if count == 0 {
                    break 'input;
                }
                for record in batch.drain(..) {
                    let line = record.line;
                    bytes += record.size();
                    match producer.send(stamp.apply(record)).await {
                        Ok(delivery) => {
                            // The other end goes away only after this one.
                            let _ = deliveries.send((line, delivery)).await;
                        }
                        Err(error) => {
                            refused = Some(Error::from(error).context(format!("line {line}")));
                            break 'input;
                        }
                    }
                }
            }
            _ = failure_seen.changed() => break 'input,
            _ = interrupt.next() => {
                interrupted = true;
                break 'input;
            }
            _ = ticks.tick() => {
                progress.update(consumed.load(Ordering::Relaxed), acknowledged.load(Ordering::Relaxed));
            }
        }
    }
    to_send.close();
    drop(to_send);
    drop(deliveries);
    tokio::select! {
        () = producer.flush() => {}
        // The second signal, or the first while a broker that went away is waited for.
        _ = interrupt.next() => anyhow::bail!("interrupted while records were not yet acknowledged"),
    }
    let mut tally = settled.await?;
    producer.close().await;
    progress.finish();
    if let Some(error) = refused {
        tally.fail(error);
    } else if tally.failed == 0
        && !interrupted
        && let Err(error) = reader.await?
    {
        anyhow::bail!("{error:#} (the {} records before it were written)", tally.acknowledged);
    }
    conclude(&command, &tally, bytes, started.elapsed(), interrupted)
}

/// Reads until the end of the input, or until nobody takes the records any more.
fn read_all(mut input: RecordInput<Input>, records: &mpsc::Sender<InputRecord>) -> Result<()> {
    while let Some(record) = input.next_record()? {
        if records.blocking_send(record).is_err() {
            break;
        }
    }
    Ok(())
}

async fn settle_all(
    mut deliveries: mpsc::Receiver<(u64, Delivery)>,
    failed: watch::Sender<bool>,
    acknowledged: Arc<AtomicU64>,
) -> Tally {
    let mut tally = Tally::default();
    while let Some((line, delivery)) = deliveries.recv().await {
        match delivery.await {
            Ok(_) => {
                tally.acknowledged += 1;
                acknowledged.store(tally.acknowledged, Ordering::Relaxed);
            }
            Err(error) => {
                tally.fail(Error::from(error).context(format!("line {line}")));
                failed.send_replace(true);
            }
        }
    }
    tally
}

/// What the command line adds to every record.
struct RecordStamp {
    topic: Arc<str>,
    partition: Option<i32>,
    key: Option<Bytes>,
    headers: Vec<Header>,
}

impl RecordStamp {
    fn new(command: &ProduceCommand) -> Self {
        let header = |(key, value): &(String, String)| Header { key: key.clone(), value: Some(value.clone().into()) };
        RecordStamp {
            topic: command.topic.as_str().into(),
            partition: command.partition,
            key: command.key.clone().map(Bytes::from),
            headers: command.header.iter().map(header).collect(),
        }
    }

    fn apply(&self, input: InputRecord) -> ProducerRecord {
        let mut record = ProducerRecord::tombstone(Arc::clone(&self.topic));
        record.partition = self.partition.or(input.partition);
        record.timestamp = input.timestamp;
        record.key = input.key.or_else(|| self.key.clone());
        record.value = input.value;
        record.headers = self.headers.clone();
        record.headers.extend(input.headers.into_iter().map(|(key, value)| Header { key, value }));
        record
    }
}

fn conclude(
    command: &ProduceCommand,
    tally: &Tally,
    bytes: u64,
    elapsed: Duration,
    interrupted: bool,
) -> Result<ExitCode> {
    let written = tally.acknowledged;
    if let Some(error) = &tally.first_failure {
        anyhow::bail!("{error:#} ({written} records were written, {} not)", tally.failed);
    }
    if command.output == SummaryFormat::Json {
        print_json(&Summary { topic: &command.topic, records: written, bytes, seconds: elapsed.as_secs_f64() })?;
    } else if !command.quiet {
        let rate = written as f64 / elapsed.as_secs_f64().max(1e-6);
        let size = crate::output::bytes(bytes.try_into().unwrap_or(i64::MAX));
        let seconds = elapsed.as_secs_f64();
        anstream::eprintln!("{written} records ({size}) to {} in {seconds:.2} s, {rate:.0} a second", command.topic);
    }
    if interrupted {
        anstream::eprintln!("interrupted: the rest of the input was not read");
        return Ok(ExitCode::from(130));
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_record_brings_wins_except_for_the_partition() {
        let stamp = RecordStamp {
            topic: "t".into(),
            partition: Some(3),
            key: Some("fixed".into()),
            headers: vec![Header { key: "a".to_owned(), value: None }],
        };
        let input = InputRecord {
            partition: Some(1),
            key: Some("own".into()),
            timestamp: Some(5),
            headers: vec![("b".to_owned(), Some("1".into()))],
            ..InputRecord::default()
        };
        let record = stamp.apply(input);
        assert_eq!((record.partition, record.timestamp), (Some(3), Some(5)));
        assert_eq!(record.key.as_deref(), Some(b"own".as_slice()));
        assert_eq!(record.value, None);
        let names: Vec<&str> = record.headers.iter().map(|header| header.key.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(stamp.apply(InputRecord::default()).key.as_deref(), Some(b"fixed".as_slice()));
    }

    #[test]
    fn a_delimiter_is_one_character() {
        assert_eq!(delimiter(";").expect("one"), b';');
        assert_eq!(delimiter("\\t").expect("a tab"), b'\t');
        assert!(delimiter("").is_err() && delimiter(",,").is_err() && delimiter("\u{e9}").is_err());
    }
}
