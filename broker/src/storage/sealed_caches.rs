//! What is known of the indexes of a sealed segment: written by this process, on record from before, or damaged.
//!
//! Owns the memory of it, and that a file which lay there at the start is held against its checksum once, before it is first
//! relied upon. Does not own the files, nor their rebuilding (recovery does it, when nothing is on record for the segment).
//!
//! Invariant: once damage was found nothing is on record any more, so that the next start builds the indexes again.

use std::io;
use std::sync::OnceLock;

use parking_lot::Mutex;

use super::cache_checksums::{Checksum, SegmentChecksums};

/// The indexes of one sealed segment.
#[derive(Debug, Default)]
pub(super) struct SealedCaches {
    state: Mutex<State>,
    /// Whether the time index fits its checksum, once it was looked at.
    time_index_is_sound: OnceLock<bool>,
}

#[derive(Debug, Clone, Copy, Default)]
enum State {
    /// This process wrote them, or recovery built them; nobody has asked yet what is in them.
    #[default]
    WrittenHere,
    Known(SegmentChecksums),
    /// One of them is not what it was; what they were, where that is known.
    Damaged(Option<SegmentChecksums>),
}

impl SealedCaches {
    /// Files that lay there at the start.
    pub(super) fn on_record(checksums: SegmentChecksums) -> SealedCaches {
        SealedCaches { state: Mutex::new(State::Known(checksums)), time_index_is_sound: OnceLock::new() }
    }

    /// One of the files is not what it should be.
    pub(super) fn distrust(&self) {
        let mut state = self.state.lock();
        *state = State::Damaged(state.known());
    }

    /// What the files had when they were sound, as far as it is known.
    pub(super) fn last_known(&self) -> Option<SegmentChecksums> {
        self.state.lock().known()
    }

    /// The transaction index was written anew, and has this.
    pub(super) fn note_transaction_index(&self, transaction_index: Checksum) {
        match &mut *self.state.lock() {
            State::Known(known) | State::Damaged(Some(known)) => known.transaction_index = transaction_index,
            State::WrittenHere | State::Damaged(None) => {}
        }
    }

    /// Whether the time index, which `read` brings, may be relied upon.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn time_index_is_sound(&self, read: impl FnOnce() -> io::Result<Vec<u8>>) -> io::Result<bool> {
        if let Some(is_sound) = self.time_index_is_sound.get() {
            return Ok(*is_sound);
        }
        let is_sound = match *self.state.lock() {
            State::WrittenHere => true,
            State::Known(checksums) => checksums.time_index.is_of(&read()?),
            State::Damaged(_) => false,
        };
        if !is_sound {
            self.distrust();
        }
        Ok(*self.time_index_is_sound.get_or_init(|| is_sound))
    }

    /// What is to be put on record; `read` finds out what this process has written.
    pub(super) fn checksums(&self, read: impl FnOnce() -> io::Result<SegmentChecksums>) -> Option<SegmentChecksums> {
        let mut state = self.state.lock();
        if let State::WrittenHere = *state {
            // Beside a search, which has found this out without them.
            let _sound = self.time_index_is_sound.set(true);
            *state = read().map_or(State::Damaged(None), State::Known);
        }
        match *state {
            State::Known(checksums) => Some(checksums),
            State::WrittenHere | State::Damaged(_) => None,
        }
    }
}

impl State {
    fn known(self) -> Option<SegmentChecksums> {
        match self {
            State::WrittenHere => None,
            State::Known(checksums) => Some(checksums),
            State::Damaged(checksums) => checksums,
        }
    }
}
