//! Replacing adjacent sealed segments by one, while the log is read and written.
//!
//! Owns the locks and the list of segments in memory; the files are `replacement.rs`'s. Readers of a replaced segment keep
//! reading its files, which stay open for them.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Log, Segments};
use crate::storage::error::StorageError;
use crate::storage::recovery::INDEX_BYTES_MAX;
use crate::storage::replacement::FinishedSegment;
use crate::storage::segment::{SealedSegment, extension, segment_path};
use crate::storage::txn_index::{self, AbortedTxn};
use crate::storage::vfs::replace_file;
use crate::types::Offset;

/// However many descriptors there are.
const SEGMENTS_MAX: usize = 128;

impl Log {
    /// How many segments may be replaced at once, by what descriptors there are: their files stay open meanwhile.
    pub(in crate::storage) fn segments_replaced_max(&self) -> usize {
        self.context.open_files.segments_replaced_max().min(SEGMENTS_MAX)
    }

    /// The sealed segments that may be replaced: durable as they are, and sound as far as that is known. In order, in runs
    /// of adjacent ones: what must not be replaced lies between them.
    ///
    /// # Errors
    /// The log cannot be flushed.
    pub(in crate::storage) fn replaceable_runs(&self) -> Result<Vec<Vec<Arc<SealedSegment>>>, StorageError> {
        let flushed = self.flush()?;
        let (segments, damage) = (self.segments.load_full(), self.corrupt.load_full());
        let mut runs = vec![Vec::new()];
        for segment in &segments.sealed {
            if segment.next_offset > flushed {
                break;
            }
            if damage.iter().any(|range| range.segment_base == segment.base_offset) {
                runs.push(Vec::new());
            } else if let Some(run) = runs.last_mut() {
                run.push(Arc::clone(segment));
            }
        }
        runs.retain(|run| !run.is_empty());
        Ok(runs)
    }

    /// Puts `new` in the place of `old`, which it covers. False when one of them is gone already: nothing has changed then.
    /// `is_named` says of which aborted transactions there may be something left.
    ///
    /// # Errors
    /// Before the replacement is committed an error changes nothing. After that the log goes offline, and the next start
    /// completes it.
    pub(in crate::storage) fn replace_segments(
        &self,
        old: &[Arc<SealedSegment>],
        new: FinishedSegment,
        is_named: impl Fn(&AbortedTxn) -> bool,
    ) -> Result<bool, StorageError> {
        let _alone = self.restructuring.lock();
        if let Err(error) = self.check_usable() {
            new.discard(self.vfs());
            return Err(error);
        }
        let (first, last) = (old.first().expect("something is replaced"), old.last().expect("something is replaced"));
        assert_eq!((new.base_offset, new.next_offset), (first.base_offset, last.next_offset), "the same offsets");
        let Some(at) = position_of(&self.segments.load(), old) else {
            new.discard(self.vfs());
            return Ok(false);
        };
        if let Err(error) = self.prepare(old).and_then(|()| new.commit(self.vfs(), &self.dir)) {
            new.discard(self.vfs());
            return Err(error);
        }
        // Nothing else touches these files: whoever trims, closes or replaces takes the same lock.
        let replaced: Vec<Offset> = old.iter().map(|segment| segment.base_offset).collect();
        let sizes = new.complete(self.vfs(), &self.dir, &replaced).map_err(|error| self.poison_with(error))?;
        self.prune_transaction_index(new.base_offset, is_named);
        let pool = &self.context.open_files;
        let merged = SealedSegment::new(pool, &self.dir, new.base_offset, new.next_offset, sizes, 0);
        let mut writer = self.writer.lock();
        let segments = self.segments.load_full();
        let mut sealed = segments.sealed.clone();
        sealed.splice(at..at + old.len(), [Arc::new(merged)]);
        self.segments.store(Arc::new(Segments { sealed, active: Arc::clone(&segments.active) }));
        // They were durable, and are gone.
        writer.unflushed.retain(|unflushed| !replaced.contains(&unflushed.segment.base_offset));
        Ok(true)
    }

    /// What has to be so before others get the names of these segments.
    fn prepare(&self, old: &[Arc<SealedSegment>]) -> Result<(), StorageError> {
        for segment in old {
            segment.pin().map_err(StorageError::io("open", segment.file.path()))?;
        }
        self.join_transaction_indexes(old)
    }

    /// The first segment's index of aborted transactions names those of all before the replacement is committed: a name too
    /// many does no harm, one too few would show their records.
    fn join_transaction_indexes(&self, old: &[Arc<SealedSegment>]) -> Result<(), StorageError> {
        let path = |segment: &SealedSegment| segment_path(&self.dir, segment.base_offset, extension::TRANSACTION_INDEX);
        let (mut all, mut named) = (Vec::new(), HashSet::new());
        for segment in old {
            let path = path(segment);
            let entries =
                txn_index::read(self.vfs(), &path, i32::MAX as u64).map_err(StorageError::io("read", &path))?;
            all.extend(entries.into_iter().filter(|entry| named.insert(*entry)));
        }
        if all.is_empty() {
            return Ok(());
        }
        let path = path(&old[0]);
        replace_file(self.vfs(), &path, &txn_index::encode_all(&all)).map_err(StorageError::io("replace", &path))
    }

    /// Leaves only these names in the index of aborted transactions of a segment that has just taken its place. Not before: until
    /// then the records may be there. A crash in between leaves names too many, or an index that the next start builds again.
    fn prune_transaction_index(&self, base: Offset, is_named: impl Fn(&AbortedTxn) -> bool) {
        let path = segment_path(&self.dir, base, extension::TRANSACTION_INDEX);
        let pruned = txn_index::read(self.vfs(), &path, INDEX_BYTES_MAX).and_then(|mut entries| {
            let before = entries.len();
            entries.retain(is_named);
            match entries.len() {
                len if len == before => Ok(()),
                0 => self.vfs().remove_file(&path),
                _ => replace_file(self.vfs(), &path, &txn_index::encode_all(&entries)),
            }
        });
        if let Err(error) = pruned {
            tracing::warn!(path = %path.display(), %error, "cannot remove the names of transactions that are gone; they do no harm");
        }
    }
}

/// Where these segments are in the list, all of them and side by side.
fn position_of(segments: &Segments, old: &[Arc<SealedSegment>]) -> Option<usize> {
    let at = segments.sealed.iter().position(|segment| Arc::ptr_eq(segment, &old[0]))?;
    let there = segments.sealed.get(at..at + old.len())?;
    there.iter().zip(old).all(|(there, old)| Arc::ptr_eq(there, old)).then_some(at)
}
