//! Puts the groups on their log: one shard for each partition of `__consumer_offsets`.
//!
//! A request takes its shard's lock for as long as it takes to handle it, append its records to the page cache and replay
//! them: microseconds. The answer then waits for the disk, with everybody else who waits for the same partition, and with no
//! lock held; so what a request changes is done when it is dispatched, and only its answer is late. An answer that only reads
//! waits too when what it shows is not on disk yet.
//!
//! Invariants: records are replayed in the order of the log and after they are in it; no answer goes out before what it
//! rests on is durable; after a failed write or sync nothing that may be lost is shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{Notify, oneshot};

use super::group::{
    GroupConfig, GroupError, GroupShard, MembersBudget, Moment, OffsetsBudget, Outcome, Token, WaitingAnswer,
};
use super::handled::Handled;
use super::load::load;
use super::offsets_topic::{OFFSETS_TOPIC, partition_of};
use super::slot::{LiveShard, NEVER, Slot, SlotState};
use super::waiters::Delivery;
use crate::clock::Clock;
use crate::metadata::{Controller, ImageDelta, MetadataImage, TopicImage, TopicListener};
use crate::replica::{Durability, Partition, ReplicaManager, TopicReplicas};
use crate::types::{Offset, TopicId};

/// What the coordinator works with.
pub(crate) struct GroupCoordinatorContext {
    pub(crate) controller: Arc<Controller>,
    pub(crate) replicas: Arc<ReplicaManager>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Where member ids come from.
    pub(crate) random: StdRng,
}

/// All groups of this broker.
pub(crate) struct GroupCoordinator {
    context: Context,
    table: ArcSwapOption<ShardTable>,
    /// Held while the table is replaced.
    changing: Mutex<StdRng>,
    signals: Arc<Signals>,
}

struct Context {
    controller: Arc<Controller>,
    replicas: Arc<ReplicaManager>,
    clock: Arc<dyn Clock>,
    config: Arc<GroupConfig>,
    /// Of the members of all groups.
    members_budget: MembersBudget,
    /// Of the committed offsets of all groups.
    offsets_budget: OffsetsBudget,
    /// How long an answer waits for the disk.
    commit_timeout: Duration,
    load_piece_bytes: usize,
}

/// What wakes the task that looks after deadlines.
#[derive(Debug)]
struct Signals {
    wake: Notify,
    /// When the task looks again by itself, in monotonic milliseconds.
    sleeping_until_ms: AtomicU64,
    /// Topics that were deleted, whose offsets are to be forgotten.
    removed_topics: Mutex<Vec<Arc<TopicImage>>>,
    /// The metadata, when it is newer than what the shards were last told.
    news: Mutex<Option<Arc<MetadataImage>>>,
}

/// The shards of one incarnation of the topic.
struct ShardTable {
    topic_id: TopicId,
    slots: Vec<Arc<Slot>>,
}

/// Tells the coordinator's task of changes of the metadata.
struct MetadataNews(Arc<Signals>);

impl TopicListener for MetadataNews {
    fn on_metadata_change(&self, _before: &MetadataImage, after: &Arc<MetadataImage>, delta: &ImageDelta) {
        self.0.removed_topics.lock().extend(delta.removed.iter().cloned());
        *self.0.news.lock() = Some(Arc::clone(after));
        self.0.wake.notify_one();
    }
}

impl GroupCoordinator {
    /// A coordinator without groups; [`GroupCoordinator::take_over`] brings those that are in the log.
    pub(crate) fn new(context: GroupCoordinatorContext) -> Self {
        let GroupCoordinatorContext { controller, replicas, clock, random } = context;
        let config = controller.config();
        let signals = Signals {
            wake: Notify::new(),
            sleeping_until_ms: AtomicU64::new(NEVER),
            removed_topics: Mutex::new(Vec::new()),
            news: Mutex::new(None),
        };
        Self {
            context: Context {
                config: Arc::new(GroupConfig::new(&config)),
                members_budget: MembersBudget::default(),
                offsets_budget: OffsetsBudget::default(),
                commit_timeout: Duration::from_millis(u64::try_from(config.offsets_commit_timeout_ms).unwrap_or(0)),
                load_piece_bytes: usize::try_from(config.offsets_load_buffer_size).unwrap_or(1),
                controller,
                replicas,
                clock,
            },
            table: ArcSwapOption::empty(),
            changing: Mutex::new(random),
            signals: Arc::new(signals),
        }
    }

