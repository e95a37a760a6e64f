//! Produce (0), versions 3 to 13: appends record batches, one batch a partition.
//!
//! Version 3 demands record batches v2 (KIP-98), 5 tells the log start (KIP-107), 7 allows zstd (KIP-110), 8 tells which
//! records were refused (KIP-467), 10 would tell a new leader (KIP-951), 12 lets a transaction start by producing (KIP-890),
//! 13 names topics by id (KIP-516).
//!
//! The append happens as the request is dispatched, so that the order of a connection's requests is the order in the log;
//! only the answer waits, with `acks=all` for the flush that covers every partition of the request. `acks=0` has no answer,
//! and an error closes the connection. UNKNOWN_SERVER_ERROR is never an answer. KAFKA_STORAGE_ERROR (a full disk, or a log
//! that is offline) comes with a throttle time, for which clients hold back their next attempt.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::messages::produce::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceResponse,
};
use ottla_protocol::records::{BatchError, BatchView, Compression};
use ottla_protocol::{ErrorCode, Records};

use super::context::{Api, Call, TopicName};
use super::dispatch::respond;
use super::error_map::ToErrorCode;
use super::exchange::{CloseReason, Dispatched, Reply};
use crate::metadata::INTERNAL_TOPICS;
use crate::replica::{Durability, Partition, ProduceError};
use crate::storage::AppendError;
use crate::storage::validate::ValidateError;
use crate::types::Offset;

/// The first version whose clients can read zstd back (KIP-110).
const ZSTD_SINCE: i16 = 7;

/// The least time that a flush is given. A producer's timeout is meant for other replicas: one of 0 asks not to wait for them,
/// not to give up on the disk.
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);

/// How long a client is to wait that was refused by the storage: what was wrong with it may be over then.
const STORAGE_ERROR_THROTTLE_MS: i32 = 1_000;

/// When a producer wants its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acks {
    /// Never.
    None,
    /// Once the log has the records.
    Leader,
    /// Once they are on disk, as the topic promises.
    All,
}

impl Acks {
    fn parse(acks: i16) -> Option<Self> {
        match acks {
            0 => Some(Self::None),
            1 => Some(Self::Leader),
            -1 => Some(Self::All),
            _ => None,
        }
    }
}

/// A partition whose answer waits for its flush: where it is in the response, and up to which offset (exclusive).
struct Unflushed {
    topic: usize,
    partition: usize,
    log: Arc<Partition>,
    end: Offset,
}

/// Appends what can be appended and says when the answer is due.
pub(super) fn dispatch(api: &Arc<Api>, request: ProduceRequest, call: Call) -> Dispatched {
    let acks = Acks::parse(request.acks);
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0)).max(FLUSH_PATIENCE);
    let mut unflushed = Vec::new();
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for (topic_index, topic) in request.topic_data.into_iter().enumerate() {
        let name = if call.version >= 13 { TopicName::Id(topic.topic_id) } else { TopicName::Name(&topic.name) };
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        for data in topic.partition_data {
            let index = data.index;
            let response = match acks {
                None => failure(index, ErrorCode::InvalidRequiredAcks, None),
                Some(acks) => append(api, name, data, acks, &call, |log, end| {
                    unflushed.push(Unflushed { topic: topic_index, partition: partitions.len(), log, end });
                }),
            };
            partitions.push(response);
        }
        responses.push(TopicProduceResponse {
            name: topic.name,
            topic_id: topic.topic_id,
            partition_responses: partitions,
        });
    }
    let mut response = ProduceResponse { responses, ..Default::default() };
    if acks == Some(Acks::None) {
        return Dispatched::Ready(silent(&response));
    }
    if unflushed.is_empty() {
        response.throttle_time_ms = throttle_time_ms(&response);
        return Dispatched::Ready(respond(&call, &response));
    }
    Dispatched::Overlapping(Box::pin(async move {
        let deadline = tokio::time::Instant::now() + timeout;
        for waiting in unflushed {
            let outcome = waiting.log.wait_until_flushed(waiting.end, deadline).await;
            let slot = &mut response.responses[waiting.topic].partition_responses[waiting.partition];
            match outcome {
                Durability::Durable => {}
                Durability::Failed => *slot = failure(slot.index, ErrorCode::KafkaStorageError, None),
                Durability::TimedOut => *slot = failure(slot.index, ErrorCode::RequestTimedOut, None),
            }
        }
        response.throttle_time_ms = throttle_time_ms(&response);
        respond(&call, &response)
    }))
}

