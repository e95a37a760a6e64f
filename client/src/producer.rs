//! The producer: takes records, and promises their fate.
//!
//! Owns the handle, and the waiting: for a topic's partitions, for memory, for everything to be settled. Gathering is the
//! accumulator's, sending the sender's. Invariant: a record that `send` took is settled, by acknowledgement or error,
//! at most `delivery_timeout` later, or when the last handle is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::accumulator::{Accumulator, Limits, Refused};
use crate::clock;
use crate::cluster::Cluster;
use crate::config::ProducerConfig;
use crate::delivery::Delivery;
use crate::metadata::TopicMetadata;
use crate::sender::{Counters, Sender, Shared};
use crate::{Error, ProducerRecord, TopicPartition};

/// Sends records to topics. Cheap to clone; the handles share one buffer and one set of connections.
///
/// ```no_run
/// # async fn example() -> Result<(), ottla_client::Error> {
/// use ottla_client::{Producer, ProducerConfig, ProducerRecord};
///
/// let producer = Producer::connect(ProducerConfig::new("127.0.0.1:9092")).await?;
/// let delivery = producer.send(ProducerRecord::new("flights", "departed").key("N14228")).await?;
/// let record = delivery.await?;
/// println!("partition {}, offset {}", record.partition, record.offset);
/// producer.close().await;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Producer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    cluster: Cluster,
    config: ProducerConfig,
    sender: Mutex<Option<JoinHandle<()>>>,
}

/// What a producer has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ProducerStats {
    /// Records that were acknowledged.
    pub records_acknowledged: u64,
    /// Records that failed for good.
    pub records_failed: u64,
    /// Bytes of acknowledged batches as they went over the wire.
    pub bytes_acknowledged: u64,
    /// Batches that were acknowledged.
    pub batches_acknowledged: u64,
    /// Batches that were sent again (each time counts).
    pub retries: u64,
    /// Bytes of records that wait to be acknowledged now.
    pub buffered_bytes: usize,
}

impl Producer {
    /// Reaches the cluster and starts the producer's task.
    ///
    /// # Errors
    /// [`Error::Config`]; [`Error::NoBrokerReachable`] when no bootstrap server answers.
    pub async fn connect(config: ProducerConfig) -> Result<Producer, Error> {
        config.validate()?;
        let cluster = Cluster::connect(config.client.clone(), config.allow_auto_create_topics).await?;
        let shared = Arc::new(Shared {
            accumulator: Mutex::new(Accumulator::new(Limits::from(&config))),
            wake: Notify::new(),
            freed: Notify::new(),
            closing: AtomicBool::new(false),
            counters: Counters::default(),
        });
        let sender = Sender::new(shared.clone(), cluster.clone(), config.clone());
        let sender = Mutex::new(Some(tokio::spawn(sender.run())));
        Ok(Producer { inner: Arc::new(Inner { shared, cluster, config, sender }) })
    }

    /// Takes a record; the answer tells its fate. Waits while the topic's partitions are not known, and while the buffer
    /// is full. Records of one caller for one partition are written in the order of these calls.
    ///
    /// The record is sent whether or not the [`Delivery`] is awaited, or even kept.
    ///
    /// # Errors
    /// [`Error::RecordTooLarge`], [`Error::UnknownPartition`] and [`Error::Broker`] (a refused topic) for this record;
    /// [`Error::MetadataTimeout`] or [`Error::BufferFull`] after the client's `api_timeout`; [`Error::Closed`].
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery, Error> {
        match self.append(&record) {
            Ok(delivery) => Ok(delivery),
            Err(Refused::Never(error)) => Err(error),
            Err(_) => self.send_when_possible(&record).await,
        }
    }

    /// Takes a record if that needs no waiting.
    ///
    /// # Errors
    /// Those of [`Producer::send`], [`Error::BufferFull`] and [`Error::MetadataTimeout`] at once. Call
    /// [`Producer::partitions_for`] first, so that the topic is known.
    pub fn try_send(&self, record: &ProducerRecord) -> Result<Delivery, Error> {
        self.append(record).map_err(|refused| match refused {
            Refused::Never(error) => error,
            Refused::Full => self.buffer_full(),
            Refused::UnknownPartition => {
                self.inner.cluster.want_topic(&record.topic);
                let reason = "it is being asked for".to_owned();
                Error::MetadataTimeout { topic: record.topic.clone(), after: Duration::ZERO, reason }
            }
        })
    }

