//! What compaction has to know of transactions: whose records were aborted, and which markers are still needed.
//!
//! Owns the walk over the batches of a log from its start. Records of aborted transactions go at once. A marker is needed while
//! a record of its transaction is there; then it gets a delete horizon, as a tombstone does, so that a consumer who has seen
//! the records before sees the marker too (KIP-534). The transaction index names an aborted transaction while a record of it may
//! be there.

use std::collections::{HashMap, HashSet};

use crate::storage::batch_header::BatchHeader;
use crate::storage::txn_index::AbortedTxn;
use crate::types::{Offset, ProducerId};

/// The transactions of a log, as far as a walk has come.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// First offset, and that of the marker.
    aborted: HashMap<ProducerId, Vec<(Offset, Offset)>>,
    /// Those who have records, since their last marker, that stay.
    with_records: HashSet<ProducerId>,
    /// Batches were passed over, so nobody knows what is needed.
    all_are_needed: bool,
    /// From here to where the walk is, records of aborted transactions are gone.
    cleaned_from: Offset,
}

impl Transactions {
    /// At the start of a log with these aborted transactions.
    pub(super) fn new(aborted: &[AbortedTxn]) -> Self {
        let mut by_producer: HashMap<ProducerId, Vec<(Offset, Offset)>> = HashMap::new();
        for txn in aborted {
            by_producer.entry(txn.producer_id).or_default().push((txn.first_offset, txn.last_offset));
        }
        Transactions { aborted: by_producer, ..Transactions::default() }
    }

    /// Whether the records of a batch belong to an aborted transaction.
    pub(super) fn is_aborted(&self, header: &BatchHeader) -> bool {
        let within = |&(first, last): &(Offset, Offset)| (first..=last).contains(&header.base_offset);
        header.is_transactional()
            && !header.is_control()
            && self.aborted.get(&header.producer_id).is_some_and(|txns| txns.iter().any(within))
    }

    /// Of aborted transactions whose markers the walk has passed, those that began before this offset may have records left.
    pub(super) fn may_have_records_before(&self) -> Offset {
        self.cleaned_from
    }

    /// A batch of a transaction keeps at least one record.
    pub(super) fn records_stay(&mut self, header: &BatchHeader) {
        if header.is_transactional() {
            self.with_records.insert(header.producer_id);
        }
    }

    /// At a marker: whether a record of its transaction is still there.
    pub(super) fn marker_is_needed(&mut self, header: &BatchHeader) -> bool {
        self.with_records.remove(&header.producer_id) || self.all_are_needed
    }

    /// The walk goes on behind segments that were not looked at.
    pub(super) fn pass_over(&mut self, to: Offset) {
        self.all_are_needed = true;
        self.leave_as_it_is(to);
    }

    /// Whether the walk has passed over segments.
    pub(super) fn have_passed_over(&self) -> bool {
        self.all_are_needed
    }

    /// What lies before this offset stays as it is.
    pub(super) fn leave_as_it_is(&mut self, to: Offset) {
        self.cleaned_from = to;
    }
}
