//! All sockets of a broker: binds the listeners, keeps the reaper going, and stops them in order.
//!
//! Owns every task of this floor. Invariant: after [`ServerSockets::stop`] no socket is open and no request is being served;
//! dropping it instead ends everything without answers.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::close::{Close, CloseLog};
use super::connection::Shared;
use super::connection_state::Order;
use super::limits::{NetLimits, REAP_INTERVAL};
use super::listener::BoundListener;
use super::memory_pool::{MemoryPool, Share};
use super::reaper::ConnectionTable;
use crate::api::Dispatch;
use crate::clock::Clock;
use crate::config::BrokerConfig;
use crate::metrics::{ConnectionClose, Metrics};

/// The configuration as of now.
pub(crate) type ConfigNow = Arc<dyn Fn() -> Arc<BrokerConfig> + Send + Sync>;

/// What listeners and connections share.
pub(super) struct Network {
    pub(super) shared: Arc<Shared>,
    pub(super) table: Arc<ConnectionTable>,
    /// Asked for every new connection: the number of connections can be altered while the broker runs.
    pub(super) config: ConfigNow,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Arc<dyn Clock>,
    close_log: CloseLog,
    panicked: watch::Sender<bool>,
}

impl Network {
    pub(super) fn record(&self, close: &Close, peer: SocketAddr) {
        self.close_log.record(close, peer, &self.metrics, &*self.clock);
    }

    /// A task panicked: what it left behind is unknown, so nothing is served any more.
    pub(super) fn panicked(&self) {
        tracing::error!("a task of the broker panicked: nothing more is served");
        self.panicked.send_replace(true);
        self.table.order_all(&Order::Close(Close::new(ConnectionClose::Shutdown, "a task of the broker panicked")));
    }

    pub(super) fn watch_panics(&self) -> watch::Receiver<bool> {
        self.panicked.subscribe()
    }
}

/// Held by a task that the broker cannot do without: if it panics, nothing more is served.
pub(crate) struct PanicGuard(Arc<Network>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.panicked();
        }
    }
}

/// Addresses that are bound and not served yet.
pub(crate) struct BoundSockets {
    listeners: Vec<BoundListener>,
}

impl fmt::Debug for BoundSockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BoundSockets").field(&self.addresses()).finish()
    }
}

impl BoundSockets {
    /// Binds every listener of the configuration, in order.
    ///
    /// # Errors
    /// The listener that could not be bound, and what the operating system said.
    pub(crate) async fn bind(config: &BrokerConfig) -> Result<Self, (String, io::Error)> {
        let mut listeners = Vec::new();
        for (index, listener) in config.listeners.iter().enumerate() {
            let bound = BoundListener::bind(index, listener, config).await;
            listeners.push(bound.map_err(|error| (listener.to_string(), error))?);
        }
        Ok(BoundSockets { listeners })
    }

    /// What was bound, in the order of the listeners; port 0 became a real one.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|listener| listener.address).collect()
    }

    /// Begins to serve. Bounds of memory and time are those of the configuration now; the number of connections is that of
    /// the configuration when each is made.
    pub(crate) fn serve(
        self,
        config: ConfigNow,
        dispatch: Arc<dyn Dispatch>,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> ServerSockets {
        let limits = NetLimits::from_config(&config());
        let shared = Arc::new(Shared {
            request_memory: MemoryPool::new(limits.request_memory_bytes),
            response_memory: MemoryPool::new(limits.response_memory_bytes),
            limits,
            dispatch,
            metrics: Arc::clone(&metrics),
        });
        let network = Arc::new(Network {
            shared,
            table: Arc::default(),
            config,
            metrics,
            clock,
            close_log: CloseLog::default(),
            panicked: watch::Sender::new(false),
        });
        let mut tasks = JoinSet::new();
        for listener in self.listeners {
            let (network, guard) = (Arc::clone(&network), PanicGuard(Arc::clone(&network)));
            tasks.spawn(async move {
                let _guard = guard;
                listener.accept_all(network).await;
            });
        }
        let reaper = tokio::spawn(reap(Arc::clone(&network), PanicGuard(Arc::clone(&network))));
        ServerSockets { network, accepting: tasks, reaper }
    }
}

/// The sockets of a running broker.
pub(crate) struct ServerSockets {
    network: Arc<Network>,
    accepting: JoinSet<()>,
    reaper: tokio::task::JoinHandle<()>,
}

impl fmt::Debug for ServerSockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSockets").field("connections", &self.connections()).finish_non_exhaustive()
    }
}

impl ServerSockets {
    /// Connections open now.
    pub(crate) fn connections(&self) -> usize {
        self.network.table.len()
    }

    /// Bytes of requests in memory now.
    pub(crate) fn request_bytes_in_memory(&self) -> usize {
        self.network.shared.request_memory.used()
    }

    /// Bytes of answers that wait in memory for their clients to read.
    pub(crate) fn response_bytes_in_memory(&self) -> usize {
        self.network.shared.response_memory.used()
    }

    /// To be held by a task of another floor that the broker cannot do without.
    pub(crate) fn panic_guard(&self) -> PanicGuard {
        PanicGuard(Arc::clone(&self.network))
    }

    /// Becomes true when a task panicked.
    pub(crate) fn panicked(&self) -> watch::Receiver<bool> {
        self.network.watch_panics()
    }

    /// Stops accepting, lets connections answer what they have read for at most `patience`, and closes them.
    pub(crate) async fn stop(mut self, patience: Duration) {
        self.accepting.shutdown().await;
        let table = Arc::clone(&self.network.table);
        table.order_all(&Order::Drain);
        if tokio::time::timeout(patience, table.emptied()).await.is_err() {
            let close = Close::new(ConnectionClose::Shutdown, "the broker stops");
            table.order_all(&Order::Close(close));
            table.emptied().await;
        }
        self.reaper.abort();
        let _ended = (&mut self.reaper).await;
    }
}

impl Drop for ServerSockets {
    fn drop(&mut self) {
        self.reaper.abort();
        let close = Close::new(ConnectionClose::Shutdown, "the broker was dropped");
        self.network.table.order_all(&Order::Close(close));
    }
}

async fn reap(network: Arc<Network>, _guard: PanicGuard) {
    let mut ticks = tokio::time::interval(REAP_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let responses = &network.shared.response_memory;
        let pressure = responses.used() > responses.ceiling(Share::Half);
        network.table.reap(&network.shared.limits, network.clock.monotonic(), pressure);
    }
}
