//! Goal: each wish gets Kafka's answer, what is answered is so at once and after a restart, and folders follow.
//! Method: scripts on the real file system, with a listener that looks at the folders as it is told.

use std::collections::BTreeMap;
use std::path::Path;

use rand::SeedableRng;

use super::super::alter_configs::{CONFIGURED_GROUPS_MAX, GROUP_NAME_BYTES_MAX};
use super::*;
use crate::clock::ManualClock;
use crate::config::{AlterOp, Alteration, BrokerScope, ConfigError};
use crate::metadata::{ConfigChange, NewPartitions, NewTopic, ReplicaAssignment, TopicConfigChange, TopicReference};
use crate::storage::vfs::RealVfs;

fn open_with(dir: &Path, config: BrokerConfig) -> (Controller, FolderReport) {
    let context = ControllerContext {
        vfs: Arc::new(RealVfs),
        data_dir: dir.to_owned(),
        config,
        partitions_max: usize::MAX,
        random: StdRng::seed_from_u64(std::process::id().into()),
        clock: Arc::new(ManualClock::at(5)),
    };
    Controller::open(context).unwrap()
}

#[test]
fn partitions_without_descriptors_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let context = ControllerContext {
        vfs: Arc::new(RealVfs),
        data_dir: dir.path().to_owned(),
        config: BrokerConfig::default(),
        partitions_max: 5,
        random: StdRng::seed_from_u64(1),
        clock: Arc::new(ManualClock::at(5)),
    };
    let (controller, _) = Controller::open(context).unwrap();
    create(&controller, new_topic("a", 3)).unwrap();
    let refused = create(&controller, new_topic("b", 3)).unwrap_err();
    assert!(matches!(refused, ControllerError::TooManyPartitions { requested: 3, total: 6, limit: 5, .. }));
    assert!(refused.to_string().contains("ulimit"), "{refused}");
    create(&controller, new_topic("b", 2)).unwrap();
    // Groups are still possible; but nobody gets around the limit by a name.
    let refused = create(&controller, new_topic("__consumer_offsets", 101)).unwrap_err();
    assert!(matches!(refused, ControllerError::TooManyPartitions { total: 6, limit: 5, .. }), "{refused}");
    create(&controller, new_topic("__consumer_offsets", 100)).unwrap();
    assert!(create(&controller, new_topic("__transaction_state", 1)).is_err());
    assert!(create(&controller, new_topic("c", 1)).is_err());
}

fn open(dir: &Path) -> Controller {
    let (controller, report) = open_with(dir, BrokerConfig::default());
    assert_eq!(report, FolderReport::default());
    controller
}

fn new_topic(name: &str, num_partitions: i32) -> NewTopic {
    NewTopic { name: name.to_owned(), num_partitions, replication_factor: 1, ..NewTopic::default() }
}

fn create(controller: &Controller, topic: NewTopic) -> Result<(), ControllerError> {
    let mut results = controller.create_topics(vec![topic]);
    assert_eq!(results.len(), 1);
    results.remove(0).map(|_| ())
}

fn set(name: &str, value: &str) -> Alteration {
    Alteration { name: name.to_owned(), op: AlterOp::Set, value: Some(value.to_owned()) }
}

fn alter(
    controller: &Controller,
    topic: &str,
    change: ConfigChange,
) -> Result<BTreeMap<String, String>, ControllerError> {
    let change = TopicConfigChange { name: topic.to_owned(), change, validate_only: false };
    controller.alter_topic_configs(vec![change]).remove(0).map(|topic| topic.configs.clone())
}

fn folders(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with("__cluster")).collect();
    names.sort();
    names
}

macro_rules! assert_refused {
    ($result:expr, $error:pat) => {
        let result = $result;
        assert!(matches!(result, Err($error)), "{result:?}");
    };
}

