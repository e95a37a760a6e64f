//! Partitions: a log with its high watermark, its waiters and its durability.

mod fetch_session;
mod partition;
mod purgatory;
mod replica_manager;

pub(crate) use fetch_session::{
    FetchContext, FetchSessionCache, PartitionAnswer, PartitionFetch, SessionError, SessionRequest, TopicRef,
};
pub(crate) use partition::{Durability, Partition, PartitionOffsets, ProduceError};
pub(crate) use purgatory::Waiter;
pub(crate) use replica_manager::{ReplicaManager, TopicReplicas};
