//! Puts another codec around the records of a batch.
//!
//! The bytes of the records stay as they are, so that nothing in them that we do not interpret can change. They pass from the
//! decompressor to the compressor in pieces: memory holds the result at most, however large the records are in between.

use std::io::{self, Write};

use super::batch::{BatchView, HEADER_BYTES};
use super::check::BatchSummary;
use super::compression::{Compression, gzip_level, lz4_encoder, write_xerial};
use super::decoder::{Decoder, decompression_error};
use super::error::BatchError;

impl BatchView {
    /// The records under the codec `to`, at its `level` (`None` for its default), in at most `limit` bytes. `summary` is what
    /// [`BatchView::check_records`] made of this batch.
    ///
    /// # Errors
    /// They take more bytes, or are not those of the summary.
    pub fn recompress(
        &self,
        to: Compression,
        level: Option<i32>,
        summary: &BatchSummary,
        limit: usize,
    ) -> Result<Vec<u8>, BatchError> {
        let from = self.compression()?;
        let size = usize::try_from(summary.records_bytes).unwrap_or(usize::MAX);
        let decoder = Decoder::new(from, &self.bytes()[HEADER_BYTES..], size);
        let output = Capped { bytes: Vec::new(), limit, size: 0 };
        let output = compress(to, level, decoder, summary.records_bytes, output)
            .map_err(|error| decompression_error(from, size, &error))?;
        if output.size > limit {
            return Err(BatchError::TooLargeCompressed { size: output.size, limit });
        }
        Ok(output.bytes)
    }
}

fn compress(
    codec: Compression,
    level: Option<i32>,
    mut records: Decoder<'_>,
    size: u64,
    mut output: Capped,
) -> io::Result<Capped> {
    match codec {
        Compression::None => {
            io::copy(&mut records, &mut output)?;
            Ok(output)
        }
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(output, gzip_level(level));
            io::copy(&mut records, &mut encoder)?;
            encoder.finish()
        }
        Compression::Snappy => {
            write_xerial(records, &mut output)?;
            Ok(output)
        }
        Compression::Lz4 => {
            let mut encoder = lz4_encoder(output);
            io::copy(&mut records, &mut encoder)?;
            encoder.finish().map_err(io::Error::other)
        }
        Compression::Zstd => {
            let mut encoder =
                zstd::stream::write::Encoder::new(output, level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL))?;
            // High levels reserve a large window unless they know that it will not fill.
            encoder.set_pledged_src_size(Some(size))?;
            io::copy(&mut records, &mut encoder)?;
            encoder.finish()
        }
    }
}

/// Keeps what is within the limit and counts the rest.
struct Capped {
    bytes: Vec<u8>,
    limit: usize,
    size: usize,
}

impl Write for Capped {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.size += piece.len();
        let kept = piece.len().min(self.limit - self.bytes.len());
        self.bytes.extend_from_slice(&piece[..kept]);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{BatchBuilder, BatchFields, OffsetDeltas};

    const CODECS: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    fn batch(compression: Compression) -> (BatchView, BatchSummary) {
        let mut builder = BatchBuilder::new();
        for index in 0..4_000_i64 {
            builder.append(index, Some(&index.to_be_bytes()), Some(b"a value that takes some bytes"), &[]);
        }
        let bytes = builder.build(&BatchFields { compression, ..BatchFields::default() }).unwrap();
        let (view, _) = BatchView::split(&bytes).unwrap();
        let summary = view.check_records(OffsetDeltas::Dense, 1 << 20, |_| {}).unwrap();
        (view, summary)
    }

    #[test]
    fn the_bytes_of_the_records_stay_the_same_under_every_codec() {
        let plain = batch(Compression::None).0.payload();
        for from in CODECS {
            let (view, summary) = batch(from);
            for to in CODECS {
                let compressed = view.recompress(to, None, &summary, 1 << 20).unwrap();
                assert_eq!(to.decompress(&compressed, 1 << 20).unwrap(), plain, "{from} to {to}");
            }
        }
    }

    #[test]
    fn a_result_over_the_limit_is_counted_and_not_kept() {
        let (view, summary) = batch(Compression::Zstd);
        for to in CODECS {
            let size = view.recompress(to, None, &summary, 1 << 20).unwrap().len();
            assert_eq!(view.recompress(to, None, &summary, size).unwrap().len(), size);
            let refused = view.recompress(to, None, &summary, size - 1);
            assert_eq!(refused, Err(BatchError::TooLargeCompressed { size, limit: size - 1 }), "{to}");
        }
    }

    #[test]
    fn every_level_that_a_topic_may_have_is_taken() {
        let (view, summary) = batch(Compression::None);
        let levels = [(Compression::Gzip, vec![-1, 1, 9]), (Compression::Zstd, vec![-131_072, 1, 22])];
        for (to, levels) in levels {
            for level in levels {
                let compressed = view.recompress(to, Some(level), &summary, 1 << 20).unwrap();
                assert_eq!(to.decompress(&compressed, 1 << 20).unwrap(), view.payload(), "{to}, level {level}");
            }
        }
    }
}
