//! One Produce request: the batches in it, and what its answer says about each.
//!
//! Owns the wire's side of producing: encoding, stamping with the producer's identity, topic names and ids. What follows
//! from an answer is the outbox's, when to send the sender's. Invariant: every batch of a request gets exactly one
//! answer.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};
use ottla_protocol::records::{BatchBuilder, BatchFields, BatchView, Compression, with_producer};
use ottla_protocol::{ApiKey, ErrorCode, Records, Uuid};

use crate::accumulator::ProducerBatch;
use crate::clock::Instant;
use crate::config::Acks;
use crate::connection::Connection;
use crate::delivery::BatchAcknowledged;
use crate::metadata::{Metadata, error_of};
use crate::outbox::{Answer, Identity, Outgoing};
use crate::{Error, TopicPartition};

/// The first version of Produce that names topics by id.
const PRODUCE_BY_TOPIC_ID: i16 = 13;

/// A batch as it goes on the wire.
#[derive(Debug)]
pub(crate) struct Encoded {
    bytes: Bytes,
    /// What `bytes` says; differs from the outbox's after the sequences were given afresh.
    stamp: (Option<Identity>, i32),
    /// Uncompressed bytes, counted against the buffer's memory.
    pub(crate) size: usize,
}

impl Encoded {
    /// Compresses a batch and gives it its place in the producer's order.
    ///
    /// # Errors
    /// The codec's words when it fails.
    pub(crate) fn new(
        batch: ProducerBatch,
        compression: Compression,
        identity: Option<Identity>,
        sequence: i32,
    ) -> Result<Encoded, String> {
        let mut fields = BatchFields { compression, ..Default::default() };
        if let Some(identity) = identity {
            fields.producer_id = identity.producer_id;
            fields.producer_epoch = identity.epoch;
            fields.base_sequence = sequence;
        }
        let bytes = batch.builder.build(&fields).map_err(|error| error.to_string())?;
        Ok(Encoded { bytes, stamp: (identity, sequence), size: batch.size })
    }

    /// The same records in two batches of half as many, with the count of each. What they say of their place in the
    /// producer's order is to be stamped on them.
    ///
    /// # Errors
    /// The codec's words when it fails.
    pub(crate) fn halves(&self, compression: Compression) -> Result<[(Encoded, u32); 2], String> {
        let (view, _) = BatchView::split(&self.bytes).map_err(|error| error.to_string())?;
        let mut builders = [BatchBuilder::new(), BatchBuilder::new()];
        let mut counts = [0; 2];
        let half = view.record_count() as u32 / 2;
        for (index, record) in (0..).zip(view.records(self.size).map_err(|error| error.to_string())?) {
            let record = record.map_err(|error| error.to_string())?;
            let side = usize::from(index >= half);
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            builders[side].append(record.timestamp, key, value, &record.headers);
            counts[side] += 1;
        }
        let [first, second] = builders;
        let fields = BatchFields { compression, ..Default::default() };
        let build = |builder: BatchBuilder| builder.build(&fields).map_err(|error| error.to_string());
        let first_size = first.size_in_bytes().min(self.size);
        let encoded = |bytes, size| Encoded { bytes, stamp: (None, 0), size };
        let first = encoded(build(first)?, first_size);
        Ok([(first, counts[0]), (encoded(build(second)?, self.size - first_size), counts[1])])
    }

    /// Bytes on the wire.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Makes the bytes say what the outbox says.
    pub(crate) fn stamp(&mut self, identity: Option<Identity>, sequence: i32) {
        if let Some(Identity { producer_id, epoch }) = identity
            && self.stamp != (identity, sequence)
        {
            self.bytes = with_producer(std::mem::take(&mut self.bytes), producer_id, epoch, sequence);
            self.stamp = (identity, sequence);
        }
    }
}

/// A batch in flight, and where to.
pub(crate) type Batch = (TopicPartition, Outgoing<Encoded>);

/// What became of one batch.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) partition: TopicPartition,
    pub(crate) outgoing: Outgoing<Encoded>,
    pub(crate) answer: Answer,
    pub(crate) outcome: Result<BatchAcknowledged, Error>,
}

/// A request that was submitted, with what its answer is to be matched with.
#[derive(Debug)]
pub(crate) struct ProduceCall {
    batches: Vec<Batch>,
    /// The names behind the topic ids in the request.
    names: HashMap<Uuid, Arc<str>>,
    address: Arc<str>,
}

/// What comes of a submitted request: nothing but its being written with [`Acks::None`].
pub(crate) type Response = Result<Option<ProduceResponse>, Error>;

impl ProduceCall {
    /// Submits one request for `batches`, to be answered before `deadline`.
    ///
    /// # Errors
    /// What was not sent comes back settled: to be tried again, or as impossible.
    pub(crate) fn submit(
        connection: &Connection,
        batches: Vec<Batch>,
        metadata: &Metadata,
        acks: Acks,
        timeout: Duration,
        deadline: Instant,
    ) -> Result<(ProduceCall, impl Future<Output = Response> + use<>), Vec<Settled>> {
        let ids = batches.iter().map(|(partition, _)| metadata.topic_id(&partition.topic));
        let by_id = ids.clone().all(|id| id.is_some());
        let names = ids.flatten().zip(batches.iter().map(|(partition, _)| partition.topic.clone())).collect();
        let request = ProduceRequest {
            transactional_id: None,
            acks: acks.code(),
            timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
            topic_data: topic_data(&batches, metadata),
        };
        let call = ProduceCall { batches, names, address: connection.address().clone() };
        match send(connection, &request, by_id, acks, deadline) {
            Ok(response) => Ok((call, response)),
            Err(error) => {
                let answer = if error.is_retriable() { Answer::NotSent } else { Answer::Impossible };
                Err(call.settle_all(answer, &error))
            }
        }
    }

