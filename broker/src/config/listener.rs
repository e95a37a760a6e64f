//! Addresses: parsing of `listeners` and `advertised.listeners`, and what each listener tells its clients.
//!
//! Owns the syntax (`NAME://HOST:PORT`, `HOST:PORT`, IPv6 in brackets) and the rules between the keys. Opens no socket.
//! Invariant: at least one listener, no two on the same address, and only PLAINTEXT ones.

use std::fmt;

use super::config_error::{ConfigError, Origin};

/// One address to listen on, and the address that clients of it are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The listener's name, `PLAINTEXT` unless given.
    pub name: String,
    /// The host to bind, without brackets; empty for all addresses.
    pub host: String,
    /// The port to bind; 0 takes a free one.
    pub port: u16,
    /// The host that Metadata names.
    pub advertised_host: String,
    /// The port that Metadata names; 0 for the one that was bound.
    pub advertised_port: u16,
}

/// `NAME://HOST:PORT` with IPv6 hosts in brackets.
impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brackets = self.host.contains(':');
        let (open, close) = if brackets { ("[", "]") } else { ("", "") };
        write!(f, "{}://{open}{}{close}:{}", self.name, self.host, self.port)
    }
}

/// The texts that together say which listeners there are.
pub(super) struct ListenerSettings<'a> {
    pub(super) listeners: &'a [String],
    pub(super) advertised: &'a [String],
    pub(super) protocol_map: &'a str,
    pub(super) controller_names: &'a [String],
}

struct Endpoint {
    name: String,
    host: String,
    port: u16,
}

impl ListenerSettings<'_> {
    /// The listeners of this broker.
    ///
    /// # Errors
    /// An address that does not parse, none at all, one twice, an advertised name that no listener has, or a security
    /// protocol other than PLAINTEXT.
    pub(super) fn resolve(&self) -> Result<Vec<Listener>, ConfigError> {
        let protocols = protocol_map(self.protocol_map)?;
        let ours = |endpoint: &Endpoint| !self.controller_names.contains(&endpoint.name);
        let bound: Vec<Endpoint> = endpoints("listeners", self.listeners)?.into_iter().filter(ours).collect();
        let advertised: Vec<Endpoint> =
            endpoints("advertised.listeners", self.advertised)?.into_iter().filter(ours).collect();
        if bound.is_empty() {
            return Err(refuse("listeners", &self.listeners.join(","), "at least one address for clients"));
        }
        if let Some(stray) = advertised.iter().find(|address| !bound.iter().any(|one| one.name == address.name)) {
            let names: Vec<&str> = bound.iter().map(|one| one.name.as_str()).collect();
            let why = format!("the name {} is none of `listeners`: {}", stray.name, names.join(", "));
            return Err(refuse("advertised.listeners", &self.advertised.join(","), &why));
        }
        for (index, one) in bound.iter().enumerate() {
            if one.port != 0 && bound[..index].iter().any(|other| (&other.host, other.port) == (&one.host, one.port)) {
                let why = format!("{}:{} is there twice", one.host, one.port);
                return Err(refuse("listeners", &self.listeners.join(","), &why));
            }
            check_protocol(one, &protocols)?;
        }
        bound.into_iter().map(|one| listener(one, &advertised)).collect()
    }
}

fn listener(bound: Endpoint, advertised: &[Endpoint]) -> Result<Listener, ConfigError> {
    let Endpoint { name, host, port } = bound;
    let (advertised_host, advertised_port) = match advertised.iter().find(|address| address.name == name) {
        Some(address) if is_wildcard(&address.host) => {
            let text = format!("{}://{}:{}", address.name, address.host, address.port);
            return Err(refuse("advertised.listeners", &text, "a host that clients can connect to"));
        }
        Some(address) => (address.host.clone(), address.port),
        None if is_wildcard(&host) => (host_name(), port),
        None => (host.clone(), port),
    };
    Ok(Listener { name, host, port, advertised_host, advertised_port })
}

fn is_wildcard(host: &str) -> bool {
    matches!(host, "" | "0.0.0.0" | "::")
}

/// This machine's name, which is what clients are told when the broker listens on all addresses.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

fn check_protocol(endpoint: &Endpoint, protocols: &[(&str, &str)]) -> Result<(), ConfigError> {
    let found = protocols.iter().find(|(name, _)| *name == endpoint.name).map(|(_, protocol)| *protocol);
    let text = format!("{}://{}:{}", endpoint.name, endpoint.host, endpoint.port);
    match found {
        Some("PLAINTEXT") => Ok(()),
        Some(protocol) => {
            let why = format!("its security protocol is {protocol}; only PLAINTEXT is served by this version");
            Err(refuse("listeners", &text, &why))
        }
        None => {
            let why = format!(
                "`listener.security.protocol.map` gives no security protocol for the listener name {}",
                endpoint.name
            );
            Err(refuse("listeners", &text, &why))
        }
    }
}

fn protocol_map(text: &str) -> Result<Vec<(&str, &str)>, ConfigError> {
    let allowed = "a list of NAME:PROTOCOL with PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL";
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| match item.split_once(':') {
            Some((name, protocol @ ("PLAINTEXT" | "SSL" | "SASL_PLAINTEXT" | "SASL_SSL"))) => Ok((name, protocol)),
            _ => Err(refuse("listener.security.protocol.map", text, allowed)),
        })
        .collect()
}

fn endpoints(key: &str, items: &[String]) -> Result<Vec<Endpoint>, ConfigError> {
    items.iter().map(|item| endpoint(item).ok_or_else(|| refuse(key, item, SYNTAX))).collect()
}

const SYNTAX: &str = "NAME://HOST:PORT or HOST:PORT, an IPv6 host in brackets, a port from 0 to 65535";

fn endpoint(text: &str) -> Option<Endpoint> {
    let (name, address) = text.split_once("://").unwrap_or(("PLAINTEXT", text));
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let is_name =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    let is_host = host.chars().all(|letter| !letter.is_whitespace() && !matches!(letter, '/' | '@' | '[' | ']'));
    let port = if port.bytes().all(|byte| byte.is_ascii_digit()) { port.parse().ok()? } else { return None };
    (is_name && is_host).then(|| Endpoint { name: name.to_ascii_uppercase(), host: host.to_owned(), port })
}

fn refuse(key: &str, value: &str, allowed: &str) -> ConfigError {
    ConfigError::InvalidValue {
        key: key.to_owned(),
        value: value.to_owned(),
        allowed: allowed.to_owned(),
        origin: Origin::Program,
    }
}

#[cfg(test)]
#[path = "listener_test.rs"]
mod tests;
