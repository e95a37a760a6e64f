//! A batch that was fetched, and the records in it.
//!
//! Owns the passing over of records before the position (a fetch from the middle of a batch returns the whole batch).
//! Invariant: no record below `start` is handed out.

use bytes::Bytes;
use ottla_protocol::records::{BatchView, Compression, RecordIter, TimestampType};

use crate::{ConsumerRecord, Error, OffsetAndMetadata, TopicPartition};

/// A record batch as the broker sent it, of which [`FetchedBatch::records`] are to be consumed.
#[derive(Debug, Clone)]
pub struct FetchedBatch {
    partition: TopicPartition,
    view: BatchView,
    /// The first offset that is to be consumed.
    start: i64,
    decompressed_bytes_max: usize,
}

impl FetchedBatch {
    pub(crate) fn new(partition: TopicPartition, view: BatchView, start: i64, decompressed_bytes_max: usize) -> Self {
        FetchedBatch { partition, start: start.max(view.base_offset()), view, decompressed_bytes_max }
    }

    /// The partition that it is from.
    #[must_use]
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// The first offset that is to be consumed; records of the batch before it were consumed earlier.
    #[must_use]
    pub fn start_offset(&self) -> i64 {
        self.start
    }

    /// The offset after the batch, where consuming goes on.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.view.last_offset().saturating_add(1)
    }

    /// The term of the leader that wrote it, -1 if unknown.
    pub(crate) fn leader_epoch(&self) -> i32 {
        self.view.partition_leader_epoch()
    }

    /// The term in which the record before `start_offset` was written, where that is one of this batch; -1 otherwise.
    pub(crate) fn epoch_before_start(&self) -> i32 {
        if self.start > self.view.base_offset() { self.leader_epoch() } else { -1 }
    }

    /// How many records the batch holds, with those before `start_offset`.
    #[must_use]
    pub fn record_count(&self) -> i32 {
        self.view.record_count()
    }

    /// The codec it is compressed with.
    #[must_use]
    pub fn compression(&self) -> Compression {
        // A batch with a codec that does not exist is refused before it comes here.
        self.view.compression().unwrap_or_default()
    }

    /// The highest time of its records, in milliseconds since 1970.
    #[must_use]
    pub fn max_timestamp(&self) -> i64 {
        self.view.max_timestamp()
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn size_in_bytes(&self) -> usize {
        self.view.size_in_bytes()
    }

    /// The whole batch as it came over the wire, header and all. A slice of the broker's answer.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        self.view.bytes()
    }

    /// The records from `start_offset` on. Of an uncompressed batch, keys and values are slices of the broker's answer.
    ///
    /// # Errors
    /// [`Error::CorruptBatch`] when it does not decompress within the limit.
    pub fn records(self) -> Result<FetchedRecords, Error> {
        let records = self.view.records(self.decompressed_bytes_max);
        match records {
            Ok(records) => {
                let (timestamp_type, leader_epoch) = (self.view.timestamp_type(), self.view.partition_leader_epoch());
                Ok(FetchedRecords { position: self.start, records, timestamp_type, leader_epoch, batch: self })
            }
            Err(error) => Err(corrupt(&self.partition, &self.view, error.to_string())),
        }
    }
}

/// The error of a damaged batch.
pub(crate) fn corrupt(partition: &TopicPartition, view: &BatchView, reason: String) -> Error {
    let next_offset = view.last_offset().saturating_add(1);
    Error::CorruptBatch { partition: partition.clone(), offset: view.base_offset(), next_offset, reason }
}

/// Iterates over the records of a batch. Ends after the first error.
#[derive(Debug)]
pub struct FetchedRecords {
    batch: FetchedBatch,
    records: RecordIter,
    timestamp_type: TimestampType,
    leader_epoch: i32,
    /// The offset after the last record handed out.
    position: i64,
}

impl FetchedRecords {
    pub(crate) fn location(&self) -> &TopicPartition {
        &self.batch.partition
    }

    /// The offset after the last record handed out.
    pub(crate) fn next_position(&self) -> i64 {
        self.position
    }

    pub(crate) fn next_offset(&self) -> i64 {
        self.batch.next_offset()
    }

    /// What a group commits behind the last record handed out.
    pub(crate) fn committable(&self) -> OffsetAndMetadata {
        let taken = self.position > self.batch.view.base_offset();
        let leader_epoch = if taken { self.leader_epoch } else { -1 };
        OffsetAndMetadata { leader_epoch, ..OffsetAndMetadata::new(self.position) }
    }

    /// The batch with what is left to consume of it.
    pub(crate) fn into_rest(self) -> FetchedBatch {
        FetchedBatch { start: self.position, ..self.batch }
    }
}

impl Iterator for FetchedRecords {
    type Item = Result<ConsumerRecord, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let record = match self.records.next()? {
                Ok(record) => record,
                Err(error) => return Some(Err(corrupt(&self.batch.partition, &self.batch.view, error.to_string()))),
            };
            if record.offset < self.position {
                continue;
            }
            self.position = record.offset.saturating_add(1);
            return Some(Ok(ConsumerRecord {
                topic: self.batch.partition.topic.clone(),
                partition: self.batch.partition.partition,
                offset: record.offset,
                timestamp: record.timestamp,
                timestamp_type: self.timestamp_type,
                leader_epoch: self.leader_epoch,
                key: record.key,
                value: record.value,
                headers: record.headers,
            }));
        }
    }
}