fn append(
    api: &Api,
    topic: TopicName<'_>,
    data: PartitionProduceData,
    acks: Acks,
    call: &Call,
    wait_for: impl FnOnce(Arc<Partition>, Offset),
) -> PartitionProduceResponse {
    let index = data.index;
    let partition = match api.find(topic, index) {
        Ok(partition) => partition,
        Err(code) => return failure(index, code, None),
    };
    if INTERNAL_TOPICS.contains(&partition.topic()) {
        return failure(index, ErrorCode::InvalidTopicException, None);
    }
    let records = match data.records {
        Records::Bytes(records) => records,
        Records::Null | Records::External { .. } => {
            let why = "a produce request has one record batch a partition, this one has none";
            return failure(index, ErrorCode::InvalidRecord, Some(why.to_owned()));
        }
    };
    if call.version < ZSTD_SINCE && is_zstd(&records) {
        let why = format!("zstd needs version {ZSTD_SINCE} of Produce, this is version {}", call.version);
        return failure(index, ErrorCode::UnsupportedCompressionType, Some(why));
    }
    match partition.append(&records, api.now_ms()) {
        Ok(appended) => {
            if acks == Acks::All && partition.flushes_before_ack() {
                wait_for(partition, appended.log_end_offset);
            }
            PartitionProduceResponse {
                index,
                base_offset: appended.base_offset.0,
                log_append_time_ms: appended.log_append_time_ms.unwrap_or(-1),
                log_start_offset: appended.log_start_offset.0,
                ..Default::default()
            }
        }
        Err(error) => {
            tracing::debug!(
                topic = partition.topic(), partition = index, client = ?call.client_id, %error, "a produce was refused"
            );
            refused(index, &error, &partition)
        }
    }
}

/// True for a whole batch of zstd; what is no batch is refused elsewhere.
fn is_zstd(records: &Bytes) -> bool {
    BatchView::split(records).is_ok_and(|(batch, _)| matches!(batch.compression(), Ok(Compression::Zstd)))
}

fn refused(index: i32, error: &ProduceError, partition: &Partition) -> PartitionProduceResponse {
    let code = error.to_error_code();
    // Whether it comes tells nothing; Kafka knows the log start once it has taken the batch apart (KIP-107).
    let log_start_offset = match error {
        ProduceError::Invalid(
            ValidateError::NotOneBatch(_)
            | ValidateError::Corrupt(_)
            | ValidateError::TooLarge { .. }
            | ValidateError::NoTransaction
            | ValidateError::InvalidRecord(BatchError::BadMagic { .. }),
        )
        | ProduceError::Append(AppendError::BatchTooLarge { .. } | AppendError::Storage(_))
        | ProduceError::DiskNearlyFull => -1,
        ProduceError::Invalid(_) | ProduceError::Append(AppendError::Producer(_)) => partition.offsets().log_start.0,
    };
    PartitionProduceResponse {
        record_errors: error
            .refused_records()
            .iter()
            .map(|record| BatchIndexAndErrorMessage {
                batch_index: record.batch_index,
                batch_index_error_message: Some(record.reason.clone()),
            })
            .collect(),
        log_start_offset,
        ..failure(index, code, Some(error.to_string()))
    }
}

fn failure(index: i32, code: ErrorCode, why: Option<String>) -> PartitionProduceResponse {
    debug_assert_ne!(code, ErrorCode::UnknownServerError, "the Java producer duplicates on it");
    PartitionProduceResponse {
        index,
        error_code: code.into(),
        base_offset: -1,
        error_message: why,
        ..Default::default()
    }
}

fn throttle_time_ms(response: &ProduceResponse) -> i32 {
    let storage_failed =
        |partition: &PartitionProduceResponse| partition.error_code == ErrorCode::KafkaStorageError.code();
    match response.responses.iter().flat_map(|topic| &topic.partition_responses).any(storage_failed) {
        true => STORAGE_ERROR_THROTTLE_MS,
        false => 0,
    }
}

/// `acks=0`: nothing to say when all went well, and no way to say anything else.
fn silent(response: &ProduceResponse) -> Reply {
    for topic in &response.responses {
        for partition in &topic.partition_responses {
            if partition.error_code != ErrorCode::None.code() {
                let code = ErrorCode::try_from(partition.error_code).map_or("an error", ErrorCode::name);
                let why = format!("{}-{}: {code}", topic.name, partition.index);
                return Reply::Close(CloseReason::ProduceFailed(why));
            }
        }
    }
    Reply::Nothing
}

#[cfg(test)]
#[path = "produce_kafka_test.rs"]
mod kafka_tests;
