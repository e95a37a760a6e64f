//! Times as people write them, in milliseconds since 1970.
//!
//! Takes RFC 3339 (`2013-07-01T00:00:00Z`, any offset), a date or a time without an offset (both UTC), and a number of
//! milliseconds. Gives RFC 3339 in UTC.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// What is accepted, for messages.
pub(crate) const EXPECTED: &str =
    "a time like 2013-07-01T00:00:00Z, a date like 2013-07-01, or milliseconds since 1970";

/// Milliseconds since 1970, or nothing if `text` is no time.
pub(crate) fn parse_timestamp(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(milliseconds) = text.parse::<i64>() {
        return Some(milliseconds);
    }
    parse_calendar(text)
}

/// As [`parse_timestamp`], without bare numbers.
pub(crate) fn parse_calendar(text: &str) -> Option<i64> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant.as_millisecond());
    }
    let local = match text.parse::<Date>() {
        Ok(date) if text.len() <= "-009999-01-01".len() => date.to_datetime(jiff::civil::Time::midnight()),
        _ => text.parse::<DateTime>().ok()?,
    };
    TimeZone::UTC.to_timestamp(local).ok().map(Timestamp::as_millisecond)
}

/// RFC 3339 in UTC; the number itself where it is no time that a calendar has (-1: none given).
pub(crate) fn format_timestamp(milliseconds: i64) -> String {
    match Timestamp::from_millisecond(milliseconds) {
        Ok(instant) if milliseconds >= 0 => format!("{instant:.3}"),
        _ => milliseconds.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ways_to_write_a_time() {
        let july = Some(1_372_636_800_000);
        for text in ["2013-07-01T00:00:00Z", "2013-07-01", "2013-07-01T00:00:00", "2013-07-01 00:00", "1372636800000"] {
            assert_eq!(parse_timestamp(text), july, "{text}");
        }
        assert_eq!(parse_timestamp("2013-07-01T02:00:00.123+02:00"), Some(1_372_636_800_123));
        for text in ["", "yesterday", "2013-13-01", "12:00"] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
        assert_eq!(parse_calendar("1372636800000"), None);
    }

    #[test]
    fn a_time_is_written_as_it_is_read() {
        assert_eq!(format_timestamp(1_372_636_800_123), "2013-07-01T00:00:00.123Z");
        assert_eq!(parse_timestamp(&format_timestamp(1_372_636_800_123)), Some(1_372_636_800_123));
        assert_eq!(format_timestamp(-1), "-1");
        assert_eq!(format_timestamp(i64::MAX), i64::MAX.to_string());
    }
}
