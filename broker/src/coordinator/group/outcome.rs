//! What a request or a deadline comes to: an answer, records to append, and answers for others who wait.
//!
//! Owns the shapes only. The runtime appends the records, replays them, and lets every answer of the same outcome go once
//! they are durable; when they cannot be appended, none of the answers goes out as it stands (see [`WaitingAnswer::refuse`]).

use std::sync::Arc;

use super::classic::{JoinAnswer, JoinGroup, SyncAnswer};
use super::error::GroupError;
use super::group_record::GroupRecord;

/// Stands for somebody who waits for an answer; the runtime knows whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Token(pub(crate) u64);

/// An answer to a request that may wait for other members.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum WaitingAnswer {
    /// To JoinGroup.
    Join(JoinAnswer),
    /// To SyncGroup.
    Sync(SyncAnswer),
}

impl WaitingAnswer {
    /// The answer in place of this one when the records that it rests on could not be written.
    pub(crate) fn refuse(&mut self, error: GroupError) {
        match self {
            Self::Join(answer) => *answer = JoinAnswer::error(error, &answer.member_id),
            Self::Sync(answer) => *answer = SyncAnswer::error(error),
        }
    }
}

/// What is done once it is known whether the records of an outcome are in the log: after their replay, or when they cannot be
/// appended.
#[derive(Debug)]
pub(crate) enum FollowUp {
    /// The record makes the group's generation one with an assignment: without it there is to be another one.
    Assigned(Arc<str>),
    /// The records make this group a classic one: its members are asked to join.
    Downgraded(Arc<str>),
    /// The records make this group a consumer group: without them nothing is remembered of its members.
    Upgraded(Arc<str>),
    /// The records make room for another group of that name, which this member joins.
    Join(Box<JoinGroup>, Token),
}

/// What is to be done beside answering.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// To be appended as one batch, all or none, and then replayed in this order.
    pub(crate) records: Vec<GroupRecord>,
    /// What is to be done then.
    pub(crate) follow_up: Option<FollowUp>,
    /// For those who waited. Whoever is named here is named once and waits no longer.
    pub(crate) answers: Vec<(Token, WaitingAnswer)>,
}

impl Effects {
    /// Lets go of somebody who waits for JoinGroup.
    pub(crate) fn answer_join(&mut self, token: Token, answer: JoinAnswer) {
        self.answers.push((token, WaitingAnswer::Join(answer)));
    }

    /// Lets go of somebody who waits for SyncGroup.
    pub(crate) fn answer_sync(&mut self, token: Token, answer: SyncAnswer) {
        self.answers.push((token, WaitingAnswer::Sync(answer)));
    }
}

/// What a request came to.
#[derive(Debug)]
pub(crate) struct Outcome<A> {
    /// The answer, valid when the records are durable.
    pub(crate) answer: A,
    /// What comes with it.
    pub(crate) effects: Effects,
}

impl<A> Outcome<A> {
    /// An answer that changes nothing.
    pub(crate) fn of(answer: A) -> Self {
        Self { answer, effects: Effects::default() }
    }
}