    /// Matches the answer with the batches.
    pub(crate) fn settle(self, response: Response) -> Vec<Settled> {
        let response = match response {
            Ok(Some(response)) => response,
            Ok(None) => {
                let unknown = BatchAcknowledged { base_offset: -1, log_append_time: -1 };
                let settled = |(partition, outgoing)| Settled {
                    partition,
                    outgoing,
                    answer: Answer::Acknowledged,
                    outcome: Ok(unknown),
                };
                return self.batches.into_iter().map(settled).collect();
            }
            Err(error) => return self.settle_all(Answer::Lost, &error),
        };
        let mut answers: HashMap<TopicPartition, PartitionProduceResponse> = HashMap::new();
        for topic in response.responses {
            let name = match topic.topic_id {
                Uuid::ZERO => Some(Arc::from(topic.name)),
                id => self.names.get(&id).cloned(),
            };
            let Some(name) = name else { continue };
            for partition in topic.partition_responses {
                answers.insert(TopicPartition { topic: name.clone(), partition: partition.index }, partition);
            }
        }
        let settled = |(partition, outgoing): Batch| {
            let (answer, outcome) = match answers.remove(&partition) {
                Some(answer) => read_answer(answer, &partition, &self.address),
                None => {
                    let reason = format!("it leaves out {partition}").into();
                    let address = self.address.clone();
                    (Answer::Lost, Err(Error::MalformedResponse { address, api: ApiKey::Produce, reason }))
                }
            };
            Settled { partition, outgoing, answer, outcome }
        };
        self.batches.into_iter().map(settled).collect()
    }

    fn settle_all(self, answer: Answer, error: &Error) -> Vec<Settled> {
        let settled = |(partition, outgoing)| Settled { partition, outgoing, answer, outcome: Err(error.clone()) };
        self.batches.into_iter().map(settled).collect()
    }
}

fn send(
    connection: &Connection,
    request: &ProduceRequest,
    by_id: bool,
    acks: Acks,
    deadline: Instant,
) -> Result<impl Future<Output = Response> + use<>, Error> {
    let mut version = connection.version(ApiKey::Produce)?;
    if !by_id {
        version = version.min(PRODUCE_BY_TOPIC_ID - 1);
    }
    let (written, pending) = match acks {
        Acks::None => (Some(connection.submit_unanswered(request, version)?), None),
        _ => (None, Some(connection.submit(request, version, deadline)?)),
    };
    let connection = connection.clone();
    Ok(async move {
        match (pending, written) {
            (Some(pending), _) => pending.answer().await.map(Some),
            (None, Some(written)) => match written.await {
                Ok(written) => written.map(|_| None),
                Err(_) => Err(connection.close_reason()),
            },
            (None, None) => Ok(None),
        }
    })
}

fn topic_data(batches: &[Batch], metadata: &Metadata) -> Vec<TopicProduceData> {
    let mut topics: BTreeMap<&str, Vec<PartitionProduceData>> = BTreeMap::new();
    for (partition, outgoing) in batches {
        let records = Records::Bytes(outgoing.batch.bytes.clone());
        let data = PartitionProduceData { index: partition.partition, records };
        topics.entry(&partition.topic).or_default().push(data);
    }
    let topic = |(name, partition_data): (&str, _)| TopicProduceData {
        name: name.to_owned(),
        topic_id: metadata.topic_id(name).unwrap_or(Uuid::ZERO),
        partition_data,
    };
    topics.into_iter().map(topic).collect()
}

fn read_answer(
    answer: PartitionProduceResponse,
    partition: &TopicPartition,
    address: &Arc<str>,
) -> (Answer, Result<BatchAcknowledged, Error>) {
    let acknowledged =
        BatchAcknowledged { base_offset: answer.base_offset, log_append_time: answer.log_append_time_ms };
    match error_of(answer.error_code) {
        None => (Answer::Acknowledged, Ok(acknowledged)),
        Some(code @ ErrorCode::DuplicateSequenceNumber) => (Answer::Refused(code), Ok(acknowledged)),
        Some(code) => {
            let message = refusal_message(&answer);
            let error = Error::broker(ApiKey::Produce, answer.error_code, address, partition, message);
            (Answer::Refused(code), Err(error))
        }
    }
}

/// The broker's words about a refused batch, with those about its first bad record.
fn refusal_message(answer: &PartitionProduceResponse) -> Option<String> {
    let record = answer.record_errors.first().map(|record| {
        let message = record.batch_index_error_message.as_deref().unwrap_or("invalid");
        format!("record {} of the batch: {message}", record.batch_index)
    });
    match (answer.error_message.clone(), record) {
        (Some(message), Some(record)) => Some(format!("{message}; {record}")),
        (message, record) => message.or(record),
    }
}
