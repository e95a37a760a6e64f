//! Replacing adjacent sealed segments by one, while the log is read and written.
//!
//! Owns the locks and the list of segments in memory; the files are `replacement.rs`'s. Readers of a replaced segment keep
//! reading its files, which stay open for them, and know the aborted transactions that its index named.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Log, Segments};
use crate::storage::cache_checksums::Checksum;
use crate::storage::error::{StorageError, is_no_space};
use crate::storage::recovery::INDEX_BYTES_MAX;
use crate::storage::replacement::{Relation, Replacement, complete_all};
use crate::storage::segment::{SealedSegment, extension, segment_path};
use crate::storage::txn_index::{self, AbortedTxn};
use crate::storage::vfs::replace_file;
use crate::types::Offset;

/// However many descriptors there are.
const SEGMENTS_MAX: usize = 128;

/// What became of a replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::storage) enum Replaced {
    Done,
    /// All of the old segments are gone, with what was in them.
    Gone,
    /// It was not committed: some of the old segments are gone, or others have their names now, or it is one of those behind that were
    /// made as if such a one were done.
    GivenUp,
}

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

    /// Puts each new segment in the place of the old ones that it covers, all of them together, and says what became of each.
    ///
    /// # Errors
    /// Before a replacement is committed an error changes nothing: those before it are completed, and those behind it given up. After
    /// that, and where a sync failed, the log goes offline, and the next start completes what was committed.
    pub(in crate::storage) fn replace_segments(
        &self,
        replacements: Vec<Replacement>,
        relation: Relation,
    ) -> Result<Vec<Replaced>, StorageError> {
        let _alone = self.restructuring.lock();
        let mut outcome = self.check_usable().and_then(|()| self.keep_producers_behind(&replacements));
        let (mut committed, mut became) = (Vec::new(), Vec::new());
        for replacement in replacements {
            let misses_one = relation == Relation::EachOnThoseBefore && became.last() == Some(&Replaced::GivenUp);
            let one = if outcome.is_err() || misses_one {
                Replaced::GivenUp
            } else if position_of(&self.segments.load().sealed, &replacement.old).is_some() {
                outcome = self.commit(&replacement, relation == Relation::None || committed.is_empty());
                if outcome.is_ok() { Replaced::Done } else { Replaced::GivenUp }
            } else if self.first_segment_base() >= replacement.new.next_offset {
                Replaced::Gone
            } else {
                Replaced::GivenUp
            };
            became.push(one);
            match one {
                Replaced::Done => committed.push(replacement),
                Replaced::Gone | Replaced::GivenUp => replacement.new.discard(self.vfs()),
            }
        }
        // Of a log that has just gone offline the next start completes what was committed.
        if outcome.is_err() {
            self.check_not_poisoned()?;
        }
        self.complete(&committed)?;
        outcome.map(|()| became)
    }

    /// Commits a replacement. Where that fails the first of the old segments stays, and its transaction index may name more by now.
    fn commit(&self, replacement: &Replacement, stands_alone: bool) -> Result<(), StorageError> {
        let (old, new) = (&replacement.old, &replacement.new);
        let (first, last) = (old.first().expect("something is replaced"), old.last().expect("something is replaced"));
        assert_eq!((new.base_offset, new.next_offset), (first.base_offset, last.next_offset), "the same offsets");
        self.pin(old)?;
        let joined = self.join_transaction_indexes(old)?;
        let committed = self.try_commit(replacement, stands_alone, joined.as_deref());
        if committed.is_err()
            && let Some(content) = joined
            && let Err(error) = first.note_transaction_index(&self.dir, Checksum::of(&content))
        {
            tracing::warn!(log = %self.topic_partition, segment = %first.base_offset, %error, "cannot read an index of aborted transactions again: a scrub may take it for damaged");
        }
        committed
    }

    /// Commits a replacement, where it depends on others those durably first: what a tombstone or a marker speaks of lies before it, and
    /// must not come back when that is gone.
    fn try_commit(
        &self,
        Replacement { new, .. }: &Replacement,
        stands_alone: bool,
        joined: Option<&[u8]>,
    ) -> Result<(), StorageError> {
        if let Some(content) = joined {
            let path = segment_path(&self.dir, new.base_offset, extension::TRANSACTION_INDEX);
            replace_file(self.vfs(), &path, content).map_err(StorageError::io("replace", &path))?;
        }
        if !stands_alone {
            self.sync_folder()?;
        }
        new.commit(self.vfs(), &self.dir)
    }

    /// Makes a snapshot durable behind all that is replaced, whose snapshots go: of producers whose batches are deleted nothing else
    /// tells. Before anything is committed, so that a start which completes it finds one too.
    fn keep_producers_behind(&self, replacements: &[Replacement]) -> Result<(), StorageError> {
        let Some(behind) = replacements.iter().map(|replacement| replacement.new.next_offset).max() else {
            return Ok(());
        };
        if self.first_segment_base() == Offset::ZERO || self.keep_producers(behind, &self.segments.load())? {
            return Ok(());
        }
        Err(StorageError::NoSpace { path: segment_path(&self.dir, behind, extension::PRODUCER_SNAPSHOT), bytes: 0 })
    }

    fn complete(&self, committed: &[Replacement]) -> Result<(), StorageError> {
        if committed.is_empty() {
            return Ok(());
        }
        let sizes =
            complete_all(self.vfs(), &self.dir, committed, &self.snapshots).map_err(|error| self.poison_with(error))?;
        for Replacement { new, named_before, .. } in committed {
            self.prune_transaction_index(new.base_offset, |aborted| aborted.first_offset < *named_before)?;
        }
        let mut writer = self.writer.lock();
        let segments = self.segments.load_full();
        let mut sealed = segments.sealed.clone();
        for (Replacement { old, new, .. }, sizes) in committed.iter().zip(sizes) {
            let pool = &self.context.open_files;
            let one = SealedSegment::new(pool, &self.dir, new.base_offset, new.next_offset, sizes, 0);
            // Nothing else touches these files: whoever trims, closes or replaces takes the same lock.
            let at = position_of(&sealed, old).expect("they are where they were");
            sealed.splice(at..at + old.len(), [Arc::new(one)]);
            // They were durable, and are gone.
            let is_one_of_them = |base| old.iter().any(|old| old.base_offset == base);
            writer.unflushed.retain(|unflushed| !is_one_of_them(unflushed.segment.base_offset));
        }
        self.segments.store(Arc::new(Segments { sealed, active: Arc::clone(&segments.active) }));
        Ok(())
    }

    /// Keeps the files of these segments open: others are about to get their names.
    fn pin(&self, old: &[Arc<SealedSegment>]) -> Result<(), StorageError> {
        old.iter().try_for_each(|segment| segment.pin().map_err(StorageError::io("open", segment.file.path())))
    }

    /// What the first segment's index of aborted transactions has to say before the replacement is committed, where that is more than it does:
    /// the names of all, since a name too many does no harm, and one too few would show their records. Who reads the old segments gets
    /// what each of them named.
    fn join_transaction_indexes(&self, old: &[Arc<SealedSegment>]) -> Result<Option<Vec<u8>>, StorageError> {
        let (first, others) = old.split_first().expect("something is replaced");
        let of_first = first.keep_aborted(&self.dir)?;
        let (mut all, mut named) = (of_first.to_vec(), HashSet::<AbortedTxn>::from_iter(of_first.iter().copied()));
        for segment in others {
            all.extend(segment.keep_aborted(&self.dir)?.iter().filter(|name| named.insert(**name)));
        }
        Ok((all.len() > of_first.len()).then(|| txn_index::encode_all(&all)))
    }

    /// Leaves only these names in the index of aborted transactions of a segment that has just taken its place. Not before: until
    /// then the records may be there. A crash in between leaves names too many, or an index that the next start builds again.
    ///
    /// # Errors
    /// The file system fails for another reason than a want of space: the log is offline.
    fn prune_transaction_index(
        &self,
        base: Offset,
        is_named: impl Fn(&AbortedTxn) -> bool,
    ) -> Result<(), StorageError> {
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
        match pruned {
            Err(error) if is_no_space(&error) => {
                tracing::warn!(path = %path.display(), %error, "cannot remove the names of transactions that are gone; they do no harm");
                Ok(())
            }
            pruned => pruned.map_err(|error| self.poison_with(StorageError::io("replace", &path)(error))),
        }
    }
}

/// Where these segments are in the list, all of them and side by side.
fn position_of(sealed: &[Arc<SealedSegment>], old: &[Arc<SealedSegment>]) -> Option<usize> {
    let at = sealed.iter().position(|segment| Arc::ptr_eq(segment, &old[0]))?;
    let there = sealed.get(at..at + old.len())?;
    there.iter().zip(old).all(|(there, old)| Arc::ptr_eq(there, old)).then_some(at)
}
