//! Goal: what was answered about groups is there after a kill or a power cut at any moment, and what could not be written was
//! never shown.
//!
//! Method: the floors up to the coordinator over the file system that fails on command. A scenario of commits and of a group's
//! life runs once to learn how many changes it makes on the disk; then it runs again for each of them and stops there, and a
//! broker is opened on what is left after a kill and after power cuts.

use bytes::Bytes;

use super::super::group::{
    ClientIdentity, Departure, JoinAnswer, JoinGroup, LeaveGroup, SyncAnswer, SyncGroup, WaitingAnswer,
};
use super::super::test_broker::*;
use ottla_protocol::records::{BatchBuilder, BatchFields, HEADER_BYTES};

use super::*;
use crate::metadata::NewTopic;
use crate::storage::vfs::{Access, Fault, FaultVfs, Vfs, VfsFile};
use crate::storage::{CleanLimits, LogConfig, Unthrottled, ValidatedBatch};
use crate::types::TopicPartition;

const GROUPS: [&str; 2] = ["a", "b"];

/// What is known about groups from answers.
#[derive(Debug, Default, Clone)]
struct Known {
    /// By group: the offset that was acknowledged for all partitions, and the one that was asked for last.
    offsets: Vec<(&'static str, i64, i64)>,
    /// The generation whose assignment was answered, and the member.
    stable: Option<(i32, String)>,
    /// The member's leaving was asked for.
    leaving: bool,
    /// And answered.
    left: bool,
}

impl Known {
    async fn commit(&mut self, broker: &TestBroker, group: &'static str, offset: i64) -> Result<(), Stopped> {
        let acknowledged = match self.offsets.iter_mut().find(|(other, ..)| *other == group) {
            Some((_, acknowledged, asked)) => {
                *asked = offset;
                acknowledged
            }
            None => {
                self.offsets.push((group, -1, offset));
                &mut self.offsets.last_mut().expect("just pushed").1
            }
        };
        broker.commit(group, &[0, 1, 2, 3], offset).await?;
        *acknowledged = offset;
        Ok(())
    }
}

fn joining(group: &str) -> JoinGroup {
    JoinGroup {
        group_id: group.to_owned(),
        member_id: String::new(),
        instance_id: None,
        client: ClientIdentity { client_id: "client".to_owned(), client_host: "/127.0.0.1".to_owned() },
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::from_static(b"whatever"))],
        needs_member_id: false,
        can_skip_assignment: true,
    }
}

async fn join(broker: &TestBroker, request: JoinGroup) -> Result<JoinAnswer, GroupError> {
    let group = request.group_id.clone();
    let handled = broker.groups.submit_waiting(&group, |shard, token, now| shard.join(request, token, now));
    // The initial rebalance has no delay; its deadline is handled as the task would.
    broker.groups.on_time(broker.groups.moment());
    match answer(handled).await? {
        WaitingAnswer::Join(answer) => answer.error.map_or(Ok(answer), Err),
        WaitingAnswer::Sync(_) => unreachable!("a token is answered in kind"),
    }
}

async fn sync(broker: &TestBroker, group: &str, joined: &JoinAnswer) -> Result<SyncAnswer, GroupError> {
    let request = SyncGroup {
        group_id: group.to_owned(),
        generation: joined.generation,
        member_id: joined.member_id.clone(),
        instance_id: None,
        protocol_type: None,
        protocol: None,
        assignments: vec![(joined.member_id.clone(), Bytes::from_static(b"all of it"))],
    };
    let handled = broker.groups.submit_waiting(group, |shard, token, now| shard.sync(&request, token, now));
    match answer(handled).await? {
        WaitingAnswer::Sync(answer) => answer.error.map_or(Ok(answer), Err),
        WaitingAnswer::Join(_) => unreachable!("a token is answered in kind"),
    }
}

async fn leave(broker: &TestBroker, group: &str, member_id: &str) -> Result<(), GroupError> {
    let departure = Departure { member_id: member_id.to_owned(), instance_id: None, reason: None };
    let request = LeaveGroup { group_id: group.to_owned(), members: vec![departure] };
    let handled = broker.groups.submit(group, |shard, now| shard.leave(&request, now));
    answer(handled).await?.remove(0)
}

