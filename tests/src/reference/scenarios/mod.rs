//! The script: one file an API, in the order in which a broker is built.

use anyhow::{Result, ensure};
use ottla_protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};

use super::play::Play;
use super::run::Scenario;

mod alter_configs;
mod api_versions;
mod consumer_group;
mod create_partitions;
mod create_topics;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_topic_partitions;
mod fetch;
mod fetch_session;
mod find_coordinator;
mod group_configs;
mod groups;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_for_leader_epoch;
mod produce;
mod produce_bad_batch;
mod produce_idempotent;
mod unsupported;

/// Every scenario.
pub fn all() -> Vec<Scenario> {
    [
        api_versions::scenarios(),
        unsupported::scenarios(),
        create_topics::scenarios(),
        delete_topics::scenarios(),
        create_partitions::scenarios(),
        metadata::scenarios(),
        describe_topic_partitions::scenarios(),
        describe_cluster::scenarios(),
        produce::scenarios(),
        produce_bad_batch::scenarios(),
        produce_idempotent::scenarios(),
        init_producer_id::scenarios(),
        fetch::scenarios(),
        fetch_session::scenarios(),
        list_offsets::scenarios(),
        offset_for_leader_epoch::scenarios(),
        delete_records::scenarios(),
        describe_configs::scenarios(),
        alter_configs::scenarios(),
        incremental_alter_configs::scenarios(),
        describe_log_dirs::scenarios(),
        find_coordinator::scenarios(),
        offset_commit::scenarios(),
        join_group::scenarios(),
        describe_groups::scenarios(),
        consumer_group::scenarios(),
        group_configs::scenarios(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Deletes the records of a topic of this scenario below `offset`, without writing the answer down.
fn delete_records_to(play: &mut Play, name: &str, partition: i32, offset: i64) -> Result<()> {
    let partitions = vec![DeleteRecordsPartition { partition_index: partition, offset }];
    let topics = vec![DeleteRecordsTopic { name: play.name(name), partitions }];
    let response = play.ask(2, &DeleteRecordsRequest { topics, timeout_ms: 10_000 })?;
    let errors: Vec<i16> =
        response.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code).collect();
    ensure!(errors == [0], "DeleteRecords of {name}: errors {errors:?}");
    Ok(())
}
