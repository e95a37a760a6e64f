//! What the members have come to, seen from outside, and when each of them is to heartbeat and to leave.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// A handle for the members and for the one who watches them.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    shared: Arc<Shared>,
    /// Members of this number and above leave.
    leave_from: watch::Receiver<usize>,
}

#[derive(Debug)]
struct Shared {
    interval: Duration,
    leave_from: watch::Sender<usize>,
    assigned: Mutex<HashSet<usize>>,
    heard: AtomicU64,
    owned: Mutex<Vec<Owned>>,
    changed: Notify,
}

/// What a member of a consumer group has, and since which epoch.
#[derive(Debug, Clone, Copy, Default)]
struct Owned {
    epoch: i32,
    partitions: usize,
}

impl Progress {
    /// Members that heartbeat at this interval until they are told to leave.
    pub(crate) fn new(members: usize, interval: Duration) -> Self {
        let (sender, leave_from) = watch::channel(usize::MAX);
        let shared = Shared {
            interval,
            leave_from: sender,
            assigned: Mutex::default(),
            heard: AtomicU64::new(0),
            owned: Mutex::new(vec![Owned::default(); members]),
            changed: Notify::new(),
        };
        Self { shared: Arc::new(shared), leave_from }
    }

    /// Waits for a member's next heartbeat; false when it is to leave instead.
    pub(crate) async fn next_heartbeat(&self, number: usize) -> bool {
        let mut leave_from = self.leave_from.clone();
        let told = leave_from.wait_for(|&from| number >= from);
        tokio::time::timeout(self.shared.interval, told).await.is_err()
    }

    /// A member of a classic group got its assignment.
    pub(crate) fn assigned(&self, number: usize) {
        self.shared.assigned.lock().insert(number);
        self.shared.changed.notify_one();
    }

    /// A heartbeat was answered.
    pub(crate) fn heard(&self) {
        self.shared.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// A member of a consumer group owns so many partitions now.
    pub(crate) fn owns(&self, number: usize, epoch: i32, partitions: usize) {
        self.shared.owned.lock()[number] = Owned { epoch, partitions };
        self.shared.changed.notify_one();
    }

    /// A member of a consumer group has reached an epoch with what it owned before.
    pub(crate) fn at_epoch(&self, number: usize, epoch: i32) {
        self.shared.owned.lock()[number].epoch = epoch;
        self.shared.changed.notify_one();
    }

    /// Tells the members of this number and above to leave.
    pub(crate) fn leave_from(&self, number: usize) {
        self.shared.leave_from.send_replace(number);
    }

    /// Heartbeats that were answered so far.
    pub(crate) fn heartbeats(&self) -> u64 {
        self.shared.heard.load(Ordering::Relaxed)
    }

    /// Waits until so many members of classic groups have got an assignment; how long it took.
    pub(crate) async fn until_assigned(&self, members: usize) -> Duration {
        self.until(|shared| shared.assigned.lock().len() >= members).await
    }

    /// Waits until the first `members` are all at one epoch above `epoch` and own all partitions between them; the epoch, and
    /// how long it took.
    pub(crate) async fn until_balanced(&self, members: usize, partitions: usize, epoch: i32) -> (i32, Duration) {
        let mut reached = epoch;
        let took = self
            .until(|shared| {
                let owned = shared.owned.lock();
                reached = owned[0].epoch;
                reached > epoch
                    && owned[..members].iter().all(|member| member.epoch == reached)
                    && owned[..members].iter().map(|member| member.partitions).sum::<usize>() == partitions
            })
            .await;
        (reached, took)
    }

    async fn until(&self, mut done: impl FnMut(&Shared) -> bool) -> Duration {
        let started = Instant::now();
        while !done(&self.shared) {
            self.shared.changed.notified().await;
        }
        started.elapsed()
    }
}
