//! Subscribing: the group assigns partitions of these topics.

use std::sync::Arc;

use super::Consumer;
use crate::group::{Intent, Subscription, TopicPattern};
use crate::{Error, RebalanceListener};

impl Consumer {
    /// Reads these topics together with the other members of the group, in place of what was subscribed to before. Joining
    /// begins now and goes on in the background; partitions are taken over in calls for records.
    ///
    /// # Errors
    /// [`Error::NoGroup`].
    pub fn subscribe(&mut self, topics: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Result<(), Error> {
        self.subscribe_with(topics, ())
    }

    /// The same, with somebody who is told when partitions come and go.
    ///
    /// # Errors
    /// [`Error::NoGroup`].
    pub fn subscribe_with(
        &mut self,
        topics: impl IntoIterator<Item = impl Into<Arc<str>>>,
        listener: impl RebalanceListener,
    ) -> Result<(), Error> {
        self.intend(Subscription::Topics(topics.into_iter().map(Into::into).collect()), listener)
    }

    /// Reads all topics whose whole name matches a regular expression (in the syntax of RE2), also those that are created
    /// later.
    ///
    /// # Errors
    /// [`Error::NoGroup`]; [`Error::Config`] for what is no regular expression.
    pub fn subscribe_pattern(&mut self, pattern: &str) -> Result<(), Error> {
        self.subscribe_pattern_with(pattern, ())
    }

    /// The same, with somebody who is told when partitions come and go.
    ///
    /// # Errors
    /// [`Error::NoGroup`]; [`Error::Config`] for what is no regular expression.
    pub fn subscribe_pattern_with(&mut self, pattern: &str, listener: impl RebalanceListener) -> Result<(), Error> {
        self.intend(Subscription::Pattern(TopicPattern::new(pattern)?), listener)
    }

    /// Under which id the group knows this consumer now; `None` before it has joined, after it has left, and without a group.
    /// It may change when the consumer joins again.
    #[must_use]
    pub fn member_id(&self) -> Option<String> {
        let state = self.group.as_ref()?.shared.state.lock();
        state.identity.as_ref().map(|identity| identity.member_id.clone()).filter(|id| !id.is_empty())
    }

    /// Commits what is processed (if that is automatic), gives all partitions up and leaves the group. The consumer can
    /// subscribe again, or assign partitions by hand.
    pub async fn unsubscribe(&mut self) {
        let Some(shared) = self.group.as_ref().map(|group| group.shared.clone()) else { return };
        if !shared.is_subscribed() {
            return;
        }
        shared.intend(Intent::Leave);
        loop {
            self.hand_over().await;
            if shared.state.lock().left {
                break;
            }
            self.shared.fetched.notified().await;
        }
        shared.intend(Intent::ByHand);
    }

    fn intend(&mut self, subscription: Subscription, listener: impl RebalanceListener) -> Result<(), Error> {
        let shared = self.attendance()?.shared.clone();
        if !shared.is_subscribed() {
            self.current = None;
            self.shared.buffer.lock().assign([]);
        }
        shared.state.lock().listener = Arc::new(listener);
        shared.intend(Intent::Subscribed(subscription));
        Ok(())
    }
}
