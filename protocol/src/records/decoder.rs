//! Decompressing the records of a batch: always a stream, of bounded output, over bytes in memory.
//!
//! Snappy comes in the framing of xerial's Java library or as one raw block, which librdkafka may write. One gzip member,
//! one LZ4 frame, one zstd frame: what follows is for the caller to refuse (see [`Decoder::unread`]).
//!
//! Invariant: no more than the limit comes out, and no input makes a decoder reserve more than the limit and the window that
//! the codec's format allows (zstd: 128 MiB, and only as it fills).

use std::cell::Cell;
use std::io::{self, Read};

use zstd::zstd_safe::{self, DCtx, InBuffer, OutBuffer, ResetDirective};

use super::compression::Compression;
use super::error::BatchError;

/// A decompressor over bytes in memory.
pub(super) struct Decoder<'a> {
    codec: Codec<'a>,
    /// Bytes that may still come out.
    allowance: usize,
    /// The end was read: the LZ4 decoder would look for another frame behind it.
    ended: bool,
}

enum Codec<'a> {
    None(&'a [u8]),
    Gzip(Box<flate2::bufread::GzDecoder<&'a [u8]>>),
    Snappy(SnappyReader<'a>),
    Lz4(Box<lz4_flex::frame::FrameDecoder<WatchedInput<'a>>>),
    Zstd(ZstdReader<'a>),
}

/// What to say of a batch whose decoder failed with `error`.
pub(super) fn decompression_error(codec: Compression, limit: usize, error: &io::Error) -> BatchError {
    match error.kind() {
        io::ErrorKind::FileTooLarge => BatchError::TooLargeDecompressed { limit },
        _ => BatchError::Decompression { codec, reason: error.to_string() },
    }
}

impl<'a> Decoder<'a> {
    /// Decompresses `compressed`. Fails with [`io::ErrorKind::FileTooLarge`] once more than `limit` bytes come out.
    pub(super) fn new(codec: Compression, compressed: &'a [u8], limit: usize) -> Self {
        let codec = match codec {
            Compression::None => Codec::None(compressed),
            Compression::Gzip => Codec::Gzip(Box::new(flate2::bufread::GzDecoder::new(compressed))),
            Compression::Snappy => Codec::Snappy(SnappyReader::new(compressed, limit)),
            Compression::Lz4 => {
                let input = WatchedInput { rest: compressed, read_past_end: false };
                Codec::Lz4(Box::new(lz4_flex::frame::FrameDecoder::new(input)))
            }
            Compression::Zstd => Codec::Zstd(ZstdReader::new(compressed)),
        };
        Self { codec, allowance: limit, ended: false }
    }

    /// Bytes of the input behind what was decompressed; to be asked after the end was read.
    pub(super) fn unread(&self) -> usize {
        match &self.codec {
            Codec::None(rest) => rest.len(),
            Codec::Gzip(decoder) => decoder.get_ref().len(),
            Codec::Snappy(reader) => reader.input.len(),
            Codec::Lz4(decoder) => decoder.get_ref().rest.len(),
            Codec::Zstd(reader) => reader.input.len(),
        }
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended {
            return Ok(0);
        }
        let count = match &mut self.codec {
            Codec::None(rest) => rest.read(buffer)?,
            Codec::Gzip(decoder) => decoder.read(buffer)?,
            Codec::Snappy(reader) => reader.read(buffer)?,
            Codec::Lz4(decoder) => match decoder.read(buffer)? {
                0 if !buffer.is_empty() && decoder.get_ref().read_past_end => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                count => count,
            },
            Codec::Zstd(reader) => reader.read(buffer)?,
        };
        self.ended = count == 0 && !buffer.is_empty();
        self.allowance = self.allowance.checked_sub(count).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(count)
    }
}

/// Input that remembers whether more was wanted than there is: the LZ4 decoder takes the end of its input for the end of the
/// frame, even where the frame's own end mark is missing.
struct WatchedInput<'a> {
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
pub(super) const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
pub(super) const XERIAL_HEADER_BYTES: usize = 16;
/// No snappy block grows more than this: its densest element makes 64 bytes out of 3.
const SNAPPY_RATIO_MAX: usize = 22;

/// Reads snappy block by block.
struct SnappyReader<'a> {
    input: &'a [u8],
    framed: bool,
    limit: usize,
    block: Vec<u8>,
    taken: usize,
}

impl<'a> SnappyReader<'a> {
    fn new(compressed: &'a [u8], limit: usize) -> Self {
        let framed = compressed.len() >= XERIAL_HEADER_BYTES && compressed.starts_with(&XERIAL_MAGIC);
        let input = if framed { &compressed[XERIAL_HEADER_BYTES..] } else { compressed };
        Self { input, framed, limit, block: Vec::new(), taken: 0 }
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
        if decompressed > self.limit {
            return Err(io::ErrorKind::FileTooLarge.into());
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

/// Memory that a thread keeps for its next batch; what a larger window needs beyond it goes back at once.
const KEPT_CONTEXT_BYTES_MAX: usize = 4 << 20;

thread_local! {
    /// Making one costs as much as decompressing a small batch.
    static ZSTD_CONTEXT: Cell<Option<DCtx<'static>>> = const { Cell::new(None) };
}

/// Reads one zstd frame.
struct ZstdReader<'a> {
    input: &'a [u8],
    /// `None` once it has gone back to the thread.
    context: Option<DCtx<'static>>,
    finished: bool,
}

impl<'a> ZstdReader<'a> {
    fn new(compressed: &'a [u8]) -> Self {
        let context = ZSTD_CONTEXT.take().unwrap_or_else(DCtx::create);
        Self { input: compressed, context: Some(context), finished: false }
    }
}

impl Read for ZstdReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.finished || buffer.is_empty() {
            return Ok(0);
        }
        let context = self.context.as_mut().expect("it goes back when the reader is dropped");
        let mut output = OutBuffer::around(buffer);
        loop {
            let mut input = InBuffer::around(self.input);
            let to_come = context
                .decompress_stream(&mut output, &mut input)
                .map_err(|code| io::Error::other(zstd_safe::get_error_name(code)))?;
            let used = input.pos();
            self.input = &self.input[used..];
            self.finished = to_come == 0;
            if self.finished || output.pos() > 0 {
                return Ok(output.pos());
            }
            if used == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

impl Drop for ZstdReader<'_> {
    fn drop(&mut self) {
        let Some(mut context) = self.context.take() else { return };
        if context.sizeof() <= KEPT_CONTEXT_BYTES_MAX && context.reset(ResetDirective::SessionOnly).is_ok() {
            ZSTD_CONTEXT.set(Some(context));
        }
    }
}
