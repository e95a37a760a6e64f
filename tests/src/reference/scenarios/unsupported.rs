//! Versions below and above the served ones, and keys that no API has.

use anyhow::Result;
use ottla_protocol::ApiKey;

use crate::reference::{Play, Scenario};

/// The APIs of this script.
const APIS: [ApiKey; 17] = [
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::FindCoordinator,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DeleteRecords,
    ApiKey::InitProducerId,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::DescribeLogDirs,
    ApiKey::CreatePartitions,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::DescribeCluster,
    ApiKey::DescribeTopicPartitions,
];

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario::once("unsupported/closed", 0, closed)]
}

fn closed(play: &mut Play) -> Result<()> {
    for api in APIS {
        let versions = api.versions();
        // InitProducerId has a version 6 that only brokers with two-phase commit serve.
        play.unknown_step(&format!("{api}_above"), api.key(), versions.end() + 1, &[0; 64])?;
        play.unknown_step(&format!("{api}_below"), api.key(), versions.start() - 1, &[0; 64])?;
    }
    play.unknown_step("key_999", 999, 0, &[0; 64])?;
    play.unknown_step("key_minus_1", -1, 0, &[0; 64])?;
    play.unknown_step("only_between_brokers", 4, 7, &[0; 64])?;
    Ok(())
}
