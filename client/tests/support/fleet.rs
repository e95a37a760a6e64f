//! Members of one group that consume side by side, and the log of what each of them processed.
//!
//! A member is a task with a consumer. It notes a record (that is its processing), and commits afterwards. It is told to
//! close, or is dropped as a killed process is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ottla_client::{
    Consumer, ConsumerConfig, ConsumerRecord, GroupConfig, OffsetReset, RebalanceListener, StartPositions,
    TopicPartition,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::within;

/// The settings of a broker whose groups lose no time.
pub(crate) const QUICK_GROUPS: &[(&str, &str)] = &[
    ("group.initial.rebalance.delay.ms", "0"),
    ("group.min.session.timeout.ms", "1000"),
    ("group.consumer.min.session.timeout.ms", "1000"),
    ("group.consumer.session.timeout.ms", "5000"),
    ("group.consumer.min.heartbeat.interval.ms", "100"),
    ("group.consumer.heartbeat.interval.ms", "300"),
    ("group.consumer.assignment.interval.ms", "0"),
];

/// Who processed which record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Processed {
    pub(crate) member: usize,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commits {
    Automatic,
    /// Each record, without waiting.
    EachRecord,
}

pub(crate) struct Fleet {
    bootstrap: String,
    topic: String,
    config: GroupConfig,
    log: Arc<Mutex<Vec<Processed>>>,
    members: Vec<Member>,
}

struct Member {
    partitions: Arc<Mutex<BTreeSet<TopicPartition>>>,
    /// How often it was assigned something.
    changes: Arc<AtomicUsize>,
    /// Errors that came in its stream, and partitions that it lost.
    reported: Arc<Mutex<Vec<String>>>,
    /// It holds back what it has, as a process does that is stopped.
    frozen: Arc<AtomicBool>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Fleet {
    pub(crate) fn new(bootstrap: &str, topic: &str, config: GroupConfig) -> Fleet {
        let (bootstrap, topic) = (bootstrap.to_owned(), topic.to_owned());
        Fleet { bootstrap, topic, config, log: Arc::default(), members: Vec::new() }
    }

    /// Starts one member; returns its number.
    pub(crate) async fn start(&mut self, commits: Commits, change: impl FnOnce(&mut GroupConfig)) -> usize {
        let mut group = self.config.clone();
        group.enable_auto_commit = commits == Commits::Automatic;
        change(&mut group);
        let mut config = ConsumerConfig::new(self.bootstrap.as_str());
        config.group = Some(group);
        config.auto_offset_reset = OffsetReset::Earliest;
        config.client.retry_backoff = Duration::from_millis(20);
        config.client.retry_backoff_max = Duration::from_millis(200);
        config.fetch_max_wait = Duration::from_millis(50);
        let mut consumer = within(Consumer::connect(config)).await.unwrap();
        let (changes, reported) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<String>>>::default());
        let told = Told { changes: changes.clone(), reported: reported.clone() };
        consumer.subscribe_with([self.topic.as_str()], told).unwrap();
        let (stop, mut stopped) = oneshot::channel();
        let (log, partitions, member) = (self.log.clone(), Arc::<Mutex<BTreeSet<_>>>::default(), self.members.len());
        let (shown, frozen) = (partitions.clone(), Arc::<AtomicBool>::default());
        let held = frozen.clone();
        let errors = reported.clone();
        let task = tokio::spawn(async move {
            loop {
                let polled = tokio::select! {
                    polled = consumer.poll(1, Duration::from_millis(20)) => polled,
                    _ = &mut stopped => break,
                };
                let record = polled.unwrap_or_else(|error| {
                    errors.lock().push(error.to_string());
                    Vec::new()
                });
                *shown.lock() = consumer.assignment().into_iter().collect();
                while held.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                for record in record {
                    note(&log, member, &record);
                    if commits == Commits::EachRecord
                        && let Err(error) = consumer.commit_record_async(&record)
                    {
                        errors.lock().push(error.to_string());
                    }
                }
            }
            consumer.close().await;
            shown.lock().clear();
        });
        self.members.push(Member { partitions, changes, reported, frozen, stop: Some(stop), task });
        member
    }

    /// Closes a member and waits until it is gone.
    pub(crate) async fn close(&mut self, member: usize) {
        let member = &mut self.members[member];
        member.stop.take().unwrap().send(()).unwrap();
        // Sooner than it gives up on leaving, which it would do without a word.
        let closed = tokio::time::timeout(Duration::from_secs(25), &mut member.task).await;
        closed.expect("it leaves the group").unwrap();
    }

    /// Ends a member without a word.
    pub(crate) async fn drop_dead(&mut self, member: usize) {
        let member = &mut self.members[member];
        member.task.abort();
        // An error, as it was aborted.
        let _ = within(&mut member.task).await;
        member.partitions.lock().clear();
    }

