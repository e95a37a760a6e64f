//! Where long polls wait: each partition keeps the list of fetches that wait for it to change.
//!
//! Owns only the waiting, not the condition: a woken fetch looks at its partitions again and decides for itself.
//! Invariant: a fetch registers before it looks, so that a change between the look and the wait is never missed; and a
//! registration goes away with the fetch, also when its connection is dropped in the middle.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The fetches that wait for one partition.
#[derive(Debug, Default)]
pub(crate) struct Purgatory {
    /// Kept beside the list so that an append with nobody waiting costs one atomic load.
    waiting_count: AtomicUsize,
    waiting: Mutex<Vec<Arc<Notify>>>,
}

impl Purgatory {
    /// Wakes every fetch that waits here. Called after each change that a fetch could be waiting for.
    pub(crate) fn wake_all(&self) {
        if self.waiting_count.load(Ordering::SeqCst) == 0 {
            return;
        }
        for fetch in self.waiting.lock().iter() {
            fetch.notify_one();
        }
    }

    fn enter(&self, fetch: &Arc<Notify>) {
        let mut waiting = self.waiting.lock();
        waiting.push(Arc::clone(fetch));
        self.waiting_count.store(waiting.len(), Ordering::SeqCst);
    }

    fn leave(&self, fetch: &Arc<Notify>) {
        let mut waiting = self.waiting.lock();
        if let Some(position) = waiting.iter().position(|other| Arc::ptr_eq(other, fetch)) {
            waiting.swap_remove(position);
        }
        self.waiting_count.store(waiting.len(), Ordering::SeqCst);
    }
}

/// Something with a purgatory to wait in.
pub(crate) trait Awaited {
    /// The list to wait in.
    fn purgatory(&self) -> &Purgatory;
}

/// One fetch that waits for any of several partitions. Leaves all of them when dropped.
pub(crate) struct Waiter<P: Awaited> {
    notify: Arc<Notify>,
    partitions: Vec<Arc<P>>,
}

impl<P: Awaited> Waiter<P> {
    /// Registers with every partition; what changes from here on wakes [`Waiter::changed`].
    pub(crate) fn register(partitions: Vec<Arc<P>>) -> Self {
        let notify = Arc::new(Notify::new());
        for partition in &partitions {
            partition.purgatory().enter(&notify);
        }
        Self { notify, partitions }
    }

    /// Completes when a partition changed since the registration or since the last call.
    pub(crate) async fn changed(&self) {
        self.notify.notified().await;
    }
}

impl<P: Awaited> Drop for Waiter<P> {
    fn drop(&mut self) {
        for partition in &self.partitions {
            partition.purgatory().leave(&self.notify);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Place(Purgatory);

    impl Awaited for Place {
        fn purgatory(&self) -> &Purgatory {
            &self.0
        }
    }

    #[tokio::test]
    async fn a_change_between_registration_and_wait_is_not_missed() {
        let place = Arc::new(Place::default());
        let waiter = Waiter::register(vec![Arc::clone(&place)]);
        place.0.wake_all();
        waiter.changed().await;
    }

    #[tokio::test]
    async fn any_of_several_partitions_wakes_the_fetch() {
        let places = [Arc::new(Place::default()), Arc::new(Place::default())];
        let waiter = Waiter::register(places.to_vec());
        let second = Arc::clone(&places[1]);
        let waiting = tokio::spawn(async move { waiter.changed().await });
        second.0.wake_all();
        waiting.await.unwrap();
    }

    #[test]
    fn a_dropped_fetch_leaves_every_partition() {
        let place = Arc::new(Place::default());
        let stays = Waiter::register(vec![Arc::clone(&place)]);
        drop(Waiter::register(vec![Arc::clone(&place), Arc::clone(&place)]));
        assert_eq!(place.0.waiting.lock().len(), 1);
        drop(stays);
        assert_eq!(place.0.waiting_count.load(Ordering::SeqCst), 0);
    }
}
