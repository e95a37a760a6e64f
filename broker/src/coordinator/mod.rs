//! Groups of consumers: who belongs to them, who reads which partition, how far each group has read.
//!
//! `group` is the pure part (floor 2): a request becomes an answer and records, and only replayed records change what a
//! restart brings back. `runtime` (floor 4) puts it on the partitions of `__consumer_offsets`: it appends the records,
//! replays them and lets answers go when they are durable.

pub(crate) mod group;

mod handled;
mod load;
mod offsets_topic;
mod runtime;
mod slot;
mod waiters;

#[cfg(test)]
mod test_broker;

pub use group::describe_group_record;
pub(crate) use handled::Handled;
pub(crate) use offsets_topic::{OFFSETS_TOPIC, internal_topic_of};
pub(crate) use runtime::{GroupCoordinator, GroupCoordinatorContext};
