//! What can go wrong, as one type. Owns the words; decides nothing but whether a repetition may help.
//!
//! Invariant: an error that a broker answered keeps its Kafka code, and every error names the broker, topic and
//! partition it is about as far as they are known. Errors are cheap to clone, since one failed batch fails many records.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::{ApiKey, ErrorCode};

use crate::TopicPartition;

/// Every error of this crate.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that cannot work.
    #[error("{key} = {value:?} is not allowed: {allowed}")]
    Config {
        /// The field of the configuration.
        key: &'static str,
        /// The value it had.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },

    /// None of the bootstrap addresses (nor any broker known since) accepted a connection and answered.
    #[error("no broker could be reached (tried {tried}): {last}; check the address and that a broker listens there")]
    NoBrokerReachable {
        /// The addresses, separated by commas.
        tried: String,
        /// Why the last of them failed.
        last: Box<Error>,
    },

    /// A connection could not be made.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// `HOST:PORT`.
        address: Arc<str>,
        /// The operating system's words.
        reason: Arc<str>,
    },

    /// The connection broke; what was in flight may or may not have been carried out.
    #[error("connection to {address} lost: {reason}")]
    Disconnected {
        /// `HOST:PORT`.
        address: Arc<str>,
        /// What was seen: the end of the stream, an I/O error, an answer that breaks the protocol.
        reason: Arc<str>,
    },

    /// The broker did not answer in time. The connection is given up, since answers come in the order of the requests.
    #[error("{address} did not answer {api} within {after:?}")]
    RequestTimeout {
        /// `HOST:PORT`.
        address: Arc<str>,
        /// The request that waited.
        api: ApiKey,
        /// How long it waited.
        after: Duration,
    },

    /// An answer (or a record batch) that does not follow the protocol.
    #[error("{address} sent an answer to {api} that cannot be read: {reason}")]
    MalformedResponse {
        /// `HOST:PORT`.
        address: Arc<str>,
        /// The request it answers.
        api: ApiKey,
        /// What is wrong with it.
        reason: Arc<str>,
    },

    /// A request that cannot be written in the version that was agreed on.
    #[error("{api} cannot be written in version {version}: {reason}")]
    UnencodableRequest {
        /// The request.
        api: ApiKey,
        /// The version that broker and client have in common.
        version: i16,
        /// What the version cannot express.
        reason: Arc<str>,
    },

    /// The broker does not serve this API in any version that this client speaks.
    #[error("{address} serves {api} in {served}, this client speaks {spoken}; a newer broker or client is needed")]
    UnsupportedVersion {
        /// `HOST:PORT`.
        address: Arc<str>,
        /// The API.
        api: ApiKey,
        /// The broker's versions, or "no version".
        served: String,
        /// The client's versions.
        spoken: String,
    },

    /// The broker refused, with Kafka's error code.
    #[error("{0}")]
    Broker(Box<BrokerError>),

    /// The partitions of a topic did not become known in time.
    #[error("no metadata for topic {topic} after {after:?}: {reason}; does the topic exist?")]
    MetadataTimeout {
        /// The topic.
        topic: Arc<str>,
        /// How long was waited.
        after: Duration,
        /// The last thing heard about it.
        reason: String,
    },

    /// A partition that the topic does not have.
    #[error("{partition} does not exist: the topic has {count} partitions, numbered from 0")]
    UnknownPartition {
        /// The partition asked for.
        partition: TopicPartition,
        /// How many there are.
        count: usize,
    },

    /// A record that was not acknowledged before its delivery timeout. It may have been written.
    #[error("records for {partition} were not acknowledged within {after:?}: {reason}")]
    DeliveryTimeout {
        /// Where they were to go.
        partition: TopicPartition,
        /// The delivery timeout.
        after: Duration,
        /// The last error seen while trying.
        reason: String,
    },

    /// A record larger than a request may be.
    #[error(
        "a record of {size} bytes for topic {topic} exceeds max_request_bytes = {limit}; raise it, and the topic's max.message.bytes"
    )]
    RecordTooLarge {
        /// The topic.
        topic: Arc<str>,
        /// The record's size within a batch, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },

    /// The producer's buffer is full (only from calls that do not wait, or after `max_block`).
    #[error("the producer's buffer is full: {used} of buffer_memory = {limit} bytes wait to be acknowledged")]
    BufferFull {
        /// Bytes in use.
        used: usize,
        /// The limit, in bytes.
        limit: usize,
    },

    /// A batch that was read back damaged, or that cannot be decompressed, or that the broker refuses because it is damaged.
    #[error("the batch at offset {offset} of {partition} is damaged: {reason}; seek past it to go on")]
    CorruptBatch {
        /// Where it was read.
        partition: TopicPartition,
        /// The batch's base offset, or the offset asked for if even that cannot be read.
        offset: i64,
        /// The offset to seek to in order to go on behind it, if its header can be believed; -1 if it cannot be read.
        next_offset: i64,
        /// What is wrong.
        reason: String,
    },

    /// The position lies outside the log and `auto_offset_reset` is `None`.
    #[error("offset {offset} of {partition} is out of range; seek to go on")]
    OffsetOutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The position.
        offset: i64,
        /// The first offset that the log still has, -1 when the broker did not say.
        log_start: i64,
    },

    /// A partition that is not assigned to this consumer.
    #[error("{partition} is not assigned to this consumer")]
    NotAssigned {
        /// The partition.
        partition: TopicPartition,
    },

    /// The position in a partition is not known yet: its leader, or the group, is still being asked.
    #[error("the position in {partition} is not known yet: records come once it is")]
    PositionUnknown {
        /// The partition.
        partition: TopicPartition,
    },

    /// The group has committed nothing for the partition, and `auto_offset_reset` is `None`.
    #[error("group {group} has no committed offset for {partition}, and auto_offset_reset is None; seek to go on")]
    NoCommittedOffset {
        /// The partition.
        partition: TopicPartition,
        /// The group.
        group: Arc<str>,
    },

    /// A call that needs a group, of a consumer whose configuration names none.
    #[error("this consumer has no group: set ConsumerConfig::group")]
    NoGroup,

    /// A call that assigns partitions by hand, while a group assigns them.
    #[error("this consumer is subscribed, its group assigns the partitions: unsubscribe() first")]
    Subscribed,

    /// The coordinator ended the membership, with Kafka's error code: the consumer gets no more records until it
    /// subscribes again. Told once; calls for records after it fail with [`Error::NoMembership`].
    #[error("the membership in group {group} ended: {code}{}{}", in_brackets(message), advised(*code))]
    GroupMembership {
        /// The group.
        group: Arc<str>,
        /// Kafka's code.
        code: ErrorCode,
        /// The broker's own words; empty if it sent none.
        message: String,
    },

    /// A call for records after the one that told that the membership has ended. Repeating it does not help.
    #[error(
        "no records come, the consumer is no member of group {group} any more: subscribe again, or close it ({cause})"
    )]
    NoMembership {
        /// The group.
        group: Arc<str>,
        /// Why the membership ended, as it was told before.
        cause: Arc<Error>,
    },

    /// Offsets that were not committed, because the partition is not this member's any more: whoever has it reads the
    /// records behind the last commit again.
    #[error("offsets were not committed in group {group}: {reason}")]
    CommitFailed {
        /// The group.
        group: Arc<str>,
        /// Why not.
        reason: &'static str,
    },

    /// No call for records for longer than `max_poll_interval`: the group was left, and others take the partitions over.
    /// The next call joins again.
    #[error(
        "no call for records for {interval:?}, which is max_poll_interval: group {group} gave the partitions to others; \
         process fewer records between two calls, or raise it"
    )]
    MaxPollIntervalExceeded {
        /// The group.
        group: Arc<str>,
        /// The interval.
        interval: Duration,
    },

    /// A value of a wire record that does not fit Kafka's format.
    #[error("the record for topic {topic} cannot be encoded: {reason}")]
    InvalidRecord {
        /// The topic.
        topic: Arc<str>,
        /// What is wrong with it.
        reason: String,
    },

    /// The producer, consumer or admin was closed.
    #[error("closed: no more calls after close()")]
    Closed,
}

