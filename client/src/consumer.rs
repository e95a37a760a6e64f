//! The consumer: hands out the records of the partitions that are assigned to it, by hand or by its group.
//!
//! Owns the handle, and the record that is next within a batch. Positions and batches are the buffer's, requests the
//! fetcher's; subscribing and committing are in `consumer/`. Invariants: records of a partition are handed out in the order
//! of their offsets, each once, unless it is sought; what its group takes away is not handed out once that was agreed to.

mod attendance;
mod commits;
mod record_stream;
mod subscribing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock;
use crate::cluster::{AbortOnDrop, Cluster};
use crate::config::{ConsumerConfig, IsolationLevel};
use crate::fetch_buffer::{FetchBuffer, Rules};
use crate::fetched_batch::{FetchedBatch, FetchedRecords};
use crate::fetcher::{Fetcher, Shared};
use crate::group::{Coordinator, GroupShared};
use crate::metadata::TopicMetadata;
use crate::offsets::{ListedOffset, OffsetSpec, list_all_offsets};
use crate::{ConsumerRecord, Error, TopicPartition};

use attendance::Attendance;
pub use record_stream::RecordStream;

/// Where to start or go on in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeekTo {
    /// The first record that the log still has.
    Beginning,
    /// The end: only records that are yet to come.
    End,
    /// The record at this offset.
    Offset(i64),
    /// The first record whose time is at or after this one, in milliseconds since 1970; the end where there is none.
    Timestamp(i64),
}

/// Reads partitions. What it reads is fetched ahead in the background, at most `prefetch_bytes` of it.
///
/// With a group, the partitions of the topics that it subscribes to are shared by all consumers of the group, and reading
/// goes on where the group has committed:
///
/// ```no_run
/// # async fn example() -> Result<(), ottla_client::Error> {
/// use ottla_client::{Consumer, ConsumerConfig};
///
/// let mut consumer = Consumer::connect(ConsumerConfig::new("127.0.0.1:9092").group("reports")).await?;
/// consumer.subscribe(["flights"])?;
/// loop {
///     let record = consumer.recv().await?;
///     println!("{}-{} at {}: {:?}", record.topic, record.partition, record.offset, record.value);
///     // Committed every five seconds, as far as was processed; or with each record:
///     consumer.commit_record(&record).await?;
/// }
/// # }
/// ```
///
/// A call for records is what keeps the group satisfied: in it partitions are given up and taken over. While a record is
/// processed, heartbeats go on, in a task beside it (so a handler that computes for long belongs on
/// `spawn_blocking`, as always with tokio), for at most `max_poll_interval`.
///
/// Without a group, partitions are assigned by hand:
///
/// ```no_run
/// # async fn example() -> Result<(), ottla_client::Error> {
/// use ottla_client::{Consumer, ConsumerConfig, SeekTo, TopicPartition};
///
/// let mut consumer = Consumer::connect(ConsumerConfig::new("127.0.0.1:9092")).await?;
/// let partitions = consumer.partitions_for("flights").await?.partitions.len();
/// let all = (0..partitions as i32).map(|partition| (TopicPartition::new("flights", partition), SeekTo::Beginning));
/// consumer.assign(all).await?;
/// loop {
///     let record = consumer.recv().await?;
///     println!("{}-{} at {}: {:?}", record.topic, record.partition, record.offset, record.value);
/// }
/// # }
/// ```
///
/// Errors come in the stream, between the records: what may pass by itself (a lost connection, a leader that moved) is
/// repeated in silence and logged; an error about one partition comes after the last record before it, and halts that
/// partition until it is sought or resumed, while the others go on. Only the end of the membership in a group is final: it is
/// told once, the stream ends, and there are records again after the next `subscribe`.
#[derive(Debug)]
pub struct Consumer {
    shared: Arc<Shared>,
    cluster: Cluster,
    config: ConsumerConfig,
    current: Option<FetchedRecords>,
    group: Option<Attendance>,
    _fetcher: AbortOnDrop,
}

