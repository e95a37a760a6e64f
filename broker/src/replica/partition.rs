//! One partition as clients see it: a log, the high watermark, and those who wait for either to move.
//!
//! Owns the order of an append's consequences (visible to readers, then durable, then acknowledged) and the waiting for
//! them. The bytes are the log's business, request and response shapes the API floor's.
//!
//! Invariant: `log_start <= last_stable <= high_watermark <= log_end`. With one replica a record is committed once the log
//! has it, so the high watermark is the log end; a produce with `acks=all` is answered only after the flush that covers it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use ottla_protocol::ErrorCode;
use tokio::sync::watch;
use tokio::time::Instant;

use super::purgatory::{Awaited, Purgatory};
use crate::config::{FlushMode, TopicConfig};
use crate::storage::validate::{RefusedRecord, ValidateError, ValidateRules, validate};
use crate::storage::vfs::FileSlice;
use crate::storage::{
    AbortedTxn, AppendError, AppendOutcome, DiskReserve, EpochEndOffset, Flusher, Log, LogConfig, LogObserver,
    LogOffsets, LogRead, ReadError, StorageError, TimestampOffset, ValidatedBatch,
};
use crate::types::{LeaderEpoch, Offset, TopicPartition};

/// How far a log is on disk, as the flusher last told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FlushProgress {
    /// Everything below this offset is on disk.
    up_to: Offset,
    /// The log failed to flush and takes nothing more.
    failed: bool,
}

/// Tells waiting producers what the flusher did; the only link from the log upward.
#[derive(Debug)]
struct FlushNews(watch::Sender<FlushProgress>);

impl LogObserver for FlushNews {
    fn flushed(&self, up_to: Offset) {
        self.0.send_if_modified(|progress| {
            let moved = up_to > progress.up_to;
            progress.up_to = progress.up_to.max(up_to);
            moved
        });
    }

    fn failed(&self, _why: &StorageError) {
        self.0.send_modify(|progress| progress.failed = true);
    }
}

/// What became of a wait for durability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The records are on disk.
    Durable,
    /// The disk failed; the log is offline and the records may be lost.
    Failed,
    /// The time that the producer gave has passed.
    TimedOut,
}

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProduceError {
    /// The bytes are not a batch that this topic takes.
    #[error(transparent)]
    Invalid(#[from] ValidateError),
    /// The log refused it or failed.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// Clients may not use the rest of the disk. The same batch may be taken later.
    #[error("the broker's disk is nearly full: less than log.reserve.bytes is free")]
    DiskNearlyFull,
}

impl ProduceError {
    /// The records that were refused one by one (KIP-467).
    pub(crate) fn refused_records(&self) -> &[RefusedRecord] {
        match self {
            Self::Invalid(error) => error.refused_records(),
            Self::Append(_) | Self::DiskNearlyFull => &[],
        }
    }
}

/// Offsets that bound what a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartitionOffsets {
    pub(crate) log_start: Offset,
    pub(crate) last_stable: Offset,
    pub(crate) high_watermark: Offset,
}

/// What a fetch found.
#[derive(Debug)]
pub(crate) struct PartitionRead {
    pub(crate) slice: Option<FileSlice>,
    pub(crate) offsets: PartitionOffsets,
    /// Transactions that were aborted and reach into the records; only for those who read committed records.
    pub(crate) aborted: Vec<AbortedTxn>,
}

/// A partition that this broker leads.
#[derive(Debug)]
pub(crate) struct Partition {
    id: TopicPartition,
    leader_epoch: LeaderEpoch,
    log: Arc<Log>,
    flusher: Arc<Flusher>,
    rules: ArcSwap<PartitionRules>,
    durable: Arc<FlushNews>,
    purgatory: Purgatory,
    reserve: Arc<DiskReserve>,
}

/// What the topic's configuration means for this partition, worked out once.
#[derive(Debug)]
struct PartitionRules {
    config: Arc<TopicConfig>,
    validate: ValidateRules,
}

impl PartitionRules {
    fn new(config: Arc<TopicConfig>, max_decompressed_bytes: usize) -> Self {
        let validate = ValidateRules::new(&config, max_decompressed_bytes);
        Self { config, validate }
    }
}

