//! Bytes that cannot be read go to the quarantine folder; only then are they cut from the log.

use std::path::{Path, PathBuf};

use super::Recovery;
use crate::storage::error::StorageError;
use crate::storage::segment::{extension, segment_path};
use crate::storage::vfs::{Access, VfsFile, keep_modified, parent, read_exact_at, write_all_at};

const COPY_BLOCK_BYTES: usize = 1 << 20;

impl Recovery<'_> {
    /// Cuts the file at `position`, after what lies behind was copied. Durable when it returns.
    pub(super) fn cut(
        &mut self,
        path: &Path,
        file: &dyn VfsFile,
        position: u64,
        size_bytes: u64,
        modified_ms: Option<i64>,
    ) -> Result<(), StorageError> {
        let to = self.quarantine_path(path, position)?;
        tracing::warn!(log = %self.topic_partition, position, bytes = size_bytes - position, quarantined = %to.display(), "the log ends in bytes that are no batch: cut off");
        let copy = self.vfs().open(&to, Access::CreateOrKeep).map_err(StorageError::io("create", &to))?;
        let mut block = vec![0; COPY_BLOCK_BYTES.min((size_bytes - position) as usize)];
        let mut done = position;
        while done < size_bytes {
            let len = block.len().min((size_bytes - done) as usize);
            read_exact_at(file, &mut block[..len], done).map_err(StorageError::io("read", path))?;
            write_all_at(&*copy, &block[..len], &[], done - position).map_err(StorageError::io("write", &to))?;
            done += len as u64;
        }
        copy.sync_data().map_err(StorageError::io("sync", &to))?;
        self.vfs().sync_dir(&self.context.quarantine).map_err(StorageError::io("sync", &self.context.quarantine))?;
        file.set_len(position).map_err(StorageError::io("cut", path))?;
        keep_modified(self.vfs(), path, modified_ms);
        file.sync_data().map_err(StorageError::io("sync", path))?;
        self.report.cut_bytes += size_bytes - position;
        self.report.quarantined.push(to);
        Ok(())
    }

    /// Moves the segments behind `at`, none of which holds a good batch, out of the way; empty ones are removed.
    pub(super) fn quarantine_segments_behind(&mut self, at: usize) -> Result<(), StorageError> {
        for segment in self.segments.split_off(at + 1) {
            let path = segment_path(self.dir, segment.base, extension::LOG);
            if segment.sizes.log_bytes == 0 {
                self.vfs().remove_file(&path).map_err(StorageError::io("remove", &path))?;
            } else {
                let to = self.quarantine_path(&path, 0)?;
                tracing::warn!(log = %self.topic_partition, segment = %path.display(), quarantined = %to.display(), "a segment holds no batch: moved away");
                self.vfs().rename(&path, &to).map_err(StorageError::io("move", &path))?;
                self.vfs()
                    .sync_dir(&self.context.quarantine)
                    .map_err(StorageError::io("sync", &self.context.quarantine))?;
                self.report.cut_bytes += segment.sizes.log_bytes;
                self.report.quarantined.push(to);
            }
            let indexes = [extension::OFFSET_INDEX, extension::TIME_INDEX, extension::TRANSACTION_INDEX];
            self.remove_beside(segment.base, &indexes)?;
            self.dir_is_dirty = true;
        }
        Ok(())
    }

    /// A name that says where the bytes were, and is not taken.
    fn quarantine_path(&self, path: &Path, position: u64) -> Result<PathBuf, StorageError> {
        let quarantine = &self.context.quarantine;
        if !self.vfs().exists(quarantine).map_err(StorageError::io("look for", quarantine))? {
            self.vfs().create_dir(quarantine).map_err(StorageError::io("create", quarantine))?;
            let parent = parent(quarantine);
            self.vfs().sync_dir(parent).map_err(StorageError::io("sync", parent))?;
        }
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let mut attempt = 0;
        loop {
            let name = format!("{}.{file}.{position}.{}.{attempt}", self.topic_partition, self.now_ms);
            let candidate = quarantine.join(name);
            if !self.vfs().exists(&candidate).map_err(StorageError::io("look for", &candidate))? {
                return Ok(candidate);
            }
            attempt += 1;
        }
    }
}