/// Commits, a group that forms, and one that ends.
async fn scenario(vfs: &FaultVfs, known: &mut Known) -> Result<(), Stopped> {
    let broker = TestBroker::open(vfs, 1)?;
    let outcome = play(&broker, known).await;
    broker.stop();
    outcome
}

async fn play(broker: &TestBroker, known: &mut Known) -> Result<(), Stopped> {
    broker.create_topics()?;
    for offset in 0..3 {
        for group in GROUPS {
            known.commit(broker, group, offset).await?;
        }
    }
    let joined = join(broker, joining("members")).await?;
    sync(broker, "members", &joined).await?;
    known.stable = Some((joined.generation, joined.member_id.clone()));
    known.commit(broker, "a", 3).await?;
    known.leaving = true;
    leave(broker, "members", &joined.member_id).await?;
    known.left = true;
    known.commit(broker, "b", 3).await
}

/// Opens what is left, holds it against what is known, and works with it.
async fn check(vfs: FaultVfs, known: &Known, what: &str) {
    let broker = TestBroker::open(&vfs, 2).unwrap_or_else(|error| panic!("{what}: {error}"));
    broker.create_topics().unwrap();
    for (group, acknowledged, asked) in &known.offsets {
        let mut found = Vec::new();
        for partition in 0..4 {
            found.push(broker.committed(group, partition).await.unwrap().unwrap_or(-1));
        }
        assert!(found.iter().all(|offset| offset == &found[0]), "{what}: half a commit of {group}: {found:?}");
        assert!((acknowledged..=asked).contains(&&found[0]), "{what}: {group} is at {found:?}, known is {known:?}");
    }
    let described = broker.groups.read("members", |shard| Ok(shard.describe_classic("members")));
    let described = answer(described).await.unwrap();
    if let Some((_, member_id)) = &known.stable {
        let group = described.unwrap_or_else(|error| panic!("{what}: {error}"));
        let is_there = group.members.iter().any(|member| member.member_id == *member_id);
        assert!(is_there != known.left || (known.leaving && !known.left), "{what}: {known:?} {group:?}");
        assert_eq!(group.state, if is_there { "Stable" } else { "Empty" }, "{what}");
    }
    // And it goes on.
    let offset = known.offsets.iter().map(|(_, _, asked)| asked + 1).max().unwrap_or(0);
    broker.commit("a", &[0], offset).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(broker.committed("a", 0).await, Ok(Some(offset)), "{what}");
    broker.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_a_stop_at_every_change_of_the_disk() {
    let vfs = new_disk();
    let mut known = Known::default();
    let before = vfs.mutations();
    scenario(&vfs, &mut known).await.unwrap();
    let mutations = vfs.mutations();
    assert!(known.left && mutations > before + 20, "{mutations} changes, {known:?}");
    check(vfs.power_cut(0), &known, "nothing stopped").await;
    for stop in before + 1..=mutations {
        let vfs = new_disk();
        vfs.crash_at_mutation(stop);
        let mut known = Known::default();
        // With a stop at one of the last changes, which the flusher makes beside them, all may have been answered.
        let _stopped = scenario(&vfs, &mut known).await;
        check(vfs.killed(), &known, &format!("killed at {stop}")).await;
        for seed in 0..3 {
            check(vfs.power_cut(seed), &known, &format!("power cut {seed} at {stop}")).await;
        }
    }
}

#[tokio::test]
async fn a_full_disk_refuses_commits_and_passes() {
    let vfs = new_disk();
    let broker = TestBroker::open(&vfs, 1).unwrap();
    broker.create_topics().unwrap();
    broker.commit("a", &[0], 1).await.unwrap();
    vfs.fail_call(vfs.calls() + 1, Fault::NoSpace);
    assert_eq!(broker.commit("a", &[0], 2).await, Err(GroupError::CoordinatorNotAvailable));
    assert_eq!(broker.committed("a", 0).await, Ok(Some(1)));
    broker.commit("a", &[0], 3).await.unwrap();
    assert_eq!(broker.committed("a", 0).await, Ok(Some(3)));
    broker.stop();
}

#[tokio::test]
async fn what_a_failed_sync_may_have_lost_is_neither_acknowledged_nor_shown() {
    let vfs = new_disk();
    let broker = TestBroker::open(&vfs, 1).unwrap();
    broker.create_topics().unwrap();
    broker.commit("a", &[0], 1).await.unwrap();
    // The write succeeds, the sync after it does not.
    vfs.fail_call(vfs.calls() + 2, Fault::IoError);
    assert_eq!(broker.commit("a", &[0], 2).await, Err(GroupError::CoordinatorNotAvailable));
    assert_eq!(broker.committed("a", 0).await, Err(GroupError::CoordinatorNotAvailable));
    assert_eq!(broker.commit("a", &[0], 3).await, Err(GroupError::CoordinatorNotAvailable));
    broker.stop();
    let broker = TestBroker::open(&vfs.power_cut(1), 2).unwrap();
    assert_eq!(broker.committed("a", 0).await, Ok(Some(1)));
    broker.stop();
}

#[tokio::test]
async fn a_damaged_batch_costs_the_commit_that_was_in_it() {
    let vfs = new_disk();
    let broker = TestBroker::open(&vfs, 1).unwrap();
    broker.create_topics().unwrap();
    for (group, offset) in [("a", 1), ("c", 1), ("a", 2), ("c", 2)] {
        assert_eq!(partition_of(group, 2), 1);
        broker.commit(group, &[0], offset).await.unwrap();
    }
    let path = broker.logs.data_dir().join("__consumer_offsets-1/00000000000000000000.log");
    broker.stop();
    let disk = vfs.killed();
    let file = disk.open(&path, Access::CreateOrKeep).unwrap();
    flip(&*file, file.len().unwrap() * 5 / 8);
    let broker = TestBroker::open(&disk, 2).unwrap();
    assert_eq!(broker.committed("a", 0).await, Ok(Some(1)), "its second commit is lost");
    assert_eq!(broker.committed("c", 0).await, Ok(Some(2)), "what lies behind is not");
    broker.stop();
}

fn flip(file: &dyn VfsFile, position: u64) {
    let mut byte = [0];
    file.read_at(&mut byte, position).unwrap();
    file.write_at(&[std::io::IoSlice::new(&[byte[0] ^ 4])], position).unwrap();
}

#[tokio::test]
async fn groups_of_a_topic_that_is_not_there_are_nobodys() {
    let vfs = new_disk();
    let broker = TestBroker::open(&vfs, 1).unwrap();
    assert_eq!(broker.commit("a", &[0], 1).await, Err(GroupError::NotCoordinator));
    assert_eq!(broker.committed("a", 0).await, Err(GroupError::NotCoordinator));
    broker.stop();
}

#[tokio::test]
async fn groups_are_loaded_from_a_log_that_was_compacted() {
    let vfs = new_disk();
    let broker = TestBroker::open(&vfs, 1).unwrap();
    broker.create_topics().unwrap();
    let log = broker.logs.log(&TopicPartition::new(OFFSETS_TOPIC, 1)).unwrap();
    log.update_config(Arc::new(LogConfig { segment_bytes: 1_000, ..LogConfig::clone(&log.config()) }));
    broker.commit("c", &[0], 77).await.unwrap();
    for offset in 0..200 {
        broker.commit("a", &[0, 1], offset).await.unwrap();
    }
    let joined = join(&broker, joining("group-1")).await.unwrap();
    assert_eq!(partition_of("group-1", 2), 1);
    sync(&broker, "group-1", &joined).await.unwrap();
    for offset in 200..300 {
        broker.commit("a", &[0, 1], offset).await.unwrap();
    }
    let limits = CleanLimits { map_bytes_max: 1 << 20, decompressed_bytes_max: 1 << 20 };
    let report = log.clean(Offset::ZERO, limits, 1_700_000_000_000, &Unthrottled).unwrap();
    assert!(report.records_removed > 400, "{report:?}");
    broker.stop();
    let broker = TestBroker::open(&vfs.killed(), 2).unwrap();
    assert_eq!(broker.committed("a", 0).await, Ok(Some(299)));
    assert_eq!(broker.committed("a", 1).await, Ok(Some(299)));
    assert_eq!(broker.committed("c", 0).await, Ok(Some(77)));
    let described = broker.groups.read("group-1", |shard| Ok(shard.describe_classic("group-1").unwrap().state));
    assert_eq!(answer(described).await, Ok("Stable"));
    broker.stop();
}

#[tokio::test]
async fn shards_without_requests_keep_no_metadata_that_is_out_of_date() {
    let broker = TestBroker::open(&new_disk(), 1).unwrap();
    broker.create_topics().unwrap();
    for group in ["a", "b", "c", "d"] {
        broker.commit(group, &[0], 1).await.unwrap();
    }
    let before = broker.controller.image();
    let held = Arc::downgrade(&before);
    let topic =
        NewTopic { name: "another".to_owned(), num_partitions: 1, replication_factor: -1, ..NewTopic::default() };
    broker.controller.create_topics(vec![topic]).remove(0).unwrap();
    let after = broker.controller.image();
    broker.groups.metadata_listener().on_metadata_change(&before, &after, &ImageDelta::default());
    drop(before);
    assert!(held.strong_count() >= 2, "each partition's shard has seen it");
    broker.groups.tell_news();
    assert_eq!(held.strong_count(), 0);
    broker.stop();
}

#[tokio::test]
async fn groups_that_are_being_loaded_say_so() {
    let vfs = new_disk();
    let broker = TestBroker::open(&vfs, 1).unwrap();
    broker.create_topics().unwrap();
    broker.commit("a", &[0], 1).await.unwrap();
    let table = broker.groups.table.load_full().unwrap();
    let loaded = std::mem::replace(&mut *table.slots[1].state.lock(), SlotState::Loading);
    assert_eq!(broker.commit("a", &[0], 2).await, Err(GroupError::CoordinatorLoadInProgress));
    let listed = answer(broker.groups.read_all(GroupShard::group_count)).await;
    assert_eq!(listed, Err(GroupError::CoordinatorLoadInProgress));
    *table.slots[1].state.lock() = loaded;
    assert_eq!(broker.committed("a", 0).await, Ok(Some(1)));
    broker.stop();
}

#[tokio::test]
async fn a_record_of_a_newer_broker_keeps_its_partition_from_being_served_and_no_other() {
    let vfs = new_disk();
    let broker = TestBroker::open(&vfs, 1).unwrap();
    broker.create_topics().unwrap();
    let other = "b";
    assert_eq!((partition_of("a", 2), partition_of(other, 2)), (1, 0));
    broker.commit("a", &[0], 1).await.unwrap();
    broker.commit(other, &[0], 1).await.unwrap();
    let mut batch = BatchBuilder::new();
    batch.append(0, Some(b"\x00\x02\x00\x01a"), Some(b"\x00\x09something"), &[]);
    let bytes = batch.build(&BatchFields::default()).unwrap();
    let partition = broker.groups.context.replicas.by_name(OFFSETS_TOPIC).unwrap().partition(1).unwrap();
    let header = *bytes.first_chunk::<HEADER_BYTES>().unwrap();
    partition.append_own(ValidatedBatch::new(header, bytes.slice(HEADER_BYTES..)), 0).unwrap();
    broker.stop();
    let broker = TestBroker::open(&vfs.killed(), 2).unwrap();
    assert_eq!(broker.committed("a", 0).await, Err(GroupError::CoordinatorNotAvailable));
    assert_eq!(broker.committed(other, 0).await, Ok(Some(1)));
    broker.stop();
}

#[tokio::test]
async fn a_deadline_wakes_the_task_and_removes_a_silent_member() {
    let vfs = new_disk();
    let broker = TestBroker::open(&vfs, 1).unwrap();
    broker.create_topics().unwrap();
    let task = tokio::spawn(Arc::clone(&broker.groups).run());
    let joined = join(&broker, joining("members")).await.unwrap();
    sync(&broker, "members", &joined).await.unwrap();
    broker.clock.advance(Duration::from_millis(10_000));
    // Any request tells the task of a deadline that is due by now.
    loop {
        let beat = broker.groups.submit("other", |shard, now| shard.heartbeat("other", "m", None, 1, now));
        assert_eq!(answer(beat).await, Err(GroupError::UnknownMemberId));
        broker.groups.signals.wake.notify_one();
        let described = broker.groups.read("members", |shard| Ok(shard.describe_classic("members").unwrap().state));
        if answer(described).await == Ok("Empty") {
            break;
        }
        tokio::task::yield_now().await;
    }
    task.abort();
    broker.stop();
}
