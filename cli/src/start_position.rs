//! `consume --from`: where to begin, as people write it.

use std::str::FromStr;

use crate::timestamp::{parse_calendar, parse_timestamp};

/// Where to begin in each partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartPosition {
    /// At the oldest record.
    Beginning,
    /// Behind the newest record: only what is yet to come.
    End,
    /// At this offset.
    Offset(i64),
    /// So many records before the end of each partition.
    Last(i64),
    /// At the first record that is as late as this, in milliseconds since 1970.
    Timestamp(i64),
}

impl FromStr for StartPosition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "{text:?} is no position: earliest (or beginning), latest (or end), an offset, -N for the last N records of each partition, \
                 a time like 2013-07-01T00:00:00Z or 2013-07-01, or @MILLISECONDS since 1970"
            )
        };
        match text {
            "beginning" | "earliest" => return Ok(StartPosition::Beginning),
            "end" | "latest" => return Ok(StartPosition::End),
            _ => {}
        }
        if let Some(time) = text.strip_prefix('@') {
            return parse_timestamp(time).filter(|time| *time >= 0).map(StartPosition::Timestamp).ok_or_else(expected);
        }
        match text.parse::<i64>() {
            Ok(number) if text.starts_with('-') => match number.checked_neg() {
                Some(last) => Ok(StartPosition::Last(last)),
                None => Err(expected()),
            },
            Ok(number) => Ok(StartPosition::Offset(number)),
            Err(_) => parse_calendar(text).filter(|time| *time >= 0).map(StartPosition::Timestamp).ok_or_else(expected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ways_to_say_where() {
        for (text, position) in [
            ("beginning", StartPosition::Beginning),
            ("earliest", StartPosition::Beginning),
            ("end", StartPosition::End),
            ("42", StartPosition::Offset(42)),
            ("-42", StartPosition::Last(42)),
            ("-0", StartPosition::Last(0)),
            ("2013-07-01", StartPosition::Timestamp(1_372_636_800_000)),
            ("2013-07-01T00:00:00Z", StartPosition::Timestamp(1_372_636_800_000)),
            ("@1372636800000", StartPosition::Timestamp(1_372_636_800_000)),
        ] {
            assert_eq!(text.parse(), Ok(position), "{text}");
        }
        for text in ["", "start", "--1", "1.5", "-9223372036854775808", "@", "@-1", "1969-12-31"] {
            assert!(text.parse::<StartPosition>().is_err(), "{text}");
        }
    }
}
