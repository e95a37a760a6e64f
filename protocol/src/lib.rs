//! Kafka's wire protocol and record batches: bytes to types and back. No I/O, no async, no clock.
