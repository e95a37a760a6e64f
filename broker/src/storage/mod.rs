//! The log on disk: synchronous, knows no tokio and no wire message.

#[expect(dead_code, reason = "the log, which uses the rest of it, follows")]
pub mod error;
pub mod leader_epoch;
pub mod producer_state;
pub mod vfs;

pub use error::StorageError;
pub use producer_state::ProducerStateError;
