//! `consume --format`: a string with placeholders, compiled once and filled for every record.

use std::io::{self, Write};

use anyhow::{Result, bail};

use crate::record_json::OutputRecord;
use crate::timestamp::format_timestamp;

/// The placeholders, for `--help`.
pub(crate) const PLACEHOLDERS: &str = "\
%t topic, %p partition, %o offset, %k key, %v or %s value, %h headers as NAME=VALUE,..., \
%T timestamp in ms, %D timestamp as a date, %K and %S length of key and value (-1 for null), %% a percent sign; \
\\n \\t \\r \\0 \\\\ and \\xHH";

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Literal(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Key,
    Value,
    Headers,
    Timestamp,
    Date,
    KeyLength,
    ValueLength,
}

/// A compiled format.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RecordFormat(Vec<Piece>);

impl RecordFormat {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '\\' => literal.extend(escape(&mut letters)?),
                '%' => match letters.next() {
                    Some('%') => literal.push(b'%'),
                    Some(name) => {
                        if !literal.is_empty() {
                            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                        }
                        pieces.push(placeholder(name)?);
                    }
                    None => bail!("the format ends in the middle of a placeholder; a percent sign is %%"),
                },
                other => literal.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(RecordFormat(pieces))
    }

    /// Writes the record; null is written as nothing.
    pub(crate) fn write(&self, out: &mut impl Write, record: &OutputRecord<'_>) -> io::Result<()> {
        let length = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
        for piece in &self.0 {
            match piece {
                Piece::Literal(bytes) => out.write_all(bytes)?,
                Piece::Topic => out.write_all(record.topic.as_bytes())?,
                Piece::Partition => write!(out, "{}", record.partition)?,
                Piece::Offset => write!(out, "{}", record.offset)?,
                Piece::Key => out.write_all(record.key.unwrap_or_default())?,
                Piece::Value => out.write_all(record.value.unwrap_or_default())?,
                Piece::Headers => write_headers(out, record)?,
                Piece::Timestamp => write!(out, "{}", record.timestamp)?,
                Piece::Date => out.write_all(format_timestamp(record.timestamp).as_bytes())?,
                Piece::KeyLength => write!(out, "{}", length(record.key))?,
                Piece::ValueLength => write!(out, "{}", length(record.value))?,
            }
        }
        Ok(())
    }
}

fn write_headers(out: &mut impl Write, record: &OutputRecord<'_>) -> io::Result<()> {
    for (index, (name, value)) in record.headers.iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        out.write_all(name.as_bytes())?;
        out.write_all(b"=")?;
        out.write_all(value.unwrap_or_default())?;
    }
    Ok(())
}

fn placeholder(name: char) -> Result<Piece> {
    Ok(match name {
        't' => Piece::Topic,
        'p' => Piece::Partition,
        'o' => Piece::Offset,
        'k' => Piece::Key,
        'v' | 's' => Piece::Value,
        'h' => Piece::Headers,
        'T' => Piece::Timestamp,
        'D' => Piece::Date,
        'K' => Piece::KeyLength,
        'S' => Piece::ValueLength,
        other => bail!("there is no placeholder %{other}; there are {PLACEHOLDERS}"),
    })
}

fn escape(letters: &mut std::str::Chars<'_>) -> Result<Vec<u8>> {
    Ok(match letters.next() {
        Some('n') => vec![b'\n'],
        Some('t') => vec![b'\t'],
        Some('r') => vec![b'\r'],
        Some('0') => vec![0],
        Some('\\') => vec![b'\\'],
        Some('x') => {
            let digits: String = letters.by_ref().take(2).collect();
            match u8::from_str_radix(&digits, 16) {
                Ok(byte) if digits.len() == 2 => vec![byte],
                _ => bail!("\\x{digits} is not a byte: two hexadecimal digits are needed"),
            }
        }
        other => bail!("\\{} means nothing; there are {PLACEHOLDERS}", other.map_or(String::new(), String::from)),
    })
}

/// Text from the command line in which `\t` and the like stand for what they mean (a key separator).
pub(crate) fn unescape(text: &str) -> Result<String> {
    let mut out = Vec::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => out.extend(escape(&mut letters)?),
            other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Ok(String::from_utf8(out)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(format: &str, key: Option<&[u8]>) -> Vec<u8> {
        let record = OutputRecord {
            topic: "t",
            partition: 2,
            offset: 41,
            timestamp: 1_372_636_800_000,
            key,
            value: Some(b"v\xff"),
            headers: vec![("a", Some(b"1")), ("b", None)],
        };
        let mut out = Vec::new();
        RecordFormat::parse(format).expect(format).write(&mut out, &record).expect("a Vec takes everything");
        out
    }

    #[test]
    fn every_placeholder() {
        assert_eq!(
            filled("%t %p %o %k %h %T %D %K %S %%\\n", Some(b"k")),
            b"t 2 41 k a=1,b= 1372636800000 2013-07-01T00:00:00.000Z 1 2 %\n"
        );
        assert_eq!(filled("%v|%s", None), b"v\xff|v\xff");
        assert_eq!(filled("%k%K\\x00\\\\\\t\u{e9}", None), b"-1\0\\\t\xc3\xa9");
    }

    #[test]
    fn mistakes_are_told_with_what_there_is() {
        for text in ["%q", "%", "\\", "\\q", "\\x1", "\\xzz"] {
            assert!(RecordFormat::parse(text).is_err(), "{text}");
        }
        assert!(RecordFormat::parse("%q").expect_err("no such").to_string().contains("%t topic"));
    }

    #[test]
    fn a_separator_may_be_escaped() {
        assert_eq!(unescape("\\t").expect("a tab"), "\t");
        assert_eq!(unescape("::").expect("as it is"), "::");
    }
}
