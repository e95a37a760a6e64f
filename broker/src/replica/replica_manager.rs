//! All partitions of this broker, by topic name and by topic id.
//!
//! Owns opening and closing them as the metadata changes. Look-ups take no lock: the table is an immutable snapshot that a
//! change replaces. Invariant: a topic that the metadata image names is in the table before the image is published, so that
//! what an answer names can be used by the very next request.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ottla_protocol::Uuid;
use parking_lot::Mutex;

use super::partition::{Partition, log_config};
use crate::clock::Clock;
use crate::config::{BrokerConfig, TopicConfig};
use crate::metadata::{ImageDelta, MetadataImage, TopicAlteration, TopicImage, TopicListener};
use crate::storage::{DiskSpace, Flusher, Log, LogManager, LogToOpen};
use crate::types::{LeaderEpoch, TopicId};

/// The partitions of one topic that are online.
#[derive(Debug)]
pub(crate) struct TopicReplicas {
    topic: Arc<TopicImage>,
    /// By partition number; `None` where the log could not be opened.
    online: Vec<Option<Arc<Partition>>>,
}

impl TopicReplicas {
    /// The topic's name.
    pub(crate) fn name(&self) -> &str {
        self.topic.name.as_str()
    }

    /// The topic's id.
    pub(crate) fn id(&self) -> TopicId {
        self.topic.id
    }

    /// How many partitions the topic has, online or not.
    pub(crate) fn partition_count(&self) -> i32 {
        self.topic.partition_count
    }

    /// The partition of this number, when it is online.
    pub(crate) fn partition(&self, index: i32) -> Option<Arc<Partition>> {
        self.online.get(usize::try_from(index).ok()?)?.clone()
    }

    /// True when there is such a partition, online or not.
    pub(crate) fn has(&self, index: i32) -> bool {
        (0..self.topic.partition_count).contains(&index)
    }

    /// The partitions that are online, by rising number.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.online.iter().flatten()
    }
}

#[derive(Debug, Default, Clone)]
struct TopicTable {
    by_name: HashMap<Arc<str>, Arc<TopicReplicas>>,
    by_id: HashMap<TopicId, Arc<TopicReplicas>>,
}

impl TopicTable {
    fn insert(&mut self, replicas: TopicReplicas) {
        let replicas = Arc::new(replicas);
        self.by_name.insert(replicas.topic.name.to_shared(), Arc::clone(&replicas));
        self.by_id.insert(replicas.topic.id, replicas);
    }

    fn remove(&mut self, topic: &TopicImage) -> Option<Arc<TopicReplicas>> {
        self.by_name.remove(topic.name.as_str());
        self.by_id.remove(&topic.id)
    }
}

/// The partitions that this broker leads: all there are.
pub(crate) struct ReplicaManager {
    logs: Arc<LogManager>,
    flusher: Arc<Flusher>,
    clock: Arc<dyn Clock>,
    config: ArcSwap<BrokerConfig>,
    topics: ArcSwap<TopicTable>,
    /// Held while the table is replaced.
    changing: Mutex<()>,
}

impl ReplicaManager {
    /// No partitions yet; [`ReplicaManager::open`] brings those of an image.
    pub(crate) fn new(
        logs: Arc<LogManager>,
        flusher: Arc<Flusher>,
        clock: Arc<dyn Clock>,
        config: Arc<BrokerConfig>,
    ) -> Self {
        Self {
            logs,
            flusher,
            clock,
            config: ArcSwap::new(config),
            topics: ArcSwap::default(),
            changing: Mutex::new(()),
        }
    }

    /// Takes over every partition of an image at the start, from logs that are open.
    pub(crate) fn open(&self, image: &MetadataImage) {
        let mut table = TopicTable::default();
        for topic in image.topics() {
            table.insert(self.take_over(topic, None, image.leader_epoch()));
        }
        self.topics.store(Arc::new(table));
    }

    /// The logs that a topic of the image has, to be opened before [`ReplicaManager::open`].
    pub(crate) fn logs_of(broker: &BrokerConfig, topic: &TopicImage) -> Vec<LogToOpen> {
        let config = Arc::new(log_config(&topic_config(broker, topic), max_decompressed_bytes(broker)));
        topic.partitions().map(|topic_partition| LogToOpen { topic_partition, config: Arc::clone(&config) }).collect()
    }

    /// The topic of this name.
    pub(crate) fn by_name(&self, name: &str) -> Option<Arc<TopicReplicas>> {
        self.topics.load().by_name.get(name).cloned()
    }

    /// The topic of this id.
    pub(crate) fn by_id(&self, id: Uuid) -> Option<Arc<TopicReplicas>> {
        self.topics.load().by_id.get(&id).cloned()
    }

    /// All topics, by name.
    pub(crate) fn all(&self) -> Vec<Arc<TopicReplicas>> {
        let mut topics: Vec<_> = self.topics.load().by_name.values().cloned().collect();
        topics.sort_unstable_by(|left, right| left.name().cmp(right.name()));
        topics
    }

    /// Where the logs are.
    pub(crate) fn data_dir(&self) -> &Path {
        self.logs.data_dir()
    }

    /// How full the file system of the data directory is, if it can be told.
    pub(crate) fn disk_space(&self) -> Option<DiskSpace> {
        self.logs.disk_space().ok()
    }

