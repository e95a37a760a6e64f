//! How much an answer about groups may take in memory.
//!
//! A request can name one group, or one partition of it, any number of times, and each is answered, as with Kafka: a few bytes
//! ask for megabytes. Owns the bound. Invariant: what has been refused once is refused to the end of the request, so that looking is
//! bounded with the answer.

use std::cell::Cell;

use crate::coordinator::group::GroupError;

/// What one answer may take: librdkafka takes none of more than 100 MB. A thousand groups of sixty members that say a kilobyte each
/// fit in.
const BYTES_MAX: usize = 64 << 20;
/// What each thing that is told takes beside its texts.
const THING_BYTES: usize = 128;

/// What is left for an answer in the making.
#[derive(Debug)]
pub(super) struct AnswerBytes(Cell<usize>);

impl AnswerBytes {
    /// Of an answer that says nothing yet.
    pub(super) fn new() -> Self {
        Self(Cell::new(BYTES_MAX))
    }

    /// Takes what one thing needs, a group or a member or a partition, with texts of so many bytes.
    ///
    /// # Errors
    /// The answer would be too large.
    pub(super) fn take(&self, text_bytes: usize) -> Result<(), GroupError> {
        let left = self.0.get().checked_sub(THING_BYTES.saturating_add(text_bytes));
        self.0.set(left.unwrap_or(0));
        left.map(drop).ok_or(GroupError::AnswerTooLarge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_ends_the_answer() {
        let bytes = AnswerBytes::new();
        assert_eq!(bytes.take(BYTES_MAX / 2), Ok(()));
        assert_eq!(bytes.take(BYTES_MAX / 2), Err(GroupError::AnswerTooLarge));
        assert_eq!(bytes.take(0), Err(GroupError::AnswerTooLarge));
        let bytes = AnswerBytes::new();
        let things = std::iter::repeat_with(|| bytes.take(0)).take_while(Result::is_ok).count();
        assert_eq!(things, BYTES_MAX / THING_BYTES);
    }
}
