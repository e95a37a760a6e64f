//! The newest offset of each key in a part of a log, in bounded memory.
//!
//! Owns the map that compaction decides by. Keys are not kept: 128 bits of a hash under a secret of this map stand for each,
//! so that a collision, which would lose the older of two records, cannot be brought about from outside and does not happen
//! by itself. Memory grows with the keys, up to the budget (and, while
//! it grows, half as much again as it comes to); a map that is full takes no new key, but newer offsets of those
//! that it has.

use std::hash::{BuildHasher, RandomState};

use crate::types::Offset;

/// Bytes of one slot.
const SLOT_BYTES: usize = size_of::<Slot>();
/// So many keys fit whatever the budget: compaction always gets somewhere.
const SLOTS_MIN: usize = 1 << 10;
/// The share of the slots that is filled before the map grows: 3/4.
const FILL: (usize, usize) = (3, 4);

/// A key, as a map knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyHash([u64; 2]);

#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: [u64; 2],
    /// `None` would cost another eight bytes: negative is empty.
    offset: i64,
}

const EMPTY: Slot = Slot { hash: [0; 2], offset: -1 };

/// Keys and the newest offset of each.
#[derive(Debug)]
pub(super) struct OffsetMap {
    hashers: [RandomState; 2],
    /// A power of two, or none.
    slots: Vec<Slot>,
    slots_max: usize,
    len: usize,
}

impl OffsetMap {
    /// An empty map of at most so many bytes, of which it takes what it needs. What it has while it grows comes on top.
    pub(super) fn new(budget_bytes: usize) -> Self {
        let slots_max = (budget_bytes / SLOT_BYTES).max(SLOTS_MIN);
        // The largest power of two that is within the budget.
        let slots_max = if slots_max.is_power_of_two() { slots_max } else { slots_max.next_power_of_two() / 2 };
        OffsetMap { hashers: [RandomState::new(), RandomState::new()], slots: Vec::new(), slots_max, len: 0 }
    }

    /// How many keys it has.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// What stands for a key in this map.
    pub(super) fn hash(&self, key: &[u8]) -> KeyHash {
        KeyHash([self.hashers[0].hash_one(key), self.hashers[1].hash_one(key)])
    }

    /// Brings the slots of these keys into the processor's cache. A map is larger than that, and its slots are far apart: here
    /// memory is asked for many of them at once, where those who look for one key after the other wait for each.
    pub(super) fn touch(&self, keys: impl Iterator<Item = KeyHash>) {
        let Some(mask) = self.slots.len().checked_sub(1) else { return };
        let sum = keys.fold(0, |sum, KeyHash(hash)| sum ^ self.slots[hash[0] as usize & mask].offset);
        std::hint::black_box(sum);
    }

    /// Takes note of a record; later ones replace earlier ones. False when there is no room for another key.
    pub(super) fn put(&mut self, KeyHash(hash): KeyHash, offset: Offset) -> bool {
        if let Some(slot) = self.find(hash) {
            self.slots[slot].offset = offset.0;
            return true;
        }
        if (self.len + 1) * FILL.1 > self.slots.len() * FILL.0 && !self.grow() {
            return false;
        }
        let at = self.free_slot(hash);
        self.slots[at] = Slot { hash, offset: offset.0 };
        self.len += 1;
        true
    }

    /// The newest offset of a key, if it was put in.
    pub(super) fn newest(&self, KeyHash(hash): KeyHash) -> Option<Offset> {
        self.find(hash).map(|slot| Offset(self.slots[slot].offset))
    }

    fn find(&self, hash: [u64; 2]) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let at = self.first_match(hash, |slot| slot.offset < 0 || slot.hash == hash);
        (self.slots[at].offset >= 0).then_some(at)
    }

    fn free_slot(&self, hash: [u64; 2]) -> usize {
        self.first_match(hash, |slot| slot.offset < 0)
    }

    /// There always is a free slot, so this ends.
    fn first_match(&self, hash: [u64; 2], fits: impl Fn(&Slot) -> bool) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = hash[0] as usize & mask;
        while !fits(&self.slots[at]) {
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) -> bool {
        if self.slots.len() >= self.slots_max {
            return false;
        }
        let larger = (self.slots.len() * 2).clamp(SLOTS_MIN, self.slots_max);
        let before = std::mem::replace(&mut self.slots, vec![EMPTY; larger]);
        for slot in before.into_iter().filter(|slot| slot.offset >= 0) {
            let at = self.free_slot(slot.hash);
            self.slots[at] = slot;
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
            let known = model.contains_key(&key);
            if map.put(map.hash(key.as_bytes()), Offset(offset)) {
                model.insert(key, offset);
            } else {
                assert!(!known, "a key that is there finds room");
                refused += 1;
            }
            assert_eq!(map.len(), model.len());
        }
        assert!(refused > 0 && map.slots.len() * SLOT_BYTES <= 100_000);
        assert!(map.len() >= 3_000, "{}", map.len());
        // As docs/operations.md has it.
        assert_eq!((SLOT_BYTES, OffsetMap::new(128 << 20).slots_max), (24, 4_194_304));
        for (key, offset) in &model {
            assert_eq!(map.newest(map.hash(key.as_bytes())), Some(Offset(*offset)));
        }
        map.touch(model.keys().map(|key| map.hash(key.as_bytes())));
        assert_eq!(map.newest(map.hash(b"another")), None);
    }

    #[test]
    fn an_empty_map_takes_no_memory() {
        let map = OffsetMap::new(1 << 30);
        map.touch([map.hash(b"key")].into_iter());
        assert_eq!((map.slots.capacity(), map.newest(map.hash(b"key"))), (0, None));
    }
}
