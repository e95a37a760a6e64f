//! JoinGroup (11), SyncGroup (14), Heartbeat (12) and LeaveGroup (13): the life of a group, and each thing that can be wrong.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::heartbeat::HeartbeatRequest;
use ottla_protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use ottla_protocol::messages::sync_group::SyncGroupRequest;

use super::groups::{await_code, empty, heartbeat, join, join_ready, leave, stable, stable_of, subscription, sync};
use crate::reference::{Play, Scenario};

pub(super) fn scenarios() -> Vec<Scenario> {
    let statics: Vec<i16> = ApiKey::JoinGroup.versions().filter(|version| *version >= 5).collect();
    vec![
        Scenario::each_version("join_group/normal", ApiKey::JoinGroup, normal),
        Scenario::each_version("join_group/errors", ApiKey::JoinGroup, errors),
        Scenario { name: "join_group/static", versions: statics, script: static_members },
        Scenario::once("join_group/rebalance", 9, rebalance),
        Scenario::once("join_group/silence", 9, silence),
        Scenario::each_version("sync_group/all", ApiKey::SyncGroup, syncs),
        Scenario::each_version("heartbeat/all", ApiKey::Heartbeat, heartbeats),
        Scenario::each_version("leave_group/all", ApiKey::LeaveGroup, leaves),
    ]
}

/// Joins with the id that a version from 4 on gives first.
fn enter(play: &mut Play, step: &str, group: &str) -> Result<JoinGroupRequest> {
    let mut request = join(play, group, "");
    if play.version >= 4 {
        let answer = play.step(&format!("{step}_needs_an_id"), &request)?.context("an answer")?;
        request.member_id = answer.member_id;
    }
    Ok(request)
}

fn normal(play: &mut Play) -> Result<()> {
    play.await_coordinator()?;
    let request = enter(play, "first", "g")?;
    let first = play.step("first_joins", &request)?.context("an answer")?;
    let (id, generation) = (first.member_id, first.generation_id);
    play.step_at("first_syncs", 5, &sync(play, "g", &id, generation, &[&id]))?;
    play.step_at("first_heartbeat", 4, &heartbeat(play, "g", &id, generation))?;

    // A second one comes: the first is told, and both join.
    play.client("second");
    let request = enter(play, "second", "g")?;
    play.send(&request)?;
    play.client("");
    let beat = heartbeat(play, "g", &id, generation);
    await_code(play, &beat, 27)?;
    play.step_at("first_is_told", 4, &beat)?;
    play.step_at("first_syncs_in_vain", 5, &sync(play, "g", &id, generation, &[]))?;
    play.step("first_joins_again", &join(play, "g", &id))?;
    play.client("second");
    let second = play.receive::<JoinGroupRequest>("second_joins")?.context("an answer")?.member_id;
    play.send_at(5, &sync(play, "g", &second, generation + 1, &[]))?;
    play.client("");
    play.step_at("leader_syncs", 5, &sync(play, "g", &id, generation + 1, &[&id, &second]))?;
    play.client("second");
    play.receive_at::<SyncGroupRequest>("follower_syncs", 5)?;
    play.client("");
    // Whoever has nothing new to say gets what is so.
    let mut again = join(play, "g", &second);
    play.step("follower_joins_again", &again)?;
    again.protocols[0].metadata = subscription(&[play.name("t"), play.name("u")]);
    play.client("second");
    play.send(&again)?;
    play.client("");
    await_code(play, &heartbeat(play, "g", &id, generation + 1), 27)?;
    play.step_at("leader_leaves", 5, &leave(play, 5, "g", &id))?;
    play.client("second");
    play.receive::<JoinGroupRequest>("follower_leads")?;
    play.client("");
    play.step_at("last_leaves", 5, &leave(play, 5, "g", &second))?;
    Ok(())
}

