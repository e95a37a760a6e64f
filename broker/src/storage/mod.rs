//! The log on disk: synchronous, knows no tokio and no wire message.

pub mod vfs;
