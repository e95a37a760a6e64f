//! Hostile and broken input against a real broker process: what it gets, and that nobody else notices.
//!
//! Goal: after each input the broker is alive, a healthy client on another connection is served, and memory and descriptors are
//! back. Method: a `Victim` is one process with one healthy client; each test names the inputs that it sends. The error codes of
//! well-formed requests that ask for something wrong are compared with Kafka's in the test `reference`.

mod consumer_groups;
mod fetches;
mod framing;
mod groups;
mod latency;
mod lengths;
mod names;
mod record_batches;
mod victim;
