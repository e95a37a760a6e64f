//! The slots of a map of keys, and the memory that they lie in.
//!
//! Owns their layout: two words of hash, and the offset plus one, so that memory without content is a slot without a key. A look-up goes
//! to a place of its own among tens of MiB. With pages of 4 KiB the processor looks for the page as long as for the slot, and in a
//! virtual machine longer; so a large table asks for huge pages, and for all of them at once, since keys will soon be all over it. These are
//! wishes: where the operating system does not grant them, it is slower.

use memmap2::{Advice, MmapMut};

use crate::types::Offset;

const WORD_BYTES: usize = size_of::<u64>();
/// Bytes of one slot.
pub(super) const SLOT_BYTES: usize = 3 * WORD_BYTES;
/// Where pages begin to matter.
const MAPPED_FROM_BYTES: usize = 256 << 10;

/// What is in a slot that has a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) hash: [u64; 2],
    pub(super) offset: Offset,
}

/// Slots, each with a key or without.
#[derive(Debug)]
pub(super) struct Slots(Memory);

#[derive(Debug)]
enum Memory {
    Heap(Vec<u8>),
    Mapped(MmapMut),
}

impl Slots {
    /// So many without a key.
    pub(super) fn new(len: usize) -> Self {
        let bytes = len * SLOT_BYTES;
        let mapped = (bytes >= MAPPED_FROM_BYTES).then(|| MmapMut::map_anon(bytes).ok()).flatten();
        Slots(match mapped {
            Some(memory) => {
                let _refused = memory.advise(Advice::HugePage).and_then(|()| memory.advise(Advice::PopulateWrite));
                Memory::Mapped(memory)
            }
            None => Memory::Heap(vec![0; bytes]),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.all().len()
    }

    /// What is in a slot; `None` without a key.
    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<Slot> {
        slot(&self.all()[at])
    }

    #[inline]
    pub(super) fn set(&mut self, at: usize, Slot { hash, offset }: Slot) {
        let bytes = match &mut self.0 {
            Memory::Heap(bytes) => &mut bytes[..],
            Memory::Mapped(bytes) => &mut bytes[..],
        };
        let slot = &mut bytes.as_chunks_mut::<SLOT_BYTES>().0[at];
        let words = slot.as_chunks_mut::<WORD_BYTES>().0;
        words[0] = hash[0].to_ne_bytes();
        words[1] = hash[1].to_ne_bytes();
        words[2] = (offset.0 as u64 + 1).to_ne_bytes();
    }

    /// Those with a key, in order.
    pub(super) fn with_keys(&self) -> impl Iterator<Item = Slot> {
        self.all().iter().filter_map(slot)
    }

    /// Brings a slot and the one behind it into the processor's cache; the sum is of no meaning, but has to be used.
    #[inline]
    pub(super) fn touch(&self, at: usize) -> u64 {
        let all = self.all();
        words(&all[at])[0] ^ words(&all[(at + 1).min(all.len() - 1)])[2]
    }

    #[inline]
    fn all(&self) -> &[[u8; SLOT_BYTES]] {
        let bytes = match &self.0 {
            Memory::Heap(bytes) => &bytes[..],
            Memory::Mapped(bytes) => &bytes[..],
        };
        bytes.as_chunks().0
    }
}

#[inline]
fn slot(bytes: &[u8; SLOT_BYTES]) -> Option<Slot> {
    let [first, second, offset] = words(bytes);
    Some(Slot { hash: [first, second], offset: Offset(offset.checked_sub(1)? as i64) })
}

/// Arrays of a known size, which become plain loads.
#[inline]
fn words(bytes: &[u8; SLOT_BYTES]) -> [u64; 3] {
    let words = bytes.as_chunks::<WORD_BYTES>().0;
    [u64::from_ne_bytes(words[0]), u64::from_ne_bytes(words[1]), u64::from_ne_bytes(words[2])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_either_memory_holds_what_was_put_into_it() {
        for len in [0, 100, MAPPED_FROM_BYTES / SLOT_BYTES + 1] {
            let mut slots = Slots::new(len);
            assert_eq!((slots.len(), slots.with_keys().count()), (len, 0));
            assert_eq!(matches!(slots.0, Memory::Mapped(_)), len > 100);
            let put: Vec<_> = (0..len)
                .step_by(7)
                .map(|at| (at, Slot { hash: [at as u64, u64::MAX - at as u64], offset: Offset(at as i64 / 7) }))
                .collect();
            put.iter().for_each(|(at, slot)| slots.set(*at, *slot));
            assert!(slots.with_keys().eq(put.iter().map(|(_, slot)| *slot)));
            assert!((0..len).all(|at| slots.get(at).is_some() == (at % 7 == 0)));
            assert!((0..len).all(|at| slots.touch(at) == slots.touch(at)));
        }
    }
}