impl Consumer {
    /// Reaches the cluster and starts the consumer's task. Nothing is fetched before partitions are assigned.
    ///
    /// # Errors
    /// [`Error::Config`]; [`Error::NoBrokerReachable`] when no bootstrap server answers.
    pub async fn connect(config: ConsumerConfig) -> Result<Consumer, Error> {
        config.validate()?;
        let cluster = Cluster::connect(config.client.clone(), config.allow_auto_create_topics).await?;
        let buffer = Mutex::new(FetchBuffer::new(Rules::from(&config)));
        let shared = Arc::new(Shared { buffer, wake: Notify::new(), fetched: Notify::new() });
        let fetcher = Fetcher::new(shared.clone(), cluster.clone(), config.clone());
        let fetcher = AbortOnDrop(tokio::spawn(fetcher.run()).abort_handle());
        let group = config.group.clone().map(|group| {
            let coordinator = Coordinator::new(cluster.clone(), &group.group_id);
            let group = Arc::new(GroupShared::new(group, shared.clone()));
            Attendance::new(group, cluster.clone(), coordinator, &config)
        });
        Ok(Consumer { shared, cluster, config, current: None, group, _fetcher: fetcher })
    }

    /// Replaces the assignment. Each partition starts where it says, also one that was assigned before.
    ///
    /// # Errors
    /// [`Error::Subscribed`]; [`Error::Broker`], [`Error::UnknownPartition`] and those of reaching the leaders, when a start
    /// has to be asked for; the assignment is as before then.
    pub async fn assign(
        &mut self,
        partitions: impl IntoIterator<Item = (TopicPartition, SeekTo)>,
    ) -> Result<(), Error> {
        if self.group.as_ref().is_some_and(|group| group.shared.is_subscribed()) {
            return Err(Error::Subscribed);
        }
        let partitions: BTreeMap<TopicPartition, SeekTo> = partitions.into_iter().collect();
        for location in partitions.keys() {
            self.cluster.want_topic(&location.topic);
        }
        let offsets = self.resolve(partitions).await?;
        self.cluster.want_only(offsets.keys().map(|location| location.topic.clone()));
        self.current = None;
        self.shared.buffer.lock().assign(offsets);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// The partitions that are assigned.
    #[must_use]
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.shared.buffer.lock().assignment().cloned().collect()
    }

    /// Goes on elsewhere in a partition; returns the offset. What was fetched ahead of it is dropped.
    ///
    /// # Errors
    /// [`Error::NotAssigned`]; those of asking the leader, unless `to` is an offset.
    pub async fn seek(&mut self, partition: &TopicPartition, to: SeekTo) -> Result<i64, Error> {
        if !self.shared.buffer.lock().is_assigned(partition) {
            return Err(Error::NotAssigned { partition: partition.clone() });
        }
        let offsets = self.resolve(BTreeMap::from([(partition.clone(), to)])).await?;
        let offset = offsets.into_values().next().unwrap_or_default();
        self.current.take_if(|current| current.location() == partition);
        self.shared.buffer.lock().seek(partition, offset)?;
        self.shared.wake.notify_one();
        Ok(offset)
    }

