//! Goal: whatever bytes a produce request carries, it gets Kafka's answer, and what is stored says what Kafka's log would;
//! every difference is on purpose and listed. Method: cases built here field by field, judged by Apache Kafka 4.3's own log
//! (`tests/golden/produce/JudgeBatches.java`) once; its verdicts are kept beside that program.
//!
//! To record them anew: run this test with `OTTLA_PRODUCE_CASES=cases.tsv`, then the program on that file.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::records::{BatchView, Compression, crc32c};

use crate::api::error_map::ToErrorCode;
use crate::config::{BrokerConfig, TopicConfig};
use crate::storage::validate::{ValidateRules, validate};

const VERDICTS: &str = include_str!("../../tests/golden/produce/kafka-4.3.tsv");
const NOW_MS: i64 = 1_700_000_000_000;
const DAY_MS: i64 = 86_400_000;
const LIMIT: usize = 1 << 20;
const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// Where we answer otherwise: the start of the cases' names, what we answer there, and why.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    ("records cut off", "CORRUPT_MESSAGE", "a length past the end is damage; Kafka sees no batch"),
    ("ten bytes", "CORRUPT_MESSAGE", "as above"),
    ("header cut off", "CORRUPT_MESSAGE", "as above"),
    ("header alone", "CORRUPT_MESSAGE", "as above"),
    ("length 2147483647", "CORRUPT_MESSAGE", "Kafka answers -1, on which clients send again what may be in the log"),
    ("two batches, the second one cut off", "INVALID_RECORD", "Kafka drops in silence what follows the first batch"),
    ("five bytes behind", "INVALID_RECORD", "as above"),
    ("forty zeros behind", "INVALID_RECORD", "more than one batch, whatever the second one is"),
    ("codec ", "UNSUPPORTED_COMPRESSION_TYPE", "Kafka answers -1"),
    (
        "attribute delete horizon",
        "INVALID_RECORD",
        "only the cleaner sets it; it would let tombstones go at a time that the client chose",
    ),
    ("transactional without a producer", "INVALID_TXN_STATE", "no transaction can hold it"),
    ("producer without an epoch", "INVALID_RECORD", "an epoch below 0 fences nothing, and no client sends one"),
    ("producer with epoch -5", "INVALID_RECORD", "as above"),
    ("record length 2^31-1 (zstd)", "INVALID_RECORD", "Kafka answers -1"),
    ("key length -2", "INVALID_RECORD", "Kafka takes it for null; other readers do not"),
    ("value length -2", "INVALID_RECORD", "as above"),
    ("varint overflowing", "INVALID_RECORD", "Kafka drops the bits that do not fit"),
    (
        "timestamp delta of 64 bits",
        "INVALID_TIMESTAMP",
        "beyond 64 bits is beyond every bound; Kafka's subtraction overflows",
    ),
    ("offset delta", "INVALID_RECORD", "offsets in the log stay dense and rising; Kafka stores them or answers -1"),
    ("frame cut off", "INVALID_RECORD", "Kafka answers -1"),
    ("half a frame", "INVALID_RECORD", "Kafka answers -1"),
    ("no frame", "INVALID_RECORD", "Kafka answers -1"),
    ("no compressed bytes but text", "INVALID_RECORD", "Kafka answers -1"),
    ("behind the frame", "INVALID_RECORD", "Kafka stores bytes that nobody reads, or answers -1"),
    ("frame damaged", "INVALID_RECORD", "Kafka answers -1"),
    (
        "stamped by the producer",
        "INVALID_TIMESTAMP",
        "Kafka believes the header and stores a highest timestamp that no record has",
    ),
];

/// One produce.
struct Case {
    name: String,
    configs: String,
    bytes: Vec<u8>,
}

/// A batch, field by field; fields of `None` are as they should be.
#[derive(Clone)]
struct Batch {
    base_offset: i64,
    leader_epoch: i32,
    attributes: i16,
    codec: Compression,
    last_offset_delta: Option<i32>,
    base_timestamp: i64,
    max_timestamp: i64,
    producer: (i64, i16, i32),
    count: Option<i32>,
    records: Vec<Vec<u8>>,
    /// Instead of the records and their codec.
    payload: Option<Vec<u8>>,
}

