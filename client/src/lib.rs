//! An async client for Ottla and any other broker that speaks Kafka's protocol.
//!
//! [`Producer`] batches, compresses and sends records, idempotently unless told otherwise; [`Admin`] creates and inspects
//! topics, configs and brokers. Records are owned ([`bytes::Bytes`]), everything is `Send + 'static`, and whatever runs in
//! the background ends with an explicit `close().await` or with the last handle.
//!
//! ```no_run
//! use ottla_client::{Admin, NewTopic, Producer, ProducerConfig, ProducerRecord};
//!
//! # #[tokio::main] async fn main() -> Result<(), ottla_client::Error> {
//! let admin = Admin::connect("127.0.0.1:9092").await?;
//! admin.create_topic(NewTopic::new("flights", 6)).await?;
//!
//! let producer = Producer::connect(ProducerConfig::new("127.0.0.1:9092")).await?;
//! let mut deliveries = Vec::new();
//! for tail_number in ["N14228", "N24211", "N619AA"] {
//!     let record = ProducerRecord::new("flights", "departed").key(tail_number);
//!     deliveries.push(producer.send(record).await?);
//! }
//! for delivery in deliveries {
//!     let record = delivery.await?;
//!     println!("partition {}, offset {}", record.partition, record.offset);
//! }
//! producer.close().await;
//! # Ok(()) }
//! ```
//!
//! The versions of all requests are agreed on with each broker; Apache Kafka from 2.1 on will do.

mod accumulator;
mod admin;
mod clock;
mod cluster;
mod config;
mod connection;
mod delivery;
mod error;
mod leader_calls;
mod metadata;
mod offsets;
mod outbox;
mod partitioner;
mod producer;
mod record;
mod sender;
mod topic_partition;

pub use admin::{
    Admin, AlterConfigOp, ApiVersionRange, ClusterDescription, ConfigEntry, ConfigResource, ConfigSource,
    ConfigSynonym, CreatedTopic, LogDirDescription, NewTopic, ReplicaLogSize, TopicListing,
};
pub use config::{Acks, ClientConfig, IsolationLevel, ProducerConfig};
pub use delivery::{Delivery, RecordMetadata};
pub use error::{BrokerError, Error};
pub use metadata::{Node, PartitionMetadata, TopicMetadata};
pub use offsets::{ListedOffset, OffsetSpec};
pub use partitioner::{murmur2, partition_for_key};
pub use producer::{Producer, ProducerStats};
pub use record::ProducerRecord;
pub use topic_partition::TopicPartition;

pub use ottla_protocol::records::{Compression, Header};
pub use ottla_protocol::{ApiKey, ErrorCode, Uuid};
