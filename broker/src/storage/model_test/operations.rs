//! The operations, and what each does to the model.
//!
//! Each holds what the log answers against the model, and tells the model what is to be there from now on, also where the outcome
//! is not known.

use ottla_protocol::records::{BatchBuilder, BatchFields, Compression, HEADER_BYTES};
use rand::RngExt;

use super::model::{Event, ModelBatch, ModelRecord};
use super::run::{SEGMENT_MS, World};
use crate::storage::test_batch::marker;
use crate::storage::{AppendError, CleanLimits, ProducerStateError, StorageError, Unthrottled, ValidatedBatch};
use crate::types::{LeaderEpoch, Offset, ProducerId};

const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
/// Producers that are idempotent, and those that are transactional.
const IDEMPOTENT: [i64; 3] = [1, 2, 3];
const TRANSACTIONAL: [i64; 2] = [10, 11];
const KEYS: u64 = 12;
/// How far most timestamps are from the time of the append.
const TIMESTAMP_SPREAD_MS: i64 = 400;

impl World {
    fn timestamp(&mut self) -> i64 {
        match self.random.random_range(0..40) {
            0 => -1,
            1 => 0,
            2 => self.model.now_ms + 5_000_000,
            _ => self.model.now_ms + self.random.random_range(-TIMESTAMP_SPREAD_MS..TIMESTAMP_SPREAD_MS),
        }
    }

    /// A batch of random records, and these as the model knows them.
    fn batch(&mut self, producer_id: i64, first_sequence: i32, count: usize) -> (ValidatedBatch, Vec<ModelRecord>) {
        let is_transactional = TRANSACTIONAL.contains(&producer_id);
        let mut builder = BatchBuilder::new();
        let mut records = Vec::new();
        for _ in 0..count {
            let timestamp = self.timestamp();
            let key = (self.config.compact || self.one_in(2))
                .then(|| format!("key {}", self.random.random_range(0..KEYS)).into_bytes());
            let len = self.random.random_range(0..250);
            let value =
                (!self.one_in(10)).then(|| (0..len).map(|_| self.random.random_range(b'a'..b'h')).collect::<Vec<u8>>());
            builder.append(timestamp, key.as_deref(), value.as_deref(), &[]);
            records.push(ModelRecord {
                base_offset: 0,
                timestamp,
                key,
                value,
                producer_id,
                is_control: false,
                is_transactional,
                appended_ms: self.model.now_ms,
            });
        }
        let fields = BatchFields {
            compression: CODECS[self.random.random_range(0..CODECS.len())],
            producer_id,
            producer_epoch: if producer_id < 0 { -1 } else { 0 },
            base_sequence: first_sequence,
            is_transactional,
            ..BatchFields::default()
        };
        let bytes = builder.build(&fields).unwrap();
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(&bytes[..HEADER_BYTES]);
        (ValidatedBatch::new(header, bytes.slice(HEADER_BYTES..)), records)
    }

    /// What the log knows of a producer's last sequence; the check holds it against the model.
    fn next_sequence(&self, producer_id: i64) -> Option<i32> {
        self.log().with_producers(|producers| Some(producers.get(ProducerId(producer_id))?.last_sequence()? + 1))
    }

    pub(super) fn append(&mut self) -> Result<(), StorageError> {
        let producer_id = match self.random.random_range(0..10) {
            0..3 => -1,
            3..8 => IDEMPOTENT[self.random.random_range(0..IDEMPOTENT.len())],
            _ => TRANSACTIONAL[self.random.random_range(0..TRANSACTIONAL.len())],
        };
        let first_sequence = if producer_id < 0 { -1 } else { self.next_sequence(producer_id).unwrap_or(0) };
        let count = self.random.random_range(1..5);
        let (batch, records) = self.batch(producer_id, first_sequence, count);
        self.append_new(batch, records, first_sequence, None)
    }

    pub(super) fn end_transaction(&mut self) -> Result<(), StorageError> {
        let (open, _) = self.model.transactions();
        let Some(producer_id) = open.keys().next().copied() else { return Ok(()) };
        let (commits, timestamp) = (self.random.random(), self.model.now_ms);
        let record = ModelRecord {
            base_offset: 0,
            timestamp,
            key: Some(vec![0, 0, 0, u8::from(commits)]),
            value: Some(vec![0, 0, 0, 0, 0, 7]),
            producer_id,
            is_control: true,
            is_transactional: true,
            appended_ms: timestamp,
        };
        self.append_new(marker(producer_id, 0, commits, timestamp), vec![record], -1, Some(commits))
    }

