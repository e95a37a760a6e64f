//! Goal: no bytes make the reader panic, run long or take memory. Method: damage of every byte of real batches, and bombs of
//! 2 GiB that are put together by hand, since no encoder makes them in reasonable time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_protocol::records::{
    BatchBuilder, BatchError, BatchFields, BatchView, Compression, Header, OffsetDeltas, batches_lenient, crc32c,
};
use proptest::prelude::*;

use crate::allocations::peak_of;
use crate::{CODECS, LIMIT, view};

const BOMB_BYTES: usize = 2 << 30;
const CHUNK_BYTES: usize = 64 * 1024;

/// What the check of a batch may hold at once: a window, a block (snappy: of 1 MiB here) and the state of a codec.
const CHECK_MEMORY_MAX: usize = 2 << 20;

fn small(compression: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for index in 0..5_i64 {
        builder.append(index, Some(&index.to_be_bytes()), Some(b"a value, a value, a value"), &[]);
    }
    builder.build(&BatchFields { compression, ..BatchFields::default() }).expect("the default level").to_vec()
}

/// Reads everything that there is to read; returns whether the batch passed both checks.
fn read(bytes: &[u8]) -> bool {
    let Ok((batch, _)) = BatchView::split(&Bytes::copy_from_slice(bytes)) else { return false };
    let intact = batch.check_crc().is_ok();
    let checked = batch.check_records(OffsetDeltas::Dense, LIMIT, |_| {});
    if let Ok(records) = batch.records(LIMIT) {
        let declared = usize::try_from(batch.record_count()).unwrap_or(0);
        let good = records.take_while(Result::is_ok).count();
        assert!(good <= declared);
        assert!(checked.is_err() || good == declared, "what the check takes, the iterator reads");
    }
    intact && checked.is_ok()
}

#[test]
fn every_flipped_bit_is_found_except_where_no_checksum_covers_it() {
    for codec in [Compression::None].iter().chain(&CODECS) {
        let sound = small(*codec);
        assert!(read(&sound));
        for bit in 0..sound.len() * 8 {
            let mut flipped = sound.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let uncovered = bit / 8 < 8 || (12..16).contains(&(bit / 8));
            assert_eq!(read(&flipped), uncovered, "{codec}: bit {bit}");
        }
    }
}

#[test]
fn every_truncation_is_found() {
    for codec in [Compression::None].iter().chain(&CODECS) {
        let sound = small(*codec);
        for end in 0..sound.len() {
            assert!(!read(&sound[..end]), "{codec}: {end} bytes");
            assert_eq!(batches_lenient(Bytes::copy_from_slice(&sound[..end])).count(), 0, "{codec}: {end} bytes");
        }
    }
}

/// A batch of one record around compressed bytes, with a checksum that fits.
fn around(codec: Compression, payload: &[u8]) -> Bytes {
    let mut bytes = small(Compression::None)[..61].to_vec();
    bytes.extend_from_slice(payload);
    let length = (bytes.len() - 12) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[21..23].copy_from_slice(&(codec as i16).to_be_bytes());
    bytes[23..27].copy_from_slice(&0_i32.to_be_bytes());
    bytes[57..61].copy_from_slice(&1_i32.to_be_bytes());
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(bytes)
}

/// A record whose value is as large as a value can be, so that the walk over it does not end early.
fn opening() -> Vec<u8> {
    let mut bytes = vec![0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 1];
    bytes.extend_from_slice(&[0xc0, 0xff, 0xff, 0xff, 0x0f]);
    bytes.resize(CHUNK_BYTES, 0);
    bytes
}

fn gzip_bomb() -> Vec<u8> {
    // An LZ77 stream may repeat what it said byte by byte after a full flush: the checksum at its end is never reached.
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let mut flushed = |chunk: &[u8]| {
        let before = encoder.get_ref().len();
        encoder.write_all(chunk).and_then(|()| encoder.flush()).expect("memory");
        encoder.get_ref()[before..].to_vec()
    };
    let mut bomb = flushed(&opening());
    let megabyte = flushed(&vec![0; 1 << 20]);
    (0..BOMB_BYTES >> 20).for_each(|_| bomb.extend_from_slice(&megabyte));
    bomb
}

fn snappy_bomb() -> Vec<u8> {
    let mut bomb = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    let mut push = |chunk: &[u8]| {
        let block = snap::raw::Encoder::new().compress_vec(chunk).expect("it fits");
        bomb.extend_from_slice(&(block.len() as u32).to_be_bytes());
        bomb.extend_from_slice(&block);
    };
    push(&opening());
    let zeros = vec![0; 1 << 20];
    (0..BOMB_BYTES >> 20).for_each(|_| push(&zeros));
    bomb
}

fn lz4_bomb() -> Vec<u8> {
    let framed = |chunk: &[u8]| Compression::Lz4.compress(chunk, None).expect("it fits");
    // Seven bytes of frame header in front, four of an end mark behind: what is between is one block.
    let blocks = |chunk: &[u8]| {
        let frame = framed(chunk);
        frame[7..frame.len() - 4].to_vec()
    };
    let mut bomb = framed(&[])[..7].to_vec();
    bomb.extend(blocks(&opening()));
    let zeros = blocks(&vec![0; CHUNK_BYTES]);
    (0..BOMB_BYTES / CHUNK_BYTES).for_each(|_| bomb.extend_from_slice(&zeros));
    bomb
}

