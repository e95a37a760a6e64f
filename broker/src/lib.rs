//! The Ottla broker as a library: `Broker::builder()` starts one in a few milliseconds.
//!
//! The modules are floors: each imports what lies below it, never above (see ARCHITECTURE.md).

pub mod clock;
pub mod config;
pub mod metadata;
pub mod storage;
pub mod types;

#[expect(dead_code, unused_imports, reason = "the network floor, which uses it, is still to come")]
mod api;
mod metrics;
mod net;
#[allow(dead_code, reason = "used by the API floor, once that is")]
mod replica;
mod server;
