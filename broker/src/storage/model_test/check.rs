//! Holds a log against the model.

use bytes::Bytes;
use ottla_protocol::records::BatchView;

use super::model::{Model, ModelRecord};
use crate::storage::{Log, LogOffsets, ReadError};
use crate::types::{LeaderEpoch, Offset, ProducerId};

const DECOMPRESSED_BYTES_MAX: usize = 1 << 20;

/// Everything that can be asked without changing the log. `may_be_gone`: records that a compaction has taken may be missing,
/// save the newest of each key; the model forgets them.
pub(super) fn check(log: &Log, model: &mut Model, may_be_gone: bool, context: &str) {
    offsets(log, model, context);
    content(log, model, may_be_gone, context);
    transactions(log, model, context);
    times(log, model, context);
    producers(log, model, context);
    epochs(log, model, context);
}

pub(super) fn offsets(log: &Log, model: &Model, context: &str) {
    let LogOffsets { log_start, log_end, flushed } = log.offsets();
    assert_eq!((log_start.0, log_end.0), (model.log_start, model.log_end), "start and end, {context}");
    assert!(flushed.0 >= model.flushed && flushed <= log_end, "flushed {flushed} of {}, {context}", model.flushed);
}

/// Whether a record is what can be read at an offset.
pub(super) fn is_at(log: &Log, offset: i64, record: &ModelRecord) -> bool {
    let Ok(read) = log.read(Offset(offset), 1, log.offsets().log_end, true) else { return false };
    let bytes = read.slice.map(|slice| slice.read().unwrap()).unwrap_or_default();
    let Ok((batch, _)) = BatchView::split(&Bytes::from(bytes)) else { return false };
    let mut records = batch.records(DECOMPRESSED_BYTES_MAX).unwrap().map(Result::unwrap);
    records.any(|there| there.offset == offset && record.is(&there))
}

fn content(log: &Log, model: &mut Model, may_be_gone: bool, context: &str) {
    let end = log.offsets().log_end;
    let must_stay = model.must_stay();
    let mut expected = model.records.iter().map(|(offset, record)| (*offset, record.clone())).peekable();
    let mut gone = Vec::new();
    let mut at = Offset(model.log_start);
    while at < end {
        let read = match log.read(at, 1, end, true) {
            Ok(read) => read,
            Err(ReadError::Corrupt { from, to, .. }) => {
                assert!((from.0..to.0).all(|offset| model.is_refused(offset)), "{from} to {to} is refused, {context}");
                at = to;
                continue;
            }
            Err(error) => panic!("offset {at}: {error}, {context}"),
        };
        let bytes = read.slice.unwrap_or_else(|| panic!("nothing at {at}, {context}")).read().unwrap();
        let (batch, _) = BatchView::split(&Bytes::from(bytes)).unwrap();
        batch.check_crc().unwrap();
        assert!(batch.base_offset() <= at.0 && at.0 <= batch.last_offset(), "{at} gives {batch:?}, {context}");
        for record in batch.records(DECOMPRESSED_BYTES_MAX).unwrap().map(Result::unwrap) {
            if record.offset < model.log_start {
                continue;
            }
            while let Some((offset, missing)) = expected.next_if(|(offset, _)| *offset < record.offset) {
                assert!(may_be_gone && !must_stay.contains(&offset), "{offset} is gone: {missing:?}, {context}");
                gone.push(offset);
            }
            let there = expected.next_if(|(offset, _)| *offset == record.offset);
            let (_, there) = there.unwrap_or_else(|| panic!("nobody sent {record:?}, or it was taken away, {context}"));
            assert!(there.is(&record), "{record:?} was {there:?}, {context}");
        }
        at = Offset(batch.last_offset() + 1);
    }
    assert_eq!(at, end, "{context}");
    for (offset, missing) in expected {
        assert!(may_be_gone && !must_stay.contains(&offset), "{offset} is gone: {missing:?}, {context}");
        gone.push(offset);
    }
    deleted_keys_stay_deleted(model, &gone, context);
    gone.iter().for_each(|offset| {
        model.records.remove(offset);
    });
    let from = Offset(model.log_start);
    assert!(matches!(log.read(Offset(from.0 - 1), 1, end, true), Err(ReadError::OutOfRange { .. })), "{context}");
    assert!(matches!(log.read(end.next(), 1, end, true), Err(ReadError::OutOfRange { .. })), "{context}");
}

