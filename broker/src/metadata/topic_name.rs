//! The name of a topic as a type: whoever holds a `TopicName` holds a name that Kafka allows.
//!
//! Invariant: 1 to 249 characters of `[a-zA-Z0-9._-]`, neither `.` nor `..`. Folder names are built from nothing else, so
//! no path ever comes from an unchecked name.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// The longest name, in characters: with `-PARTITION` behind it, it is still a file name everywhere.
pub const TOPIC_NAME_LEN_MAX: usize = 249;

/// The folder of the metadata log is that of partition 0 of this name, so no topic can have it.
pub const CLUSTER_METADATA_TOPIC: &str = "__cluster_metadata";

/// Topics that the coordinators keep their state in: clients may create and read, but neither write nor delete them.
pub const INTERNAL_TOPICS: [&str; 2] = ["__consumer_offsets", "__transaction_state"];

/// Why a text is not the name of a topic: INVALID_TOPIC_EXCEPTION.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TopicNameError {
    /// No characters.
    #[error("a topic name cannot be empty")]
    Empty,
    /// `.` or `..`, which mean folders.
    #[error("a topic name cannot be \".\" or \"..\"")]
    Dots,
    /// Too many characters.
    #[error("a topic name has at most {TOPIC_NAME_LEN_MAX} characters, this one {len}: {name:?}...")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// How it begins.
        name: String,
    },
    /// A character that is not allowed.
    #[error(
        "topic name {name:?} has the character {character:?}; allowed are ASCII letters and digits, '.', '_' and '-'"
    )]
    Character {
        /// The name.
        name: String,
        /// Its first wrong character.
        character: char,
    },
}

/// The name of a topic. Cheap to clone: the text is shared.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Checks a name by Kafka's rules.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn parse(name: &str) -> Result<Self, TopicNameError> {
        if name.is_empty() {
            return Err(TopicNameError::Empty);
        }
        if name == "." || name == ".." {
            return Err(TopicNameError::Dots);
        }
        if name.len() > TOPIC_NAME_LEN_MAX {
            return Err(TopicNameError::TooLong { len: name.len(), name: name.chars().take(40).collect() });
        }
        let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if let Some(character) = name.chars().find(|c| !allowed(c)) {
            return Err(TopicNameError::Character { name: name.to_owned(), character });
        }
        Ok(Self(name.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The shared text, for a [`crate::types::TopicPartition`].
    #[must_use]
    pub fn to_shared(&self) -> Arc<str> {
        self.0.clone()
    }

    /// Names with the same key collide: `.` and `_` are the same in the names of metrics.
    #[must_use]
    pub fn collision_key(&self) -> String {
        self.0.replace('.', "_")
    }

    /// Whether the name can collide with another.
    #[must_use]
    pub fn has_collision_characters(&self) -> bool {
        self.0.contains(['.', '_'])
    }

    /// Whether this is one of [`INTERNAL_TOPICS`].
    #[must_use]
    pub fn is_internal(&self) -> bool {
        INTERNAL_TOPICS.contains(&self.as_str())
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    //! Goal: exactly Kafka's rules. Method: each rule at its edge.

    use super::*;

    #[test]
    fn names_at_the_edge_of_each_rule() {
        let longest = "x".repeat(TOPIC_NAME_LEN_MAX);
        for good in ["a", "...", "a.b_c-D9", "-", longest.as_str()] {
            assert_eq!(TopicName::parse(good).unwrap().as_str(), good);
        }
        assert_eq!(TopicName::parse(""), Err(TopicNameError::Empty));
        assert_eq!(TopicName::parse("."), Err(TopicNameError::Dots));
        assert_eq!(TopicName::parse(".."), Err(TopicNameError::Dots));
        assert!(matches!(TopicName::parse(&(longest + "x")), Err(TopicNameError::TooLong { len: 250, .. })));
        for (bad, character) in [("../../etc/passwd", '/'), ("a/b", '/'), ("a\0", '\0'), ("Zoë", 'ë'), ("a b", ' ')] {
            assert_eq!(TopicName::parse(bad), Err(TopicNameError::Character { name: bad.to_owned(), character }));
        }
    }

    #[test]
    fn dots_and_underscores_collide() {
        let key = |name| TopicName::parse(name).unwrap().collision_key();
        assert_eq!(key("a.b_c"), key("a_b.c"));
        assert_ne!(key("a.b"), key("a-b"));
        assert!(TopicName::parse("__consumer_offsets").unwrap().is_internal());
        assert!(!TopicName::parse("a-b").unwrap().has_collision_characters());
    }
}