    /// What is to be told of changes of topics.
    pub(crate) fn metadata_listener(&self) -> Arc<dyn TopicListener> {
        Arc::new(MetadataNews(Arc::clone(&self.signals)))
    }

    /// Takes over the groups of the topic if it is there, and loads them beside anything else. Groups of a topic without
    /// records are there when this returns.
    pub(crate) fn take_over(&self) {
        if let Some(topic) = self.context.replicas.by_name(OFFSETS_TOPIC) {
            self.table_of(&topic);
        }
    }

    /// Handles a request of a group that may change it.
    pub(crate) fn submit<A: Send + 'static>(
        &self,
        group_id: &str,
        act: impl FnOnce(&mut GroupShard, Moment) -> Outcome<Result<A, GroupError>>,
    ) -> Handled<Result<A, GroupError>> {
        let submitted = self.with_shard(group_id, |live, slot, now| {
            let Outcome { answer, effects } = act(&mut live.shard, now);
            slot.commit(live, effects, now).map(|durable_to| (answer, durable_to))
        });
        match submitted {
            Ok((slot, Ok((answer, durable_to)))) => self.when_durable(&slot, durable_to, answer),
            Ok((_, Err(error))) | Err(error) => Handled::Ready(Err(error)),
        }
    }

    /// Handles a request of a group that is answered under a token.
    pub(crate) fn submit_waiting(
        &self,
        group_id: &str,
        act: impl FnOnce(&mut GroupShard, Token, Moment) -> Outcome<()>,
    ) -> Handled<Result<WaitingAnswer, GroupError>> {
        let submitted = self.with_shard(group_id, |live, slot, now| {
            let (token, receiver) = live.waiters.enter();
            let Outcome { answer: (), effects } = act(&mut live.shard, token, now);
            // A failed append is in the answers.
            let _refused = slot.commit(live, effects, now);
            receiver
        });
        let (slot, mut receiver) = match submitted {
            Ok(submitted) => submitted,
            Err(error) => return Handled::Ready(Err(error)),
        };
        match receiver.try_recv() {
            Ok(Delivery { answer, durable_to }) => self.when_durable(&slot, durable_to, Ok(answer)),
            Err(_) => {
                let timeout = self.context.commit_timeout;
                Handled::Later(Box::pin(receive(receiver, slot, timeout)))
            }
        }
    }

    /// Reads a group; the answer waits until everything that it may show is durable.
    pub(crate) fn read<A: Send + 'static>(
        &self,
        group_id: &str,
        look: impl FnOnce(&GroupShard) -> Result<A, GroupError>,
    ) -> Handled<Result<A, GroupError>> {
        match self.with_shard(group_id, |live, _, _| (look(&live.shard), live.replayed_to)) {
            Ok((slot, (answer, replayed_to))) => self.when_durable(&slot, Some(replayed_to), answer),
            Err(error) => Handled::Ready(Err(error)),
        }
    }

    /// Reads every shard, one after the other; those that are offline are left out.
    pub(crate) fn read_all<A: Send + 'static>(
        &self,
        look: impl Fn(&GroupShard) -> A,
    ) -> Handled<Result<Vec<A>, GroupError>> {
        let Some(topic) = self.context.replicas.by_name(OFFSETS_TOPIC) else { return Handled::Ready(Ok(Vec::new())) };
        let mut answers = Vec::new();
        for slot in &self.table_of(&topic).slots {
            match &*slot.state.lock() {
                SlotState::Loading => return Handled::Ready(Err(GroupError::CoordinatorLoadInProgress)),
                SlotState::Failed => {}
                SlotState::Loaded(live) => {
                    answers.push(self.when_durable(slot, Some(live.replayed_to), Ok(look(&live.shard))));
                }
            }
        }
        Handled::all(answers).map(|answers| answers.into_iter().collect())
    }

    /// Looks after deadlines and retention until it is dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let interval = Duration::from_millis(self.context.config.offsets_retention_check_interval_ms.max(1));
        let mut expire_at = tokio::time::Instant::now() + interval;
        loop {
            // While the shards are looked at, every new deadline counts as news.
            self.signals.sleeping_until_ms.store(NEVER, Ordering::SeqCst);
            let now = self.moment();
            self.tell_news();
            let due_ms = self.on_time(now);
            self.signals.sleeping_until_ms.store(due_ms, Ordering::SeqCst);
            let removed = std::mem::take(&mut *self.signals.removed_topics.lock());
            if !removed.is_empty() || tokio::time::Instant::now() >= expire_at {
                self.expire(&removed);
                expire_at = tokio::time::Instant::now() + interval;
                continue;
            }
            let wait = Duration::from_millis(due_ms.saturating_sub(now.monotonic_ms).max(1));
            tokio::select! {
                () = self.signals.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
                () = tokio::time::sleep_until(expire_at) => {}
            }
        }
    }

    /// Shows the newest metadata to every shard, so that those without requests do not keep what is out of date in memory.
    fn tell_news(&self) {
        let news = self.signals.news.lock().take();
        let (Some(image), Some(table)) = (news, self.table.load_full()) else { return };
        for slot in &table.slots {
            if let SlotState::Loaded(live) = &mut *slot.state.lock() {
                live.shard.observe_topics(Arc::clone(&image));
            }
        }
    }

    /// Handles every deadline that is due; returns when the next one is.
    fn on_time(&self, now: Moment) -> u64 {
        let Some(table) = self.table.load_full() else { return NEVER };
        for slot in &table.slots {
            if slot.next_due_ms.load(Ordering::SeqCst) > now.monotonic_ms {
                continue;
            }
            let mut state = slot.state.lock();
            if let SlotState::Loaded(live) = &mut *state {
                live.shard.observe_topics(self.context.controller.image());
                while let Some(effects) = live.shard.on_time(now) {
                    if let Err(error) = slot.commit(live, effects, now) {
                        tracing::warn!(%error, "a deadline of a group could not be put on record; it is tried again");
                    }
                }
                slot.note_next_due(&live.shard);
            }
        }
        table.slots.iter().map(|slot| slot.next_due_ms.load(Ordering::SeqCst)).min().unwrap_or(NEVER)
    }

    /// Forgets offsets and groups that nobody needs any more. Topics that were `removed` may still be in the image: the news comes
    /// just before it is published.
    fn expire(&self, removed: &[Arc<TopicImage>]) {
        let Some(table) = self.table.load_full() else { return };
        let image = self.context.controller.image();
        let exists = |name: &str, id: TopicId| {
            let is = |topic: &Arc<TopicImage>| topic.name.as_str() == name && (id.is_zero() || topic.id == id);
            image.topic(name).is_some_and(is) && !removed.iter().any(is)
        };
        for slot in &table.slots {
            let mut more = true;
            while more {
                let now = self.moment();
                let mut state = slot.state.lock();
                let SlotState::Loaded(live) = &mut *state else { break };
                let expired = live.shard.expire(now.wall_ms, &exists);
                more = expired.more;
                if let Err(error) = slot.commit(live, expired.effects, now) {
                    tracing::warn!(%error, "offsets that have expired could not be forgotten; it is tried again");
                    more = false;
                }
            }
        }
    }

    /// Takes the lock of a group's shard for a short look or change.
    fn with_shard<T>(
        &self,
        group_id: &str,
        act: impl FnOnce(&mut LiveShard, &Slot, Moment) -> T,
    ) -> Result<(Arc<Slot>, T), GroupError> {
        let topic = self.context.replicas.by_name(OFFSETS_TOPIC).ok_or(GroupError::NotCoordinator)?;
        let table = self.table_of(&topic);
        let slot = &table.slots[partition_of(group_id, table.slots.len())];
        let now = self.moment();
        let mut state = slot.state.lock();
        let live = match &mut *state {
            SlotState::Loading => return Err(GroupError::CoordinatorLoadInProgress),
            SlotState::Failed => return Err(GroupError::CoordinatorNotAvailable),
            SlotState::Loaded(live) => live,
        };
        live.shard.observe_topics(self.context.controller.image());
        let done = act(live, slot, now);
        if slot.note_next_due(&live.shard) < self.signals.sleeping_until_ms.load(Ordering::SeqCst) {
            self.signals.wake.notify_one();
        }
        Ok((Arc::clone(slot), done))
    }

    fn table_of(&self, topic: &TopicReplicas) -> Arc<ShardTable> {
        if let Some(table) = self.table.load_full().filter(|table| table.topic_id == topic.id()) {
            return table;
        }
        let mut random = self.changing.lock();
        if let Some(table) = self.table.load_full().filter(|table| table.topic_id == topic.id()) {
            return table;
        }
        let slots: Vec<_> = (0..topic.partition_count())
            .map(|index| Slot::begin(topic.partition(index), self.new_shard(&mut random)))
            .collect();
        let table = Arc::new(ShardTable { topic_id: topic.id(), slots });
        self.table.store(Some(Arc::clone(&table)));
        self.load(&table, &mut random);
        table
    }

    /// Reads the logs of all shards that have one, on threads that may wait for the disk.
    fn load(&self, table: &Arc<ShardTable>, random: &mut StdRng) {
        for slot in table.slots.iter().filter(|slot| matches!(&*slot.state.lock(), SlotState::Loading)) {
            let Some(partition) = slot.partition.clone() else { continue };
            let mut shard = self.new_shard(random);
            let (slot, signals) = (Arc::clone(slot), Arc::clone(&self.signals));
            let (clock, piece_bytes) = (Arc::clone(&self.context.clock), self.context.load_piece_bytes);
            let controller = Arc::clone(&self.context.controller);
            tokio::task::spawn_blocking(move || {
                let read = load(&partition, &mut shard, piece_bytes, moment(&*clock));
                // Sessions begin, and groups may have their own.
                shard.observe_topics(controller.image());
                slot.finish_loading(shard, read, moment(&*clock));
                signals.wake.notify_one();
            });
        }
    }

    fn new_shard(&self, random: &mut StdRng) -> GroupShard {
        let Context { config, members_budget, offsets_budget, .. } = &self.context;
        let budgets = (members_budget.clone(), offsets_budget.clone());
        GroupShard::new(Arc::clone(config), budgets, StdRng::from_rng(random))
    }

    fn when_durable<A: Send + 'static>(
        &self,
        slot: &Arc<Slot>,
        durable_to: Option<Offset>,
        answer: Result<A, GroupError>,
    ) -> Handled<Result<A, GroupError>> {
        let Some((end, partition)) = durable_to.zip(slot.partition.clone()) else { return Handled::Ready(answer) };
        if partition.is_flushed_to(end) {
            return Handled::Ready(answer);
        }
        let timeout = self.context.commit_timeout;
        Handled::Later(Box::pin(async move {
            wait_until_durable(&partition, end, timeout).await?;
            answer
        }))
    }

    fn moment(&self) -> Moment {
        moment(&*self.context.clock)
    }
}