    /// Hands out nothing of these partitions until they are resumed. What was fetched ahead of them is kept.
    ///
    /// # Errors
    /// [`Error::NotAssigned`]; those before it are paused then.
    pub fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), Error> {
        self.set_paused(partitions, true)
    }

    /// Goes on with partitions that were paused, or halted by an error.
    ///
    /// # Errors
    /// [`Error::NotAssigned`]; those before it are resumed then.
    pub fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), Error> {
        self.set_paused(partitions, false)
    }

    /// The offset of the next record of a partition.
    ///
    /// # Errors
    /// [`Error::NotAssigned`]; [`Error::PositionUnknown`] just after the group assigned it.
    pub fn position(&self, partition: &TopicPartition) -> Result<i64, Error> {
        match self.current.as_ref().filter(|current| current.location() == partition) {
            Some(current) => Ok(current.next_position()),
            None => self.shared.buffer.lock().consumed(partition),
        }
    }

    /// How many offsets a partition's position is behind its end, as the last fetch told it; `None` before the first.
    ///
    /// # Errors
    /// Those of [`Consumer::position`].
    pub fn lag(&self, partition: &TopicPartition) -> Result<Option<i64>, Error> {
        let position = self.position(partition)?;
        let end = self.shared.buffer.lock().high_watermark(partition);
        Ok((end >= 0).then(|| (end - position).max(0)))
    }

    /// The next record. Waits for one. Dropping the future before it is ready loses nothing.
    ///
    /// # Errors
    /// What is wrong with one partition, or with the cluster, in its place in the stream; call again to go on with the
    /// others. The end of the membership in the group is the exception ([`Error::GroupMembership`], or that the coordinator
    /// cannot be used at all): after it every call fails at once with [`Error::NoMembership`], until the consumer subscribes
    /// again.
    pub async fn recv(&mut self) -> Result<ConsumerRecord, Error> {
        self.attend().await;
        loop {
            if let Some(record) = self.next_buffered() {
                return record;
            }
            self.wait().await?;
        }
    }

    /// Up to `max_records` records. Waits for the first at most `timeout`; takes the others only if they are there.
    /// Empty when none came.
    ///
    /// # Errors
    /// Those of [`Consumer::recv`], when one comes before any record.
    pub async fn poll(&mut self, max_records: usize, timeout: Duration) -> Result<Vec<ConsumerRecord>, Error> {
        let deadline = clock::now() + timeout;
        let Ok(first) = tokio::time::timeout_at(deadline, self.recv()).await else { return Ok(Vec::new()) };
        let mut records = vec![first?];
        while records.len() < max_records {
            match self.next_buffered() {
                Some(Ok(record)) => records.push(record),
                Some(Err(error)) => {
                    self.shared.buffer.lock().report(error);
                    self.shared.fetched.notify_one();
                    break;
                }
                None => break,
            }
        }
        Ok(records)
    }

    /// The next whole batch (or what is left of one of which records were taken), not decompressed yet: the fast way,
    /// and one that can be handed to another task. Waits for one. Dropping the future loses nothing.
    ///
    /// # Errors
    /// Those of [`Consumer::recv`].
    pub async fn recv_batch(&mut self) -> Result<FetchedBatch, Error> {
        self.attend().await;
        if let Some(current) = self.current.take().filter(|current| current.next_position() < current.next_offset()) {
            return Ok(current.into_rest());
        }
        loop {
            if let Some(fetched) = self.pop() {
                return fetched;
            }
            self.wait().await?;
        }
    }

    /// A topic's partitions.
    ///
    /// # Errors
    /// [`Error::Broker`] when the topic is refused or stays unknown; [`Error::MetadataTimeout`].
    pub async fn partitions_for(&self, topic: impl Into<Arc<str>>) -> Result<Arc<TopicMetadata>, Error> {
        self.cluster.topic(&topic.into()).await
    }

    /// The first offset that each partition still has.
    ///
    /// # Errors
    /// Those of asking the leaders; one failure is a failure of all.
    pub async fn beginning_offsets(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, i64>, Error> {
        self.offsets(partitions, OffsetSpec::Earliest).await
    }

    /// The offset after the last record of each partition (with `ReadCommitted`: of what is committed).
    ///
    /// # Errors
    /// Those of asking the leaders; one failure is a failure of all.
    pub async fn end_offsets(&self, partitions: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, i64>, Error> {
        self.offsets(partitions, OffsetSpec::Latest).await
    }

    /// The first record of each partition whose time is at or after the one given; `None` where there is none.
    ///
    /// # Errors
    /// Those of asking the leaders; one failure is a failure of all.
    pub async fn offsets_for_times(
        &self,
        times: impl IntoIterator<Item = (TopicPartition, i64)>,
    ) -> Result<BTreeMap<TopicPartition, Option<ListedOffset>>, Error> {
        let questions = times.into_iter().map(|(location, time)| (location, OffsetSpec::Timestamp(time))).collect();
        let listed = self.ask(questions).await?;
        Ok(listed.into_iter().map(|(location, listed)| (location, Some(listed).filter(|l| l.offset >= 0))).collect())
    }

    /// The next record or error, if there is one without waiting.
    fn next_buffered(&mut self) -> Option<Result<ConsumerRecord, Error>> {
        loop {
            if let Some(current) = &mut self.current {
                match current.next() {
                    Some(Ok(record)) => return Some(Ok(record)),
                    Some(Err(error)) => {
                        let (location, position) = (current.location().clone(), current.next_position());
                        self.current = None;
                        self.shared.buffer.lock().halt(&location, position);
                        return Some(Err(error));
                    }
                    None => self.current = None,
                }
            }
            match self.pop()? {
                Ok(batch) => {
                    let (location, start) = (batch.partition().clone(), batch.start_offset());
                    match batch.records() {
                        Ok(records) => self.current = Some(records),
                        Err(error) => {
                            self.shared.buffer.lock().halt(&location, start);
                            return Some(Err(error));
                        }
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The next batch or error from the buffer, which has room for more then.
    fn pop(&mut self) -> Option<Result<FetchedBatch, Error>> {
        let fetched = self.shared.buffer.lock().pop();
        if fetched.is_some() {
            self.shared.wake.notify_one();
        }
        fetched
    }

    fn set_paused(&mut self, partitions: &[TopicPartition], paused: bool) -> Result<(), Error> {
        if self.current.as_ref().is_some_and(|current| partitions.contains(current.location())) {
            self.put_back();
        }
        for partition in partitions {
            self.shared.buffer.lock().set_paused(partition, paused)?;
        }
        self.shared.wake.notify_one();
        self.shared.fetched.notify_one();
        Ok(())
    }

    /// Puts what is left of the present batch back into the buffer, from which all positions can be told then.
    fn put_back(&mut self) {
        if let Some(current) = self.current.take()
            && current.next_position() < current.next_offset()
        {
            self.shared.buffer.lock().push_front(current.into_rest());
        }
    }

    /// The offsets that are meant, asking the leaders where that is necessary.
    async fn resolve(
        &self,
        partitions: BTreeMap<TopicPartition, SeekTo>,
    ) -> Result<BTreeMap<TopicPartition, i64>, Error> {
        let question = |to: SeekTo| match to {
            SeekTo::Beginning => Some(OffsetSpec::Earliest),
            SeekTo::End => Some(OffsetSpec::Latest),
            SeekTo::Timestamp(timestamp) => Some(OffsetSpec::Timestamp(timestamp)),
            SeekTo::Offset(_) => None,
        };
        let questions = partitions.iter().filter_map(|(location, to)| Some((location.clone(), question(*to)?)));
        let listed = self.ask(questions.collect()).await?;
        let beyond: Vec<TopicPartition> =
            listed.iter().filter(|(_, listed)| listed.offset < 0).map(|(location, _)| location.clone()).collect();
        let ends = self.end_offsets(&beyond).await?;
        let mut offsets = BTreeMap::new();
        for (location, to) in partitions {
            let offset = match to {
                SeekTo::Offset(offset) => offset,
                _ => ends.get(&location).copied().unwrap_or_else(|| listed.get(&location).map_or(0, |l| l.offset)),
            };
            offsets.insert(location, offset);
        }
        Ok(offsets)
    }

    async fn offsets(
        &self,
        partitions: &[TopicPartition],
        spec: OffsetSpec,
    ) -> Result<BTreeMap<TopicPartition, i64>, Error> {
        let listed = self.ask(partitions.iter().map(|location| (location.clone(), spec)).collect()).await?;
        Ok(listed.into_iter().map(|(location, listed)| (location, listed.offset)).collect())
    }

    async fn ask(
        &self,
        questions: BTreeMap<TopicPartition, OffsetSpec>,
    ) -> Result<BTreeMap<TopicPartition, ListedOffset>, Error> {
        let isolation_level: IsolationLevel = self.config.isolation_level;
        list_all_offsets(&self.cluster, questions, isolation_level).await
    }
}