#[test]
fn topics_are_there_at_once_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let controller = open(dir.path());
    let cluster_id = controller.image().cluster_id();
    assert!(!cluster_id.is_zero());
    let configs = vec![("retention.ms".to_owned(), Some("-1".to_owned()))];
    let wishes = vec![
        new_topic("one", 2),
        NewTopic { num_partitions: -1, replication_factor: -1, configs, ..new_topic("two", -1) },
        new_topic("bad name", 1),
    ];
    let results = controller.create_topics(wishes);
    assert_refused!(&results[2], ControllerError::InvalidTopicName(_));
    let one = results[0].as_ref().unwrap();
    let image = controller.image();
    assert!(Arc::ptr_eq(image.topic("one").unwrap(), one));
    assert!(Arc::ptr_eq(image.topic_by_id(&one.id).unwrap(), one));
    assert_eq!(image.topic("two").unwrap().configs["retention.ms"], "-1");
    assert_eq!(image.topics().len(), 2);
    assert_eq!(folders(dir.path()), ["one-0", "one-1", "two-0"]);
    drop(controller);

    let again = open(dir.path());
    assert_eq!(*again.image(), *image);
    assert_eq!(again.image().cluster_id(), cluster_id);
}

#[test]
fn creation_is_refused_as_kafka_refuses_it() {
    let dir = tempfile::tempdir().unwrap();
    let controller = open_with(dir.path(), BrokerConfig::from_values([("max.partitions", "10")]).unwrap()).0;
    create(&controller, new_topic("a_b", 2)).unwrap();
    let wish = |change: &dyn Fn(&mut NewTopic)| {
        let mut topic = new_topic("new", 1);
        change(&mut topic);
        create(&controller, topic)
    };
    let named = |name: &'static str| wish(&move |topic| topic.name = name.to_owned());
    let assigned = |assignments: &'static [(i32, &'static [i32])]| {
        wish(&move |topic| {
            (topic.num_partitions, topic.replication_factor) = (-1, -1);
            topic.assignments = assignments
                .iter()
                .map(|(partition_index, ids)| ReplicaAssignment {
                    partition_index: *partition_index,
                    broker_ids: ids.to_vec(),
                })
                .collect();
        })
    };
    assert_refused!(named("../../etc/passwd"), ControllerError::InvalidTopicName(_));
    assert_refused!(named("a_b"), ControllerError::TopicExists { .. });
    assert_refused!(named("a.b"), ControllerError::TopicNameCollision { .. });
    assert_refused!(named("__cluster_metadata"), ControllerError::ReservedTopicName { .. });
    for count in [0, -5, i32::MIN] {
        let result = wish(&|topic| topic.num_partitions = count);
        assert_refused!(result, ControllerError::InvalidPartitionCount { .. });
    }
    for count in [9, i32::MAX] {
        let result = wish(&|topic| topic.num_partitions = count);
        assert_refused!(result, ControllerError::TooManyPartitions { limit: 10, .. });
    }
    for factor in [0, -2, 2, i16::MAX] {
        let result = wish(&|topic| topic.replication_factor = factor);
        assert_refused!(result, ControllerError::InvalidReplicationFactor { .. });
    }
    let config = |key: &str, value: Option<&str>| {
        wish(&|topic| topic.configs = vec![(key.to_owned(), value.map(str::to_owned))])
    };
    assert_refused!(config("no.such.key", Some("1")), ControllerError::Config(ConfigError::UnknownKey { .. }));
    assert_refused!(config("retention.ms", Some("abc")), ControllerError::Config(ConfigError::InvalidValue { .. }));
    assert_refused!(config("retention.ms", None), ControllerError::Config(ConfigError::NullValue { .. }));
    const WRONG: &[&[(i32, &[i32])]] = &[
        &[(1, &[1])],
        &[(-1, &[1])],
        &[(0, &[1]), (0, &[1])],
        &[(0, &[1]), (2, &[1])],
        &[(0, &[])],
        &[(0, &[2])],
        &[(0, &[1, 1])],
        &[(0, &[1, 2])],
    ];
    for wrong in WRONG {
        assert_refused!(assigned(wrong), ControllerError::InvalidReplicaAssignment { .. });
    }
    let both = wish(&|topic| {
        topic.assignments = vec![ReplicaAssignment { partition_index: 0, broker_ids: vec![1] }];
    });
    assert_refused!(both, ControllerError::AssignmentAndCount { .. });
    let only_checked = wish(&|topic| topic.validate_only = true);
    assert!(only_checked.is_ok());
    assert_eq!(folders(dir.path()), ["a_b-0", "a_b-1"]);

    assigned(&[(1, &[1]), (0, &[1])]).unwrap();
    assert_eq!(controller.image().topic("new").unwrap().partition_count, 2);
    // One request cannot bring two of a name, nor two that collide.
    let results = controller.create_topics(vec![new_topic("x.y", 1), new_topic("x.y", 1), new_topic("x_y", 1)]);
    assert!(results[0].is_ok());
    assert_refused!(&results[1], ControllerError::TopicExists { .. });
    assert_refused!(&results[2], ControllerError::TopicNameCollision { .. });
}

