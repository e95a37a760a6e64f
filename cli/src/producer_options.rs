//! What several commands let a user choose about a producer.
//!
//! Owns the flags, their words and their defaults; what they do is the client's.

use std::time::Duration;

use clap::{Args, ValueEnum};

use ottla_client::{Acks, Compression, ProducerConfig};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AcksArgument {
    /// Wait for nothing; errors go unnoticed
    #[value(name = "0")]
    None,
    /// Wait until the broker has the record in memory
    #[value(name = "1")]
    Leader,
    /// Wait until the record is as durable as the topic promises
    #[value(name = "all", alias = "-1")]
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompressionArgument {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// How records are gathered and sent.
#[derive(Debug, Args)]
pub(crate) struct ProducerOptions {
    /// The codec of the batches
    #[arg(short = 'z', long, value_enum, default_value_t = CompressionArgument::None)]
    pub(crate) compression: CompressionArgument,
    /// What to wait for
    #[arg(short, long, value_enum, default_value_t = AcksArgument::All)]
    pub(crate) acks: AcksArgument,
    /// How long a batch waits for more records
    #[arg(long, value_name = "MS", default_value_t = 5)]
    pub(crate) linger_ms: u64,
    /// The largest batch, before compression
    #[arg(long, value_name = "BYTES", default_value_t = 1_000_000)]
    pub(crate) batch_bytes: usize,
}

impl ProducerOptions {
    /// Sets what was chosen.
    pub(crate) fn apply(&self, config: &mut ProducerConfig) {
        self.acks.apply(config);
        config.compression = match self.compression {
            CompressionArgument::None => Compression::None,
            CompressionArgument::Gzip => Compression::Gzip,
            CompressionArgument::Snappy => Compression::Snappy,
            CompressionArgument::Lz4 => Compression::Lz4,
            CompressionArgument::Zstd => Compression::Zstd,
        };
        config.linger = Duration::from_millis(self.linger_ms);
        config.batch_bytes = self.batch_bytes;
    }
}

impl AcksArgument {
    /// Sets what to wait for. Only who waits for all can have repetitions dropped.
    pub(crate) fn apply(self, config: &mut ProducerConfig) {
        config.acks = match self {
            AcksArgument::None => Acks::None,
            AcksArgument::Leader => Acks::Leader,
            AcksArgument::All => Acks::All,
        };
        config.enable_idempotence = self == AcksArgument::All;
    }
}
