//! A broker inside the test's process, on a free port with data of its own.
//!
//! For tests without async: it brings the runtime along. Dropping it stops the broker and deletes its data.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use ottla_broker::Broker;
use tokio::runtime::Runtime;

/// A running broker.
#[derive(Debug)]
pub struct InProcessBroker {
    // The broker goes before the runtime that it runs in, and both before the data.
    broker: Option<Broker>,
    runtime: Runtime,
    address: SocketAddr,
    _data: tempfile::TempDir,
}

impl InProcessBroker {
    /// Starts a broker with the default settings but for `settings`.
    pub fn start(settings: &[(&str, &str)]) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let data = tempfile::tempdir()?;
        let mut builder = Broker::builder().data_dir(data.path().join("data")).listen("127.0.0.1:0");
        for (key, value) in settings {
            builder = builder.set(*key, *value);
        }
        let broker = runtime.block_on(builder.start()).context("start the broker")?;
        Ok(Self { address: broker.addr(), broker: Some(broker), runtime, _data: data })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The broker itself, for what only it can tell.
    pub fn broker(&self) -> Option<&Broker> {
        self.broker.as_ref()
    }

    /// Stops the broker and says whether that went well.
    pub fn stop(mut self) -> Result<()> {
        match self.broker.take() {
            Some(broker) => Ok(self.runtime.block_on(broker.stop())?),
            None => Ok(()),
        }
    }
}

impl Drop for InProcessBroker {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.take() {
            // A test that cares calls `stop`.
            let _ = self.runtime.block_on(broker.stop());
        }
    }
}
