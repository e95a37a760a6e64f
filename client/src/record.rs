//! The records that go in and come out: owned, and cheap to clone, since keys and values are shared [`Bytes`].

use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::records::{Header, TimestampType};

use crate::TopicPartition;

/// A record to be produced.
///
/// ```
/// use ottla_client::ProducerRecord;
///
/// let record = ProducerRecord::new("flights", "on time").key("N14228").header("source", "radar").timestamp(1_372_636_800_000);
/// assert_eq!(record.value.as_deref(), Some(b"on time".as_slice()));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ProducerRecord {
    /// The topic. An `Arc<str>` that is used again saves an allocation for each record.
    pub topic: Arc<str>,
    /// The partition; `None` lets the partitioner choose by the key.
    pub partition: Option<i32>,
    /// Milliseconds since 1970; `None` is the time of `send`.
    pub timestamp: Option<i64>,
    /// Records with the same key go to the same partition, in order.
    pub key: Option<Bytes>,
    /// The payload; `None` is a tombstone, which deletes the key from a compacted topic.
    pub value: Option<Bytes>,
    /// Pairs of a name and a value, in order; names may repeat.
    pub headers: Vec<Header>,
}

impl ProducerRecord {
    /// A record with a value and nothing else.
    pub fn new(topic: impl Into<Arc<str>>, value: impl Into<Bytes>) -> Self {
        ProducerRecord { value: Some(value.into()), ..ProducerRecord::tombstone(topic) }
    }

    /// A record without a value.
    pub fn tombstone(topic: impl Into<Arc<str>>) -> Self {
        ProducerRecord {
            topic: topic.into(),
            partition: None,
            timestamp: None,
            key: None,
            value: None,
            headers: Vec::new(),
        }
    }

    /// The same record with a key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same record for a certain partition.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// The same record at a certain time, in milliseconds since 1970.
    #[must_use]
    pub fn timestamp(mut self, timestamp: i64) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// The same record with one header more.
    #[must_use]
    pub fn header(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header { key: key.into(), value: Some(value.into()) });
        self
    }
}

/// A record that was consumed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ConsumerRecord {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The position within the partition.
    pub offset: i64,
    /// Milliseconds since 1970: the producer's, or the broker's as `timestamp_type` says.
    pub timestamp: i64,
    /// Whose time it is.
    pub timestamp_type: TimestampType,
    /// The term of the leader that wrote it, -1 if unknown.
    pub leader_epoch: i32,
    /// The key. A slice of the fetched batch (of its decompressed form): keep a copy of what is to be kept for long.
    pub key: Option<Bytes>,
    /// The payload; `None` is a tombstone. A slice, like the key.
    pub value: Option<Bytes>,
    /// Pairs of a name and a value, in order.
    pub headers: Vec<Header>,
}

impl ConsumerRecord {
    /// The partition that it is from.
    #[must_use]
    pub fn topic_partition(&self) -> TopicPartition {
        TopicPartition { topic: self.topic.clone(), partition: self.partition }
    }
}