#[test]
fn partitions_are_added_and_never_taken() {
    let dir = tempfile::tempdir().unwrap();
    let controller = open(dir.path());
    create(&controller, new_topic("t", 2)).unwrap();
    let wish = |name: &str, count, assignments: Option<Vec<Vec<i32>>>| {
        let wish = NewPartitions { name: name.to_owned(), count, assignments, validate_only: false };
        controller.create_partitions(vec![wish]).remove(0)
    };
    assert_refused!(wish("none", 3, None), ControllerError::UnknownTopic { .. });
    for count in [2, 1, 0, -1, i32::MIN] {
        assert_refused!(wish("t", count, None), ControllerError::NotMorePartitions { current: 2, .. });
    }
    assert_refused!(wish("t", i32::MAX, None), ControllerError::TooManyPartitions { .. });
    for assignments in [vec![], vec![vec![1], vec![1]], vec![vec![]], vec![vec![7]]] {
        assert_refused!(wish("t", 3, Some(assignments)), ControllerError::InvalidReplicaAssignment { .. });
    }
    let only_checked = NewPartitions { name: "t".to_owned(), count: 3, assignments: None, validate_only: true };
    assert_eq!(controller.create_partitions(vec![only_checked]).remove(0).unwrap().partition_count, 3);
    assert_eq!(controller.image().topic("t").unwrap().partition_count, 2);
    assert_eq!(wish("t", 3, Some(vec![vec![1]])).unwrap().partition_count, 3);
    assert_eq!(folders(dir.path()), ["t-0", "t-1", "t-2"]);
    drop(controller);
    assert_eq!(open(dir.path()).image().topic("t").unwrap().partition_count, 3);
}

#[test]
fn a_deleted_topic_is_gone_and_its_name_free() {
    let dir = tempfile::tempdir().unwrap();
    let controller = open(dir.path());
    create(&controller, new_topic("t", 2)).unwrap();
    create(&controller, new_topic("u", 1)).unwrap();
    let u = controller.image().topic("u").unwrap().id;
    std::fs::write(dir.path().join("t-0/00000000000000000000.log"), b"records").unwrap();
    let results = controller.delete_topics(&[
        TopicReference::Name("t".to_owned()),
        TopicReference::Name("t".to_owned()),
        TopicReference::Id(u),
        TopicReference::Id(Uuid([9; 16])),
    ]);
    assert_eq!(results[0].as_ref().unwrap().partition_count, 2);
    assert_refused!(&results[1], ControllerError::UnknownTopic { .. });
    assert_eq!(results[2].as_ref().unwrap().id, u);
    assert_refused!(&results[3], ControllerError::UnknownTopicId { .. });
    assert_eq!(controller.image().topics().len(), 0);
    assert!(folders(dir.path()).iter().all(|name| name.ends_with("-delete")));
    create(&controller, new_topic("t", 1)).unwrap();
    assert_eq!(controller.purge_deleted_folders().unwrap(), 3);
    assert_eq!(folders(dir.path()), ["t-0"]);
    assert!(controller.image().pending_removals().is_empty(), "settled by the change that followed");
    drop(controller);
    assert_eq!(open(dir.path()).image().topics().len(), 1);

    let dir = tempfile::tempdir().unwrap();
    let (controller, _) = open_with(dir.path(), BrokerConfig::from_values([("delete.topic.enable", "false")]).unwrap());
    create(&controller, new_topic("t", 1)).unwrap();
    let refused = controller.delete_topics(&[TopicReference::Name("t".to_owned())]).remove(0);
    assert_refused!(refused, ControllerError::TopicDeletionDisabled);
}

