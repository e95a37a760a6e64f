//! Ends connections that stand still: one look at all of them twice a second instead of timers in each.
//!
//! Owns the table of connections and, for each, since when it has been in the state that it shows. Decides, but does not
//! close: the connection is ordered to. Invariant: a connection that waits for this broker (memory aside) is never ended
//! for being slow.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::close::Close;
use super::connection_state::{Activity, ConnectionState, Order};
use super::limits::{HALF_CLOSED_MAX, NetLimits, RECEIVE_RATE_MIN, WRITE_STALL_MAX, WRITE_STALL_MAX_UNDER_PRESSURE};
use crate::config::BrokerConfig;
use crate::metrics::ConnectionClose;

/// All connections.
#[derive(Debug, Default)]
pub(super) struct ConnectionTable {
    inner: Mutex<Inner>,
    /// Told when the last connection ends.
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    connections: HashMap<u64, Entry>,
    per_address: HashMap<IpAddr, usize>,
    next_id: u64,
}

#[derive(Debug)]
struct Entry {
    state: Arc<ConnectionState>,
    address: IpAddr,
    watch: Watch,
}

/// How many connections there may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionLimits {
    pub(super) all: usize,
    pub(super) of_address: usize,
}

impl ConnectionLimits {
    /// What the configuration allows for a connection from `address`.
    pub(super) fn of(config: &BrokerConfig, address: IpAddr) -> Self {
        let of_address =
            config.max_connections_per_ip_overrides.get(&address).unwrap_or(&config.max_connections_per_ip);
        let count = |number: i32| usize::try_from(number).unwrap_or(0);
        ConnectionLimits { all: count(config.max_connections), of_address: count(*of_address) }
    }
}

/// A place in the table, given back when it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionPlace {
    table: Arc<ConnectionTable>,
    id: u64,
    pub(super) state: Arc<ConnectionState>,
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let mut inner = self.table.inner.lock();
        let Some(entry) = inner.connections.remove(&self.id) else { return };
        if let Some(count) = inner.per_address.get_mut(&entry.address) {
            *count -= 1;
            if *count == 0 {
                inner.per_address.remove(&entry.address);
            }
        }
        if inner.connections.is_empty() {
            self.table.emptied.notify_waiters();
        }
    }
}

impl ConnectionTable {
    /// Takes a place for a connection from `address`, at `now` on the monotonic clock.
    ///
    /// # Errors
    /// There are as many connections as allowed.
    pub(super) fn enter(
        self: &Arc<Self>,
        address: IpAddr,
        limits: ConnectionLimits,
        now: Duration,
    ) -> Result<ConnectionPlace, Close> {
        let mut inner = self.inner.lock();
        if inner.connections.len() >= limits.all {
            let why = format!("there are {} connections already (max.connections)", limits.all);
            return Err(Close::new(ConnectionClose::TooMany, why));
        }
        let of_address = inner.per_address.entry(address).or_default();
        if *of_address >= limits.of_address {
            let why = format!("there are {of_address} connections of this address already (max.connections.per.ip)");
            if *of_address == 0 {
                inner.per_address.remove(&address);
            }
            return Err(Close::new(ConnectionClose::TooMany, why));
        }
        *of_address += 1;
        let id = inner.next_id;
        inner.next_id += 1;
        let state = Arc::new(ConnectionState::default());
        inner.connections.insert(id, Entry { state: Arc::clone(&state), address, watch: Watch::new(now) });
        Ok(ConnectionPlace { table: Arc::clone(self), id, state })
    }

    /// Connections open now.
    pub(super) fn len(&self) -> usize {
        self.inner.lock().connections.len()
    }

    /// Orders every connection that has stood still for too long to end, and wakes those that may have missed something: room
    /// for answers, or that the client left. `pressure`: answers fill their memory.
    pub(super) fn reap(&self, limits: &NetLimits, now: Duration, pressure: bool) {
        let mut wake = Vec::new();
        for entry in self.inner.lock().connections.values_mut() {
            let activity = entry.state.activity();
            if let Some(close) = entry.watch.judge(&activity, limits, now, pressure) {
                wake.push((Arc::clone(&entry.state), Some(close)));
            } else if activity.held_back || activity.deaf {
                wake.push((Arc::clone(&entry.state), None));
            }
        }
        // Without the lock: a connection that ends takes it.
        for (state, close) in wake {
            match close {
                Some(close) => state.give(Order::Close(close)),
                None => state.wake(),
            }
        }
    }

    /// Gives every connection an order.
    pub(super) fn order_all(&self, order: &Order) {
        let states: Vec<_> = self.inner.lock().connections.values().map(|entry| Arc::clone(&entry.state)).collect();
        for state in states {
            state.give(order.clone());
        }
    }