    /// The partitions of a topic, which become known to the producer by this.
    ///
    /// # Errors
    /// [`Error::Broker`] when the topic is refused or stays unknown; [`Error::MetadataTimeout`].
    pub async fn partitions_for(&self, topic: impl Into<Arc<str>>) -> Result<Arc<TopicMetadata>, Error> {
        let topic = self.inner.cluster.topic(&topic.into()).await?;
        self.inner.shared.accumulator.lock().set_topic(&topic);
        Ok(topic)
    }

    /// Sends everything now, without linger, and waits until all that was taken before this call is acknowledged or has
    /// failed. Which of the two, each [`Delivery`] says.
    pub async fn flush(&self) {
        let unsettled = {
            let mut accumulator = self.inner.shared.accumulator.lock();
            accumulator.seal_all();
            accumulator.unsettled()
        };
        self.inner.shared.wake.notify_one();
        for delivery in unsettled {
            delivery.settled().await;
        }
    }

    /// Takes no more records, sends what there is, waits until all is settled (at most `delivery_timeout`), and closes the
    /// connections.
    pub async fn close(&self) {
        {
            let mut accumulator = self.inner.shared.accumulator.lock();
            accumulator.refuse(Error::Closed);
            accumulator.seal_all();
        }
        self.inner.shared.closing.store(true, Ordering::Release);
        self.inner.shared.wake.notify_one();
        self.inner.shared.freed.notify_waiters();
        let sender = self.inner.sender.lock().take();
        if let Some(sender) = sender
            && let Err(error) = sender.await
        {
            tracing::error!(%error, "the producer's task failed");
        }
    }

    /// What the producer has done so far.
    #[must_use]
    pub fn stats(&self) -> ProducerStats {
        let counters = &self.inner.shared.counters;
        ProducerStats {
            records_acknowledged: counters.records_acknowledged.load(Ordering::Relaxed),
            records_failed: counters.records_failed.load(Ordering::Relaxed),
            bytes_acknowledged: counters.bytes_acknowledged.load(Ordering::Relaxed),
            batches_acknowledged: counters.batches_acknowledged.load(Ordering::Relaxed),
            retries: counters.retries.load(Ordering::Relaxed),
            buffered_bytes: self.inner.shared.accumulator.lock().used(),
        }
    }

    fn append(&self, record: &ProducerRecord) -> Result<Delivery, Refused> {
        let timestamp = record.timestamp.unwrap_or_else(clock::unix_ms);
        let appended = self.inner.shared.accumulator.lock().append(record, timestamp, clock::now);
        match appended {
            Ok(appended) => {
                if appended.wake_sender {
                    self.inner.shared.wake.notify_one();
                }
                Ok(appended.delivery)
            }
            Err(refused) => {
                if matches!(refused, Refused::Full) {
                    self.inner.shared.wake.notify_one();
                }
                Err(refused)
            }
        }
    }

    async fn send_when_possible(&self, record: &ProducerRecord) -> Result<Delivery, Error> {
        let deadline = clock::now() + self.inner.config.client.api_timeout;
        loop {
            let mut freed = std::pin::pin!(self.inner.shared.freed.notified());
            // Before the attempt, so that memory freed right after it is not missed.
            freed.as_mut().enable();
            match self.append(record) {
                Ok(delivery) => return Ok(delivery),
                Err(Refused::Never(error)) => return Err(error),
                Err(Refused::UnknownPartition) => self.learn_partition(record).await?,
                Err(Refused::Full) => {
                    if tokio::time::timeout_at(deadline, freed).await.is_err() {
                        return Err(self.buffer_full());
                    }
                }
            }
        }
    }

    /// Makes the record's topic known to the accumulator, with the partition that the record names.
    async fn learn_partition(&self, record: &ProducerRecord) -> Result<(), Error> {
        match record.partition {
            Some(partition) => {
                let location = TopicPartition { topic: record.topic.clone(), partition };
                let led = self.inner.cluster.led_partition(&location).await;
                // A partition without a leader is one all the same: its records wait.
                if let Err(error @ Error::UnknownPartition { .. }) = led {
                    return Err(error);
                }
                self.partitions_for(record.topic.clone()).await.map(drop)
            }
            None => self.partitions_for(record.topic.clone()).await.map(drop),
        }
    }

    fn buffer_full(&self) -> Error {
        let used = self.inner.shared.accumulator.lock().used();
        Error::BufferFull { used, limit: self.inner.config.buffer_memory }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The task settles what it leaves behind when it is dropped.
        if let Some(sender) = self.sender.lock().take() {
            sender.abort();
        }
    }
}
