//! The four codecs of record batches, as Kafka's clients write and read them.
//!
//! Decompression is always a stream, so that its output can be bounded by who reads it. Snappy comes in the framing of
//! xerial's Java library (what the Java client writes) or as one raw block (what librdkafka may write); both are read, the
//! former is written. LZ4 is the frame format, gzip one member, zstd one frame.

use std::fmt;
use std::io::{self, Read, Write};

use super::error::BatchError;

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Compression {
    /// Not at all.
    #[default]
    None = 0,
    /// gzip (RFC 1952).
    Gzip = 1,
    /// Snappy, in xerial's framing.
    Snappy = 2,
    /// LZ4 frames.
    Lz4 = 3,
    /// Zstandard (KIP-110).
    Zstd = 4,
}

impl Compression {
    /// The codec of a batch's attributes.
    pub fn from_attributes(attributes: i16) -> Result<Self, BatchError> {
        match attributes & 0x07 {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            codec => Err(BatchError::UnknownCodec { codec: codec as u8 }),
        }
    }

    /// Kafka's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Compresses `records`. `level` is the codec's own scale, `None` its default; snappy and lz4 have none here.
    ///
    /// # Errors
    /// The codec refuses the level.
    pub fn compress(self, records: &[u8], level: Option<i32>) -> io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(records.to_vec()),
            Self::Gzip => {
                let level = level.and_then(|level| u32::try_from(level).ok()).filter(|&level| level <= 9);
                let level = level.map_or_else(flate2::Compression::default, flate2::Compression::new);
                let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(records.len() / 2), level);
                encoder.write_all(records)?;
                encoder.finish()
            }
            Self::Snappy => compress_xerial(records),
            Self::Lz4 => {
                let info = lz4_flex::frame::FrameInfo::new()
                    .block_size(lz4_flex::frame::BlockSize::Max64KB)
                    .block_mode(lz4_flex::frame::BlockMode::Independent);
                let output = Vec::with_capacity(records.len() / 2);
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, output);
                encoder.write_all(records)?;
                encoder.finish().map_err(io::Error::other)
            }
            Self::Zstd => zstd::bulk::compress(records, level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL)),
        }
    }

    /// Decompresses all of `compressed`, at most `limit` bytes of it.
    ///
    /// # Errors
    /// Damage, more than `limit` bytes, or bytes behind the end of the compressed data.
    pub fn decompress(self, compressed: &[u8], limit: usize) -> Result<Vec<u8>, BatchError> {
        let damaged = |error: io::Error| BatchError::Decompression { codec: self, reason: error.to_string() };
        let mut decoder = Decoder::new(self, compressed).map_err(damaged)?;
        let mut output = Vec::with_capacity(compressed.len().saturating_mul(2).min(limit));
        let read = decoder.by_ref().take(limit as u64 + 1).read_to_end(&mut output).map_err(damaged)?;
        if read > limit {
            return Err(BatchError::TooLargeDecompressed { limit });
        }
        match decoder.unread() {
            0 => Ok(output),
            bytes => Err(BatchError::TrailingBytes { bytes }),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A decompressor over bytes in memory.
pub(super) enum Decoder<'a> {
    None(&'a [u8]),
    Gzip(Box<flate2::bufread::GzDecoder<&'a [u8]>>),
    Snappy(SnappyReader<'a>),
    Lz4(Box<lz4_flex::frame::FrameDecoder<WatchedInput<'a>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, &'a [u8]>>),
}

impl<'a> Decoder<'a> {
    pub(super) fn new(codec: Compression, compressed: &'a [u8]) -> io::Result<Self> {
        Ok(match codec {
            Compression::None => Self::None(compressed),
            Compression::Gzip => Self::Gzip(Box::new(flate2::bufread::GzDecoder::new(compressed))),
            Compression::Snappy => Self::Snappy(SnappyReader::new(compressed)),
            Compression::Lz4 => {
                let input = WatchedInput { rest: compressed, read_past_end: false };
                Self::Lz4(Box::new(lz4_flex::frame::FrameDecoder::new(input)))
            }
            Compression::Zstd => {
                Self::Zstd(Box::new(zstd::stream::read::Decoder::with_buffer(compressed)?.single_frame()))
            }
        })
    }

    /// Bytes of the input behind what was decompressed; to be asked after the end was read.
    pub(super) fn unread(&self) -> usize {
        match self {
            Self::None(rest) => rest.len(),
            Self::Gzip(decoder) => decoder.get_ref().len(),
            Self::Snappy(reader) => reader.input.len(),
            Self::Lz4(decoder) => decoder.get_ref().rest.len(),
            Self::Zstd(decoder) => decoder.get_ref().len(),
        }
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::None(rest) => rest.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Snappy(reader) => reader.read(buffer),
            Self::Lz4(decoder) => match decoder.read(buffer)? {
                0 if !buffer.is_empty() && decoder.get_ref().read_past_end => Err(io::ErrorKind::UnexpectedEof.into()),
                count => Ok(count),
            },
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

/// Input that remembers whether more was wanted than there is: the LZ4 decoder takes the end of its input for the end of the
/// frame, even where the frame's own end mark is missing.
pub(super) struct WatchedInput<'a> {
    rest: &'a [u8],
    read_past_end: bool,
}

impl Read for WatchedInput<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.rest.read(buffer)?;
        self.read_past_end |= count == 0 && !buffer.is_empty();
        Ok(count)
    }
}

/// The first eight bytes of xerial's framing; two version numbers follow.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_BYTES: usize = 16;
/// Bytes that go into one block.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// No snappy block grows more than this: its densest element makes 64 bytes out of 2.
const SNAPPY_RATIO_MAX: usize = 32;

fn compress_xerial(records: &[u8]) -> io::Result<Vec<u8>> {
    let mut output = Vec::with_capacity(XERIAL_HEADER_BYTES + records.len() / 2);
    output.extend_from_slice(&XERIAL_MAGIC);
    output.extend_from_slice(&1_i32.to_be_bytes());
    output.extend_from_slice(&1_i32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    let mut block = vec![0; snap::raw::max_compress_len(XERIAL_BLOCK_BYTES)];
    for chunk in records.chunks(XERIAL_BLOCK_BYTES) {
        let length = encoder.compress(chunk, &mut block).map_err(io::Error::other)?;
        output.extend_from_slice(&(length as i32).to_be_bytes());
        output.extend_from_slice(&block[..length]);
    }
    Ok(output)
}

/// Reads snappy block by block.
pub(super) struct SnappyReader<'a> {
    input: &'a [u8],
    framed: bool,
    block: Vec<u8>,
    taken: usize,
}

impl<'a> SnappyReader<'a> {
    fn new(compressed: &'a [u8]) -> Self {
        let framed = compressed.len() >= XERIAL_HEADER_BYTES && compressed.starts_with(&XERIAL_MAGIC);
        let input = if framed { &compressed[XERIAL_HEADER_BYTES..] } else { compressed };
        Self { input, framed, block: Vec::new(), taken: 0 }
    }

    fn next_block(&mut self) -> io::Result<()> {
        let length = if self.framed {
            let (length, rest) = self.input.split_first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
            self.input = rest;
            usize::try_from(i32::from_be_bytes(*length)).map_err(io::Error::other)?
        } else {
            self.input.len()
        };
        let (compressed, rest) = self.input.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof)?;
        let decompressed = snap::raw::decompress_len(compressed).map_err(io::Error::other)?;
        if decompressed > compressed.len().saturating_mul(SNAPPY_RATIO_MAX) {
            return Err(io::Error::other(format!("a block of {length} bytes cannot hold {decompressed}")));
        }
        self.block.resize(decompressed, 0);
        snap::raw::Decoder::new().decompress(compressed, &mut self.block).map_err(io::Error::other)?;
        (self.input, self.taken) = (rest, 0);
        Ok(())
    }
}

impl Read for SnappyReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.block.len() {
            if self.input.is_empty() {
                return Ok(0);
            }
            self.next_block()?;
        }
        let count = (&self.block[self.taken..]).read(buffer)?;
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
#[path = "compression_test.rs"]
mod tests;
