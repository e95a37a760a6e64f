//! A log as simple as it can be: a map from offsets to records, the batches of each producer, two offsets.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::records::Record;

use crate::storage::producer_entry::WINDOW_BATCHES;

/// How long a compaction leaves a tombstone.
pub(super) const DELETE_RETENTION_MS: i64 = 40_000;

/// A record that was appended. Records of one batch have the same `base_offset`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ModelRecord {
    pub(super) base_offset: i64,
    pub(super) timestamp: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) producer_id: i64,
    pub(super) is_control: bool,
    pub(super) is_transactional: bool,
    pub(super) appended_ms: i64,
}

impl ModelRecord {
    pub(super) fn is(&self, record: &Record) -> bool {
        self.timestamp == record.timestamp
            && self.key.as_deref() == record.key.as_deref()
            && self.value.as_deref() == record.value.as_deref()
    }
}

/// A batch that was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ModelBatch {
    pub(super) base_offset: i64,
    pub(super) last_offset: i64,
    pub(super) leader_epoch: i32,
    pub(super) producer_id: i64,
    pub(super) first_sequence: i32,
    pub(super) is_transactional: bool,
    /// A marker, and whether it commits.
    pub(super) commits: Option<bool>,
}

/// What segments begin and end by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A batch was appended at this time.
    Append(i64),
    /// The log was opened.
    Open,
}

/// A transaction that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ModelTxn {
    pub(super) producer_id: i64,
    pub(super) first_offset: i64,
    pub(super) last_offset: i64,
    pub(super) is_aborted: bool,
}

/// What the log holds, and what was promised about it.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) records: BTreeMap<i64, ModelRecord>,
    /// By base offset.
    pub(super) batches: BTreeMap<i64, ModelBatch>,
    pub(super) log_start: i64,
    pub(super) log_end: i64,
    /// Everything before it is durable.
    pub(super) flushed: i64,
    pub(super) now_ms: i64,
    /// Offsets that are refused since a power cut, the second one excluded.
    pub(super) refused: Vec<(i64, i64)>,
    pub(super) timeline: Vec<Event>,
    /// What was appended before it and is deleted may be forgotten of its producers.
    pub(super) known_from: i64,
}

impl Model {
    pub(super) fn is_refused(&self, offset: i64) -> bool {
        self.refused.iter().any(|(from, to)| (*from..*to).contains(&offset))
    }

    /// The latest time at which something can have been appended to the segment that has a record of this time. A segment is
    /// written to for `segment_ms` from its begin, or after a restart from its last append before.
    pub(super) fn last_append_beside(&self, appended_ms: i64, segment_ms: i64) -> i64 {
        let (mut begin_ms, mut last_ms) = (appended_ms, appended_ms);
        let is_before = |event: &&Event| !matches!(event, Event::Append(at_ms) if *at_ms >= appended_ms);
        for event in self.timeline.iter().skip_while(is_before) {
            match event {
                Event::Append(at_ms) if at_ms - begin_ms > segment_ms => break,
                Event::Append(at_ms) => last_ms = *at_ms,
                Event::Open => begin_ms = last_ms,
            }
        }
        last_ms
    }

    /// Forgets everything from `log_end` on, as a power cut does.
    pub(super) fn cut_at(&mut self, log_end: i64, flushed: i64) {
        self.records.split_off(&log_end);
        self.batches.split_off(&log_end);
        self.log_end = log_end;
        self.flushed = flushed;
    }

    /// Takes out what is refused: nobody knows of it any more.
    pub(super) fn refuse(&mut self, from: i64, to: i64) {
        self.records.retain(|offset, _| !(from..to).contains(offset));
        self.batches.retain(|offset, _| !(from..to).contains(offset));
        self.refused.push((from, to));
    }

    pub(super) fn start_at(&mut self, log_start: i64) {
        self.log_start = log_start;
        self.records = self.records.split_off(&log_start);
    }

    /// The last batches of a producer that a repeat is recognised of, oldest first. Those before the start of the log may be
    /// forgotten where only a cache told of them that was damaged, or that may be.
    pub(super) fn window(&self, producer_id: i64) -> Vec<ModelBatch> {
        let of_producer = self.batches.values().filter(|b| b.producer_id == producer_id && b.commits.is_none());
        let mut last: Vec<ModelBatch> = of_producer.rev().take(WINDOW_BATCHES).copied().collect();
        last.reverse();
        last.retain(|batch| batch.base_offset >= self.known_from);
        last
    }

    /// First offsets of open transactions, and the transactions that have ended.
    pub(super) fn transactions(&self) -> (BTreeMap<i64, i64>, Vec<ModelTxn>) {
        let (mut open, mut ended) = (BTreeMap::new(), Vec::new());
        for batch in self.batches.values().filter(|batch| batch.is_transactional) {
            match batch.commits {
                None => {
                    open.entry(batch.producer_id).or_insert(batch.base_offset);
                }
                Some(commits) => {
                    if let Some(first_offset) = open.remove(&batch.producer_id) {
                        ended.push(ModelTxn {
                            producer_id: batch.producer_id,
                            first_offset,
                            last_offset: batch.last_offset,
                            is_aborted: !commits,
                        });
                    }
                }
            }
        }
        (open, ended)
    }

    /// Records that a compaction must leave: the newest of each key, save tombstones after their time.
    pub(super) fn must_stay(&self) -> BTreeSet<i64> {
        let mut stay = self.newest_of_keys(i64::MAX);
        let is_young = |record: &ModelRecord| record.appended_ms + DELETE_RETENTION_MS > self.now_ms;
        stay.retain(|offset| self.records[offset].value.is_some() || is_young(&self.records[offset]));
        stay
    }

    /// The newest record of each key among those before `before` that count.
    pub(super) fn newest_of_keys(&self, before: i64) -> BTreeSet<i64> {
        let (open, ended) = self.transactions();
        let counts = |offset: i64, record: &ModelRecord| {
            let of_txn = |txn: &&ModelTxn| {
                txn.producer_id == record.producer_id && (txn.first_offset..=txn.last_offset).contains(&offset)
            };
            let is_open = open.get(&record.producer_id).is_some_and(|first| *first <= offset);
            !record.is_control
                && (!record.is_transactional
                    || (!is_open && ended.iter().find(of_txn).is_none_or(|txn| !txn.is_aborted)))
        };
        let mut newest = BTreeMap::new();
        for (offset, record) in self.records.range(..before).filter(|(offset, record)| counts(**offset, record)) {
            if let Some(key) = &record.key {
                newest.insert(key, *offset);
            }
        }
        newest.into_values().collect()
    }

    /// The first record from the start of the log on that is `timestamp` or later.
    pub(super) fn first_from(&self, timestamp: i64) -> Option<(i64, i64)> {
        self.records.iter().find(|(_, r)| r.timestamp >= timestamp).map(|(offset, r)| (*offset, r.timestamp))
    }

    /// The first of the records with the largest timestamp.
    pub(super) fn newest(&self) -> Option<(i64, i64)> {
        let largest = self.records.values().map(|record| record.timestamp).max()?;
        self.first_from(largest)
    }
}
