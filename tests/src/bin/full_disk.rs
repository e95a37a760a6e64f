//! Plays the story of a full disk to a broker process whose data lies on a small file system, which it fills and frees.
//!
//! `full-disk DIRECTORY`: the directory is one on a file system of at most 1 GiB that holds nothing else; see
//! `tests/full_disk/run`, which makes one.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use ottla_tests::full_disk::{SmallDisk, play};
use ottla_tests::process::{OttlaOptions, OttlaProcess};

/// Whatever is larger is not meant to be filled.
const DISK_BYTES_MAX: u64 = 1 << 30;
/// The reserve's part of the disk.
const RESERVE_PART: u64 = 4;

struct FileSystem {
    directory: PathBuf,
}

impl FileSystem {
    fn total_bytes(&self) -> Result<u64> {
        let stat = rustix::fs::statvfs(&self.directory)?;
        Ok(stat.f_blocks * stat.f_frsize)
    }

    fn ballast(&self) -> PathBuf {
        self.directory.join("ballast")
    }
}

impl SmallDisk for FileSystem {
    fn free_bytes(&self) -> Result<u64> {
        let stat = rustix::fs::statvfs(&self.directory)?;
        Ok(stat.f_bavail * stat.f_frsize)
    }

    fn take_all(&mut self) -> Result<()> {
        let mut ballast = std::fs::File::create(self.ballast())?;
        for chunk_bytes in [1 << 20, 1 << 12, 1] {
            let chunk = vec![0; chunk_bytes];
            loop {
                match ballast.write(&chunk) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("fill the disk"),
                }
            }
        }
        ensure!(self.free_bytes()? == 0, "{} bytes are left on the full disk", self.free_bytes()?);
        Ok(())
    }

    fn give_back(&mut self) -> Result<()> {
        Ok(std::fs::remove_file(self.ballast())?)
    }
}

fn main() -> Result<()> {
    let directory = PathBuf::from(std::env::args_os().nth(1).context("usage: full-disk DIRECTORY")?);
    let mut disk = FileSystem { directory };
    let total_bytes = disk.total_bytes()?;
    ensure!(total_bytes <= DISK_BYTES_MAX, "a file system of {total_bytes} bytes is too large to be filled by a test");
    let reserve_bytes = total_bytes / RESERVE_PART;
    let options = OttlaOptions {
        data_dir: Some(disk.directory.join("data")),
        settings: vec![("log.reserve.bytes".to_owned(), reserve_bytes.to_string())],
        ..OttlaOptions::default()
    };
    let process = OttlaProcess::start(options)?;
    play(process.address(), &mut disk, reserve_bytes)
        .with_context(|| format!("the broker says:\n{}", process.output()))?;
    let ended = process.terminate()?;
    ensure!(ended.success(), "the broker ended with {ended}");
    println!("a disk of {total_bytes} bytes was full, and is served again");
    Ok(())
}
