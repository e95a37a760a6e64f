//! Metadata (3): topics by name and by id, all of them, none, and auto-creation.

use anyhow::Result;
use ottla_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use ottla_protocol::{ApiKey, Uuid};

use crate::reference::{Play, Scenario};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::each_version("metadata/normal", ApiKey::Metadata, normal),
        Scenario::each_version("metadata/auto_creation", ApiKey::Metadata, auto_creation),
        Scenario { name: "metadata/by_id", versions: vec![10, 11, 12, 13], script: by_id },
    ]
}

/// A request that creates nothing where the version can say so.
fn of(play: &Play, names: &[String]) -> MetadataRequest {
    let topic = |name: &String| MetadataRequestTopic { name: Some(name.clone()), ..Default::default() };
    let topics = Some(names.iter().map(topic).collect());
    MetadataRequest { topics, allow_auto_topic_creation: play.version < 4, ..Default::default() }
}

fn normal(play: &mut Play) -> Result<()> {
    play.create_topic("one", 3, &[])?;
    play.create_topic("two", 1, &[])?;
    let (one, two) = (play.name("one"), play.name("two"));
    play.step("one_topic", &of(play, std::slice::from_ref(&one)))?;
    play.step("two_topics", &of(play, &[one.clone(), two]))?;
    play.step("one_topic_twice", &of(play, &[one.clone(), one.clone()]))?;
    play.step("empty_list", &of(play, &[]))?;
    if play.version >= 1 {
        let all = MetadataRequest { topics: None, ..of(play, &[]) };
        play.step("null_list", &all)?;
    }
    if play.version >= 4 {
        let names = [play.name("missing"), one.clone()];
        play.step("unknown_topic", &of(play, &names))?;
    }
    let names = ["a/b".to_owned(), "..".to_owned(), "zürich".to_owned()];
    play.step("bad_names", &of(play, &names))?;
    play.step("empty_name", &of(play, &[String::new()]))?;
    if play.version >= 8 {
        let topic =
            MetadataRequest { include_topic_authorized_operations: true, ..of(play, std::slice::from_ref(&one)) };
        play.step("topic_operations", &topic)?;
    }
    if (8..=10).contains(&play.version) {
        let cluster = MetadataRequest { include_cluster_authorized_operations: true, ..of(play, &[]) };
        play.step("cluster_operations", &cluster)?;
    }
    Ok(())
}

fn auto_creation(play: &mut Play) -> Result<()> {
    let request = MetadataRequest { allow_auto_topic_creation: true, ..of(play, &[play.name("new")]) };
    play.step("first_answer", &request)?;
    play.await_topic("new", 1)?;
    play.step("later_answer", &request)?;
    let bad = MetadataRequest { allow_auto_topic_creation: true, ..of(play, &["no/good".to_owned()]) };
    play.step("bad_name", &bad)?;
    let long = MetadataRequest { allow_auto_topic_creation: true, ..of(play, &["y".repeat(250)]) };
    play.step("long_name", &long)?;
    Ok(())
}

fn by_id(play: &mut Play) -> Result<()> {
    let id = play.create_topic("one", 1, &[])?;
    let request = |topics: Vec<(Option<String>, Uuid)>| MetadataRequest {
        topics: Some(topics.into_iter().map(|(name, topic_id)| MetadataRequestTopic { name, topic_id }).collect()),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    play.step("known_id", &request(vec![(None, id)]))?;
    play.step("unknown_id", &request(vec![(None, Uuid([9; 16]))]))?;
    play.step("id_and_name", &request(vec![(Some(play.name("one")), id)]))?;
    play.step("neither", &request(vec![(None, Uuid::ZERO)]))?;
    play.step("ids_and_names", &request(vec![(None, id), (Some(play.name("one")), Uuid::ZERO)]))?;
    Ok(())
}
