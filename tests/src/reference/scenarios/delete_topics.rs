//! DeleteTopics (20): by name, by id, and what is refused.

use anyhow::Result;
use ottla_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla_protocol::{ApiKey, Uuid};

use crate::reference::{Play, Scenario};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::each_version("delete_topics/by_name", ApiKey::DeleteTopics, by_name),
        Scenario::once("delete_topics/by_id", 6, by_id),
    ]
}

fn named(names: &[String]) -> DeleteTopicsRequest {
    let topics = names.iter().map(|name| state(Some(name), Uuid::ZERO)).collect();
    DeleteTopicsRequest { topics, topic_names: names.to_vec(), timeout_ms: 30_000 }
}

/// The same for versions that list names only.
fn request(play: &Play, names: &[String]) -> DeleteTopicsRequest {
    let all = named(names);
    if play.version >= 6 { all } else { DeleteTopicsRequest { topics: Vec::new(), ..all } }
}

fn state(name: Option<&String>, topic_id: Uuid) -> DeleteTopicState {
    DeleteTopicState { name: name.cloned(), topic_id }
}

fn by_name(play: &mut Play) -> Result<()> {
    for name in ["one", "two", "three"] {
        play.create_topic(name, 1, &[])?;
    }
    let names: Vec<String> = ["one", "two", "three", "missing"].iter().map(|name| play.name(name)).collect();
    let first = request(play, &names[..1]);
    play.step("one_topic", &first)?;
    play.await_no_topic("one")?;
    play.step("gone", &first)?;
    let two = request(play, &names[1..]);
    play.step("two_topics_and_a_missing_one", &two)?;
    play.await_no_topic("two")?;
    play.await_no_topic("three")?;
    play.step("no_topics", &request(play, &[]))?;
    play.step("bad_names", &request(play, &["a/b".to_owned(), "..".to_owned()]))?;
    play.step("empty_name", &request(play, &[String::new()]))?;
    play.create_topic("four", 1, &[])?;
    let four = play.name("four");
    play.step("one_topic_twice", &request(play, &[four.clone(), four]))?;
    Ok(())
}

fn by_id(play: &mut Play) -> Result<()> {
    let id = play.create_topic("one", 1, &[])?;
    let two = play.create_topic("two", 1, &[])?;
    let of = |topics: Vec<DeleteTopicState>| DeleteTopicsRequest { topics, timeout_ms: 30_000, ..Default::default() };
    let name = play.name("two");
    play.step("id_and_name", &of(vec![state(Some(&name), two)]))?;
    play.step("id_and_name_of_the_same_topic", &of(vec![state(Some(&name), Uuid::ZERO), state(None, two)]))?;
    play.step("id_twice", &of(vec![state(None, two), state(None, two)]))?;
    play.step("by_id", &of(vec![state(None, id)]))?;
    play.await_no_topic("one")?;
    play.step("gone", &of(vec![state(None, id)]))?;
    play.step("unknown_id", &of(vec![state(None, Uuid([9; 16]))]))?;
    play.step("neither", &of(vec![state(None, Uuid::ZERO)]))?;
    Ok(())
}
