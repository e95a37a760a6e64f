//! What committed offsets take in memory, counted over all groups of the broker.
//!
//! A client that belongs to no group may commit to any number of groups, for every partition that there is, and what it commits
//! stays for `offsets.retention.minutes`. So all offsets have a budget together.
//!
//! Owns the count and its bound. Invariant: it is the sum of what the live stores of all shards count, those included that were
//! loaded beyond it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What the offsets of all groups may take: four million of them, such as those of 4,000 groups that read 1,000 partitions each.
const TOTAL_BYTES_MAX: usize = 512 << 20;

/// What the offsets of all groups take. Cheap to clone: all shards of a broker have the same.
#[derive(Debug, Clone)]
pub(crate) struct OffsetsBudget {
    taken_bytes: Arc<AtomicUsize>,
    bytes_max: usize,
    /// A person was told that there is no room.
    is_told: Arc<AtomicBool>,
}

impl Default for OffsetsBudget {
    fn default() -> Self {
        Self::with_max(TOTAL_BYTES_MAX)
    }
}

impl OffsetsBudget {
    /// One of which nothing is taken.
    pub(super) fn with_max(bytes_max: usize) -> Self {
        Self { taken_bytes: Arc::default(), bytes_max, is_told: Arc::default() }
    }

    /// Whether offsets may take so much more. What takes no more than before always may.
    pub(super) fn has_room_for(&self, more_bytes: usize) -> bool {
        let has_room = more_bytes == 0 || self.taken_bytes().saturating_add(more_bytes) <= self.bytes_max;
        if !has_room && !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::error!(
                taken_bytes = self.taken_bytes(),
                bytes_max = self.bytes_max,
                "committed offsets take all the memory that they may: groups commit for no further partitions until offsets expire \
                 or are deleted (`ottla group delete`, `ottla group delete-offsets`)"
            );
        }
        has_room
    }

    /// What they take now.
    pub(super) fn taken_bytes(&self) -> usize {
        self.taken_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: usize) {
        self.taken_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, bytes: usize) {
        self.taken_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
