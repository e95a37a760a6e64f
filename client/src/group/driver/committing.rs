//! The commits in line on their way: when they go, and what follows from the answer.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::ErrorCode;

use super::super::commit_tracker::Outcome;
use super::super::member::Member;
use super::super::offset_calls::commit_offsets;
use super::super::step::Identity;
use super::{Driver, Event};
use crate::clock::Instant;
use crate::{Error, TopicPartition};

impl Driver {
    /// Sends what is in line to be committed, unless a commit is on its way; returns when it may be.
    pub(super) fn commit(&mut self, now: Instant) -> Option<Instant> {
        let mut state = self.shared.state.lock();
        let at = state.commits.ready_at(now)?;
        let identity = state.identity.clone()?;
        if at > now {
            return Some(at);
        }
        let offsets = state.commits.take();
        drop(state);
        let (coordinator, group) = (self.coordinator.clone(), self.shared.config.group_id.clone());
        let timeout = self.cluster.config().request_timeout;
        self.events.spawn(async move {
            let outcome = commit_offsets(&coordinator, &group, &identity, &offsets, timeout).await;
            Event::Committed(identity, outcome)
        });
        None
    }

    /// Asks the caller for its positions at each interval.
    pub(super) fn call_for_commit(&mut self, now: Instant) -> Option<Instant> {
        if !self.shared.config.enable_auto_commit {
            return None;
        }
        if self.auto_commit_at <= now {
            self.auto_commit_at = now + self.shared.config.auto_commit_interval;
            self.shared.state.lock().commit_due = true;
            self.shared.call_attention();
        }
        Some(self.auto_commit_at)
    }

    pub(super) fn committed(
        &mut self,
        now: Instant,
        identity: &Identity,
        outcome: Result<BTreeMap<TopicPartition, Error>, Error>,
    ) {
        let codes: BTreeSet<ErrorCode> =
            outcome.as_ref().map(|refusals| refusals.values().filter_map(Error::code).collect()).unwrap_or_default();
        let moved_on = self.member.as_ref().is_some_and(|member| member.has_moved_on(identity));
        if let Some(Member::Classic(member)) = &mut self.member {
            if codes.contains(&ErrorCode::RebalanceInProgress) {
                member.request_rejoin("a commit found the group rebalancing");
            }
            let fenced = [ErrorCode::UnknownMemberId, ErrorCode::IllegalGeneration];
            if !moved_on && fenced.iter().any(|code| codes.contains(code)) {
                member.fenced_by_commit();
            }
        }
        if codes.contains(&ErrorCode::FencedInstanceId) {
            self.end(self.shared.refusals.of(ErrorCode::FencedInstanceId));
        }
        let gone = self.shared.refusals.commit_failed("the group does not know this member any more");
        let outcome_of = |partition: &TopicPartition| match &outcome {
            Err(error) if error.is_retriable() => Outcome::Retry(error.clone()),
            Err(error) => Outcome::Failed(error.clone()),
            Ok(refusals) => match refusals.get(partition) {
                None => Outcome::Committed,
                Some(refusal) => judge(refusal, moved_on, &gone),
            },
        };
        let backoff = &self.backoff;
        let retry_at = |failures| now + backoff.after(failures);
        let unheard = self.shared.state.lock().commits.answered(outcome_of, retry_at);
        if let Some((partition, error)) = unheard.into_iter().next() {
            tracing::warn!(%partition, %error, "offsets were not committed");
            if !matches!(error, Error::CommitFailed { .. }) {
                self.shared.fetch.buffer.lock().report(error);
                self.shared.fetch.fetched.notify_one();
            }
        }
    }
}

/// What follows from a refused commit.
fn judge(refusal: &Error, moved_on: bool, gone: &Error) -> Outcome {
    match refusal.code() {
        // What may come right when the rebalance is over, or with the epoch that the next heartbeat brings.
        Some(ErrorCode::RebalanceInProgress | ErrorCode::StaleMemberEpoch) => Outcome::Retry(refusal.clone()),
        Some(ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch) => {
            if moved_on {
                Outcome::Retry(refusal.clone())
            } else {
                Outcome::Failed(gone.clone())
            }
        }
        // A topic that was read and is unknown now was deleted: a repetition would hold up a hand-over in vain.
        Some(ErrorCode::UnknownTopicOrPartition) => Outcome::Failed(refusal.clone()),
        _ if refusal.is_retriable() => Outcome::Retry(refusal.clone()),
        _ => Outcome::Failed(refusal.clone()),
    }
}
