//! A broker in a process of its own: started on a free port, its processor time and memory read from outside, ended.
//!
//! Owns the child and its data directory. Knows nothing of what is sent to it.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::{cpu, wire};

const START_PATIENCE: Duration = Duration::from_secs(30);
/// Between looks at whether it listens; part of the error of the measured start.
const START_LOOK: Duration = Duration::from_millis(1);

/// A running `ottla serve`; dropping it ends it.
#[derive(Debug)]
pub struct BrokerProcess {
    child: Child,
    address: SocketAddr,
    started: Instant,
    directory: PathBuf,
    /// Where `directory` goes with the process.
    _removed_at_the_end: Option<TempDir>,
}

impl BrokerProcess {
    /// Starts `binary` on an empty directory below `parent`, with `KEY=VALUE` settings, and waits until it says that it is
    /// ready. Without a `binary`, the `ottla` beside the program that asks.
    ///
    /// # Errors
    /// There is no such program, it ends, or it is not ready in 30 seconds.
    pub fn start(binary: Option<&Path>, parent: &Path, settings: &[String]) -> Result<Self> {
        let data = tempfile::tempdir_in(parent)?;
        let mut process = Self::start_on(binary, data.path(), settings, None)?;
        process._removed_at_the_end = Some(data);
        Ok(process)
    }

    /// The same on a directory that stays, which may hold the data of an earlier run, and with at most so many open files.
    ///
    /// # Errors
    /// As [`BrokerProcess::start`].
    pub fn start_on(
        binary: Option<&Path>,
        directory: &Path,
        settings: &[String],
        descriptors: Option<u32>,
    ) -> Result<Self> {
        let binary = match binary {
            Some(binary) => binary.to_owned(),
            None => std::env::current_exe()?.with_file_name("ottla"),
        };
        ensure!(binary.is_file(), "{} is no file; build it or pass --binary", binary.display());
        let port_file = directory.join("address");
        // Left behind by a broker that was killed.
        let _nothing_there = std::fs::remove_file(&port_file);
        let mut command = match descriptors {
            None => Command::new(&binary),
            Some(descriptors) => {
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"")).arg(&binary);
                shell
            }
        };
        command.args(["serve", "--quiet", "--listen", "127.0.0.1:0", "--port-file"]).arg(&port_file);
        command.arg("--data-dir").arg(directory.join("data"));
        for setting in settings {
            command.args(["--set", setting]);
        }
        let started = Instant::now();
        let mut child = command
            .env("OTTLA_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("start {}", binary.display()))?;
        loop {
            let text = std::fs::read_to_string(&port_file).unwrap_or_default();
            if let Some(address) = text.strip_suffix('\n').and_then(|line| line.parse().ok()) {
                return Ok(Self {
                    child,
                    address,
                    started,
                    directory: directory.to_owned(),
                    _removed_at_the_end: None,
                });
            }
            if let Some(status) = child.try_wait()? {
                bail!("{} ended with {status}", binary.display());
            }
            if started.elapsed() > START_PATIENCE {
                child.kill()?;
                child.wait()?;
                bail!("{} was not ready after {START_PATIENCE:?}", binary.display());
            }
            std::thread::sleep(START_LOOK);
        }
    }

    /// Ends it as a user does, and tells how long that took.
    ///
    /// # Errors
    /// It does not end with success.
    pub fn stop(mut self) -> Result<Duration> {
        let asked = Instant::now();
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the broker ended with {status}");
        Ok(asked.elapsed())
    }

    /// Files and sockets that it has open.
    ///
    /// # Errors
    /// It has ended.
    pub fn descriptors(&self) -> Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    /// Asks it what it speaks, and tells how long after the start of the process the answer was there.
    ///
    /// # Errors
    /// It does not answer.
    pub fn first_answer(&self) -> Result<Duration> {
        wire::ask_versions(&mut self.connect()?)?;
        Ok(self.started.elapsed())
    }

    /// Where it keeps its data.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new connection to it.
    ///
    /// # Errors
    /// It takes none.
    pub fn connect(&self) -> Result<TcpStream> {
        wire::connect(self.address)
    }

    /// Processor time of all its threads so far.
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu(&self) -> Result<Duration> {
        cpu::of_process(self.child.id())
    }

    /// Resident memory now, in bytes. Pages of files that are mapped count, the page cache does not.
    ///
    /// # Errors
    /// It has ended.
    pub fn resident_bytes(&self) -> Result<u64> {
        self.status("VmRSS:")
    }

    /// The most resident memory that it ever had, in bytes, as the kernel keeps it.
    ///
    /// # Errors
    /// It has ended.
    pub fn resident_bytes_peak(&self) -> Result<u64> {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(&path).context(path)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
