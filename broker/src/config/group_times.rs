//! The settings that a single group of the consumer protocol can have of its own: the broker's under the group's.
//!
//! Owns their bounds, which are keys of the broker. An alteration beyond them is refused; a value that was altered before a start
//! with narrower bounds counts as the nearest one within.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::config_error::{ConfigError, Origin};

/// The settings of one group, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupTimes {
    /// How long a member may be silent.
    pub session_timeout_ms: i32,
    /// How often members are told to send heartbeats.
    pub heartbeat_interval_ms: i32,
    /// What lies between two target assignments at least.
    pub assignment_interval_ms: i32,
}

/// Which settings a group may have of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupTimeBounds {
    /// Of `consumer.session.timeout.ms`.
    pub session_timeout_ms: RangeInclusive<i32>,
    /// Of `consumer.heartbeat.interval.ms`.
    pub heartbeat_interval_ms: RangeInclusive<i32>,
    /// Of `consumer.assignment.interval.ms`.
    pub assignment_interval_ms: RangeInclusive<i32>,
}

impl GroupTimes {
    /// These settings under the values that a group has of its own.
    #[must_use]
    pub fn under(mut self, overrides: &BTreeMap<String, String>, bounds: &GroupTimeBounds) -> Self {
        let own = |key: &str, bounds: &RangeInclusive<i32>| {
            let value: i32 = overrides.get(key)?.parse().ok()?;
            Some(value.clamp(*bounds.start(), *bounds.end()))
        };
        let mut set = |key: &str, bounds: &RangeInclusive<i32>, field: fn(&mut Self) -> &mut i32| {
            if let Some(value) = own(key, bounds) {
                *field(&mut self) = value;
            }
        };
        set("consumer.session.timeout.ms", &bounds.session_timeout_ms, |times| &mut times.session_timeout_ms);
        set("consumer.heartbeat.interval.ms", &bounds.heartbeat_interval_ms, |times| &mut times.heartbeat_interval_ms);
        set("consumer.assignment.interval.ms", &bounds.assignment_interval_ms, |times| {
            &mut times.assignment_interval_ms
        });
        self
    }
}

impl GroupTimeBounds {
    /// Holds the values of a group, which parse, against the bounds.
    ///
    /// # Errors
    /// `InvalidValue` for one that lies outside.
    pub(super) fn check(&self, overrides: &BTreeMap<String, String>) -> Result<(), ConfigError> {
        for (what, bounds) in [
            ("session.timeout", &self.session_timeout_ms),
            ("heartbeat.interval", &self.heartbeat_interval_ms),
            ("assignment.interval", &self.assignment_interval_ms),
        ] {
            let key = format!("consumer.{what}.ms");
            let Some(value) = overrides.get(&key) else { continue };
            if value.parse().is_ok_and(|number: i32| !bounds.contains(&number)) {
                let (least, most) = (bounds.start(), bounds.end());
                let allowed = format!(
                    "at least {least} (`group.consumer.min.{what}.ms`), at most {most} (`group.consumer.max.{what}.ms`)"
                );
                return Err(ConfigError::InvalidValue { key, value: value.clone(), allowed, origin: Origin::Program });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    //! Goal: a group's own values count within the broker's bounds, and only those that it has.

    use super::*;

    #[test]
    fn a_group_has_its_own_values_within_the_bounds() {
        let bounds = GroupTimeBounds {
            session_timeout_ms: 10..=20,
            heartbeat_interval_ms: 1..=5,
            assignment_interval_ms: 0..=100,
        };
        let broker = GroupTimes { session_timeout_ms: 15, heartbeat_interval_ms: 2, assignment_interval_ms: 7 };
        let of = |values: &[(&str, &str)]| -> BTreeMap<String, String> {
            values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        assert_eq!(broker.under(&of(&[]), &bounds), broker);
        let own = of(&[("consumer.session.timeout.ms", "12"), ("consumer.assignment.interval.ms", "0")]);
        let expected = GroupTimes { session_timeout_ms: 12, assignment_interval_ms: 0, ..broker };
        assert_eq!(broker.under(&own, &bounds), expected);
        bounds.check(&own).unwrap();

        // Altered under other bounds, before a restart.
        let outside = of(&[("consumer.session.timeout.ms", "21"), ("consumer.heartbeat.interval.ms", "-1")]);
        let expected = GroupTimes { session_timeout_ms: 20, heartbeat_interval_ms: 1, ..broker };
        assert_eq!(broker.under(&outside, &bounds), expected);
        let error = bounds.check(&outside).unwrap_err().to_string();
        assert_eq!(
            error,
            "`consumer.session.timeout.ms` = `21` is not allowed: at least 10 (`group.consumer.min.session.timeout.ms`), \
             at most 20 (`group.consumer.max.session.timeout.ms`)"
        );
    }
}