#[test]
fn topic_configs_are_altered_or_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let controller = open(dir.path());
    create(&controller, new_topic("t", 1)).unwrap();
    let keys = |result: Result<BTreeMap<String, String>, ControllerError>| {
        result.unwrap().into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
    };
    let append = Alteration { op: AlterOp::Append, ..set("cleanup.policy", "compact") };
    let altered = alter(&controller, "t", ConfigChange::Alter(vec![set("retention.ms", "5"), append]));
    assert_eq!(keys(altered), "cleanup.policy=delete,compact retention.ms=5");
    let delete = Alteration { name: "cleanup.policy".to_owned(), op: AlterOp::Delete, value: None };
    assert_eq!(keys(alter(&controller, "t", ConfigChange::Alter(vec![delete]))), "retention.ms=5");
    let replaced = ConfigChange::Replace(vec![("segment.ms".to_owned(), Some("9".to_owned()))]);
    assert_eq!(keys(alter(&controller, "t", replaced)), "segment.ms=9");
    assert_refused!(
        alter(&controller, "t", ConfigChange::Alter(vec![set("segment.bytes", "1")])),
        ControllerError::Config(_)
    );
    assert_refused!(alter(&controller, "none", ConfigChange::Alter(vec![])), ControllerError::UnknownTopic { .. });
    drop(controller);
    assert_eq!(open(dir.path()).image().topic("t").unwrap().configs["segment.ms"], "9");
}

#[test]
fn what_groups_are_kept_in_is_compacted_and_synced_whatever_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let controller = open(dir.path());
    let with = |key: &str, value: &str| NewTopic {
        configs: vec![(key.to_owned(), Some(value.to_owned()))],
        ..new_topic("__consumer_offsets", 1)
    };
    for (key, value) in [("cleanup.policy", "delete"), ("cleanup.policy", "compact,delete"), ("flush.mode", "async")] {
        let refused = create(&controller, with(key, value)).unwrap_err();
        assert!(matches!(refused, ControllerError::InternalTopicConfig { .. }), "{refused}");
        assert!(refused.to_string().contains(key), "{refused}");
    }
    create(&controller, with("segment.bytes", "2097152")).unwrap();
    let configs = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
        list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let own = [("cleanup.policy", "compact"), ("flush.mode", "sync"), ("segment.bytes", "2097152")];
    let is = |controller: &Controller| controller.image().topic("__consumer_offsets").unwrap().configs.clone();
    assert_eq!(is(&controller), configs(&own));

    let delete = |key: &str| Alteration { name: key.to_owned(), op: AlterOp::Delete, value: None };
    let append =
        Alteration { name: "cleanup.policy".to_owned(), op: AlterOp::Append, value: Some("delete".to_owned()) };
    let refusals = [
        ConfigChange::Alter(vec![set("cleanup.policy", "delete")]),
        ConfigChange::Alter(vec![append]),
        // The broker's default would count, which may change.
        ConfigChange::Alter(vec![delete("cleanup.policy")]),
        ConfigChange::Alter(vec![delete("flush.mode")]),
        ConfigChange::Alter(vec![set("segment.bytes", "4194304"), set("flush.mode", "async")]),
        ConfigChange::Replace(vec![("segment.bytes".to_owned(), Some("4194304".to_owned()))]),
    ];
    for change in refusals {
        assert_refused!(alter(&controller, "__consumer_offsets", change), ControllerError::InternalTopicConfig { .. });
    }
    assert_eq!(is(&controller), configs(&own));
    let change = ConfigChange::Alter(vec![set("segment.bytes", "4194304")]);
    alter(&controller, "__consumer_offsets", change).unwrap();
    drop(controller);
    let own = [("cleanup.policy", "compact"), ("flush.mode", "sync"), ("segment.bytes", "4194304")];
    assert_eq!(is(&open(dir.path())), configs(&own));
}

