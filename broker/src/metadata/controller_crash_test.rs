//! Goal: whenever the process or the power goes, the metadata found afterwards is that before or after the change at hand,
//! what was acknowledged is there, and every partition has its folder and the records that were made durable in it.
//!
//! Method: a scenario of every kind of change runs once to learn how many operations it makes on the file system. Then it runs again
//! for each of them and stops there; the broker is opened on what is left after a kill and after several power cuts, and once
//! more after a crash in the middle of that opening.

use std::collections::BTreeSet;
use std::path::Path;

use rand::SeedableRng;

use super::*;
use crate::config::{AlterOp, Alteration, BrokerScope};
use crate::metadata::{ConfigChange, NewPartitions, NewTopic, TopicConfigChange, TopicReference};
use crate::storage::vfs::{Access, Fault, FaultVfs, read_file, write_all_at};
use crate::types::TopicPartition;

const DATA_DIR: &str = "/data";

/// A file system with an empty data directory.
fn new_disk() -> FaultVfs {
    let vfs = FaultVfs::default();
    vfs.create_dir(Path::new(DATA_DIR)).unwrap();
    vfs.sync_dir(Path::new("/")).unwrap();
    vfs
}

/// `seed` is where ids come from: each life of a broker has its own.
fn open(vfs: &FaultVfs, seed: u64) -> Result<(Controller, FolderReport), ControllerError> {
    let (controller, report) = Controller::open(ControllerContext {
        vfs: Arc::new(vfs.clone()),
        data_dir: DATA_DIR.into(),
        config: BrokerConfig::default(),
        random: StdRng::seed_from_u64(seed),
    })?;
    Ok((controller, report))
}

/// Puts a durable "record" into each new partition, as a producer with acks=all would.
struct RecordWriter {
    vfs: FaultVfs,
    written: Written,
}

/// Partitions with a durable record in them, and the topic ids that are the records.
type Written = Arc<Mutex<Vec<(TopicPartition, Uuid)>>>;

impl TopicListener for RecordWriter {
    fn on_metadata_change(&self, _: &MetadataImage, _: &Arc<MetadataImage>, delta: &ImageDelta) {
        let created = delta.created.iter().map(|topic| (topic, 0));
        let added = delta.altered.iter().map(|change| (&change.after, change.before.partition_count));
        for (topic, from) in created.chain(added) {
            for partition in topic.partitions().skip(from as usize) {
                // A crash or an error in here is part of the test: then nothing was acknowledged.
                if self.write(&partition, &topic.id.to_string()).is_ok() {
                    self.written.lock().push((partition, topic.id));
                }
            }
        }
    }
}

impl RecordWriter {
    fn write(&self, partition: &TopicPartition, content: &str) -> std::io::Result<()> {
        let dir = Path::new(DATA_DIR).join(partition.to_string());
        let file = self.vfs.open(&dir.join("00000000000000000000.log"), Access::CreateNew)?;
        write_all_at(&*file, content.as_bytes(), &[], 0)?;
        file.sync_data()?;
        self.vfs.sync_dir(&dir)
    }
}

fn set(name: &str, value: &str) -> Vec<Alteration> {
    vec![Alteration { name: name.to_owned(), op: AlterOp::Set, value: Some(value.to_owned()) }]
}

fn create(controller: &Controller, topics: &[(&str, i32)]) -> Result<(), ControllerError> {
    let topic = |(name, num_partitions): &(&str, i32)| NewTopic {
        name: (*name).to_owned(),
        num_partitions: *num_partitions,
        replication_factor: 1,
        configs: vec![("retention.ms".to_owned(), Some("5".to_owned()))],
        ..NewTopic::default()
    };
    controller.create_topics(topics.iter().map(topic).collect()).into_iter().try_for_each(|result| result.map(|_| ()))
}

fn delete(controller: &Controller, names: &[&str]) -> Result<(), ControllerError> {
    let topics: Vec<_> = names.iter().map(|name| TopicReference::Name((*name).to_owned())).collect();
    controller.delete_topics(&topics).into_iter().try_for_each(|result| result.map(|_| ()))
}

fn add_partitions(controller: &Controller, name: &str, count: i32) -> Result<(), ControllerError> {
    let wish = NewPartitions { name: name.to_owned(), count, ..NewPartitions::default() };
    controller.create_partitions(vec![wish]).remove(0).map(|_| ())
}

