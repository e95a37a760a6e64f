//! The addresses that answers give to clients: for each listener the one that it advertises.

/// Where clients of one listener reach this broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    /// A host name or address.
    pub(crate) host: String,
    /// A TCP port.
    pub(crate) port: u16,
}

/// One address a listener, in the order of the listeners.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerAddresses(pub(crate) Vec<ServerAddress>);

impl ServerAddresses {
    /// The address for clients that came through `listener`.
    ///
    /// # Panics
    ///
    /// When there is no such listener: connections come only from listeners.
    pub(crate) fn of_listener(&self, listener: usize) -> &ServerAddress {
        &self.0[listener]
    }
}