/// What a case does to a record.
type Change = Box<dyn Fn(&mut RawRecord)>;

/// A record, field by field.
#[derive(Clone)]
struct RawRecord {
    length: Option<i64>,
    attributes: u8,
    timestamp_delta: i64,
    offset_delta: i64,
    key: Vec<u8>,
    value: Vec<u8>,
    headers: Vec<u8>,
}

fn varint(value: i64) -> Vec<u8> {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    let mut bytes = Vec::new();
    while zigzag >= 0x80 {
        bytes.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    bytes.push(zigzag as u8);
    bytes
}

fn field(bytes: &[u8]) -> Vec<u8> {
    [varint(bytes.len() as i64), bytes.to_vec()].concat()
}

fn record(index: i64) -> RawRecord {
    RawRecord {
        length: None,
        attributes: 0,
        timestamp_delta: index,
        offset_delta: index,
        key: field(format!("key {index}").as_bytes()),
        value: field(b"a value, a value, a value, a value"),
        headers: [varint(1), field(b"h"), field(b"v")].concat(),
    }
}

impl RawRecord {
    fn bytes(&self) -> Vec<u8> {
        let mut body = vec![self.attributes];
        body.extend(varint(self.timestamp_delta));
        body.extend(varint(self.offset_delta));
        body.extend_from_slice(&self.key);
        body.extend_from_slice(&self.value);
        body.extend_from_slice(&self.headers);
        [varint(self.length.unwrap_or(body.len() as i64)), body].concat()
    }
}

fn batch() -> Batch {
    Batch {
        base_offset: 0,
        leader_epoch: -1,
        attributes: 0,
        codec: Compression::None,
        last_offset_delta: None,
        base_timestamp: NOW_MS,
        max_timestamp: NOW_MS + 2,
        producer: (-1, -1, -1),
        count: None,
        records: (0..3).map(|index| record(index).bytes()).collect(),
        payload: None,
    }
}

impl Batch {
    fn of(records: &[RawRecord]) -> Self {
        Self { records: records.iter().map(RawRecord::bytes).collect(), ..batch() }
    }

    /// Three records of which the middle one is changed.
    fn with(change: impl FnOnce(&mut RawRecord)) -> Self {
        let mut records = [record(0), record(1), record(2)];
        change(&mut records[1]);
        Self::of(&records)
    }

    fn bytes(&self) -> Vec<u8> {
        let plain = self.records.concat();
        let compressed = || self.codec.compress(&plain, None).expect("the default level");
        let payload = self.payload.clone().unwrap_or_else(compressed);
        let count = self.count.unwrap_or(self.records.len() as i32);
        let mut bytes = vec![0; 61];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &self.base_offset.to_be_bytes());
        put(8, &(49 + payload.len() as i32).to_be_bytes());
        put(12, &self.leader_epoch.to_be_bytes());
        put(16, &[2]);
        put(21, &(self.attributes | self.codec as i16).to_be_bytes());
        put(23, &self.last_offset_delta.unwrap_or(count - 1).to_be_bytes());
        put(27, &self.base_timestamp.to_be_bytes());
        put(35, &self.max_timestamp.to_be_bytes());
        put(43, &self.producer.0.to_be_bytes());
        put(51, &self.producer.1.to_be_bytes());
        put(53, &self.producer.2.to_be_bytes());
        put(57, &count.to_be_bytes());
        bytes.extend_from_slice(&payload);
        patched(bytes, 17, &[])
    }
}