fn zstd_bomb() -> Vec<u8> {
    // Magic, a descriptor without content size, a window of 1 MiB; a raw block, then blocks that repeat one byte 128 KiB
    // times: 4 bytes each.
    let block = |kind: u32, size: usize| (((size as u32) << 3 | kind << 1).to_le_bytes())[..3].to_vec();
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 10 << 3];
    bomb.extend(block(0, CHUNK_BYTES));
    bomb.extend(opening());
    for _ in 0..BOMB_BYTES / (128 * 1024) {
        bomb.extend(block(1, 128 * 1024));
        bomb.push(0);
    }
    bomb
}

#[test]
fn bombs_of_two_gigabytes_end_at_the_limit() {
    for (codec, bomb) in [
        (Compression::Gzip, gzip_bomb()),
        (Compression::Snappy, snappy_bomb()),
        (Compression::Lz4, lz4_bomb()),
        (Compression::Zstd, zstd_bomb()),
    ] {
        let batch = view(around(codec, &bomb));
        let start = Instant::now();
        let (stopped, peak) = peak_of(|| batch.check_records(OffsetDeltas::Dense, LIMIT, |_| {}));
        assert_eq!(stopped, Err(BatchError::TooLargeDecompressed { limit: LIMIT }), "{codec}, {} bytes", bomb.len());
        assert!(peak <= CHECK_MEMORY_MAX, "{codec}: {peak} bytes at once");
        let (refused, peak) = peak_of(|| batch.records(LIMIT).err());
        assert_eq!(refused, Some(BatchError::TooLargeDecompressed { limit: LIMIT }));
        // A buffer that grows is there twice while it moves.
        assert!(peak <= 4 * LIMIT, "{codec}: {peak} bytes at once");
        // A hundredth of the bomb: seconds would mean that all of it was decompressed.
        assert!(start.elapsed() < Duration::from_secs(5), "{codec}: {:?}", start.elapsed());
    }
}

#[test]
fn the_check_of_uncompressed_records_allocates_nothing() {
    let mut builder = BatchBuilder::new();
    for index in 0..5_000_i64 {
        let header = Header { key: "h".into(), value: None };
        builder.append(index, Some(&index.to_be_bytes()), Some(b"value"), &[header]);
    }
    let batch = view(builder.build(&BatchFields::default()).expect("nothing to compress"));
    let (checked, peak) = peak_of(|| batch.check_records(OffsetDeltas::Dense, LIMIT, |_| {}));
    assert_eq!((checked.map(|summary| summary.record_count), peak), (Ok(5_000), 0));
}

#[test]
fn a_single_snappy_block_is_held_against_the_limit_before_memory_is_taken() {
    let block = snap::raw::Encoder::new().compress_vec(&vec![0; LIMIT + 1]).expect("it fits");
    let refused = Compression::Snappy.decompress(&block, LIMIT);
    assert_eq!(refused, Err(BatchError::TooLargeDecompressed { limit: LIMIT }));
}

#[test]
fn what_follows_the_compressed_records_is_refused() {
    for codec in CODECS {
        let records = small(Compression::None)[61..].to_vec();
        let frame = codec.compress(&records, None).expect("it fits");
        for (what, behind) in [("a byte", vec![0]), ("another frame", frame.clone()), ("text", b"garbage".to_vec())] {
            let mut bytes = small(Compression::None)[..61].to_vec();
            bytes.extend_from_slice(&frame);
            bytes.extend_from_slice(&behind);
            let length = (bytes.len() - 12) as i32;
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            bytes[21..23].copy_from_slice(&(codec as i16).to_be_bytes());
            let refused = view(bytes).check_records(OffsetDeltas::Dense, LIMIT, |_| {});
            assert!(refused.is_err(), "{codec}: {what}");
        }
    }
}

#[test]
fn a_context_that_failed_serves_the_next_batch() {
    let sound = small(Compression::Zstd);
    for end in 61..sound.len() {
        assert!(!read(&around(Compression::Zstd, &sound[61..end])));
        assert!(read(&sound), "after a frame of {} bytes", end - 61);
    }
}

proptest! {
    #[test]
    fn noise_is_survived(codec in 0..8_i16, noise in proptest::collection::vec(any::<u8>(), 0..300), count: i32) {
        let mut bytes = small(Compression::None)[..61].to_vec();
        bytes.extend_from_slice(&noise);
        let length = (bytes.len() - 12) as i32;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[21..23].copy_from_slice(&codec.to_be_bytes());
        for count in [count, i32::from(count as u8 % 8), i32::MAX] {
            bytes[23..27].copy_from_slice(&count.wrapping_sub(1).to_be_bytes());
            bytes[57..61].copy_from_slice(&count.to_be_bytes());
            read(&bytes);
        }
    }
}
