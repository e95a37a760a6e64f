//! Record batches as a test wants them, right or wrong in any field.
//!
//! Independent of the codec under test: it writes the bytes of the format itself. Nothing here checks anything.

use std::io::Write;

/// How the records of a batch are packed; the number is the codec id in the attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the codecs have their usual names")]
pub enum Codec {
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
}

impl Codec {
    /// Every codec.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// `bytes` in the form that Kafka's clients give them.
    pub fn pack(self, bytes: &[u8]) -> Vec<u8> {
        const WHY: &str = "writing to memory";
        match self {
            Self::None => bytes.to_vec(),
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(bytes).expect(WHY);
                encoder.finish().expect(WHY)
            }
            Self::Snappy => xerial(bytes),
            Self::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(bytes).expect(WHY);
                encoder.finish().expect(WHY)
            }
            Self::Zstd => zstd::encode_all(bytes, 3).expect(WHY),
        }
    }
}

/// Snappy blocks in the framing of the Java library, which Kafka's clients use.
fn xerial(bytes: &[u8]) -> Vec<u8> {
    let mut framed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for chunk in bytes.chunks(32 * 1024) {
        let block = snap::raw::Encoder::new().compress_vec(chunk).expect("a small block");
        framed.extend_from_slice(&(block.len() as u32).to_be_bytes());
        framed.extend_from_slice(&block);
    }
    framed
}

/// One record; `None` in an override means the right value.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the fields are those of the format")]
pub struct RecordSpec {
    pub attributes: i8,
    pub timestamp_delta: i64,
    /// Overrides the record's position in its batch.
    pub offset_delta: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Overrides the number of headers.
    pub header_count: Option<i32>,
    /// Overrides the length before the record.
    pub length: Option<i32>,
}

