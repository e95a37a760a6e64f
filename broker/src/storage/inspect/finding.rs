//! What is wrong with a file, in words for a person: what, where, and what a start of the broker makes of it.

use std::path::PathBuf;

use crate::types::Offset;

/// What is at stake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    /// Records are lost, or are refused to readers.
    Records,
    /// A file is wrong that can be made again from the records: nothing is lost.
    Cache,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is at stake.
    pub kind: FindingKind,
    /// The file, or the folder.
    pub path: PathBuf,
    /// The first byte that is wrong, where that can be told.
    pub position: Option<u64>,
    /// The byte behind the last one that is wrong.
    pub end_position: Option<u64>,
    /// The offsets that are concerned, the second one excluded.
    pub offsets: Option<(Offset, Offset)>,
    /// What is wrong.
    pub what: String,
    /// What the broker does about it at its next start, or when somebody reads there.
    pub remedy: &'static str,
}

/// What becomes of damage with sound batches behind it.
pub(super) const REFUSED: &str =
    "kept; readers of these offsets get CORRUPT_MESSAGE, those before and behind are served";

impl Finding {
    /// Whether it is damage that stays where it is, and is refused to readers.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.remedy == REFUSED
    }

    pub(super) fn cache(path: PathBuf, what: impl Into<String>, remedy: &'static str) -> Finding {
        Finding {
            kind: FindingKind::Cache,
            path,
            position: None,
            end_position: None,
            offsets: None,
            what: what.into(),
            remedy,
        }
    }

    pub(super) fn records(path: PathBuf, what: impl Into<String>, remedy: &'static str) -> Finding {
        Finding { kind: FindingKind::Records, ..Finding::cache(path, what, remedy) }
    }

    pub(super) fn at(self, position: u64) -> Finding {
        Finding { position: Some(position), ..self }
    }

    pub(super) fn bytes(self, position: u64, end_position: u64) -> Finding {
        Finding { position: Some(position), end_position: Some(end_position), ..self }
    }

    pub(super) fn offsets(self, from: Offset, to: Offset) -> Finding {
        Finding { offsets: Some((from, to)), ..self }
    }
}