    pub(crate) fn freeze(&self, member: usize, frozen: bool) {
        self.members[member].frozen.store(frozen, Ordering::Relaxed);
    }

    pub(crate) fn partitions_of(&self, member: usize) -> BTreeSet<TopicPartition> {
        self.members[member].partitions.lock().clone()
    }

    pub(crate) fn changes_of(&self, member: usize) -> usize {
        self.members[member].changes.load(Ordering::Relaxed)
    }

    pub(crate) fn reported(&self, member: usize) -> Vec<String> {
        self.members[member].reported.lock().clone()
    }

    /// Waits until a member has so many partitions, whatever others believe to have.
    pub(crate) async fn until_partitions_of(&self, member: usize, count: usize) {
        let has = async {
            while self.partitions_of(member).len() != count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), has).await.expect("it takes them over");
    }

    /// Waits until so many records were processed, repetitions included.
    pub(crate) async fn until_logged(&self, count: usize) {
        let logged = async {
            while self.log.lock().len() < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), logged).await.expect("processing goes on");
    }

    /// Waits until each member has so many partitions, and none two of them the same.
    pub(crate) async fn until_shared_as(&self, shares: &[usize]) {
        let shared = async {
            loop {
                let owned: Vec<_> = self.members.iter().map(|member| member.partitions.lock().clone()).collect();
                let counts: Vec<usize> = owned.iter().map(BTreeSet::len).collect();
                let union: BTreeSet<&TopicPartition> = owned.iter().flatten().collect();
                if counts == shares && union.len() == shares.iter().sum::<usize>() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let patience = Duration::from_secs(60);
        if tokio::time::timeout(patience, shared).await.is_err() {
            let owned: Vec<_> = self.members.iter().map(|member| member.partitions.lock().clone()).collect();
            panic!("not shared as {shares:?} within {patience:?}, but as {owned:?}");
        }
    }

    /// Waits until `count` different records of each of `partitions` partitions are processed.
    pub(crate) async fn until_processed(&self, partitions: i32, count: i64) {
        let all = async {
            while (0..partitions).any(|partition| (self.distinct(partition).len() as i64) < count) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let patience = Duration::from_secs(60);
        if tokio::time::timeout(patience, all).await.is_err() {
            let counts: Vec<usize> = (0..partitions).map(|partition| self.distinct(partition).len()).collect();
            let members =
                self.members.iter().map(|member| (member.partitions.lock().clone(), member.reported.lock().clone()));
            panic!(
                "processed {counts:?} and not {count} of each; members have, and were told {:?}",
                members.collect::<Vec<_>>()
            );
        }
    }

    pub(crate) fn log(&self) -> Vec<Processed> {
        self.log.lock().clone()
    }

    /// How often a record was processed that had been processed before.
    pub(crate) fn repeated(&self) -> usize {
        let log = self.log.lock();
        let distinct: BTreeSet<(i32, i64)> = log.iter().map(|one| (one.partition, one.offset)).collect();
        log.len() - distinct.len()
    }

    /// Each member read each partition in order, without a gap except where it took over from another (or from itself).
    pub(crate) fn check_order(&self) {
        let mut last: BTreeMap<(usize, i32), i64> = BTreeMap::new();
        let mut furthest: BTreeMap<i32, i64> = BTreeMap::new();
        for one in self.log.lock().iter() {
            let furthest = furthest.entry(one.partition).or_insert(-1);
            assert!(one.offset <= *furthest + 1, "nobody has processed what is before {one:?}");
            *furthest = (*furthest).max(one.offset);
            let last = last.entry((one.member, one.partition)).or_insert(one.offset - 1);
            // It goes on, or took over again: from where somebody committed, which is never ahead of what was processed.
            assert!(one.offset > *last || one.offset <= *furthest, "{one:?} came after {last}");
            *last = one.offset;
        }
    }

    fn distinct(&self, partition: i32) -> BTreeSet<i64> {
        self.log.lock().iter().filter(|one| one.partition == partition).map(|one| one.offset).collect()
    }
}

/// Notes what a member is told of its partitions.
struct Told {
    changes: Arc<AtomicUsize>,
    reported: Arc<Mutex<Vec<String>>>,
}

impl RebalanceListener for Told {
    async fn assigned(&self, _: Vec<TopicPartition>) -> StartPositions {
        self.changes.fetch_add(1, Ordering::Relaxed);
        StartPositions::new()
    }

    async fn lost(&self, partitions: Vec<TopicPartition>) {
        self.reported.lock().push(format!("lost {} partitions", partitions.len()));
    }
}

fn note(log: &Mutex<Vec<Processed>>, member: usize, record: &ConsumerRecord) {
    log.lock().push(Processed { member, partition: record.partition, offset: record.offset });
}
