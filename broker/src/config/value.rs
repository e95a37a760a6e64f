//! Text to value: parsing by type, bounds, and the canonical spelling that DescribeConfigs shows.
//!
//! Owns Kafka's rules for values (what counts as a number, a boolean, a list). Knows nothing of particular keys.

use std::fmt;

use super::config_error::{ConfigError, Origin, Scope};
use super::config_key::{
    Allowed, ConfigKey, ConfigType, broker_key, broker_keys, group_key, group_keys, nearest, topic_key, topic_keys,
};

/// A parsed value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Boolean(bool),
    /// Int, Short and Long.
    Integer(i64),
    Double(f64),
    Text(String),
    List(Vec<String>),
}

/// As Kafka spells it: no spaces in lists, doubles as Java prints them.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Boolean(value) => value.fmt(f),
            Value::Integer(value) => value.fmt(f),
            Value::Double(value) => f.write_str(&java_double(*value)),
            Value::Text(value) => f.write_str(value),
            Value::List(items) => f.write_str(&items.join(",")),
        }
    }
}

fn java_double(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() || value == 0.0 || (1e-3..1e7).contains(&size) {
        return format!("{value:?}");
    }
    let text = format!("{value:E}");
    match text.split_once('E') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
        _ => text,
    }
}

/// The row of a key, or an error that names the nearest one.
pub(super) fn find(scope: Scope, name: &str, value: &str) -> Result<&'static ConfigKey, ConfigError> {
    let found = match scope {
        Scope::Broker => broker_key(name),
        Scope::Topic => topic_key(name),
        Scope::Group => group_key(name),
    };
    found.ok_or_else(|| ConfigError::UnknownKey {
        scope,
        key: name.to_owned(),
        value: value.to_owned(),
        // A comparison with every key: only for the message.
        nearest: match scope {
            Scope::Broker => nearest(name, broker_keys()),
            Scope::Topic => nearest(name, topic_keys()),
            Scope::Group => nearest(name, group_keys()),
        },
        origin: Origin::Program,
    })
}

/// Parses `text` as a value of `key` and holds it against the key's bounds.
pub(super) fn parse(key: &ConfigKey, text: &str) -> Result<Value, ConfigError> {
    let refuse = |allowed: String| ConfigError::InvalidValue {
        key: key.name.to_owned(),
        value: if key.is_sensitive() { "[hidden]".to_owned() } else { text.to_owned() },
        allowed,
        origin: Origin::Program,
    };
    let value = parse_type(key.config_type, text).ok_or_else(|| refuse(expected(key)))?;
    if is_allowed(key.allowed, &value) { Ok(value) } else { Err(refuse(expected(key))) }
}

fn parse_type(config_type: ConfigType, text: &str) -> Option<Value> {
    let trimmed = text.trim();
    let integer = |least: i64, most: i64| {
        let value = trimmed.parse::<i64>().ok()?;
        (least..=most).contains(&value).then_some(Value::Integer(value))
    };
    match config_type {
        ConfigType::Boolean if trimmed.eq_ignore_ascii_case("true") => Some(Value::Boolean(true)),
        ConfigType::Boolean if trimmed.eq_ignore_ascii_case("false") => Some(Value::Boolean(false)),
        ConfigType::Boolean => None,
        ConfigType::Int => integer(i32::MIN.into(), i32::MAX.into()),
        ConfigType::Short => integer(i16::MIN.into(), i16::MAX.into()),
        ConfigType::Long => integer(i64::MIN, i64::MAX),
        // Java takes a type suffix; a ratio that is not a number would make every comparison with it false.
        ConfigType::Double => {
            let digits = trimmed.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(trimmed);
            digits.parse::<f64>().ok().filter(|value| value.is_finite()).map(Value::Double)
        }
        ConfigType::List if trimmed.is_empty() => Some(Value::List(Vec::new())),
        ConfigType::List => Some(Value::List(trimmed.split(',').map(|item| item.trim().to_owned()).collect())),
        ConfigType::String | ConfigType::Class => Some(Value::Text(trimmed.to_owned())),
        ConfigType::Password => Some(Value::Text(text.to_owned())),
    }
}

fn is_allowed(allowed: Allowed, value: &Value) -> bool {
    match (allowed, value) {
        (Allowed::AtLeast(least), Value::Integer(number)) => *number >= least,
        (Allowed::Between(least, most), Value::Integer(number)) => (least..=most).contains(number),
        (Allowed::BetweenOr(least, most, other), Value::Integer(number)) => {
            (least..=most).contains(number) || *number == other
        }
        (Allowed::FractionUpTo(most), Value::Double(number)) => (0.0..=most).contains(number),
        (Allowed::OneOf(words), Value::Text(text)) => words.contains(&text.as_str()),
        (Allowed::OneOfIgnoringCase(words), Value::Text(text)) => {
            words.iter().any(|word| word.eq_ignore_ascii_case(text))
        }
        (Allowed::EachOf(words), Value::List(items)) => items.iter().all(|item| words.contains(&item.as_str())),
        (Allowed::ThrottledReplicas, Value::List(items)) => {
            matches!(items.as_slice(), [all] if all == "*") || items.iter().all(|item| is_replica(item))
        }
        (Allowed::Any, _) => true,
        _ => false,
    }
}

/// `PARTITION:BROKER`.
fn is_replica(item: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    item.split_once(':').is_some_and(|(partition, broker)| number(partition) && number(broker))
}

/// What a key takes, in words: for error messages and the reference page.
pub(super) fn expected(key: &ConfigKey) -> String {
    let kind = match key.config_type {
        ConfigType::Boolean => "true or false".to_owned(),
        ConfigType::Int => "a 32-bit integer".to_owned(),
        ConfigType::Short => "a 16-bit integer".to_owned(),
        ConfigType::Long => "a 64-bit integer".to_owned(),
        ConfigType::Double => "a number".to_owned(),
        ConfigType::List => "a list separated by commas".to_owned(),
        ConfigType::Class => "the name of a class".to_owned(),
        ConfigType::String | ConfigType::Password => "text".to_owned(),
    };
    match key.allowed {
        Allowed::Any => kind,
        Allowed::AtLeast(least) => format!("{kind}, at least {least}"),
        Allowed::Between(least, most) => format!("{kind} from {least} to {most}"),
        Allowed::BetweenOr(least, most, other) => format!("{kind} from {least} to {most}, or {other}"),
        Allowed::FractionUpTo(most) => format!("{kind} from 0 to {most}"),
        Allowed::OneOf(words) | Allowed::OneOfIgnoringCase(words) => format!("one of {}", words.join(", ")),
        Allowed::EachOf(words) => format!("{kind} of {}", words.join(", ")),
        Allowed::ThrottledReplicas => "* or a list of PARTITION:BROKER".to_owned(),
    }
}

#[cfg(test)]
#[path = "value_test.rs"]
mod tests;