impl Awaited for Partition {
    fn purgatory(&self) -> &Purgatory {
        &self.purgatory
    }
}

impl Partition {
    /// Takes over a log that was just opened.
    pub(crate) fn new(
        log: Arc<Log>,
        flusher: Arc<Flusher>,
        leader_epoch: LeaderEpoch,
        config: Arc<TopicConfig>,
        max_decompressed_bytes: usize,
        reserve: Arc<DiskReserve>,
    ) -> Self {
        let progress = FlushProgress { up_to: log.offsets().flushed, failed: false };
        let durable = Arc::new(FlushNews(watch::Sender::new(progress)));
        let observed = log.observe(Arc::clone(&durable) as Arc<dyn LogObserver>);
        assert!(observed, "a log belongs to one partition");
        Self {
            id: log.topic_partition().clone(),
            leader_epoch,
            log,
            flusher,
            rules: ArcSwap::from_pointee(PartitionRules::new(config, max_decompressed_bytes)),
            durable,
            purgatory: Purgatory::default(),
            reserve,
        }
    }

    /// The topic's name.
    pub(crate) fn topic(&self) -> &str {
        &self.id.topic
    }

    /// The partition's number.
    pub(crate) fn index(&self) -> i32 {
        self.id.partition
    }

    /// The epoch of this leadership.
    pub(crate) fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// The log below, for those who open, close and rename it.
    pub(super) fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The topic's settings as of now.
    pub(crate) fn config(&self) -> Arc<TopicConfig> {
        Arc::clone(&self.rules.load().config)
    }

    /// Puts altered settings in force, for the log too.
    pub(super) fn update_config(&self, config: Arc<TopicConfig>, max_decompressed_bytes: usize) {
        self.log.update_config(Arc::new(log_config(&config, max_decompressed_bytes)));
        self.rules.store(Arc::new(PartitionRules::new(config, max_decompressed_bytes)));
    }