/// Overwrites bytes and makes the checksum fit again.
fn patched(mut bytes: Vec<u8>, at: usize, field: &[u8]) -> Vec<u8> {
    bytes[at..at + field.len()].copy_from_slice(field);
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

struct Cases(Vec<Case>);

impl Cases {
    fn raw(&mut self, name: &str, configs: &str, bytes: Vec<u8>) {
        self.0.push(Case { name: name.to_owned(), configs: configs.to_owned(), bytes });
    }

    fn add(&mut self, name: &str, batch: &Batch) {
        self.raw(name, "", batch.bytes());
    }

    /// Uncompressed and compressed.
    fn both(&mut self, name: &str, batch: &Batch) {
        for codec in [Compression::None, Compression::Zstd] {
            self.add(&format!("{name} ({codec})"), &Batch { codec, ..batch.clone() });
        }
    }
}

fn framing(cases: &mut Cases) {
    let sound = batch().bytes();
    cases.raw("no bytes", "", Vec::new());
    cases.raw("ten bytes", "", sound[..10].to_vec());
    cases.raw("header cut off", "", sound[..60].to_vec());
    cases.raw("records cut off", "", sound[..sound.len() - 1].to_vec());
    cases.raw("header alone", "", sound[..61].to_vec());
    for length in [-1, 0, 13, 48, i32::MAX] {
        cases.raw(&format!("length {length}"), "", patched(sound.clone(), 8, &length.to_be_bytes()));
    }
    cases.raw("two batches", "", [sound.clone(), sound.clone()].concat());
    cases.raw("two batches, the second one cut off", "", [sound.clone(), sound[..70].to_vec()].concat());
    cases.raw("five bytes behind", "", [sound.clone(), vec![1; 5]].concat());
    cases.raw("forty zeros behind", "", [sound.clone(), vec![0; 40]].concat());
    for magic in [0, 1, 3, -1_i8] {
        cases.raw(&format!("magic {magic}"), "", patched(sound.clone(), 16, &magic.to_be_bytes()));
    }
    let mut flipped = sound.clone();
    flipped[80] ^= 1;
    cases.raw("flipped bit in a record", "", flipped);
    let mut flipped = sound.clone();
    flipped[17] ^= 1;
    cases.raw("flipped bit in the checksum", "", flipped);
}

fn headers(cases: &mut Cases) {
    for codec in CODECS {
        cases.add(&format!("sound ({codec})"), &Batch { codec, ..batch() });
    }
    cases.add("base offset 5", &Batch { base_offset: 5, ..batch() });
    cases.add("base offset -1", &Batch { base_offset: -1, ..batch() });
    cases.add("leader epoch 77", &Batch { leader_epoch: 77, ..batch() });
    for codec in 5..8 {
        cases.add(&format!("codec {codec}"), &Batch { attributes: codec, ..batch() });
    }
    for (name, attributes) in [("control", 0x20), ("delete horizon", 0x40), ("bit 7", 0x80), ("bit 14", 0x4000)] {
        cases.add(&format!("attribute {name}"), &Batch { attributes, ..batch() });
    }
    let transactional = Batch { attributes: 0x10, ..batch() };
    cases.add("transactional without a producer", &transactional);
    cases.add("transactional", &Batch { producer: (5, 0, 0), ..transactional });
    for (name, producer) in [
        ("idempotent", (5, 0, 0)),
        ("first sequence in the middle", (5, 0, 1_000)),
        ("sequence wraps", (5, 0, i32::MAX)),
        ("producer without a sequence", (5, 0, -1)),
        ("producer with sequence -5", (5, 0, -5)),
        ("producer without an epoch", (5, -1, 0)),
        ("producer with epoch -5", (5, -5, 0)),
        ("producer id -2", (-2, 0, 0)),
        ("sequence without a producer", (-1, -1, 0)),
        ("sequence -5 without a producer", (-1, -1, -5)),
    ] {
        cases.add(name, &Batch { producer, ..batch() });
    }
    let size = batch().bytes().len();
    for limit in [size - 1, size] {
        let name = if limit == size { "exactly max.message.bytes" } else { "over max.message.bytes" };
        cases.raw(name, &format!("max.message.bytes={limit}"), batch().bytes());
    }
}

fn counts(cases: &mut Cases) {
    for codec in CODECS {
        for (count, last_delta) in [(0, -1), (-1, -2), (1, 0), (2, 1), (4, 3), (i32::MAX, i32::MAX - 1)] {
            let wrong = Batch { codec, count: Some(count), last_offset_delta: Some(last_delta), ..batch() };
            cases.add(&format!("count {count} of 3 ({codec})"), &wrong);
        }
    }
    for last_delta in [-1, 0, 1, 3, i32::MAX, i32::MIN] {
        let wrong = Batch { last_offset_delta: Some(last_delta), ..batch() };
        cases.both(&format!("last offset delta {last_delta} of 3"), &wrong);
    }
    let none = Batch { count: Some(0), last_offset_delta: Some(0), records: Vec::new(), ..batch() };
    cases.both("no records, last offset delta 0", &none);
}

fn record_fields(cases: &mut Cases) {
    let endless = vec![0xff; 12];
    let overflowing = vec![0xff, 0xff, 0xff, 0xff, 0x1f];
    let changes: Vec<(&str, Change)> = vec![
        ("record length negative", Box::new(|record| record.length = Some(-1))),
        ("record length 0", Box::new(|record| record.length = Some(0))),
        ("record length too small", Box::new(|record| record.length = Some(20))),
        ("record length too large", Box::new(|record| record.length = Some(60))),
        ("record length past the end", Box::new(|record| record.length = Some(1 << 20))),
        ("record length 2^31-1", Box::new(|record| record.length = Some(i64::from(i32::MAX)))),
        ("header count 2^31-1", Box::new(|record| record.headers = varint(i64::from(i32::MAX)))),
        ("header count negative", Box::new(|record| record.headers = varint(-1))),
        ("header key null", Box::new(|record| record.headers = [varint(1), varint(-1), field(b"v")].concat())),
        ("header key length -5", Box::new(|record| record.headers = [varint(1), varint(-5), field(b"v")].concat())),
        ("header value null", Box::new(|record| record.headers = [varint(1), field(b"h"), varint(-1)].concat())),
        ("header key not UTF-8", Box::new(|record| record.headers = [varint(1), field(&[0xff]), field(b"v")].concat())),
        ("key length -2", Box::new(|record| record.key = varint(-2))),
        ("value length -2", Box::new(|record| record.value = varint(-2))),
        ("key past the end", Box::new(|record| record.key = varint(1_000))),
        ("value past the end", Box::new(|record| record.value = varint(1_000))),
        ("varint without an end", Box::new(move |record| record.key.clone_from(&endless))),
        ("varint overflowing", Box::new(move |record| record.key.clone_from(&overflowing))),
        ("varint with spare bytes", Box::new(|record| record.headers = vec![0x80, 0x80, 0])),
        ("null key and value", Box::new(|record| (record.key, record.value) = (varint(-1), varint(-1)))),
        ("empty key and value", Box::new(|record| (record.key, record.value) = (varint(0), varint(0)))),
        ("record attributes", Box::new(|record| record.attributes = 0xff)),
        ("offset delta duplicate", Box::new(|record| record.offset_delta = 0)),
        ("offset delta gap", Box::new(|record| record.offset_delta = 7)),
        ("offset delta negative", Box::new(|record| record.offset_delta = -1)),
        ("timestamp delta of 64 bits", Box::new(|record| record.timestamp_delta = i64::MIN)),
    ];
    for (name, change) in changes {
        cases.both(name, &Batch::with(change));
    }
    let mut descending = [record(2), record(1), record(0)];
    descending.iter_mut().for_each(|record| record.timestamp_delta = 0);
    cases.both("offset deltas descending", &Batch::of(&descending));
    let mut trailing = batch();
    trailing.records[2].extend_from_slice(&[0, 0, 0]);
    cases.both("bytes behind the records", &trailing);
}

fn frames(cases: &mut Cases) {
    let plain = batch().records.concat();
    for codec in &CODECS[1..] {
        let frame = codec.compress(&plain, None).expect("the default level");
        let mut put = |name: &str, payload: Vec<u8>| {
            cases.add(&format!("{name} ({codec})"), &Batch { codec: *codec, payload: Some(payload), ..batch() });
        };
        put("frame cut off", frame[..frame.len() - 1].to_vec());
        put("half a frame", frame[..frame.len() / 2].to_vec());
        put("no frame", Vec::new());
        put("no compressed bytes but text", b"this is not what the codec makes".to_vec());
        put("behind the frame: a byte", [frame.clone(), vec![0]].concat());
        put("behind the frame: another", [frame.clone(), frame.clone()].concat());
        let mut damaged = frame.clone();
        let middle = frame.len() / 2;
        damaged[middle] ^= 0x55;
        put("frame damaged", damaged);
    }
    let raw = snap::raw::Encoder::new().compress_vec(&plain).expect("it fits");
    cases.add("snappy without framing", &Batch { codec: Compression::Snappy, payload: Some(raw), ..batch() });
}

fn timestamps(cases: &mut Cases) {
    let at = |base_timestamp: i64| Batch { base_timestamp, max_timestamp: base_timestamp, ..Batch::of(&[record(0)]) };
    let bounds = format!("message.timestamp.before.max.ms={DAY_MS} message.timestamp.after.max.ms={DAY_MS}");
    for (name, timestamp) in [
        ("now", NOW_MS),
        ("an hour ahead", NOW_MS + DAY_MS / 24),
        ("a day ahead", NOW_MS + DAY_MS),
        ("a day and 1 ms ahead", NOW_MS + DAY_MS + 1),
        ("a day ago", NOW_MS - DAY_MS),
        ("a day and 1 ms ago", NOW_MS - DAY_MS - 1),
        ("0", 0),
        ("-1", -1),
        ("-2", -2),
        ("2^63-1", i64::MAX),
        ("-2^63", i64::MIN),
    ] {
        cases.raw(&format!("timestamp {name}"), "", at(timestamp).bytes());
        cases.raw(&format!("timestamp {name}, bounded"), &bounds, at(timestamp).bytes());
        let stamping = "message.timestamp.type=LogAppendTime";
        cases.raw(&format!("timestamp {name}, stamped"), stamping, at(timestamp).bytes());
    }
    let mut mixed = [record(0), record(1), record(2)];
    mixed[0].timestamp_delta = 2 * DAY_MS;
    mixed[2].timestamp_delta = 3 * DAY_MS;
    cases.both("two of three timestamps ahead", &Batch::of(&mixed));
    mixed[2].key = varint(-1);
    cases.raw("timestamps ahead and keys missing", "cleanup.policy=compact", Batch::of(&mixed).bytes());
    for (name, max_timestamp) in [("too low", 5), ("too high", NOW_MS + 50), ("2^63-1", i64::MAX), ("-1", -1)] {
        cases.both(&format!("highest timestamp {name}"), &Batch { max_timestamp, ..batch() });
    }
    let claimed = Batch { attributes: 0x08, ..batch() };
    cases.both("stamped by the producer", &claimed);
    let lied = Batch { max_timestamp: NOW_MS + 50, ..claimed.clone() };
    cases.both("stamped by the producer otherwise than its records", &lied);
    cases.raw("stamped by both", "message.timestamp.type=LogAppendTime", claimed.bytes());
    let stamping = "message.timestamp.type=LogAppendTime compression.type=gzip";
    cases.raw("stamped and compressed", stamping, batch().bytes());
}

fn topics(cases: &mut Cases) {
    let keyless = Batch::with(|record| record.key = varint(-1));
    for policy in ["compact", "compact,delete", "delete"] {
        for codec in [Compression::None, Compression::Zstd] {
            let bytes = Batch { codec, ..keyless.clone() }.bytes();
            cases.raw(&format!("key missing, {policy} ({codec})"), &format!("cleanup.policy={policy}"), bytes);
        }
    }
    for stored in ["uncompressed", "gzip", "snappy", "lz4", "zstd", "producer"] {
        for codec in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let idempotent = Batch { codec, producer: (5, 0, 3), ..batch() };
            let bytes = idempotent.bytes();
            cases.raw(&format!("{codec} to a topic of {stored}"), &format!("compression.type={stored}"), bytes);
        }
    }
    let odd = Batch::with(|record| record.headers = [varint(1), field(&[0xff]), field(b"v")].concat());
    cases.raw("header key not UTF-8, compressed by the broker", "compression.type=lz4", odd.bytes());
}

