//! Produce (0): right batches of every codec, acks, topics and partitions that are not there, and limits of topics.

use anyhow::Result;
use bytes::Bytes;
use ottla_protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_protocol::{ApiKey, Records, Uuid};

use super::{fetch, list_offsets};
use crate::batch::{BASE_TIMESTAMP, BatchSpec, Codec, RecordSpec};
use crate::reference::play::produce_request;
use crate::reference::{Play, Scenario};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::each_version("produce/normal", ApiKey::Produce, normal),
        Scenario::each_version("produce/errors", ApiKey::Produce, errors),
        Scenario::each_version("produce/topic_limits", ApiKey::Produce, topic_limits),
        Scenario::each_version("produce/timestamps", ApiKey::Produce, timestamps),
        Scenario::once("produce/compression_of_topic", 12, compression_of_topic),
    ]
}

/// Partitions and what goes to them.
type Batches = Vec<(i32, Vec<u8>)>;

fn of(topics: Vec<(String, Uuid, Batches)>) -> ProduceRequest {
    let topic = |(name, topic_id, partitions): (String, Uuid, Batches)| TopicProduceData {
        name,
        topic_id,
        partition_data: partitions
            .into_iter()
            .map(|(index, batch)| PartitionProduceData { index, records: Records::Bytes(Bytes::from(batch)) })
            .collect(),
    };
    let topic_data = topics.into_iter().map(topic).collect();
    ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data, ..Default::default() }
}

fn normal(play: &mut Play) -> Result<()> {
    let id = play.create_topic("t", 2, &[])?;
    let other_id = play.create_topic("other", 1, &[])?;
    let (name, other) = (play.name("t"), play.name("other"));
    let one = |batch: &BatchSpec| produce_request(&name, id, 0, batch.build());
    play.step("one_record", &one(&BatchSpec::of(&["one"])))?;
    play.step("three_records", &one(&BatchSpec::of(&["one", "two", "three"])))?;
    play.step("acks_1", &ProduceRequest { acks: 1, ..one(&BatchSpec::default()) })?;
    play.unanswered_step("acks_0", &ProduceRequest { acks: 0, ..one(&BatchSpec::default()) })?;
    for codec in Codec::ALL {
        play.step(&format!("{codec:?}"), &one(&BatchSpec { codec, ..BatchSpec::of(&["a", "b", "c"]) }))?;
    }
    let full = RecordSpec {
        headers: vec![("h".to_owned(), Some(b"v".to_vec())), ("h".to_owned(), None), (String::new(), Some(vec![]))],
        ..RecordSpec::keyed("key", "value")
    };
    play.step("key_value_headers", &one(&BatchSpec { records: vec![full], ..Default::default() }))?;
    let empty = RecordSpec { key: Some(vec![]), value: None, ..Default::default() };
    play.step("empty_key_null_value", &one(&BatchSpec { records: vec![empty], ..Default::default() }))?;
    let foreign = BatchSpec { base_offset: 77, leader_epoch: 9, ..Default::default() };
    play.step("foreign_offset_and_epoch", &one(&foreign))?;
    let batch = BatchSpec::default().build();
    let two = of(vec![
        (name.clone(), id, vec![(0, batch.clone()), (1, batch.clone())]),
        (other, other_id, vec![(0, batch.clone())]),
    ]);
    play.step("two_topics", &two)?;
    play.step("no_topics", &of(vec![]))?;
    play.step("no_partitions", &of(vec![(name.clone(), id, vec![])]))?;
    play.step("timeout_0", &ProduceRequest { timeout_ms: 0, ..one(&BatchSpec::default()) })?;
    play.step("timeout_negative", &ProduceRequest { timeout_ms: -1, ..one(&BatchSpec::default()) })?;
    play.step_at("stored", 12, &fetch::of(&name, id, 0, 0))?;
    Ok(())
}

fn errors(play: &mut Play) -> Result<()> {
    let id = play.create_topic("t", 2, &[])?;
    let name = play.name("t");
    let batch = BatchSpec::default().build();
    let one = |partition| produce_request(&name, id, partition, batch.clone());
    play.step("unknown_partition", &one(2))?;
    play.step("negative_partition", &one(-1))?;
    play.step("unknown_topic", &produce_request(&play.name("missing"), Uuid([9; 16]), 0, batch.clone()))?;
    if play.version < 13 {
        play.step("bad_name", &produce_request("a/b", Uuid::ZERO, 0, batch.clone()))?;
        play.step("empty_name", &produce_request("", Uuid::ZERO, 0, batch.clone()))?;
    } else {
        play.step("no_id", &produce_request("", Uuid::ZERO, 0, batch.clone()))?;
    }
    let mixed = of(vec![
        (name.clone(), id, vec![(0, batch.clone()), (5, batch.clone())]),
        (play.name("missing"), Uuid([9; 16]), vec![(0, batch.clone())]),
    ]);
    play.step("good_and_unknown", &mixed)?;
    play.step("one_partition_twice", &of(vec![(name.clone(), id, vec![(1, batch.clone()), (1, batch.clone())])]))?;
    let twice = of(vec![(name.clone(), id, vec![(1, batch.clone())]), (name.clone(), id, vec![(1, batch.clone())])]);
    play.step("one_topic_twice", &twice)?;
    for (step, acks) in [("acks_2", 2), ("acks_minus_7", -7), ("acks_max", i16::MAX)] {
        play.step(step, &ProduceRequest { acks, ..one(0) })?;
    }
    play.step("acks_2_unknown_topic", &ProduceRequest { acks: 2, ..mixed.clone() })?;
    play.unanswered_step("acks_0_unknown_topic", &ProduceRequest { acks: 0, ..mixed })?;
    play.unanswered_step("acks_0_unknown_partition", &ProduceRequest { acks: 0, ..one(9) })?;
    play.step_at("end", 4, &list_offsets::of(name, &[(0, -1, -1), (1, -1, -1)]))?;
    Ok(())
}

