//! One file per API: a decoded request becomes a decoded response.
//!
//! `dispatch` chooses the handler, `exchange` is what the network floor sees, `context` what handlers may use, `error_map`
//! how errors of the floors below become codes.

mod alter_configs;
mod answer_bytes;
mod api_versions;
mod authorized_operations;
mod client_identity;
mod config_resource;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod context;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_topic_partitions;
mod dispatch;
mod error_map;
mod exchange;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod repeated;
mod server_address;
mod sync_group;

pub(crate) use context::Api;
pub(crate) use dispatch::Dispatcher;
pub(crate) use exchange::{ClientInfo, CloseReason, Dispatch, Dispatched, Inbound, Reply, ReplyFuture, ResponseFrame};
pub(crate) use server_address::{ServerAddress, ServerAddresses};
