//! Processor time, kernel included: of one thread, or of a process with all threads that it has or had. And which
//! processors a benchmark uses for what.

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Processor time of the thread that asks, in nanoseconds' steps.
///
/// # Errors
/// There is no such file: this is no Linux, or one without scheduler statistics.
pub fn of_this_thread() -> Result<Duration> {
    let path = "/proc/thread-self/schedstat";
    let text = std::fs::read_to_string(path).context(path)?;
    let nanos = text.split(' ').next().unwrap_or_default().parse().context(path)?;
    Ok(Duration::from_nanos(nanos))
}

/// Processor time of all threads of a process, in steps of the kernel's tick (10 ms as a rule).
///
/// # Errors
/// There is no such process.
pub fn of_process(id: u32) -> Result<Duration> {
    let path = format!("/proc/{id}/stat");
    let text = std::fs::read_to_string(&path).context(path)?;
    // The second field is the name in parentheses, which may hold spaces; utime and stime are the 14th and 15th.
    let (_, fields) = text.rsplit_once(')').context("no name in stat")?;
    let mut ticks = 0;
    for field in fields.split_whitespace().skip(11).take(2) {
        ticks += field.parse::<u64>()?;
    }
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// Bytes moved, and the time and processor time that it took.
#[derive(Debug, Clone, Copy)]
pub struct Moved {
    /// Bytes on the wire, as far as they are records and what encloses them.
    pub bytes: usize,
    /// Elapsed time.
    pub wall: Duration,
    /// Processor time of whoever served.
    pub cpu: Duration,
}

impl Moved {
    /// 10^6 bytes a second.
    pub fn mb_per_second(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.wall.as_secs_f64()
    }

    /// Processor seconds for 10^9 bytes.
    pub fn cpu_seconds_per_gb(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e9 / self.bytes as f64
    }
}

/// Which processors the load and the servers get: where the scheduler puts both on one, it is the load's luck that is measured.
#[derive(Debug, Clone)]
pub struct Processors {
    load: CpuSet,
    servers: CpuSet,
}

impl Processors {
    /// The first processor for the load, the others for the servers; `None` where there is only one. Keeps the thread that
    /// asks, and what it starts from then on, on the first.
    ///
    /// # Errors
    /// The operating system does not let itself be told.
    pub fn split() -> Result<Option<Self>> {
        let all = sched_getaffinity(None)?;
        let mut usable = (0..CpuSet::MAX_CPU).filter(|&processor| all.is_set(processor));
        let (Some(first), Some(_)) = (usable.next(), usable.next()) else { return Ok(None) };
        let (mut load, mut servers) = (CpuSet::new(), all);
        load.set(first);
        servers.unset(first);
        sched_setaffinity(None, &load)?;
        Ok(Some(Processors { load, servers }))
    }

    /// Keeps the threads and processes that `start` starts on the servers' processors.
    ///
    /// # Errors
    /// Those of `start`, and the operating system's.
    pub fn for_server<T>(&self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        sched_setaffinity(None, &self.servers)?;
        let started = start();
        sched_setaffinity(None, &self.load)?;
        started
    }
}
