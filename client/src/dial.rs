//! From a host's name and port to a connected socket.
//!
//! Owns the attempts and the options of the socket. Does not own what is said over it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

use crate::Error;

/// Tries the host's addresses (IPv6 and IPv4 alike) in the resolver's order, all within one time limit.
pub(crate) async fn connect(host: &str, port: u16, address: &Arc<str>, limit: Duration) -> Result<TcpStream, Error> {
    let failed = |reason: String| Error::Connect { address: address.clone(), reason: reason.into() };
    let attempts = async {
        let resolved = tokio::net::lookup_host((host, port)).await;
        let mut reason = "the name has no address".to_owned();
        for socket in resolved.map_err(|error| failed(error.to_string()))? {
            match open(socket).await {
                Ok(stream) => return Ok(stream),
                Err(error) => reason = error.to_string(),
            }
        }
        Err(failed(reason))
    };
    let attempt = tokio::time::timeout(limit, attempts).await;
    attempt.map_err(|_| failed(format!("no answer within {limit:?}")))?
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Within one host there is no line to share: an algorithm that paces what it sends only costs timers and wake-ups, and a socket that
    // once was connected with such a one is paced for ever. Where this one may not be chosen, the host's own does too.
    #[cfg(target_os = "linux")]
    if address.ip().to_canonical().is_loopback() {
        let _chosen = SockRef::from(&socket).set_tcp_congestion(b"reno");
    }
    socket.set_nodelay(true)?;
    SockRef::from(&socket).set_keepalive(true)?;
    socket.connect(address).await
}
