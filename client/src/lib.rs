//! An async client for Ottla and any other Kafka-protocol broker.
