//! The `<offset>.snapshot` file of producer state: Kafka's format, with our five-batch windows behind it.
//!
//! ```text
//! version       int16   1
//! crc           uint32  CRC-32C of everything behind it, to the end of the file
//! entry count   int32
//! entries               46 bytes each, ordered by producer id
//!   producer id int64 | epoch int16 | last sequence int32 | last offset int64 | offset delta int32
//!   timestamp int64 | coordinator epoch int32 | first offset of the open transaction int64
//! -- Kafka's format ends here; its readers, the dump tool too, stop here, while their checksum goes to the end of the file --
//! magic         uint32  "OTWN"
//! version       int16   1
//! windows               one for each entry, in the same order
//!   known run uint32 | last update offset int64 | last update time int64 | batch count int8 (0 to 5) | batches, oldest first
//!     last sequence int32 | last offset int64 | offset delta int32 | timestamp int64
//! ```
//!
//! -1 stands for "none". The newest batch is repeated in the window because Kafka's timestamp is that of the last marker when
//! one followed the batch. The windows share the file with Kafka's entries because two files could disagree after a crash
//! (docs/adr/producer-window-in-snapshot.md). A file without them, as Kafka writes it, is read too: each producer then has a
//! window of one batch.
//!
//! Invariant: whatever is wrong with the bytes of a snapshot is an error, and the state is rebuilt from the log, or from another
//! snapshot where the first records of the log are deleted: what their producers may repeat no batch tells any more.

use ottla_protocol::records::crc32c;
use thiserror::Error;

use super::producer_entry::{BatchMetadata, KNOWN_RUN_MAX, ProducerEntry, WINDOW_BATCHES};
use super::producer_state::{ProducerLimits, ProducerState};
use crate::types::{Offset, ProducerId};

const SNAPSHOT_VERSION: i16 = 1;
const WINDOWS_MAGIC: u32 = u32::from_be_bytes(*b"OTWN");
const WINDOWS_VERSION: i16 = 1;
/// Version and checksum come before what the checksum covers.
const CRC_COVERS_FROM: usize = 6;

/// Why a snapshot file is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProducerSnapshotError {
    /// The file ends too early, or something follows its end.
    #[error("producer snapshot of {len} bytes is cut off, or longer than what it says")]
    Length {
        /// Bytes of the file.
        len: usize,
    },
    /// Written by a version that is not known.
    #[error("producer snapshot has version {version}, only {SNAPSHOT_VERSION} is known")]
    Version {
        /// What the file says.
        version: i16,
    },
    /// The bytes are not those that were written.
    #[error("producer snapshot has checksum {actual:#010x}, expected {expected:#010x}")]
    Checksum {
        /// What the file says.
        expected: u32,
        /// What its bytes give.
        actual: u32,
    },
    /// The part behind Kafka's entries is not ours, or of a version that is not known.
    #[error("producer snapshot is followed by something unknown ({magic:#010x}, version {version})")]
    Windows {
        /// The first four bytes of it.
        magic: u32,
        /// The two bytes that follow.
        version: i16,
    },
    /// A field that no writer writes.
    #[error("producer snapshot: {field} of producer {producer_id} is {value}")]
    Value {
        /// The entry.
        producer_id: i64,
        /// Which field.
        field: &'static str,
        /// What the file says.
        value: i64,
    },
}

impl ProducerState {
    /// The content of the snapshot file for [`ProducerState::end_offset`].
    pub fn encode_snapshot(&self) -> Vec<u8> {
        let mut entries: Vec<(ProducerId, &ProducerEntry)> = self.iter().collect();
        entries.sort_unstable_by_key(|(id, _)| *id);

        let mut out = Vec::with_capacity(16 + entries.len() * 128);
        out.extend_from_slice(&SNAPSHOT_VERSION.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(entries.len() as i32).to_be_bytes());
        for (id, entry) in &entries {
            let last = entry.batches().last();
            out.extend_from_slice(&id.0.to_be_bytes());
            out.extend_from_slice(&entry.producer_epoch.to_be_bytes());
            out.extend_from_slice(&last.map_or(-1, |batch| batch.last_sequence).to_be_bytes());
            out.extend_from_slice(&last.map_or(-1, |batch| batch.last_offset.0).to_be_bytes());
            out.extend_from_slice(&last.map_or(0, |batch| batch.offset_delta).to_be_bytes());
            out.extend_from_slice(&entry.last_timestamp.to_be_bytes());
            out.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
            out.extend_from_slice(&entry.current_txn_first_offset.map_or(-1, |offset| offset.0).to_be_bytes());
        }
        out.extend_from_slice(&WINDOWS_MAGIC.to_be_bytes());
        out.extend_from_slice(&WINDOWS_VERSION.to_be_bytes());
        for (_, entry) in &entries {
            out.extend_from_slice(&entry.known_run.to_be_bytes());
            out.extend_from_slice(&entry.last_update_offset.0.to_be_bytes());
            out.extend_from_slice(&entry.last_update_ms.to_be_bytes());
            out.push(entry.batches().len() as u8);
            for batch in entry.batches() {
                out.extend_from_slice(&batch.last_sequence.to_be_bytes());
                out.extend_from_slice(&batch.last_offset.0.to_be_bytes());
                out.extend_from_slice(&batch.offset_delta.to_be_bytes());
                out.extend_from_slice(&batch.timestamp.to_be_bytes());
            }
        }
        let crc = crc32c(&out[CRC_COVERS_FROM..]);
        out[2..CRC_COVERS_FROM].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// The state that a snapshot file holds; `end_offset` is the offset in the file's name. Producers of a file that does
    /// not say when they were last heard of count as heard of at `now_ms`.
    ///
    /// # Errors
    /// Whatever makes the file unbelievable; the caller rebuilds from the log.
    pub fn decode_snapshot(
        bytes: &[u8],
        end_offset: Offset,
        now_ms: i64,
        limits: ProducerLimits,
    ) -> Result<Self, ProducerSnapshotError> {
        let mut input = Input { bytes, at: 0 };
        let version = i16::from_be_bytes(input.take()?);
        if version != SNAPSHOT_VERSION {
            return Err(ProducerSnapshotError::Version { version });
        }
        let expected = u32::from_be_bytes(input.take()?);
        let actual = crc32c(&bytes[CRC_COVERS_FROM..]);
        if expected != actual {
            return Err(ProducerSnapshotError::Checksum { expected, actual });
        }
        let count = i32::from_be_bytes(input.take()?);
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push(read_entry(&mut input, now_ms)?);
        }
        if !input.is_at_end() {
            read_windows(&mut input, &mut entries)?;
        }
        if count < 0 || !input.is_at_end() {
            return Err(ProducerSnapshotError::Length { len: bytes.len() });
        }
        let mut state = Self::new(limits);
        state.advance_end_offset(end_offset);
        for (id, entry) in entries {
            state.insert_loaded(id, entry);
        }
        Ok(state)
    }
}

