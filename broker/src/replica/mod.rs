//! Partitions: a log with its high watermark, its waiters and its durability.
