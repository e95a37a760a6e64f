//! The log of metadata records: an ordinary log in the folder `__cluster_metadata-0` of the data directory, so that the rules
//! for torn tails, damage and failed syncs are those of every other log, and Kafka's dump tool reads it.
//!
//! One change of the metadata is one batch, each of its records a JSON object as value; an append is synced before it returns.
//! What a log of many changes comes down to is appended as one more batch that begins with a `cluster` record, which
//! replaces all before it; then the log is trimmed. So no crash leaves half of either.
//!
//! Invariant: a change is there as a whole or not at all. Damage before a batch that can be read is an error: the broker does
//! not start on half of its metadata.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::records::{BatchBuilder, BatchError, BatchFields, HEADER_BYTES, batches_lenient};

use super::controller_error::ControllerError;
use super::metadata_record::MetadataRecord;
use super::partition_folder::QUARANTINE_DIR;
use super::topic_name::CLUSTER_METADATA_TOPIC;
use crate::storage::vfs::Vfs;
use crate::storage::{
    AppendError, Log, LogConfig, LogContext, OpenFiles, OpenMode, ProducerLimits, ReadError, StorageError,
    ValidatedBatch,
};
use crate::types::{LeaderEpoch, Offset, TopicPartition};

/// The most that the records of one change may need: tens of thousands of topics.
pub(super) const CHANGE_BYTES_MAX: usize = 16 << 20;
const SEGMENT_BYTES: u32 = 64 << 20;
const READ_BYTES: usize = 1 << 20;
/// Sealed segments are read at the start only.
const OPEN_FILES_MAX: usize = 4;
/// One node leads its own metadata for ever.
const EPOCH: LeaderEpoch = LeaderEpoch(0);

/// The metadata log, open for appending.
#[derive(Debug)]
pub(super) struct MetadataLog {
    log: Arc<Log>,
}

/// The records of one change, as they are appended.
#[derive(Debug)]
pub(super) struct EncodedChange(ValidatedBatch);

impl EncodedChange {
    pub(super) fn size_bytes(&self) -> usize {
        self.0.size_bytes()
    }
}

impl MetadataLog {
    /// Opens the log, or makes an empty one. Also returns the values of all records; they are durable.
    pub(super) fn open(vfs: Arc<dyn Vfs>, data_dir: &Path, now_ms: i64) -> Result<(Self, Vec<Bytes>), StorageError> {
        let partition = TopicPartition::new(CLUSTER_METADATA_TOPIC, 0);
        let dir = data_dir.join(partition.to_string());
        vfs.create_dir(&dir).map_err(StorageError::io("create", &dir))?;
        let context = LogContext {
            open_files: OpenFiles::new(vfs.clone(), OPEN_FILES_MAX),
            quarantine: data_dir.join(QUARANTINE_DIR),
            producer_limits: ProducerLimits::default(),
        };
        let config = LogConfig { segment_bytes: SEGMENT_BYTES, retention_ms: -1, ..LogConfig::default() };
        // The log is small, so all of it is checked at each start.
        let (log, report) = Log::open(context, &dir, partition, Arc::new(config), OpenMode::default(), now_ms)?;
        if let Some(range) = report.corrupt.first() {
            let what = format!("offsets {} to {} cannot be read, while there is more behind", range.from, range.to);
            return Err(StorageError::Damaged { path: dir, what });
        }
        // Nobody acts on a change that a power cut could still take back.
        log.flush()?;
        let values = read_values(&log)?;
        let log_end = log.offsets().log_end;
        if values.is_empty() && log_end > Offset::ZERO {
            // A log that was ever written to has records: without them every folder would be one that nobody owns.
            let what = format!("its segments are gone, and with them all records before offset {log_end}");
            return Err(StorageError::Damaged { path: dir, what });
        }
        if values.is_empty() {
            // The folder may be new. With the first record in it, it is durable: each start appends one only after this.
            vfs.sync_dir(data_dir).map_err(StorageError::io("sync", data_dir))?;
        }
        Ok((Self { log }, values))
    }

    /// Makes the batch of a change. Pure.
    pub(super) fn encode(records: &[MetadataRecord], now_ms: i64) -> EncodedChange {
        let mut batch = BatchBuilder::new();
        for record in records {
            batch.append(now_ms, None, Some(&record.encode()), &[]);
        }
        let bytes = batch.build(&BatchFields::default()).expect("without compression nothing can fail");
        let header = *bytes.first_chunk::<HEADER_BYTES>().expect("a batch begins with its header");
        EncodedChange(ValidatedBatch::new(header, bytes.slice(HEADER_BYTES..)))
    }

    /// Appends a change; it is durable when this returns. A full disk is the only failure after which the log is still good: see
    /// [`MetadataLog::failure`].
    pub(super) fn append(&self, change: EncodedChange, now_ms: i64) -> Result<(), StorageError> {
        self.log.append(change.0, EPOCH, now_ms).map_err(|error| match error {
            AppendError::Storage(error) => error,
            // No change is so large, and none has a producer.
            other => self.damaged(other.to_string()),
        })?;
        self.log.flush()?;
        Ok(())
    }

    /// Replaces all records by these, which begin with a `cluster` record; durable when it returns.
    pub(super) fn rewrite(&self, records: &[MetadataRecord], now_ms: i64) -> Result<(), StorageError> {
        let start = self.log.offsets().log_end;
        self.append(Self::encode(records, now_ms), now_ms)?;
        self.log.delete_records(start)?;
        Ok(())
    }

    /// Why nothing can be appended any more.
    pub(super) fn failure(&self) -> Option<ControllerError> {
        self.log.poison().map(ControllerError::Storage)
    }

    fn damaged(&self, what: String) -> StorageError {
        StorageError::Damaged { path: self.log.dir().to_owned(), what }
    }
}

fn read_values(log: &Log) -> Result<Vec<Bytes>, StorageError> {
    let damaged = |what: String| StorageError::Damaged { path: log.dir().to_owned(), what };
    let unreadable = |error: BatchError| damaged(error.to_string());
    let (mut values, mut next, end) = (Vec::new(), log.offsets().log_start, log.offsets().log_end);
    while next < end {
        let read = log.read(next, READ_BYTES, end, true).map_err(|error| match error {
            ReadError::Storage(error) => error,
            other => damaged(other.to_string()),
        })?;
        let slice = read.slice.ok_or_else(|| damaged(format!("there is nothing at offset {next}, before {end}")))?;
        let bytes = slice.read().map_err(StorageError::io("read", log.dir()))?;
        for batch in batches_lenient(bytes.into()) {
            let batch = batch.map_err(unreadable)?;
            for record in batch.records(READ_BYTES).map_err(unreadable)? {
                let record = record.map_err(unreadable)?;
                // The log may start within a batch.
                if record.offset >= next.0 {
                    values.push(record.value.unwrap_or_default());
                }
            }
            next = next.max(Offset(batch.last_offset()).next());
        }
    }
    Ok(values)
}

#[cfg(test)]
#[path = "metadata_log_test.rs"]
mod tests;
