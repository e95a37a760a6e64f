//! Each thing that `ottla log dump` shows, as a line of text and as a JSON object.

use serde_json::{Value, json};

use ottla_broker::storage::AbortedTxn;
use ottla_broker::storage::inspect::{
    DumpedBatch, DumpedDamage, OffsetIndexEntry, Record, SnapshotEntry, TimeIndexEntry,
};
use ottla_broker::storage::leader_epoch::EpochEntry;
use ottla_broker::types::{Offset, TopicPartition};

use crate::base64;
use crate::timestamp::format_timestamp;

const CODECS: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;

/// Something that can be shown either way.
pub(super) trait Dumped {
    fn text(&self) -> String;
    fn json(&self) -> Value;
}

/// A batch, and whether it belongs where it is.
pub(super) struct Batch<'a> {
    pub(super) batch: &'a DumpedBatch,
    pub(super) is_sound: bool,
}

impl Batch<'_> {
    fn has(&self, bit: i16) -> bool {
        self.batch.attributes & bit != 0
    }

    fn codec(&self) -> String {
        match self.batch.attributes & CODECS {
            0 => "none".to_owned(),
            1 => "gzip".to_owned(),
            2 => "snappy".to_owned(),
            3 => "lz4".to_owned(),
            4 => "zstd".to_owned(),
            unknown => format!("unknown ({unknown})"),
        }
    }

    pub(super) fn is_control(&self) -> bool {
        self.has(CONTROL)
    }
}

impl Dumped for Batch<'_> {
    fn text(&self) -> String {
        let batch = self.batch;
        let mut text = format!(
            "@{} offsets {}-{}, {} records, {} bytes, {}, epoch {}",
            batch.position,
            batch.base_offset,
            batch.last_offset,
            batch.record_count,
            batch.size_bytes,
            self.codec(),
            batch.leader_epoch
        );
        if batch.producer_id.is_some() {
            text += &format!(", producer {} epoch {}", batch.producer_id, batch.producer_epoch);
            if batch.base_sequence >= 0 {
                text += &format!(" sequences {}-{}", batch.base_sequence, batch.last_sequence());
            }
        }
        for (bit, name) in [(TRANSACTIONAL, "transactional"), (CONTROL, "control"), (LOG_APPEND_TIME, "append time")] {
            if self.has(bit) {
                text += &format!(", {name}");
            }
        }
        let base = if self.has(DELETE_HORIZON) { "delete horizon" } else { "base" };
        text += &format!(
            ", {base} {}, newest {}, crc {:08x}",
            format_timestamp(batch.base_timestamp),
            format_timestamp(batch.max_timestamp),
            batch.crc
        );
        match (batch.crc_matches, self.is_sound) {
            (false, _) => text + " WRONG",
            (true, false) => text + " right, but it does not belong here",
            (true, true) => text,
        }
    }

    fn json(&self) -> Value {
        let batch = self.batch;
        json!({
            "type": "batch",
            "position": batch.position,
            "size_bytes": batch.size_bytes,
            "base_offset": batch.base_offset.0,
            "last_offset": batch.last_offset.0,
            "record_count": batch.record_count,
            "leader_epoch": batch.leader_epoch.0,
            "magic": 2,
            "crc": batch.crc,
            "crc_matches": batch.crc_matches,
            "sound": self.is_sound,
            "codec": self.codec(),
            "timestamp_type": if self.has(LOG_APPEND_TIME) { "LogAppendTime" } else { "CreateTime" },
            "transactional": self.has(TRANSACTIONAL),
            "control": self.has(CONTROL),
            "delete_horizon": self.has(DELETE_HORIZON).then_some(batch.base_timestamp),
            "base_timestamp": batch.base_timestamp,
            "max_timestamp": batch.max_timestamp,
            "producer_id": batch.producer_id.0,
            "producer_epoch": batch.producer_epoch,
            "base_sequence": batch.base_sequence,
            "last_sequence": batch.last_sequence(),
        })
    }
}

impl Dumped for DumpedDamage {
    fn text(&self) -> String {
        let bytes = format!("DAMAGE: bytes {} to {} are no sound batches", self.position, self.end_position);
        match self.to {
            Some(to) if to > self.from => format!("{bytes}; offsets {} to {} are gone", self.from, to.0 - 1),
            Some(_) => bytes,
            None => format!("{bytes}, and none is behind them; they would begin at offset {}", self.from),
        }
    }

    fn json(&self) -> Value {
        json!({
            "type": "damage",
            "position": self.position,
            "end_position": self.end_position,
            "from_offset": self.from.0,
            "to_offset": self.to.map(|to| to.0),
        })
    }
}

/// A record, and what it says if a broker wrote it for itself.
pub(super) struct DumpedRecord<'a> {
    pub(super) record: &'a Record,
    pub(super) decoded: Option<Value>,
}

