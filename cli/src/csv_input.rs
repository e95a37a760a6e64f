//! CSV with a header row: each row becomes one JSON object whose fields are the columns, in their order.
//!
//! Owns the choice of key and timestamp by column. All fields are text, so that the object equals the file cell by cell;
//! with `infer` what is a JSON number, `true` or `false` is written as such. Invariant: every row has as many fields as
//! the header, and column names are unique.

use std::io::Read;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use csv::{ByteRecord, Reader, ReaderBuilder};

use crate::input_record::InputRecord;
use crate::timestamp::{EXPECTED, parse_timestamp};

/// How rows become records.
#[derive(Debug, Clone, Default)]
pub(crate) struct CsvOptions {
    pub(crate) delimiter: u8,
    pub(crate) key_column: Option<String>,
    pub(crate) timestamp_column: Option<String>,
    pub(crate) infer: bool,
}

pub(crate) struct CsvInput<R: Read> {
    reader: Reader<R>,
    row: ByteRecord,
    /// The columns' names as JSON text, with the colon.
    names: Vec<Vec<u8>>,
    key_column: Option<usize>,
    timestamp_column: Option<usize>,
    infer: bool,
}

impl<R: Read> CsvInput<R> {
    /// Reads the header row.
    pub(crate) fn new(input: R, options: &CsvOptions) -> Result<Self> {
        let mut reader = ReaderBuilder::new().delimiter(options.delimiter).from_reader(input);
        let header = reader.headers().context("cannot read the header row of the CSV")?;
        let columns: Vec<String> = header.iter().map(|name| name.trim_start_matches('\u{feff}').to_owned()).collect();
        if columns.iter().all(String::is_empty) {
            bail!("the CSV has no header row");
        }
        for (index, name) in columns.iter().enumerate() {
            if columns[..index].contains(name) {
                bail!("the header row names the column {name:?} twice");
            }
        }
        let position = |wanted: &Option<String>| match wanted {
            None => Ok(None),
            Some(wanted) => match columns.iter().position(|name| name == wanted) {
                Some(index) => Ok(Some(index)),
                None => bail!("there is no column {wanted:?}; the columns are {}", columns.join(", ")),
            },
        };
        let names = columns.iter().map(|name| Ok([serde_json::to_vec(name)?, b":".to_vec()].concat()));
        Ok(CsvInput {
            names: names.collect::<Result<_>>()?,
            key_column: position(&options.key_column)?,
            timestamp_column: position(&options.timestamp_column)?,
            infer: options.infer,
            reader,
            row: ByteRecord::new(),
        })
    }

    pub(crate) fn next_record(&mut self) -> Result<Option<InputRecord>> {
        if !self.reader.read_byte_record(&mut self.row).context("the CSV is malformed")? {
            return Ok(None);
        }
        let line = self.row.position().map_or(0, csv::Position::line);
        let record = self.record().with_context(|| format!("line {line}"))?;
        Ok(Some(InputRecord { line, ..record }))
    }

    fn record(&self) -> Result<InputRecord> {
        let field = |index: usize| self.row.get(index).unwrap_or_default();
        let timestamp = match self.timestamp_column {
            None => None,
            Some(index) => {
                let text = String::from_utf8_lossy(field(index));
                Some(parse_timestamp(&text).with_context(|| format!("the timestamp {text:?} is not {EXPECTED}"))?)
            }
        };
        Ok(InputRecord {
            timestamp,
            key: self.key_column.map(|index| Bytes::copy_from_slice(field(index))),
            value: Some(self.object()?.into()),
            ..InputRecord::default()
        })
    }

    fn object(&self) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(self.row.as_slice().len() * 3);
        for (index, (name, field)) in self.names.iter().zip(&self.row).enumerate() {
            out.push(if index == 0 { b'{' } else { b',' });
            out.extend_from_slice(name);
            if self.infer && (is_number(field) || field == b"true" || field == b"false") {
                out.extend_from_slice(field);
            } else {
                let text = std::str::from_utf8(field).with_context(|| format!("column {} is not UTF-8", index + 1))?;
                serde_json::to_writer(&mut out, text)?;
            }
        }
        out.push(b'}');
        Ok(out)
    }
}

