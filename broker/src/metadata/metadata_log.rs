//! The file that metadata records are kept in: `__cluster_metadata-0/metadata.log` in the data directory.
//!
//! One change of the metadata is one frame: `length uint32, crc uint32 (CRC-32 of the payload), payload`, big-endian; the payload
//! holds the change's records, each one line of JSON. An append is synced before it returns. A rewrite replaces the file by
//! one rename.
//!
//! Invariant: a change is there as a whole or not at all. A frame that a crash tore is the last one and was acknowledged to
//! nobody: it is moved to `quarantine/` and cut off. Damage before a frame that can be read is an error: the broker does not
//! start on half of its metadata.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::metadata_record::MetadataRecord;
use super::partition_folder::QUARANTINE_DIR;
use super::topic_name::CLUSTER_METADATA_TOPIC;
use crate::storage::StorageError;
use crate::storage::vfs::{Access, Vfs, VfsFile, read_file, replace_file, write_all_at};

const FILE_NAME: &str = "metadata.log";
const FRAME_HEADER_BYTES: usize = 8;
/// Far beyond what a broker's topics need; a larger file is damaged.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// The metadata log, open for appending.
#[derive(Debug)]
pub(super) struct MetadataLog {
    vfs: Arc<dyn Vfs>,
    path: PathBuf,
    file: Arc<dyn VfsFile>,
    end: u64,
}

impl MetadataLog {
    /// Opens the log, or makes an empty one. Also returns the values of all records; they are durable.
    pub(super) fn open(vfs: Arc<dyn Vfs>, data_dir: &Path) -> Result<(Self, Vec<Vec<u8>>), StorageError> {
        let dir = data_dir.join(format!("{CLUSTER_METADATA_TOPIC}-0"));
        let path = dir.join(FILE_NAME);
        vfs.create_dir(&dir).map_err(StorageError::io("create", &dir))?;
        vfs.sync_dir(data_dir).map_err(StorageError::io("sync", data_dir))?;
        let file = vfs.open(&path, Access::CreateOrKeep).map_err(StorageError::io("open", &path))?;
        vfs.sync_dir(&dir).map_err(StorageError::io("sync", &dir))?;
        let bytes =
            read_file(&*vfs, &path, FILE_BYTES_MAX).map_err(StorageError::io("read", &path))?.unwrap_or_default();

        let (values, end) = read_frames(&bytes);
        let torn = &bytes[end..];
        if !torn.is_empty() {
            if let Some(at) = (1..torn.len()).find(|at| frame_at(torn, *at).is_some()) {
                let what = format!("the frame at {end} is damaged, while there is a good one at {}", end + at);
                return Err(StorageError::Damaged { path, what });
            }
            quarantine(&*vfs, data_dir, end, torn)?;
            file.set_len(end as u64).map_err(StorageError::io("truncate", &path))?;
        }
        // What was read may have been written, and not synced, by a broker that was killed.
        file.sync_data().map_err(StorageError::io("sync", &path))?;
        Ok((Self { vfs, path, file, end: end as u64 }, values))
    }

    /// Appends the records of one change; they are durable when it returns. After an error the log must not be used any more.
    pub(super) fn append(&mut self, records: &[MetadataRecord]) -> Result<(), StorageError> {
        let frame = encode_frame(records);
        write_all_at(&*self.file, &frame, &[], self.end).map_err(StorageError::io("append to", &self.path))?;
        self.file.sync_data().map_err(StorageError::io("sync", &self.path))?;
        self.end += frame.len() as u64;
        Ok(())
    }

    /// Replaces everything by these records, which make the same metadata; durable when it returns.
    pub(super) fn rewrite(&mut self, records: &[MetadataRecord]) -> Result<(), StorageError> {
        let frame = encode_frame(records);
        replace_file(&*self.vfs, &self.path, &frame).map_err(StorageError::io("rewrite", &self.path))?;
        self.file = self.vfs.open(&self.path, Access::Write).map_err(StorageError::io("open", &self.path))?;
        self.end = frame.len() as u64;
        Ok(())
    }
}

fn encode_frame(records: &[MetadataRecord]) -> Vec<u8> {
    let mut payload = Vec::new();
    for record in records {
        payload.extend_from_slice(&record.encode());
        payload.push(b'\n');
    }
    let len = u32::try_from(payload.len()).expect("the wishes of one request are far below 4 GiB");
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + payload.len());
    frame.extend_from_slice(&len.to_be_bytes());
    frame.extend_from_slice(&crc32fast::hash(&payload).to_be_bytes());
    frame.extend_from_slice(&payload);
    frame
}

/// The values of all records up to the first frame that is not whole, and where that begins.
fn read_frames(bytes: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let (mut values, mut at) = (Vec::new(), 0);
    while let Some(payload) = frame_at(bytes, at) {
        values.extend(payload.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec));
        at += FRAME_HEADER_BYTES + payload.len();
    }
    (values, at)
}

/// The payload of the frame that begins at `at`, if there is a whole one. A payload is never empty, so zeros are none.
fn frame_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let (len, rest) = bytes.get(at..)?.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let payload = rest.get(..usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
    (!payload.is_empty() && crc32fast::hash(payload) == u32::from_be_bytes(*crc)).then_some(payload)
}

fn quarantine(vfs: &dyn Vfs, data_dir: &Path, position: usize, torn: &[u8]) -> Result<(), StorageError> {
    let dir = data_dir.join(QUARANTINE_DIR);
    let path = dir.join(format!("{FILE_NAME}.{position}"));
    vfs.create_dir(&dir).map_err(StorageError::io("create", &dir))?;
    vfs.sync_dir(data_dir).map_err(StorageError::io("sync", data_dir))?;
    replace_file(vfs, &path, torn).map_err(StorageError::io("write", &path))?;
    tracing::warn!(bytes = torn.len(), kept = %path.display(), "the last change of the metadata was torn by a crash: undone");
    Ok(())
}

#[cfg(test)]
#[path = "metadata_log_test.rs"]
mod tests;
