//! Groups of the consumer protocol (KIP-848) in every state, and groups on their way from one protocol to the other.

use anyhow::{Result, ensure};
use ottla_protocol::messages::join_group::JoinGroupResponse;
use ottla_tests::process::OttlaProcess;

use super::client::{Client, kill, start, stop};

const REBALANCE_IN_PROGRESS: i16 = 27;
const GROUP_ID_NOT_FOUND: i16 = 69;

/// Assignments are made at once, or not again while the test runs.
const AT_ONCE: &[(&str, &str)] = &[("group.consumer.assignment.interval.ms", "0")];
const HOURLY: &[(&str, &str)] =
    &[("group.consumer.assignment.interval.ms", "3600000"), ("group.consumer.max.assignment.interval.ms", "3600000")];

/// What has been committed in each group by the time that the process ends.
const COMMITTED: [(&str, i64); 7] = [
    ("empty", 1),
    ("stable", 2),
    ("assigning", 3),
    ("reconciling", 4),
    ("upgrading", 5),
    ("mixed", 6),
    ("downgrading", 7),
];

/// Who is in which epoch.
struct Members {
    stable: i32,
    reconciling: [i32; 2],
    upgrading: JoinGroupResponse,
    mixed: JoinGroupResponse,
    downgrading: JoinGroupResponse,
}

/// Brings groups into their states, each with a commit of a member.
fn set_up(client: &mut Client) -> Result<Members> {
    client.prepare()?;
    let (epoch, share) = client.enter("empty", "m")?;
    ensure!(share == [0, 1], "{share:?}");
    ensure!(client.commit("empty", "m", epoch, 1)? == 0);
    client.beat(&Client::beating("empty", "m", -1))?;

    let (stable, _) = client.enter("stable", "m")?;
    ensure!(client.commit("stable", "m", stable, 2)? == 0);

    // One has everything and has to give up half; the other has nothing yet.
    let (first, _) = client.enter("reconciling", "m")?;
    ensure!(client.commit("reconciling", "m", first, 4)? == 0);
    let (second, share) = client.enter("reconciling", "n")?;
    ensure!(share.is_empty(), "{share:?}");
    let reconciling = [first, second];

    // The first member of the consumer protocol is in; the classic one has not heard of it.
    let upgrading = client.stable("upgrading")?;
    ensure!(client.commit("upgrading", &upgrading.member_id, upgrading.generation_id, 5)? == 0);
    client.enter("upgrading", "m")?;

    // The classic one has joined again, and asks for its share when the process is back.
    let mixed = client.stable("mixed")?;
    ensure!(client.commit("mixed", &mixed.member_id, mixed.generation_id, 6)? == 0);
    client.enter("mixed", "m")?;
    ensure!(client.heartbeat("mixed", &mixed.member_id, mixed.generation_id)? == REBALANCE_IN_PROGRESS);
    let mixed = client.join("mixed", &mixed.member_id)?;
    ensure!(mixed.error_code == 0, "{mixed:?}");

    // The last member of the consumer protocol has gone; the classic one has not heard of it.
    let downgrading = client.stable("downgrading")?;
    client.enter("downgrading", "m")?;
    let downgrading = client.join("downgrading", &downgrading.member_id)?;
    client.sync("downgrading", &downgrading)?;
    ensure!(client.commit("downgrading", &downgrading.member_id, downgrading.generation_id, 7)? == 0);
    client.beat(&Client::beating("downgrading", "m", -1))?;
    Ok(Members { stable, reconciling, upgrading, mixed, downgrading })
}

fn check_states(client: &mut Client) -> Result<()> {
    for (group, offset) in COMMITTED.into_iter().filter(|(group, _)| *group != "assigning") {
        assert_eq!(client.committed(group)?, Some(offset), "{group}");
    }
    // What each member owns is on record, so that nobody else gets it.
    for (group, state) in [
        ("empty", "Empty"),
        ("stable", "Stable"),
        ("reconciling", "Reconciling"),
        ("upgrading", "Reconciling"),
        ("mixed", "Reconciling"),
    ] {
        assert_eq!(client.consumer_state(group)?, state, "{group}");
    }
    assert_eq!(client.describe_consumer("downgrading")?.error_code, GROUP_ID_NOT_FOUND, "it is a classic group");
    Ok(())
}

