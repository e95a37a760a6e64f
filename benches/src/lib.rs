//! Benchmarks of Ottla: rooflines, the append path, produce and fetch, compaction, latency, memory.
//!
//! Owns what the benchmarks in `src/bin` share: a broker in a process of its own, load, rooflines, and how numbers become a
//! median and a table. MB and GB are 10^6 and 10^9 bytes.

pub mod broker_process;
pub mod cpu;
pub mod load;
pub mod report;
pub mod roofline;
pub mod samples;
pub mod wire;
