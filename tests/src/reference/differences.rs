//! What Ottla answers otherwise than Apache Kafka on purpose, and why.
//!
//! The one list of it: the comparison forgives exactly these, fails when one of them no longer occurs, and
//! `docs/protocol-support.md` must show them all.

use super::run::Mismatch;

/// Answers that differ on purpose. In the patterns `*` stands for any text.
#[derive(Debug)]
pub struct Difference {
    /// `scenario/step`.
    pub step: &'static str,
    /// The fields.
    pub path: &'static str,
    /// Kafka's value; `absent` where it has no such field.
    pub kafka: &'static str,
    /// Ottla's value.
    pub ottla: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// Every difference on purpose.
pub const DIFFERENCES: &[Difference] = &[];

impl Difference {
    /// True when this is the reason for a mismatch.
    pub fn covers(&self, mismatch: &Mismatch) -> bool {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "absent".to_owned());
        matches_pattern(self.step, &format!("{}/{}", mismatch.scenario, mismatch.step))
            && matches_pattern(self.path, &mismatch.path)
            && matches_pattern(self.kafka, &value(&mismatch.kafka))
            && matches_pattern(self.ottla, &value(&mismatch.ottla))
    }

    /// The row in the table of `docs/protocol-support.md`.
    pub fn row(&self) -> String {
        let cell = |text: &str| text.replace('|', "\\|");
        let Self { step, path, kafka, ottla, reason } = self;
        format!("| `{}` | `{}` | `{}` | `{}` | {} |", cell(step), cell(path), cell(kafka), cell(ottla), cell(reason))
    }
}

/// True when `text` is `pattern` with any text in place of each `*`.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(head) else { return false };
    text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| matches_pattern(rest, &text[at..]))
}

#[cfg(test)]
mod tests {
    use super::matches_pattern;

    #[test]
    fn a_star_stands_for_any_text() {
        assert!(matches_pattern("a*c", "abbc"));
        assert!(matches_pattern("*", ""));
        assert!(matches_pattern("x*y*", "x{1}.y = 2"));
        assert!(!matches_pattern("a*c", "abcd"));
        assert!(!matches_pattern("ab", "abc"));
    }
}