    fn append_new(
        &mut self,
        batch: ValidatedBatch,
        records: Vec<ModelRecord>,
        first_sequence: i32,
        commits: Option<bool>,
    ) -> Result<(), StorageError> {
        let base_offset = self.model.log_end;
        self.model.timeline.push(Event::Append(self.model.now_ms));
        let appended = self.log().append(batch, LeaderEpoch(self.leader_epoch), self.model.now_ms);
        let last_offset = base_offset + records.len() as i64 - 1;
        // Also where it failed: it may be in the log after all.
        self.model.log_end = last_offset + 1;
        let sent = ModelBatch {
            base_offset,
            last_offset,
            leader_epoch: self.leader_epoch,
            producer_id: records[0].producer_id,
            first_sequence,
            is_transactional: records[0].is_transactional,
            commits,
        };
        self.model.batches.insert(base_offset, sent);
        for (offset, record) in (base_offset..).zip(records) {
            self.model.records.insert(offset, ModelRecord { base_offset, ..record });
        }
        match appended {
            Ok(outcome) => {
                assert!(!outcome.duplicate, "{outcome:?}, {}", self.context);
                assert_eq!(
                    (outcome.base_offset.0, outcome.last_offset.0),
                    (base_offset, last_offset),
                    "{}",
                    self.context
                );
                Ok(())
            }
            Err(AppendError::Storage(error)) => Err(error),
            Err(error) => panic!("{error}, {}", self.context),
        }
    }

    /// Sends a batch again that is in the log.
    pub(super) fn repeat(&mut self) -> Result<(), StorageError> {
        let producer_id = IDEMPOTENT[self.random.random_range(0..IDEMPOTENT.len())];
        let window = self.model.window(producer_id);
        if window.is_empty() {
            return Ok(());
        }
        let of_producer = |batch: &&ModelBatch| batch.producer_id == producer_id && batch.commits.is_none();
        let older: Vec<ModelBatch> = self.model.batches.values().filter(of_producer).copied().collect();
        let in_window = !self.one_in(4);
        let from = if in_window { &window } else { &older };
        let sent = from[self.random.random_range(0..from.len())];
        if self.next_sequence(producer_id) == Some(sent.first_sequence) {
            // Its producer was forgotten and began anew: this is no repeat of it.
            return Ok(());
        }
        let count = (sent.last_offset - sent.base_offset + 1) as usize;
        let (batch, _) = self.batch(producer_id, sent.first_sequence, count);
        match self.log().append(batch, LeaderEpoch(self.leader_epoch), self.model.now_ms) {
            Ok(outcome) => {
                assert!(outcome.duplicate, "a repeat of {sent:?} was appended: {outcome:?}, seed {}", self.seed);
                // A producer that was forgotten, and began anew, used the same sequences again.
                let again = |batch: &&ModelBatch| of_producer(batch) && batch.first_sequence == sent.first_sequence;
                let newest = self.model.batches.values().rfind(again).map(|batch| batch.base_offset);
                assert_eq!(Some(outcome.base_offset.0), newest, "a repeat of {sent:?}, seed {}", self.seed);
            }
            Err(AppendError::Producer(error)) => {
                assert!(!in_window, "a repeat of {sent:?} is refused: {error}, seed {}", self.seed);
            }
            Err(AppendError::Storage(error)) => return Err(error),
            Err(error) => panic!("{error}, seed {}", self.seed),
        }
        Ok(())
    }

    pub(super) fn gap(&mut self) -> Result<(), StorageError> {
        let producer_id = IDEMPOTENT[self.random.random_range(0..IDEMPOTENT.len())];
        let Some(next) = self.next_sequence(producer_id) else { return Ok(()) };
        let first_sequence = next + self.random.random_range(1..100);
        let (batch, _) = self.batch(producer_id, first_sequence, 1);
        match self.log().append(batch, LeaderEpoch(self.leader_epoch), self.model.now_ms) {
            Err(AppendError::Producer(ProducerStateError::OutOfOrderSequence { expected, .. })) => {
                assert_eq!(expected, next, "seed {}", self.seed);
                Ok(())
            }
            Err(AppendError::Storage(error)) => Err(error),
            other => panic!("a gap was not refused: {other:?}, seed {}", self.seed),
        }
    }

