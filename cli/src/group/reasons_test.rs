//! Goal: each reason is given when it holds, with the names and times that belong to it, and none when all is well.

use super::*;

const NOW_MS: i64 = 1_372_636_900_000;

fn partitions(partitions: &[i32]) -> Option<PartitionSet> {
    let mut set = PartitionSet::default();
    partitions.iter().for_each(|partition| set.insert("t", *partition));
    Some(set)
}

fn member(id: &str, has: &[i32]) -> MemberView {
    MemberView {
        member_id: id.to_owned(),
        client_id: "app".to_owned(),
        host: "/10.0.0.7".to_owned(),
        topics: Some(vec!["t".to_owned()]),
        partitions: partitions(has),
        last_heard_ms: Some(NOW_MS - 2_000),
        ..MemberView::default()
    }
}

fn partition(partition: i32, committed: i64, owner: Option<&str>) -> PartitionView {
    PartitionView {
        topic: "t".to_owned(),
        partition,
        committed_offset: Some(committed),
        log_start_offset: Some(0),
        log_end_offset: Some(100),
        lag: Some(100 - committed),
        owner: owner.map(str::to_owned),
        ..PartitionView::default()
    }
}

fn group(state: GroupState) -> GroupView {
    GroupView {
        group: "readers".to_owned(),
        group_type: "Classic".to_owned(),
        state,
        state_since_ms: Some(NOW_MS - 90_000),
        protocol_type: "consumer".to_owned(),
        assignor: "range".to_owned(),
        group_epoch: None,
        assignment_epoch: None,
        settings: BTreeMap::new(),
        lag: 0,
        members: vec![member("a", &[0]), member("b", &[1])],
        partitions: vec![partition(0, 5, Some("a")), partition(1, 5, Some("b"))],
        reasons: Vec::new(),
    }
}

#[test]
fn a_group_that_moves_gives_no_reason() {
    assert_eq!(reasons(&group(GroupState::Stable), NOW_MS), [""; 0]);
}

#[test]
fn nobody_is_there() {
    let mut group = group(GroupState::Empty);
    group.members.clear();
    assert_eq!(reasons(&group, NOW_MS), ["no members since 2013-07-01T00:00:10.000Z (1m30s)"]);
    group.lag = 7;
    assert_eq!(reasons(&group, NOW_MS), ["no members since 2013-07-01T00:00:10.000Z (1m30s), and 7 records wait"]);
    group.state_since_ms = None;
    assert_eq!(reasons(&group, NOW_MS), ["no members, and 7 records wait"]);
}

#[test]
fn a_rebalance_says_for_whom_it_waits() {
    let mut group = group(GroupState::Reconciling);
    group.group_epoch = Some(4);
    for (member, target, epoch) in [(0, &[0][..], 4), (1, &[2], 3)] {
        group.members[member].target_partitions = partitions(target);
        group.members[member].epoch = Some(epoch);
    }
    let found = reasons(&group, NOW_MS);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("rebalancing since 2013-07-01T00:00:10.000Z (1m30s)"), "{found:?}");
    let expected = "member b (client app at /10.0.0.7) is to give up t:1, is to get t:2, has followed to epoch 3 of 4";
    assert_eq!(found[1], expected);
}

#[test]
fn a_classic_rebalance_says_for_whom_it_waits_where_the_broker_tells() {
    let mut group = group(GroupState::PreparingRebalance);
    let rebalancing = "rebalancing since 2013-07-01T00:00:10.000Z (1m30s): the members are to join again";
    assert_eq!(reasons(&group, NOW_MS), [rebalancing]);
    group.members[0].is_awaited = Some(false);
    group.members[0].last_heard_ms = Some(NOW_MS - 60_000);
    group.members[1].is_awaited = Some(true);
    let expected = format!("{rebalancing}; it waits for b (client app at /10.0.0.7)");
    assert_eq!(reasons(&group, NOW_MS), [expected], "a has joined, and is silent until the others have");
    group.members[1].is_awaited = Some(false);
    let found = reasons(&group, NOW_MS);
    assert!(found[0].ends_with("all members have joined again, and more may come"), "{found:?}");
    group.state = GroupState::CompletingRebalance;
    group.members[0].is_awaited = Some(true);
    let found = reasons(&group, NOW_MS);
    assert!(
        found[0].ends_with("the leader is to assign the partitions; it waits for a (client app at /10.0.0.7)"),
        "{found:?}"
    );
}