fn topic_limits(play: &mut Play) -> Result<()> {
    let id = play.create_topic("small", 1, &[("max.message.bytes", "200")])?;
    let name = play.name("small");
    let of_bytes = |count: usize| {
        let batch = BatchSpec { records: vec![RecordSpec::value(vec![b'x'; count])], ..Default::default() };
        produce_request(&name, id, 0, batch.build())
    };
    play.step("under_the_limit", &of_bytes(100))?;
    // 61 bytes of header and 9 of a record with a value of over 63 bytes.
    play.step("at_the_limit", &of_bytes(130))?;
    play.step("one_byte_over", &of_bytes(131))?;
    play.step("far_over", &of_bytes(5000))?;
    let packed =
        BatchSpec { codec: Codec::Gzip, records: vec![RecordSpec::value(vec![b'x'; 5000])], ..Default::default() };
    play.step("over_before_compression", &produce_request(&name, id, 0, packed.build()))?;

    let id = play.create_topic("compacted", 1, &[("cleanup.policy", "compact")])?;
    let name = play.name("compacted");
    let records = |records: Vec<RecordSpec>| {
        let batch = BatchSpec { records, ..Default::default() };
        produce_request(&name, id, 0, batch.build())
    };
    play.step("compacted_with_key", &records(vec![RecordSpec::keyed("k", "v")]))?;
    play.step("compacted_without_key", &records(vec![RecordSpec::value("v")]))?;
    let mixed = vec![RecordSpec::keyed("k", "v"), RecordSpec::value("v"), RecordSpec::value("w")];
    play.step("compacted_some_without_key", &records(mixed))?;
    play.step("compacted_with_empty_key", &records(vec![RecordSpec::keyed("", "v")]))?;

    let id = play.create_topic("strict", 1, &[("min.insync.replicas", "2")])?;
    let name = play.name("strict");
    let one = produce_request(&name, id, 0, BatchSpec::default().build());
    play.step("too_few_replicas", &one)?;
    play.step("too_few_replicas_acks_1", &ProduceRequest { acks: 1, ..one })?;
    Ok(())
}

fn timestamps(play: &mut Play) -> Result<()> {
    let id = play.create_topic("appended", 1, &[("message.timestamp.type", "LogAppendTime")])?;
    let name = play.name("appended");
    play.step("log_append_time", &produce_request(&name, id, 0, BatchSpec::of(&["one", "two"]).build()))?;
    let packed = BatchSpec { codec: Codec::Gzip, ..BatchSpec::of(&["one", "two"]) };
    play.step("log_append_time_compressed", &produce_request(&name, id, 0, packed.build()))?;
    let claimed = BatchSpec { attributes: 8, ..BatchSpec::of(&["one"]) };
    play.step("log_append_time_claimed", &produce_request(&name, id, 0, claimed.build()))?;
    play.step_at("log_append_time_stored", 12, &fetch::of(&name, id, 0, 0))?;

    let bounds = [("message.timestamp.before.max.ms", "86400000"), ("message.timestamp.after.max.ms", "3600000")];
    let id = play.create_topic("bounded", 1, &bounds)?;
    let name = play.name("bounded");
    let at = |base_timestamp| {
        let batch = BatchSpec { base_timestamp, ..BatchSpec::of(&["one", "two"]) };
        produce_request(&name, id, 0, batch.build())
    };
    play.step("too_old", &at(BASE_TIMESTAMP))?;
    play.step("too_new", &at(BASE_TIMESTAMP * 10))?;
    let id = play.create_topic("plain", 1, &[])?;
    let name = play.name("plain");
    let batch = |batch: BatchSpec| produce_request(&name, id, 0, batch.build());
    play.step("far_future", &batch(BatchSpec { base_timestamp: BASE_TIMESTAMP * 10, ..Default::default() }))?;
    play.step("no_timestamp", &batch(BatchSpec { base_timestamp: -1, ..Default::default() }))?;
    play.step("negative_timestamp", &batch(BatchSpec { base_timestamp: -5, ..Default::default() }))?;
    let claimed = BatchSpec { attributes: 8, ..Default::default() };
    play.step("append_time_claimed", &batch(claimed))?;
    let wrong = BatchSpec { max_timestamp: Some(BASE_TIMESTAMP + 77), ..Default::default() };
    play.step("wrong_maximum", &batch(wrong))?;
    play.step_at("plain_stored", 12, &fetch::of(&name, id, 0, 0))?;
    Ok(())
}

fn compression_of_topic(play: &mut Play) -> Result<()> {
    for kind in ["producer", "uncompressed", "gzip", "zstd"] {
        let id = play.create_topic(kind, 1, &[("compression.type", kind)])?;
        let name = play.name(kind);
        for codec in [Codec::None, Codec::Gzip, Codec::Zstd] {
            let batch = BatchSpec { codec, ..BatchSpec::of(&["a", "b", "c"]) };
            play.step(&format!("{codec:?}_to_{kind}"), &produce_request(&name, id, 0, batch.build()))?;
        }
        play.step_at(&format!("stored_in_{kind}"), 12, &fetch::of(&name, id, 0, 0))?;
    }
    Ok(())
}
