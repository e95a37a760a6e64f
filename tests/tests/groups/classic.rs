//! Groups of the classic protocol in every state, and what is committed in nobody's name.

use anyhow::{Result, ensure};
use ottla_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla_protocol::messages::join_group::JoinGroupRequest;
use ottla_tests::connection::RawConnection;
use ottla_tests::process::OttlaProcess;
use ottla_tests::wait::{PATIENCE, wait_for};

use super::client::{Client, ILLEGAL_GENERATION, TOPIC, UNKNOWN_MEMBER_ID, assignment, kill, start, stop};

fn groups_survive(end: fn(OttlaProcess)) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let process = start(directory.path(), &[]);
    let mut client = Client::connect(&process);
    client.prepare()?;
    ensure!(client.commit("simple", "", -1, 3)? == 0);
    let stable = client.stable("stable")?;
    ensure!(client.commit("stable", &stable.member_id, 1, 5)? == 0);
    let left = client.stable("empty")?;
    ensure!(client.commit("empty", &left.member_id, 1, 7)? == 0);
    client.leave("empty", &left.member_id)?;
    let short = JoinGroupRequest { session_timeout_ms: 1, ..Client::joining("expired", "") };
    ensure!(client.0.ask(3, &short)?.error_code == 0);
    wait_for("the session ends", PATIENCE, || Ok((client.state("expired")? == "Empty").then_some(())))?;
    ensure!(client.commit("deleted", "", -1, 9)? == 0);
    ensure!(client.delete("deleted")? == 0);
    let preparing = client.stable("preparing")?;
    ensure!(client.commit("preparing", &preparing.member_id, 1, 11)? == 0);
    let mut newcomer = RawConnection::open(process.address())?;
    newcomer.send(3, &Client::joining("preparing", ""))?;
    wait_for(
        "the newcomer waits",
        PATIENCE,
        || Ok((client.state("preparing")? == "PreparingRebalance").then_some(())),
    )?;
    let completing = client.stable("completing")?;
    ensure!(client.commit("completing", &completing.member_id, 1, 13)? == 0);
    let again = client.join("completing", &completing.member_id)?;
    ensure!((again.generation_id, client.state("completing")?.as_str()) == (2, "CompletingRebalance"));
    let pending = client.0.ask(9, &Client::joining("pending", ""))?.member_id;

    end(process);
    let process = start(directory.path(), &[]);
    let mut client = Client::connect(&process);
    for (group, offset) in [("simple", 3), ("stable", 5), ("empty", 7), ("preparing", 11), ("completing", 13)] {
        assert_eq!(client.committed(group)?, Some(offset), "{group}");
    }
    for group in ["pending", "deleted"] {
        assert_eq!((client.committed(group)?, client.state(group)?.as_str()), (None, "Dead"), "{group}");
    }
    assert_eq!(client.heartbeat("stable", &stable.member_id, 1)?, 0, "the member goes on");
    let share = client.sync("stable", &stable)?;
    assert_eq!(share, assignment());
    assert_eq!(client.commit("stable", &stable.member_id, 1, 6)?, 0);
    assert_eq!(client.committed("stable")?, Some(6));
    assert_eq!(client.heartbeat("preparing", &preparing.member_id, 1)?, 0, "back in the generation before");
    assert_eq!(client.heartbeat("completing", &completing.member_id, 2)?, ILLEGAL_GENERATION);
    assert_eq!(client.heartbeat("completing", &completing.member_id, 1)?, 0);
    assert_eq!(client.join("pending", &pending)?.error_code, UNKNOWN_MEMBER_ID);
    assert_eq!(client.state("empty")?, "Empty");
    assert_eq!(client.state("expired")?, "Empty");
    assert_eq!(client.join("empty", "")?.generation_id, 3, "generations go on");
    stop(process);
    Ok(())
}

#[test]
fn classic_groups_in_every_state_survive_a_kill() {
    groups_survive(kill).unwrap();
}

#[test]
fn classic_groups_in_every_state_survive_a_stop() {
    groups_survive(stop).unwrap();
}

#[test]
fn offsets_of_a_topic_that_is_deleted_are_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let process = start(directory.path(), &[]);
    let mut client = Client::connect(&process);
    client.prepare().unwrap();
    assert_eq!(client.commit("simple", "", -1, 3).unwrap(), 0);
    let topics = vec![DeleteTopicState { name: Some(TOPIC.to_owned()), ..Default::default() }];
    let deleted = client.0.ask(6, &DeleteTopicsRequest { topics, ..Default::default() }).unwrap();
    assert_eq!(deleted.responses[0].error_code, 0);
    let forgotten = || Ok(client.committed("simple")?.is_none().then_some(()));
    wait_for("the offset is forgotten", PATIENCE, forgotten).unwrap();
    // A topic of the same name begins without it.
    client.prepare().unwrap();
    assert_eq!(client.committed("simple").unwrap(), None);
}