fn alter_topic(controller: &Controller, name: &str) -> Result<(), ControllerError> {
    let change = ConfigChange::Alter(set("segment.ms", "9"));
    let wish = TopicConfigChange { name: name.to_owned(), change, validate_only: false };
    controller.alter_topic_configs(vec![wish]).remove(0).map(|_| ())
}

type Step = fn(&Controller) -> Result<(), ControllerError>;

const STEPS: &[Step] = &[
    |controller| create(controller, &[("a", 2), ("b", 1), ("c.d", 1)]),
    |controller| controller.allocate_producer_id().map(|_| ()),
    |controller| add_partitions(controller, "a", 4),
    |controller| alter_topic(controller, "b"),
    |controller| {
        controller.alter_broker_configs(
            BrokerScope::PerBroker,
            ConfigChange::Alter(set("log.retention.ms", "77")),
            false,
        )
    },
    |controller| delete(controller, &["a"]),
    |controller| create(controller, &[("a", 1), ("e", 1)]),
    |controller| controller.purge_deleted_folders().map(|_| ()),
    |controller| delete(controller, &["b", "c.d", "a"]),
    |controller| controller.begin_leader_epoch().map(|_| ()),
    |controller| create(controller, &[("a", 2)]),
];

/// The metadata apart from what the start settles by itself.
fn settled(image: &MetadataImage) -> MetadataImage {
    let mut image = image.clone();
    image.replay(&MetadataRecord::RemovalsCompleted {}, &mut ImageDelta::default()).unwrap();
    image
}

/// What was acknowledged in a run: the images after opening and after each step, and the records.
#[derive(Default)]
struct Acknowledged {
    images: Vec<MetadataImage>,
    written: Written,
}

/// Runs the scenario until it fails.
fn run(vfs: &FaultVfs) -> Acknowledged {
    let mut acknowledged = Acknowledged::default();
    let Ok((controller, _)) = open(vfs, 1) else { return acknowledged };
    let listener = RecordWriter { vfs: vfs.clone(), written: acknowledged.written.clone() };
    assert!(controller.set_listener(Arc::new(listener)));
    acknowledged.images.push(settled(&controller.image()));
    for step in STEPS {
        if step(&controller).is_err() {
            break;
        }
        acknowledged.images.push(settled(&controller.image()));
    }
    acknowledged
}

fn partition_folders(vfs: &FaultVfs) -> BTreeSet<String> {
    let entries = vfs.read_dir(Path::new(DATA_DIR)).unwrap().into_iter().filter(|entry| entry.is_dir);
    entries
        .map(|entry| entry.name)
        .filter(|name| name != "quarantine" && !name.starts_with("__cluster") && !name.ends_with("-delete"))
        .collect()
}

/// Opens the broker on `vfs` and checks everything that must be so. `all` are the images of the whole scenario.
fn check(vfs: &FaultVfs, acknowledged: &Acknowledged, all: &[MetadataImage], context: &dyn Fn() -> String) {
    let (controller, report) = open(vfs, 3).unwrap_or_else(|error| panic!("{error} {}", context()));
    let image = settled(&controller.image());
    if let Some(before) = acknowledged.images.last() {
        let after = all.get(acknowledged.images.len()).unwrap_or(before);
        assert!(
            image == *before || image == *after,
            "{image:?}\nis neither\n{before:?}\nnor\n{after:?}\n{}",
            context()
        );
    }
    assert_eq!(report.recreated, [], "a folder was lost {}", context());
    assert_eq!(report.quarantined, [] as [String; 0], "a folder was not accounted for {}", context());
    let expected: BTreeSet<String> =
        image.topics().flat_map(|topic| topic.partitions()).map(|partition| partition.to_string()).collect();
    assert_eq!(partition_folders(vfs), expected, "{}", context());
    for (partition, id) in acknowledged.written.lock().iter().filter(|(_, id)| image.topic_by_id(id).is_some()) {
        let path = Path::new(DATA_DIR).join(partition.to_string()).join("00000000000000000000.log");
        let content = read_file(vfs, &path, 100).unwrap();
        assert_eq!(content, Some(id.to_string().into_bytes()), "{partition} {}", context());
    }
    // And it works: a change is made, and is there at the next start.
    create(&controller, &[("after", 1)]).unwrap_or_else(|error| panic!("{error} {}", context()));
    controller.purge_deleted_folders().unwrap();
    let image = settled(&controller.image());
    drop(controller);
    assert_eq!(settled(&open(vfs, 4).unwrap().0.image()), image, "{}", context());
}

