//! Ids that were handed out to joiners and not used yet (KIP-394), over all groups of a shard.
//!
//! Owns their order and what they take together. Whose an id is, and until when it may be used, is the group's to know
//! (`classic/join.rs`). Invariant: an id stands here once, for as long as its group has it as one that is out.

use std::collections::BTreeMap;
use std::sync::Arc;

/// What the ids of one shard may take that nobody has joined with: joining costs a stranger nothing, and an id may be used for the
/// length of a session, which the stranger chooses. A client uses its id at once, so those who come back find room for a
/// thousand joiners at a time.
const BYTES_MAX: usize = 2 << 20;
/// What an id takes beside its text: its places in three queues, and the group that may be there for it alone.
const ID_BYTES: usize = 2_048;

/// An id, by the order in which it was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PendingPlace(u64);

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct PendingMembers {
    /// The group and the id.
    queue: BTreeMap<PendingPlace, (Arc<str>, Arc<str>)>,
    next: u64,
    bytes: usize,
}

impl PendingMembers {
    /// Takes note of an id.
    pub(super) fn add(&mut self, group: &Arc<str>, id: &Arc<str>) -> PendingPlace {
        let place = PendingPlace(self.next);
        self.next += 1;
        self.bytes += size_bytes(id);
        self.queue.insert(place, (Arc::clone(group), Arc::clone(id)));
        place
    }

    /// An id was used or taken back.
    pub(super) fn remove(&mut self, place: PendingPlace) {
        if let Some((_, id)) = self.queue.remove(&place) {
            self.bytes -= size_bytes(&id);
        }
    }

    /// The group and the id that are to be taken back next, while all take more than they may.
    pub(super) fn one_too_many(&self) -> Option<(Arc<str>, Arc<str>)> {
        let oldest = self.queue.first_key_value().filter(|_| self.bytes > BYTES_MAX);
        oldest.map(|(_, oldest)| oldest.clone())
    }

    /// How many ids are out.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}

fn size_bytes(id: &str) -> usize {
    ID_BYTES + id.len()
}
