//! Record batches: bombs of every codec, random damage, many producers. The codes for single faults are in the reference.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use ottla_protocol::Records;
use ottla_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_protocol::messages::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use ottla_tests::batch::{BatchSpec, Codec, RecordSpec, varint};
use ottla_tests::connection::RawConnection;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::victim::{Victim, produce};

const UNKNOWN_SERVER_ERROR: i16 = -1;
const MESSAGE_TOO_LARGE: i16 = 10;
const INVALID_RECORD: i16 = 87;

fn code(response: &ProduceResponse) -> i16 {
    response.responses[0].partition_responses[0].error_code
}

/// One record whose value is `zeros` zeros, up to that value.
fn record_before_zeros(zeros: i64) -> Vec<u8> {
    let mut head = vec![0];
    for number in [0, 0, -1, zeros] {
        varint(number, &mut head);
    }
    let mut record = Vec::new();
    varint(head.len() as i64 + zeros + 1, &mut record);
    record.extend_from_slice(&head);
    record
}

/// Compressed, one record of `zeros` zeros.
fn bomb(codec: Codec, zeros: i64) -> Result<Vec<u8>> {
    let chunk = vec![0; 1 << 20];
    let write = |out: &mut dyn Write| -> std::io::Result<()> {
        out.write_all(&record_before_zeros(zeros))?;
        let mut left = zeros as usize;
        while left > 0 {
            let part = left.min(chunk.len());
            out.write_all(&chunk[..part])?;
            left -= part;
        }
        out.write_all(&[0])
    };
    Ok(match codec {
        Codec::None => {
            let mut plain = Vec::new();
            write(&mut plain)?;
            plain
        }
        Codec::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            write(&mut encoder)?;
            encoder.finish()?
        }
        Codec::Snappy => {
            let mut plain = Vec::new();
            write(&mut plain)?;
            Codec::Snappy.pack(&plain)
        }
        Codec::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            write(&mut encoder)?;
            encoder.finish()?
        }
        Codec::Zstd => {
            let mut encoder = zstd::Encoder::new(Vec::new(), 1)?;
            write(&mut encoder)?;
            encoder.finish()?
        }
    })
}

#[test]
fn bombs_are_refused_in_bounded_time_and_memory() {
    let mut victim = Victim::start_with(&[("message.max.bytes", "20000000")]).unwrap();
    // As much as fits the limit of the batch: snappy and lz4 do not pack tighter.
    let sizes = [(Codec::Zstd, 2_000_000_000), (Codec::Gzip, 1_000_000_000), (Codec::Lz4, 1_000_000_000)];
    for (codec, zeros) in sizes.into_iter().chain([(Codec::Snappy, 300_000_000)]) {
        let spec = BatchSpec {
            codec,
            payload: Some(bomb(codec, zeros).unwrap()),
            records: vec![RecordSpec::default()],
            ..Default::default()
        };
        let batch = spec.build();
        let size = batch.len();
        let started = Instant::now();
        let response = victim.ask(12, &produce("healthy", batch, -1)).unwrap();
        let taken = started.elapsed();
        let code = code(&response);
        assert!(matches!(code, MESSAGE_TOO_LARGE | INVALID_RECORD), "{codec:?} of {size} bytes: {code}");
        assert!(taken < Duration::from_secs(20), "{codec:?} took {taken:?}");
        victim.check(&format!("a bomb of {codec:?}")).unwrap();
    }
    let highest = victim.process().usage().unwrap().resident_bytes_max;
    assert!(highest < 300 << 20, "{highest} bytes at the highest");
}

