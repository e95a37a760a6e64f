//! What the configuration says about groups, as the shards need it.

use super::assignor::Assignor;
use super::consumer_context::{ConsumerGroupConfig, MigrationPolicy};
use crate::config::BrokerConfig;

/// Settings of groups. All of them are read-only while the broker runs; a group can have some of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupConfig {
    /// The shortest session of a member, in milliseconds.
    pub(crate) min_session_timeout_ms: i32,
    /// The longest session of a member, in milliseconds.
    pub(crate) max_session_timeout_ms: i32,
    /// How many members a classic group may have.
    pub(crate) max_size: usize,
    /// How many milliseconds an empty group waits for more members when the first one joins.
    pub(crate) initial_rebalance_delay_ms: i32,
    /// Characters of the text beside a committed offset.
    pub(crate) offset_metadata_max_bytes: usize,
    /// How many milliseconds an offset is kept that nobody needs.
    pub(crate) offsets_retention_ms: i64,
    /// How many milliseconds lie between two looks for such offsets.
    pub(crate) offsets_retention_check_interval_ms: u64,
    /// Those of groups of the consumer protocol.
    pub(crate) consumer: ConsumerGroupConfig,
}

impl GroupConfig {
    /// The settings of a broker.
    pub(crate) fn new(config: &BrokerConfig) -> Self {
        let count = |value: i32| usize::try_from(value).unwrap_or(0);
        Self {
            min_session_timeout_ms: config.group_min_session_timeout_ms,
            max_session_timeout_ms: config.group_max_session_timeout_ms,
            max_size: count(config.group_max_size),
            initial_rebalance_delay_ms: config.group_initial_rebalance_delay_ms,
            offset_metadata_max_bytes: count(config.offset_metadata_max_bytes),
            offsets_retention_ms: i64::from(config.offsets_retention_minutes).saturating_mul(60_000),
            offsets_retention_check_interval_ms: u64::try_from(config.offsets_retention_check_interval_ms).unwrap_or(1),
            consumer: ConsumerGroupConfig {
                times: config.group_consumer_times,
                bounds: config.group_consumer_bounds.clone(),
                max_size: count(config.group_consumer_max_size),
                assignors: config
                    .group_consumer_assignors
                    .iter()
                    .filter_map(|name| Assignor::from_name(name))
                    .collect(),
                migration_policy: MigrationPolicy::from_name(&config.group_consumer_migration_policy),
            },
        }
    }
}
