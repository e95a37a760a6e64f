//! The newest offset of each key in a part of a log, in bounded memory.
//!
//! Owns the map that compaction decides by. Keys are not kept: 128 bits of a hash under a secret of this map stand for each,
//! so that a collision, which would lose the older of two records, cannot be brought about from outside and does not happen
//! by itself. Memory grows with the keys, up to the budget (and, while
//! it grows, half as much again as it comes to); a map that is full takes no new key, but newer offsets of those
//! that it has.
//!
//! Invariant: slots are taken in the order of their hashes, as far as neighbours leave room. So a map that grows is copied from front to
//! back, and memory is not waited for.

use std::hash::{BuildHasher, RandomState};

use siphasher::sip128::SipHasher13;

use super::slots::{SLOT_BYTES, Slot, Slots};
use crate::types::Offset;

/// So many keys fit whatever the budget: compaction always gets somewhere.
const SLOTS_MIN: usize = 1 << 10;
/// The share of the slots that is filled before the map grows: 3/4.
const FILL: (usize, usize) = (3, 4);

/// A key, as a map knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyHash([u64; 2]);

/// What a record is to a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// The first of its key.
    New,
    /// It takes the place of one of its key at this offset.
    Newer(Offset),
    /// There is no room for another key.
    Full,
}

/// Keys and the newest offset of each.
#[derive(Debug)]
pub(super) struct OffsetMap {
    hasher: SipHasher13,
    /// At least one of them has no key, unless there are none.
    slots: Slots,
    slots_max: usize,
    /// How often it can grow to twice its size.
    doublings_left: u32,
    len: usize,
}

impl OffsetMap {
    /// An empty map of at most so many bytes, of which it takes what it needs. What it has while it grows comes on top.
    pub(super) fn new(budget_bytes: usize) -> Self {
        let slots_max = (budget_bytes / SLOT_BYTES).max(SLOTS_MIN);
        // Each has keys of its own that the operating system drew.
        let secret = [0, 1].map(|word: u8| RandomState::new().hash_one(word));
        let hasher = SipHasher13::new_with_keys(secret[0], secret[1]);
        let doublings_left = (slots_max / SLOTS_MIN).ilog2();
        OffsetMap { hasher, slots: Slots::new(0), slots_max, doublings_left, len: 0 }
    }

    /// How many slots it may come to.
    #[cfg(test)]
    pub(super) fn slots_max(&self) -> usize {
        self.slots_max
    }

    /// How many keys it has.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// What stands for a key in this map.
    pub(super) fn hash(&self, key: &[u8]) -> KeyHash {
        let hash = self.hasher.hash(key);
        KeyHash([hash.h1, hash.h2])
    }

    /// Brings the slots of these keys into the processor's cache. A map is larger than that, and its slots are far apart: here
    /// memory is asked for many of them at once, where those who look for one key after the other wait for each.
    pub(super) fn touch(&self, keys: impl Iterator<Item = KeyHash>) {
        if self.slots.len() > 0 {
            // With the slot behind it, where a key often lies whose home is taken.
            let sum = keys.fold(0, |sum, KeyHash(hash)| sum ^ self.slots.touch(self.home(hash)));
            std::hint::black_box(sum);
        }
    }

    /// Takes note of a record; later ones replace earlier ones.
    pub(super) fn put(&mut self, KeyHash(hash): KeyHash, offset: Offset) -> Put {
        let slot = Slot { hash, offset };
        if self.slots.len() > 0 {
            let at = self.slot_of(hash);
            if let Some(before) = self.slots.get(at) {
                self.slots.set(at, slot);
                return Put::Newer(before.offset);
            }
            if (self.len + 1) * FILL.1 <= self.slots.len() * FILL.0 {
                self.slots.set(at, slot);
                self.len += 1;
                return Put::New;
            }
        }
        if !self.grow() {
            return Put::Full;
        }
        self.slots.set(self.slot_of(hash), slot);
        self.len += 1;
        Put::New
    }

