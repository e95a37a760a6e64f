//! The metadata at one moment: topics by name and by id, dynamic configuration of broker and groups, ids. Immutable once published.
//!
//! [`MetadataImage::replay`] is the only thing that changes metadata, live and at load alike. The controller clones the
//! image, replays what it has committed, and publishes the clone; topics are shared between the two, so a clone
//! copies pointers only.
//!
//! Invariant: both maps hold the same topics; names are valid and do not collide; counts and ids are positive and only rise.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use ottla_protocol::Uuid;
use thiserror::Error;

use super::metadata_record::MetadataRecord;
use super::topic_name::{TopicName, TopicNameError};
use crate::types::{LeaderEpoch, TopicPartition};

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicImage {
    /// Its name.
    pub name: TopicName,
    /// Its id; another one when a topic of the same name is created again.
    pub id: Uuid,
    /// How many partitions it has, at least 1.
    pub partition_count: i32,
    /// Its overrides of the broker's configuration, as given.
    pub configs: BTreeMap<String, String>,
}

impl TopicImage {
    /// The indexes of its partitions.
    #[must_use]
    pub fn partition_indexes(&self) -> Range<i32> {
        0..self.partition_count
    }

    /// Its partitions.
    pub fn partitions(&self) -> impl Iterator<Item = TopicPartition> + use<> {
        let name = self.name.to_shared();
        self.partition_indexes().map(move |partition| TopicPartition::new(name.clone(), partition))
    }
}

/// What a list of records changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageDelta {
    /// Topics that exist now and did not.
    pub created: Vec<Arc<TopicImage>>,
    /// Topics that are gone, as they were last.
    pub removed: Vec<Arc<TopicImage>>,
    /// Topics with more partitions or another configuration than before.
    pub altered: Vec<TopicAlteration>,
    /// Whether dynamic broker configuration changed, on which every topic's defaults depend.
    pub broker_configs_altered: bool,
}

/// A topic before and after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicAlteration {
    /// As it was.
    pub before: Arc<TopicImage>,
    /// As it is.
    pub after: Arc<TopicImage>,
}

/// Why a record cannot be replayed: the log contradicts itself, or was written by something else.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// A name that no topic can have.
    #[error(transparent)]
    Name(#[from] TopicNameError),
    /// The same name or id twice.
    #[error("topic {name} ({topic_id}) is created, but exists")]
    TopicExists {
        /// The name.
        name: TopicName,
        /// The id.
        topic_id: Uuid,
    },
    /// A change of a topic that is not there.
    #[error("topic id {topic_id} is changed, but does not exist")]
    UnknownTopic {
        /// The id.
        topic_id: Uuid,
    },
    /// A number that goes back, or is none.
    #[error("{what} goes from {from} to {to}")]
    NotRising {
        /// What the number is.
        what: &'static str,
        /// Its value before.
        from: i64,
        /// Its value in the record.
        to: i64,
    },
}

/// The metadata. See the module's text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetadataImage {
    cluster_id: Uuid,
    by_name: HashMap<TopicName, Arc<TopicImage>>,
    by_id: HashMap<Uuid, Arc<TopicImage>>,
    /// Names that contain `.` or `_`, by what they collide by.
    collision_names: HashMap<String, TopicName>,
    removed: Vec<Arc<TopicImage>>,
    broker_configs: Arc<DynamicBrokerConfigs>,
    /// Groups that have values of their own; none of them is empty.
    group_configs: Arc<BTreeMap<String, BTreeMap<String, String>>>,
    next_producer_id: i64,
    /// A plain number, since a cluster starts in epoch 0.
    leader_epoch: i32,
    partition_total: usize,
}

/// Overrides of the broker's configuration that were made while it ran.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DynamicBrokerConfigs {
    /// For all brokers of the cluster.
    pub cluster_wide: BTreeMap<String, String>,
    /// For this broker; wins over `cluster_wide`.
    pub per_broker: BTreeMap<String, String>,
}

