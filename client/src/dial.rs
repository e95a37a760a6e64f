//! From a host's name and port to a connected socket.
//!
//! Owns the attempts and the options of the socket. Does not own what is said over it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::Error;

/// Tries the host's addresses (IPv6 and IPv4 alike) in the resolver's order, all within one time limit.
pub(crate) async fn connect(host: &str, port: u16, address: &Arc<str>, limit: Duration) -> Result<TcpStream, Error> {
    let failed = |reason: String| Error::Connect { address: address.clone(), reason: reason.into() };
    let attempts = async {
        let resolved = tokio::net::lookup_host((host, port)).await;
        let mut reason = "the name has no address".to_owned();
        for socket in resolved.map_err(|error| failed(error.to_string()))? {
            match TcpStream::connect(socket).await {
                Ok(stream) => return Ok(stream),
                Err(error) => reason = error.to_string(),
            }
        }
        Err(failed(reason))
    };
    let attempt = tokio::time::timeout(limit, attempts).await;
    let stream = attempt.map_err(|_| failed(format!("no answer within {limit:?}")))??;
    prepare(&stream).map_err(|error| failed(error.to_string()))?;
    Ok(stream)
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    socket.set_keepalive(true)?;
    // Within one host there is no line to share: an algorithm that paces what it sends only costs timers and wake-ups. Where this
    // one may not be chosen, the host's own does too.
    #[cfg(target_os = "linux")]
    if stream.local_addr()?.ip() == stream.peer_addr()?.ip() {
        let _chosen = socket.set_tcp_congestion(b"reno");
    }
    Ok(())
}