#[test]
fn a_silent_member_is_named() {
    let mut group = group(GroupState::Stable);
    group.members[1].last_heard_ms = Some(NOW_MS - 15_000);
    group.members[1].group_instance_id = Some("i-1".to_owned());
    assert_eq!(
        reasons(&group, NOW_MS),
        ["member b (instance i-1, client app at /10.0.0.7) is silent since 2013-07-01T00:01:25.000Z (15.0s)"]
    );
}

#[test]
fn partitions_without_an_owner_are_named() {
    let mut group = group(GroupState::Stable);
    group.partitions.push(partition(2, 5, None));
    group.partitions.push(PartitionView { topic: "old".to_owned(), ..partition(0, 5, None) });
    assert_eq!(
        reasons(&group, NOW_MS),
        ["no owner: t:2, which members subscribe to", "no owner: old:0, which no member names"]
    );
    group.state = GroupState::CompletingRebalance;
    assert_eq!(reasons(&group, NOW_MS).len(), 1, "nobody owns anything while a rebalance is under way");
}

#[test]
fn offsets_outside_of_the_log_are_named() {
    let mut group = group(GroupState::Stable);
    group.partitions[0].log_start_offset = Some(50);
    group.partitions[1].committed_offset = Some(101);
    let found = reasons(&group, NOW_MS);
    assert!(found[0].starts_with("t-0: the committed offset 5 is deleted, the log starts at 50"), "{found:?}");
    assert!(found[1].starts_with("t-1: the committed offset 101 is beyond the end of the log, 100"), "{found:?}");
}

fn never_committed(number: i32, lag: i64) -> PartitionView {
    PartitionView {
        committed_offset: None,
        is_never_committed: true,
        log_end_offset: Some(lag),
        lag: Some(lag),
        ..partition(number, 0, Some("a"))
    }
}

#[test]
fn partitions_of_which_nothing_is_committed_are_named() {
    let mut group = group(GroupState::Stable);
    group.partitions = vec![never_committed(0, 100), never_committed(1, 27_004), never_committed(2, 0)];
    let expected = "nothing committed yet for t:0,1: 27104 records there, from the start of the log";
    assert_eq!(reasons(&group, NOW_MS), [expected], "an empty partition holds nobody up");
    group.partitions.iter_mut().for_each(|partition| partition.is_never_committed = false);
    assert_eq!(reasons(&group, NOW_MS), [""; 0], "what is committed is not known");
}

#[test]
fn a_second_look_tells_that_nothing_is_committed_still() {
    let mut watch = Watch::default();
    let mut group = group(GroupState::Stable);
    group.partitions = vec![never_committed(0, 100), never_committed(1, 0)];
    assert_eq!(watch.stuck(&group, NOW_MS), [""; 0]);
    let expected = "t-0 is stuck: nothing has been committed for 30.0s while 100 records wait; it belongs to a";
    assert_eq!(watch.stuck(&group, NOW_MS + 30_000), [expected]);
    group.partitions[0] = partition(0, 0, Some("a"));
    assert_eq!(watch.stuck(&group, NOW_MS + 60_000), [""; 0], "the first commit is a move, also to the offset 0");
}

#[test]
fn only_a_second_look_tells_that_an_offset_stands_still() {
    let mut watch = Watch::default();
    let mut group = group(GroupState::Stable);
    assert_eq!(watch.stuck(&group, NOW_MS), [""; 0]);
    group.partitions[1].committed_offset = Some(6);
    let found = watch.stuck(&group, NOW_MS + 30_000);
    assert_eq!(
        found,
        ["t-0 is stuck: the committed offset 5 has not moved for 30.0s while 95 records wait; it belongs to a"]
    );
    // Nothing waits any more.
    group.partitions[0].lag = Some(0);
    group.partitions[1] = partition(1, 100, Some("b"));
    assert_eq!(watch.stuck(&group, NOW_MS + 60_000), [""; 0]);
    group.partitions[0].lag = Some(1);
    assert_eq!(watch.stuck(&group, NOW_MS + 90_000), [""; 0], "what has just come need not be read at once");
}
