//! Every configuration key: one table row each, and how rows become settings.
//!
//! `config_key` says what a row is; `broker_keys`, `topic_keys`, `group_keys` and `ignored_keys` are the rows. Text that was set lies
//! in `layers` and becomes the typed [`BrokerConfig`] and [`TopicConfig`]. `describe` and `alter` are what clients see
//! and do; `load` reads flags, variables and files; `reference` writes docs/configuration.md.

mod alter;
mod broker_config;
mod broker_keys;
mod config_error;
mod config_key;
mod describe;
mod group_keys;
mod group_times;
mod ignored_keys;
mod ignored_security_keys;
mod layers;
mod listener;
mod load;
mod properties_file;
mod reference;
mod toml_file;
mod topic_config;
mod topic_keys;
mod value;

pub use alter::{AlterOp, Alteration, BrokerScope, alter_broker, alter_group, alter_topic};
pub use broker_config::BrokerConfig;
pub use config_error::{ConfigError, Origin, Scope};
pub use config_key::{
    Allowed, ConfigKey, ConfigType, KafkaDefault, KeyGroup, Synonym, UpdateMode, broker_key, broker_key_groups,
    broker_keys, group_key, group_key_groups, group_keys, nearest, topic_key, topic_key_groups, topic_keys,
};
pub use describe::{
    ConfigEntry, ConfigSource, ConfigSynonym, describe_broker, describe_cluster_defaults, describe_group,
    describe_topic,
};
pub use group_times::{GroupTimeBounds, GroupTimes};
pub use layers::ConfigLayers;
pub use listener::Listener;
pub use load::{ConfigFile, ConfigFlag, ConfigSources, OTHER_VARIABLES};
pub use reference::reference_page;
pub use topic_config::{CleanupPolicy, FlushMode, MessageTimestampType, StoredCompression, TopicConfig};
