//! Groups, as pure state machines: a request becomes an answer and records, and only a replayed record changes a group.

mod assignment;
mod assignor;
mod assignor_range;
mod assignor_uniform;
mod consumer;
mod consumer_context;
mod consumer_describe;
mod consumer_draft;
mod consumer_error;
mod consumer_heartbeat;
mod consumer_leave;
mod consumer_member;
mod consumer_memory;
mod consumer_offsets;
mod consumer_reconcile;
mod consumer_record;
#[cfg(test)]
mod consumer_test_group;
#[cfg(test)]
mod consumer_walk_test;
mod subscription_regex;
mod timers;
mod topic_hash;
