//! A real `ottla` process: found or built, started on a free port, stopped or killed, measured from outside.
//!
//! Owns the child and, unless one was passed in, its data directory; dropping kills the child.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::wait::{PATIENCE, wait_for};

/// The `ottla` binary of this build: `OTTLA_BIN` if set, else built by the same cargo in the same profile.
pub fn ottla_binary() -> Result<&'static Path> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = BINARY.get_or_init(|| find_binary().map_err(|error| format!("{error:#}")));
    found.as_deref().map_err(|error| anyhow!("no ottla binary: {error}"))
}

fn find_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("OTTLA_BIN") {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "OTTLA_BIN is {}, which is no file", path.display());
        return Ok(path);
    }
    let executable = std::env::current_exe()?;
    let mut profile_dir = executable.parent().context("an executable has a directory")?;
    if profile_dir.ends_with("deps") {
        profile_dir = profile_dir.parent().context("deps lies in the profile's directory")?;
    }
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(name) => name,
        None => bail!("{} is not in a target directory", executable.display()),
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "-p", "ottla", "--profile", profile, "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .status()
        .context("run cargo")?;
    ensure!(built.success(), "cargo build -p ottla: {built}");
    let binary = profile_dir.join("ottla");
    ensure!(binary.is_file(), "cargo built no {}", binary.display());
    Ok(binary)
}

/// How a process is started.
#[derive(Debug, Clone, Default)]
pub struct OttlaOptions {
    /// Where its data lies; a temporary directory of its own if `None`.
    pub data_dir: Option<PathBuf>,
    /// Configuration keys and values, passed with `--set`.
    pub settings: Vec<(String, String)>,
    /// The port of an earlier run; a free one if `None`.
    pub port: Option<u16>,
    /// The limit on its open files; that of the test if `None`.
    pub descriptors: Option<u32>,
}

/// A running `ottla serve`.
#[derive(Debug)]
pub struct OttlaProcess {
    child: Child,
    address: SocketAddr,
    data_dir: PathBuf,
    _own_dir: Option<tempfile::TempDir>,
    output: Arc<Mutex<String>>,
}

impl OttlaProcess {
    /// Starts a process and waits until it takes connections.
    pub fn start(options: OttlaOptions) -> Result<Self> {
        let own_dir = if options.data_dir.is_none() { Some(tempfile::tempdir()?) } else { None };
        let data_dir = match (&options.data_dir, &own_dir) {
            (Some(path), _) => path.clone(),
            (None, Some(own)) => own.path().join("data"),
            (None, None) => bail!("neither a data directory nor one of its own"),
        };
        let port = match options.port {
            Some(port) => port,
            None => free_port()?,
        };
        let address: SocketAddr = ([127, 0, 0, 1], port).into();
        let mut command = match options.descriptors {
            None => Command::new(ottla_binary()?),
            Some(descriptors) => {
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"")).arg(ottla_binary()?);
                shell
            }
        };
        // It is for this harness; the broker would take it for a configuration key.
        command.env_remove("OTTLA_BIN");
        command.arg("serve").arg("--data-dir").arg(&data_dir).arg("--listen").arg(address.to_string());
        for (key, value) in &options.settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let output = Arc::new(Mutex::new(String::new()));
        if let Some(stdout) = child.stdout.take() {
            collect(stdout, Arc::clone(&output));
        }
        if let Some(stderr) = child.stderr.take() {
            collect(stderr, Arc::clone(&output));
        }
        let mut process = Self { child, address, data_dir, _own_dir: own_dir, output };
        wait_for("the process takes connections", PATIENCE, || {
            if let Some(status) = process.child.try_wait()? {
                bail!("ottla ended with {status}:\n{}", process.output());
            }
            Ok(TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok())
        })?;
        Ok(process)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its data lies.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to its standard streams so far.
    pub fn output(&self) -> String {
        self.output.lock().map(|text| text.clone()).unwrap_or_default()
    }

    /// Memory and descriptors in use now.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.id())
    }

    /// True while the process runs.
    pub fn is_alive(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Kills it without a chance to clean up.
    pub fn kill(mut self) -> Result<ExitStatus> {
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// Asks it to stop and waits for it.
    pub fn terminate(mut self) -> Result<ExitStatus> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        wait_for("the process ends", PATIENCE, || Ok(self.child.try_wait()?))
    }
}

impl Drop for OttlaProcess {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(stream: impl Read + Send + 'static, output: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if let Ok(mut output) = output.lock() {
                output.push_str(&line);
                output.push('\n');
            }
        }
    });
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Lets this process, and those that it starts from now on, have as many descriptors as the system allows; returns how many.
pub fn raise_descriptor_limit() -> Result<usize> {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)?;
    Ok(limit.current.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX))
}

/// What a process holds, as Linux counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Highest resident memory since its start, in bytes.
    pub resident_bytes_max: u64,
    /// Open file descriptors.
    pub descriptors: usize,
}

impl Usage {
    /// The usage of the process `id`.
    pub fn of(id: u32) -> Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let kibibytes = |field: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).with_context(|| field.to_owned())?;
            Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? * 1024)
        };
        Ok(Self {
            resident_bytes: kibibytes("VmRSS:")?,
            resident_bytes_max: kibibytes("VmHWM:")?,
            descriptors: std::fs::read_dir(format!("/proc/{id}/fd"))?.count(),
        })
    }
}