/// Where the newest record of a key was a tombstone that is gone, no older record of the key is there again.
fn deleted_keys_stay_deleted(model: &Model, gone: &[i64], context: &str) {
    let is_gone = |offset: &i64| gone.binary_search(offset).is_ok();
    for tombstone in model.newest_of_keys(i64::MAX).iter().filter(|offset| is_gone(offset)) {
        let key = &model.records[tombstone].key;
        let back = model.records.range(..tombstone).find(|(offset, record)| record.key == *key && !is_gone(offset));
        assert_eq!(back, None, "the tombstone at {tombstone} is gone and what it deleted is not, {context}");
    }
}

fn transactions(log: &Log, model: &Model, context: &str) {
    let (open, ended) = model.transactions();
    let first_open = open.values().min().copied();
    if first_open.is_none_or(|first| first >= model.log_start) {
        assert_eq!(log.first_unstable_offset().map(|offset| offset.0), first_open, "open transactions, {context}");
    }
    let (start, end) = (Offset(model.log_start), Offset(model.log_end));
    let named = log.aborted_transactions(start, end).unwrap();
    for txn in &ended {
        let is_named =
            named.iter().any(|named| named.producer_id.0 == txn.producer_id && named.last_offset.0 == txn.last_offset);
        let offsets = txn.first_offset.max(model.log_start)..txn.last_offset;
        let has_records = !offsets.is_empty()
            && model.records.range(offsets).any(|(_, r)| r.producer_id == txn.producer_id && !r.is_control);
        match txn.is_aborted {
            true => assert!(is_named || !has_records, "{txn:?} is not named as aborted: {named:?}, {context}"),
            false => assert!(!is_named, "{txn:?} is named as aborted, {context}"),
        }
    }
}

fn times(log: &Log, model: &Model, context: &str) {
    let mut asked: Vec<i64> = model.records.values().step_by(7).map(|record| record.timestamp).collect();
    asked.extend(asked.clone().into_iter().map(|timestamp| timestamp + 1));
    asked.extend([0, i64::MAX]);
    for timestamp in asked {
        let found = log.offset_for_timestamp(timestamp);
        same_time(found, model.first_from(timestamp), model, &format!("first record from {timestamp} on, {context}"));
    }
    same_time(log.max_timestamp_offset(), model.newest(), model, &format!("newest record, {context}"));
}

fn same_time(
    found: Result<Option<crate::storage::TimestampOffset>, ReadError>,
    expected: Option<(i64, i64)>,
    model: &Model,
    context: &str,
) {
    match found {
        Ok(found) => assert_eq!(found.map(|found| (found.offset.0, found.timestamp)), expected, "{context}"),
        // A damaged batch may hold the record that is looked for.
        Err(ReadError::Corrupt { .. }) if !model.refused.is_empty() => {}
        Err(error) => panic!("{error}, {context}"),
    }
}

fn producers(log: &Log, model: &Model, context: &str) {
    let mut ids: Vec<i64> = model.batches.values().map(|batch| batch.producer_id).collect();
    ids.sort_unstable();
    ids.dedup();
    for id in ids.into_iter().filter(|id| *id >= 0) {
        let window = model.window(id);
        let known: Vec<(i64, i32)> = log.with_producers(|producers| {
            let entry = producers.get(ProducerId(id));
            let batches = entry.map(|entry| entry.batches().to_vec()).unwrap_or_default();
            batches.iter().map(|batch| (batch.first_offset().0, batch.first_sequence())).collect()
        });
        let expected: Vec<(i64, i32)> = window.iter().map(|batch| (batch.base_offset, batch.first_sequence)).collect();
        assert!(known.ends_with(&expected), "producer {id} has {known:?}, expected {expected:?}, {context}");
        let known_from_before = &known[..known.len() - expected.len()];
        assert!(
            known_from_before.iter().all(|(offset, _)| *offset < model.log_start),
            "producer {id} has {known:?}, expected {expected:?}, {context}"
        );
    }
}

fn epochs(log: &Log, model: &Model, context: &str) {
    let Some(last) = model.batches.values().next_back().filter(|last| last.base_offset >= model.log_start) else {
        return;
    };
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(last.leader_epoch)), "newest epoch, {context}");
    let first = model.batches.values().rev().take_while(|batch| batch.leader_epoch == last.leader_epoch).last();
    let before = first.and_then(|first| model.batches.range(..first.base_offset).next_back());
    if let (Some(first), Some((_, before))) = (first, before)
        && before.base_offset >= model.log_start
        && model.refused.is_empty()
    {
        let end = log.end_offset_for_epoch(LeaderEpoch(before.leader_epoch)).map(|end| end.end_offset.0);
        assert_eq!(end, Some(first.base_offset), "end of epoch {}, {context}", before.leader_epoch);
    }
}