/// Whether the bytes are a number as JSON spells it, so that `007` and `+1` stay text.
fn is_number(field: &[u8]) -> bool {
    fn digits(text: &[u8]) -> Option<&[u8]> {
        let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (count > 0).then(|| &text[count..])
    }
    fn rest(field: &[u8]) -> Option<&[u8]> {
        let unsigned = field.strip_prefix(b"-").unwrap_or(field);
        let mut rest = match unsigned.strip_prefix(b"0") {
            Some(rest) => rest,
            None => digits(unsigned)?,
        };
        if let Some(fraction) = rest.strip_prefix(b".") {
            rest = digits(fraction)?;
        }
        if let [b'e' | b'E', exponent @ ..] = rest {
            rest = digits(exponent.strip_prefix(b"-").or(exponent.strip_prefix(b"+")).unwrap_or(exponent))?;
        }
        Some(rest)
    }
    rest(field) == Some(b"")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLIGHTS: &str = "tailnum,dep_delay,name,time_hour\nN14228,2,\"Air, \"\"O\"\"\",2013-01-01T10:00:00Z\n\
                           NA,NA,,1357034400000\n";

    fn options(infer: bool) -> CsvOptions {
        CsvOptions {
            delimiter: b',',
            key_column: Some("tailnum".to_owned()),
            timestamp_column: Some("time_hour".to_owned()),
            infer,
        }
    }

    fn values(text: &str, options: &CsvOptions) -> Vec<String> {
        let mut input = CsvInput::new(text.as_bytes(), options).expect("a good header");
        let mut out = Vec::new();
        while let Some(record) = input.next_record().expect("good rows") {
            out.push(String::from_utf8(record.value.expect("a value").to_vec()).expect("JSON is UTF-8"));
        }
        out
    }

    #[test]
    fn a_row_is_an_object_of_text() {
        assert_eq!(
            values(FLIGHTS, &options(false)),
            [
                r#"{"tailnum":"N14228","dep_delay":"2","name":"Air, \"O\"","time_hour":"2013-01-01T10:00:00Z"}"#,
                r#"{"tailnum":"NA","dep_delay":"NA","name":"","time_hour":"1357034400000"}"#,
            ]
        );
    }

    #[test]
    fn inferred_values_keep_their_spelling() {
        let text = "a,b,c,d,e,f\n-1.50e3,true,007,NA,+1,0\n";
        let options = CsvOptions { delimiter: b',', infer: true, ..CsvOptions::default() };
        assert_eq!(values(text, &options), [r#"{"a":-1.50e3,"b":true,"c":"007","d":"NA","e":"+1","f":0}"#]);
        for no_number in ["", "-", ".5", "1.", "1e", "0x1", "1 ", "01", "NaN"] {
            assert!(!is_number(no_number.as_bytes()), "{no_number}");
        }
    }

    #[test]
    fn key_and_timestamp_come_from_columns() {
        let mut input = CsvInput::new(FLIGHTS.as_bytes(), &options(false)).expect("a good header");
        for key in ["N14228", "NA"] {
            let record = input.next_record().expect("good").expect("two rows");
            assert_eq!(record.key.as_deref(), Some(key.as_bytes()));
            assert_eq!(record.timestamp, Some(1_357_034_400_000));
        }
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let error = |text: &str, options: &CsvOptions| match CsvInput::new(text.as_bytes(), options) {
            Err(error) => format!("{error:#}"),
            Ok(mut input) => loop {
                match input.next_record() {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("no mistake found in {text:?}"),
                    Err(error) => break format!("{error:#}"),
                }
            },
        };
        let plain = CsvOptions { delimiter: b',', ..CsvOptions::default() };
        assert!(error("a,b\n1,2\n1,2,3\n", &plain).contains("line: 3"), "{}", error("a,b\n1,2\n1,2,3\n", &plain));
        assert!(error("a,a\n", &plain).contains("twice"));
        assert!(error("", &plain).contains("no header row"));
        assert!(error("a,b\n1,2\n", &options(false)).contains("the columns are a, b"));
        let time = error("tailnum,time_hour\nN1,2013-01-01\nN2,soon\n", &options(false));
        assert!(time.starts_with("line 3: the timestamp \"soon\" is not"), "{time}");
    }
}
