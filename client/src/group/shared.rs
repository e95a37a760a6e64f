//! What a consumer's handle, its hand-overs and its group's task have in common.
//!
//! Owns the lock around it and the signals between them. Invariant: while a group assigns the partitions, nothing is put in
//! line to be committed for a partition that is not this member's: the question and the removal are under one lock (which
//! is always taken before the fetch buffer's).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::commit_tracker::{CommitTracker, Settled};
use super::listener::AnyListener;
use super::refusal::Refusals;
use super::step::{Change, Identity};
use super::subscription::Subscription;
use crate::fetcher;
use crate::{Error, GroupConfig, OffsetAndMetadata, TopicPartition};

/// What the caller wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Intent {
    /// Partitions are assigned by hand.
    ByHand,
    Subscribed(Subscription),
    /// Give everything up and leave.
    Leave,
}

/// A hand-over that waits for the caller.
#[derive(Debug)]
pub(crate) struct Handover {
    pub(crate) change: Change,
    /// Told when it is done; dropped when it came to nothing.
    pub(crate) done: oneshot::Sender<()>,
}

pub(crate) struct GroupShared {
    pub(crate) config: GroupConfig,
    pub(crate) refusals: Refusals,
    pub(crate) fetch: Arc<fetcher::Shared>,
    pub(crate) state: Mutex<GroupState>,
    /// There is something for the task to do.
    pub(crate) wake: Notify,
    /// The caller has something to do before the next record: a hand-over, a commit, or to say that it is there.
    pub(crate) attention: AtomicBool,
    /// Counts the calls for records.
    pub(crate) polls: AtomicU64,
}

pub(crate) struct GroupState {
    pub(crate) intent: Intent,
    /// Rises with every change of the intent.
    pub(crate) intent_version: u64,
    pub(crate) commits: CommitTracker,
    pub(crate) handover: Option<Handover>,
    pub(crate) commit_due: bool,
    /// Who commits now.
    pub(crate) identity: Option<Identity>,
    pub(crate) listener: Arc<dyn AnyListener>,
    /// The intent to leave was carried out.
    pub(crate) left: bool,
    /// Why the membership ended for good.
    pub(crate) ended: Option<Error>,
    /// The caller was told so.
    pub(crate) end_told: bool,
}

impl std::fmt::Debug for GroupShared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("GroupShared").field("group_id", &self.config.group_id).finish_non_exhaustive()
    }
}

impl GroupShared {
    pub(crate) fn new(config: GroupConfig, fetch: Arc<fetcher::Shared>) -> Self {
        let state = GroupState {
            intent: Intent::ByHand,
            intent_version: 0,
            commits: CommitTracker::default(),
            handover: None,
            commit_due: false,
            identity: Some(Identity::none()),
            listener: Arc::new(()),
            left: false,
            ended: None,
            end_told: false,
        };
        GroupShared {
            refusals: Refusals::new(&config),
            config,
            fetch,
            state: Mutex::new(state),
            wake: Notify::new(),
            attention: AtomicBool::new(false),
            polls: AtomicU64::new(0),
        }
    }

    /// Makes the caller look, also one that waits for records.
    pub(crate) fn call_attention(&self) {
        self.attention.store(true, Ordering::Release);
        self.fetch.fetched.notify_one();
    }

    /// Changes what is wanted, and has the task look at it.
    pub(crate) fn intend(&self, intent: Intent) {
        let mut state = self.state.lock();
        state.intent = intent;
        state.intent_version += 1;
        state.left = false;
        state.ended = None;
        state.end_told = false;
        drop(state);
        self.wake.notify_one();
    }

    /// # Errors
    /// Why the membership ended, once what was owned is handed over; from the second time on that there is none any more.
    pub(crate) fn end_of_membership(&self) -> Result<(), Error> {
        let mut state = self.state.lock();
        let Some(cause) = state.ended.clone().filter(|_| state.left) else { return Ok(()) };
        match std::mem::replace(&mut state.end_told, true) {
            false => Err(cause),
            true => Err(Error::NoMembership { group: self.config.group_id.as_str().into(), cause: Arc::new(cause) }),
        }
    }

    /// Whether the caller knows that the membership ended.
    pub(crate) fn is_end_told(&self) -> bool {
        self.state.lock().end_told
    }

    pub(crate) fn is_subscribed(&self) -> bool {
        self.state.lock().intent != Intent::ByHand
    }

    /// Puts offsets in line to be committed; returns what tells when they are.
    ///
    /// # Errors
    /// `CommitFailed`, and nothing is put in line, when one of the partitions is not this member's.
    pub(crate) fn offer(&self, offsets: Vec<(TopicPartition, OffsetAndMetadata)>) -> Result<Settled, Error> {
        let mut state = self.state.lock();
        if state.intent != Intent::ByHand {
            let buffer = self.fetch.buffer.lock();
            if offsets.iter().any(|(partition, _)| !buffer.is_assigned(partition)) {
                return Err(self.refusals.commit_failed("a partition went to another member"));
            }
        }
        let partitions: Vec<TopicPartition> = offsets.iter().map(|(partition, _)| partition.clone()).collect();
        state.commits.offer(offsets);
        let settled = state.commits.settled(partitions);
        drop(state);
        self.wake.notify_one();
        Ok(settled)
    }

    /// Puts positions in line to be committed, as far as they moved.
    pub(crate) fn offer_positions(&self, positions: BTreeMap<TopicPartition, OffsetAndMetadata>) {
        self.state.lock().commits.offer_positions(positions);
        self.wake.notify_one();
    }

    /// Waits for all that is in line of these partitions, or of all.
    pub(crate) fn settled(&self, partitions: Option<&BTreeSet<TopicPartition>>) -> Settled {
        let mut state = self.state.lock();
        let partitions = partitions.cloned().unwrap_or_else(|| state.commits.open());
        state.commits.settled(partitions)
    }

    /// Takes partitions away: no record of them is handed out, and nothing of them is committed, from here on.
    pub(crate) fn give_up(&self, partitions: &BTreeSet<TopicPartition>, reason: &'static str) {
        let mut state = self.state.lock();
        self.fetch.buffer.lock().remove(partitions);
        state.commits.forget(partitions, &self.refusals.commit_failed(reason));
    }
}
