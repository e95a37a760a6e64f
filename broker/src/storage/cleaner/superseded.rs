//! Which records of a part of a log have a newer one of their key: a bit for each offset.
//!
//! Owns what the walk over the keys has found out already, so that who rewrites the part need not look for each key again. Memory
//! grows with the offsets, up to the budget; of those beyond its reach it knows nothing.

use crate::types::Offset;

const BITS: u64 = u64::BITS as u64;

/// Offsets of records that are not the newest of their key.
#[derive(Debug)]
pub(super) struct Superseded {
    from: Offset,
    words: Vec<u64>,
    words_max: usize,
}

impl Superseded {
    /// None yet; offsets before `from` are beyond its reach. Takes at most so many bytes.
    pub(super) fn new(from: Offset, budget_bytes: usize) -> Self {
        Superseded { from, words: Vec::new(), words_max: budget_bytes / size_of::<u64>() }
    }

    /// Takes note of a record, if it is within reach.
    pub(super) fn insert(&mut self, offset: Offset) {
        let Some((word, bit)) = self.place(offset) else { return };
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= bit;
    }

    /// Whether a record is one of them; `None` beyond its reach.
    pub(super) fn contains(&self, offset: Offset) -> Option<bool> {
        let (word, bit) = self.place(offset)?;
        Some(self.words.get(word).is_some_and(|word| word & bit != 0))
    }

    fn place(&self, offset: Offset) -> Option<(usize, u64)> {
        let index = u64::try_from(offset.0.checked_sub(self.from.0)?).ok()?;
        let word = usize::try_from(index / BITS).ok().filter(|word| *word < self.words_max)?;
        Some((word, 1 << (index % BITS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_there_and_beyond_its_reach_nothing_is_known() {
        let mut superseded = Superseded::new(Offset(1_000), 20);
        for offset in [0, 999, 1_000, 1_063, 1_064, 1_127, 1_128, i64::MAX] {
            superseded.insert(Offset(offset));
        }
        let known: Vec<_> = (990..1_140).map(|offset| superseded.contains(Offset(offset))).collect();
        for (offset, known) in (990..1_140).zip(known) {
            let there = [1_000, 1_063, 1_064, 1_127].contains(&offset);
            assert_eq!(known, (1_000..1_128).contains(&offset).then_some(there), "{offset}");
        }
        assert_eq!((superseded.contains(Offset(i64::MAX)), superseded.words.len()), (None, 2));
        assert_eq!(Superseded::new(Offset(0), 0).contains(Offset(0)), None);
    }
}
