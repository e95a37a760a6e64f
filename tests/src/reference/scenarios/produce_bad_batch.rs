//! Produce (0) with record batches that are wrong in one way each; none of them may append anything.

use anyhow::Result;
use ottla_protocol::{ApiKey, Records, Uuid};

use super::list_offsets;
use crate::batch::{BatchSpec, Codec, RecordSpec, legacy_message, varint};
use crate::reference::play::produce_request;
use crate::reference::{Play, Scenario};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::once("produce/null_records", 12, null_records),
        Scenario::each_version("produce/bad_frame", ApiKey::Produce, bad_frame),
        Scenario::each_version("produce/bad_records", ApiKey::Produce, bad_records),
        Scenario::each_version("produce/bad_compression", ApiKey::Produce, bad_compression),
    ]
}

/// Sends each batch and writes down the log's end, which shows what was appended.
fn play_all(play: &mut Play, batches: Vec<(String, Vec<u8>)>) -> Result<()> {
    let id: Uuid = play.create_topic("t", 1, &[])?;
    let name = play.name("t");
    for (step, batch) in batches {
        play.step(&step, &produce_request(&name, id, 0, batch))?;
    }
    play.step_at("end", 4, &list_offsets::of(name, &[(0, -1, -1)]))?;
    Ok(())
}

fn null_records(play: &mut Play) -> Result<()> {
    let id = play.create_topic("t", 1, &[])?;
    let mut request = produce_request(&play.name("t"), id, 0, Vec::new());
    request.topic_data[0].partition_data[0].records = Records::Null;
    play.step("null", &request)?;
    Ok(())
}

fn bad_frame(play: &mut Play) -> Result<()> {
    let right = BatchSpec::of(&["one", "two"]);
    let bytes = right.build();
    let spec = |change: &dyn Fn(&mut BatchSpec)| {
        let mut spec = right.clone();
        change(&mut spec);
        spec.build()
    };
    let mut flipped = bytes.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    let two = [bytes.clone(), bytes.clone()].concat();
    let garbage_behind = [bytes.clone(), vec![0; 5]].concat();
    let batches = vec![
        ("empty", vec![]),
        ("wrong_crc", spec(&|spec| spec.crc = Some(1))),
        ("flipped_bit", flipped),
        ("length_0", spec(&|spec| spec.length = Some(0))),
        ("length_48", spec(&|spec| spec.length = Some(48))),
        ("length_negative", spec(&|spec| spec.length = Some(-1))),
        ("length_past_the_end", spec(&|spec| spec.length = Some(10_000))),
        ("length_huge", spec(&|spec| spec.length = Some(i32::MAX))),
        ("length_one_short", spec(&|spec| spec.length = Some(bytes.len() as i32 - 13))),
        ("cut_in_the_header", bytes[..30].to_vec()),
        ("cut_in_the_length", bytes[..10].to_vec()),
        ("cut_in_the_records", bytes[..bytes.len() - 1].to_vec()),
        ("two_batches", two),
        ("garbage_behind", garbage_behind),
        ("magic_0", legacy_message(0, b"old")),
        ("magic_1", legacy_message(1, b"old")),
        ("magic_3", spec(&|spec| spec.magic = 3)),
        ("magic_minus_1", spec(&|spec| spec.magic = -1)),
        ("control", spec(&|spec| spec.attributes = 0x20)),
        ("transactional", spec(&|spec| spec.attributes = 0x10)),
        ("delete_horizon", spec(&|spec| spec.attributes = 0x40)),
        ("unused_attributes", spec(&|spec| spec.attributes = 0x0f80)),
        ("zeros", vec![0; 100]),
    ];
    play_all(play, batches.into_iter().map(|(step, batch)| (step.to_owned(), batch)).collect())
}