    /// Waits until there are no connections.
    pub(super) async fn emptied(&self) {
        loop {
            let mut emptied = std::pin::pin!(self.emptied.notified());
            emptied.as_mut().enable();
            if self.len() == 0 {
                return;
            }
            emptied.await;
        }
    }
}

/// Since when a connection has been as it is.
#[derive(Debug)]
struct Watch {
    last: Activity,
    idle_since: Duration,
    sending_since: Duration,
    memory_since: Duration,
    half_closed_since: Duration,
    byte_since: Duration,
    window_since: Duration,
    window_bytes: u64,
}

impl Watch {
    fn new(now: Duration) -> Self {
        Watch {
            last: Activity::default(),
            idle_since: now,
            sending_since: now,
            memory_since: now,
            half_closed_since: now,
            byte_since: now,
            window_since: now,
            window_bytes: 0,
        }
    }

    /// Takes note of what the connection shows, and says why it is to end, if it is.
    fn judge(&mut self, activity: &Activity, limits: &NetLimits, now: Duration, pressure: bool) -> Option<Close> {
        let last = std::mem::replace(&mut self.last, *activity);
        let moved_in = activity.bytes_in != last.bytes_in;
        let moved_out = activity.bytes_out != last.bytes_out;
        let busy = activity.receiving || activity.waiting_for_memory || activity.sending || activity.serving;
        if moved_in || moved_out || busy {
            self.idle_since = now;
        }
        if moved_out || !activity.sending {
            self.sending_since = now;
        }
        if !activity.waiting_for_memory || moved_in {
            self.memory_since = now;
        }
        if !activity.half_closed {
            self.half_closed_since = now;
        }
        if moved_in || !activity.receiving {
            self.byte_since = now;
        }
        let same_frame = activity.receiving && last.receiving && activity.frames_in == last.frames_in;
        if !same_frame {
            self.begin_window(activity.bytes_in, now);
        }
        self.judge_receiving(activity, limits, now)
            .or_else(|| self.judge_waits(activity, limits, now, pressure))
            .or_else(|| self.judge_idle(limits, now))
    }

    fn begin_window(&mut self, bytes_in: u64, now: Duration) {
        self.window_since = now;
        self.window_bytes = bytes_in;
    }

    fn judge_receiving(&mut self, activity: &Activity, limits: &NetLimits, now: Duration) -> Option<Close> {
        let timeout = limits.receive_timeout;
        let silent = now.saturating_sub(self.byte_since);
        if activity.receiving && silent >= timeout {
            let why = format!("a request was begun and not a byte of it came in {} s", silent.as_secs());
            return Some(Close::new(ConnectionClose::Stalled, why));
        }
        let window = now.saturating_sub(self.window_since);
        if activity.receiving && window >= timeout {
            let came = activity.bytes_in - self.window_bytes;
            let least = RECEIVE_RATE_MIN * window.as_secs();
            if came < least {
                let seconds = window.as_secs();
                let why = format!("{came} bytes of a request came in {seconds} s, {least} are the least");
                return Some(Close::new(ConnectionClose::Stalled, why));
            }
            self.begin_window(activity.bytes_in, now);
        }
        None
    }

    fn judge_waits(&self, activity: &Activity, limits: &NetLimits, now: Duration, pressure: bool) -> Option<Close> {
        let starved = now.saturating_sub(self.memory_since);
        if activity.waiting_for_memory && starved >= limits.receive_timeout {
            let limit = limits.request_memory_bytes;
            let seconds = starved.as_secs();
            let why =
                format!("a request found no memory in {seconds} s; there are {limit} bytes (queued.max.request.bytes)");
            return Some(Close::new(ConnectionClose::NoMemory, why));
        }
        let stalled = now.saturating_sub(self.sending_since);
        let patience = if pressure { WRITE_STALL_MAX_UNDER_PRESSURE } else { WRITE_STALL_MAX };
        if activity.sending && stalled >= patience {
            let why = format!("the client read nothing of its answers in {} s", stalled.as_secs());
            return Some(Close::new(ConnectionClose::SlowReader, why));
        }
        let half_closed = now.saturating_sub(self.half_closed_since);
        if activity.half_closed && activity.serving && half_closed >= HALF_CLOSED_MAX {
            return Some(Close::new(ConnectionClose::Peer, "the client closed its end while an answer was waiting"));
        }
        None
    }

    fn judge_idle(&self, limits: &NetLimits, now: Duration) -> Option<Close> {
        let idle = now.saturating_sub(self.idle_since);
        let idle_max = limits.idle_max?;
        (idle >= idle_max).then(|| Close::new(ConnectionClose::Idle, format!("idle for {} s", idle.as_secs())))
    }
}
