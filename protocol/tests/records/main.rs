//! Record batches against what others wrote and read, against chance, and against malice.

#[path = "../codec/allocations.rs"]
mod allocations;
mod golden;
mod hostile;
mod oracle;
mod round_trip;

use bytes::Bytes;
use ottla_protocol::records::{BatchView, Compression, Record};

/// The compressing codecs.
const CODECS: [Compression; 4] = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
/// Bytes that tests let come out of a decompressor.
const LIMIT: usize = 16 << 20;

fn view(bytes: impl Into<Bytes>) -> BatchView {
    let (batch, rest) = BatchView::split(&bytes.into()).expect("a batch");
    assert!(rest.is_empty());
    batch
}

fn records(batch: &BatchView) -> Vec<Record> {
    batch.records(LIMIT).expect("the codec is known").collect::<Result<_, _>>().expect("sound records")
}
