//! Goal: a change of the metadata is in force in partitions and logs when the change returns. Method: a controller with the
//! partitions as its listener, on the real file system, and a look at the settings.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::clock::ManualClock;
use crate::config::{AlterOp, Alteration, BrokerScope};
use crate::metadata::{ConfigChange, Controller, ControllerContext, NewTopic, TopicConfigChange};
use crate::storage::vfs::RealVfs;
use crate::storage::{DataDir, LogManagerConfig, ProducerLimits};

struct Fixture {
    controller: Controller,
    replicas: Arc<ReplicaManager>,
    _dir: tempfile::TempDir,
}

impl Fixture {
    fn new(config: BrokerConfig) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(5));
        let data_dir = DataDir::open(Arc::new(RealVfs), dir.path()).unwrap();
        let context = ControllerContext {
            vfs: Arc::new(RealVfs),
            data_dir: dir.path().to_owned(),
            config: config.clone(),
            partitions_max: usize::MAX,
            random: StdRng::seed_from_u64(1),
            clock: Arc::clone(&clock),
        };
        let controller = Controller::open(context).unwrap().0;
        let settings = LogManagerConfig { threads: 1, open_files_max: 16, producer_limits: ProducerLimits::default() };
        let logs = LogManager::open(data_dir, &settings, Vec::new(), 0).unwrap();
        let flusher = Arc::new(Flusher::start(1));
        let replicas = Arc::new(ReplicaManager::new(logs, flusher, clock, Arc::new(config)));
        replicas.open(&controller.image());
        assert!(controller.set_listener(Arc::clone(&replicas) as _));
        Fixture { controller, replicas, _dir: dir }
    }

    fn create(&self, name: &str) {
        let topic = NewTopic { name: name.to_owned(), num_partitions: 1, replication_factor: 1, ..NewTopic::default() };
        self.controller.create_topics(vec![topic]).remove(0).unwrap();
    }

    fn alter_broker(&self, scope: BrokerScope, key: &str, value: Option<&str>) {
        let op = if value.is_some() { AlterOp::Set } else { AlterOp::Delete };
        let alteration = Alteration { name: key.to_owned(), op, value: value.map(str::to_owned) };
        self.controller.alter_broker_configs(scope, ConfigChange::Alter(vec![alteration]), false).unwrap();
    }

    /// `retention.ms` as the partition and as its log have it.
    fn retention_ms(&self, topic: &str) -> (i64, i64) {
        let partition = self.replicas.by_name(topic).unwrap().partition(0).unwrap();
        (partition.config().retention_ms, partition.log().config().retention_ms)
    }
}

#[test]
fn an_altered_default_of_the_broker_reaches_every_topic_that_follows_it() {
    let fixture = Fixture::new(BrokerConfig::default());
    fixture.create("follows");
    fixture.create("has-its-own");
    let own = Alteration { name: "retention.ms".to_owned(), op: AlterOp::Set, value: Some("7".to_owned()) };
    let change = ConfigChange::Alter(vec![own]);
    let change = TopicConfigChange { name: "has-its-own".to_owned(), change, validate_only: false };
    fixture.controller.alter_topic_configs(vec![change]).remove(0).unwrap();

    fixture.alter_broker(BrokerScope::ClusterWide, "log.retention.ms", Some("1000"));
    assert_eq!(fixture.retention_ms("follows"), (1000, 1000));
    assert_eq!(fixture.retention_ms("has-its-own"), (7, 7));
    fixture.alter_broker(BrokerScope::PerBroker, "log.retention.ms", Some("2000"));
    assert_eq!(fixture.retention_ms("follows"), (2000, 2000), "this broker's own value comes first");
    fixture.create("new");
    assert_eq!(fixture.retention_ms("new"), (2000, 2000));
    fixture.alter_broker(BrokerScope::PerBroker, "log.retention.ms", None);
    fixture.alter_broker(BrokerScope::ClusterWide, "log.retention.ms", None);
    assert_eq!(fixture.retention_ms("follows"), (604_800_000, 604_800_000));
}

#[test]
fn the_bound_on_decompressed_bytes_reaches_the_logs() {
    let fixture = Fixture::new(BrokerConfig::from_values([("max.decompressed.bytes", "2000000")]).unwrap());
    fixture.create("t");
    let config = fixture.replicas.by_name("t").unwrap().partition(0).unwrap().log().config();
    assert_eq!(config.decompressed_bytes_max, 2_000_000);
}
