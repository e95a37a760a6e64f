//! The log on disk: synchronous, knows no tokio and no wire message.

pub mod leader_epoch;
pub mod producer_state;
pub mod vfs;