    /// Bytes on disk of the log's segments.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.log.size_bytes()
    }

    /// The bounds for readers as of now.
    pub(crate) fn offsets(&self) -> PartitionOffsets {
        let offsets = self.log.offsets();
        self.bounds(offsets)
    }

    fn bounds(&self, offsets: LogOffsets) -> PartitionOffsets {
        let high_watermark = self.log.readable_end().max(offsets.log_start);
        let last_stable = self.log.first_unstable_offset().unwrap_or(high_watermark).min(high_watermark);
        assert!(offsets.log_start <= high_watermark, "log start <= high watermark");
        PartitionOffsets { log_start: offsets.log_start, last_stable, high_watermark }
    }

    /// Refuses a client whose idea of the leader is older or newer than the truth (KIP-320); -1 is no idea.
    pub(crate) fn check_leader_epoch(&self, current: i32) -> Result<(), ErrorCode> {
        if current < 0 || current == self.leader_epoch.0 {
            Ok(())
        } else if current < self.leader_epoch.0 {
            Err(ErrorCode::FencedLeaderEpoch)
        } else {
            Err(ErrorCode::UnknownLeaderEpoch)
        }
    }

    /// Appends the one batch that `records` holds, as a client produced it, and wakes the fetches that wait for it.
    ///
    /// When it returns the batch can be read; it is durable once [`Partition::wait_until_flushed`] says so. An error
    /// appends nothing. `min.insync.replicas` asks for nothing here: it counts up to the number of replicas (KIP-966),
    /// which is one.
    pub(crate) fn append(&self, records: &Bytes, now_ms: i64) -> Result<AppendOutcome, ProduceError> {
        if self.reserve.is_reached() {
            return Err(ProduceError::DiskNearlyFull);
        }
        let rules = self.rules.load();
        let batch = validate(records, &rules.validate, now_ms)?;
        if !self.reserve.admits(batch.size_bytes() as u64) {
            return Err(ProduceError::DiskNearlyFull);
        }
        let appended = self.log.append(batch, self.leader_epoch, now_ms)?;
        if !appended.duplicate {
            self.purgatory.wake_all();
        }
        Ok(appended)
    }

    /// Appends a batch that a coordinator has made, and wakes the fetches that wait for it. Durable once
    /// [`Partition::wait_until_flushed`] says so. An error appends nothing.
    pub(crate) fn append_own(&self, batch: ValidatedBatch, now_ms: i64) -> Result<AppendOutcome, AppendError> {
        self.reserve.count_appended(batch.size_bytes() as u64);
        let appended = self.log.append(batch, self.leader_epoch, now_ms)?;
        self.purgatory.wake_all();
        Ok(appended)
    }

    /// Whether everything before `end` is on disk.
    pub(crate) fn is_flushed_to(&self, end: Offset) -> bool {
        self.durable.0.borrow().up_to >= end || self.log.offsets().flushed >= end
    }

    /// The damaged ranges that are known of, as pairs of the first offset and the one behind the last.
    pub(crate) fn damaged_ranges(&self) -> Vec<(Offset, Offset)> {
        self.log.corrupt_ranges().iter().map(|range| (range.from, range.to)).collect()
    }

    /// Whether `acks=all` waits for the disk (`flush.mode`).
    pub(crate) fn flushes_before_ack(&self) -> bool {
        self.rules.load().config.flush_mode == FlushMode::Sync
    }

    /// Waits until everything before `end` is on disk. Whoever waits at the same time shares one flush.
    pub(crate) async fn wait_until_flushed(self: &Arc<Self>, end: Offset, deadline: Instant) -> Durability {
        let mut news = self.durable.0.subscribe();
        let decide = |progress: &FlushProgress| progress.failed || progress.up_to >= end;
        if !decide(&news.borrow_and_update()) {
            self.flusher.request(&self.log, end);
        }
        match tokio::time::timeout_at(deadline, news.wait_for(decide)).await {
            Ok(Ok(progress)) if progress.up_to >= end => Durability::Durable,
            Ok(Ok(_) | Err(_)) => Durability::Failed,
            Err(_) => Durability::TimedOut,
        }
    }

    /// Makes everything durable for a coordinator that loads its state. Waits for the disk.
    pub(crate) fn flush_own(&self) -> Result<Offset, StorageError> {
        self.log.flush()
    }

    /// Reads for a coordinator that loads its state: everything there is, whatever clients do.
    pub(crate) fn read_own(&self, from: Offset, max_bytes: usize) -> Result<LogRead, ReadError> {
        self.log.read(from, max_bytes, self.offsets().high_watermark, true)
    }

    /// Reads from the batch that holds `from`, for a client. At most `max_bytes`, but with `at_least_one` a whole batch. There may be
    /// nothing to read for a while where answers hold too many files.
    pub(crate) fn read(
        &self,
        from: Offset,
        max_bytes: usize,
        at_least_one: bool,
        committed_only: bool,
    ) -> Result<PartitionRead, ReadError> {
        let offsets = self.offsets();
        let read = match committed_only {
            true => self.log.read_committed_to_send(from, max_bytes, offsets.last_stable, at_least_one)?,
            false => self.log.read_to_send(from, max_bytes, offsets.high_watermark, at_least_one)?,
        };
        Ok(PartitionRead { slice: read.slice, offsets, aborted: read.aborted })
    }

    /// Where the log parted from that of a reader who last read records of `epoch` before `offset` (KIP-595), if it did.
    /// OFFSET_OUT_OF_RANGE for an epoch that this log never had.
    pub(crate) fn divergence(&self, epoch: LeaderEpoch, offset: Offset) -> Result<Option<EpochEndOffset>, ErrorCode> {
        let end = self.end_offset_for_epoch(epoch).ok_or(ErrorCode::OffsetOutOfRange)?;
        Ok((end.epoch < epoch || end.end_offset < offset).then_some(end))
    }

    /// The first record at or after a time.
    pub(crate) fn offset_for_timestamp(&self, timestamp_ms: i64) -> Result<Option<TimestampOffset>, ReadError> {
        self.log.offset_for_timestamp(timestamp_ms)
    }

    /// The record with the highest timestamp.
    pub(crate) fn max_timestamp_offset(&self) -> Result<Option<TimestampOffset>, ReadError> {
        self.log.max_timestamp_offset()
    }

    /// Where an epoch ended, or the one before it that the log knows. The epoch of this leadership ends where the log does,
    /// also before its first record.
    pub(crate) fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<EpochEndOffset> {
        if epoch == self.leader_epoch {
            return Some(EpochEndOffset { epoch, end_offset: self.log.offsets().log_end });
        }
        self.log.end_offset_for_epoch(epoch)
    }

    /// Moves the log start to `before` and returns it. Durable when it returns.
    pub(crate) fn delete_records(&self, before: Offset) -> Result<Offset, StorageError> {
        let start = self.log.delete_records(before)?;
        self.purgatory.wake_all();
        Ok(start)
    }

    /// Wakes those who wait, because the partition is going away.
    pub(super) fn retire(&self) {
        self.purgatory.wake_all();
    }
}

