//! Topics, ids, partitions and configs: a log of records, replayed into an immutable image.
//!
//! `metadata_record` says what can change, `image` what is, `metadata_log` keeps the records, `partition_folder` the folders of
//! partitions in step with them. `Controller` is the only one who changes anything; everybody else reads its image and is told
//! of changes as a `TopicListener`.

mod allocate_producer_id;
mod alter_configs;
mod controller;
mod controller_error;
mod create_partitions;
mod create_topics;
mod delete_topics;
mod image;
mod internal_topic;
mod metadata_log;
mod metadata_record;
mod partition_folder;
mod topic_listener;
mod topic_name;

pub use allocate_producer_id::PRODUCER_ID_BLOCK;
pub use alter_configs::{ConfigChange, TopicConfigChange};
pub use controller::{Controller, ControllerContext};
pub use controller_error::ControllerError;
pub use create_partitions::NewPartitions;
pub(crate) use create_topics::INTERNAL_PARTITIONS;
pub use create_topics::{NewTopic, ReplicaAssignment};
pub use delete_topics::TopicReference;
pub use image::{DynamicBrokerConfigs, ImageDelta, MetadataImage, ReplayError, TopicAlteration, TopicImage};
pub use metadata_record::{METADATA_RECORD_VERSION, MetadataRecord, MetadataRecordError};
pub use partition_folder::{FolderReport, QUARANTINE_DIR};
pub use topic_listener::TopicListener;
pub use topic_name::{CLUSTER_METADATA_TOPIC, INTERNAL_TOPICS, TOPIC_NAME_LEN_MAX, TopicName, TopicNameError};
