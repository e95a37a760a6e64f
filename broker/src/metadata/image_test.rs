//! Goal: replay is exact and refuses contradictions; the records of an image make the same image. Method: scripts of records.

use super::*;

fn id(n: u8) -> Uuid {
    Uuid([n; 16])
}

fn topic(name: &str, n: u8, partition_count: i32) -> MetadataRecord {
    MetadataRecord::Topic { name: name.to_owned(), topic_id: id(n), partition_count, configs: BTreeMap::new() }
}

fn replay_all(records: &[MetadataRecord]) -> (MetadataImage, ImageDelta) {
    let (mut image, mut delta) = (MetadataImage::default(), ImageDelta::default());
    for record in records {
        image.replay(record, &mut delta).unwrap();
    }
    (image, delta)
}

fn history() -> Vec<MetadataRecord> {
    let configs = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
    vec![
        MetadataRecord::Cluster { cluster_id: id(99) },
        topic("a.b", 1, 2),
        topic("c", 2, 1),
        MetadataRecord::PartitionCount { topic_id: id(1), partition_count: 5 },
        MetadataRecord::TopicConfigs { topic_id: id(2), configs: configs.clone() },
        MetadataRecord::RemoveTopic { topic_id: id(1) },
        topic("a_b", 3, 4),
        MetadataRecord::GroupConfigs { group: "g".to_owned(), configs: configs.clone() },
        MetadataRecord::GroupConfigs { group: "h".to_owned(), configs: configs.clone() },
        MetadataRecord::GroupConfigs { group: "g".to_owned(), configs: BTreeMap::new() },
        MetadataRecord::BrokerConfigs { cluster_wide: configs, per_broker: BTreeMap::new() },
        MetadataRecord::ProducerIds { next_producer_id: 1_000 },
        MetadataRecord::LeaderEpoch { leader_epoch: 1 },
    ]
}

#[test]
fn a_history_gives_the_image_and_says_what_changed() {
    let (image, delta) = replay_all(&history());
    assert_eq!(image.cluster_id(), id(99));
    assert_eq!((image.topics().len(), image.partition_total()), (2, 5));
    assert!(image.topic("a.b").is_none() && image.topic_by_id(&id(1)).is_none());
    assert!(Arc::ptr_eq(image.topic("a_b").unwrap(), image.topic_by_id(&id(3)).unwrap()));
    assert_eq!(image.topic("c").unwrap().configs["retention.ms"], "-1");
    assert_eq!((image.next_producer_id(), image.leader_epoch()), (1_000, LeaderEpoch(1)));
    assert_eq!(image.colliding_name(&TopicName::parse("a.b").unwrap()).unwrap().as_str(), "a_b");
    assert_eq!(image.colliding_name(&TopicName::parse("a_b").unwrap()), None);
    assert_eq!(delta.created.len(), 3);
    assert_eq!(delta.removed, image.pending_removals());
    assert_eq!((delta.removed[0].name.as_str(), delta.removed[0].partition_count), ("a.b", 5));
    assert_eq!((delta.altered[0].before.partition_count, delta.altered[0].after.partition_count), (2, 5));
    assert!(delta.broker_configs_altered);
    let partitions: Vec<String> = image.topic("a_b").unwrap().partitions().map(|p| p.to_string()).collect();
    assert_eq!(partitions, ["a_b-0", "a_b-1", "a_b-2", "a_b-3"]);
}

#[test]
fn the_records_of_an_image_make_the_same_image() {
    let (mut image, _) = replay_all(&history());
    assert_eq!(replay_all(&image.to_records()).0, image);
    image.replay(&MetadataRecord::RemovalsCompleted {}, &mut ImageDelta::default()).unwrap();
    assert!(image.pending_removals().is_empty());
    assert_eq!(replay_all(&image.to_records()).0, image);
}

#[test]
fn records_that_begin_with_the_cluster_replace_all_before() {
    let (image, _) = replay_all(&history());
    let twice: Vec<_> = history().into_iter().chain(image.to_records()).collect();
    assert_eq!(replay_all(&twice).0, image);
}

#[test]
fn a_clone_shares_topics_and_is_not_changed_with_the_original() {
    let (mut image, _) = replay_all(&history());
    let clone = image.clone();
    image.replay(&topic("new", 9, 1), &mut ImageDelta::default()).unwrap();
    assert!(clone.topic("new").is_none());
    assert!(Arc::ptr_eq(clone.topic("c").unwrap(), image.topic("c").unwrap()));
}

#[test]
fn contradictions_are_refused_and_change_nothing() {
    let (mut image, _) = replay_all(&history());
    let before = image.clone();
    let mut delta = ImageDelta::default();
    for record in [
        topic("c", 7, 1),
        topic("other", 2, 1),
        topic("none", 7, 0),
        topic("a/b", 7, 1),
        MetadataRecord::PartitionCount { topic_id: id(3), partition_count: 4 },
        MetadataRecord::PartitionCount { topic_id: id(1), partition_count: 9 },
        MetadataRecord::TopicConfigs { topic_id: id(1), configs: BTreeMap::new() },
        MetadataRecord::RemoveTopic { topic_id: id(1) },
        MetadataRecord::ProducerIds { next_producer_id: 1_000 },
        MetadataRecord::LeaderEpoch { leader_epoch: 0 },
    ] {
        assert!(image.replay(&record, &mut delta).is_err(), "{record:?}");
    }
    assert_eq!((image, delta), (before, ImageDelta::default()));
}
