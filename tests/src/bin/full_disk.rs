//! Plays the story of a full disk to a broker process whose data lies on a small file system, which it fills and frees.
//!
//! `full-disk DIRECTORY`: the directory is one on a file system of at most 1 GiB that holds nothing else; see
//! `tests/full_disk/run`, which makes one.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use ottla_tests::full_disk::{SmallDisk, check_after_kill, fill_again, play};
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
    let disk = FileSystem { directory };
    let total_bytes = disk.total_bytes()?;
    ensure!(total_bytes <= DISK_BYTES_MAX, "a file system of {total_bytes} bytes is too large to be filled by a test");
    let reserve_bytes = total_bytes / RESERVE_PART;
    let start = || {
        OttlaProcess::start(OttlaOptions {
            data_dir: Some(disk.directory.join("data")),
            settings: vec![
                ("log.reserve.bytes".to_owned(), reserve_bytes.to_string()),
                ("offsets.topic.num.partitions".to_owned(), "1".to_owned()),
            ],
            ..OttlaOptions::default()
        })
    };
    let process = start()?;
    let says = |process: &OttlaProcess| format!("the broker says:\n{}", process.output());
    let mut disk = FileSystem { directory: disk.directory.clone() };
    play(process.address(), &mut disk, reserve_bytes).with_context(|| says(&process))?;
    let acknowledged = fill_again(process.address(), &mut disk, reserve_bytes).with_context(|| says(&process))?;
    process.kill()?;
    // A start without any space may be refused, in so many words; it takes nothing away.
    match start() {
        Ok(process) => {
            println!("a broker starts on the full disk");
            process.kill()?;
        }
        Err(refused) => {
            let refused = format!("{refused:#}");
            ensure!(refused.contains("No space left") || refused.contains("no space left"), "{refused}");
            println!("a broker does not start on the full disk");
        }
    }
    disk.give_back()?;
    let process = start()?;
    check_after_kill(process.address(), &acknowledged).with_context(|| says(&process))?;
    let ended = process.terminate()?;
    ensure!(ended.success(), "the broker ended with {ended}");
    println!("a disk of {total_bytes} bytes was full, a broker was killed on it, and it is served again");
    Ok(())
}
