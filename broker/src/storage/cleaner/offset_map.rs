//! The newest offset of each key in a part of a log, in bounded memory.
//!
//! Owns the map that compaction decides by. Keys are not kept: 128 bits of a hash under a secret of this map stand for each,
//! so that a collision, which would lose the older of two records, cannot be brought about from outside and does not happen
//! by itself. Memory grows with the keys, up to the budget; a map that is full takes no new key, but newer offsets of those
//! that it has.

use std::hash::{BuildHasher, RandomState};

use crate::types::Offset;

/// Bytes of one slot.
const SLOT_BYTES: usize = size_of::<Slot>();
/// So many keys fit whatever the budget: compaction always gets somewhere.
const SLOTS_MIN: usize = 1 << 10;
/// The share of the slots that is filled before the map grows: 3/4.
const FILL: (usize, usize) = (3, 4);

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
    /// An empty map of at most so many bytes, of which it takes what it needs.
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

    /// Takes note of a record; later ones replace earlier ones. False when there is no room for another key.
    pub(super) fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
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
    pub(super) fn newest(&self, key: &[u8]) -> Option<Offset> {
        self.find(self.hash(key)).map(|slot| Offset(self.slots[slot].offset))
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        [self.hashers[0].hash_one(key), self.hashers[1].hash_one(key)]
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
            if map.put(key.as_bytes(), Offset(offset)) {
                model.insert(key, offset);
            } else {
                assert!(!known, "a key that is there finds room");
                refused += 1;
            }
            assert_eq!(map.len(), model.len());
        }
        assert!(refused > 0 && map.slots.len() * SLOT_BYTES <= 100_000);
        assert!(map.len() >= 3_000, "{}", map.len());
        for (key, offset) in &model {
            assert_eq!(map.newest(key.as_bytes()), Some(Offset(*offset)));
        }
        assert_eq!(map.newest(b"another"), None);
    }

    #[test]
    fn an_empty_map_takes_no_memory() {
        let map = OffsetMap::new(1 << 30);
        assert_eq!((map.slots.capacity(), map.newest(b"key")), (0, None));
    }
}
