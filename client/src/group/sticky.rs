//! Sticky assignment: as even as subscriptions allow, and as much as possible stays where it was.
//!
//! Pure. Owns the claims of members to what they had, the evening out, and the first half of a cooperative hand-over (a
//! partition that moves goes to nobody until its owner gave it up). Java's result may differ in who gets what, not in how
//! even it is. Invariant: nobody has two partitions more than a member that could take one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::assignor::{Assignment, Member, PartitionCounts, nothing_for};
use crate::TopicPartition;

/// What a member of a `sticky` group says that it has: its topics with their partitions, and the generation.
pub(super) fn user_data(owned: &BTreeSet<TopicPartition>, generation: i32) -> Option<Bytes> {
    if owned.is_empty() {
        return None;
    }
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in owned {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    let mut bytes = BytesMut::new();
    bytes.put_i32(topics.len() as i32);
    for (topic, partitions) in topics {
        bytes.put_i16(topic.len() as i16);
        bytes.put(topic.as_bytes());
        bytes.put_i32(partitions.len() as i32);
        partitions.into_iter().for_each(|partition| bytes.put_i32(partition));
    }
    bytes.put_i32(generation);
    Some(bytes.freeze())
}

/// What another member of a `sticky` group says that it has; the oldest form of this has no generation.
fn read_user_data(mut bytes: Bytes) -> Option<(BTreeSet<TopicPartition>, i32)> {
    let mut owned = BTreeSet::new();
    for _ in 0..bytes.try_get_i32().ok()? {
        let length = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
        let topic = bytes.get(..length).and_then(|topic| std::str::from_utf8(topic).ok()).map(Arc::<str>::from)?;
        bytes.advance(length);
        for _ in 0..bytes.try_get_i32().ok()? {
            owned.insert(TopicPartition::new(topic.clone(), bytes.try_get_i32().ok()?));
        }
    }
    Some((owned, bytes.try_get_i32().unwrap_or(-1)))
}

/// What a member has, as its fields say or, where they are silent, its user data in the form of `sticky`.
fn owned_by(member: &Member) -> (BTreeSet<TopicPartition>, i32) {
    let told = || member.user_data.clone().and_then(read_user_data);
    match member.owned.is_empty() {
        true => told().unwrap_or_default(),
        false => (member.owned.clone(), member.generation),
    }
}

/// The same for `cooperative-sticky`, whose user data is the generation for members that have no field for it.
fn owned_cooperatively(member: &Member) -> (BTreeSet<TopicPartition>, i32) {
    let told = || member.user_data.as_ref().and_then(|bytes| bytes.first_chunk::<4>()).map(|g| i32::from_be_bytes(*g));
    let generation = if member.generation >= 0 { member.generation } else { told().unwrap_or(-1) };
    (member.owned.clone(), generation)
}

pub(super) fn assign(members: &[Member], counts: &PartitionCounts) -> Assignment {
    Evening::new(members, counts, members.iter().map(owned_by).collect()).assignment()
}

/// What moves is left out: its owner gives it up first, and the rebalance after that hands it on.
pub(super) fn assign_cooperatively(members: &[Member], counts: &PartitionCounts) -> Assignment {
    let owned: Vec<_> = members.iter().map(owned_cooperatively).collect();
    let owners: BTreeMap<TopicPartition, BTreeSet<usize>> =
        owned.iter().enumerate().fold(BTreeMap::new(), |mut owners, (index, (partitions, _))| {
            for partition in partitions {
                owners.entry(partition.clone()).or_insert_with(BTreeSet::new).insert(index);
            }
            owners
        });
    let mut assignment = Evening::new(members, counts, owned).assignment();
    for (index, member) in members.iter().enumerate() {
        let others = |partition: &TopicPartition| {
            owners.get(partition).is_some_and(|owners| owners.iter().any(|owner| *owner != index))
        };
        if let Some(share) = assignment.get_mut(&member.member_id) {
            share.retain(|partition| !others(partition));
        }
    }
    assignment
}

/// An assignment while it is worked out. Members go by their index.
struct Evening<'a> {
    members: &'a [Member],
    shares: Vec<BTreeSet<TopicPartition>>,
    /// How many partitions each member has, the fewest first.
    loads: BTreeSet<(usize, usize)>,
}

