//! Any request or response, by API key and version: for tools and tests that handle all of them alike.

use crate::ApiKey;
use crate::schema::{Message, Request, Shape, Value};
use crate::wire::{DecodeError, EncodeError, Reader, Writer};

macro_rules! any {
    ($($name:ident($module:ident::$request:ident);)*) => {
        /// A request of any API; each variant is named after its API.
        #[derive(Debug, Clone, PartialEq)]
        #[expect(missing_docs, reason = "the variants are the APIs")]
        pub enum AnyRequest {
            $($name(super::$module::$request),)*
        }

        /// A response of any API; each variant is named after its API.
        #[derive(Debug, Clone, PartialEq)]
        #[expect(missing_docs, reason = "the variants are the APIs")]
        pub enum AnyResponse {
            $($name(<super::$module::$request as Request>::Response),)*
        }

        impl AnyRequest {
            /// What the request of an API looks like.
            pub fn shape(api_key: ApiKey) -> Shape {
                match api_key {
                    $(ApiKey::$name => <super::$module::$request as Value>::SHAPE,)*
                }
            }

            /// The API that it belongs to.
            pub fn api_key(&self) -> ApiKey {
                match self {
                    $(Self::$name(_) => ApiKey::$name,)*
                }
            }

            /// Writes the request's body in the form of `version`.
            pub fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
                match self {
                    $(Self::$name(message) => message.encode(writer, version),)*
                }
            }

            /// Reads a request's body in the form of `version`.
            pub fn decode(api_key: ApiKey, reader: &mut Reader, version: i16) -> Result<Self, DecodeError> {
                check(api_key, version)?;
                match api_key {
                    $(ApiKey::$name => Message::decode(reader, version).map(Self::$name),)*
                }
            }
        }

        impl AnyResponse {
            /// What the response of an API looks like.
            pub fn shape(api_key: ApiKey) -> Shape {
                match api_key {
                    $(ApiKey::$name => <<super::$module::$request as Request>::Response as Value>::SHAPE,)*
                }
            }

            /// The API that it belongs to.
            pub fn api_key(&self) -> ApiKey {
                match self {
                    $(Self::$name(_) => ApiKey::$name,)*
                }
            }

            /// Writes the response's body in the form of `version`.
            pub fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
                match self {
                    $(Self::$name(message) => message.encode(writer, version),)*
                }
            }

            /// Reads a response's body in the form of `version`.
            pub fn decode(api_key: ApiKey, reader: &mut Reader, version: i16) -> Result<Self, DecodeError> {
                check(api_key, version)?;
                match api_key {
                    $(ApiKey::$name => Message::decode(reader, version).map(Self::$name),)*
                }
            }
        }
    };
}

fn check(api_key: ApiKey, version: i16) -> Result<(), DecodeError> {
    if api_key.has_version(version) {
        Ok(())
    } else {
        Err(DecodeError::Unsupported { api_key: api_key.key(), version })
    }
}

any! {
    Produce(produce::ProduceRequest);
    Fetch(fetch::FetchRequest);
    ListOffsets(list_offsets::ListOffsetsRequest);
    Metadata(metadata::MetadataRequest);
    OffsetCommit(offset_commit::OffsetCommitRequest);
    OffsetFetch(offset_fetch::OffsetFetchRequest);
    FindCoordinator(find_coordinator::FindCoordinatorRequest);
    JoinGroup(join_group::JoinGroupRequest);
    Heartbeat(heartbeat::HeartbeatRequest);
    LeaveGroup(leave_group::LeaveGroupRequest);
    SyncGroup(sync_group::SyncGroupRequest);
    DescribeGroups(describe_groups::DescribeGroupsRequest);
    ListGroups(list_groups::ListGroupsRequest);
    SaslHandshake(sasl_handshake::SaslHandshakeRequest);
    ApiVersions(api_versions::ApiVersionsRequest);
    CreateTopics(create_topics::CreateTopicsRequest);
    DeleteTopics(delete_topics::DeleteTopicsRequest);
    DeleteRecords(delete_records::DeleteRecordsRequest);
    InitProducerId(init_producer_id::InitProducerIdRequest);
    OffsetForLeaderEpoch(offset_for_leader_epoch::OffsetForLeaderEpochRequest);
    AddPartitionsToTxn(add_partitions_to_txn::AddPartitionsToTxnRequest);
    AddOffsetsToTxn(add_offsets_to_txn::AddOffsetsToTxnRequest);
    EndTxn(end_txn::EndTxnRequest);
    WriteTxnMarkers(write_txn_markers::WriteTxnMarkersRequest);
    TxnOffsetCommit(txn_offset_commit::TxnOffsetCommitRequest);
    DescribeAcls(describe_acls::DescribeAclsRequest);
    CreateAcls(create_acls::CreateAclsRequest);
    DeleteAcls(delete_acls::DeleteAclsRequest);
    DescribeConfigs(describe_configs::DescribeConfigsRequest);
    AlterConfigs(alter_configs::AlterConfigsRequest);
    AlterReplicaLogDirs(alter_replica_log_dirs::AlterReplicaLogDirsRequest);
    DescribeLogDirs(describe_log_dirs::DescribeLogDirsRequest);
    SaslAuthenticate(sasl_authenticate::SaslAuthenticateRequest);
    CreatePartitions(create_partitions::CreatePartitionsRequest);
    DeleteGroups(delete_groups::DeleteGroupsRequest);
    ElectLeaders(elect_leaders::ElectLeadersRequest);
    IncrementalAlterConfigs(incremental_alter_configs::IncrementalAlterConfigsRequest);
    AlterPartitionReassignments(alter_partition_reassignments::AlterPartitionReassignmentsRequest);
    ListPartitionReassignments(list_partition_reassignments::ListPartitionReassignmentsRequest);
    OffsetDelete(offset_delete::OffsetDeleteRequest);
    DescribeClientQuotas(describe_client_quotas::DescribeClientQuotasRequest);
    AlterClientQuotas(alter_client_quotas::AlterClientQuotasRequest);
    DescribeUserScramCredentials(describe_user_scram_credentials::DescribeUserScramCredentialsRequest);
    AlterUserScramCredentials(alter_user_scram_credentials::AlterUserScramCredentialsRequest);
    DescribeQuorum(describe_quorum::DescribeQuorumRequest);
    UpdateFeatures(update_features::UpdateFeaturesRequest);
    DescribeCluster(describe_cluster::DescribeClusterRequest);
    DescribeProducers(describe_producers::DescribeProducersRequest);
    UnregisterBroker(unregister_broker::UnregisterBrokerRequest);
    DescribeTransactions(describe_transactions::DescribeTransactionsRequest);
    ListTransactions(list_transactions::ListTransactionsRequest);
    ConsumerGroupHeartbeat(consumer_group_heartbeat::ConsumerGroupHeartbeatRequest);
    ConsumerGroupDescribe(consumer_group_describe::ConsumerGroupDescribeRequest);
    GetTelemetrySubscriptions(get_telemetry_subscriptions::GetTelemetrySubscriptionsRequest);
    PushTelemetry(push_telemetry::PushTelemetryRequest);
    ListConfigResources(list_config_resources::ListConfigResourcesRequest);
    DescribeTopicPartitions(describe_topic_partitions::DescribeTopicPartitionsRequest);
}
