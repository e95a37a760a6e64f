//! Membership in a consumer group, by either protocol, and the offsets that the group commits.
//!
//! A floor of its own between the consumer's handle and the cluster. `classic_member.rs` and `consumer_member.rs` are pure
//! state machines, `commit_tracker.rs`, `assignor.rs` and `sticky.rs` pure rules; `driver.rs` is the task that has done what
//! they ask for, `handover.rs` what happens when partitions change hands, `shared.rs` what handle and task have in common.

mod assignor;
mod classic_member;
mod commit_tracker;
mod committer;
mod consumer_member;
mod coordinator;
mod driver;
mod embedded_protocol;
mod group_config;
mod handover;
mod listener;
mod member;
mod member_calls;
mod offset_calls;
mod refusal;
mod shared;
mod step;
mod sticky;
mod subscription;

#[cfg(test)]
mod test_warnings;

pub use committer::{Committer, OffsetAndMetadata};
pub use group_config::{Assignor, GroupConfig, GroupProtocol};
pub use listener::{RebalanceListener, StartPositions};

pub(crate) use coordinator::Coordinator;
pub(crate) use driver::Driver;
pub(crate) use handover::Handovers;
pub(crate) use offset_calls::fetch_offsets;
pub(crate) use shared::{GroupShared, Intent};
pub(crate) use subscription::{Subscription, TopicPattern};