/// Every kind of damage gets a code that a producer can act upon, and appends nothing unless it is taken.
#[test]
fn random_damage_is_never_an_unknown_error_and_appends_only_what_is_taken() {
    let seed = std::env::var("OTTLA_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("OTTLA_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut victim = Victim::start().unwrap();
    // Damaged timestamps would roll segments, each of which keeps a file open.
    victim.create_topic("damaged", 1, &[("segment.ms", "9223372036854775807")]).unwrap();
    victim.rebase().unwrap();
    let mut connection = victim.connect().unwrap();
    let mut end = 0;
    for round in 0..3000 {
        let codec = Codec::ALL[random.random_range(0..Codec::ALL.len())];
        let batch = damaged(&mut random, codec);
        let response = connection.ask(12, &produce("damaged", batch, 1)).unwrap();
        let code = code(&response);
        assert_ne!(code, UNKNOWN_SERVER_ERROR, "round {round}, {codec:?}");
        let after = log_end(&mut connection).unwrap();
        if code == 0 {
            assert!(after > end, "round {round}: taken, but the log ends at {after} as before");
        } else {
            assert_eq!(after, end, "round {round}: refused with {code}, but something was appended");
        }
        end = after;
    }
    drop(connection);
    victim.check("damaged batches").unwrap();
}

/// A batch with some bytes overwritten, half of the time with the checksum made right again.
fn damaged(random: &mut StdRng, codec: Codec) -> Vec<u8> {
    let spec = BatchSpec { codec, ..BatchSpec::of(&["one", "two", "three", "four"]) };
    let mut batch = spec.build();
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..batch.len());
        batch[at] = match random.random_range(0..4) {
            0 => 0,
            1 => 0xff,
            2 => batch[at] ^ (1 << random.random_range(0..8)),
            _ => random.next_u32() as u8,
        };
    }
    match random.random_range(0..4) {
        0 => {}
        1 => batch.truncate(random.random_range(0..batch.len())),
        _ => {
            let crc = crc32c::crc32c(&batch[21..]);
            batch[17..21].copy_from_slice(&crc.to_be_bytes());
        }
    }
    batch
}

fn log_end(connection: &mut RawConnection) -> Result<i64> {
    let partition = ListOffsetsPartition { timestamp: -1, ..Default::default() };
    let topic = ListOffsetsTopic { name: "damaged".to_owned(), partitions: vec![partition] };
    let response =
        connection.ask(4, &ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() })?;
    let partition = &response.topics[0].partitions[0];
    ensure!(partition.error_code == 0, "ListOffsets: {partition:?}");
    Ok(partition.offset)
}

/// Item 55: more producer ids than a partition remembers (10,000) and than the broker does (200,000), each new to the broker.
#[test]
fn many_producer_ids_take_bounded_memory() {
    const PARTITIONS: i64 = 30;
    const PRODUCERS: i64 = 330_000;
    const IN_FLIGHT: i64 = 20;
    /// What the broker remembers of 200,000 producers, and what its allocator keeps beside it.
    const MEMORY_MAX_BYTES: u64 = 160 << 20;

    let mut victim = Victim::start().unwrap();
    victim.create_topic("producers", PARTITIONS as i32, &[]).unwrap();
    victim.rebase().unwrap();
    let mut connection = victim.connect().unwrap();
    let mut producer_ids = 1_000_000..1_000_000 + PRODUCERS;
    while !producer_ids.is_empty() {
        let mut sent = 0;
        for _ in 0..IN_FLIGHT {
            let partition_data: Vec<PartitionProduceData> = (0..PARTITIONS as i32)
                .zip(&mut producer_ids)
                .map(|(index, producer_id)| {
                    let batch = BatchSpec::default().from_producer(producer_id, 0, 0).build();
                    PartitionProduceData { index, records: Records::Bytes(Bytes::from(batch)) }
                })
                .collect();
            if partition_data.is_empty() {
                break;
            }
            let topic = TopicProduceData { name: "producers".to_owned(), partition_data, ..Default::default() };
            let request = ProduceRequest { acks: 1, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() };
            connection.send(12, &request).unwrap();
            sent += 1;
        }
        for _ in 0..sent {
            let (_, response) = connection.read_response::<ProduceRequest>(12).unwrap();
            assert!(response.responses[0].partition_responses.iter().all(|partition| partition.error_code == 0));
        }
    }
    drop(connection);
    victim.check_within("330,000 producers", MEMORY_MAX_BYTES).unwrap();
}
