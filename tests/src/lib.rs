//! The harness of Ottla's end-to-end tests: brokers in this process and beside it, connections that send any bytes, record
//! batches that are wrong on purpose, the story of a full disk, and the script that Apache Kafka's answers were recorded with.

pub mod batch;
pub mod connection;
pub mod full_disk;
pub mod in_process;
pub mod process;
pub mod reference;
pub mod wait;