#[test]
fn a_crash_at_every_operation_leaves_the_metadata_before_or_after() {
    let whole = new_disk();
    let first = whole.operation_count();
    let all = run(&whole).images;
    assert_eq!(all.len(), STEPS.len() + 1);
    let last = whole.operation_count();
    assert!(last - first > 100, "{:?}", whole.operations());

    for crash in first..last {
        let vfs = new_disk();
        vfs.crash_at(crash);
        let acknowledged = run(&vfs);
        assert_eq!(acknowledged.images, all[..acknowledged.images.len()], "the scenario is not repeatable");
        let mut random = StdRng::seed_from_u64(crash as u64);
        let operations = vfs.operations();
        let mut left = vec![("a kill", vfs.after_kill())];
        left.extend((0..2).map(|_| ("a power cut", vfs.after_power_cut(&mut random))));
        for (how, vfs) in left {
            // The power may go again while the next start puts things in order.
            let again = vfs.after_kill();
            let opening = random.random_range(0..20);
            again.crash_at(opening);
            let _ = open(&again, 2);
            let context = |what: &str| format!("after {how} at {crash}, {what}: {operations:#?}");
            check(&vfs, &acknowledged, &all, &|| context("first start"));
            let context =
                || context(&format!("second start, first one crashed at {opening}: {:#?}", again.operations()));
            check(&again.after_kill(), &acknowledged, &all, &context);
            check(&again.after_power_cut(&mut random), &acknowledged, &all, &context);
        }
    }
}

#[test]
fn an_error_at_every_operation_is_answered_and_the_next_start_is_sound() {
    let whole = new_disk();
    let first = whole.operation_count();
    let all = run(&whole).images;
    let last = whole.operation_count();
    for operation in first..last {
        let vfs = new_disk();
        vfs.fault_at(operation, Fault::Error(std::io::ErrorKind::StorageFull));
        let acknowledged = run(&vfs);
        let operations = vfs.operations();
        let context = || format!("after an error at {operation}: {operations:#?}");
        check(&vfs.after_kill(), &acknowledged, &all, &context);
        let mut random = StdRng::seed_from_u64(operation as u64);
        check(&vfs.after_power_cut(&mut random), &acknowledged, &all, &context);
    }
}

#[test]
fn short_writes_are_continued() {
    let whole = new_disk();
    let first = whole.operation_count();
    let all = run(&whole).images;
    for operation in first..whole.operation_count() {
        let vfs = new_disk();
        vfs.fault_at(operation, Fault::ShortWrite);
        assert_eq!(run(&vfs).images, all);
    }
}

#[test]
fn after_a_failed_sync_nothing_is_changed_any_more() {
    let vfs = new_disk();
    let (controller, _) = open(&vfs, 1).unwrap();
    create(&controller, &[("a", 1)]).unwrap();
    let image = controller.image();
    // Of a configuration change: the append, then its sync.
    vfs.fault_at(vfs.operation_count() + 1, Fault::Error(std::io::ErrorKind::Other));
    assert!(matches!(alter_topic(&controller, "a"), Err(ControllerError::Storage(_))));
    for _ in 0..3 {
        assert!(matches!(alter_topic(&controller, "a"), Err(ControllerError::Storage(_))));
        assert!(matches!(controller.allocate_producer_id(), Err(ControllerError::Storage(_))));
    }
    assert!(Arc::ptr_eq(&controller.image(), &image), "readers go on with what is known");
}

#[test]
fn a_producer_id_is_never_handed_out_again_after_a_crash() {
    let whole = new_disk();
    let run = |vfs: &FaultVfs| -> i64 {
        let Ok((controller, _)) = open(vfs, 1) else { return -1 };
        (0..2_500).map_while(|_| controller.allocate_producer_id().ok()).last().map_or(-1, |id| id.0)
    };
    assert_eq!(run(&whole), 2_499);
    for crash in 2..whole.operation_count() {
        let vfs = new_disk();
        vfs.crash_at(crash);
        let handed_out = run(&vfs);
        let mut random = StdRng::seed_from_u64(crash as u64);
        for _ in 0..5 {
            let (controller, _) = open(&vfs.after_power_cut(&mut random), 2).unwrap();
            let next = controller.allocate_producer_id().unwrap().0;
            assert!(next > handed_out, "{next} after {handed_out}, crash at {crash}");
        }
    }
}
