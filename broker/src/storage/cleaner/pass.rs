//! One pass over a log: which keys have newer records, and the segments without the older ones.
//!
//! Owns the rules of what stays. The newest record of each key stays at its own offset; a record of a key that is written
//! again further on goes, as far as the map of keys reaches. Tombstones and the markers of transactions stay
//! `delete.retention.ms` from the first cleaning that meets them (KIP-534). Records without a key, which no client can
//! write to a compacted topic, go. The last five batches of each producer stay, without records if need be, so that what is
//! known of producers can be had from the log again.
//!
//! Does not own which segments a pass may look at (`clean.rs`), nor how a segment takes the place of others (`replacement.rs`).

use std::collections::HashSet;
use std::sync::Arc;

use ottla_protocol::records::{BatchError, BatchView};

use super::clean::{CleanLimits, CleanReport};
use super::dense_writer::DenseWriter;
use super::newest::NewestOffsets;
use super::pending::PendingReplacements;
use super::survivors::{Rules, Survivors, Verdict};
use super::transactions::Transactions;
use crate::storage::batch_header::BatchHeader;
use crate::storage::error::StorageError;
use crate::storage::extent::{Extent, joinable};
use crate::storage::log::Log;
use crate::storage::log_config::LogConfig;
use crate::storage::replacement::{NewSegment, Replacement, SEGMENT_BYTES_MAX};
use crate::storage::segment::{SealedSegment, last_append_ms};
use crate::storage::segment_batches::{NextBatch, SegmentBatches};
use crate::storage::throttle::Throttle;
use crate::types::Offset;

/// One pass over a log.
pub(super) struct Pass<'a> {
    pub(super) log: &'a Log,
    pub(super) config: &'a LogConfig,
    pub(super) limits: CleanLimits,
    pub(super) now_ms: i64,
    /// When what is marked for deletion now may go.
    pub(super) horizon_ms: i64,
    pub(super) throttle: &'a dyn Throttle,
    pub(super) newest: NewestOffsets,
    /// Of the batch that is looked at.
    pub(super) survivors: Survivors,
    /// What becomes of that batch, where it is to be another one.
    pub(super) rewritten: Vec<u8>,
    pub(super) transactions: Transactions,
    /// First offsets of batches that stay at least as empty ones.
    pub(super) protected: HashSet<Offset>,
    pub(super) report: CleanReport,
}

/// What becomes of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Unchanged,
    /// What takes its place is in [`Pass::rewritten`].
    Rewritten,
    Gone,
}