#[test]
fn what_groups_are_kept_in_is_mended_at_a_start_where_an_older_version_made_it() {
    let configs = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
        list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let dir = tempfile::tempdir().unwrap();
    let is = |controller: &Controller, topic: &str| controller.image().topic(topic).unwrap().configs.clone();
    let records = || MetadataLog::open(Arc::new(RealVfs), dir.path(), 5).unwrap().1.len();
    let old: [&[(&str, &str)]; 3] = [
        &[("cleanup.policy", "compact,delete"), ("segment.bytes", "2097152")],
        &[("cleanup.policy", "compact"), ("flush.mode", "async"), ("segment.bytes", "2097152")],
        &[("segment.bytes", "2097152")],
    ];
    let controller = open(dir.path());
    create(&controller, new_topic("__consumer_offsets", 1)).unwrap();
    create(&controller, new_topic("flights", 1)).unwrap();
    drop(controller);
    for old in old {
        let controller = open(dir.path());
        // The record that an older version has written, which had no such rule.
        let mut state = controller.lock().unwrap();
        let mut plan = controller.plan(&state);
        for topic in ["__consumer_offsets", "flights"] {
            let topic_id = controller.image().topic(topic).unwrap().id;
            plan.add(MetadataRecord::TopicConfigs { topic_id, configs: configs(old) });
        }
        controller.commit(&mut state, plan).unwrap();
        drop(state);
        assert_eq!(is(&controller, "__consumer_offsets"), configs(old));
        drop(controller);

        let before = records();
        let must = configs(&[("cleanup.policy", "compact"), ("flush.mode", "sync"), ("segment.bytes", "2097152")]);
        for _ in 0..2 {
            let controller = open(dir.path());
            assert_eq!(
                (is(&controller, "__consumer_offsets"), is(&controller, "flights")),
                (must.clone(), configs(old))
            );
            drop(controller);
            assert_eq!(records(), before + 1, "it is written once, and is on the disk");
        }
    }
}

#[test]
fn broker_configs_take_effect_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let controller = open(dir.path());
    let change = ConfigChange::Alter(vec![set("log.retention.ms", "77")]);
    controller.alter_broker_configs(BrokerScope::ClusterWide, change.clone(), true).unwrap();
    assert_ne!(controller.config().topic_defaults.retention_ms, 77);
    controller.alter_broker_configs(BrokerScope::ClusterWide, change, false).unwrap();
    assert_eq!(controller.config().topic_defaults.retention_ms, 77);
    let change = ConfigChange::Alter(vec![set("log.retention.ms", "88")]);
    controller.alter_broker_configs(BrokerScope::PerBroker, change, false).unwrap();
    assert_eq!(controller.config().topic_defaults.retention_ms, 88);
    drop(controller);
    let controller = open(dir.path());
    assert_eq!(controller.config().topic_defaults.retention_ms, 88);
    controller.alter_broker_configs(BrokerScope::PerBroker, ConfigChange::Replace(vec![]), false).unwrap();
    assert_eq!(controller.config().topic_defaults.retention_ms, 77);
}

#[test]
fn a_group_keeps_its_own_configuration_and_few_groups_have_one() {
    let dir = tempfile::tempdir().unwrap();
    let controller = open(dir.path());
    let session = |value: &str| ConfigChange::Alter(vec![set("consumer.session.timeout.ms", value)]);
    controller.alter_group_configs("g", session("50000"), true).unwrap();
    assert!(controller.image().group_configs("g").is_none());
    controller.alter_group_configs("g", session("50000"), false).unwrap();
    for refused in ["", &"x".repeat(GROUP_NAME_BYTES_MAX + 1)] {
        let result = controller.alter_group_configs(refused, session("50000"), false);
        assert_refused!(result, ControllerError::InvalidGroupName { .. });
    }
    assert_refused!(controller.alter_group_configs("g", session("44999"), false), ControllerError::Config(_));
    drop(controller);
    let controller = open(dir.path());
    assert_eq!(controller.image().group_configs("g").unwrap()["consumer.session.timeout.ms"], "50000");
    controller.alter_group_configs("g", ConfigChange::Replace(vec![]), false).unwrap();
    assert!(controller.image().group_configs("g").is_none());

    let mut image = MetadataImage::clone(&controller.image());
    for number in 0..CONFIGURED_GROUPS_MAX {
        let configs = BTreeMap::from([("consumer.session.timeout.ms".to_owned(), "50000".to_owned())]);
        let record = MetadataRecord::GroupConfigs { group: number.to_string(), configs };
        image.replay(&record, &mut ImageDelta::default()).unwrap();
    }
    controller.image.store(Arc::new(image));
    let one_more = controller.alter_group_configs("g", session("50000"), false);
    assert_refused!(one_more, ControllerError::TooManyConfiguredGroups);
    controller.alter_group_configs("7", session("51000"), false).unwrap();
}

