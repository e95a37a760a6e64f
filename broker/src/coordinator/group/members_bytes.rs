//! What members say about themselves and assign to each other, counted for each group and over all groups of the broker.
//!
//! One group is bounded by itself, and anybody may be a member of any number of groups: what they say stays for as long as their
//! sessions last, which they choose, on whatever connection. So all groups have a budget together.
//!
//! Owns the counts. What a member takes is its own to know, and who is refused the shard's. Invariant: the budget is the sum of
//! what the live groups of all shards count, those included that were loaded beyond it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the members of all groups may say, and what their leaders may assign: 25 KB for each of ten thousand.
const TOTAL_BYTES_MAX: usize = 256 << 20;

/// The most that an ordinary member says, or is assigned, more than before.
const ORDINARY_BYTES_MAX: usize = 64 << 10;

/// What the members of all groups take. Cheap to clone: all shards of a broker have the same.
#[derive(Debug, Clone)]
pub(crate) struct MembersBudget {
    taken_bytes: Arc<AtomicUsize>,
    bytes_max: usize,
}

impl Default for MembersBudget {
    fn default() -> Self {
        Self::with_max(TOTAL_BYTES_MAX)
    }
}

impl MembersBudget {
    /// One of which nothing is taken.
    pub(super) fn with_max(bytes_max: usize) -> Self {
        Self { taken_bytes: Arc::default(), bytes_max }
    }

    /// Whether a member may say so much more. Who says much finds half as much room, so that there is some for ordinary members when
    /// others say as much as they can.
    pub(super) fn has_room_for(&self, more_bytes: usize) -> bool {
        let bytes_max = if more_bytes > ORDINARY_BYTES_MAX { self.bytes_max / 2 } else { self.bytes_max };
        more_bytes == 0 || self.taken_bytes().saturating_add(more_bytes) <= bytes_max
    }

    /// What they take now.
    pub(super) fn taken_bytes(&self) -> usize {
        self.taken_bytes.load(Ordering::Relaxed)
    }
}

/// What the members of one group take. Gone with it, it gives back what it took of the budget.
#[derive(Debug, Default)]
pub(super) struct MembersBytes {
    bytes: usize,
    /// `None` for a draft, which counts nowhere else.
    budget: Option<MembersBudget>,
}

impl MembersBytes {
    /// Of a group without members that counts.
    pub(super) fn of_budget(budget: MembersBudget) -> Self {
        Self { bytes: 0, budget: Some(budget) }
    }

    pub(super) fn get(&self) -> usize {
        self.bytes
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        if let Some(MembersBudget { taken_bytes, .. }) = &self.budget {
            taken_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub(super) fn remove(&mut self, bytes: usize) {
        self.bytes -= bytes;
        if let Some(MembersBudget { taken_bytes, .. }) = &self.budget {
            taken_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

/// A copy is a draft.
impl Clone for MembersBytes {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes, budget: None }
    }
}

impl Drop for MembersBytes {
    fn drop(&mut self) {
        self.remove(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_much_leaves_room_for_others() {
        let budget = MembersBudget::with_max(1 << 20);
        assert!(budget.has_room_for(512 << 10) && !budget.has_room_for((512 << 10) + 1));
        let mut large = MembersBytes::of_budget(budget.clone());
        large.add(512 << 10);
        assert!(budget.has_room_for(64 << 10) && !budget.has_room_for((64 << 10) + 1));
    }

    #[test]
    fn what_a_group_takes_goes_with_it_and_a_draft_takes_nothing() {
        let budget = MembersBudget::with_max(1_000);
        let mut group = MembersBytes::of_budget(budget.clone());
        group.add(995);
        assert_eq!((budget.has_room_for(5), budget.has_room_for(6)), (true, false));
        let mut draft = group.clone();
        draft.add(7);
        draft.remove(1);
        assert_eq!((draft.get(), budget.taken_bytes()), (1_001, 995));
        drop(draft);
        group.remove(10);
        assert_eq!(budget.taken_bytes(), 985);
        // What is loaded is there, and lets nobody else in.
        group.add(100);
        assert_eq!((budget.has_room_for(0), budget.has_room_for(1)), (true, false));
        drop(group);
        assert_eq!(budget.taken_bytes(), 0);
    }
}