/// A refusal by a broker: Kafka's error code and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerError {
    /// Kafka's code.
    pub code: ErrorCode,
    /// The request that was refused.
    pub api: ApiKey,
    /// `HOST:PORT` of the broker that refused.
    pub address: Arc<str>,
    /// The topic, group, broker or other resource that it is about; empty when it is about the request.
    pub resource: String,
    /// The broker's own words, if it sent any.
    pub message: Option<String>,
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.api)?;
        if !self.resource.is_empty() {
            write!(f, " for {}", self.resource)?;
        }
        write!(f, " refused by {}: {}", self.address, self.code)?;
        if let Some(message) = self.message.as_deref().filter(|message| !message.is_empty()) {
            write!(f, " ({message})")?;
        }
        f.write_str(&advised(self.code))
    }
}

fn in_brackets(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(" ({message})") }
}

fn advised(code: ErrorCode) -> String {
    advice(code).map(|advice| format!("; {advice}")).unwrap_or_default()
}

/// What a person can do about a code, where it is not obvious from its name.
fn advice(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::UnknownTopicOrPartition => "check the topic's name, or create it",
        ErrorCode::MessageTooLarge => "the record alone is larger than the topic's max.message.bytes: raise that",
        ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend => {
            "fewer replicas are in sync than min.insync.replicas asks for"
        }
        ErrorCode::KafkaStorageError => "the broker's disk failed or is full; see its log",
        ErrorCode::InvalidTimestamp => "the record's time is outside message.timestamp.before.max.ms and after.max.ms",
        ErrorCode::UnsupportedForMessageFormat => "the topic's message format is too old",
        ErrorCode::InconsistentGroupProtocol => {
            "its members have no assignor in common, or are no consumers: give all of them the same assignors"
        }
        ErrorCode::InvalidSessionTimeout => {
            "session_timeout must lie between the broker's group.min.session.timeout.ms and group.max.session.timeout.ms"
        }
        ErrorCode::GroupMaxSizeReached => "the group has as many members as the broker's group.max.size allows",
        ErrorCode::FencedInstanceId => "another member runs with the same group_instance_id",
        ErrorCode::UnreleasedInstanceId => {
            "a member with the same group_instance_id is still there; stop it, or if it was killed, subscribe again once its \
             session is over: group.consumer.session.timeout.ms (by default 45 s) after it was last heard of"
        }
        ErrorCode::GroupIdNotFound => {
            "check the group's id; a member of a group of the other protocol sets GroupProtocol"
        }
        ErrorCode::UnsupportedAssignor => "the broker does not have the assignor that remote_assignor names",
        ErrorCode::NonEmptyGroup => "stop the group's members first",
        ErrorCode::GroupSubscribedToTopic => "members of the group still subscribe to the topic: stop them first",
        ErrorCode::TopicAlreadyExists => "choose another name, or delete the topic first",
        _ => return None,
    })
}

