//! A record as it was read from a file or from stdin, before anything is known of the topic, and the readers.
//!
//! Owns the choice between lines, CSV and JSON. Every error names the line of the input.

use std::io::{self, BufRead, Read};

use anyhow::{Context, Result, bail};
use bytes::Bytes;

use crate::csv_input::CsvInput;
use crate::record_json::parse_json;

/// The longest line that is taken: no topic takes a larger record.
const LINE_BYTES_MAX: u64 = 1 << 30;

/// One record to produce.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct InputRecord {
    /// The line of the input that it began on, from 1.
    pub(crate) line: u64,
    pub(crate) partition: Option<i32>,
    /// Milliseconds since 1970; `None` is the time of sending.
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<Bytes>,
    /// `None` is a tombstone.
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<(String, Option<Bytes>)>,
}

impl InputRecord {
    /// Bytes of key, value and headers.
    pub(crate) fn size(&self) -> u64 {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers: usize = self.headers.iter().map(|(key, value)| key.len() + length(value)).sum();
        (length(&self.key) + length(&self.value) + headers) as u64
    }
}

/// Where records come from.
pub(crate) enum RecordInput<R: Read> {
    /// One record a line, of key and value if there is a separator.
    Lines { reader: LineReader<R>, key_separator: Option<String>, null_marker: Option<String> },
    /// One JSON object a line, as `consume --output json` writes them.
    Json(LineReader<R>),
    /// One record a row.
    Csv(Box<CsvInput<R>>),
}

impl<R: BufRead> RecordInput<R> {
    /// The next record, or `None` at the end of the input.
    pub(crate) fn next_record(&mut self) -> Result<Option<InputRecord>> {
        match self {
            RecordInput::Lines { reader, key_separator, null_marker } => {
                let Some(line) = reader.next_line()? else { return Ok(None) };
                let marker = null_marker.as_deref().map(str::as_bytes);
                let record = split_line(line, key_separator.as_deref(), marker);
                reader.number(record).map(Some)
            }
            RecordInput::Json(reader) => loop {
                let Some(line) = reader.next_line()? else { return Ok(None) };
                if !line.iter().all(u8::is_ascii_whitespace) {
                    let record = parse_json(line);
                    return reader.number(record).map(Some);
                }
            },
            RecordInput::Csv(input) => input.next_record(),
        }
    }
}

fn split_line(line: &[u8], separator: Option<&str>, null_marker: Option<&[u8]>) -> Result<InputRecord> {
    let (key, value) = match separator {
        None => (None, line),
        Some(separator) => {
            let at = find(line, separator.as_bytes());
            let at = at.with_context(|| format!("there is no key separator {separator:?} in it"))?;
            (Some(Bytes::copy_from_slice(&line[..at])), &line[at + separator.len()..])
        }
    };
    let value = (null_marker != Some(value)).then(|| Bytes::copy_from_slice(value));
    Ok(InputRecord { key, value, ..InputRecord::default() })
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len().max(1)).position(|window| window == needle)
}

/// Lines of bytes, without their line breaks (`\n` or `\r\n`).
pub(crate) struct LineReader<R> {
    input: R,
    buffer: Vec<u8>,
    /// The number of the line that was read last, from 1.
    line: u64,
}

impl<R: BufRead> LineReader<R> {
    pub(crate) fn new(input: R) -> Self {
        LineReader { input, buffer: Vec::new(), line: 0 }
    }

    /// Tells a record, or an error, the line that was read last.
    fn number(&self, record: Result<InputRecord>) -> Result<InputRecord> {
        let record = record.with_context(|| format!("line {}", self.line))?;
        Ok(InputRecord { line: self.line, ..record })
    }

    fn next_line(&mut self) -> Result<Option<&[u8]>> {
        self.buffer.clear();
        self.line += 1;
        let read = loop {
            match self.input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut self.buffer) {
                Ok(read) => break read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot read the input"),
            }
        };
        if read == 0 {
            return Ok(None);
        }
        if read as u64 == LINE_BYTES_MAX && self.buffer.last() != Some(&b'\n') {
            bail!("line {} is longer than {LINE_BYTES_MAX} bytes", self.line);
        }
        let line = self.buffer.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        Ok(Some(line.unwrap_or(&self.buffer)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines<'a>(text: &'a str, separator: Option<&str>, marker: Option<&str>) -> RecordInput<&'a [u8]> {
        RecordInput::Lines {
            reader: LineReader::new(text.as_bytes()),
            key_separator: separator.map(str::to_owned),
            null_marker: marker.map(str::to_owned),
        }
    }

    fn all(mut input: RecordInput<&[u8]>) -> Vec<(Option<String>, Option<String>)> {
        let text = |bytes: Option<Bytes>| bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let mut out = Vec::new();
        while let Some(record) = input.next_record().expect("good input") {
            out.push((text(record.key), text(record.value)));
        }
        out
    }

    fn pair(key: Option<&str>, value: Option<&str>) -> (Option<String>, Option<String>) {
        (key.map(str::to_owned), value.map(str::to_owned))
    }

    #[test]
    fn a_line_is_a_value_and_an_empty_one_too() {
        let expected = [pair(None, Some("a b")), pair(None, Some("")), pair(None, Some("c"))];
        assert_eq!(all(lines("a b\n\r\nc", None, None)), expected);
        assert_eq!(all(lines("", None, None)), []);
    }

    #[test]
    fn the_first_separator_ends_the_key() {
        let expected = [pair(Some("k"), Some("v::w")), pair(Some(""), Some("")), pair(Some("k"), None)];
        assert_eq!(all(lines("k::v::w\n::\nk::NULL\n", Some("::"), Some("NULL"))), expected);
    }

    #[test]
    fn a_line_without_its_separator_is_named() {
        let mut input = lines("a:1\nb\n", Some(":"), None);
        input.next_record().expect("the first line has one");
        let error = format!("{:#}", input.next_record().expect_err("the second has none"));
        assert_eq!(error, "line 2: there is no key separator \":\" in it");
    }

    #[test]
    fn empty_lines_between_json_objects_are_skipped() {
        let text = "{\"value\":\"a\"}\n\n  \n{\"value\":\"b\"}\n{\n";
        let mut input = RecordInput::Json(LineReader::new(text.as_bytes()));
        let mut values = Vec::new();
        for _ in 0..2 {
            values.push(input.next_record().expect("good").expect("not the end").value.expect("has a value"));
        }
        assert_eq!(values, ["a", "b"]);
        assert!(format!("{:#}", input.next_record().expect_err("half an object")).starts_with("line 5: "));
    }
}