fn groups_survive(end: fn(OttlaProcess)) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let process = start(directory.path(), AT_ONCE);
    let mut client = Client::connect(&process);
    let members = set_up(&mut client)?;
    check_states(&mut client)?;
    end(process);

    // The same states once more, with one that lasts for as long as no assignment is made.
    let process = start(directory.path(), HOURLY);
    let mut client = Client::connect(&process);
    check_states(&mut client)?;
    let (first, share) = client.enter("assigning", "m")?;
    ensure!(share == [0, 1], "{share:?}");
    ensure!(client.commit("assigning", "m", first, 3)? == 0);
    let (second, share) = client.enter("assigning", "n")?;
    ensure!(share.is_empty(), "{share:?}");
    ensure!(client.consumer_state("assigning")? == "Assigning");
    end(process);

    let process = start(directory.path(), AT_ONCE);
    let mut client = Client::connect(&process);
    for (group, offset) in COMMITTED {
        assert_eq!(client.committed(group)?, Some(offset), "{group}");
    }
    check_states(&mut client)?;
    assert_eq!(client.consumer_state("assigning")?, "Assigning");
    consumer_groups_go_on(&mut client, &members, [first, second])?;
    groups_go_on_with_their_migration(&mut client, members)?;
    stop(process);
    Ok(())
}

fn consumer_groups_go_on(client: &mut Client, members: &Members, assigning: [i32; 2]) -> Result<()> {
    let epoch = members.stable;
    assert_eq!(client.beat(&Client::beating("stable", "m", epoch))?.member_epoch, epoch, "without a rebalance");
    assert_eq!(client.commit("stable", "m", epoch, 20)?, 0);
    assert_eq!(client.committed("stable")?, Some(20));

    let (next, share) = client.enter("empty", "other")?;
    assert_eq!((next > 1, share), (true, vec![0, 1]), "epochs go on, and what nobody has is free");

    for (group, [epoch, other]) in [("reconciling", members.reconciling), ("assigning", assigning)] {
        // Its answer was lost, for all it knows: it says what it owns, and hears what it keeps.
        let (same, keeps) = client.report(group, "m", epoch, &[0, 1])?;
        assert_eq!((same, keeps.as_ref().map(Vec::len)), (epoch, Some(1)), "{group}");
        let keeps = keeps.unwrap_or_default();
        assert_eq!(client.commit(group, "m", epoch, 30)?, 0, "it may commit until it has given up");
        let (reached, _) = client.report(group, "m", epoch, &keeps)?;
        assert!(reached > epoch, "{group}");
        let answer = client.report(group, "n", other, &[])?;
        let rest: Vec<i32> = [0, 1].into_iter().filter(|partition| !keeps.contains(partition)).collect();
        assert_eq!(answer, (reached, Some(rest)), "{group}");
        assert_eq!((client.consumer_state(group)?.as_str(), client.committed(group)?), ("Stable", Some(30)), "{group}");
    }
    Ok(())
}

fn groups_go_on_with_their_migration(client: &mut Client, members: Members) -> Result<()> {
    let Members { upgrading, mixed, downgrading, .. } = members;
    let beat = client.heartbeat("upgrading", &upgrading.member_id, upgrading.generation_id)?;
    assert_eq!(beat, REBALANCE_IN_PROGRESS, "it hears of the other one now");
    let upgrading = client.join("upgrading", &upgrading.member_id)?;
    for (group, classic) in [("upgrading", upgrading), ("mixed", mixed)] {
        assert_eq!(classic.error_code, 0, "{group}");
        client.sync(group, &classic)?;
        assert_eq!(client.commit(group, &classic.member_id, classic.generation_id, 40)?, 0, "{group}");
        let described = client.describe_consumer(group)?;
        assert_eq!((described.members.len(), client.committed(group)?), (2, Some(40)), "{group}: {described:?}");
    }

    let member = &downgrading.member_id;
    let beat = client.heartbeat("downgrading", member, downgrading.generation_id)?;
    assert!([0, REBALANCE_IN_PROGRESS].contains(&beat), "{beat}: it is a member");
    let again = client.join("downgrading", member)?;
    assert_eq!((again.error_code, &again.leader), (0, member), "it leads from here on");
    client.sync("downgrading", &again)?;
    assert_eq!(client.commit("downgrading", member, again.generation_id, 50)?, 0);
    assert_eq!((client.state("downgrading")?.as_str(), client.committed("downgrading")?), ("Stable", Some(50)));
    Ok(())
}

#[test]
fn consumer_groups_in_every_state_survive_a_kill() {
    groups_survive(kill).unwrap();
}

#[test]
fn consumer_groups_in_every_state_survive_a_stop() {
    groups_survive(stop).unwrap();
}