fn errors(play: &mut Play) -> Result<()> {
    play.await_coordinator()?;
    let version = play.version;
    let of = |play: &Play| join(play, "g", "");
    play.step("group_without_name", &JoinGroupRequest { group_id: String::new(), ..of(play) })?;
    for timeout in [-1, 0, 1, 5_999, 1_800_001, i32::MAX] {
        let request = JoinGroupRequest { session_timeout_ms: timeout, ..of(play) };
        play.step(&format!("session_timeout_{timeout}"), &request)?;
    }
    play.step("unknown_group", &join(play, "g", "nobody"))?;
    play.step("no_protocol_type", &JoinGroupRequest { protocol_type: String::new(), ..of(play) })?;
    play.step("no_protocols", &JoinGroupRequest { protocols: vec![], ..of(play) })?;
    let member = stable(play, "g")?;
    play.step("unknown_member", &join(play, "g", "nobody"))?;
    play.step("other_protocol_type", &JoinGroupRequest { protocol_type: "connect".to_owned(), ..of(play) })?;
    play.step("no_protocols_in_a_stable_group", &JoinGroupRequest { protocols: vec![], ..of(play) })?;
    let other = vec![JoinGroupRequestProtocol { name: "other".to_owned(), metadata: subscription(&[]) }];
    play.step("other_protocol", &JoinGroupRequest { protocols: other.clone(), ..of(play) })?;
    play.step("other_protocol_of_a_member", &JoinGroupRequest { protocols: other, ..join(play, "g", &member) })?;
    if version >= 5 {
        let of_instance = |request| JoinGroupRequest { group_instance_id: Some("i".to_owned()), ..request };
        play.step("unknown_instance", &of_instance(join(play, "g", &member)))?;
        play.step("unknown_instance_and_member", &of_instance(join(play, "g", "nobody")))?;
    }
    play.step_at("still_there", 4, &heartbeat(play, "g", &member, 1))?;
    Ok(())
}

fn static_members(play: &mut Play) -> Result<()> {
    play.await_coordinator()?;
    let version = play.version;
    let instance = |play: &Play, member_id: &str, instance: &str| JoinGroupRequest {
        group_instance_id: Some(instance.to_owned()),
        ..join(play, "g", member_id)
    };
    let first = play.step("first", &instance(play, "", "a"))?.context("an answer")?;
    let (old, generation) = (first.member_id, first.generation_id);
    let synced =
        SyncGroupRequest { group_instance_id: Some("a".to_owned()), ..sync(play, "g", &old, generation, &[&old]) };
    play.step_at("first_syncs", 5, &synced)?;
    let new = play.step("comes_back", &instance(play, "", "a"))?.context("an answer")?.member_id;
    let of_a = |request| HeartbeatRequest { group_instance_id: Some("a".to_owned()), ..request };
    play.step_at("old_id_is_fenced", 4, &of_a(heartbeat(play, "g", &old, generation)))?;
    play.step_at("old_id_without_instance", 4, &heartbeat(play, "g", &old, generation))?;
    play.step_at("new_id_is_there", 4, &of_a(heartbeat(play, "g", &new, generation)))?;
    let fenced = SyncGroupRequest { member_id: old.clone(), ..synced.clone() };
    play.step_at("old_id_syncs", 5, &fenced)?;
    let synced = SyncGroupRequest { member_id: new.clone(), assignments: vec![], ..synced };
    play.step_at("new_id_syncs", 5, &synced)?;
    play.step("old_id_joins", &instance(play, &old, "a"))?;
    play.step("new_id_of_another_instance", &instance(play, &new, "b"))?;
    play.step("unknown_id_of_the_instance", &instance(play, "nobody", "a"))?;
    let leaving = |member_id: &str, instance: Option<&str>| MemberIdentity {
        member_id: member_id.to_owned(),
        group_instance_id: instance.map(str::to_owned),
        ..Default::default()
    };
    let leave = |play: &Play, members| LeaveGroupRequest { group_id: play.name("g"), members, ..Default::default() };
    play.step_at("old_id_leaves", 5, &leave(play, vec![leaving(&old, Some("a")), leaving("", Some("b"))]))?;
    // The same instance with something else to speak makes the group rebalance.
    let mut changed = instance(play, "", "a");
    let sticky = JoinGroupRequestProtocol { name: "sticky".to_owned(), metadata: subscription(&[play.name("t")]) };
    changed.protocols.insert(0, sticky);
    let newest = play.step("comes_back_with_another_protocol", &changed)?.context("an answer")?.member_id;
    play.step_at("leaves_by_instance", 5, &leave(play, vec![leaving("", Some("a")), leaving(&newest, None)]))?;
    if version == 9 {
        play.step("instance_joins_an_empty_group", &instance(play, "", "a"))?;
    }
    Ok(())
}