/// Waits for an answer that depends on others, and then for the disk.
async fn receive(
    receiver: oneshot::Receiver<Delivery>,
    slot: Arc<Slot>,
    timeout: Duration,
) -> Result<WaitingAnswer, GroupError> {
    // The sender goes without an answer when the broker stops.
    let Delivery { mut answer, durable_to } = receiver.await.map_err(|_| GroupError::CoordinatorNotAvailable)?;
    if let Some((end, partition)) = durable_to.zip(slot.partition.as_ref())
        && let Err(error) = wait_until_durable(partition, end, timeout).await
    {
        answer.refuse(error);
    }
    Ok(answer)
}

async fn wait_until_durable(partition: &Arc<Partition>, end: Offset, timeout: Duration) -> Result<(), GroupError> {
    match partition.wait_until_flushed(end, tokio::time::Instant::now() + timeout).await {
        Durability::Durable => Ok(()),
        Durability::Failed | Durability::TimedOut => Err(GroupError::CoordinatorNotAvailable),
    }
}

fn moment(clock: &dyn Clock) -> Moment {
    let monotonic_ms = u64::try_from(clock.monotonic().as_millis()).unwrap_or(NEVER - 1);
    Moment { monotonic_ms, wall_ms: clock.now_ms() }
}

#[cfg(test)]
#[path = "runtime_test.rs"]
mod tests;

#[cfg(test)]
#[path = "consumer_crash_test.rs"]
mod consumer_crash_tests;
