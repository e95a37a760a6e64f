//! Groups, as pure state machines: a request becomes an answer and records, and only a replayed record changes a group.

mod assignment;
mod assignor;
mod assignor_range;
mod assignor_uniform;
mod consumer_member;
mod consumer_reconcile;
