//! Benchmarks of Ottla: rooflines, the append path, produce and fetch, latency, memory, consumer groups.
//!
//! Each is a command in `bin/`; here is what they share.

mod broker_process;

pub use broker_process::BrokerProcess;
