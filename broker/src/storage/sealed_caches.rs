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

    /// Whether one of the files was found not to be what it should be.
    pub(super) fn are_damaged(&self) -> bool {
        matches!(*self.state.lock(), State::Damaged(_))
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
        let (is_sound, is_damaged) = match *self.state.lock() {
            State::WrittenHere => (true, false),
            State::Known(checksums) => {
                let bytes = read()?;
                let fits = checksums.time_index.is_of(&bytes);
                // Zeros fit a segment of which every record has the time 0, and are what a power cut leaves of the index of another
                // that has taken its place since: they tell nothing.
                let is_blank = !bytes.is_empty() && bytes.iter().all(|byte| *byte == 0);
                (fits && !is_blank, !fits)
            }
            State::Damaged(_) => (false, true),
        };
        if is_damaged {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::cache_checksums::Checksum;

    fn on_record(time_index: &[u8]) -> SealedCaches {
        SealedCaches::on_record(SegmentChecksums {
            time_index: Checksum::of(time_index),
            ..SegmentChecksums::default()
        })
    }

    #[test]
    fn a_blank_time_index_tells_nothing_and_is_no_damage() {
        // As a segment of this name has it whose only record has the time 0, and as a power cut leaves that of the next one.
        let caches = on_record(&[0; 12]);
        assert!(!caches.time_index_is_sound(|| Ok(vec![0; 12])).unwrap());
        assert!(!caches.are_damaged());
        assert!(caches.checksums(|| Err(io::ErrorKind::NotFound.into())).is_some(), "it stays on record");
        let (empty, other) = (on_record(&[]), on_record(&[7; 12]));
        assert!(empty.time_index_is_sound(|| Ok(Vec::new())).unwrap());
        assert!(other.time_index_is_sound(|| Ok(vec![7; 12])).unwrap());
        let damaged = on_record(&[7; 12]);
        assert!(!damaged.time_index_is_sound(|| Ok(vec![0; 12])).unwrap() && damaged.are_damaged());
        assert!(damaged.checksums(|| Err(io::ErrorKind::NotFound.into())).is_none());
    }
}
