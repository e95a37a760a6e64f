//! From the bytes of a request to the handler that serves it, and from its response back to bytes.
//!
//! Owns the choice of handler and of where it runs: at once, on a thread that may wait for the disk, or with an answer that
//! comes later. Handlers see decoded messages only.

use std::sync::Arc;

use ottla_protocol::frame::{decode_request_header, encode_response};
use ottla_protocol::schema::Message;
use ottla_protocol::wire::Reader;
use ottla_protocol::{ApiKey, Request};

use super::context::{Api, Call};
use super::exchange::{CloseReason, Dispatch, Dispatched, Inbound, Reply, ResponseFrame};
use super::{
    alter_configs, api_versions, consumer_group_describe, consumer_group_heartbeat, create_partitions, create_topics,
    delete_groups, delete_records, delete_topics, describe_cluster, describe_configs, describe_groups,
    describe_log_dirs, describe_topic_partitions, fetch, find_coordinator, heartbeat, incremental_alter_configs,
    init_producer_id, join_group, leave_group, list_groups, list_offsets, metadata, offset_commit, offset_delete,
    offset_fetch, offset_for_leader_epoch, produce, sync_group,
};
use crate::metrics::Metrics;
use crate::storage::vfs::FileSlice;

/// Serves requests from the parts of a broker.
pub(crate) struct Dispatcher {
    api: Arc<Api>,
}

impl Dispatcher {
    /// A dispatcher over these parts.
    pub(crate) fn new(api: Arc<Api>) -> Self {
        Self { api }
    }

    fn serve(&self, call: Call, body: Body<'_>) -> Result<Dispatched, CloseReason> {
        let api = &self.api;
        let ready = |reply| Ok(Dispatched::Ready(reply));
        match call.api_key {
            ApiKey::Produce => Ok(produce::dispatch(api, body.decode()?, call)),
            ApiKey::Fetch => Ok(fetch::dispatch(api, body.decode()?, call)),
            ApiKey::ListOffsets => {
                let request = body.decode()?;
                if list_offsets::reads_log(&request) {
                    return Ok(
                        self.blocking(call, move |api, call| respond(call, &list_offsets::handle(api, &request, call)))
                    );
                }
                ready(respond(&call, &list_offsets::handle(api, &request, &call)))
            }
            ApiKey::Metadata => {
                let request = body.decode()?;
                if metadata::may_create(api, &request, &call) {
                    return Ok(
                        self.blocking(call, move |api, call| respond(call, &metadata::handle(api, request, call)))
                    );
                }
                ready(respond(&call, &metadata::handle(api, request, &call)))
            }
            ApiKey::OffsetCommit => Ok(offset_commit::dispatch(api, body.decode()?, call)),
            ApiKey::OffsetFetch => Ok(offset_fetch::dispatch(api, body.decode()?, call)),
            ApiKey::FindCoordinator => {
                let request = body.decode()?;
                if find_coordinator::creates_topic(api, &request) {
                    return Ok(self.blocking(call, move |api, call| {
                        respond(call, &find_coordinator::handle(api, request, call))
                    }));
                }
                ready(respond(&call, &find_coordinator::handle(api, request, &call)))
            }
            ApiKey::JoinGroup => Ok(join_group::dispatch(api, body.decode()?, call)),
            ApiKey::Heartbeat => Ok(heartbeat::dispatch(api, body.decode()?, call)),
            ApiKey::LeaveGroup => Ok(leave_group::dispatch(api, body.decode()?, call)),
            ApiKey::SyncGroup => Ok(sync_group::dispatch(api, body.decode()?, call)),
            ApiKey::DescribeGroups => Ok(describe_groups::dispatch(api, body.decode()?, call)),
            ApiKey::ListGroups => Ok(list_groups::dispatch(api, body.decode()?, call)),
            ApiKey::DeleteGroups => Ok(delete_groups::dispatch(api, body.decode()?, call)),
            ApiKey::ConsumerGroupHeartbeat => Ok(consumer_group_heartbeat::dispatch(api, body.decode()?, call)),
            ApiKey::ConsumerGroupDescribe => Ok(consumer_group_describe::dispatch(api, body.decode()?, call)),
            ApiKey::OffsetDelete => Ok(offset_delete::dispatch(api, body.decode()?, call)),
            ApiKey::ApiVersions => ready(respond(&call, &api_versions::handle(&body.decode()?, &call))),
            ApiKey::CreateTopics => {
                let request = body.decode()?;
                Ok(self.blocking(call, move |api, call| respond(call, &create_topics::handle(api, request, call))))
            }
            ApiKey::DeleteTopics => {
                let request = body.decode()?;
                Ok(self.blocking(call, move |api, call| respond(call, &delete_topics::handle(api, request, call))))
            }
            ApiKey::DeleteRecords => {
                let request = body.decode()?;
                Ok(self.blocking(call, move |api, call| respond(call, &delete_records::handle(api, &request))))
            }
            ApiKey::InitProducerId => {
                let request = body.decode()?;
                Ok(self.blocking(call, move |api, call| respond(call, &init_producer_id::handle(api, &request))))
            }
            ApiKey::OffsetForLeaderEpoch => {
                ready(respond(&call, &offset_for_leader_epoch::handle(api, &body.decode()?)))
            }
            ApiKey::DescribeConfigs => ready(respond(&call, &describe_configs::handle(api, body.decode()?, &call))),
            ApiKey::AlterConfigs => {
                let request = body.decode()?;
                Ok(self.blocking(call, move |api, call| respond(call, &alter_configs::handle(api, request))))
            }
            ApiKey::DescribeLogDirs => ready(respond(&call, &describe_log_dirs::handle(api, body.decode()?))),
            ApiKey::CreatePartitions => {
                let request = body.decode()?;
                Ok(self.blocking(call, move |api, call| respond(call, &create_partitions::handle(api, request))))
            }
            ApiKey::IncrementalAlterConfigs => {
                let request = body.decode()?;
                Ok(self
                    .blocking(call, move |api, call| respond(call, &incremental_alter_configs::handle(api, request))))
            }
            ApiKey::DescribeCluster => ready(respond(&call, &describe_cluster::handle(api, &body.decode()?, &call))),
            ApiKey::DescribeTopicPartitions => {
                ready(respond(&call, &describe_topic_partitions::handle(api, body.decode()?)))
            }
            unserved => Err(CloseReason::Unsupported { api_key: unserved.key(), version: call.version }),
        }
    }

