//! Which records of a batch stay.
//!
//! Owns the verdict on each record: the newest of its key stays, and so does all that the pass did not map; a tombstone goes when its
//! time has come. Does not own what is then made of the batch.

use ottla_protocol::records::{BatchError, PlainRecords, RecordPlace};

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

/// Records that are decided about together, which bounds memory whatever is in a batch; enough to ask the map for many keys at once.
const TOGETHER: usize = 1_024;

/// The verdicts on the records of one batch. Memory is used again for the next one.
#[derive(Debug, Default)]
pub(super) struct Survivors {
    /// Records that may stay and were not kept yet, in order.
    candidates: Vec<Candidate>,
    /// Which candidates only the map of keys knows of, and what it is asked about them.
    open: Vec<usize>,
    questions: Vec<Question>,
}

#[derive(Debug)]
struct Candidate {
    place: RecordPlace,
    is_tombstone: bool,
    stays: bool,
}

/// What became of the records of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) stay: usize,
    pub(super) go: usize,
    /// A tombstone stays.
    pub(super) has_tombstones: bool,
}

impl Survivors {
    /// Decides about the records of a batch, and calls `keep` for each that stays, in order.
    ///
    /// # Errors
    /// One of the records is broken; about those before it was decided.
    pub(super) fn decide(
        &mut self,
        records: &PlainRecords<'_>,
        rules: Rules<'_>,
        mut keep: impl FnMut(RecordPlace),
    ) -> Result<Verdict, BatchError> {
        let (mut total, mut verdict) = (0, Verdict::default());
        self.candidates.clear();
        self.open.clear();
        self.questions.clear();
        records.for_each(|record| {
            total += 1;
            let offset = Offset(record.offset);
            let stays = match record.key {
                // What this pass did not map may have older records of its key still: a tombstone must not go before them.
                _ if offset >= rules.mapped_to => true,
                None => false,
                Some(_) if record.is_tombstone && rules.tombstones_go => false,
                Some(key) => rules.newest.is_newest(offset).unwrap_or_else(|| {
                    self.open.push(self.candidates.len());
                    self.questions.push(rules.newest.question(key, offset));
                    true
                }),
            };
            if stays {
                self.candidates.push(Candidate { place: record.place, is_tombstone: record.is_tombstone, stays });
                if self.candidates.len() == TOGETHER {
                    self.settle(rules.newest, &mut verdict, &mut keep);
                }
            }
        })?;
        self.settle(rules.newest, &mut verdict, &mut keep);
        verdict.go = total - verdict.stay;
        Ok(verdict)
    }

    /// Keeps the candidates, but for those of which the map says that they are not the newest of their key.
    fn settle(&mut self, newest: &NewestOffsets, verdict: &mut Verdict, keep: &mut impl FnMut(RecordPlace)) {
        for (candidate, is_newest) in self.open.iter().zip(newest.answers(&self.questions)) {
            self.candidates[*candidate].stays = is_newest;
        }
        self.open.clear();
        self.questions.clear();
        for candidate in self.candidates.drain(..).filter(|candidate| candidate.stays) {
            keep(candidate.place);
            verdict.stay += 1;
            verdict.has_tombstones |= candidate.is_tombstone;
        }
    }
}
