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
use crate::clock::ManualClock;
use crate::config::{AlterOp, Alteration, BrokerScope};
use crate::metadata::{ConfigChange, NewPartitions, NewTopic, TopicConfigChange, TopicReference};
use crate::storage::vfs::{Access, Fault, FaultVfs, read_file, write_all_at};
use crate::types::TopicPartition;

const DATA_DIR: &str = "/data";

/// A file system with an empty data directory.
fn new_disk() -> FaultVfs {
    let vfs = FaultVfs::new();
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
        partitions_max: usize::MAX,
        random: StdRng::seed_from_u64(seed),
        clock: Arc::new(ManualClock::at(5)),
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
    |controller| {
        controller.alter_group_configs("g", ConfigChange::Alter(set("consumer.session.timeout.ms", "50000")), false)
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
fn check(vfs: &FaultVfs, acknowledged: &Acknowledged, all: &[MetadataImage], context: &str) -> Controller {
    let (controller, report) = open(vfs, 3).unwrap_or_else(|error| panic!("{error}, {context}"));
    let image = settled(&controller.image());
    if let Some(before) = acknowledged.images.last() {
        let after = all.get(acknowledged.images.len()).unwrap_or(before);
        assert!(image == *before || image == *after, "{image:?}\nis neither\n{before:?}\nnor\n{after:?}, {context}");
    }
    assert_eq!(report.recreated, [], "a folder was lost, {context}");
    assert_eq!(report.quarantined, [] as [String; 0], "a folder was not accounted for, {context}");
    let expected: BTreeSet<String> =
        image.topics().flat_map(|topic| topic.partitions()).map(|partition| partition.to_string()).collect();
    assert_eq!(partition_folders(vfs), expected, "{context}");
    for (partition, id) in acknowledged.written.lock().iter().filter(|(_, id)| image.topic_by_id(id).is_some()) {
        let path = Path::new(DATA_DIR).join(partition.to_string()).join("00000000000000000000.log");
        let content = read_file(vfs, &path, 100).unwrap();
        assert_eq!(content, Some(id.to_string().into_bytes()), "{partition}, {context}");
    }
    controller
}

/// After [`check`]: whatever the start has put in order, and what is changed then, is durable.
fn check_durable(vfs: &FaultVfs, controller: &Controller, random: &mut StdRng, context: &str) {
    let image = settled(&controller.image());
    let cut = vfs.power_cut(random.random());
    create(controller, &[("after", 1)]).unwrap_or_else(|error| panic!("{error}, {context}"));
    controller.purge_deleted_folders().unwrap();
    let changed = settled(&controller.image());
    for (vfs, image) in [(cut, image), (vfs.power_cut(random.random()), changed)] {
        let (controller, report) = open(&vfs, 4).unwrap();
        assert_eq!(settled(&controller.image()), image, "{context}");
        let report = FolderReport { undone: Vec::new(), removals_completed: Vec::new(), ..report };
        assert_eq!(report, FolderReport::default(), "{context}");
    }
}

#[test]
fn a_crash_at_every_operation_leaves_the_metadata_before_or_after() {
    let whole = new_disk();
    let first = whole.mutations() + 1;
    let all = run(&whole).images;
    assert_eq!(all.len(), STEPS.len() + 1);
    let last = whole.mutations();
    assert!(last - first > 100, "a scenario of {} operations", last - first);

    for crash in first..=last {
        let vfs = new_disk();
        vfs.crash_at_mutation(crash);
        let acknowledged = run(&vfs);
        assert_eq!(acknowledged.images, all[..acknowledged.images.len()], "the scenario is not repeatable");
        let mut random = StdRng::seed_from_u64(crash);
        let mut left = vec![("a kill", vfs.killed())];
        left.extend((0..2).map(|_| ("a power cut", vfs.power_cut(random.random()))));
        for (how, vfs) in &left {
            let context = format!("after {how} at {crash}");
            let vfs = vfs.killed();
            let controller = check(&vfs, &acknowledged, &all, &context);
            check_durable(&vfs, &controller, &mut random, &context);
        }
        // The power may go again while the next start puts things in order.
        let (how, again) = &left[random.random_range(0..left.len())];
        let opening = random.random_range(1..20);
        again.crash_at_mutation(opening);
        let _ = open(again, 2);
        let context = format!("after {how} at {crash}, then a crash at {opening} of the next start");
        check(&again.killed(), &acknowledged, &all, &context);
        check(&again.power_cut(random.random()), &acknowledged, &all, &context);
    }
}

#[test]
fn an_error_at_every_call_is_answered_and_the_next_start_is_sound() {
    let whole = new_disk();
    let first = whole.calls() + 1;
    let all = run(&whole).images;
    for call in first..=whole.calls() {
        for fault in [Fault::IoError, Fault::NoSpace] {
            let vfs = new_disk();
            vfs.fail_call(call, fault);
            let acknowledged = run(&vfs);
            let context = format!("after {fault:?} at {call}");
            for vfs in [vfs.killed(), vfs.power_cut(call)] {
                let controller = check(&vfs, &acknowledged, &all, &context);
                check_durable(&vfs, &controller, &mut StdRng::seed_from_u64(call), &context);
            }
        }
    }
}

#[test]
fn short_and_interrupted_calls_are_continued() {
    let whole = new_disk();
    let first = whole.calls() + 1;
    let all = run(&whole).images;
    for call in first..=whole.calls() {
        for fault in [Fault::Short, Fault::Interrupted] {
            let vfs = new_disk();
            vfs.fail_call(call, fault);
            assert_eq!(run(&vfs).images, all, "{fault:?} at {call}");
        }
    }
}

#[test]
fn after_a_failed_sync_nothing_is_changed_any_more() {
    let opened = || {
        let vfs = new_disk();
        let (controller, _) = open(&vfs, 1).unwrap();
        create(&controller, &[("a", 1)]).unwrap();
        (vfs, controller)
    };
    let (vfs, controller) = opened();
    let before = vfs.calls();
    alter_topic(&controller, "a").unwrap();
    let sync = vfs.calls();
    assert!(sync > before);

    let (vfs, controller) = opened();
    let image = controller.image();
    vfs.fail_call(sync, Fault::IoError);
    assert!(matches!(alter_topic(&controller, "a"), Err(ControllerError::Storage(_))));
    for _ in 0..3 {
        assert!(matches!(alter_topic(&controller, "a"), Err(ControllerError::Storage(_))));
        assert!(matches!(controller.allocate_producer_id(), Err(ControllerError::Storage(_))));
    }
    assert!(Arc::ptr_eq(&controller.image(), &image), "readers go on with what is known");
}

#[test]
fn a_full_disk_passes() {
    let opened = || {
        let vfs = new_disk();
        let (controller, _) = open(&vfs, 1).unwrap();
        create(&controller, &[("a", 1)]).unwrap();
        (vfs, controller)
    };
    let (vfs, controller) = opened();
    let first = vfs.calls() + 1;
    create(&controller, &[("b", 2)]).unwrap();
    let mut refused = 0;
    for call in first..=vfs.calls() {
        let (vfs, controller) = opened();
        vfs.fail_call(call, Fault::NoSpace);
        if create(&controller, &[("b", 2)]).is_err() {
            refused += 1;
            assert_eq!(partition_folders(&vfs), ["a-0".to_owned()].into(), "call {call} left something of topic b");
            create(&controller, &[("b", 2)]).unwrap();
        }
        assert_eq!(settled(&controller.image()), settled(&open(&vfs.power_cut(call), 2).unwrap().0.image()));
    }
    // Two folders with a file each, created and written, and the metadata record.
    assert_eq!(refused, 7);
}

#[test]
fn a_producer_id_is_never_handed_out_again_after_a_crash() {
    let whole = new_disk();
    let run = |vfs: &FaultVfs| -> i64 {
        let Ok((controller, _)) = open(vfs, 1) else { return -1 };
        (0..2_500).map_while(|_| controller.allocate_producer_id().ok()).last().map_or(-1, |id| id.0)
    };
    assert_eq!(run(&whole), 2_499);
    for crash in 3..=whole.mutations() {
        let vfs = new_disk();
        vfs.crash_at_mutation(crash);
        let handed_out = run(&vfs);
        for seed in 0..5 {
            let (controller, _) = open(&vfs.power_cut(seed), 2).unwrap();
            let next = controller.allocate_producer_id().unwrap().0;
            assert!(next > handed_out, "{next} after {handed_out}, crash at {crash}");
        }
    }
}

#[test]
fn a_crash_while_a_long_log_is_rewritten_loses_nothing() {
    let base = new_disk();
    let (controller, _) = open(&base, 1).unwrap();
    create(&controller, &[("a", 1), ("b", 2)]).unwrap();
    let image = MetadataImage::clone(&controller.image());
    drop(controller);
    let id = image.topic("a").unwrap().id;
    let (log, values) = MetadataLog::open(Arc::new(base.clone()), Path::new(DATA_DIR), 5).unwrap();
    let configs = image.topic("a").unwrap().configs.clone();
    let records: Vec<_> = (0..=REWRITE_ABOVE_RECORDS)
        .map(|_| MetadataRecord::TopicConfigs { topic_id: id, configs: configs.clone() })
        .collect();
    log.append(MetadataLog::encode(&records, 5), 5).unwrap();
    drop(log);
    let record_count =
        |vfs: &FaultVfs| MetadataLog::open(Arc::new(vfs.clone()), Path::new(DATA_DIR), 5).unwrap().1.len();
    assert_eq!(record_count(&base), values.len() + records.len());

    let whole = base.killed();
    assert_eq!(*open(&whole, 2).unwrap().0.image(), image);
    let operations = whole.mutations();
    assert_eq!(record_count(&whole), 3, "the cluster and two topics");
    for crash in 1..=operations {
        let vfs = base.killed();
        vfs.crash_at_mutation(crash);
        assert!(open(&vfs, 2).is_err());
        for left in [vfs.killed(), vfs.power_cut(crash), vfs.power_cut(!crash)] {
            let (controller, _) = open(&left, 3).unwrap();
            assert_eq!(*controller.image(), image, "crash at {crash}");
            drop(controller);
            assert_eq!(record_count(&left), 3, "crash at {crash}");
        }
    }
}
