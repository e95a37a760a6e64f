//! What the end-to-end tests share: a cluster to test against, topics of their own, and reading everything back.
//!
//! The cluster is an Ottla broker in this process, or, with `OTTLA_CLIENT_TEST_BOOTSTRAP=HOST:PORT`, whatever listens
//! there: Apache Kafka is to pass the same tests.

#![allow(dead_code, reason = "each test binary uses another part")]

pub(crate) mod faulty_proxy;
pub(crate) mod fleet;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ottla_client::{
    Admin, Consumer, ConsumerConfig, ConsumerRecord, NewTopic, Producer, ProducerConfig, SeekTo, TopicPartition,
};

/// A record that was read back: what a test compares.
pub(crate) type Read = BTreeMap<i32, Vec<ConsumerRecord>>;

pub(crate) struct TestCluster {
    pub(crate) bootstrap: String,
    broker: Option<(ottla_broker::Broker, tempfile::TempDir)>,
}

impl TestCluster {
    pub(crate) async fn start() -> TestCluster {
        TestCluster::start_with(&[]).await
    }

    /// The same with settings of the broker, which Apache Kafka is to be started with, too.
    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> TestCluster {
        if let Ok(bootstrap) = std::env::var("OTTLA_CLIENT_TEST_BOOTSTRAP") {
            return TestCluster { bootstrap, broker: None };
        }
        let directory = tempfile::tempdir().unwrap();
        let builder = ottla_broker::Broker::builder().data_dir(directory.path()).listen("127.0.0.1:0");
        let builder = settings.iter().fold(builder, |builder, (key, value)| builder.set(*key, *value));
        let broker = builder.start().await.unwrap();
        TestCluster { bootstrap: broker.addr().to_string(), broker: Some((broker, directory)) }
    }

    pub(crate) async fn stop(self) {
        if let Some((broker, _directory)) = self.broker {
            broker.stop().await.unwrap();
        }
    }

    /// True for a broker in this process, which is to keep promises that Apache Kafka does not make.
    pub(crate) fn is_ottla(&self) -> bool {
        self.broker.is_some()
    }

    /// Whether `check` holds: at once with Ottla, whose answers are so for the very next request; with Apache Kafka, which
    /// answers earlier, within some seconds.
    pub(crate) async fn holds(&self, mut check: impl AsyncFnMut() -> bool) -> bool {
        let mut attempts = if self.is_ottla() { 1 } else { 100 };
        loop {
            attempts -= 1;
            if check().await {
                return true;
            }
            if attempts == 0 {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn admin(&self) -> Admin {
        Admin::connect(self.bootstrap.as_str()).await.unwrap()
    }

    /// A topic that no other test has.
    pub(crate) async fn topic(&self, partitions: i32) -> String {
        self.topic_with(partitions, &[]).await
    }

    pub(crate) async fn topic_with(&self, partitions: i32, configs: &[(&str, &str)]) -> String {
        let name = unique_name();
        let topic =
            configs.iter().fold(NewTopic::new(&name, partitions), |topic, (key, value)| topic.config(*key, *value));
        let admin = self.admin().await;
        admin.create_topic(topic).await.unwrap();
        admin.close().await;
        name
    }

    pub(crate) async fn producer(&self) -> Producer {
        self.producer_with(|_| ()).await
    }

    pub(crate) async fn producer_with(&self, change: impl FnOnce(&mut ProducerConfig)) -> Producer {
        let mut config = ProducerConfig::new(self.bootstrap.as_str());
        change(&mut config);
        Producer::connect(config).await.unwrap()
    }

    pub(crate) async fn consumer(&self) -> Consumer {
        self.consumer_with(|_| ()).await
    }

    pub(crate) async fn consumer_with(&self, change: impl FnOnce(&mut ConsumerConfig)) -> Consumer {
        let mut config = ConsumerConfig::new(self.bootstrap.as_str());
        change(&mut config);
        Consumer::connect(config).await.unwrap()
    }

    /// Everything that is in a topic now.
    pub(crate) async fn read_all(&self, topic: &str) -> Read {
        let mut consumer = self.consumer().await;
        let partitions = partitions(topic, consumer.partitions_for(topic).await.unwrap().partitions.len() as i32);
        let ends = consumer.end_offsets(&partitions).await.unwrap();
        consumer.assign(partitions.iter().map(|p| (p.clone(), SeekTo::Beginning))).await.unwrap();
        let mut read: Read = partitions.iter().map(|p| (p.partition, Vec::new())).collect();
        while partitions.iter().any(|p| consumer.position(p).unwrap() < ends[p]) {
            let record = within(consumer.recv()).await.unwrap();
            read.get_mut(&record.partition).unwrap().push(record);
        }
        consumer.close().await;
        read
    }
}

pub(crate) fn partitions(topic: &str, count: i32) -> Vec<TopicPartition> {
    (0..count).map(|partition| TopicPartition::new(topic, partition)).collect()
}

pub(crate) fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("client-test-{now:x}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The outcome, which has to come within half a minute: a test hangs for no longer.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("this takes no half minute")
}

pub(crate) fn value(record: &ConsumerRecord) -> String {
    String::from_utf8(record.value.as_ref().unwrap().to_vec()).unwrap()
}