    /// Runs a handler that may wait for the disk, on a thread made for waiting; the connection's next request sees its effect.
    fn blocking(&self, call: Call, handle: impl FnOnce(&Api, &Call) -> Reply + Send + 'static) -> Dispatched {
        let api = Arc::clone(&self.api);
        let running = tokio::task::spawn_blocking(move || handle(&api, &call));
        Dispatched::Exclusive(Box::pin(async move {
            match running.await {
                Ok(reply) => reply,
                // It goes on in the connection's task, whose guard ends the service.
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(error) => Reply::Close(CloseReason::Unanswerable(format!("the handler did not finish: {error}"))),
            }
        }))
    }

    fn begin(&self, inbound: Inbound) -> Result<Dispatched, CloseReason> {
        let mut reader = Reader::new(inbound.frame);
        let header = decode_request_header(&mut reader).map_err(|error| CloseReason::BadRequest(error.to_string()))?;
        let (api_key, version) = (header.api_key, header.api_version);
        let unsupported = CloseReason::Unsupported { api_key, version };
        let api_key = ApiKey::from_i16(api_key).ok_or(unsupported.clone())?;
        self.api.metrics.requests(api_key).add(1);
        let call = Call {
            api_key,
            version,
            correlation_id: header.correlation_id,
            client_id: header.client_id,
            client: inbound.client,
        };
        if !api_versions::serves(api_key, version) {
            if api_key != ApiKey::ApiVersions {
                return Err(unsupported);
            }
            let call = Call { version: 0, ..call };
            return Ok(Dispatched::Ready(respond(&call, &api_versions::unsupported())));
        }
        self.serve(call, Body { reader, version, metrics: &self.api.metrics })
    }
}

impl Dispatch for Dispatcher {
    fn dispatch(&self, inbound: Inbound) -> Dispatched {
        self.begin(inbound).unwrap_or_else(|reason| Dispatched::Ready(Reply::Close(reason)))
    }
}

/// A request's body that is still to be decoded.
struct Body<'a> {
    reader: Reader,
    version: i16,
    metrics: &'a Metrics,
}

impl Body<'_> {
    fn decode<R: Request>(mut self) -> Result<R, CloseReason> {
        let request = R::decode(&mut self.reader, self.version)
            .map_err(|error| CloseReason::BadRequest(format!("{} v{}: {error}", R::API_KEY, self.version)))?;
        if self.reader.remaining() > 0 {
            self.metrics.trailing_bytes.add(1);
        }
        Ok(request)
    }
}

/// Encodes the response to a call.
pub(super) fn respond<M: Message>(call: &Call, response: &M) -> Reply {
    respond_with_files(call, response, Vec::new())
}

/// Encodes a response whose external records are these ranges of files.
pub(super) fn respond_with_files<M: Message>(call: &Call, response: &M, files: Vec<FileSlice>) -> Reply {
    match encode_response(call.correlation_id, call.api_key, call.version, response) {
        Ok(segments) => Reply::Frame(ResponseFrame { segments, files }),
        Err(error) => {
            tracing::error!(api = %call.api_key, version = call.version, %error, "a response could not be encoded");
            Reply::Close(CloseReason::Unanswerable(error.to_string()))
        }
    }
}