#[test]
fn producer_ids_are_never_handed_out_twice() {
    let dir = tempfile::tempdir().unwrap();
    let controller = open(dir.path());
    let ids: Vec<i64> = (0..1_500).map(|_| controller.allocate_producer_id().unwrap().0).collect();
    assert_eq!(ids, (0..1_500).collect::<Vec<i64>>());
    drop(controller);
    assert_eq!(open(dir.path()).allocate_producer_id().unwrap().0, 2_000);
    assert_eq!(open(dir.path()).begin_leader_epoch().unwrap(), LeaderEpoch(1));
    assert_eq!(open(dir.path()).image().leader_epoch(), LeaderEpoch(1));
}

/// Opens "logs" as a replica manager would, and writes down what it is told.
struct Witness {
    dir: PathBuf,
    told: Mutex<Vec<String>>,
}

impl TopicListener for Witness {
    fn on_metadata_change(&self, before: &MetadataImage, after: &Arc<MetadataImage>, delta: &ImageDelta) {
        let mut told = self.told.lock();
        for topic in &delta.created {
            for partition in topic.partitions() {
                std::fs::write(self.dir.join(partition.to_string()).join("0.log"), b"").unwrap();
            }
            assert!(before.topic(topic.name.as_str()).is_none() && after.topic(topic.name.as_str()).is_some());
            told.push(format!("created {}", topic.name));
        }
        for topic in &delta.removed {
            let folder = self.dir.join(topic.partitions().next().unwrap().to_string());
            assert!(folder.exists(), "closed before it is renamed");
            told.push(format!("removed {}", topic.name));
        }
        for change in &delta.altered {
            told.push(format!(
                "altered {} {}",
                change.after.name,
                change.after.partition_count - change.before.partition_count
            ));
        }
        if delta.broker_configs_altered {
            told.push("broker".to_owned());
        }
    }
}

#[test]
fn the_listener_is_told_in_order_and_before_anybody_sees() {
    let dir = tempfile::tempdir().unwrap();
    let controller = open(dir.path());
    let witness = Arc::new(Witness { dir: dir.path().to_owned(), told: Mutex::new(Vec::new()) });
    assert!(controller.set_listener(witness.clone()));
    assert!(!controller.set_listener(witness.clone()));
    controller.create_topics(vec![new_topic("a", 1), new_topic("b", 2)]);
    let more = NewPartitions { name: "a".to_owned(), count: 3, ..NewPartitions::default() };
    controller.create_partitions(vec![more]).remove(0).unwrap();
    alter(&controller, "b", ConfigChange::Alter(vec![set("retention.ms", "5")])).unwrap();
    // What changes nothing is told to nobody.
    alter(&controller, "b", ConfigChange::Alter(vec![set("retention.ms", "5")])).unwrap();
    let change = ConfigChange::Alter(vec![set("log.retention.ms", "77")]);
    controller.alter_broker_configs(BrokerScope::PerBroker, change, false).unwrap();
    controller.delete_topics(&[TopicReference::Name("a".to_owned())]).remove(0).unwrap();
    let told = ["created a", "created b", "altered a 2", "altered b 0", "broker", "removed a"];
    assert_eq!(*witness.told.lock(), told);
}
