//! What a consumer may see of transactions, batch by batch of one answer.
//!
//! Pure. Owns the reading of markers. Invariant: batches are shown to it in the order of their offsets.

use std::collections::HashSet;

use ottla_protocol::messages::fetch::AbortedTransaction;
use ottla_protocol::records::BatchView;

use crate::config::IsolationLevel;

/// The control record that ends an aborted transaction.
const ABORT_MARKER: [u8; 2] = [0, 0];
/// More than a control batch's records take.
const CONTROL_BYTES_MAX: usize = 64 * 1024;

/// Which batches of an answer a consumer may see: none that holds markers, and with `ReadCommitted` none of a transaction
/// that was aborted (the broker names those that touch the answer, by producer and first offset).
pub(crate) struct Transactions {
    committed_only: bool,
    /// Those not yet reached, the last first.
    ahead: Vec<AbortedTransaction>,
    /// Producers inside an aborted transaction.
    aborted: HashSet<i64>,
}

impl Transactions {
    pub(crate) fn new(isolation_level: IsolationLevel, aborted: Option<Vec<AbortedTransaction>>) -> Self {
        let mut ahead = aborted.unwrap_or_default();
        ahead.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        let committed_only = isolation_level == IsolationLevel::ReadCommitted;
        Transactions { committed_only, ahead, aborted: HashSet::new() }
    }

    pub(crate) fn is_visible(&mut self, view: &BatchView) -> bool {
        if !self.committed_only {
            return !view.is_control();
        }
        while let Some(next) = self.ahead.pop_if(|next| next.first_offset <= view.last_offset()) {
            self.aborted.insert(next.producer_id);
        }
        if view.is_control() {
            if is_abort(view) {
                self.aborted.remove(&view.producer_id());
            }
            return false;
        }
        !(view.is_transactional() && self.aborted.contains(&view.producer_id()))
    }
}

fn is_abort(control: &BatchView) -> bool {
    let record = control.records(CONTROL_BYTES_MAX).ok().and_then(|mut records| records.next());
    let key = record.and_then(Result::ok).and_then(|record| record.key);
    // The key is the version of the marker's format and its type.
    key.as_ref().and_then(|key| key.get(2..4)) == Some(&ABORT_MARKER)
}
