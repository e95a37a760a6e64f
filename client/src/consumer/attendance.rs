//! The consumer's side of its group: what it does in a call for records before the next one is handed out.
//!
//! Owns the hand-over that is under way, and telling the group's task that the caller is there. Invariants: when a hand-over
//! begins, all that was handed out before is processed, and its positions are what is committed; none is handed out until
//! it is done, whether or not the future of a call is dropped meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Consumer;
use crate::Error;
use crate::cluster::{AbortOnDrop, Cluster};
use crate::config::ConsumerConfig;
use crate::group::{Committer, Coordinator, Driver, GroupShared, Handovers};

/// How many times within `max_poll_interval` a call that waits for records says that it is there.
const SIGNS_OF_LIFE: u32 = 4;

/// What a consumer with a group has beside one without.
#[derive(Debug)]
pub(super) struct Attendance {
    pub(super) shared: Arc<GroupShared>,
    pub(super) coordinator: Coordinator,
    pub(super) committer: Committer,
    handovers: Handovers,
    /// The hand-over under way, if there is one.
    handing_over: JoinSet<()>,
    sign_of_life: Duration,
    _driver: AbortOnDrop,
}

impl Attendance {
    pub(super) fn new(
        shared: Arc<GroupShared>,
        cluster: Cluster,
        coordinator: Coordinator,
        config: &ConsumerConfig,
    ) -> Self {
        let driver = Driver::new(shared.clone(), cluster.clone(), coordinator.clone());
        Attendance {
            committer: Committer::new(shared.clone(), config.client.api_timeout),
            handovers: Handovers::new(shared.clone(), cluster, coordinator.clone(), config),
            handing_over: JoinSet::new(),
            sign_of_life: shared.config.max_poll_interval / SIGNS_OF_LIFE,
            coordinator,
            shared,
            _driver: AbortOnDrop(tokio::spawn(driver.run()).abort_handle()),
        }
    }
}

impl Consumer {
    /// Does what the group asks for, and says that the caller is there. Everything handed out so far is processed.
    pub(super) async fn attend(&mut self) {
        let Some(group) = &self.group else { return };
        group.shared.polls.fetch_add(1, Ordering::Relaxed);
        if group.handing_over.is_empty() && !group.shared.attention.swap(false, Ordering::AcqRel) {
            return;
        }
        // The task may wait for just that.
        group.shared.wake.notify_one();
        self.hand_over().await;
        self.commit_if_due();
    }

    /// Waits for something to hand out, and attends to the group meanwhile.
    ///
    /// # Errors
    /// Why nothing will come any more; every time, so that nobody waits for ever.
    pub(super) async fn wait(&mut self) -> Result<(), Error> {
        let Some(group) = &self.group else {
            self.shared.fetched.notified().await;
            return Ok(());
        };
        group.shared.end_of_membership()?;
        // A wait that is over without news is one more call: that the caller is there has to be seen.
        let _ = tokio::time::timeout(group.sign_of_life, self.shared.fetched.notified()).await;
        self.attend().await;
        Ok(())
    }

    /// Whether the caller knows that no record comes any more.
    pub(super) fn is_end_told(&self) -> bool {
        self.group.as_ref().is_some_and(|group| group.shared.is_end_told())
    }

    /// Carries out the hand-over that waits, or waits for the one under way.
    pub(super) async fn hand_over(&mut self) {
        if self.group.as_ref().is_some_and(|group| group.handing_over.is_empty()) {
            self.begin_handover();
        }
        let Some(group) = &mut self.group else { return };
        while let Some(done) = group.handing_over.join_next().await {
            if let Err(error) = done
                && error.is_panic()
            {
                // The listener's panic is the caller's.
                std::panic::resume_unwind(error.into_panic());
            }
        }
    }

    fn begin_handover(&mut self) {
        let Some(handover) = self.group.as_ref().and_then(|group| group.shared.state.lock().handover.take()) else {
            return;
        };
        self.put_back();
        let positions = self.shared.buffer.lock().positions();
        if let Some(group) = &mut self.group {
            group.handing_over.spawn(group.handovers.clone().run(handover, positions));
        }
    }

    fn commit_if_due(&mut self) {
        let Some(group) = &self.group else { return };
        if std::mem::take(&mut group.shared.state.lock().commit_due) {
            group.shared.offer_positions(self.positions());
        }
    }
}
