//! An async client for Ottla and any other broker that speaks Kafka's protocol.
//!
//! [`Producer`] batches, compresses and sends records, idempotently unless told otherwise; [`Consumer`] reads partitions
//! ahead of what is consumed, as a member of a group or assigned by hand; [`Admin`] creates and inspects topics, groups, configs and
//! brokers. Records are owned ([`bytes::Bytes`]), everything is `Send + 'static`, and whatever runs in the background ends
//! with an explicit `close().await` or with the last handle.
//!
//! ```
//! use ottla_client::{Admin, NewTopic, Producer, ProducerConfig, ProducerRecord};
//! use ottla_client::{Consumer, ConsumerConfig, OffsetReset, SeekTo, TopicPartition};
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let broker = ottla_broker::Broker::builder().data_dir(folder.path()).listen("127.0.0.1:0").start().await?;
//! # let address = broker.addr().to_string();
//! // let address = "127.0.0.1:9092".to_owned();
//! let admin = Admin::connect(address.as_str()).await?;
//! admin.create_topic(NewTopic::new("flights", 6)).await?;
//!
//! let producer = Producer::connect(ProducerConfig::new(address.as_str())).await?;
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
//!
//! // The members of a group share its topics' partitions, and each goes on where the group has committed.
//! let mut config = ConsumerConfig::new(address.as_str()).group("reports");
//! config.auto_offset_reset = OffsetReset::Earliest;
//! let mut consumer = Consumer::connect(config).await?;
//! consumer.subscribe(["flights"])?;
//! for _ in 0..3 {
//!     let record = consumer.recv().await?;
//!     println!("{:?} {:?}", record.key, record.value);
//!     consumer.commit_record(&record).await?;
//! }
//! consumer.close().await;
//!
//! // Or by hand, from anywhere.
//! let mut consumer = Consumer::connect(ConsumerConfig::new(address.as_str())).await?;
//! consumer.assign((0..6).map(|partition| (TopicPartition::new("flights", partition), SeekTo::Beginning))).await?;
//! let record = consumer.recv().await?;
//! println!("{}-{} at {}", record.topic, record.partition, record.offset);
//! # broker.stop().await?;
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
mod consumer;
mod coordinator_calls;
mod delivery;
mod dial;
mod error;
mod fetch_buffer;
mod fetch_session;
mod fetched_batch;
mod fetcher;
mod group;
mod leader_calls;
mod metadata;
mod offsets;
mod outbox;
mod partitioner;
mod produce_call;
mod producer;
mod producer_identity;
mod record;
mod sender;
mod topic_lookup;
mod topic_partition;
mod transactions_seen;

pub use admin::{
    Admin, AlterConfigOp, ApiVersionRange, ClusterDescription, CommittedOffset, ConfigEntry, ConfigResource,
    ConfigSource, ConfigSynonym, CreatedTopic, GroupDescription, GroupListing, GroupOffsets, GroupState, GroupType,
    LogDirDescription, MemberDescription, NewTopic, ReplicaLogSize, TopicListing,
};
pub use config::{Acks, ClientConfig, ConsumerConfig, IsolationLevel, OffsetReset, ProducerConfig};
pub use consumer::{Consumer, RecordStream, SeekTo};
pub use delivery::{Delivery, RecordMetadata};
pub use error::{BrokerError, Error};
pub use fetched_batch::{FetchedBatch, FetchedRecords};
pub use group::{
    Assignor, Committer, GroupConfig, GroupProtocol, OffsetAndMetadata, RebalanceListener, StartPositions,
};
pub use metadata::{Node, PartitionMetadata, TopicMetadata};
pub use offsets::{ListedOffset, OffsetSpec};
pub use partitioner::{murmur2, partition_for_key};
pub use producer::{Producer, ProducerStats};
pub use record::{ConsumerRecord, ProducerRecord};
pub use topic_partition::TopicPartition;

pub use ottla_protocol::records::{Compression, Header, TimestampType};
pub use ottla_protocol::{ApiKey, ErrorCode, Uuid};
