//! Segments that compaction or merging has written, and that are not in their place yet.
//!
//! Owns how many of them take their places together, which saves most of the syncs where segments are small, and the space that is
//! claimed for them until those that they replace are gone. What they are bounded by: bytes, and the files that stay open meanwhile.

use std::sync::Arc;

use super::disk_reserve::SpaceClaim;
use super::error::StorageError;
use super::log::{Log, Replaced};
use super::replacement::{Relation, Replacement};
use super::segment::SealedSegment;
use super::throttle::Throttle;

/// Bytes of segments that are replaced together, unless one replacement alone comes to more: so much more of the disk may be taken.
const REPLACED_BYTES_MAX: u64 = 256 << 20;

/// Replacements that are still to be done.
pub(super) struct PendingReplacements<'a> {
    log: &'a Log,
    throttle: &'a dyn Throttle,
    relation: Relation,
    replacements: Vec<Replacement>,
    space: Vec<SpaceClaim>,
    /// Of the segments that were replaced, and of those that took their place.
    pub(super) bytes_read: u64,
    pub(super) bytes_written: u64,
    /// How many files of segments there are fewer.
    pub(super) segments_fewer: usize,
}

impl<'a> PendingReplacements<'a> {
    /// None yet. What one leaves out of the log may depend on those before it.
    pub(super) fn new(log: &'a Log, throttle: &'a dyn Throttle) -> Self {
        Self::related(log, throttle, Relation::EachOnThoseBefore)
    }

    /// None yet. Each is a copy, whatever becomes of the others.
    pub(super) fn of_copies(log: &'a Log, throttle: &'a dyn Throttle) -> Self {
        Self::related(log, throttle, Relation::None)
    }

    fn related(log: &'a Log, throttle: &'a dyn Throttle, relation: Relation) -> Self {
        PendingReplacements {
            log,
            throttle,
            relation,
            replacements: Vec::new(),
            space: Vec::new(),
            bytes_read: 0,
            bytes_written: 0,
            segments_fewer: 0,
        }
    }

    /// Claims the space for what is to replace these segments. Where there is none, or this would be too many at once, those that are
    /// pending make room first.
    ///
    /// # Errors
    /// It does not fit above the reserve, or those that are pending could not be put in their place.
    pub(super) fn claim_space(&mut self, group: &[Arc<SealedSegment>]) -> Result<SpaceClaim, StorageError> {
        let old = || self.replacements.iter().flat_map(|replacement| &replacement.old).chain(group);
        let is_too_much = old().map(|segment| segment.size_bytes).sum::<u64>() > REPLACED_BYTES_MAX
            || old().count() > self.log.segments_replaced_max();
        if is_too_much {
            self.replace()?;
        }
        let claim = || self.throttle.claim_space(group.iter().map(|segment| segment.file_bytes()).sum());
        match claim() {
            Err(StorageError::NoSpaceAboveReserve { .. }) if !self.replacements.is_empty() => {
                self.replace()?;
                claim()
            }
            claimed => claimed,
        }
    }

    /// Adds a replacement, for which space was claimed.
    pub(super) fn push(&mut self, replacement: Replacement, space: SpaceClaim) {
        self.replacements.push(replacement);
        self.space.push(space);
    }

    /// Puts all of them in their place. Whoever holds a replaced segment holds its files: they go with it.
    ///
    /// # Errors
    /// As [`Log::replace_segments`], and where segments have changed since they were read and that matters to those behind; none is
    /// pending any more.
    pub(super) fn replace(&mut self) -> Result<(), StorageError> {
        if self.replacements.is_empty() {
            return Ok(());
        }
        let _space = std::mem::take(&mut self.space);
        let replacements = std::mem::take(&mut self.replacements);
        let sizes: Vec<_> = replacements
            .iter()
            .map(|Replacement { old, new, .. }| {
                (old.len(), old.iter().map(|segment| segment.size_bytes).sum::<u64>(), new.size_bytes)
            })
            .collect();
        let became = self.log.replace_segments(replacements, self.relation)?;
        for (became, (segments, read, written)) in became.into_iter().zip(sizes) {
            match became {
                Replaced::Done => {
                    self.bytes_read += read;
                    self.bytes_written += written;
                    self.segments_fewer += segments - 1;
                }
                Replaced::GivenUp if self.relation == Relation::EachOnThoseBefore => {
                    return Err(StorageError::SegmentsChanged { log: self.log.name() });
                }
                Replaced::Gone | Replaced::GivenUp => {}
            }
        }
        Ok(())
    }
}
