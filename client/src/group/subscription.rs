//! What a member reads: topics by name, or all whose names match a pattern.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use regex_automata::meta::Regex;
use regex_automata::util::syntax;

use crate::Error;

/// Topics by name or by pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subscription {
    Topics(BTreeSet<Arc<str>>),
    Pattern(TopicPattern),
}

/// A regular expression that has to match the whole of a topic's name. The engine takes time linear in the name.
#[derive(Clone)]
pub(crate) struct TopicPattern {
    text: Arc<str>,
    regex: Regex,
}

impl TopicPattern {
    /// # Errors
    /// [`Error::Config`] for what is no regular expression.
    pub(crate) fn new(text: &str) -> Result<TopicPattern, Error> {
        // Names of topics are ASCII, and so are the classes of characters of RE2, which the broker's engine follows.
        let syntax = syntax::Config::new().unicode(false).utf8(false);
        let Ok(regex) = Regex::builder().syntax(syntax).build(&format!("^(?:{text})$")) else {
            let allowed = "a regular expression in the syntax of RE2";
            return Err(Error::Config { key: "pattern", value: text.to_owned(), allowed });
        };
        Ok(TopicPattern { text: text.into(), regex })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn matches(&self, topic: &str) -> bool {
        self.regex.is_match(topic)
    }
}

impl PartialEq for TopicPattern {
    fn eq(&self, other: &TopicPattern) -> bool {
        self.text == other.text
    }
}

impl Eq for TopicPattern {}

impl fmt::Debug for TopicPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TopicPattern({:?})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names() {
        let pattern = TopicPattern::new(r"flights|weather-\d*").unwrap();
        for (topic, expected) in [("flights", true), ("weather-7", true), ("flights2", false), ("a-flights", false)] {
            assert_eq!(pattern.matches(topic), expected, "{topic}");
        }
        assert_eq!(pattern, TopicPattern::new(r"flights|weather-\d*").unwrap());
        let error = TopicPattern::new("(").unwrap_err();
        assert!(error.to_string().starts_with("pattern = \"(\" is not allowed"), "{error}");
    }
}