fn rebalance(play: &mut Play) -> Result<()> {
    play.await_coordinator()?;
    // Two protocols, and votes for them.
    let speaking = |play: &Play, member_id: &str, names: &[&str]| {
        let metadata = subscription(&[play.name("t")]);
        let protocol = |name: &&str| JoinGroupRequestProtocol { name: (*name).to_owned(), metadata: metadata.clone() };
        JoinGroupRequest { protocols: names.iter().map(protocol).collect(), ..join(play, "votes", member_id) }
    };
    let mut ids = Vec::new();
    for client in ["a", "b", "c"] {
        let request = speaking(play, "", &["range"]);
        play.client(client);
        ids.push(play.ask(9, &request)?.member_id);
    }
    for (index, (client, names)) in
        [("a", ["range", "sticky"]), ("b", ["sticky", "range"]), ("c", ["sticky", "range"])].into_iter().enumerate()
    {
        let request = speaking(play, &ids[index], &names);
        play.client(client);
        play.send(&request)?;
        // In this order: the first one leads.
        sleep(Duration::from_millis(50));
    }
    for (client, step) in [("b", "votes_of_the_second"), ("c", "votes_of_the_third"), ("a", "votes_of_the_leader")] {
        play.client(client);
        play.receive::<JoinGroupRequest>(step)?;
    }
    play.client("");
    // A member joins twice: the second request takes over.
    let twice = play.ask(9, &join(play, "twice", ""))?.member_id;
    let request = join(play, "twice", &twice);
    play.client("impatient");
    play.send(&request)?;
    sleep(Duration::from_millis(50));
    play.client("b");
    play.step("second_of_two_joins", &request)?;
    play.client("impatient");
    play.receive::<JoinGroupRequest>("first_of_two_joins")?;
    play.client("");
    play.step("lost_answer_is_repeated", &request)?;
    // An id that was handed out holds a rebalance up no longer when it leaves.
    let member = stable(play, "pending")?;
    let pending = play.ask(9, &join(play, "pending", ""))?.member_id;
    let request = join(play, "pending", &member);
    play.client("a");
    play.send(&request)?;
    play.client("");
    play.step_at("pending_leaves", 5, &leave(play, 5, "pending", &pending))?;
    play.client("a");
    play.receive::<JoinGroupRequest>("goes_on_without_the_pending_one")?;
    play.client("");
    play.step("left_id_joins", &join(play, "pending", &pending))?;
    Ok(())
}

fn silence(play: &mut Play) -> Result<()> {
    play.await_coordinator()?;
    let short = |play: &Play, group: &str, member_id: &str| JoinGroupRequest {
        session_timeout_ms: 6_000,
        ..join(play, group, member_id)
    };
    let pending = play.ask(9, &short(play, "pending", ""))?.member_id;
    let silent = stable_of(play, "silent", short(play, "silent", ""))?;
    // A group whose leader does not assign loses it after the rebalance timeout.
    let request = JoinGroupRequest { rebalance_timeout_ms: 3_000, ..join(play, "unsynced", "") };
    let unsynced = join_ready(play, request)?.member_id;
    sleep(Duration::from_millis(4_000));
    play.step_at("who_does_not_sync_is_gone", 4, &heartbeat(play, "unsynced", &unsynced, 1))?;
    sleep(Duration::from_millis(3_000));
    play.step("pending_id_is_gone", &short(play, "pending", &pending))?;
    play.step_at("silent_member_is_gone", 4, &heartbeat(play, "silent", &silent, 1))?;
    Ok(())
}

