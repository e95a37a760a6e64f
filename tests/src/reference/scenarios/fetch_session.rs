//! Fetch (1) with incremental sessions (KIP-227).

use anyhow::{Context, Result};
use ottla_protocol::messages::fetch::{FetchRequest, FetchTopic, ForgottenTopic};
use ottla_protocol::{ApiKey, Uuid};

use super::fetch::{of_topics, partition, topic};
use crate::batch::BatchSpec;
use crate::reference::{Play, Scenario};

pub(super) fn scenarios() -> Vec<Scenario> {
    // Sessions came with version 7.
    let versions: Vec<i16> = ApiKey::Fetch.versions().filter(|version| *version >= 7).collect();
    vec![
        Scenario { name: "fetch/session", versions: versions.clone(), script: session },
        Scenario { name: "fetch/session_errors", versions, script: errors },
    ]
}

fn in_session(session_id: i32, session_epoch: i32, topics: Vec<FetchTopic>) -> FetchRequest {
    FetchRequest { session_id, session_epoch, ..of_topics(topics) }
}

fn session(play: &mut Play) -> Result<()> {
    let id = play.create_topic("t", 3, &[])?;
    play.append("t", 0, BatchSpec::of(&["one"]).build())?;
    let name = play.name("t");
    let of = |partitions| vec![topic(&name, id, partitions)];
    let first = play.step("open", &in_session(0, 0, of(vec![partition(0, 0), partition(1, 0)])))?;
    let session = first.context("an answer to the first fetch")?.session_id;
    play.step("nothing_changed", &in_session(session, 1, vec![]))?;
    play.step("position_moves", &in_session(session, 2, of(vec![partition(0, 1)])))?;
    play.step("nothing_new", &in_session(session, 3, vec![]))?;
    play.append("t", 1, BatchSpec::of(&["two"]).build())?;
    play.step("news_in_one_partition", &in_session(session, 4, vec![]))?;
    play.step("read_again", &in_session(session, 5, vec![]))?;
    play.step("partition_added", &in_session(session, 6, of(vec![partition(2, 0), partition(1, 1)])))?;
    play.append("t", 2, BatchSpec::of(&["three"]).build())?;
    let forgotten = ForgottenTopic { topic: name.clone(), topic_id: id, partitions: vec![2] };
    let forget = FetchRequest { forgotten_topics_data: vec![forgotten], ..in_session(session, 7, vec![]) };
    play.step("partition_forgotten", &forget)?;
    play.step("forgotten_stays_so", &in_session(session, 8, vec![]))?;
    let unknown = ForgottenTopic { topic: name.clone(), topic_id: id, partitions: vec![2, 99] };
    let forget = FetchRequest { forgotten_topics_data: vec![unknown], ..in_session(session, 9, vec![]) };
    play.step("forgotten_twice", &forget)?;
    play.step("unknown_partition_added", &in_session(session, 10, of(vec![partition(7, 0)])))?;
    play.step("unknown_partition_stays", &in_session(session, 11, vec![]))?;
    play.step("out_of_range", &in_session(session, 12, of(vec![partition(1, 50)])))?;
    play.step("out_of_range_stays", &in_session(session, 13, vec![]))?;
    play.step("full_fetch_in_the_session", &in_session(session, 0, of(vec![partition(0, 0)])))?;
    Ok(())
}

fn errors(play: &mut Play) -> Result<()> {
    let id = play.create_topic("t", 1, &[])?;
    let other_id = play.create_topic("gone", 1, &[])?;
    play.append("t", 0, BatchSpec::of(&["one"]).build())?;
    let (name, gone) = (play.name("t"), play.name("gone"));
    let of = |offset| vec![topic(&name, id, vec![partition(0, offset)])];
    play.step("unknown_session", &in_session(12_345, 1, of(0)))?;
    play.step("unknown_session_full", &in_session(12_345, 0, of(0)))?;
    play.step("no_session_epoch_1", &in_session(0, 1, of(0)))?;
    play.step("no_session_final", &in_session(0, -1, of(0)))?;
    play.step("negative_session", &in_session(-3, 5, of(0)))?;
    let opened = play.step("open", &in_session(0, 0, of(0)))?.context("an answer to the first fetch")?;
    let session = opened.session_id;
    play.step("epoch_too_high", &in_session(session, 2, vec![]))?;
    play.step("epoch_right", &in_session(session, 1, vec![]))?;
    play.step("epoch_again", &in_session(session, 1, vec![]))?;
    play.step("epoch_minus_2", &in_session(session, -2, vec![]))?;
    play.step("goes_on", &in_session(session, 2, of(1)))?;
    play.step("close", &in_session(session, -1, of(0)))?;
    play.step("closed", &in_session(session, 3, vec![]))?;
    play.step("open_with_nothing", &in_session(0, 0, vec![]))?;
    let unknown = vec![topic(&play.name("missing"), Uuid([9; 16]), vec![partition(0, 0)])];
    play.step("open_with_unknown_topic", &in_session(0, 0, unknown))?;
    let both = vec![topic(&name, id, vec![partition(0, 1)]), topic(&gone, other_id, vec![partition(0, 0)])];
    play.step("open_with_two_topics", &in_session(0, 0, both))?;
    Ok(())
}