impl Error {
    /// Kafka's error code, for an error that a broker answered, and for what is the same seen from here.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Error::Broker(refusal) => Some(refusal.code),
            Error::OffsetOutOfRange { .. } => Some(ErrorCode::OffsetOutOfRange),
            Error::CorruptBatch { .. } => Some(ErrorCode::CorruptMessage),
            Error::GroupMembership { code, .. } => Some(*code),
            Error::NoMembership { cause, .. } => cause.code(),
            _ => None,
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Error::Broker(refusal) => refusal.code.is_retriable(),
            Error::NoBrokerReachable { .. }
            | Error::Connect { .. }
            | Error::Disconnected { .. }
            | Error::RequestTimeout { .. }
            | Error::MetadataTimeout { .. }
            | Error::BufferFull { .. }
            | Error::PositionUnknown { .. }
            | Error::MaxPollIntervalExceeded { .. } => true,
            _ => false,
        }
    }

    pub(crate) fn broker(
        api: ApiKey,
        code: i16,
        address: &Arc<str>,
        resource: impl fmt::Display,
        message: Option<String>,
    ) -> Error {
        let (code, message) = match ErrorCode::try_from(code) {
            Ok(code) => (code, message),
            Err(_) => (ErrorCode::UnknownServerError, Some(format!("code {code}, unknown to this client"))),
        };
        let refusal = BrokerError { code, api, address: address.clone(), resource: resource.to_string(), message };
        Error::Broker(Box::new(refusal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_where_and_what_to_do() {
        let address: Arc<str> = "10.0.0.1:9092".into();
        let error = Error::broker(ApiKey::Produce, 3, &address, "flights-2", Some("gone".into()));
        assert_eq!(
            error.to_string(),
            "Produce for flights-2 refused by 10.0.0.1:9092: UNKNOWN_TOPIC_OR_PARTITION(3) (gone); \
             check the topic's name, or create it"
        );
        assert_eq!(error.code(), Some(ErrorCode::UnknownTopicOrPartition));
        assert!(error.is_retriable());
    }

    #[test]
    fn a_static_member_that_comes_too_early_is_told_how_long_to_wait() {
        let code = ErrorCode::UnreleasedInstanceId;
        let error = Error::GroupMembership { group: "g".into(), code, message: String::new() };
        assert_eq!(
            error.to_string(),
            "the membership in group g ended: UNRELEASED_INSTANCE_ID(111); a member with the same group_instance_id is still \
             there; stop it, or if it was killed, subscribe again once its session is over: \
             group.consumer.session.timeout.ms (by default 45 s) after it was last heard of"
        );
        assert!(!error.is_retriable());
    }

    #[test]
    fn an_unknown_code_keeps_its_number() {
        let error = Error::broker(ApiKey::Fetch, 4711, &"b:1".into(), "", None);
        assert!(error.to_string().contains("code 4711"), "{error}");
        assert!(!error.is_retriable());
    }
}
