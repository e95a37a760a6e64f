//! Goal: logs of a directory survive a clean stop and a kill, and a new log of an old name inherits nothing. Method: real
//! files; a kill is a manager that is dropped without being closed.

use super::*;
use crate::storage::test_batch::batch;
use crate::storage::vfs::RealVfs;
use crate::types::LeaderEpoch;

fn open(dir: &Path, partitions: i32) -> Arc<LogManager> {
    let data_dir = DataDir::open(Arc::new(RealVfs), dir).unwrap();
    let config = LogManagerConfig { threads: 3, open_files_max: 64, producer_limits: ProducerLimits::default() };
    LogManager::open(data_dir, &config, logs(0..partitions), 0).unwrap()
}

fn logs(partitions: std::ops::Range<i32>) -> Vec<LogToOpen> {
    let config = Arc::new(LogConfig { segment_bytes: 1000, ..LogConfig::default() });
    let log = |n| LogToOpen { topic_partition: TopicPartition::new("t", n), config: Arc::clone(&config) };
    partitions.map(log).collect()
}

fn append(manager: &LogManager, partition: i32, count: i32) {
    let log = manager.log(&TopicPartition::new("t", partition)).unwrap();
    for _ in 0..count {
        log.append(batch(&["value"], 0).build(), LeaderEpoch(0), 0).unwrap();
    }
}

fn ends(manager: &LogManager) -> Vec<(i32, i64)> {
    let mut ends: Vec<_> =
        manager.logs().iter().map(|log| (log.topic_partition().partition, log.offsets().log_end.0)).collect();
    ends.sort_unstable();
    ends
}

#[test]
fn logs_survive_a_clean_stop_and_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(dir.path(), 20);
    (0..20).for_each(|n| append(&manager, n, n));
    let expected: Vec<_> = (0..20).map(|n| (n, i64::from(n))).collect();
    manager.close().unwrap();
    assert_eq!(manager.logs().len(), 0);
    drop(manager);
    assert!(dir.path().join(".kafka_cleanshutdown").exists());

    let manager = open(dir.path(), 20);
    assert!(!dir.path().join(".kafka_cleanshutdown").exists());
    assert_eq!(ends(&manager), expected);
    manager.checkpoint().unwrap();
    append(&manager, 7, 3);
    drop(manager);
    let points = std::fs::read_to_string(dir.path().join(RECOVERY_POINTS)).unwrap();
    assert!(points.starts_with("0\n20\nt 0 0\nt 1 1\n"), "{points}");

    let manager = open(dir.path(), 20);
    assert_eq!(ends(&manager)[7], (7, 10));
}

#[test]
fn a_new_log_of_an_old_name_inherits_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(dir.path(), 2);
    append(&manager, 0, 50);
    let old = manager.log(&TopicPartition::new("t", 0)).unwrap();
    old.delete_records(Offset(40)).unwrap();
    manager.checkpoint().unwrap();
    manager.abandon([&old]);
    assert!(manager.log(&TopicPartition::new("t", 0)).is_none());
    assert!(old.append(batch(&["x"], 0).build(), LeaderEpoch(0), 0).is_err());
    std::fs::rename(dir.path().join("t-0"), dir.path().join("t-0.00-delete")).unwrap();

    std::fs::create_dir(dir.path().join("t-0")).unwrap();
    let opened = manager.open_new(&logs(0..1), 0);
    assert_eq!(opened[0].as_ref().unwrap().offsets().log_end, Offset(0));
    assert!(matches!(manager.open_new(&logs(0..1), 0)[0], Err(StorageError::LogExists { .. })));
    append(&manager, 0, 5);
    drop((manager, old, opened));

    let manager = open(dir.path(), 2);
    let offsets = manager.log(&TopicPartition::new("t", 0)).unwrap().offsets();
    assert_eq!((offsets.log_start, offsets.log_end), (Offset(0), Offset(5)));
}

