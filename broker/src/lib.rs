//! The Ottla broker as a library: `Broker::builder()` starts one in a few milliseconds.
//!
//! The modules are floors: each imports what lies below it, never above (see ARCHITECTURE.md).

pub mod clock;
pub mod config;
pub mod metadata;
pub mod metrics;
pub mod storage;
pub mod types;

mod api;

mod coordinator;
mod net;
mod replica;
mod server;

pub use coordinator::describe_group_record;
pub use server::{Broker, BrokerBuilder, StartError, StopError};
