//! A record as one line of JSON, both ways: what `consume --output json` writes, `produce --format json` reads.
//!
//! Text that is not UTF-8 stands in `key_base64`, `value_base64` and a header's `value_base64` instead. A missing or null
//! value is a tombstone. Reading ignores `topic` and `offset`, so that one topic can be copied into another.

use std::io::{self, Write};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::base64;
use crate::input_record::InputRecord;

/// A record on its way out, borrowed.
pub(crate) struct OutputRecord<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Vec<(&'a str, Option<&'a [u8]>)>,
}

#[derive(Serialize)]
struct Line<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<LineHeader<'a>>,
}

#[derive(Serialize)]
struct LineHeader<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

/// Bytes as text, or else as base64: exactly one of the two is there.
fn split(bytes: Option<&[u8]>) -> (Option<Option<&str>>, Option<String>) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => (Some(None), None),
        Some((_, Ok(text))) => (Some(Some(text)), None),
        Some((bytes, Err(_))) => (None, Some(base64::encode(bytes))),
    }
}

/// Writes the record and a line break.
pub(crate) fn write_json(out: &mut impl Write, record: &OutputRecord<'_>) -> io::Result<()> {
    let (key, key_base64) = split(record.key);
    let (value, value_base64) = split(record.value);
    let headers = record.headers.iter().map(|(key, bytes)| {
        let (value, value_base64) = split(*bytes);
        LineHeader { key, value, value_base64 }
    });
    let line = Line {
        topic: record.topic,
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp,
        key,
        key_base64,
        value,
        value_base64,
        headers: headers.collect(),
    };
    serde_json::to_writer(&mut *out, &line).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ParsedLine {
    #[serde(default, rename = "topic")]
    _topic: Option<String>,
    #[serde(default)]
    partition: Option<i32>,
    #[serde(default, rename = "offset")]
    _offset: Option<i64>,
    #[serde(default)]
    timestamp: Option<i64>,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    key_base64: Option<String>,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    value_base64: Option<String>,
    #[serde(default)]
    headers: Vec<ParsedHeader>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ParsedHeader {
    key: String,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    value_base64: Option<String>,
}

fn join(text: Option<String>, encoded: Option<String>, name: &str) -> Result<Option<Bytes>> {
    match (text, encoded) {
        (Some(_), Some(_)) => bail!("both `{name}` and `{name}_base64` are given"),
        (Some(text), None) => Ok(Some(text.into())),
        (None, Some(encoded)) => {
            let bytes = base64::decode(&encoded).with_context(|| format!("`{name}_base64` is not base64"))?;
            Ok(Some(bytes.into()))
        }
        (None, None) => Ok(None),
    }
}

/// Reads one line of JSON.
pub(crate) fn parse_json(line: &[u8]) -> Result<InputRecord> {
    let parsed: ParsedLine = serde_json::from_slice(line)?;
    let headers = parsed.headers.into_iter();
    let headers: Result<Vec<_>> =
        headers.map(|header| Ok((header.key, join(header.value, header.value_base64, "value")?))).collect();
    Ok(InputRecord {
        partition: parsed.partition,
        timestamp: parsed.timestamp.filter(|timestamp| *timestamp >= 0),
        key: join(parsed.key, parsed.key_base64, "key")?,
        value: join(parsed.value, parsed.value_base64, "value")?,
        headers: headers?,
        line: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(record: &OutputRecord<'_>) -> String {
        let mut out = Vec::new();
        write_json(&mut out, record).expect("a Vec takes everything");
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn what_is_written_is_read_back() {
        let record = OutputRecord {
            topic: "t",
            partition: 3,
            offset: 7,
            timestamp: 1_372_636_800_000,
            key: Some(b"\xff\x00"),
            value: Some("a\"\n\u{e9}".as_bytes()),
            headers: vec![("h", Some(b"1")), ("h", None), ("b", Some(b"\xfe"))],
        };
        let line = written(&record);
        assert_eq!(
            line,
            "{\"topic\":\"t\",\"partition\":3,\"offset\":7,\"timestamp\":1372636800000,\"key_base64\":\"/wA=\",\
             \"value\":\"a\\\"\\n\u{e9}\",\"headers\":[{\"key\":\"h\",\"value\":\"1\"},{\"key\":\"h\",\"value\":null},\
             {\"key\":\"b\",\"value_base64\":\"/g==\"}]}\n"
        );
        let read = parse_json(line.as_bytes()).expect("our own line");
        assert_eq!(read.partition, Some(3));
        assert_eq!(read.timestamp, Some(1_372_636_800_000));
        assert_eq!(read.key.as_deref(), record.key);
        assert_eq!(read.value.as_deref(), record.value);
        let headers: Vec<_> = read.headers.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        assert_eq!(headers, record.headers);
    }

    #[test]
    fn a_tombstone_stays_one() {
        let record = OutputRecord {
            topic: "t",
            partition: 0,
            offset: 0,
            timestamp: -1,
            key: Some(b"k"),
            value: None,
            headers: Vec::new(),
        };
        let read = parse_json(written(&record).as_bytes()).expect("our own line");
        assert_eq!((read.value, read.timestamp), (None, None));
    }

    #[test]
    fn what_is_refused() {
        for (line, says) in [
            ("{", "EOF"),
            ("{\"valu\":\"x\"}", "unknown field `valu`"),
            ("{\"value\":\"x\",\"value_base64\":\"eA==\"}", "both"),
            ("{\"value_base64\":\"?\"}", "not base64"),
            ("{\"value\":{\"a\":1}}", "expected a string"),
        ] {
            let error = format!("{:#}", parse_json(line.as_bytes()).expect_err(line));
            assert!(error.contains(says), "{error}");
        }
    }
}