impl Pass<'_> {
    /// Whether each group would find space now, so that keys are not mapped in vain.
    pub(super) fn check_space(&self, runs: &[Vec<Arc<SealedSegment>>]) -> Result<(), StorageError> {
        for run in runs {
            let mut rest = run.as_slice();
            for len in self.groups(run)? {
                let (group, behind) = rest.split_at(len);
                let bytes = group.iter().map(|segment| segment.file_bytes()).sum();
                drop(self.throttle.claim_space(bytes)?);
                rest = behind;
            }
        }
        Ok(())
    }

    /// Puts the keys of the dirty part into the map, as far as they find room.
    pub(super) fn map_keys(&mut self, runs: &[Vec<Arc<SealedSegment>>], from: Offset) -> Result<(), StorageError> {
        for segment in runs.iter().flatten().filter(|segment| segment.next_offset > from) {
            self.map_segment(segment, from)?;
            self.newest.settle();
            self.report.keys = self.newest.len();
            if let Some(full_at) = self.newest.full_at() {
                self.report.cleaned_up_to = full_at;
                self.report.more_to_do = true;
                break;
            }
            self.report.cleaned_up_to = segment.next_offset;
        }
        Ok(())
    }

    fn map_segment(&mut self, segment: &Arc<SealedSegment>, from: Offset) -> Result<(), StorageError> {
        let file = segment.file.get().map_err(StorageError::io("read", segment.file.path()))?;
        let mut batches = SegmentBatches::new(segment, &file);
        while self.newest.full_at().is_none()
            && let Some((header, batch)) = self.next_of(segment, &mut batches)?
        {
            self.throttle.pass(u64::from(header.size_bytes))?;
            if header.next_offset() <= from || header.is_control() || self.transactions.is_aborted(&header) {
                continue;
            }
            let newest = &mut self.newest;
            let mapped = batch.plain_records(self.limits.decompressed_bytes_max).and_then(|records| {
                records.for_each(|record| match record.key {
                    Some(key) if record.offset >= from.0 => newest.note(key, Offset(record.offset)),
                    _ => {}
                })
            });
            if let Err(error) = mapped {
                self.leave_alone(segment, &header, &error);
            }
        }
        Ok(())
    }

    fn next_of(
        &self,
        segment: &Arc<SealedSegment>,
        batches: &mut SegmentBatches<'_>,
    ) -> Result<Option<(BatchHeader, BatchView)>, StorageError> {
        match batches.next().map_err(StorageError::io("read", segment.file.path()))? {
            NextBatch::Batch(header, batch) => Ok(Some((header, batch))),
            NextBatch::End => Ok(None),
            NextBatch::Damaged { position } => {
                self.log.note_damage(segment);
                let path = segment.file.path().to_owned();
                Err(StorageError::Damaged { path, what: format!("no sound batch at position {position}") })
            }
        }
    }

    /// Rewrites all segments that the map speaks of. What could be done before an error stays.
    pub(super) fn rewrite(&mut self, runs: Vec<Vec<Arc<SealedSegment>>>) -> Result<(), StorageError> {
        let mut pending = PendingReplacements::new(self.log, self.throttle);
        let rewritten = self.rewrite_runs(runs, &mut pending);
        let replaced = pending.replace();
        self.report.bytes_read = pending.bytes_read;
        self.report.bytes_written = pending.bytes_written;
        rewritten.and(replaced)
    }

    /// Group by group. Whoever holds a segment that is replaced holds its files: those of a group go with it.
    fn rewrite_runs(
        &mut self,
        runs: Vec<Vec<Arc<SealedSegment>>>,
        pending: &mut PendingReplacements<'_>,
    ) -> Result<(), StorageError> {
        let mut behind = self.log.first_segment_base();
        for mut run in runs {
            if behind != run[0].base_offset {
                self.transactions.pass_over(run[0].base_offset);
            }
            behind = run[run.len() - 1].next_offset;
            run.truncate(run.iter().take_while(|segment| segment.base_offset < self.report.cleaned_up_to).count());
            let groups = self.groups(&run)?;
            let mut rest = run.into_iter();
            for len in groups {
                let group: Vec<_> = rest.by_ref().take(len).collect();
                self.rewrite_group(&group, pending)?;
            }
        }
        Ok(())
    }

    /// How long the parts of a run are that can become one segment each: as large as one may be and, where time deletes too,
    /// reaching no further back.
    fn groups(&self, run: &[Arc<SealedSegment>]) -> Result<Vec<usize>, StorageError> {
        let extents = run.iter().map(|segment| Extent::of(self.log, segment)).collect::<Result<Vec<_>, _>>()?;
        let may_be_one = |all: &Extent| {
            all.fits(self.config) && (self.config.retention_ms < 0 || all.is_brief(self.config, self.now_ms))
        };
        let (mut rest, mut groups) = (&extents[..], Vec::new());
        while !rest.is_empty() {
            let len = joinable(&rest[..rest.len().min(self.log.segments_replaced_max())], may_be_one);
            groups.push(len);
            rest = &rest[len..];
        }
        Ok(groups)
    }

    fn rewrite_group(
        &mut self,
        group: &[Arc<SealedSegment>],
        pending: &mut PendingReplacements<'_>,
    ) -> Result<(), StorageError> {
        let space = pending.claim_space(group)?;
        let (vfs, dir) = (self.log.vfs(), self.log.dir());
        let new = NewSegment::create(vfs, dir, group[0].base_offset, self.config.index_interval_bytes)?;
        let mut writer = DenseWriter::new(new);
        let written = self.write_group(group, &mut writer);
        let new = writer.into_segment();
        match written {
            Ok(true) if new.size_bytes() <= SEGMENT_BYTES_MAX => {
                let new = new.finish(vfs, last_append_ms(group))?;
                let named_before = self.transactions.may_have_records_before();
                pending.push(Replacement { old: group.to_vec(), new, named_before }, space);
                Ok(())
            }
            Ok(_) => {
                new.discard(vfs);
                self.transactions.leave_as_it_is(group[group.len() - 1].next_offset);
                Ok(())
            }
            Err(error) => {
                new.discard(vfs);
                Err(error)
            }
        }
    }

    /// Whether there is a difference worth a replacement.
    fn write_group(&mut self, group: &[Arc<SealedSegment>], writer: &mut DenseWriter) -> Result<bool, StorageError> {
        let mut changed = group.len() > 1;
        for segment in group {
            changed |= self.rewrite_segment(segment, writer)?;
        }
        writer.end_before(group[group.len() - 1].next_offset)?;
        Ok(changed)
    }

    fn rewrite_segment(
        &mut self,
        segment: &Arc<SealedSegment>,
        writer: &mut DenseWriter,
    ) -> Result<bool, StorageError> {
        let file = segment.file.get().map_err(StorageError::io("read", segment.file.path()))?;
        let mut batches = SegmentBatches::new(segment, &file);
        let mut changed = false;
        while let Some((header, batch)) = self.next_of(segment, &mut batches)? {
            self.throttle.pass(2 * u64::from(header.size_bytes))?;
            match self.fate(segment, &header, &batch) {
                Fate::Unchanged => writer.keep(batch.bytes(), &header)?,
                Fate::Rewritten => {
                    changed = true;
                    writer.keep_rewritten(&mut self.rewritten, &header)?;
                }
                Fate::Gone => {
                    // What covers empty offsets is made anew in any case.
                    changed |= batch.record_count() > 0;
                    writer.leave_out(&header)?;
                }
            }
        }
        Ok(changed)
    }

    fn fate(&mut self, segment: &SealedSegment, header: &BatchHeader, batch: &BatchView) -> Fate {
        let fate = if header.is_control() {
            self.fate_of_marker(segment, header, batch)
        } else if self.transactions.is_aborted(header) {
            self.report.records_removed += u64::try_from(batch.record_count()).unwrap_or(0);
            Fate::Gone
        } else {
            self.fate_of_records(segment, header, batch)
        };
        match fate {
            // What covers offsets at which there is nothing is made anew, where it is still needed.
            Fate::Unchanged if batch.record_count() == 0 && !self.protected.contains(&header.base_offset) => Fate::Gone,
            Fate::Gone if self.protected.contains(&header.base_offset) => match batch.record_count() {
                0 => Fate::Unchanged,
                _ => {
                    self.rewritten = batch.without_records();
                    Fate::Rewritten
                }
            },
            fate => fate,
        }
    }

    fn fate_of_marker(&mut self, segment: &SealedSegment, header: &BatchHeader, batch: &BatchView) -> Fate {
        if self.transactions.marker_is_needed(header) {
            return Fate::Unchanged;
        }
        if batch.has_delete_horizon() {
            return if self.now_ms > batch.base_timestamp() { Fate::Gone } else { Fate::Unchanged };
        }
        if batch.record_count() == 0 {
            return Fate::Unchanged;
        }
        let marked = batch.plain_records(self.limits.decompressed_bytes_max).and_then(|records| {
            let mut marked = records.compact(&mut self.rewritten);
            records.for_each(|record| marked.keep(record.place))?;
            marked.finish(Some(self.horizon_ms))
        });
        match marked {
            Ok(()) => Fate::Rewritten,
            Err(error) => {
                self.leave_alone(segment, header, &error);
                Fate::Unchanged
            }
        }
    }

    fn fate_of_records(&mut self, segment: &SealedSegment, header: &BatchHeader, batch: &BatchView) -> Fate {
        if header.base_offset >= self.report.cleaned_up_to && batch.record_count() > 0 {
            self.transactions.records_stay(header);
            return Fate::Unchanged;
        }
        match self.compact(header, batch) {
            Ok((fate, Verdict { stay, go, .. })) => {
                self.report.records_removed += go as u64;
                if stay > 0 {
                    self.transactions.records_stay(header);
                }
                fate
            }
            Err(error) => {
                self.transactions.records_stay(header);
                self.leave_alone(segment, header, &error);
                Fate::Unchanged
            }
        }
    }

    /// Decides about the records of a batch, and puts what is left of it into `rewritten` where some of them go, or a tombstone
    /// stays that no pass has met before.
    fn compact(&mut self, header: &BatchHeader, batch: &BatchView) -> Result<(Fate, Verdict), BatchError> {
        let mapped_to = self.report.cleaned_up_to;
        // What was passed over may have older records of their keys.
        let tombstones_go =
            batch.has_delete_horizon() && self.now_ms > batch.base_timestamp() && !self.transactions.have_passed_over();
        let records = batch.plain_records(self.limits.decompressed_bytes_max)?;
        let mut compacted = records.compact(&mut self.rewritten);
        let rules = Rules { newest: &self.newest, mapped_to, tombstones_go };
        let verdict = self.survivors.decide(&records, rules, |place| compacted.keep(place))?;
        let may_be_marked = !batch.has_delete_horizon() && header.next_offset() <= mapped_to;
        let horizon = (may_be_marked && verdict.has_tombstones).then_some(self.horizon_ms);
        let fate = match verdict {
            Verdict { stay: 0, .. } => Fate::Gone,
            Verdict { go: 0, .. } if horizon.is_none() => Fate::Unchanged,
            _ => {
                compacted.finish(horizon)?;
                Fate::Rewritten
            }
        };
        Ok((fate, verdict))
    }

    /// A batch whose checksum is right and whose records cannot be read: it stays as it is.
    fn leave_alone(&self, segment: &SealedSegment, header: &BatchHeader, error: &BatchError) {
        let (log, base_offset) = (self.log.topic_partition(), header.base_offset);
        tracing::warn!(%log, segment = %segment.base_offset, %base_offset, %error, "the records of a batch cannot be read and are kept as they are");
    }
}
