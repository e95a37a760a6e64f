//! Which records of a batch stay.
//!
//! Owns the verdict on each record: the newest of its key stays, and so does all that the pass did not map; a tombstone goes when its
//! time has come. Does not own what is then made of the batch.

use ottla_protocol::records::{BatchError, PlainRecords};

use super::newest::{NewestOffsets, Question};
use crate::types::Offset;

/// What a pass knows that decides about the records of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) newest: &'a NewestOffsets,
    /// Keys were mapped up to here.
    pub(super) mapped_to: Offset,
    /// The batch's delete horizon has passed.
    pub(super) tombstones_go: bool,
}

/// The verdicts on the records of one batch; their memory is used again for the next one.
#[derive(Debug, Default)]
pub(super) struct Survivors {
    /// By the record's place in the batch.
    stays: Vec<bool>,
    /// The places of the tombstones.
    tombstones: Vec<usize>,
    /// The places of those of whom only the map of keys knows, and what it is asked about them.
    open: Vec<usize>,
    questions: Vec<Question>,
}

impl Survivors {
    /// Decides about the records of a batch, and forgets those of the one before.
    ///
    /// # Errors
    /// One of the records is broken: nothing is decided.
    pub(super) fn decide(&mut self, records: &PlainRecords<'_>, rules: Rules<'_>) -> Result<(), BatchError> {
        let Survivors { stays, tombstones, open, questions } = self;
        stays.clear();
        tombstones.clear();
        open.clear();
        questions.clear();
        records.for_each(|record| {
            let (place, offset) = (stays.len(), Offset(record.offset));
            if record.is_tombstone {
                tombstones.push(place);
            }
            stays.push(match record.key {
                // What this pass did not map may have older records of its key still: a tombstone must not go before them.
                _ if offset >= rules.mapped_to => true,
                None => false,
                Some(_) if record.is_tombstone && rules.tombstones_go => false,
                Some(key) => rules.newest.is_newest(offset).unwrap_or_else(|| {
                    open.push(place);
                    questions.push(rules.newest.question(key, offset));
                    true
                }),
            });
        })?;
        for (place, is_newest) in open.iter().zip(rules.newest.answers(questions)) {
            stays[*place] = is_newest;
        }
        Ok(())
    }

    /// Whether the record at a place in the batch stays.
    pub(super) fn has(&self, place: usize) -> bool {
        self.stays[place]
    }

    /// How many records stay, and how many go.
    pub(super) fn counts(&self) -> (usize, usize) {
        let stay = self.stays.iter().filter(|stays| **stays).count();
        (stay, self.stays.len() - stay)
    }

    /// Whether a tombstone stays.
    pub(super) fn have_tombstones(&self) -> bool {
        self.tombstones.iter().any(|place| self.stays[*place])
    }
}