impl RecordSpec {
    /// A record without a key.
    pub fn value(value: impl Into<Vec<u8>>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    /// A record with key and value.
    pub fn keyed(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self { key: Some(key.into()), value: Some(value.into()), ..Self::default() }
    }

    fn write(&self, position: i32, out: &mut Vec<u8>) {
        let mut body = vec![self.attributes as u8];
        varint(self.timestamp_delta, &mut body);
        varint(i64::from(self.offset_delta.unwrap_or(position)), &mut body);
        for field in [&self.key, &self.value] {
            match field {
                Some(bytes) => {
                    varint(bytes.len() as i64, &mut body);
                    body.extend_from_slice(bytes);
                }
                None => varint(-1, &mut body),
            }
        }
        varint(i64::from(self.header_count.unwrap_or(self.headers.len() as i32)), &mut body);
        for (key, value) in &self.headers {
            varint(key.len() as i64, &mut body);
            body.extend_from_slice(key.as_bytes());
            match value {
                Some(bytes) => {
                    varint(bytes.len() as i64, &mut body);
                    body.extend_from_slice(bytes);
                }
                None => varint(-1, &mut body),
            }
        }
        varint(i64::from(self.length.unwrap_or(body.len() as i32)), out);
        out.extend_from_slice(&body);
    }
}

/// Appends a zigzag variable-length integer.
pub fn varint(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// One batch of format v2; `None` in an override means the right value.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of the format")]
pub struct BatchSpec {
    pub base_offset: i64,
    pub length: Option<i32>,
    pub leader_epoch: i32,
    pub magic: i8,
    pub crc: Option<u32>,
    /// All attributes except the codec.
    pub attributes: i16,
    /// Overrides the codec id in the attributes, not how the records are packed.
    pub codec_id: Option<i16>,
    pub last_offset_delta: Option<i32>,
    pub base_timestamp: i64,
    pub max_timestamp: Option<i64>,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub count: Option<i32>,
    pub codec: Codec,
    pub records: Vec<RecordSpec>,
    /// Replaces the packed records.
    pub payload: Option<Vec<u8>>,
}

/// When the records of a [`BatchSpec`] were made unless it says otherwise.
pub const BASE_TIMESTAMP: i64 = 1_700_000_000_000;

impl Default for BatchSpec {
    fn default() -> Self {
        Self {
            base_offset: 0,
            length: None,
            leader_epoch: -1,
            magic: 2,
            crc: None,
            attributes: 0,
            codec_id: None,
            last_offset_delta: None,
            base_timestamp: BASE_TIMESTAMP,
            max_timestamp: None,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            count: None,
            codec: Codec::None,
            records: vec![RecordSpec::value("one")],
            payload: None,
        }
    }
}

impl BatchSpec {
    /// A right batch of keyless records, a millisecond apart.
    pub fn of(values: &[&str]) -> Self {
        let record = |(delta, value): (usize, &&str)| RecordSpec {
            timestamp_delta: delta as i64,
            ..RecordSpec::value(value.as_bytes())
        };
        Self { records: values.iter().enumerate().map(record).collect(), ..Self::default() }
    }

    /// The same from an idempotent producer.
    pub fn from_producer(self, producer_id: i64, producer_epoch: i16, base_sequence: i32) -> Self {
        Self { producer_id, producer_epoch, base_sequence, ..self }
    }

    /// The batch's bytes.
    pub fn build(&self) -> Vec<u8> {
        let packed = self.payload.clone().unwrap_or_else(|| {
            let mut plain = Vec::new();
            for (position, record) in self.records.iter().enumerate() {
                record.write(position as i32, &mut plain);
            }
            self.codec.pack(&plain)
        });
        let last = self.records.len() as i32 - 1;
        let latest = self.records.iter().map(|record| self.base_timestamp + record.timestamp_delta).max();
        let attributes = self.attributes | self.codec_id.unwrap_or(self.codec as i16);
        let mut checked = Vec::with_capacity(packed.len() + 40);
        checked.extend_from_slice(&attributes.to_be_bytes());
        checked.extend_from_slice(&self.last_offset_delta.unwrap_or(last).to_be_bytes());
        checked.extend_from_slice(&self.base_timestamp.to_be_bytes());
        checked.extend_from_slice(&self.max_timestamp.or(latest).unwrap_or(-1).to_be_bytes());
        checked.extend_from_slice(&self.producer_id.to_be_bytes());
        checked.extend_from_slice(&self.producer_epoch.to_be_bytes());
        checked.extend_from_slice(&self.base_sequence.to_be_bytes());
        checked.extend_from_slice(&self.count.unwrap_or(last + 1).to_be_bytes());
        checked.extend_from_slice(&packed);

        let mut batch = Vec::with_capacity(checked.len() + 21);
        batch.extend_from_slice(&self.base_offset.to_be_bytes());
        batch.extend_from_slice(&self.length.unwrap_or(checked.len() as i32 + 9).to_be_bytes());
        batch.extend_from_slice(&self.leader_epoch.to_be_bytes());
        batch.push(self.magic as u8);
        batch.extend_from_slice(&self.crc.unwrap_or_else(|| crc32c::crc32c(&checked)).to_be_bytes());
        batch.extend_from_slice(&checked);
        batch
    }
}

/// A message of the formats before v2: `magic` 0 or 1, CRC-32, no key.
pub fn legacy_message(magic: i8, value: &[u8]) -> Vec<u8> {
    let mut checked = vec![magic as u8, 0];
    if magic > 0 {
        checked.extend_from_slice(&BASE_TIMESTAMP.to_be_bytes());
    }
    checked.extend_from_slice(&(-1_i32).to_be_bytes());
    checked.extend_from_slice(&(value.len() as i32).to_be_bytes());
    checked.extend_from_slice(value);
    let mut crc = flate2::Crc::new();
    crc.update(&checked);
    let mut message = 0_i64.to_be_bytes().to_vec();
    message.extend_from_slice(&(checked.len() as i32 + 4).to_be_bytes());
    message.extend_from_slice(&crc.sum().to_be_bytes());
    message.extend_from_slice(&checked);
    message
}
