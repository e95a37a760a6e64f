//! A coordinator's refusals: as an error with the group's name in it, or as a line in the log where it is asked again.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_protocol::ErrorCode;

use crate::{Error, GroupConfig};

/// Makes the errors of one group, and says what holds a member up.
#[derive(Debug, Clone)]
pub(crate) struct Refusals {
    group: Arc<str>,
    /// What was refused for now, and why, as far as that was logged since the member last got on.
    logged: BTreeSet<(&'static str, ErrorCode)>,
}

impl Refusals {
    pub(crate) fn new(config: &GroupConfig) -> Self {
        Refusals { group: config.group_id.as_str().into(), logged: BTreeSet::new() }
    }

    /// The membership ended for good with this code.
    pub(crate) fn of(&self, code: ErrorCode) -> Error {
        self.with(code, None)
    }

    /// The same, with the broker's own words.
    pub(crate) fn with(&self, code: ErrorCode, message: Option<String>) -> Error {
        Error::GroupMembership { group: self.group.clone(), code, message: message.unwrap_or_default() }
    }

    /// A `request` was refused for now and will be repeated: says so, once for each cause, since that may go on for long.
    pub(crate) fn warn_of(&mut self, request: &'static str, code: ErrorCode) {
        if self.logged.insert((request, code)) {
            tracing::warn!(group = &*self.group, request, %code, "the group's coordinator refuses for now, will be repeated");
        }
    }

    /// The member gets on: what holds it up from here on is news.
    pub(crate) fn are_over(&mut self) {
        self.logged.clear();
    }

    /// What was not committed, because the partitions are not this member's (any more).
    pub(crate) fn commit_failed(&self, reason: &'static str) -> Error {
        Error::CommitFailed { group: self.group.clone(), reason }
    }
}