/// The part of a topic's and the broker's settings that its logs follow.
pub(super) fn log_config(config: &TopicConfig, max_decompressed_bytes: usize) -> LogConfig {
    LogConfig {
        segment_bytes: config.segment_bytes.unsigned_abs(),
        // What must be compacted by then must be sealed by then.
        segment_ms: match config.cleanup_policy.compact {
            true => config.segment_ms.min(config.max_compaction_lag_ms),
            false => config.segment_ms,
        },
        segment_jitter_ms: config.segment_jitter_ms,
        segment_index_bytes: config.segment_index_bytes.unsigned_abs(),
        index_interval_bytes: config.index_interval_bytes.unsigned_abs(),
        retention_ms: if config.cleanup_policy.delete { config.retention_ms } else { -1 },
        retention_bytes: if config.cleanup_policy.delete { config.retention_bytes } else { -1 },
        compact: config.cleanup_policy.compact,
        min_cleanable_dirty_ratio: config.min_cleanable_dirty_ratio,
        min_compaction_lag_ms: config.min_compaction_lag_ms,
        max_compaction_lag_ms: config.max_compaction_lag_ms,
        delete_retention_ms: config.delete_retention_ms,
        flush_mode: match config.flush_mode {
            FlushMode::Sync => crate::storage::FlushMode::Sync,
            FlushMode::Async => crate::storage::FlushMode::Async,
        },
        decompressed_bytes_max: max_decompressed_bytes,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::BrokerConfig;

    #[test]
    fn a_log_deletes_and_compacts_as_the_policy_of_its_topic_says() {
        let log_of = |policy: &str| {
            let keys = [
                ("cleanup.policy", policy),
                ("retention.ms", "7000"),
                ("retention.bytes", "8000"),
                ("segment.ms", "900000"),
                ("min.compaction.lag.ms", "5"),
                ("max.compaction.lag.ms", "600000"),
                ("min.cleanable.dirty.ratio", "0.25"),
                ("delete.retention.ms", "11"),
            ];
            let overrides: BTreeMap<_, _> = keys.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
            log_config(&TopicConfig::from_overrides(&BrokerConfig::default(), &overrides).unwrap(), 1)
        };
        let deleted = log_of("delete");
        assert!(!deleted.compact);
        assert_eq!((deleted.retention_ms, deleted.retention_bytes, deleted.segment_ms), (7_000, 8_000, 900_000));
        let compacted = log_of("compact");
        assert!(compacted.compact);
        assert_eq!((compacted.retention_ms, compacted.retention_bytes), (-1, -1), "nothing is deleted");
        assert_eq!(compacted.segment_ms, 600_000, "sealed by the time by which it must be compacted");
        assert_eq!((compacted.min_compaction_lag_ms, compacted.max_compaction_lag_ms), (5, 600_000));
        assert_eq!((compacted.min_cleanable_dirty_ratio, compacted.delete_retention_ms), (0.25, 11));
        let both = log_of("compact,delete");
        assert_eq!(both, LogConfig { retention_ms: 7_000, retention_bytes: 8_000, ..compacted });
    }
}