    pub(super) fn flush(&mut self) -> Result<(), StorageError> {
        let flushed = self.log().flush()?;
        assert_eq!(flushed.0, self.model.log_end, "seed {}", self.seed);
        self.model.flushed = flushed.0;
        Ok(())
    }

    pub(super) fn delete_records(&mut self) -> Result<(), StorageError> {
        let (open, _) = self.model.transactions();
        let end = open.values().min().copied().unwrap_or(self.model.log_end).max(self.model.log_start);
        // Mostly a little, now and then nearly all.
        let span = if self.one_in(4) { end - self.model.log_start } else { (end - self.model.log_start) / 4 };
        let before = self.model.log_start + self.random.random_range(0..=span);
        self.log_start_max = self.log_start_max.max(before);
        let start = self.log().delete_records(Offset(before))?;
        assert_eq!(start.0, before, "seed {}", self.seed);
        self.model.start_at(start.0);
        Ok(())
    }

    pub(super) fn retention(&mut self) -> Result<(), StorageError> {
        self.log_start_max = self.model.log_end;
        let size_before = self.log().size_bytes();
        let removed = self.log().apply_retention(self.model.now_ms)?;
        let start = self.log().offsets().log_start.0;
        let context = format!("retention, seed {}", self.seed);
        assert!(start >= self.model.log_start && start <= self.model.log_end, "{context}");
        // The last segment stays when all of its records are deleted: it goes without a record once it is not the last any more.
        assert!(removed > 0 || start == self.model.log_start, "{context}");
        assert!(self.log().first_segment_end().is_none_or(|end| end.0 > start), "a segment before {start}, {context}");
        let by_size = self.config.retention_bytes >= 0 && size_before > self.config.retention_bytes as u64;
        let oldest = self.model.now_ms - self.config.retention_ms;
        // A time of the future keeps nothing longer than the time of its append.
        // What a compaction since the last check may have taken was not there to make its segment young.
        let must_stay = self.model.must_stay();
        let was_there = |offset: &i64| !self.was_compacted || must_stay.contains(offset);
        let is_young = |record: &ModelRecord| record.timestamp.min(record.appended_ms) >= oldest;
        let young = self.model.records.range(..start).find(|(offset, record)| was_there(offset) && is_young(record));
        assert!(young.is_none() || by_size, "{young:?} was removed, {context}");
        assert!(self.config.retention_ms >= 0 || by_size || start == self.model.log_start, "{context}");
        if by_size && start > self.model.log_start && young.is_some() {
            assert!(self.log().size_bytes() >= self.config.retention_bytes as u64, "{context}");
        }
        self.model.start_at(start);
        self.log_start_max = start;
        self.check_ages();
        Ok(())
    }

    /// Right after retention no record is there that no segment can hold it for: each goes with the last append to its segment, or
    /// with the newest record of a merged one, which reaches over a tenth of the retention.
    fn check_ages(&self) {
        if self.config.retention_ms < 0 || self.may_seem_young {
            return;
        }
        let oldest_ms = self.model.now_ms - self.config.retention_ms;
        for (offset, record) in &self.model.records {
            let alone_ms = self.model.last_append_beside(record.appended_ms, SEGMENT_MS);
            let merged_ms = record.appended_ms + self.config.retention_ms / 10 + TIMESTAMP_SPREAD_MS;
            assert!(
                alone_ms.max(merged_ms) >= oldest_ms,
                "{offset} is still there, {} ms after the last append beside it: {record:?}, {}",
                self.model.now_ms - alone_ms,
                self.context
            );
        }
    }

    pub(super) fn compact(&mut self) -> Result<(), StorageError> {
        if !self.config.compact {
            return Ok(());
        }
        self.was_compacted = true;
        self.may_seem_young |= self.is_doomed;
        let map_bytes_max = if self.one_in(3) { 200 } else { 1 << 20 };
        let limits = CleanLimits { map_bytes_max, decompressed_bytes_max: 1 << 20 };
        let log = self.log();
        let report = match log.clean(self.cleaned_up_to, limits, self.model.now_ms, &Unthrottled) {
            // A segment with damage is not compacted, and the others are at the next attempt.
            Err(StorageError::Damaged { .. }) if !self.model.refused.is_empty() => return Ok(()),
            report => report?,
        };
        assert!(report.cleaned_up_to >= self.cleaned_up_to, "{report:?}, seed {}", self.seed);
        self.cleaned_up_to = report.cleaned_up_to;
        Ok(())
    }
}