impl<'a> Evening<'a> {
    fn new(
        members: &'a [Member],
        counts: &PartitionCounts,
        owned: Vec<(BTreeSet<TopicPartition>, i32)>,
    ) -> Evening<'a> {
        let shares = claims(members, counts, owned);
        let taken: BTreeSet<TopicPartition> = shares.iter().flatten().cloned().collect();
        let loads = shares.iter().enumerate().map(|(index, share)| (share.len(), index)).collect();
        let mut evening = Evening { members, shares, loads };
        for (topic, count) in counts {
            for index in 0..*count {
                let partition = TopicPartition::new(topic.clone(), index);
                if !taken.contains(&partition)
                    && let Some(member) = evening.least_loaded(topic)
                {
                    evening.give(member, partition);
                }
            }
        }
        while evening.even_out() {}
        evening
    }

    fn assignment(self) -> Assignment {
        let mut assignment = nothing_for(self.members);
        for (member, share) in self.members.iter().zip(self.shares) {
            assignment.insert(member.member_id.clone(), share);
        }
        assignment
    }

    fn least_loaded(&self, topic: &Arc<str>) -> Option<usize> {
        let reads = |index: &usize| self.members[*index].topics.contains(topic);
        self.loads.iter().map(|(_, index)| *index).find(reads)
    }

    /// Moves one partition from a member to one that has at least two fewer. Each move makes the sum of the squares of
    /// all loads smaller, so that this comes to an end.
    fn even_out(&mut self) -> bool {
        for (load, index) in self.loads.iter().rev() {
            // Neighbours of one topic can only go to the same members.
            let mut topic_before: Option<&Arc<str>> = None;
            for partition in self.shares[*index].iter().rev() {
                if topic_before.is_some_and(|topic| *topic == partition.topic) {
                    continue;
                }
                topic_before = Some(&partition.topic);
                let Some(taker) = self.least_loaded(&partition.topic) else { continue };
                if self.shares[taker].len() + 1 < *load {
                    let (from, partition) = (*index, partition.clone());
                    self.take(from, &partition);
                    self.give(taker, partition);
                    return true;
                }
            }
        }
        false
    }

    fn give(&mut self, member: usize, partition: TopicPartition) {
        self.loads.remove(&(self.shares[member].len(), member));
        self.shares[member].insert(partition);
        self.loads.insert((self.shares[member].len(), member));
    }

    fn take(&mut self, member: usize, partition: &TopicPartition) {
        self.loads.remove(&(self.shares[member].len(), member));
        self.shares[member].remove(partition);
        self.loads.insert((self.shares[member].len(), member));
    }
}

/// What each member may keep: partitions that exist, of topics that it reads. Of several that claim one, the one with the
/// latest generation has it; of several in the same generation nobody, as all but one are wrong.
fn claims(
    members: &[Member],
    counts: &PartitionCounts,
    owned: Vec<(BTreeSet<TopicPartition>, i32)>,
) -> Vec<BTreeSet<TopicPartition>> {
    let mut best: BTreeMap<TopicPartition, (i32, Option<usize>)> = BTreeMap::new();
    for (index, (partitions, generation)) in owned.into_iter().enumerate() {
        for partition in partitions {
            let exists = counts.get(&partition.topic).is_some_and(|count| (0..*count).contains(&partition.partition));
            if !exists || !members[index].topics.contains(&partition.topic) {
                continue;
            }
            let claim = best.entry(partition).or_insert((generation, Some(index)));
            if claim.1 != Some(index) && generation == claim.0 {
                claim.1 = None;
            } else if generation > claim.0 {
                *claim = (generation, Some(index));
            }
        }
    }
    let mut shares = vec![BTreeSet::new(); members.len()];
    for (partition, (_, claimant)) in best {
        if let Some(index) = claimant {
            shares[index].insert(partition);
        }
    }
    shares
}

#[cfg(test)]
#[path = "sticky_test.rs"]
mod tests;
