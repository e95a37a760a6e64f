//! A coordinator's refusal as an error with the group's name in it.

use std::sync::Arc;

use ottla_protocol::ErrorCode;

use crate::{Error, GroupConfig};

/// Makes the errors of one group.
#[derive(Debug, Clone)]
pub(crate) struct Refusals {
    group: Arc<str>,
}

impl Refusals {
    pub(crate) fn new(config: &GroupConfig) -> Self {
        Refusals { group: config.group_id.as_str().into() }
    }

    /// The membership ended for good with this code.
    pub(crate) fn of(&self, code: ErrorCode) -> Error {
        self.with(code, None)
    }

    /// The same, with the broker's own words.
    pub(crate) fn with(&self, code: ErrorCode, message: Option<String>) -> Error {
        Error::GroupMembership { group: self.group.clone(), code, message: message.unwrap_or_default() }
    }

    /// What was not committed, because the partitions are not this member's (any more).
    pub(crate) fn commit_failed(&self, reason: &'static str) -> Error {
        Error::CommitFailed { group: self.group.clone(), reason }
    }
}
