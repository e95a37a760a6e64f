//! Whatever the bytes of a produced batch: nothing panics, memory stays within the limit, and what passes the check can be
//! read. The byte of the leader epoch that producers leave alone chooses the topic's rules, so that a seed is a plain batch:
//! `cargo +nightly fuzz run record_batch fuzz/corpus/record_batch protocol/tests/golden/records`, from the repository's root.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ottla_broker::config::TopicConfig;
use ottla_broker::storage::validate::{ValidateRules, validate};
use ottla_protocol::records::{BatchView, Compression, OffsetDeltas, batches, batches_lenient, crc32c};

const LIMIT: usize = 1 << 20;
const NOW_MS: i64 = 1_700_000_000_000;
const HEADER_BYTES: usize = 61;
const RULES_AT: usize = 15;

fuzz_target!(|data: &[u8]| {
    read(data);
    if data.len() > HEADER_BYTES {
        // Length and checksum are made to fit: past them is where the work is done.
        let mut batch = data.to_vec();
        let length = (batch.len() - 12) as i32;
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        batch[16] = 2;
        let crc = crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        read(&batch);
        produce(&Bytes::from(batch), &rules(data[RULES_AT]));
    }
    produce(&Bytes::copy_from_slice(data), &rules(0));
});

fn rules(choice: u8) -> ValidateRules {
    ValidateRules {
        compacted: choice & 1 != 0,
        log_append_time: choice & 2 != 0,
        stored_compression: match choice >> 2 & 7 {
            0 => Some(Compression::None),
            1 => Some(Compression::Gzip),
            2 => Some(Compression::Snappy),
            3 => Some(Compression::Lz4),
            4 => Some(Compression::Zstd),
            _ => None,
        },
        compression_level: None,
        ..ValidateRules::new(&TopicConfig::default(), LIMIT)
    }
}

fn read(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let strict = batches(bytes.clone()).filter(Result::is_ok).count();
    let lenient = batches_lenient(bytes).filter_map(Result::ok).inspect(|batch| {
        let rising = batch.check_records(OffsetDeltas::Rising, LIMIT, |_| {});
        let dense = batch.check_records(OffsetDeltas::Dense, LIMIT, |_| {});
        assert!(dense.is_err() || dense == rising);
        let Ok(records) = batch.records(LIMIT) else { return assert!(rising.is_err()) };
        let sound = records.filter(Result::is_ok).count();
        assert!(rising.map_or(true, |summary| summary.record_count as usize == sound));
    });
    assert_eq!(lenient.count(), strict);
}

fn produce(bytes: &Bytes, rules: &ValidateRules) {
    let Ok(validated) = validate(bytes, rules, NOW_MS) else { return };
    let stored = Bytes::from([&validated.header()[..], validated.records()].concat());
    let (batch, rest) = BatchView::split(&stored).expect("what was validated is a batch");
    assert!(rest.is_empty());
    batch.check_crc().expect("and its checksum fits");
    let summary = batch.check_records(OffsetDeltas::Dense, LIMIT, |_| {}).expect("and its records are sound");
    let records: Vec<_> =
        batch.records(LIMIT).expect("and decompress").map(|record| record.expect("and read")).collect();
    assert_eq!(records.len(), summary.record_count as usize);
    let latest = records.iter().map(|record| record.timestamp).max().expect("one at least");
    assert_eq!(batch.max_timestamp(), latest.max(-1));
    assert!(records.iter().all(|record| record.key.is_some() || !rules.compacted));
}
