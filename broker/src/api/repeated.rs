//! What a request names more than once: each API refuses it in its own words, all find it in the same way.

use std::collections::HashSet;
use std::hash::Hash;

/// The names that occur more than once.
pub(super) fn repeated<T: Eq + Hash>(names: impl IntoIterator<Item = T>) -> HashSet<T> {
    let mut once = HashSet::new();
    let mut repeated = HashSet::new();
    for name in names {
        // The second time `once` has it; it goes in here, and a third time changes nothing.
        if let Some(again) = once.replace(name) {
            repeated.insert(again);
        }
    }
    repeated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_again_is_repeated() {
        assert_eq!(repeated(["a", "b", "a", "c", "a", "b"]), HashSet::from(["a", "b"]));
        assert!(repeated(["a", "b"]).is_empty());
    }
}