type LoadedEntry = (ProducerId, ProducerEntry);

fn read_entry(input: &mut Input<'_>, now_ms: i64) -> Result<LoadedEntry, ProducerSnapshotError> {
    let producer_id = i64::from_be_bytes(input.take()?);
    let producer_epoch = i16::from_be_bytes(input.take()?);
    let last_sequence = i32::from_be_bytes(input.take()?);
    let last_offset = i64::from_be_bytes(input.take()?);
    let offset_delta = i32::from_be_bytes(input.take()?);
    let timestamp = i64::from_be_bytes(input.take()?);
    let coordinator_epoch = i32::from_be_bytes(input.take()?);
    let txn_first_offset = i64::from_be_bytes(input.take()?);
    let bad = |field, value| Err(ProducerSnapshotError::Value { producer_id, field, value });
    if producer_id < 0 {
        return bad("producer id", producer_id);
    }
    if offset_delta < 0 {
        return bad("offset delta", offset_delta.into());
    }
    let mut entry = ProducerEntry::new(producer_epoch, now_ms);
    entry.coordinator_epoch = coordinator_epoch;
    entry.last_timestamp = timestamp;
    entry.last_update_offset = Offset(last_offset);
    entry.current_txn_first_offset = (txn_first_offset >= 0).then_some(Offset(txn_first_offset));
    if last_offset >= 0 {
        entry.push(BatchMetadata { last_sequence, last_offset: Offset(last_offset), offset_delta, timestamp });
    }
    Ok((ProducerId(producer_id), entry))
}

fn read_windows(input: &mut Input<'_>, entries: &mut [LoadedEntry]) -> Result<(), ProducerSnapshotError> {
    let magic = u32::from_be_bytes(input.take()?);
    let version = i16::from_be_bytes(input.take()?);
    if magic != WINDOWS_MAGIC || version != WINDOWS_VERSION {
        return Err(ProducerSnapshotError::Windows { magic, version });
    }
    for (id, entry) in entries {
        let known_run = u32::from_be_bytes(input.take()?);
        let last_update_offset = i64::from_be_bytes(input.take()?);
        let last_update_ms = i64::from_be_bytes(input.take()?);
        let [batches] = input.take()?;
        let bad = |field, value| Err(ProducerSnapshotError::Value { producer_id: id.0, field, value });
        if usize::from(batches) > WINDOW_BATCHES {
            return bad("batch count", batches.into());
        }
        if known_run > KNOWN_RUN_MAX {
            return bad("known run", known_run.into());
        }
        let mut with_window = ProducerEntry::new(entry.producer_epoch, last_update_ms);
        with_window.coordinator_epoch = entry.coordinator_epoch;
        with_window.last_timestamp = entry.last_timestamp;
        with_window.current_txn_first_offset = entry.current_txn_first_offset;
        with_window.last_update_offset = Offset(last_update_offset);
        for _ in 0..batches {
            let batch = BatchMetadata {
                last_sequence: i32::from_be_bytes(input.take()?),
                last_offset: Offset(i64::from_be_bytes(input.take()?)),
                offset_delta: i32::from_be_bytes(input.take()?),
                timestamp: i64::from_be_bytes(input.take()?),
            };
            if batch.offset_delta < 0 {
                return bad("offset delta", batch.offset_delta.into());
            }
            with_window.push(batch);
        }
        if with_window.last_sequence() != entry.last_sequence() {
            return bad("last sequence", with_window.last_sequence().unwrap_or(-1).into());
        }
        with_window.known_run = known_run;
        *entry = with_window;
    }
    Ok(())
}

/// Bytes of the file, taken front to back; running out of them is an error.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], ProducerSnapshotError> {
        let (taken, _) = self
            .bytes
            .get(self.at..)
            .and_then(|rest| rest.split_first_chunk())
            .ok_or(ProducerSnapshotError::Length { len: self.bytes.len() })?;
        self.at += N;
        Ok(*taken)
    }

    fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }
}

#[cfg(test)]
#[path = "producer_snapshot_test.rs"]
mod tests;