impl MetadataImage {
    /// The cluster's id; zero before its first record.
    #[must_use]
    pub fn cluster_id(&self) -> Uuid {
        self.cluster_id
    }

    /// The topic of this name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.by_name.get(name)
    }

    /// The topic with this id.
    #[must_use]
    pub fn topic_by_id(&self, id: &Uuid) -> Option<&Arc<TopicImage>> {
        self.by_id.get(id)
    }

    /// The topic, other than one of exactly this name, that the name collides with.
    #[must_use]
    pub fn colliding_name(&self, name: &TopicName) -> Option<&TopicName> {
        if !name.has_collision_characters() {
            return None;
        }
        self.collision_names.get(&name.collision_key()).filter(|existing| *existing != name)
    }

    /// All topics, in no order.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Arc<TopicImage>> {
        self.by_name.values()
    }

    /// How many partitions all topics have together.
    #[must_use]
    pub fn partition_total(&self) -> usize {
        self.partition_total
    }

    /// Overrides of the broker's configuration that were made while it ran.
    #[must_use]
    pub fn broker_configs(&self) -> &DynamicBrokerConfigs {
        &self.broker_configs
    }

    /// The values that a group has of its own, if any.
    #[must_use]
    pub fn group_configs(&self, group: &str) -> Option<&BTreeMap<String, String>> {
        self.group_configs.get(group)
    }

    /// How many groups have values of their own.
    #[must_use]
    pub fn configured_group_count(&self) -> usize {
        self.group_configs.len()
    }

    /// Producer ids from this on were never handed out.
    #[must_use]
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// The epoch in which this broker leads all partitions.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.leader_epoch)
    }

    /// Topics that were removed, whose folders are not known to be out of the way for good.
    #[must_use]
    pub fn pending_removals(&self) -> &[Arc<TopicImage>] {
        &self.removed
    }

    /// Applies one record, and says in `delta` what it changed.
    ///
    /// # Errors
    /// The record contradicts those before it; nothing was applied.
    pub fn replay(&mut self, record: &MetadataRecord, delta: &mut ImageDelta) -> Result<(), ReplayError> {
        match record {
            MetadataRecord::Cluster { cluster_id } => {
                // Written to a new cluster, and as the first of records that replace all before them. Not while the broker runs.
                *self = Self { cluster_id: *cluster_id, ..Self::default() };
            }
            MetadataRecord::Topic { name, topic_id, partition_count, configs } => {
                let name = TopicName::parse(name)?;
                if self.by_name.contains_key(&name) || self.by_id.contains_key(topic_id) {
                    return Err(ReplayError::TopicExists { name, topic_id: *topic_id });
                }
                rises("partition count", 0, i64::from(*partition_count))?;
                let topic = Arc::new(TopicImage {
                    name,
                    id: *topic_id,
                    partition_count: *partition_count,
                    configs: configs.clone(),
                });
                if topic.name.has_collision_characters() {
                    self.collision_names.insert(topic.name.collision_key(), topic.name.clone());
                }
                self.partition_total += topic.partition_indexes().len();
                self.put(topic.clone());
                delta.created.push(topic);
            }
            MetadataRecord::PartitionCount { topic_id, partition_count } => {
                let before = self.existing(topic_id)?;
                rises("partition count", i64::from(before.partition_count), i64::from(*partition_count))?;
                self.partition_total += (before.partition_count..*partition_count).len();
                let after = TopicImage { partition_count: *partition_count, ..TopicImage::clone(&before) };
                self.alter(before, after, delta);
            }
            MetadataRecord::TopicConfigs { topic_id, configs } => {
                let before = self.existing(topic_id)?;
                let after = TopicImage { configs: configs.clone(), ..TopicImage::clone(&before) };
                self.alter(before, after, delta);
            }
            MetadataRecord::RemoveTopic { topic_id } => {
                let topic = self.existing(topic_id)?;
                self.by_name.remove(&topic.name);
                self.by_id.remove(topic_id);
                self.collision_names.remove(&topic.name.collision_key());
                self.partition_total -= topic.partition_indexes().len();
                self.removed.push(topic.clone());
                delta.removed.push(topic);
            }
            MetadataRecord::RemovalsCompleted {} => self.removed.clear(),
            MetadataRecord::BrokerConfigs { cluster_wide, per_broker } => {
                self.broker_configs = Arc::new(DynamicBrokerConfigs {
                    cluster_wide: cluster_wide.clone(),
                    per_broker: per_broker.clone(),
                });
                delta.broker_configs_altered = true;
            }
            MetadataRecord::GroupConfigs { group, configs } => {
                let all = Arc::make_mut(&mut self.group_configs);
                match configs.is_empty() {
                    true => all.remove(group),
                    false => all.insert(group.clone(), configs.clone()),
                };
            }
            MetadataRecord::ProducerIds { next_producer_id } => {
                rises("next producer id", self.next_producer_id, *next_producer_id)?;
                self.next_producer_id = *next_producer_id;
            }
            MetadataRecord::LeaderEpoch { leader_epoch } => {
                rises("leader epoch", i64::from(self.leader_epoch), i64::from(*leader_epoch))?;
                self.leader_epoch = *leader_epoch;
            }
        }
        Ok(())
    }

    /// The fewest records that make this image, in an order that can be replayed.
    #[must_use]
    pub fn to_records(&self) -> Vec<MetadataRecord> {
        let mut topics: Vec<&Arc<TopicImage>> = self.topics().collect();
        topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));

        let mut records = vec![MetadataRecord::Cluster { cluster_id: self.cluster_id }];
        if self.next_producer_id > 0 {
            records.push(MetadataRecord::ProducerIds { next_producer_id: self.next_producer_id });
        }
        if self.leader_epoch > 0 {
            records.push(MetadataRecord::LeaderEpoch { leader_epoch: self.leader_epoch });
        }
        if *self.broker_configs != DynamicBrokerConfigs::default() {
            let DynamicBrokerConfigs { cluster_wide, per_broker } = DynamicBrokerConfigs::clone(&self.broker_configs);
            records.push(MetadataRecord::BrokerConfigs { cluster_wide, per_broker });
        }
        records.extend(
            self.group_configs.iter().map(|(group, configs)| MetadataRecord::GroupConfigs {
                group: group.clone(),
                configs: configs.clone(),
            }),
        );
        // What was removed goes first: its name may have been taken again.
        for topic in &self.removed {
            records.push(topic_record(topic));
            records.push(MetadataRecord::RemoveTopic { topic_id: topic.id });
        }
        records.extend(topics.into_iter().map(|topic| topic_record(topic)));
        records
    }

    fn existing(&self, id: &Uuid) -> Result<Arc<TopicImage>, ReplayError> {
        self.by_id.get(id).cloned().ok_or(ReplayError::UnknownTopic { topic_id: *id })
    }

    fn alter(&mut self, before: Arc<TopicImage>, after: TopicImage, delta: &mut ImageDelta) {
        let after = Arc::new(after);
        self.put(after.clone());
        delta.altered.push(TopicAlteration { before, after });
    }

    fn put(&mut self, topic: Arc<TopicImage>) {
        self.by_name.insert(topic.name.clone(), topic.clone());
        self.by_id.insert(topic.id, topic);
    }
}

fn topic_record(topic: &TopicImage) -> MetadataRecord {
    MetadataRecord::Topic {
        name: topic.name.as_str().to_owned(),
        topic_id: topic.id,
        partition_count: topic.partition_count,
        configs: topic.configs.clone(),
    }
}

fn rises(what: &'static str, from: i64, to: i64) -> Result<(), ReplayError> {
    match to > from {
        true => Ok(()),
        false => Err(ReplayError::NotRising { what, from, to }),
    }
}

#[cfg(test)]
#[path = "image_test.rs"]
mod tests;
