//! Builds record batches, as producers send them and as coordinators append them.
//!
//! Records are written once into one buffer with room for the header in front; an uncompressed batch is that buffer.

use std::io;

use bytes::Bytes;

use super::batch::HEADER_BYTES;
use super::compression::Compression;
use super::crc32c::crc32c;
use super::record::Header;
use super::varint::{put_varint, put_varlong, varint_size, varlong_size};

/// What a batch says of itself beside its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchFields {
    /// The offset of the first record; 0 from a producer.
    pub base_offset: i64,
    /// The leader epoch; -1 from a producer.
    pub partition_leader_epoch: i32,
    /// How the records are compressed.
    pub compression: Compression,
    /// The codec's level, `None` for its default.
    pub compression_level: Option<i32>,
    /// The timestamps are the broker's.
    pub log_append_time: bool,
    /// Part of a transaction.
    pub is_transactional: bool,
    /// Holds markers, not records.
    pub is_control: bool,
    /// The idempotent producer, or -1.
    pub producer_id: i64,
    /// Its epoch, or -1.
    pub producer_epoch: i16,
    /// The sequence number of the first record, or -1.
    pub base_sequence: i32,
}

impl Default for BatchFields {
    /// A plain batch of no idempotent producer.
    fn default() -> Self {
        Self {
            base_offset: 0,
            partition_leader_epoch: -1,
            compression: Compression::None,
            compression_level: None,
            log_append_time: false,
            is_transactional: false,
            is_control: false,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
        }
    }
}

impl BatchFields {
    fn attributes(&self) -> i16 {
        self.compression as i16
            | i16::from(self.log_append_time) << 3
            | i16::from(self.is_transactional) << 4
            | i16::from(self.is_control) << 5
    }
}

/// A batch in the making.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    /// Room for the header, then the records.
    buffer: Vec<u8>,
    record_count: i32,
    last_offset_delta: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    /// An empty batch with room for so many bytes of records.
    pub fn with_capacity(records_bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(HEADER_BYTES + records_bytes);
        buffer.resize(HEADER_BYTES, 0);
        Self { buffer, record_count: 0, last_offset_delta: -1, base_timestamp: 0, max_timestamp: i64::MIN }
    }

    /// How many records it has.
    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// True before the first record.
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Bytes of the batch if it is not compressed.
    pub fn size_in_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// An upper bound of what a record adds to the batch's bytes.
    pub fn record_size_max(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]) -> usize {
        // Length, timestamp delta and offset delta take at most 5, 10 and 5 bytes, the attributes one.
        let field = |bytes: Option<&[u8]>| 5 + bytes.map_or(0, <[u8]>::len);
        let of_header = |header: &Header| field(Some(header.key.as_bytes())) + field(header.value.as_deref());
        21 + field(key) + field(value) + 5 + headers.iter().map(of_header).sum::<usize>()
    }

    /// Appends a record behind the last one.
    pub fn append(&mut self, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]) {
        self.append_at(self.last_offset_delta + 1, timestamp, key, value, headers);
    }

    /// Appends a record at an offset delta of its own, above the last one: what compaction keeps.
    pub fn append_at(
        &mut self,
        offset_delta: i32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) {
        debug_assert!(offset_delta > self.last_offset_delta, "offsets rise");
        if self.record_count == 0 {
            self.base_timestamp = timestamp;
        }
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
        let length = 1
            + varlong_size(timestamp_delta)
            + varint_size(offset_delta)
            + field_size(key)
            + field_size(value)
            + varint_size(headers.len() as i32)
            + headers
                .iter()
                .map(|header| field_size(Some(header.key.as_bytes())) + field_size(header.value.as_deref()))
                .sum::<usize>();
        let buffer = &mut self.buffer;
        put_varint(buffer, length as i32);
        buffer.push(0);
        put_varlong(buffer, timestamp_delta);
        put_varint(buffer, offset_delta);
        put_field(buffer, key);
        put_field(buffer, value);
        put_varint(buffer, headers.len() as i32);
        for header in headers {
            put_field(buffer, Some(header.key.as_bytes()));
            put_field(buffer, header.value.as_deref());
        }
        self.record_count += 1;
        self.last_offset_delta = offset_delta;
        self.max_timestamp = self.max_timestamp.max(timestamp);
    }

    /// Finishes the batch.
    ///
    /// # Errors
    /// The codec fails, which it does only for a level that it does not have.
    ///
    /// # Panics
    /// There is no record.
    pub fn build(mut self, fields: &BatchFields) -> io::Result<Bytes> {
        assert!(self.record_count > 0, "a batch has at least one record");
        if fields.compression != Compression::None {
            let compressed = fields.compression.compress(&self.buffer[HEADER_BYTES..], fields.compression_level)?;
            self.buffer.truncate(HEADER_BYTES);
            self.buffer.extend_from_slice(&compressed);
        }
        let length = self.buffer.len() - 12;
        let buffer = &mut self.buffer;
        buffer[0..8].copy_from_slice(&fields.base_offset.to_be_bytes());
        buffer[8..12].copy_from_slice(&(length as i32).to_be_bytes());
        buffer[12..16].copy_from_slice(&fields.partition_leader_epoch.to_be_bytes());
        buffer[16] = 2;
        buffer[21..23].copy_from_slice(&fields.attributes().to_be_bytes());
        buffer[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        buffer[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        buffer[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        buffer[43..51].copy_from_slice(&fields.producer_id.to_be_bytes());
        buffer[51..53].copy_from_slice(&fields.producer_epoch.to_be_bytes());
        buffer[53..57].copy_from_slice(&fields.base_sequence.to_be_bytes());
        buffer[57..61].copy_from_slice(&self.record_count.to_be_bytes());
        let crc = crc32c(&buffer[21..]);
        buffer[17..21].copy_from_slice(&crc.to_be_bytes());
        Ok(Bytes::from(self.buffer))
    }
}

fn length(bytes: &[u8]) -> i32 {
    i32::try_from(bytes.len()).expect("a field of a record is far below 2 GiB")
}

fn field_size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint_size(length(bytes)) + bytes.len())
}

fn put_field(buffer: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_varint(buffer, length(bytes));
            buffer.extend_from_slice(bytes);
        }
        None => put_varint(buffer, -1),
    }
}
