//! Each codec against itself, against damage, and against input that grows without measure.

use super::*;

const CODECS: [Compression; 4] = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
const LIMIT: usize = 1 << 20;

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|index| b"a record of some words "[index % 23] ^ (index >> 12) as u8).collect()
}

#[test]
fn every_codec_makes_the_round_trip() {
    for codec in CODECS {
        for length in [0, 1, 100, 32 * 1024, 200_000] {
            let input = text(length);
            let compressed = codec.compress(&input, None).unwrap();
            assert_eq!(codec.decompress(&compressed, LIMIT).unwrap(), input, "{codec}, {length} bytes");
        }
    }
}

#[test]
fn raw_snappy_is_read_too() {
    let input = text(5_000);
    let raw = snap::raw::Encoder::new().compress_vec(&input).unwrap();
    assert_eq!(Compression::Snappy.decompress(&raw, LIMIT).unwrap(), input);
}

#[test]
fn bytes_behind_the_end_and_a_missing_end_are_found() {
    for codec in CODECS {
        let mut compressed = codec.compress(&text(10_000), None).unwrap();
        let cut = &compressed[..compressed.len() - 1];
        assert!(codec.decompress(cut, LIMIT).is_err(), "{codec}: the last byte is missing");
        compressed.extend_from_slice(&[1, 2, 3]);
        assert!(codec.decompress(&compressed, LIMIT).is_err(), "{codec}: three bytes too many");
    }
}

#[test]
fn output_is_bounded_however_much_comes_out() {
    let zeros = vec![0; 64 << 20];
    for codec in CODECS {
        let bomb = codec.compress(&zeros, None).unwrap();
        let error = codec.decompress(&bomb, LIMIT).unwrap_err();
        assert_eq!(error, BatchError::TooLargeDecompressed { limit: LIMIT }, "{codec}, {} bytes", bomb.len());
    }
}

#[test]
fn a_snappy_block_that_promises_more_than_snappy_can_is_refused() {
    let promise = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
    assert!(matches!(Compression::Snappy.decompress(&promise, LIMIT), Err(BatchError::Decompression { .. })));
}
