//! Subscription by pattern (KIP-848): which topics a regular expression stands for.
//!
//! Owns the understanding of a pattern; which groups have which stands in `consumer`. A pattern must match the whole name of a
//! topic. It comes from a client, so it is matched by an engine that takes linear time, and whatever needs much memory is
//! refused: no look-around, no back references, as in Kafka.

use regex_automata::meta::{BuildError, Regex};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, Look};
use thiserror::Error;

/// The longest pattern, in bytes.
const REGEX_LENGTH_MAX: usize = 16 * 1024;

/// How deep a pattern may nest.
const NEST_DEPTH_MAX: u32 = 64;

/// How much memory a compiled pattern may take, in bytes; as much again for what is remembered while it matches.
const COMPILED_BYTES_MAX: usize = 1024 * 1024;

/// Why a pattern is refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum SubscriptionRegexError {
    /// Longer than any pattern needs to be.
    #[error("it has {length} bytes; {REGEX_LENGTH_MAX} are allowed")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// Not a regular expression of this kind.
    #[error("{reason}")]
    Syntax {
        /// What is wrong, and where.
        reason: String,
    },
    /// It would take too much memory.
    #[error("it is too large when it is compiled: {0}")]
    TooLarge(#[from] Box<BuildError>),
}

/// A pattern that topics can be looked up by.
#[derive(Debug, Clone)]
pub(crate) struct SubscriptionRegex {
    regex: Regex,
}

impl SubscriptionRegex {
    /// Understands `pattern`.
    ///
    /// # Errors
    /// It is no regular expression, or one that takes too much memory.
    pub(crate) fn parse(pattern: &str) -> Result<Self, SubscriptionRegexError> {
        if pattern.len() > REGEX_LENGTH_MAX {
            return Err(SubscriptionRegexError::TooLong { length: pattern.len() });
        }
        // Names of topics are ASCII: `\w` need not know every alphabet, unless the pattern names one.
        let hir = match parse(pattern, false) {
            Ok(hir) => hir,
            Err(_) => parse(pattern, true)
                .map_err(|error| SubscriptionRegexError::Syntax { reason: one_line(&error.to_string()) })?,
        };
        let whole = Hir::concat(vec![Hir::look(Look::Start), hir, Hir::look(Look::End)]);
        let config = Regex::config()
            .nfa_size_limit(Some(COMPILED_BYTES_MAX))
            .onepass_size_limit(Some(COMPILED_BYTES_MAX))
            .hybrid_cache_capacity(COMPILED_BYTES_MAX)
            .utf8_empty(false);
        let regex = Regex::builder().configure(config).build_from_hir(&whole).map_err(Box::new)?;
        Ok(SubscriptionRegex { regex })
    }

    /// Those of `names` that it stands for, in order.
    pub(crate) fn select<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<String> {
        let mut selected: Vec<String> = names.filter(|name| self.regex.is_match(name)).map(str::to_owned).collect();
        selected.sort_unstable();
        selected
    }
}

fn parse(pattern: &str, unicode: bool) -> Result<Hir, Box<regex_syntax::Error>> {
    let mut parser = ParserBuilder::new().nest_limit(NEST_DEPTH_MAX).unicode(unicode).utf8(false).build();
    parser.parse(pattern).map_err(Box::new)
}

/// The last line of a parser's report, which says what is wrong; those before show the pattern.
fn one_line(report: &str) -> String {
    let last = report.lines().last().unwrap_or(report);
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn select(pattern: &str, names: &[&str]) -> Vec<String> {
        SubscriptionRegex::parse(pattern).unwrap().select(names.iter().copied())
    }

    #[test]
    fn the_whole_name_must_match() {
        let names = ["orders-eu", "orders", "my-orders", "ORDERS", "a", "ab"];
        assert_eq!(select("orders", &names), ["orders"]);
        assert_eq!(select("orders.*", &names), ["orders", "orders-eu"]);
        assert_eq!(select(".*orders|a", &names), ["a", "my-orders", "orders"]);
        // Whichever alternative stands first.
        assert_eq!(select("a|ab", &names), ["a", "ab"]);
        assert_eq!(select("(?i)orders", &names), ["ORDERS", "orders"]);
        assert_eq!(select("(?x) a b? # a comment", &names), ["a", "ab"]);
        assert_eq!(select(r"\p{Lu}+", &names), ["ORDERS"]);
        assert_eq!(select(r"^\w+$", &names), ["ORDERS", "a", "ab", "orders"]);
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_a_reason() {
        for pattern in ["(", "a)|(b", "a(?=b)", r"(a)\1", "[z-a]", "a**{", "*"] {
            let error = SubscriptionRegex::parse(pattern).unwrap_err();
            assert!(matches!(error, SubscriptionRegexError::Syntax { .. }), "{pattern}: {error}");
            assert!(!error.to_string().contains('\n') && !error.to_string().is_empty(), "{pattern}: {error}");
        }
        let deep = format!("{}a{}", "(".repeat(1_000), ")".repeat(1_000));
        assert!(matches!(SubscriptionRegex::parse(&deep), Err(SubscriptionRegexError::Syntax { .. })));
        assert!(matches!(
            SubscriptionRegex::parse(&"a".repeat(REGEX_LENGTH_MAX + 1)),
            Err(SubscriptionRegexError::TooLong { .. })
        ));
    }

    #[test]
    fn a_bomb_is_refused_and_a_catastrophe_takes_linear_time() {
        let started = Instant::now();
        for bomb in ["((((a{100}){100}){100}){100})", r"(\w{999}){999}"] {
            assert!(matches!(SubscriptionRegex::parse(bomb), Err(SubscriptionRegexError::TooLarge(_))), "{bomb}");
        }
        let name = format!("{}!", "a".repeat(248));
        let names: Vec<&str> = std::iter::repeat_n(name.as_str(), 1_000).collect();
        for catastrophe in ["(a+)+", "(a|aa)*", "(.*)(.*)(.*)(.*)(.*)x", "(a?){200}a{200}"] {
            assert!(select(catastrophe, &names).is_empty());
        }
        assert!(started.elapsed().as_secs() < 20, "it took {:?}", started.elapsed());
    }
}
