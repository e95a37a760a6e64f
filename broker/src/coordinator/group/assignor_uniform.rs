//! The `uniform` assignor: balance first, then as few moves as balance leaves necessary.
//!
//! Where all members subscribe to the same topics, nobody has more than one partition more than another, and only what
//! exceeds a share moves. Elsewhere no single partition could move to another subscriber of its topic and make the two more
//! even; a chain of moves over several members that could do better is not looked for.

use std::collections::{BTreeMap, HashMap};

use super::assignment::Assignment;
use super::assignor::AssignorMember;
use crate::types::TopicId;

/// How often all topics are looked at again for a better balance. Each round about halves what is uneven, and a group whose
/// subscribers of a topic agree in all topics is done after one.
const BALANCE_ROUNDS_MAX: usize = 16;

/// What each member is to own. `subscribed` has their topics in order, which exist and stand once.
pub(super) fn assign(
    members: &[&AssignorMember<'_>],
    subscribed: &[Vec<TopicId>],
    partition_counts: &BTreeMap<TopicId, i32>,
) -> Vec<Assignment> {
    match subscribed {
        [] => Vec::new(),
        [first, rest @ ..] if rest.iter().all(|topics| topics == first) => {
            assign_alike(members, first, partition_counts)
        }
        _ => assign_unlike(members, subscribed, partition_counts),
    }
}

/// Every member subscribes to `topics`.
fn assign_alike(
    members: &[&AssignorMember<'_>],
    topics: &[TopicId],
    partition_counts: &BTreeMap<TopicId, i32>,
) -> Vec<Assignment> {
    let mut free = FreePartitions::of(topics, partition_counts);
    let share = free.count / members.len();
    let mut extras = free.count % members.len();

    // What was there stays, up to a share; one partition beyond it for as many members as the division leaves.
    let mut assignments = vec![Assignment::default(); members.len()];
    let mut sizes = vec![0; members.len()];
    for (at, member) in members.iter().enumerate() {
        for (topic, partition) in member.previous.iter() {
            let quota = share + usize::from(extras > 0);
            if sizes[at] < quota && free.take(&topic, partition) {
                assignments[at].insert(topic, partition);
                sizes[at] += 1;
            }
        }
        extras -= usize::from(sizes[at] > share);
    }

    let mut free = free.into_iter();
    for at in 0..members.len() {
        let mut quota = share;
        if sizes[at] <= share && extras > 0 {
            quota += 1;
            extras -= 1;
        }
        let missing = quota.saturating_sub(sizes[at]);
        for (topic, partition) in free.by_ref().take(missing) {
            assignments[at].insert(topic, partition);
        }
    }
    assert!(free.next().is_none(), "the shares add up to all partitions");
    assignments
}

/// Members subscribe to different topics.
fn assign_unlike(
    members: &[&AssignorMember<'_>],
    subscribed: &[Vec<TopicId>],
    partition_counts: &BTreeMap<TopicId, i32>,
) -> Vec<Assignment> {
    let mut subscribers: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
    for (at, topics) in subscribed.iter().enumerate() {
        for topic in topics {
            subscribers.entry(*topic).or_default().push(at);
        }
    }
    let topics: Vec<TopicId> = subscribers.keys().copied().collect();
    let mut free = FreePartitions::of(&topics, partition_counts);
    let mut sizes = vec![0_usize; members.len()];

    // What was there stays where it is still subscribed to; the balance is made after.
    let mut owned: HashMap<TopicId, Vec<Vec<i32>>> =
        subscribers.iter().map(|(topic, owners)| (*topic, vec![Vec::new(); owners.len()])).collect();
    for (at, member) in members.iter().enumerate() {
        for (topic, partition) in member.previous.iter() {
            let Some(slot) = subscribers.get(&topic).and_then(|owners| owners.binary_search(&at).ok()) else {
                continue;
            };
            if free.take(&topic, partition) {
                owned.get_mut(&topic).expect("every subscribed topic is here")[slot].push(partition);
                sizes[at] += 1;
            }
        }
    }

    // The topics with the least choice of owners first, so that the others can even out what these make uneven.
    let mut by_choice: Vec<(&TopicId, &Vec<usize>)> = subscribers.iter().collect();
    by_choice.sort_by_key(|(_, owners)| owners.len());
    for (topic, owners) in &by_choice {
        let slots = owned.get_mut(*topic).expect("every subscribed topic is here");
        for partition in free.of_topic(topic) {
            let slot = least(owners, &sizes);
            slots[slot].push(partition);
            sizes[owners[slot]] += 1;
        }
    }

    for _ in 0..BALANCE_ROUNDS_MAX {
        let mut moved = false;
        for (topic, owners) in &by_choice {
            moved |= balance(owners, owned.get_mut(*topic).expect("every subscribed topic is here"), &mut sizes);
        }
        if !moved {
            break;
        }
    }

    let mut assignments = vec![Assignment::default(); members.len()];
    for (topic, slots) in owned {
        for (slot, partitions) in slots.into_iter().enumerate() {
            let owner = subscribers[&topic][slot];
            partitions.into_iter().for_each(|partition| {
                assignments[owner].insert(topic, partition);
            });
        }
    }
    assignments
}

/// Moves partitions of one topic from its fullest to its emptiest subscriber until that makes nothing more even. Whether any moved.
fn balance(owners: &[usize], slots: &mut [Vec<i32>], sizes: &mut [usize]) -> bool {
    let mut moved = false;
    loop {
        let fullest = (0..owners.len()).filter(|&slot| !slots[slot].is_empty()).max_by_key(|&slot| sizes[owners[slot]]);
        let Some(fullest) = fullest else { return moved };
        let emptiest = least(owners, sizes);
        if sizes[owners[fullest]] < sizes[owners[emptiest]] + 2 {
            return moved;
        }
        let partition = slots[fullest].pop().expect("the fullest has one");
        slots[emptiest].push(partition);
        sizes[owners[fullest]] -= 1;
        sizes[owners[emptiest]] += 1;
        moved = true;
    }
}

/// The place among `owners` of the one that has the fewest partitions; the first of several.
fn least(owners: &[usize], sizes: &[usize]) -> usize {
    (0..owners.len()).min_by_key(|&slot| sizes[owners[slot]]).expect("a subscribed topic has a subscriber")
}

/// The partitions of topics that nobody owns yet.
struct FreePartitions {
    topics: BTreeMap<TopicId, Vec<bool>>,
    count: usize,
}

impl FreePartitions {
    /// All partitions of `topics`.
    fn of(topics: &[TopicId], partition_counts: &BTreeMap<TopicId, i32>) -> Self {
        let topics: BTreeMap<TopicId, Vec<bool>> = topics
            .iter()
            .map(|topic| (*topic, vec![true; usize::try_from(partition_counts[topic]).unwrap_or(0)]))
            .collect();
        let count = topics.values().map(Vec::len).sum();
        FreePartitions { topics, count }
    }

    /// Takes a partition; false when it does not exist or is taken.
    fn take(&mut self, topic: &TopicId, partition: i32) -> bool {
        let free = self.topics.get_mut(topic).and_then(|free| free.get_mut(usize::try_from(partition).ok()?));
        free.is_some_and(std::mem::take)
    }

    /// What is free of one topic, in order.
    fn of_topic(&self, topic: &TopicId) -> impl Iterator<Item = i32> {
        self.topics.get(topic).into_iter().flat_map(|free| indexes(free))
    }

    /// What is free, in order.
    fn into_iter(self) -> impl Iterator<Item = (TopicId, i32)> {
        self.topics
            .into_iter()
            .flat_map(|(topic, free)| indexes(&free).map(move |partition| (topic, partition)).collect::<Vec<_>>())
    }
}

fn indexes(free: &[bool]) -> impl Iterator<Item = i32> {
    (0_i32..).zip(free).filter(|(_, free)| **free).map(|(partition, _)| partition)
}
