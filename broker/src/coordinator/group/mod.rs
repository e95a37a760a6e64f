//! The group coordinator without its log: state machines that know neither files nor tasks nor clocks.
//!
//! `group_shard` holds the groups of one partition of `__consumer_offsets` and says how to work with it; `classic` is the
//! protocol of JoinGroup and SyncGroup, `offset_store` what groups have committed, `group_record` what stands in the log.
//!
//! Invariant: what a restart brings back changes in `replay` only, live and at load alike.

mod any_group;
mod assignment;
mod assignor;
mod assignor_range;
mod assignor_uniform;
mod classic;
mod commit;
mod config;
mod consumer;
mod consumer_classic;
mod consumer_context;
mod consumer_describe;
mod consumer_draft;
mod consumer_error;
mod consumer_heartbeat;
mod consumer_leave;
mod consumer_member;
mod consumer_memory;
mod consumer_migration;
mod consumer_offsets;
mod consumer_reconcile;
mod consumer_record;
mod consumer_shard;
mod consumer_size;
mod embedded_protocol;
mod error;
mod group_record;
mod group_shard;
mod listing;
mod member_id;
mod members_bytes;
mod offset_store;
mod offsets_bytes;
mod outcome;
mod pending_members;
mod retention;
mod subscription_regex;
mod timers;
mod topic_hash;

#[cfg(test)]
mod consumer_test_group;
#[cfg(test)]
mod consumer_walk_test;
#[cfg(test)]
mod migration_walk_test;
#[cfg(test)]
mod test_shard;

pub(crate) use assignment::Assignment;
pub(crate) use classic::{
    ClientIdentity, Departure, GROUP_RECORD_BYTES_MAX, JoinAnswer, JoinGroup, JoinedMember, LeaveGroup, SyncAnswer,
    SyncGroup,
};
pub(crate) use commit::{Committer, OffsetToCommit};
pub(crate) use config::GroupConfig;
pub(crate) use consumer_describe::{DescribedConsumerGroup, DescribedConsumerMember, DescribedTopic};
pub(crate) use consumer_error::ConsumerGroupError;
pub(crate) use consumer_heartbeat::{ConsumerHeartbeat, HeartbeatAnswer};
pub(crate) use error::GroupError;
pub use group_record::describe_group_record;
pub(crate) use group_record::{GroupRecord, GroupRecordError};
pub(crate) use group_shard::GroupShard;
pub(crate) use listing::{DescribedGroup, DescribedMember, GroupFilter, GroupKind, ListedGroup};
pub(crate) use members_bytes::MembersBudget;
pub(crate) use offset_store::CommittedOffset;
pub(crate) use offsets_bytes::OffsetsBudget;
pub(crate) use outcome::{Effects, Outcome, Token, WaitingAnswer};
pub(crate) use timers::Moment;
