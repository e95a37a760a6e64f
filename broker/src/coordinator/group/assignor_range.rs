//! The `range` assignor: each subscriber of a topic gets a run of neighbouring partitions.
//!
//! The earlier subscribers get one more where the number does not divide. Members are asked in the same order for every
//! topic, so that topics with equally many partitions and the same subscribers are assigned alike: a member that joins two
//! of them reads both sides of a key. What members had before does not matter.

use std::collections::{BTreeMap, HashMap};

use super::assignment::Assignment;
use crate::types::TopicId;

/// What is left of a topic while its subscribers are served one after the other.
struct Remaining {
    subscribers: usize,
    next_partition: i32,
    partition_count: i32,
}

/// What each member is to own. `subscribed` has their topics in order, which exist and stand once.
pub(super) fn assign(subscribed: &[Vec<TopicId>], partition_counts: &BTreeMap<TopicId, i32>) -> Vec<Assignment> {
    let mut remaining: HashMap<TopicId, Remaining> = HashMap::new();
    for topic in subscribed.iter().flatten() {
        let partition_count = partition_counts[topic];
        remaining
            .entry(*topic)
            .or_insert(Remaining { subscribers: 0, next_partition: 0, partition_count })
            .subscribers += 1;
    }

    let mut assignments = Vec::with_capacity(subscribed.len());
    for topics in subscribed {
        let mut assignment = Assignment::default();
        for topic in topics {
            let left = remaining.get_mut(topic).expect("every subscribed topic was counted");
            // An even share of what is left, rounded up: the earlier ones get the partitions that do not divide.
            let share = (left.partition_count - left.next_partition)
                .unsigned_abs()
                .div_ceil(u32::try_from(left.subscribers).unwrap_or(u32::MAX));
            for _ in 0..share {
                assignment.insert(*topic, left.next_partition);
                left.next_partition += 1;
            }
            left.subscribers -= 1;
        }
        assignments.push(assignment);
    }
    assignments
}