impl Dumped for DumpedRecord<'_> {
    fn text(&self) -> String {
        let record = self.record;
        let mut text = format!("    {} {}", record.offset, format_timestamp(record.timestamp));
        match &self.decoded {
            Some(Value::String(decoded)) => return format!("{text} {decoded}"),
            Some(decoded) => return format!("{text} {decoded}"),
            None => {}
        }
        text += &format!(" key {} value {}", readable(record.key.as_deref()), readable(record.value.as_deref()));
        for header in &record.headers {
            text += &format!(" header {:?} {}", header.key, readable(header.value.as_deref()));
        }
        text
    }

    fn json(&self) -> Value {
        let record = self.record;
        let mut object = json!({ "type": "record", "offset": record.offset, "timestamp": record.timestamp });
        put(&mut object, "key", record.key.as_deref());
        put(&mut object, "value", record.value.as_deref());
        let headers = record.headers.iter().map(|header| {
            let mut object = json!({ "key": header.key });
            put(&mut object, "value", header.value.as_deref());
            object
        });
        object["headers"] = headers.collect();
        if let Some(decoded) = &self.decoded {
            object["decoded"] = decoded.clone();
        }
        object
    }
}

/// Text that can be shown on a terminal, whatever the bytes are.
fn readable(bytes: Option<&[u8]>) -> String {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => "null".to_owned(),
        Some((_, Ok(text))) => format!("{text:?}"),
        Some((bytes, Err(_))) => format!("\"{}\"", bytes.escape_ascii()),
    }
}

/// Text as it is, other bytes as base64 under another name.
fn put(object: &mut Value, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => object[name] = Value::Null,
        Some((_, Ok(text))) => object[name] = Value::from(text),
        Some((bytes, Err(_))) => object[format!("{name}_base64")] = Value::from(base64::encode(bytes)),
    }
}

impl Dumped for OffsetIndexEntry {
    fn text(&self) -> String {
        format!("offset {} at position {}", self.offset, self.position)
    }

    fn json(&self) -> Value {
        json!({ "type": "offset_index_entry", "offset": self.offset.0, "position": self.position })
    }
}

impl Dumped for TimeIndexEntry {
    fn text(&self) -> String {
        format!("{} at offset {}", format_timestamp(self.timestamp), self.offset)
    }

    fn json(&self) -> Value {
        json!({ "type": "time_index_entry", "timestamp": self.timestamp, "offset": self.offset.0 })
    }
}

impl Dumped for AbortedTxn {
    fn text(&self) -> String {
        format!(
            "producer {} aborted offsets {}-{}, last stable offset {}",
            self.producer_id, self.first_offset, self.last_offset, self.last_stable_offset
        )
    }

    fn json(&self) -> Value {
        json!({
            "type": "aborted_transaction",
            "producer_id": self.producer_id.0,
            "first_offset": self.first_offset.0,
            "last_offset": self.last_offset.0,
            "last_stable_offset": self.last_stable_offset.0,
        })
    }
}

impl Dumped for SnapshotEntry {
    fn text(&self) -> String {
        let mut text = format!("producer {} epoch {}", self.producer_id, self.producer_epoch);
        for batch in &self.batches {
            let (first, last) = (batch.first_offset(), batch.last_offset);
            text += &format!(", sequences {}-{} at {first}-{last}", batch.first_sequence(), batch.last_sequence);
        }
        if let Some(first_offset) = self.current_txn_first_offset {
            text += &format!(", transaction open from {first_offset}");
        }
        format!("{text}, coordinator epoch {}, last {}", self.coordinator_epoch, format_timestamp(self.last_timestamp))
    }

    fn json(&self) -> Value {
        let batches = self.batches.iter().map(|batch| {
            json!({
                "first_sequence": batch.first_sequence(),
                "last_sequence": batch.last_sequence,
                "first_offset": batch.first_offset().0,
                "last_offset": batch.last_offset.0,
                "timestamp": batch.timestamp,
            })
        });
        json!({
            "type": "producer",
            "producer_id": self.producer_id.0,
            "producer_epoch": self.producer_epoch,
            "coordinator_epoch": self.coordinator_epoch,
            "current_txn_first_offset": self.current_txn_first_offset.map(|offset| offset.0),
            "last_timestamp": self.last_timestamp,
            "batches": batches.collect::<Vec<_>>(),
        })
    }
}

impl Dumped for EpochEntry {
    fn text(&self) -> String {
        format!("epoch {} from offset {}", self.epoch, self.start_offset)
    }

    fn json(&self) -> Value {
        json!({ "type": "leader_epoch", "epoch": self.epoch.0, "start_offset": self.start_offset.0 })
    }
}

/// The start of a log.
pub(super) struct LogStart(pub(super) Offset);

impl Dumped for LogStart {
    fn text(&self) -> String {
        format!("the log starts at offset {}", self.0)
    }

    fn json(&self) -> Value {
        json!({ "type": "log_start", "offset": self.0.0 })
    }
}

/// A line of a checkpoint.
pub(super) struct CheckpointEntry(pub(super) TopicPartition, pub(super) Offset);

impl Dumped for CheckpointEntry {
    fn text(&self) -> String {
        format!("{} {}", self.0, self.1)
    }

    fn json(&self) -> Value {
        let TopicPartition { topic, partition } = &self.0;
        json!({ "type": "checkpoint_entry", "topic": &**topic, "partition": partition, "offset": self.1.0 })
    }
}

/// What cannot be read, and why.
pub(super) struct Unreadable(pub(super) String);

impl Dumped for Unreadable {
    fn text(&self) -> String {
        format!("UNREADABLE: {}", self.0)
    }

    fn json(&self) -> Value {
        json!({ "type": "unreadable", "error": self.0 })
    }
}
