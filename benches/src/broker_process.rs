//! A broker in a process of its own: started on a free port, its processor time and memory read from outside, ended.
//!
//! Owns the child and its data directory. Knows nothing of what is sent to it.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

const START_PATIENCE: Duration = Duration::from_secs(30);
/// Between looks at whether it listens; part of the error of the measured start.
const START_LOOK: Duration = Duration::from_millis(1);

/// A running `ottla serve`; dropping it ends it.
#[derive(Debug)]
pub struct BrokerProcess {
    child: Child,
    address: SocketAddr,
    started: Instant,
    _data: TempDir,
}

impl BrokerProcess {
    /// Starts `binary` on an empty directory below `parent` and waits until it says that it is ready.
    ///
    /// # Errors
    /// It cannot be started, ends, or is not ready in time.
    pub fn start(binary: &Path, parent: &Path, settings: &[String]) -> Result<Self> {
        let data = tempfile::tempdir_in(parent)?;
        let port_file = data.path().join("address");
        let mut command = Command::new(binary);
        command.args(["serve", "--quiet", "--listen", "127.0.0.1:0", "--port-file"]).arg(&port_file);
        command.arg("--data-dir").arg(data.path().join("data"));
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
                return Ok(Self { child, address, started, _data: data });
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

    /// Since the process was started.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new connection to it.
    pub fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Processor time of all its threads, user and kernel, in steps of the kernel's tick (10 ms as a rule).
    pub fn cpu(&self) -> Result<Duration> {
        let path = format!("/proc/{}/stat", self.child.id());
        let text = std::fs::read_to_string(&path)?;
        // The second field is the name in parentheses, which may hold spaces; utime and stime are the 14th and 15th.
        let (_, fields) = text.rsplit_once(')').context("no name in stat")?;
        let mut ticks = 0;
        for field in fields.split_whitespace().skip(11).take(2) {
            ticks += field.parse::<u64>()?;
        }
        Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
    }

    /// Resident memory, in bytes. Pages of files that are mapped count, the page cache does not.
    pub fn resident_bytes(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(&path)?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
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
