//! The floors up to the coordinator over a file system that fails on command, without sockets.

use std::path::Path;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::group::{Committer, GroupError, OffsetToCommit};
use super::{GroupCoordinator, GroupCoordinatorContext, Handled, internal_topic_of};
use crate::clock::ManualClock;
use crate::config::BrokerConfig;
use crate::metadata::{Controller, ControllerContext, ControllerError, NewTopic};
use crate::replica::ReplicaManager;
use crate::storage::vfs::{FaultVfs, Vfs};
use crate::storage::{DataDir, Flusher, LogManager, LogManagerConfig, LogToOpen, ProducerLimits, StorageError};
use crate::types::TopicId;

pub(super) const DATA_DIR: &str = "/data";
/// The topic whose offsets are committed.
pub(super) const TOPIC: &str = "flights";

/// Why a broker did not come up: the disk stopped in the middle.
#[derive(Debug, thiserror::Error)]
#[error("the disk has stopped")]
pub(super) struct Stopped;

impl From<StorageError> for Stopped {
    fn from(_: StorageError) -> Self {
        Self
    }
}

impl From<ControllerError> for Stopped {
    fn from(_: ControllerError) -> Self {
        Self
    }
}

impl From<GroupError> for Stopped {
    fn from(_: GroupError) -> Self {
        Self
    }
}

pub(super) struct TestBroker {
    pub(super) controller: Arc<Controller>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) groups: Arc<GroupCoordinator>,
    pub(super) logs: Arc<LogManager>,
    flusher: Arc<Flusher>,
}

impl TestBroker {
    /// Opens what is on the disk, or starts anew.
    pub(super) fn open(vfs: &FaultVfs, seed: u64) -> Result<Self, Stopped> {
        let vfs: Arc<dyn Vfs> = Arc::new(vfs.clone());
        let clock = Arc::new(ManualClock::at(1_700_000_000_000));
        let values = [
            ("offsets.topic.num.partitions", "2"),
            ("group.initial.rebalance.delay.ms", "0"),
            ("offsets.load.buffer.size", "200"),
            ("group.consumer.assignment.interval.ms", "0"),
        ];
        let data_dir = DataDir::open(Arc::clone(&vfs), Path::new(DATA_DIR))?;
        let (controller, _) = Controller::open(ControllerContext {
            vfs,
            data_dir: DATA_DIR.into(),
            config: BrokerConfig::from_values(values).expect("these are keys"),
            partitions_max: usize::MAX,
            random: StdRng::seed_from_u64(seed),
            clock: Arc::clone(&clock) as _,
        })?;
        let (config, image) = (controller.config(), controller.image());
        let to_open: Vec<LogToOpen> =
            image.topics().flat_map(|topic| ReplicaManager::logs_of(&config, topic)).collect();
        let settings = LogManagerConfig { threads: 1, open_files_max: 20, producer_limits: ProducerLimits::default() };
        let logs = LogManager::open(data_dir, &settings, to_open, 0)?;
        let flusher = Arc::new(Flusher::start(1));
        let replicas = ReplicaManager::new(Arc::clone(&logs), Arc::clone(&flusher), Arc::clone(&clock) as _, config);
        let replicas = Arc::new(replicas);
        replicas.open(&controller.image());
        let controller = Arc::new(controller);
        controller.set_listener(Arc::clone(&replicas) as _);
        let groups = GroupCoordinator::new(GroupCoordinatorContext {
            controller: Arc::clone(&controller),
            replicas,
            clock: Arc::clone(&clock) as _,
            random: StdRng::seed_from_u64(seed),
        });
        groups.take_over();
        Ok(Self { controller, clock, groups: Arc::new(groups), logs, flusher })
    }

    /// Makes the two topics, if they are not there.
    pub(super) fn create_topics(&self) -> Result<(), Stopped> {
        let flights =
            NewTopic { name: TOPIC.to_owned(), num_partitions: 4, replication_factor: -1, ..NewTopic::default() };
        let wishes = vec![flights, internal_topic_of(&self.controller.config())];
        for created in self.controller.create_topics(wishes) {
            match created {
                Ok(_) | Err(ControllerError::TopicExists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.groups.take_over();
        Ok(())
    }

    pub(super) fn topic_id(&self) -> TopicId {
        self.controller.image().topic(TOPIC).map_or(TopicId::ZERO, |topic| topic.id)
    }

    /// Commits an offset for each of some partitions, in nobody's name.
    pub(super) async fn commit(&self, group: &str, partitions: &[i32], offset: i64) -> Result<(), GroupError> {
        self.commit_as("", -1, group, partitions, offset).await
    }

    /// The same in a member's name.
    pub(super) async fn commit_as(
        &self,
        member_id: &str,
        generation: i32,
        group: &str,
        partitions: &[i32],
        offset: i64,
    ) -> Result<(), GroupError> {
        let committer = Committer { member_id: member_id.to_owned(), instance_id: None, generation };
        let topic_id = self.topic_id();
        let offsets = partitions.iter().map(|&partition| OffsetToCommit {
            topic: TOPIC.into(),
            topic_id,
            partition,
            offset,
            leader_epoch: -1,
            metadata: "so far".to_owned(),
        });
        let unknown = GroupError::IllegalGeneration;
        let handled = self
            .groups
            .submit(group, |shard, now| shard.commit_offsets(group, &committer, offsets.collect(), None, unknown, now));
        answer(handled).await.map(|_| ())
    }

    /// What a group has committed for a partition, once its groups are loaded.
    pub(super) async fn committed(&self, group: &str, partition: i32) -> Result<Option<i64>, GroupError> {
        loop {
            let read = self.groups.read(group, |shard| Ok(shard.offset(group, TOPIC, partition).map(|o| o.offset)));
            match answer(read).await {
                Err(GroupError::CoordinatorLoadInProgress) => tokio::task::yield_now().await,
                other => return other,
            }
        }
    }

    pub(super) fn stop(self) {
        self.flusher.stop();
    }
}

/// The answer, when it comes.
pub(super) async fn answer<T>(handled: Handled<T>) -> T {
    match handled {
        Handled::Ready(answer) => answer,
        Handled::Later(future) => future.await,
    }
}

/// A file system with an empty data directory.
pub(super) fn new_disk() -> FaultVfs {
    let vfs = FaultVfs::new();
    vfs.create_dir(Path::new(DATA_DIR)).expect("it is empty");
    vfs.sync_dir(Path::new("/")).expect("it is there");
    vfs
}
