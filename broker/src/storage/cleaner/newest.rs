//! Which record of each key is the newest one, as far as one pass has walked.
//!
//! Owns how the map of keys is asked: for many keys at once, since each answer lies somewhere else in memory; and not again for a record of
//! which the walk has found out already that a newer one follows. Memory is one budget for both.

use super::offset_map::{KeyHash, OffsetMap, Put};
use super::superseded::Superseded;
use crate::types::Offset;

/// Keys that are asked for at once, of however many batches: enough that waiting for memory does not show, few enough that the
/// processor's cache has what was asked for still.
const ASKED_AT_ONCE: usize = 256;
/// The part of the budget that is for offsets: 1/16, which of 128 MiB reaches over 67 million of them.
const OFFSETS_SHARE: usize = 16;

/// The keys of a part of a log.
#[derive(Debug)]
pub(super) struct NewestOffsets {
    map: OffsetMap,
    superseded: Superseded,
    /// Records that are to be put into the map together.
    queue: Vec<(KeyHash, Offset)>,
    /// The first record that found no room.
    full_at: Option<Offset>,
}

impl NewestOffsets {
    /// Of a part that begins at `from`; in at most so many bytes, and what [`OffsetMap`] takes while it grows.
    pub(super) fn new(from: Offset, budget_bytes: usize) -> Self {
        let for_offsets = budget_bytes / OFFSETS_SHARE;
        NewestOffsets {
            map: OffsetMap::new(budget_bytes - for_offsets),
            superseded: Superseded::new(from, for_offsets),
            queue: Vec::with_capacity(ASKED_AT_ONCE),
            full_at: None,
        }
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    /// Takes note of a record; offsets rise from one to the next.
    pub(super) fn note(&mut self, key: &[u8], offset: Offset) {
        self.queue.push((self.map.hash(key), offset));
        if self.queue.len() >= ASKED_AT_ONCE {
            self.settle();
        }
    }

    /// Puts into the map what was noted.
    pub(super) fn settle(&mut self) {
        self.map.touch(self.queue.iter().map(|(hash, _)| *hash));
        for (hash, offset) in self.queue.drain(..) {
            if self.full_at.is_some() {
                continue;
            }
            match self.map.put(hash, offset) {
                Put::New => {}
                Put::Newer(before) => self.superseded.insert(before),
                Put::Full => self.full_at = Some(offset),
            }
        }
    }

    /// The first of the settled records that found no room: everything before it is in the map.
    pub(super) fn full_at(&self) -> Option<Offset> {
        self.full_at
    }

    /// Whether a record is the newest of its key, where the walk has found out; all that were noted are settled.
    pub(super) fn is_newest(&self, offset: Offset) -> Option<bool> {
        self.superseded.contains(offset).map(|superseded| !superseded)
    }

    /// What there is to ask about a record of which that is not known.
    pub(super) fn question(&self, key: &[u8], offset: Offset) -> Question {
        Question { key: self.map.hash(key), offset }
    }

    /// For each of these whether no newer record of its key was noted.
    pub(super) fn answers(&self, questions: &[Question]) -> impl Iterator<Item = bool> {
        questions.chunks(ASKED_AT_ONCE).flat_map(|together| {
            self.map.touch(together.iter().map(|question| question.key));
            let is_newest = |question: &Question| self.map.newest(question.key).is_none_or(|o| question.offset >= o);
            together.iter().map(is_newest)
        })
    }
}

/// A record that may be the newest of its key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    key: KeyHash,
    offset: Offset,
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const BUDGET_BYTES: usize = 100_000;

    fn key(n: i64) -> Vec<u8> {
        format!("key {n}").into_bytes()
    }

    /// What it says of each record, by whatever way it knows, against what is so.
    fn compare(newest: &NewestOffsets, from: i64, records: &[(i64, Vec<u8>)]) -> usize {
        let end = newest.full_at().map_or(i64::MAX, |offset| offset.0);
        let mapped = records.iter().filter(|(offset, _)| *offset < end);
        let expected: HashMap<&Vec<u8>, i64> = mapped.clone().map(|(offset, key)| (key, *offset)).collect();
        assert_eq!(newest.len(), expected.len());
        let mut known = 0;
        for (offset, key) in mapped {
            let is_newest = expected[key] == *offset;
            let answers = newest.answers(&[newest.question(key, Offset(*offset))]).collect::<Vec<_>>();
            assert_eq!(answers, [is_newest], "{offset}");
            if let Some(answer) = newest.is_newest(Offset(*offset)) {
                assert_eq!(answer, is_newest, "{offset}");
                known += 1;
            }
        }
        // Of those before the part all that have a key in it are older.
        let older: Vec<_> = (0..from).map(|n| newest.question(&key(n), Offset(n))).collect();
        let in_part = |n| expected.contains_key(&key(n));
        assert!(newest.answers(&older).enumerate().all(|(n, is_newest)| is_newest != in_part(n as i64)));
        known
    }

    #[test]
    fn the_walk_and_the_map_agree_about_every_record() {
        let mut newest = NewestOffsets::new(Offset(500), BUDGET_BYTES);
        let records: Vec<_> = (500..20_500).map(|n| (n, key(n * 7_919 % 2_900))).collect();
        for (offset, key) in &records {
            newest.note(key, Offset(*offset));
        }
        newest.settle();
        assert_eq!((newest.full_at(), compare(&newest, 500, &records)), (None, 20_000));
    }

    #[test]
    fn the_budget_is_for_as_many_keys_and_offsets_as_operations_md_says() {
        let newest = NewestOffsets::new(Offset(0), 128 << 20);
        assert_eq!(newest.map.slots_max(), 5_242_880);
        assert_eq!(newest.is_newest(Offset((8 << 23) - 1)), Some(true));
        assert_eq!(newest.is_newest(Offset(8 << 23)), None);
    }

    #[test]
    fn beyond_the_reach_of_the_walk_the_map_is_asked() {
        let mut newest = NewestOffsets::new(Offset(0), BUDGET_BYTES);
        let records: Vec<_> = (0..10_000).map(|n| (n * 1_000, key(n % 100))).collect();
        for (offset, key) in &records {
            newest.note(key, Offset(*offset));
        }
        newest.settle();
        let reach = BUDGET_BYTES / OFFSETS_SHARE / 8 * 64;
        assert_eq!(compare(&newest, 0, &records), reach / 1_000 + 1);
    }

    #[test]
    fn what_finds_no_room_ends_what_is_known() {
        let mut newest = NewestOffsets::new(Offset(0), BUDGET_BYTES);
        let records: Vec<_> = (0..9_000).map(|n| (n, key(n / 2))).collect();
        for (offset, key) in &records {
            newest.note(key, Offset(*offset));
        }
        newest.settle();
        let full_at = newest.full_at().unwrap();
        assert!(full_at > Offset(5_000), "{full_at}");
        assert_eq!(compare(&newest, 0, &records) as i64, full_at.0);
    }
}
