//! What a broker is started with.
//!
//! Owns the settings until the start. A wrong one is reported by the start, so that calls can be chained.

use std::collections::BTreeMap;

use super::{Arc, Broker, BrokerConfig, Clock, ConfigError, PathBuf, RealVfs, Start, StartError, SystemClock, Vfs};
use crate::config::ConfigLayers;

/// Settings of a broker that is to be started. Without any, it listens on 127.0.0.1:9092 and keeps its data in `ottla-data`.
#[derive(Debug)]
pub struct BrokerBuilder {
    base: ConfigLayers,
    listeners: Vec<String>,
    settings: BTreeMap<String, String>,
    clock: Arc<dyn Clock>,
    vfs: Arc<dyn Vfs>,
}

impl Default for BrokerBuilder {
    fn default() -> Self {
        BrokerBuilder {
            base: ConfigLayers::default(),
            listeners: Vec::new(),
            settings: BTreeMap::new(),
            clock: Arc::new(SystemClock::default()),
            vfs: Arc::new(RealVfs),
        }
    }
}

impl BrokerBuilder {
    /// Starts from a configuration that was loaded; what is set beside it comes first.
    #[must_use]
    pub fn config(mut self, config: &BrokerConfig) -> Self {
        self.base = config.layers().clone();
        self
    }

    /// Where the data is (`log.dirs`). Created if it is missing.
    #[must_use]
    pub fn data_dir(self, path: impl Into<PathBuf>) -> Self {
        let path = path.into().to_string_lossy().into_owned();
        self.set("log.dirs", path)
    }

    /// An address to listen on, `HOST:PORT` or `NAME://HOST:PORT`; port 0 takes a free one. Call it again for more.
    #[must_use]
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listeners.push(address.into());
        self
    }

    /// The id of the broker (`node.id`).
    #[must_use]
    pub fn node_id(self, node_id: i32) -> Self {
        self.set("node.id", node_id.to_string())
    }

    /// Any setting by its key.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.insert(key.into(), value.into());
        self
    }

    /// Other clocks than the operating system's. Sockets and waits for durability still take real time.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Another file system than the operating system's.
    #[must_use]
    pub fn vfs(mut self, vfs: Arc<dyn Vfs>) -> Self {
        self.vfs = vfs;
        self
    }

    /// Starts the broker in the runtime of the caller. When it returns, requests are served.
    ///
    /// # Errors
    /// A setting is wrong, the data directory is in use or cannot be read, or an address cannot be bound.
    pub async fn start(self) -> Result<Broker, StartError> {
        let config = self.resolve()?;
        Start { config, clock: self.clock, vfs: self.vfs }.run().await
    }

    fn resolve(&self) -> Result<BrokerConfig, ConfigError> {
        let mut layers = self.base.clone();
        let mut settings = self.settings.clone();
        if !self.listeners.is_empty() {
            settings.insert("listeners".to_owned(), self.listeners.join(","));
        }
        layers.set_all(settings)?;
        BrokerConfig::from_layers(layers)
    }
}
