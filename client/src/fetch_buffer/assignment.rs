//! Which partitions a consumer has: all at once by hand, or one by one from its group.
//!
//! Owns where a partition starts, and that it is still paused when it comes back in the rebalance in which it went. What
//! happens to partitions between these changes is the parent's.

use std::collections::{BTreeSet, VecDeque};

use super::{FetchBuffer, Partition, Position};
use crate::offsets::OffsetSpec;
use crate::{Error, OffsetAndMetadata, TopicPartition};

/// Where a partition starts.
#[derive(Debug, Clone)]
pub(crate) enum Start {
    At(OffsetAndMetadata),
    /// The leader is asked.
    Ask(OffsetSpec),
    /// Nowhere until it is sought, for this reason.
    Nowhere(Error),
}

impl FetchBuffer {
    /// Replaces the assignment: partitions and the offsets to start from.
    pub(crate) fn assign(&mut self, partitions: impl IntoIterator<Item = (TopicPartition, i64)>) {
        self.turns.clear();
        self.errors.clear();
        self.bytes = 0;
        self.partitions.clear();
        self.paused_before.clear();
        for (location, offset) in partitions {
            self.add(location, Start::At(OffsetAndMetadata::new(offset)));
        }
    }

    /// Adds one partition to the assignment.
    pub(crate) fn add(&mut self, location: TopicPartition, start: Start) {
        self.generation += 1;
        let (position, consumed, consumed_epoch) = match &start {
            Start::At(offset) => (Position::Offset(offset.offset), offset.offset, offset.leader_epoch),
            Start::Ask(spec) => (Position::Unknown(*spec), -1, -1),
            Start::Nowhere(_) => (Position::Nowhere, -1, -1),
        };
        let partition = Partition {
            generation: self.generation,
            position,
            consumed,
            consumed_epoch,
            paused: self.paused_before.contains(&location),
            halted: false,
            retry_at: None,
            failures: 0,
            fetched: VecDeque::new(),
            bytes: 0,
            high_watermark: -1,
        };
        self.partitions.insert(location.clone(), partition);
        if let Start::Nowhere(error) = start {
            self.stop(&location, error);
        }
    }

    /// Takes partitions out of the assignment, with all that was fetched of them.
    pub(crate) fn remove(&mut self, locations: &BTreeSet<TopicPartition>) {
        for location in locations {
            let Some(partition) = self.partitions.remove(location) else { continue };
            self.bytes -= partition.bytes;
            if partition.paused {
                self.paused_before.insert(location.clone());
            }
        }
        self.turns.retain(|turn| !locations.contains(turn));
    }

    /// What was taken away while it was paused and did not come back is not paused any more if it comes later.
    pub(crate) fn forget_pauses(&mut self) {
        self.paused_before.clear();
    }

    pub(crate) fn is_assigned(&self, location: &TopicPartition) -> bool {
        self.partitions.contains_key(location)
    }
}