#[test]
fn what_is_on_record_of_a_deleted_log_is_gone_before_another_can_have_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(dir.path(), 2);
    append(&manager, 0, 50);
    append(&manager, 1, 9);
    manager.checkpoint().unwrap();
    manager.record_cleaned([(TopicPartition::new("t", 0), Offset(30))].into()).unwrap();
    let deleted = manager.log(&TopicPartition::new("t", 0)).unwrap();
    manager.abandon([&deleted]);
    std::fs::rename(dir.path().join("t-0"), dir.path().join("t-0.00-delete")).unwrap();
    drop((manager, deleted));
    // The topic was created anew, and a crash came before its log was opened.
    let manager = open(dir.path(), 2);
    assert_eq!(ends(&manager), [(0, 0), (1, 9)]);
    assert!(manager.cleaned().is_empty());
    drop(manager);
    // The deletion is known and a crash came before anything else: the next start forgets it.
    let manager = open(dir.path(), 1);
    drop(manager);
    std::fs::remove_dir_all(dir.path().join("t-1")).unwrap();
    assert_eq!(ends(&open(dir.path(), 2)), [(0, 0), (1, 0)]);
}

#[test]
fn a_folder_whose_segments_are_gone_gives_no_offset_out_again() {
    let dir = tempfile::tempdir().unwrap();
    for (partition, is_killed) in [(0, false), (1, true)] {
        let manager = open(dir.path(), 2);
        append(&manager, partition, 50);
        match is_killed {
            false => manager.close().unwrap(),
            true => manager.checkpoint().unwrap(),
        }
        drop(manager);
        let folder = dir.path().join(format!("t-{partition}"));
        match is_killed {
            false => {
                let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
                files
                    .filter(|path| path.extension().is_some_and(|e| e == "log"))
                    .for_each(|path| std::fs::remove_file(path).unwrap());
            }
            true => std::fs::remove_dir_all(&folder).unwrap(),
        }
        let manager = open(dir.path(), 2);
        assert_eq!(ends(&manager)[partition as usize], (partition, 50));
        append(&manager, partition, 1);
        manager.close().unwrap();
        drop(manager);
        assert_eq!(ends(&open(dir.path(), 2))[partition as usize], (partition, 51));
    }
}

#[test]
fn a_log_that_is_offline_keeps_what_is_on_record_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(dir.path(), 2);
    append(&manager, 0, 50);
    append(&manager, 1, 50);
    manager.log(&TopicPartition::new("t", 1)).unwrap().delete_records(Offset(7)).unwrap();
    manager.close().unwrap();
    drop(manager);
    let (folder, aside) = (dir.path().join("t-1"), dir.path().join("aside"));
    std::fs::rename(&folder, &aside).unwrap();
    std::fs::write(&folder, "a file where a folder should be").unwrap();
    let manager = open(dir.path(), 2);
    manager.checkpoint().unwrap();
    manager.close().unwrap();
    drop(manager);
    for (name, entry) in [(RECOVERY_POINTS, "t 1 50\n"), (LOG_STARTS, "t 1 7\n")] {
        let text = std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert!(text.contains(entry), "{name}: {text}");
    }
}

#[test]
fn checkpoints_are_taken_now_and_then() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(dir.path(), 1);
    append(&manager, 0, 3);
    manager.start_checkpoints(Duration::from_millis(5));
    let log = manager.log(&TopicPartition::new("t", 0)).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !std::fs::read_to_string(dir.path().join(RECOVERY_POINTS)).is_ok_and(|text| text.contains("t 0 3")) {
        assert!(std::time::Instant::now() < deadline, "no checkpoint was taken: {:?}", log.offsets());
        std::thread::yield_now();
    }
    manager.close().unwrap();
}

#[test]
fn a_log_that_cannot_be_opened_is_offline_alone_and_leaves_no_clean_mark() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("t-1"), "a file where a folder should be").unwrap();
    let manager = open(dir.path(), 3);
    assert_eq!(ends(&manager), [(0, 0), (2, 0)]);
    manager.close().unwrap();
    assert!(!dir.path().join(".kafka_cleanshutdown").exists());
}
