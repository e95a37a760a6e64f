//! What a topic accepts and refuses, rule by rule. Batches come from the builder and are then changed in one place, with a
//! checksum that fits, so that the rule at hand is what refuses them and not the checksum.

use ottla_protocol::records::{BatchBuilder, BatchFields, Record, crc32c};

use super::*;

const NOW_MS: i64 = 1_700_000_000_000;

fn rules() -> ValidateRules {
    ValidateRules {
        max_message_bytes: 1 << 20,
        max_decompressed_bytes: 1 << 20,
        compacted: false,
        log_append_time: false,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        stored_compression: None,
        compression_level: None,
    }
}

fn build(fields: &BatchFields, keys: &[Option<&str>]) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for (index, key) in keys.iter().enumerate() {
        let value = format!("value {index}");
        builder.append(NOW_MS - index as i64, key.map(str::as_bytes), Some(value.as_bytes()), &[]);
    }
    builder.build(fields).unwrap().to_vec()
}

fn plain() -> Vec<u8> {
    build(&BatchFields::default(), &[Some("a"), None, Some("c")])
}

/// Overwrites bytes and makes the checksum fit again.
fn patch(mut batch: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

fn check(batch: Vec<u8>) -> Result<ValidatedBatch, ValidateError> {
    validate(&Bytes::from(batch), &rules(), NOW_MS)
}

fn stored(batch: &ValidatedBatch) -> BatchView {
    let bytes = Bytes::from([&batch.header()[..], batch.records()].concat());
    let view = BatchView::split(&bytes).unwrap().0;
    view.check_crc().unwrap();
    view
}

fn records(batch: &ValidatedBatch) -> Vec<Record> {
    stored(batch).records(1 << 20).unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_sound_batch_is_kept_as_it_came() {
    let batch = Bytes::from(plain());
    let validated = validate(&batch, &rules(), NOW_MS).unwrap();
    assert_eq!([&validated.header()[..], validated.records()].concat(), batch);
    assert_eq!(validated.records().as_ptr(), batch[HEADER_BYTES..].as_ptr(), "the records are not copied");
}

#[test]
fn no_batch_two_batches_and_older_formats_are_refused_for_good() {
    assert!(matches!(check(Vec::new()), Err(ValidateError::NotOneBatch(_))));
    assert!(matches!(check([plain(), plain()].concat()), Err(ValidateError::NotOneBatch(_))));
    for magic in [0, 1] {
        assert!(matches!(check(patch(plain(), 16, &[magic])), Err(ValidateError::InvalidRecord(_))));
    }
}

#[test]
fn damage_on_the_way_is_told_from_a_batch_that_was_made_wrong() {
    let mut flipped = plain();
    flipped[70] ^= 1;
    assert!(matches!(check(flipped), Err(ValidateError::Corrupt(BatchError::BadCrc { .. }))));
    for magic in [3, 0xff] {
        assert!(matches!(check(patch(plain(), 16, &[magic])), Err(ValidateError::Corrupt(_))));
    }
    for length in [-1, 0, 48, 1 << 30] {
        assert!(matches!(check(patch(plain(), 8, &i32::to_be_bytes(length))), Err(ValidateError::Corrupt(_))));
    }
    assert!(matches!(check(patch(plain(), 57, &i32::to_be_bytes(7))), Err(ValidateError::InvalidRecord(_))));
}

#[test]
fn what_only_brokers_write_is_refused() {
    for (what, fields) in [
        ("control", BatchFields { is_control: true, ..BatchFields::default() }),
        ("base offset", BatchFields { base_offset: 5, ..BatchFields::default() }),
        ("no sequence", BatchFields { producer_id: 9, producer_epoch: 0, ..BatchFields::default() }),
        ("no epoch", BatchFields { producer_id: 9, base_sequence: 0, ..BatchFields::default() }),
    ] {
        let refused = check(build(&fields, &[None]));
        assert!(matches!(refused, Err(ValidateError::InvalidHeader(_))), "{what}: {refused:?}");
    }
    let horizon = patch(plain(), 21, &i16::to_be_bytes(0x40));
    assert!(matches!(check(horizon), Err(ValidateError::InvalidHeader(_))));
    let transactional = BatchFields { is_transactional: true, ..BatchFields::default() };
    assert_eq!(check(build(&transactional, &[None])), Err(ValidateError::NoTransaction));
}

#[test]
fn unknown_codecs_and_large_batches_have_errors_of_their_own() {
    for codec in [5, 6, 7] {
        assert_eq!(check(patch(plain(), 22, &[codec])), Err(ValidateError::UnknownCodec { codec }));
    }
    let small = ValidateRules { max_message_bytes: 70, ..rules() };
    let refused = validate(&Bytes::from(plain()), &small, NOW_MS);
    assert_eq!(refused, Err(ValidateError::TooLarge { size: plain().len(), limit: 70 }));
}

#[test]
fn every_record_without_a_key_is_named_on_a_compacted_topic() {
    let compacted = ValidateRules { compacted: true, ..rules() };
    let batch = build(&BatchFields::default(), &[None, Some("b"), None]);
    let refused = validate(&Bytes::from(batch), &compacted, NOW_MS).unwrap_err();
    let named: Vec<i32> = refused.refused_records().iter().map(|record| record.batch_index).collect();
    assert_eq!(named, [0, 2]);
}

#[test]
fn timestamps_are_held_against_both_bounds() {
    let at = |timestamp: i64| {
        let mut builder = BatchBuilder::new();
        builder.append(timestamp, None, None, &[]);
        builder.build(&BatchFields::default()).unwrap()
    };
    let bounded = ValidateRules { timestamp_before_max_ms: 1_000, timestamp_after_max_ms: 100, ..rules() };
    for timestamp in [NOW_MS - 1_000, NOW_MS, NOW_MS + 100, NO_TIMESTAMP] {
        validate(&at(timestamp), &bounded, NOW_MS).unwrap();
    }
    for timestamp in [NOW_MS - 1_001, NOW_MS + 101, 0, i64::MAX, i64::MIN] {
        let refused = validate(&at(timestamp), &bounded, NOW_MS);
        assert!(matches!(refused, Err(ValidateError::InvalidTimestamp { total: 1, .. })), "{timestamp}");
    }
}

#[test]
fn refused_records_are_counted_and_the_first_thousand_named() {
    let mut builder = BatchBuilder::new();
    (0..3_000).for_each(|_| builder.append(NOW_MS, None, None, &[]));
    let batch = builder.build(&BatchFields { compression: Compression::Zstd, ..BatchFields::default() }).unwrap();
    let refused = validate(&batch, &ValidateRules { compacted: true, ..rules() }, NOW_MS).unwrap_err();
    assert!(matches!(refused, ValidateError::KeysMissing { total: 3_000, .. }));
    assert_eq!(refused.refused_records().len(), RECORD_ERRORS_MAX);
    let bounded = ValidateRules { timestamp_before_max_ms: 0, compacted: true, ..rules() };
    let mixed = validate(&batch, &bounded, NOW_MS + 1).unwrap_err();
    assert!(matches!(mixed, ValidateError::KeysMissing { .. }), "a record is refused once, for its key first: {mixed}");
}

#[test]
fn a_topic_that_stamps_the_time_overrides_the_producers() {
    let stamping = ValidateRules { log_append_time: true, timestamp_after_max_ms: 0, ..rules() };
    let validated = validate(&Bytes::from(plain()), &stamping, NOW_MS + 5).unwrap();
    assert!(records(&validated).iter().all(|record| record.timestamp == NOW_MS + 5));
}

#[test]
fn only_the_broker_stamps_records() {
    let claimed = build(&BatchFields { log_append_time: true, ..BatchFields::default() }, &[None, None]);
    for log_append_time in [false, true] {
        let rules = ValidateRules { log_append_time, ..rules() };
        let refused = validate(&Bytes::from(claimed.clone()), &rules, NOW_MS);
        assert!(matches!(refused, Err(ValidateError::InvalidTimestamp { total: 2, .. })), "{refused:?}");
    }
}

#[test]
fn an_understated_maximum_timestamp_is_corrected() {
    let understated = patch(plain(), 35, &i64::to_be_bytes(5));
    assert_eq!(stored(&check(understated).unwrap()).max_timestamp(), NOW_MS);
}

#[test]
fn batches_are_stored_with_the_topics_codec() {
    let fields = BatchFields { producer_id: 7, producer_epoch: 1, base_sequence: 3, ..BatchFields::default() };
    let batch = Bytes::from(build(&fields, &[Some("a"), None, Some("c")]));
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let storing = ValidateRules { stored_compression: Some(codec), ..rules() };
        let validated = validate(&batch, &storing, NOW_MS).unwrap();
        let view = stored(&validated);
        assert_eq!(view.compression(), Ok(codec));
        assert_eq!((view.producer_id(), view.producer_epoch(), view.base_sequence()), (7, 1, 3));
        assert_eq!(records(&validated), records(&validate(&batch, &rules(), NOW_MS).unwrap()));
        let back = ValidateRules { stored_compression: Some(Compression::None), ..rules() };
        assert_eq!(validate(view.bytes(), &back, NOW_MS).unwrap().records(), &batch.slice(HEADER_BYTES..));
    }
}
