//! Looking at a data directory from outside, while no broker uses it: what lies there, whether it is sound, and how it is
//! put in order by hand.
//!
//! `data_file` tells files apart by their names, `folder` data directories and partitions' folders; `segment_dump` and
//! `cache_dump` read single files; `verify` holds a partition against everything that recovery checks; `repair` lets
//! recovery do its work and keeps a copy of all that it changes (`backup`).
//!
//! Owns no rule about what is sound: those are recovery's. Invariant: nothing here but `repair` changes, creates or locks
//! anything, and no bytes make it panic or size an allocation unchecked.

mod backup;
mod cache_dump;
mod data_file;
mod finding;
mod folder;
mod index_check;
mod repair;
mod segment_dump;
mod segment_rewrite;
mod verify;
mod verify_segment;

pub use cache_dump::{
    CheckpointDump, OffsetIndexEntry, SnapshotEntry, TimeIndexEntry, dump_checkpoint, dump_leader_epochs,
    dump_log_start, dump_offset_index, dump_snapshot, dump_time_index, dump_transaction_index,
};
pub use data_file::FileKind;
pub use finding::{Finding, FindingKind};
pub use folder::{Folder, FolderKind, PartitionFolder};
pub use ottla_protocol::records::Record;
pub use repair::{RepairOptions, RepairReport, repair};
pub use segment_dump::{DumpedBatch, DumpedDamage, SegmentItem, SegmentItems, SegmentReader};
pub use verify::{PartitionReport, Progress, VerifyOptions, verify_checkpoints, verify_partition, verify_partitions};

#[cfg(test)]
mod inspect_test;
