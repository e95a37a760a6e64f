//! What can be wrong with a configuration, and where a value came from.
//!
//! Owns the messages that a person reads when a start is refused: each names the key, the value, what is allowed and
//! the place. Which Kafka error code a client gets is decided in `api/error_map`.

use std::fmt;
use std::path::PathBuf;

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// A request, or the program that embeds the broker.
    Program,
    /// A flag of the command line, as it was given.
    Flag(String),
    /// An environment variable, by its name.
    Variable(String),
    /// A line of a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

/// ` (from the variable OTTLA_X)`; nothing for [`Origin::Program`].
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Program => Ok(()),
            Origin::Flag(flag) => write!(f, " (from the flag {flag})"),
            Origin::Variable(name) => write!(f, " (from the environment variable {name})"),
            Origin::File { path, line } => write!(f, " (from {}:{line})", path.display()),
        }
    }
}

/// Which name space a key was looked for in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The keys of a broker.
    Broker,
    /// The keys of a topic.
    Topic,
    /// The keys of a group.
    Group,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scope::Broker => "broker",
            Scope::Topic => "topic",
            Scope::Group => "group",
        })
    }
}

/// Why a configuration, or a change of it, is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Neither Kafka nor Ottla has such a key.
    #[error("unknown {scope} key `{key}` with the value `{value}`{origin}{}", suggestion(*.nearest))]
    UnknownKey {
        /// Broker, topic or group key.
        scope: Scope,
        /// The key as it was written.
        key: String,
        /// Its value.
        value: String,
        /// The known key that was probably meant.
        nearest: Option<&'static str>,
        /// Where it was set.
        origin: Origin,
    },
    /// The value does not parse or lies outside the bounds.
    #[error("`{key}` = `{value}`{origin} is not allowed: {allowed}")]
    InvalidValue {
        /// The key.
        key: String,
        /// The value as it was written; a password is never repeated here.
        value: String,
        /// What is allowed, or why this value is not.
        allowed: String,
        /// Where it was set.
        origin: Origin,
    },
    /// A value is needed and null was given.
    #[error("`{key}` needs a value, not null")]
    NullValue {
        /// The key.
        key: String,
    },
    /// Two values that are fine alone contradict each other.
    #[error("{0}")]
    Conflict(String),
    /// The key can change only by a restart.
    #[error("`{key}` cannot be changed while the broker runs")]
    ReadOnly {
        /// The key.
        key: String,
    },
    /// The key can change for one broker, not for all at once.
    #[error("`{key}` can be changed for one broker only, not as a default of the cluster")]
    PerBrokerOnly {
        /// The key.
        key: String,
    },
    /// APPEND or SUBTRACT on something that is not a list.
    #[error("`{key}` is a {config_type}, not a list: nothing can be appended to it or subtracted from it")]
    NotAList {
        /// The key.
        key: String,
        /// Its type.
        config_type: &'static str,
    },
    /// One alteration names a key more than once.
    #[error("`{key}` is named more than once")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A configuration file is not in its format.
    #[error("{}:{line}: {reason}", .path.display())]
    MalformedFile {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
}

impl ConfigError {
    /// The same error, said to come from `place`.
    #[must_use]
    pub fn at(mut self, place: &Origin) -> Self {
        if let ConfigError::UnknownKey { origin, .. } | ConfigError::InvalidValue { origin, .. } = &mut self {
            *origin = place.clone();
        }
        self
    }
}

fn suggestion(nearest: Option<&'static str>) -> String {
    match nearest {
        Some(name) => format!("; did you mean `{name}`?"),
        None => "; docs/configuration.md lists all keys".to_owned(),
    }
}