fn bad_records(play: &mut Play) -> Result<()> {
    let right = BatchSpec::of(&["one", "two", "three"]);
    let mut batches = Vec::new();
    for codec in [Codec::None, Codec::Gzip] {
        let mut add = |step: &str, change: &dyn Fn(&mut BatchSpec)| {
            let mut spec = BatchSpec { codec, ..right.clone() };
            change(&mut spec);
            batches.push((format!("{codec:?}_{step}"), spec.build()));
        };
        let with = |spec: &mut BatchSpec, change: &dyn Fn(&mut RecordSpec)| change(&mut spec.records[1]);
        add("count_0", &|spec| spec.count = Some(0));
        add("count_minus_1", &|spec| spec.count = Some(-1));
        add("count_max", &|spec| spec.count = Some(i32::MAX));
        add("count_too_low", &|spec| spec.count = Some(2));
        add("count_too_high", &|spec| spec.count = Some(4));
        add("last_offset_delta_too_high", &|spec| spec.last_offset_delta = Some(5));
        add("last_offset_delta_too_low", &|spec| spec.last_offset_delta = Some(1));
        add("last_offset_delta_negative", &|spec| spec.last_offset_delta = Some(-1));
        add("fewer_inside", &|spec| (spec.count, spec.last_offset_delta) = (Some(5), Some(4)));
        add("more_inside", &|spec| (spec.count, spec.last_offset_delta) = (Some(1), Some(0)));
        add("no_records", &|spec| spec.records.clear());
        add("no_records_but_counted", &|spec| {
            spec.records.clear();
            (spec.count, spec.last_offset_delta) = (Some(1), Some(0));
        });
        add("record_length_negative", &|spec| with(spec, &|record| record.length = Some(-1)));
        add("record_length_past_the_end", &|spec| with(spec, &|record| record.length = Some(1000)));
        add("record_length_huge", &|spec| with(spec, &|record| record.length = Some(i32::MAX)));
        add("record_length_one_short", &|spec| with(spec, &|record| record.length = Some(8)));
        add("header_count_negative", &|spec| with(spec, &|record| record.header_count = Some(-1)));
        add("header_count_huge", &|spec| with(spec, &|record| record.header_count = Some(i32::MAX)));
        add("offset_delta_repeated", &|spec| with(spec, &|record| record.offset_delta = Some(0)));
        add("offset_delta_with_gap", &|spec| with(spec, &|record| record.offset_delta = Some(7)));
        add("offset_delta_negative", &|spec| with(spec, &|record| record.offset_delta = Some(-1)));
        add("record_attributes", &|spec| with(spec, &|record| record.attributes = 0x7f));
        add("endless_varint", &|spec| spec.payload = Some(spec.codec.pack(&[0xff; 20])));
        add("null_header_key", &|spec| spec.payload = Some(spec.codec.pack(&record_with_null_header_key())));
        add("header_key_not_utf8", &|spec| {
            spec.payload = Some(spec.codec.pack(&record_with_header_key(&[0xff, 0xfe])))
        });
    }
    play_all(play, batches)
}

/// Three records, the last with a header whose key has the length -1.
fn record_with_null_header_key() -> Vec<u8> {
    let mut body = vec![0];
    // Timestamp delta, offset delta, key, value, header count, header key, header value.
    for number in [0, 2, -1, -1, 1, -1, -1] {
        varint(number, &mut body);
    }
    after_two_records(&body)
}

fn record_with_header_key(key: &[u8]) -> Vec<u8> {
    let mut body = vec![0];
    for number in [0, 2, -1, -1, 1, key.len() as i64] {
        varint(number, &mut body);
    }
    body.extend_from_slice(key);
    varint(-1, &mut body);
    after_two_records(&body)
}

fn after_two_records(last: &[u8]) -> Vec<u8> {
    let mut plain = BatchSpec::of(&["one", "two"]).build().split_off(61);
    varint(last.len() as i64, &mut plain);
    plain.extend_from_slice(last);
    plain
}

fn bad_compression(play: &mut Play) -> Result<()> {
    let right = BatchSpec::of(&["one", "two", "three"]);
    let plain = right.build().split_off(61);
    let mut batches = Vec::new();
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let packed = codec.pack(&plain);
        let mut add = |step: &str, payload: Vec<u8>| {
            let spec = BatchSpec { codec, payload: Some(payload), ..right.clone() };
            batches.push((format!("{codec:?}_{step}"), spec.build()));
        };
        add("not_compressed", plain.clone());
        add("empty", Vec::new());
        add("cut_off", packed[..packed.len() - 6].to_vec());
        let mut flipped = packed.clone();
        let middle = packed.len() / 2;
        flipped[middle] ^= 0x55;
        add("flipped", flipped);
        add("zeros", vec![0; 50]);
        add("garbage_behind", [packed.clone(), b"garbage".to_vec()].concat());
        add("garbage_behind_inside", codec.pack(&[plain.clone(), b"garbage".to_vec()].concat()));
        add("twice", [packed.clone(), packed].concat());
    }
    for codec_id in 5..=7 {
        let spec = BatchSpec { codec_id: Some(codec_id), ..right.clone() };
        batches.push((format!("codec_{codec_id}"), spec.build()));
    }
    let raw_snappy = snap::raw::Encoder::new().compress_vec(&plain)?;
    let spec = BatchSpec { codec: Codec::Snappy, payload: Some(raw_snappy), ..right };
    batches.push(("snappy_without_framing".to_owned(), spec.build()));
    play_all(play, batches)
}
