//! The four codecs of record batches, as Kafka's clients write and read them.
//!
//! Owns the names and the compressing; decompressing is `decoder.rs`. Snappy is written in the framing of xerial's Java
//! library, as the Java client writes it, LZ4 in its frame format, gzip as one member, zstd as one frame.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read, Write};

use zstd::zstd_safe::{self, CCtx, CParameter};

use super::decoder::{Decoder, XERIAL_HEADER_BYTES, XERIAL_MAGIC, decompression_error};
use super::error::BatchError;

/// Bytes that go into one block of xerial's framing.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;

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
                let output = Vec::with_capacity(records.len() / 2);
                let mut encoder = flate2::write::GzEncoder::new(output, gzip_level(level));
                encoder.write_all(records)?;
                encoder.finish()
            }
            Self::Snappy => {
                let mut output = Vec::with_capacity(XERIAL_HEADER_BYTES + records.len() / 2);
                write_xerial(records, &mut output)?;
                Ok(output)
            }
            Self::Lz4 => {
                let mut encoder = lz4_encoder(Vec::with_capacity(records.len() / 2));
                encoder.write_all(records)?;
                encoder.finish().map_err(io::Error::other)
            }
            Self::Zstd => compress_zstd(records, level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL)),
        }
    }

    /// Decompresses all of `compressed`, at most `limit` bytes of it.
    ///
    /// # Errors
    /// Damage, more than `limit` bytes, or bytes behind the end of the compressed data.
    pub fn decompress(self, compressed: &[u8], limit: usize) -> Result<Vec<u8>, BatchError> {
        let mut decoder = Decoder::new(self, compressed, limit);
        let mut output = Vec::with_capacity(compressed.len().saturating_mul(2).min(limit));
        decoder.read_to_end(&mut output).map_err(|error| decompression_error(self, limit, &error))?;
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

/// Memory that a thread keeps for its next batch; what a higher level needs beyond it goes back at once.
const KEPT_CONTEXT_BYTES_MAX: usize = 8 << 20;

thread_local! {
    /// Making one costs as much as compressing some ten kilobytes.
    static ZSTD_CONTEXT: Cell<Option<CCtx<'static>>> = const { Cell::new(None) };
}

fn compress_zstd(records: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let failed = |code| io::Error::other(zstd_safe::get_error_name(code));
    let mut context = ZSTD_CONTEXT.take().unwrap_or_else(CCtx::create);
    let mut output = Vec::with_capacity(zstd_safe::compress_bound(records.len()));
    context.set_parameter(CParameter::CompressionLevel(level)).map_err(failed)?;
    context.compress2(&mut output, records).map_err(failed)?;
    if context.sizeof() <= KEPT_CONTEXT_BYTES_MAX {
        ZSTD_CONTEXT.set(Some(context));
    }
    Ok(output)
}

/// The default level for what gzip does not have, -1 among it.
pub(super) fn gzip_level(level: Option<i32>) -> flate2::Compression {
    let level = level.and_then(|level| u32::try_from(level).ok()).filter(|&level| level <= 9);
    level.map_or_else(flate2::Compression::default, flate2::Compression::new)
}

pub(super) fn lz4_encoder<W: Write>(output: W) -> lz4_flex::frame::FrameEncoder<W> {
    let info = lz4_flex::frame::FrameInfo::new()
        .block_size(lz4_flex::frame::BlockSize::Max64KB)
        .block_mode(lz4_flex::frame::BlockMode::Independent);
    lz4_flex::frame::FrameEncoder::with_frame_info(info, output)
}

/// Writes all of `records` as snappy blocks in xerial's framing.
pub(super) fn write_xerial(mut records: impl Read, output: &mut impl Write) -> io::Result<()> {
    output.write_all(&XERIAL_MAGIC)?;
    output.write_all(&1_i32.to_be_bytes())?;
    output.write_all(&1_i32.to_be_bytes())?;
    let mut encoder = snap::raw::Encoder::new();
    let mut chunk = Vec::with_capacity(XERIAL_BLOCK_BYTES);
    let mut block = vec![0; snap::raw::max_compress_len(XERIAL_BLOCK_BYTES)];
    loop {
        chunk.clear();
        records.by_ref().take(XERIAL_BLOCK_BYTES as u64).read_to_end(&mut chunk)?;
        if chunk.is_empty() {
            return Ok(());
        }
        let length = encoder.compress(&chunk, &mut block).map_err(io::Error::other)?;
        output.write_all(&(length as i32).to_be_bytes())?;
        output.write_all(&block[..length])?;
    }
}

#[cfg(test)]
#[path = "compression_test.rs"]
mod tests;
