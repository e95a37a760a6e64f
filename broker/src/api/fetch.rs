//! Fetch (1), versions 4 to 18: reads record batches, waits for them, and remembers what a session asked for.
//!
//! Version 4 adds isolation levels (KIP-98), 5 the log start (KIP-107), 7 incremental sessions (KIP-227), 9 leader epochs
//! (KIP-320), 11 racks (KIP-392), 12 is flexible and tells diverging epochs (KIP-595), 13 names topics by id (KIP-516), 15
//! moves the replica id into a tag (KIP-903), 16 may tell node endpoints (KIP-951), 17 and 18 concern replicas only.
//!
//! Records go out as ranges of segment files, never copied or encoded again. A read from the middle of a batch gives the
//! whole batch, and the first partition with records always gives at least one batch, however small the limits (KIP-74).
//! A request that names a replica id is one of a follower; there are none, and it is refused (bad input 59).

use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::messages::fetch::{
    AbortedTransaction, EpochEndOffset, FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
};
use ottla_protocol::{ErrorCode, Records, Uuid};

use super::context::{Api, Call, TopicName};
use super::dispatch::{respond, respond_with_files};
use super::error_map::ToErrorCode;
use super::exchange::{Dispatched, Reply};
use crate::replica::{
    FetchContext, Partition, PartitionAnswer, PartitionFetch, PartitionOffsets, SessionError, SessionRequest, TopicRef,
    Waiter,
};
use crate::storage::vfs::FileSlice;
use crate::types::{LeaderEpoch, Offset};

/// The bounds of one request.
#[derive(Debug, Clone, Copy)]
struct Limits {
    max_bytes: usize,
    min_bytes: usize,
    max_wait: Duration,
    committed_only: bool,
}

/// What one look at all partitions gave.
struct Look {
    partitions: Vec<PartitionData>,
    files: Vec<FileSlice>,
    bytes: usize,
    /// Something that the client should hear at once.
    urgent: bool,
}

/// Reads what is there; when it is too little, waits for more as long as the client allows.
pub(super) fn dispatch(api: &Arc<Api>, request: FetchRequest, call: Call) -> Dispatched {
    let replica_id = if call.version >= 15 { request.replica_state.replica_id } else { request.replica_id };
    if replica_id >= 0 {
        return Dispatched::Ready(respond(&call, &refusal(ErrorCode::InvalidRequest)));
    }
    let fetch_max_bytes = usize::try_from(api.config().fetch_max_bytes).unwrap_or(0);
    let limits = Limits {
        max_bytes: usize::try_from(request.max_bytes).unwrap_or(0).min(fetch_max_bytes),
        min_bytes: usize::try_from(request.min_bytes).unwrap_or(0).min(fetch_max_bytes),
        max_wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
        committed_only: request.isolation_level == 1,
    };
    let context = match api.fetch_sessions.begin(session_request(request, &call), api.now_ms()) {
        Ok(context) => context,
        Err(error) => return Dispatched::Ready(respond(&call, &refusal(session_code(error)))),
    };
    let look = look_at(api, &context.partitions, limits);
    if look.urgent || look.bytes >= limits.min_bytes || limits.max_wait.is_zero() || context.partitions.is_empty() {
        return Dispatched::Ready(finish(api, context, look, &call));
    }
    let api = Arc::clone(api);
    Dispatched::Overlapping(Box::pin(async move {
        let deadline = tokio::time::Instant::now() + limits.max_wait;
        let partitions = context.partitions.iter().filter_map(|fetch| find(&api, fetch).ok()).collect();
        let waiter = Waiter::register(partitions);
        loop {
            let look = look_at(&api, &context.partitions, limits);
            if look.urgent || look.bytes >= limits.min_bytes {
                return finish(&api, context, look, &call);
            }
            drop(look);
            if tokio::time::timeout_at(deadline, waiter.changed()).await.is_err() {
                let look = look_at(&api, &context.partitions, limits);
                return finish(&api, context, look, &call);
            }
        }
    }))
}

fn session_request(request: FetchRequest, call: &Call) -> SessionRequest {
    let by_id = call.version >= 13;
    let topic_ref = |name: &str, id: Uuid| if by_id { TopicRef::Id(id) } else { TopicRef::Name(Arc::from(name)) };
    let mut partitions = Vec::new();
    for topic in &request.topics {
        let name = topic_ref(&topic.topic, topic.topic_id);
        partitions.extend(topic.partitions.iter().map(|wanted| PartitionFetch {
            topic: name.clone(),
            partition: wanted.partition,
            fetch_offset: wanted.fetch_offset,
            current_leader_epoch: wanted.current_leader_epoch,
            last_fetched_epoch: wanted.last_fetched_epoch,
            max_bytes: wanted.partition_max_bytes,
        }));
    }
    let mut forgotten = Vec::new();
    for topic in &request.forgotten_topics_data {
        let name = topic_ref(&topic.topic, topic.topic_id);
        forgotten.extend(topic.partitions.iter().map(|&partition| (name.clone(), partition)));
    }
    SessionRequest {
        session_id: request.session_id,
        epoch: request.session_epoch,
        uses_topic_ids: by_id,
        partitions,
        forgotten,
    }
}