    /// The newest offset of a key, if it was put in.
    pub(super) fn newest(&self, KeyHash(hash): KeyHash) -> Option<Offset> {
        if self.slots.len() == 0 {
            return None;
        }
        self.slots.get(self.slot_of(hash)).map(|slot| slot.offset)
    }

    /// Where a key is looked for first.
    fn home(&self, hash: [u64; 2]) -> usize {
        ((u128::from(hash[0]) * self.slots.len() as u128) >> 64) as usize
    }

    /// The slot of a key, or the one without a key that it would get. There always is one, so this ends.
    fn slot_of(&self, hash: [u64; 2]) -> usize {
        let mut at = self.home(hash);
        while self.slots.get(at).is_some_and(|slot| slot.hash != hash) {
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
        at
    }

    fn grow(&mut self) -> bool {
        if self.slots.len() > 0 {
            let Some(left) = self.doublings_left.checked_sub(1) else { return false };
            self.doublings_left = left;
        }
        // So that the last doubling comes to all that there may be, and none takes more beside it than half of that.
        let larger = self.slots_max >> self.doublings_left;
        let before = std::mem::replace(&mut self.slots, Slots::new(larger));
        for slot in before.with_keys() {
            self.slots.set(self.slot_of(slot.hash), slot);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn it_answers_as_a_map_does_and_takes_no_more_than_its_budget() {
        let mut map = OffsetMap::new(100_000);
        let mut model = HashMap::new();
        let mut refused = 0;
        for offset in 0..20_000_i64 {
            let key = format!("key {}", (offset * 7919) % 6_000);
            let known = model.get(&key).copied();
            match map.put(map.hash(key.as_bytes()), Offset(offset)) {
                Put::Full => {
                    assert_eq!(known, None, "a key that is there finds room");
                    refused += 1;
                    continue;
                }
                Put::New => assert_eq!(known, None),
                Put::Newer(before) => assert_eq!(Some(before.0), known),
            }
            model.insert(key, offset);
            assert_eq!(map.len(), model.len());
        }
        assert!(refused > 0 && map.slots.len() * SLOT_BYTES <= 100_000);
        assert_eq!((map.slots.len(), map.len()), (4_166, 3_124), "the budget is used");
        for (key, offset) in &model {
            assert_eq!(map.newest(map.hash(key.as_bytes())), Some(Offset(*offset)));
        }
        map.touch(model.keys().map(|key| map.hash(key.as_bytes())));
        assert_eq!(map.newest(map.hash(b"another")), None);
    }

    #[test]
    fn it_grows_to_its_budget_by_doubling() {
        for budget_bytes in [0, 24 << 10, 47 << 10, 100_000, 1_000_000] {
            let mut map = OffsetMap::new(budget_bytes);
            let mut sizes = Vec::new();
            for n in 0_i64.. {
                if map.put(map.hash(&n.to_be_bytes()), Offset(n)) == Put::Full {
                    break;
                }
                if sizes.last() != Some(&map.slots.len()) {
                    sizes.push(map.slots.len());
                }
            }
            assert_eq!(sizes.last(), Some(&(budget_bytes / SLOT_BYTES).max(SLOTS_MIN)));
            assert!(sizes.windows(2).all(|pair| pair[1] / 2 == pair[0]), "{sizes:?}");
        }
    }

    #[test]
    fn an_empty_map_takes_no_memory() {
        let map = OffsetMap::new(1 << 30);
        map.touch([map.hash(b"key")].into_iter());
        assert_eq!((map.slots.len(), map.newest(map.hash(b"key"))), (0, None));
    }

    #[test]
    fn each_map_has_a_secret_of_its_own() {
        let [one, other] = [OffsetMap::new(0), OffsetMap::new(0)];
        assert_ne!(one.hash(b"key"), other.hash(b"key"));
        assert_eq!(one.hash(b"key"), one.hash(b"key"));
        assert_ne!(one.hash(b""), one.hash(b"\0"));
    }
}