fn all_cases() -> Vec<Case> {
    let mut cases = Cases(Vec::new());
    framing(&mut cases);
    headers(&mut cases);
    counts(&mut cases);
    record_fields(&mut cases);
    frames(&mut cases);
    timestamps(&mut cases);
    topics(&mut cases);
    cases.0
}

fn rules(configs: &str) -> ValidateRules {
    let pairs = configs.split_whitespace().map(|pair| pair.split_once('=').expect("key=value"));
    let overrides: BTreeMap<String, String> = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let config = TopicConfig::from_overrides(&BrokerConfig::default(), &overrides).expect("configs of a topic");
    ValidateRules::new(&config, LIMIT)
}

/// Our verdict, as the golden file words it.
fn verdict(case: &Case) -> String {
    let joined = |numbers: &mut dyn Iterator<Item = String>| numbers.collect::<Vec<_>>().join(",");
    match validate(&Bytes::from(case.bytes.clone()), &rules(&case.configs), NOW_MS) {
        Ok(validated) => {
            let bytes = Bytes::from([&validated.header()[..], validated.records()].concat());
            let (stored, _) = BatchView::split(&bytes).expect("a batch");
            stored.check_crc().expect("its checksum fits");
            let records = stored.records(LIMIT).expect("its codec is known");
            let times = joined(&mut records.map(|record| record.expect("sound").timestamp.to_string()));
            format!("OK\t{}\t{}\t{times}", stored.attributes() & 0x7f, stored.max_timestamp())
        }
        Err(error) => {
            let indexes = joined(&mut error.refused_records().iter().map(|record| record.batch_index.to_string()));
            format!("{}\t{indexes}", error.to_error_code().name())
        }
    }
}

