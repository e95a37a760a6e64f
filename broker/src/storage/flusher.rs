//! Group commit: one fdatasync serves everybody who waits for the same log.
//!
//! Owns a small pool of threads and the queue of logs that have something to flush. Does not know who waits: a log tells
//! its observer. While a log is being flushed, further requests for it collapse into one more flush after this one, which
//! then covers everything that was appended meanwhile; so the slower the disk, the larger the groups.
//!
//! Invariant: a log stands in the queue at most once, and at most one thread flushes it. A request that is made after an
//! append is followed by a flush that begins after it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use super::log::Log;
use crate::types::Offset;

/// Not in the queue.
const IDLE: u8 = 0;
/// Waits in the queue.
const QUEUED: u8 = 1;
/// A thread flushes it.
const RUNNING: u8 = 2;
/// A thread flushes it, and it was asked for again since that began.
const RUNNING_AGAIN: u8 = 3;

/// The threads that flush.
#[derive(Debug)]
pub struct Flusher {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    logs: VecDeque<Arc<Log>>,
    stopping: bool,
}

impl Flusher {
    /// Starts `threads` threads. So many logs are flushed at once; a disk takes several syncs in the time of one.
    pub fn start(threads: usize) -> Flusher {
        let queue = Arc::new(Queue::default());
        let spawn = |n| {
            let queue = Arc::clone(&queue);
            let thread = std::thread::Builder::new().name(format!("flusher-{n}"));
            thread.spawn(move || run(&queue)).expect("a thread can be started when the broker starts")
        };
        Flusher { threads: Mutex::new((0..threads.max(1)).map(spawn).collect()), queue }
    }

    /// Asks for everything before `up_to` to become durable. Returns at once; the log's observer is told, also when the
    /// flush fails. Nothing happens if it is durable already.
    pub fn request(&self, log: &Arc<Log>, up_to: Offset) {
        if log.offsets().flushed >= up_to {
            return;
        }
        let next = |turn| match turn {
            IDLE => Some(QUEUED),
            RUNNING => Some(RUNNING_AGAIN),
            _ => None,
        };
        if log.flush_turn.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(IDLE) {
            self.queue.push(Arc::clone(log));
        }
    }

    /// Flushes what was asked for, and ends the threads. Requests made later have no effect.
    pub fn stop(&self) {
        self.queue.state.lock().stopping = true;
        self.queue.changed.notify_all();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            // A thread that panics ends the process.
            let _ended = thread.join();
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Queue {
    fn push(&self, log: Arc<Log>) {
        self.state.lock().logs.push_back(log);
        self.changed.notify_one();
    }

    /// Waits for a log; `None` when there is none left and the flusher stops.
    fn pop(&self) -> Option<Arc<Log>> {
        let mut state = self.state.lock();
        loop {
            if let Some(log) = state.logs.pop_front() {
                return Some(log);
            }
            if state.stopping {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }
}

fn run(queue: &Queue) {
    let _guard = AbortOnPanic;
    while let Some(log) = queue.pop() {
        log.flush_turn.store(RUNNING, Ordering::Release);
        if let Err(error) = log.flush() {
            tracing::debug!(%error, "a flush that somebody waits for failed");
        }
        let done = log.flush_turn.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire);
        if done.is_err() {
            log.flush_turn.store(QUEUED, Ordering::Release);
            queue.push(log);
        }
    }
}

/// A flusher that is gone would let every producer wait for ever.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a flusher thread panicked: the process ends");
            std::process::abort();
        }
    }
}

#[cfg(test)]
#[path = "flusher_test.rs"]
mod tests;
