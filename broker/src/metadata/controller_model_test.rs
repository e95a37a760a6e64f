//! Goal: any sequence of changes and restarts gives what a simple model gives. Method: random operations on few names, so that
//! they meet; the model is a map, and knows nothing of records, folders or files.

use std::collections::BTreeMap;
use std::path::Path;

use rand::SeedableRng;

use super::*;
use crate::clock::ManualClock;
use crate::config::{AlterOp, Alteration};
use crate::metadata::{ConfigChange, NewPartitions, NewTopic, TopicConfigChange, TopicReference};
use crate::storage::vfs::FaultVfs;

const NAMES: [&str; 5] = ["a", "b", "c.d", "c_d", "no/good"];
const KEYS: [&str; 4] = ["retention.ms", "segment.ms", "cleanup.policy", "no.such.key"];

#[derive(Debug, Clone, PartialEq, Eq)]
struct ModelTopic {
    partition_count: i32,
    configs: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct Model {
    topics: BTreeMap<String, ModelTopic>,
    producer_ids: i64,
}

fn open(vfs: &FaultVfs, random: &mut StdRng) -> Controller {
    let context = ControllerContext {
        vfs: Arc::new(vfs.clone()),
        data_dir: "/data".into(),
        config: BrokerConfig::from_values([("max.partitions", "12")]).unwrap(),
        partitions_max: usize::MAX,
        random: StdRng::seed_from_u64(random.random()),
        clock: Arc::new(ManualClock::at(5)),
    };
    Controller::open(context).unwrap().0
}

fn name(random: &mut StdRng) -> String {
    NAMES[random.random_range(0..NAMES.len())].to_owned()
}

/// Keys and values, most of them good.
fn configs(random: &mut StdRng) -> Vec<(String, Option<String>)> {
    let mut keys: Vec<&str> = KEYS.to_vec();
    (0..random.random_range(0..3))
        .map(|_| {
            let key = keys.swap_remove(random.random_range(0..keys.len()));
            let value = match key {
                "cleanup.policy" => "compact".to_owned(),
                _ if random.random_ratio(1, 10) => "abc".to_owned(),
                _ => random.random_range(1..1_000_000).to_string(),
            };
            (key.to_owned(), Some(value))
        })
        .collect()
}

fn are_good(configs: &[(String, Option<String>)]) -> bool {
    configs.iter().all(|(key, value)| key != "no.such.key" && value.as_deref() != Some("abc"))
}

fn as_map(configs: Vec<(String, Option<String>)>) -> BTreeMap<String, String> {
    configs.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

impl Model {
    fn partition_total(&self) -> i32 {
        self.topics.values().map(|topic| topic.partition_count).sum()
    }

    fn create(&mut self, controller: &Controller, random: &mut StdRng) {
        let wish = NewTopic {
            name: name(random),
            num_partitions: random.random_range(-2..6),
            replication_factor: random.random_range(-2..3),
            configs: configs(random),
            validate_only: random.random_ratio(1, 8),
            ..NewTopic::default()
        };
        let collides = match wish.name.as_str() {
            "c.d" => self.topics.contains_key("c_d"),
            "c_d" => self.topics.contains_key("c.d"),
            _ => false,
        };
        let partition_count = if wish.num_partitions == -1 { 1 } else { wish.num_partitions };
        let is_good = wish.name != "no/good"
            && !self.topics.contains_key(&wish.name)
            && !collides
            && are_good(&wish.configs)
            && matches!(wish.replication_factor, -1 | 1)
            && partition_count > 0
            && self.partition_total() + partition_count <= 12;
        let result = controller.create_topics(vec![wish.clone()]).remove(0);
        assert_eq!(result.is_ok(), is_good, "{wish:?} gave {result:?}");
        if is_good && !wish.validate_only {
            self.topics.insert(wish.name, ModelTopic { partition_count, configs: as_map(wish.configs) });
        }
    }

    fn add_partitions(&mut self, controller: &Controller, random: &mut StdRng) {
        let wish = NewPartitions { name: name(random), count: random.random_range(0..8), ..NewPartitions::default() };
        let free = 12 - self.partition_total();
        let topic = self.topics.get_mut(&wish.name);
        let topic = topic.filter(|topic| (1..=free).contains(&(wish.count - topic.partition_count)));
        let result = controller.create_partitions(vec![wish.clone()]).remove(0);
        assert_eq!(result.is_ok(), topic.is_some(), "{wish:?} gave {result:?}");
        if let Some(topic) = topic {
            topic.partition_count = wish.count;
        }
    }

    fn delete(&mut self, controller: &Controller, random: &mut StdRng) {
        let name = name(random);
        let reference = match controller.image().topic(&name) {
            Some(topic) if random.random() => TopicReference::Id(topic.id),
            _ => TopicReference::Name(name.clone()),
        };
        let result = controller.delete_topics(&[reference]).remove(0);
        assert_eq!(result.is_ok(), self.topics.remove(&name).is_some(), "{name} gave {result:?}");
    }

    fn alter(&mut self, controller: &Controller, random: &mut StdRng) {
        let (name, values) = (name(random), configs(random));
        let replaces = random.random();
        let change = match replaces {
            true => ConfigChange::Replace(values.clone()),
            false => ConfigChange::Alter(
                values
                    .iter()
                    .map(|(key, value)| Alteration { name: key.clone(), op: AlterOp::Set, value: value.clone() })
                    .collect(),
            ),
        };
        let wish = TopicConfigChange { name: name.clone(), change, validate_only: false };
        let result = controller.alter_topic_configs(vec![wish.clone()]).remove(0);
        let topic = self.topics.get_mut(&name).filter(|_| are_good(&values));
        assert_eq!(result.is_ok(), topic.is_some(), "{wish:?} gave {result:?}");
        if let Some(topic) = topic {
            if replaces {
                topic.configs.clear();
            }
            topic.configs.extend(as_map(values));
        }
    }

    fn allocate(&mut self, controller: &Controller) {
        let id = controller.allocate_producer_id().unwrap().0;
        assert!(id >= self.producer_ids, "{id} was handed out");
        self.producer_ids = id + 1;
    }

    fn check(&self, controller: &Controller, vfs: &FaultVfs) {
        let image = controller.image();
        let topics: BTreeMap<String, ModelTopic> = image
            .topics()
            .map(|topic| {
                assert!(Arc::ptr_eq(topic, image.topic_by_id(&topic.id).unwrap()));
                let model = ModelTopic { partition_count: topic.partition_count, configs: topic.configs.clone() };
                (topic.name.to_string(), model)
            })
            .collect();
        assert_eq!(topics, self.topics);
        assert_eq!(image.partition_total() as i32, self.partition_total());
        let mut expected: Vec<String> =
            image.topics().flat_map(|topic| topic.partitions()).map(|partition| partition.to_string()).collect();
        expected.sort();
        let folders = vfs.read_dir(Path::new("/data")).unwrap().into_iter().map(|entry| entry.name);
        let folders: Vec<String> =
            folders.filter(|name| !name.starts_with("__cluster") && !name.ends_with("-delete")).collect();
        assert_eq!(folders, expected);
    }
}

#[test]
fn random_changes_and_restarts_agree_with_the_model() {
    for seed in 0..150 {
        let failed = std::panic::catch_unwind(|| run(seed)).is_err();
        assert!(!failed, "failed with seed {seed}");
    }
}

fn run(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut vfs = FaultVfs::new();
    vfs.create_dir(Path::new("/data")).unwrap();
    vfs.sync_dir(Path::new("/")).unwrap();
    let mut controller = open(&vfs, &mut random);
    let mut model = Model::default();
    for _ in 0..60 {
        match random.random_range(0..20) {
            0..7 => model.create(&controller, &mut random),
            7..10 => model.add_partitions(&controller, &mut random),
            10..13 => model.delete(&controller, &mut random),
            13..16 => model.alter(&controller, &mut random),
            16 | 17 => model.allocate(&controller),
            18 => drop(controller.purge_deleted_folders().unwrap()),
            _ => {
                drop(controller);
                // What was acknowledged is durable, however the last life ended.
                vfs = if random.random() { vfs.killed() } else { vfs.power_cut(random.random()) };
                controller = open(&vfs, &mut random);
            }
        }
        model.check(&controller, &vfs);
    }
}