    /// Partitions of a topic as the image has it; those of `before` stay as they are, others take over their open logs.
    fn take_over(&self, topic: &Arc<TopicImage>, before: Option<&TopicReplicas>, epoch: LeaderEpoch) -> TopicReplicas {
        let broker = self.config.load();
        let config = Arc::new(topic_config(&broker, topic));
        let online = topic
            .partitions()
            .map(|id| {
                if let Some(partition) = before.and_then(|before| before.partition(id.partition)) {
                    return Some(partition);
                }
                let log = self.logs.log(&id)?;
                Some(Arc::new(self.partition(log, epoch, &config, &broker)))
            })
            .collect();
        TopicReplicas { topic: Arc::clone(topic), online }
    }

    fn partition(
        &self,
        log: Arc<Log>,
        epoch: LeaderEpoch,
        config: &Arc<TopicConfig>,
        broker: &BrokerConfig,
    ) -> Partition {
        let (flusher, reserve) = (Arc::clone(&self.flusher), Arc::clone(self.logs.disk_reserve()));
        Partition::new(log, flusher, epoch, Arc::clone(config), max_decompressed_bytes(broker), reserve)
    }

    /// Opens the logs of all partitions that a change brings at once: each opening replaces the table of logs.
    fn open_logs(&self, delta: &ImageDelta) {
        let broker = self.config.load();
        let created = delta.created.iter().map(|topic| (topic, 0));
        let grown = delta.altered.iter().map(|change| (&change.after, change.before.partition_count));
        let mut logs = Vec::new();
        for (topic, from) in created.chain(grown) {
            if from == topic.partition_count {
                continue;
            }
            let added = Self::logs_of(&broker, topic);
            logs.extend(added.into_iter().skip(usize::try_from(from).unwrap_or(0)));
        }
        if logs.is_empty() {
            return;
        }
        for (log, opened) in logs.iter().zip(self.logs.open_new(&logs, self.clock.now_ms())) {
            if let Err(error) = opened {
                tracing::error!(partition = %log.topic_partition, %error, "a new partition is offline: its log could not be opened");
            }
        }
    }

    fn altered(&self, table: &mut TopicTable, alteration: &TopicAlteration, epoch: LeaderEpoch) {
        let before = table.remove(&alteration.before);
        let topic = &alteration.after;
        if alteration.before.configs != topic.configs
            && let Some(before) = &before
        {
            self.update_configs(topic, before);
        }
        table.insert(self.take_over(topic, before.as_deref(), epoch));
    }

    fn update_configs(&self, topic: &TopicImage, replicas: &TopicReplicas) {
        let broker = self.config.load();
        let config = Arc::new(topic_config(&broker, topic));
        for partition in replicas.partitions() {
            partition.update_config(Arc::clone(&config), max_decompressed_bytes(&broker));
        }
    }

    /// Puts an altered configuration of the broker in force for every topic, since all follow its defaults.
    fn update_broker_config(&self, table: &TopicTable, image: &MetadataImage) {
        let dynamic = image.broker_configs();
        match self.config.load().with_dynamic(&dynamic.cluster_wide, &dynamic.per_broker) {
            Ok(config) => self.config.store(Arc::new(config)),
            // The controller has checked it; another version of the broker may have written it.
            Err(error) => {
                tracing::error!(%error, "the broker's altered configuration is not usable; the one before stays in force");
                return;
            }
        }
        for replicas in table.by_name.values() {
            self.update_configs(&replicas.topic, replicas);
        }
    }
}

fn max_decompressed_bytes(broker: &BrokerConfig) -> usize {
    usize::try_from(broker.max_decompressed_bytes).unwrap_or(usize::MAX)
}

/// The settings of a topic; the metadata holds no overrides that do not parse, unless another version wrote them.
fn topic_config(broker: &BrokerConfig, topic: &TopicImage) -> TopicConfig {
    TopicConfig::from_overrides(broker, &topic.configs).unwrap_or_else(|error| {
        tracing::error!(topic = %topic.name, %error, "the topic's configuration is not usable; the defaults are in force");
        broker.topic_defaults.clone()
    })
}

impl TopicListener for ReplicaManager {
    fn on_metadata_change(&self, _before: &MetadataImage, after: &Arc<MetadataImage>, delta: &ImageDelta) {
        let _changing = self.changing.lock();
        let mut table = TopicTable::clone(&self.topics.load());
        if delta.broker_configs_altered {
            self.update_broker_config(&table, after);
        }
        self.open_logs(delta);
        for topic in &delta.created {
            table.insert(self.take_over(topic, None, after.leader_epoch()));
        }
        for alteration in &delta.altered {
            self.altered(&mut table, alteration, after.leader_epoch());
        }
        let removed: Vec<_> = delta.removed.iter().filter_map(|topic| table.remove(topic)).collect();
        self.topics.store(Arc::new(table));
        let partitions: Vec<_> = removed.iter().flat_map(|replicas| replicas.partitions()).collect();
        self.logs.abandon(partitions.iter().map(|partition| partition.log()));
        for partition in partitions {
            partition.retire();
        }
    }
}

#[cfg(test)]
#[path = "replica_manager_test.rs"]
mod tests;
