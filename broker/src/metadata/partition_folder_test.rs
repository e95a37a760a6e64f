//! Goal: folders follow the metadata at the start, and nothing that holds something is ever deleted for want of metadata.
//! Method: data directories laid out by hand, on the real file system.

use std::fs;

use super::*;
use crate::metadata::image::ImageDelta;
use crate::metadata::metadata_record::MetadataRecord;
use crate::storage::vfs::RealVfs;

fn id(n: u8) -> Uuid {
    Uuid([n; 16])
}

fn image(records: &[MetadataRecord]) -> MetadataImage {
    let mut image = MetadataImage::default();
    for record in records {
        image.replay(record, &mut ImageDelta::default()).unwrap();
    }
    image
}

fn topic(name: &str, n: u8, partition_count: i32) -> MetadataRecord {
    MetadataRecord::Topic { name: name.to_owned(), topic_id: id(n), partition_count, configs: Default::default() }
}

fn folders(dir: &Path) -> PartitionFolders {
    PartitionFolders::new(Arc::new(RealVfs), dir)
}

/// Numbers in place of random bytes.
fn unique() -> impl FnMut() -> [u8; 16] {
    let mut next = 0_u8;
    move || {
        next += 1;
        [next; 16]
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn lay_out(dir: &Path, folder: &str, topic_id: Option<Uuid>, log: &[u8]) {
    fs::create_dir(dir.join(folder)).unwrap();
    fs::write(dir.join(folder).join("00000000000000000000.log"), log).unwrap();
    fs::write(dir.join(folder).join("00000000000000000000.index"), b"index").unwrap();
    if let Some(id) = topic_id {
        fs::write(dir.join(folder).join(PARTITION_METADATA), format!("version: 0\ntopic_id: {id}")).unwrap();
    }
}

#[test]
fn new_folders_say_whose_they_are_and_take_no_others_place() {
    let dir = tempfile::tempdir().unwrap();
    lay_out(dir.path(), "t-1", None, b"records");
    lay_out(dir.path(), "t-2", None, b"");
    let new = NewFolders { name: TopicName::parse("t").unwrap(), topic_id: id(1), partitions: 0..3 };
    folders(dir.path()).create(&[new], &mut unique()).unwrap();
    assert_eq!(names(dir.path()), ["quarantine", "t-0", "t-1", "t-2"]);
    for folder in ["t-0", "t-1", "t-2"] {
        assert_eq!(names(&dir.path().join(folder)), [PARTITION_METADATA]);
        let text = fs::read_to_string(dir.path().join(folder).join(PARTITION_METADATA)).unwrap();
        assert_eq!(text, "version: 0\ntopic_id: AQEBAQEBAQEBAQEBAQEBAQ");
    }
    assert_eq!(names(&dir.path().join("quarantine")), ["t-1.01010101010101010101010101010101"]);
}

#[test]
fn the_start_completes_undoes_quarantines_and_recreates() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let image = image(&[
        topic("gone", 1, 2),
        topic("again", 2, 1),
        MetadataRecord::RemoveTopic { topic_id: id(1) },
        MetadataRecord::RemoveTopic { topic_id: id(2) },
        topic("again", 3, 1),
        topic("kept", 4, 3),
    ]);
    lay_out(path, "gone-0", Some(id(1)), b"records");
    lay_out(path, "gone-1", None, b"records");
    lay_out(path, "again-0", Some(id(2)), b"records of the topic before");
    lay_out(path, "kept-0", Some(id(4)), b"records");
    lay_out(path, "kept-1", None, b"records");
    lay_out(path, "kept-3", Some(id(4)), b"");
    lay_out(path, "orphan-0", Some(id(9)), b"records");
    lay_out(path, "orphan-1", Some(id(9)), b"");
    lay_out(path, "odd-0", None, b"");
    fs::write(path.join("odd-0").join("notes.txt"), b"").unwrap();
    for untouched in ["__cluster_metadata-0", "lost+found", "x-01", "no_partition", "a b-0"] {
        fs::create_dir(path.join(untouched)).unwrap();
    }
    fs::write(path.join("file-0"), b"a file").unwrap();

    let report = folders(path).reconcile(&image, &mut unique()).unwrap();

    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(report.removals_completed), ["again-0", "gone-0", "gone-1"]);
    assert_eq!(sorted(report.undone), ["kept-3", "orphan-1"]);
    assert_eq!(sorted(report.quarantined), ["odd-0", "orphan-0"]);
    assert_eq!(sorted(report.recreated.iter().map(ToString::to_string).collect()), ["again-0", "kept-2"]);
    let left: Vec<String> = names(path).into_iter().filter(|name| !name.ends_with(DELETE_SUFFIX)).collect();
    let expected = [
        "__cluster_metadata-0",
        "a b-0",
        "again-0",
        "file-0",
        "kept-0",
        "kept-1",
        "kept-2",
        "lost+found",
        "no_partition",
        "quarantine",
        "x-01",
    ];
    assert_eq!(left, expected);
    assert_eq!(folders(path).read_topic_id("kept-1").unwrap(), Some(id(4)), "written again");
    assert_eq!(folders(path).read_topic_id("again-0").unwrap(), Some(id(3)));
    assert_eq!(fs::read(path.join("kept-0/00000000000000000000.log")).unwrap(), b"records");

    assert_eq!(folders(path).purge().unwrap(), 3);
    assert_eq!(names(path), expected);
    // Another start has nothing to do.
    assert_eq!(folders(path).reconcile(&image, &mut unique()).unwrap(), FolderReport::default());
}

#[test]
fn a_folder_of_another_topic_of_the_same_name_is_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    lay_out(dir.path(), "t-0", Some(id(8)), b"records");
    let report = folders(dir.path()).reconcile(&image(&[topic("t", 1, 1)]), &mut unique()).unwrap();
    assert_eq!(report.quarantined, ["t-0"]);
    assert_eq!(report.recreated, [TopicPartition::new("t", 0)]);
}

#[test]
fn the_longest_name_can_be_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let name = "x".repeat(249);
    let image = image(&[topic(&name, 1, 1)]);
    let report = folders(dir.path()).reconcile(&image, &mut unique()).unwrap();
    assert_eq!(report.recreated.len(), 1);
    let topics: Vec<_> = image.topics().cloned().collect();
    folders(dir.path()).remove(&topics, &mut unique()).unwrap();
    assert_eq!(names(dir.path())[0].len(), FILE_NAME_LEN_MAX);
    assert_eq!(folders(dir.path()).purge().unwrap(), 1);
    assert!(names(dir.path()).is_empty());
}

#[test]
fn partition_metadata_is_believed_only_when_it_is_whole() {
    let good = "version: 0\ntopic_id: AQEBAQEBAQEBAQEBAQEBAQ";
    assert_eq!(parse_partition_metadata(good.as_bytes()), Some(id(1)));
    assert_eq!(parse_partition_metadata(format!("{good}\n").as_bytes()), Some(id(1)), "as Kafka may write it");
    for cut in 0..good.len() {
        assert_eq!(parse_partition_metadata(&good.as_bytes()[..cut]), None, "cut at {cut}");
    }
    assert_eq!(parse_partition_metadata(b"version: 1\ntopic_id: AQEBAQEBAQEBAQEBAQEBAQ"), None);
    assert_eq!(parse_partition_metadata(b"\xff\xfe"), None);
}