fn syncs(play: &mut Play) -> Result<()> {
    play.await_coordinator()?;
    let version = play.version;
    play.step("unknown_group", &sync(play, "none", "nobody", 1, &[]))?;
    play.step("group_without_name", &SyncGroupRequest { group_id: String::new(), ..sync(play, "g", "m", 1, &[]) })?;
    let member = stable(play, "g")?;
    play.step("again", &sync(play, "g", &member, 1, &[]))?;
    play.step("unknown_member", &sync(play, "g", "nobody", 1, &[]))?;
    play.step("no_member", &sync(play, "g", "", 1, &[]))?;
    play.step("old_generation", &sync(play, "g", &member, 0, &[]))?;
    play.step("new_generation", &sync(play, "g", &member, 2, &[]))?;
    play.step("another_assignment", &sync(play, "g", &member, 1, &["somebody", &member]))?;
    if version >= 3 {
        let request = SyncGroupRequest { group_instance_id: Some("i".to_owned()), ..sync(play, "g", &member, 1, &[]) };
        play.step("unknown_instance", &request)?;
    }
    if version >= 5 {
        let of = |protocol_type: Option<&str>, protocol_name: Option<&str>| SyncGroupRequest {
            protocol_type: protocol_type.map(str::to_owned),
            protocol_name: protocol_name.map(str::to_owned),
            ..sync(play, "g", &member, 1, &[])
        };
        let wrong = [
            ("no_protocol_type", of(None, Some("range"))),
            ("no_protocol_name", of(Some("consumer"), None)),
            ("other_protocol_type", of(Some("connect"), Some("range"))),
            ("other_protocol_name", of(Some("consumer"), Some("sticky"))),
        ];
        for (step, request) in wrong {
            play.step(step, &request)?;
        }
    }
    // The leader joins again and assigns to a stranger only.
    let again = join(play, "g", &member);
    join_ready(play, again)?;
    play.step("old_generation_while_completing", &sync(play, "g", &member, 1, &[]))?;
    play.step("assignment_for_a_stranger", &sync(play, "g", &member, 2, &["somebody"]))?;
    empty(play, "g", &member)?;
    play.step("empty_group", &sync(play, "g", &member, 2, &[]))?;
    Ok(())
}

fn heartbeats(play: &mut Play) -> Result<()> {
    play.await_coordinator()?;
    play.step("unknown_group", &heartbeat(play, "none", "nobody", 1))?;
    play.step("group_without_name", &HeartbeatRequest { group_id: String::new(), ..heartbeat(play, "g", "m", 1) })?;
    let member = stable(play, "g")?;
    play.step("good", &heartbeat(play, "g", &member, 1))?;
    play.step("unknown_member", &heartbeat(play, "g", "nobody", 1))?;
    play.step("no_member", &heartbeat(play, "g", "", 1))?;
    play.step("old_generation", &heartbeat(play, "g", &member, 0))?;
    play.step("new_generation", &heartbeat(play, "g", &member, 2))?;
    play.step("generation_minus_1", &heartbeat(play, "g", &member, -1))?;
    if play.version >= 3 {
        let request = HeartbeatRequest { group_instance_id: Some("i".to_owned()), ..heartbeat(play, "g", &member, 1) };
        play.step("unknown_instance", &request)?;
    }
    let again = join(play, "g", &member);
    join_ready(play, again)?;
    play.step("before_the_assignment", &heartbeat(play, "g", &member, 2))?;
    empty(play, "g", &member)?;
    play.step("empty_group", &heartbeat(play, "g", &member, 2))?;
    Ok(())
}

fn leaves(play: &mut Play) -> Result<()> {
    play.await_coordinator()?;
    let version = play.version;
    play.step("unknown_group", &leave(play, version, "none", "nobody"))?;
    let nameless = LeaveGroupRequest { group_id: String::new(), ..leave(play, version, "g", "m") };
    play.step("group_without_name", &nameless)?;
    let member = stable(play, "g")?;
    play.step("unknown_member", &leave(play, version, "g", "nobody"))?;
    play.step("no_member", &leave(play, version, "g", ""))?;
    let pending = play.ask(9, &join(play, "g", ""))?.member_id;
    play.step("pending_member", &leave(play, version, "g", &pending))?;
    play.step("pending_member_again", &leave(play, version, "g", &pending))?;
    if version >= 3 {
        let gone = |member_id: &str, instance: Option<&str>| MemberIdentity {
            member_id: member_id.to_owned(),
            group_instance_id: instance.map(str::to_owned),
            ..Default::default()
        };
        let of = |members| LeaveGroupRequest { group_id: play.name("g"), members, ..Default::default() };
        let requests = [
            ("no_members", of(vec![])),
            ("unknown_instance", of(vec![gone(&member, Some("i"))])),
            ("unknown_instance_alone", of(vec![gone("", Some("i"))])),
            ("several", of(vec![gone("nobody", None), gone(&member, None), gone(&member, None)])),
        ];
        for (step, request) in requests {
            play.step(step, &request)?;
        }
    }
    play.step("member", &leave(play, version, "g", &member))?;
    play.step("member_again", &leave(play, version, "g", &member))?;
    Ok(())
}