fn session_code(error: SessionError) -> ErrorCode {
    match error {
        SessionError::IdNotFound => ErrorCode::FetchSessionIdNotFound,
        SessionError::InvalidEpoch => ErrorCode::InvalidFetchSessionEpoch,
        SessionError::TopicIdMismatch => ErrorCode::FetchSessionTopicIdError,
    }
}

fn refusal(code: ErrorCode) -> FetchResponse {
    FetchResponse { error_code: code.into(), ..Default::default() }
}

fn find(api: &Api, fetch: &PartitionFetch) -> Result<Arc<Partition>, ErrorCode> {
    let topic = match &fetch.topic {
        TopicRef::Name(name) => TopicName::Name(name),
        TopicRef::Id(id) => TopicName::Id(*id),
    };
    api.find(topic, fetch.partition)
}

fn look_at(api: &Api, fetches: &[PartitionFetch], limits: Limits) -> Look {
    let mut look = Look { partitions: Vec::with_capacity(fetches.len()), files: Vec::new(), bytes: 0, urgent: false };
    for fetch in fetches {
        match read(api, fetch, limits, &mut look) {
            Ok(data) => look.partitions.push(data),
            Err(code) => {
                look.urgent = true;
                look.partitions.push(failure(fetch.partition, code));
            }
        }
    }
    look
}

fn read(api: &Api, fetch: &PartitionFetch, limits: Limits, look: &mut Look) -> Result<PartitionData, ErrorCode> {
    let partition = find(api, fetch)?;
    partition.check_leader_epoch(fetch.current_leader_epoch)?;
    let blank = |offsets: PartitionOffsets| PartitionData {
        partition_index: fetch.partition,
        high_watermark: offsets.high_watermark.0,
        last_stable_offset: offsets.last_stable.0,
        log_start_offset: offsets.log_start.0,
        aborted_transactions: limits.committed_only.then(Vec::new),
        records: Records::Bytes(bytes::Bytes::new()),
        ..Default::default()
    };
    if fetch.last_fetched_epoch >= 0
        && let Some(diverging) =
            partition.divergence(LeaderEpoch(fetch.last_fetched_epoch), Offset(fetch.fetch_offset))?
    {
        look.urgent = true;
        let diverging_epoch = EpochEndOffset { epoch: diverging.epoch.0, end_offset: diverging.end_offset.0 };
        return Ok(PartitionData { diverging_epoch, ..blank(partition.offsets()) });
    }
    let room = limits.max_bytes.saturating_sub(look.bytes);
    let max_bytes = usize::try_from(fetch.max_bytes).unwrap_or(0).min(room);
    let found = partition
        .read(Offset(fetch.fetch_offset), max_bytes, look.bytes == 0, limits.committed_only)
        .map_err(|error| error.to_error_code())?;
    let mut data = blank(found.offsets);
    if limits.committed_only {
        let aborted = found.aborted.iter().map(|aborted| AbortedTransaction {
            producer_id: aborted.producer_id.0,
            first_offset: aborted.first_offset.0,
        });
        data.aborted_transactions = Some(aborted.collect());
    }
    if let Some(slice) = found.slice.filter(|slice| slice.len > 0) {
        look.bytes += slice.len;
        let len =
            u32::try_from(slice.len).expect("a read is bounded by fetch.max.bytes or one batch, both below 4 GiB");
        data.records = Records::External { id: look.files.len() as u32, len };
        look.files.push(slice);
    }
    Ok(data)
}

fn failure(partition_index: i32, code: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index,
        error_code: code.into(),
        high_watermark: -1,
        records: Records::Bytes(bytes::Bytes::new()),
        ..Default::default()
    }
}

fn finish(api: &Api, context: FetchContext, look: Look, call: &Call) -> Reply {
    let answers: Vec<PartitionAnswer> = look
        .partitions
        .iter()
        .map(|data| PartitionAnswer {
            high_watermark: data.high_watermark,
            log_start_offset: data.log_start_offset,
            has_records: matches!(data.records, Records::External { .. }),
            has_error: data.error_code != ErrorCode::None.code(),
            diverges: data.diverging_epoch.epoch >= 0,
        })
        .collect();
    let topics: Vec<TopicRef> = context.partitions.iter().map(|fetch| fetch.topic.clone()).collect();
    let session = api.fetch_sessions.finish(context, &answers, api.now_ms());
    let mut responses: Vec<FetchableTopicResponse> = Vec::new();
    let mut last: Option<TopicRef> = None;
    for ((data, topic), told) in look.partitions.into_iter().zip(topics).zip(session.told) {
        if !told {
            continue;
        }
        if last.as_ref() != Some(&topic) {
            let (name, topic_id) = match &topic {
                TopicRef::Name(name) => (name.to_string(), Uuid::ZERO),
                TopicRef::Id(id) => (String::new(), *id),
            };
            responses.push(FetchableTopicResponse { topic: name, topic_id, partitions: Vec::new() });
            last = Some(topic);
        }
        if let Some(response) = responses.last_mut() {
            response.partitions.push(data);
        }
    }
    let response = FetchResponse { session_id: session.session_id, responses, ..Default::default() };
    respond_with_files(call, &response, look.files)
}