#[test]
fn every_produce_gets_kafkas_verdict_or_one_that_differs_on_purpose() {
    let cases = all_cases();
    if let Ok(path) = std::env::var("OTTLA_PRODUCE_CASES") {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let line = |case: &Case| format!("{}\t{}\t{}\n", case.name, case.configs, hex(&case.bytes));
        std::fs::write(path, cases.iter().map(line).collect::<String>()).expect("the cases are written");
    }
    let verdicts: BTreeMap<&str, &str> = VERDICTS.lines().filter_map(|line| line.split_once('\t')).collect();
    let mut wrong = Vec::new();
    let mut used = vec![false; DIFFERENCES.len()];
    for case in &cases {
        let Some(&kafkas) = verdicts.get(case.name.as_str()) else {
            wrong.push(format!("{}: not judged by Kafka", case.name));
            continue;
        };
        let ours = verdict(case);
        // Which records are at fault is told for keys and timestamps only.
        let agree = ours == kafkas || ours == "INVALID_RECORD\t" && kafkas.starts_with("INVALID_RECORD\t");
        let difference = DIFFERENCES.iter().position(|(name, ..)| case.name.starts_with(name));
        if let Some(difference) = difference.filter(|_| !agree) {
            used[difference] = true;
            let expected = DIFFERENCES[difference].1;
            if !ours.starts_with(expected) {
                wrong.push(format!("{}: ours {ours:?}, listed as {expected}", case.name));
            }
        } else if !agree {
            wrong.push(format!("{}: ours {ours:?}, Kafka's {kafkas:?}", case.name));
        }
    }
    for ((name, ..), _) in DIFFERENCES.iter().zip(used).filter(|(_, used)| !used) {
        wrong.push(format!("{name}: listed as a difference and is none"));
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
