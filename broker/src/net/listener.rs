//! One address to listen on: binding it, and accepting without end.
//!
//! Owns the listening socket and the options of accepted ones. Invariant: no error of accept ends the loop. Those that say
//! that this process or machine has run out of something pause it, since they would be back at once.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream, lookup_host};

use super::close::Close;
use super::connection::Connection;
use super::reaper::{ConnectionLimits, ConnectionPlace};
use super::server_sockets::Network;
use crate::api::ClientInfo;
use crate::config::{BrokerConfig, Listener};
use crate::metrics::ConnectionClose;

/// How long accept pauses when there are no descriptors or no memory.
const PAUSE: Duration = Duration::from_millis(200);

/// The part of all descriptors that no connection takes: one sixteenth.
const KEPT_FOR_LOGS: u64 = 16;

/// A bound address.
pub(super) struct BoundListener {
    /// Its index among the broker's listeners.
    pub(super) index: usize,
    pub(super) address: SocketAddr,
    pub(super) listener: TcpListener,
    congestion: Congestion,
}

/// How connections share a line with others.
///
/// Within one host there is none to share: an algorithm that paces what it sends only costs timers and wake-ups, and a socket that once had
/// such a one is paced for ever. So connections begin with [`UNPACED`], and those from elsewhere get the host's own before anything is sent.
struct Congestion {
    /// As the host has it; `None` where that cannot be asked or chosen, and all connections keep it.
    of_host: Option<Vec<u8>>,
}

/// Known to every Linux, and paces nothing.
const UNPACED: &[u8] = b"reno";

impl Congestion {
    /// Of all connections that `listening` will accept.
    fn begin(listening: &Socket) -> Self {
        let of_host = listening.tcp_congestion().ok();
        Congestion { of_host: of_host.filter(|_| listening.set_tcp_congestion(UNPACED).is_ok()) }
    }

    fn settle(&self, accepted: &TcpStream, peer: IpAddr) -> io::Result<()> {
        let Some(of_host) = &self.of_host else { return Ok(()) };
        if accepted.local_addr()?.ip().to_canonical() == peer {
            return Ok(());
        }
        // Slower at worst, and no reason to turn a client away.
        if let Err(error) = SockRef::from(accepted).set_tcp_congestion(of_host) {
            tracing::debug!(%error, %peer, "a connection cannot have the host's congestion control, and goes without pacing");
        }
        Ok(())
    }
}

impl BoundListener {
    /// Binds what a listener names. A host name is bound at the first of its addresses that can be.
    ///
    /// # Errors
    /// What the operating system says about the last address tried.
    pub(super) async fn bind(index: usize, listener: &Listener, config: &BrokerConfig) -> io::Result<Self> {
        let candidates = addresses(&listener.host, listener.port).await?;
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in candidates {
            match bind(address, config) {
                Ok((listener, congestion)) => {
                    return Ok(BoundListener { index, address: listener.local_addr()?, listener, congestion });
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Accepts connections for ever; dropping the future closes the address.
    pub(super) async fn accept_all(self, network: Arc<Network>) {
        let mut panicked = network.watch_panics();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = panicked.wait_for(|&panicked| panicked) => return,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(&network, stream, peer),
                Err(error) => {
                    network.metrics.accept_errors.add(1);
                    if is_exhausted(&error) {
                        tracing::warn!(%error, address = %self.address, "accepting connections pauses");
                        tokio::time::sleep(PAUSE).await;
                    } else {
                        tracing::debug!(%error, address = %self.address, "a connection was gone before it was accepted");
                    }
                }
            }
        }
    }

    fn admit(&self, network: &Arc<Network>, stream: TcpStream, peer: SocketAddr) {
        network.metrics.connections_accepted.add(1);
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        if takes_from_the_logs(&stream) {
            let why = "nearly all files that the process may open (ulimit -n) are, and the last are for the logs";
            return network.record(&Close::new(ConnectionClose::TooMany, why), peer);
        }
        let limits = ConnectionLimits::of(&(network.config)(), peer.ip());
        let place = match network.table.enter(peer.ip(), limits, network.clock.monotonic()) {
            Ok(place) => place,
            Err(close) => return network.record(&close, peer),
        };
        if let Err(error) = stream.set_nodelay(true).and_then(|()| self.congestion.settle(&stream, peer.ip())) {
            return network.record(&Close::io(&error), peer);
        }
        let client = Arc::new(ClientInfo { peer, listener: self.index });
        let state = Arc::clone(&place.state);
        let connection = Connection::new(Arc::clone(&network.shared), stream, Arc::clone(&client), state);
        tokio::spawn(run(connection, Ending { network: Arc::clone(network), client, close: None, _place: place }));
    }
}

/// Serves a connection until it ends. What it holds is gone before its place is.
async fn run(mut connection: Connection, mut ending: Ending) {
    ending.close = Some(std::future::poll_fn(|cx| connection.poll(cx)).await);
    drop(connection);
}

/// Records the end of a connection, however it comes.
struct Ending {
    network: Arc<Network>,
    client: Arc<ClientInfo>,
    close: Option<Close>,
    _place: ConnectionPlace,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.network.panicked();
        }
        let close = self.close.take();
        let close = close.unwrap_or_else(|| Close::new(ConnectionClose::Shutdown, "its task was ended"));
        self.network.record(&close, self.client.peer);
    }
}

async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if host.is_empty() {
        // All addresses of both families, or of the one that there is.
        return Ok(vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()]);
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    Ok(lookup_host((host, port)).await?.collect())
}

fn bind(address: SocketAddr, config: &BrokerConfig) -> io::Result<(TcpListener, Congestion)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // Accepted sockets inherit these; the receive buffer must be set before the window is agreed on.
    if let Ok(bytes @ 1..) = usize::try_from(config.socket_receive_buffer_bytes) {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Ok(bytes @ 1..) = usize::try_from(config.socket_send_buffer_bytes) {
        socket.set_send_buffer_size(bytes)?;
    }
    let congestion = Congestion::begin(&socket);
    socket.bind(&address.into())?;
    socket.listen(config.socket_listen_backlog_size)?;
    Ok((TcpListener::from_std(socket.into())?, congestion))
}

/// Whether a connection has one of the last descriptors: a log that cannot open a file goes offline, a client comes again. The system
/// gives out the lowest number that is free, so the number tells how many are taken.
fn takes_from_the_logs(stream: &TcpStream) -> bool {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    u64::try_from(stream.as_raw_fd()).is_ok_and(|number| number >= limit - limit / KEPT_FOR_LOGS)
}

/// Whether accept failed for want of descriptors or memory.
fn is_exhausted(error: &io::Error) -> bool {
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error.raw_os_error().is_some_and(|code| exhausted.iter().any(|errno| errno.raw_os_error() == code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_connections_from_elsewhere_are_paced_as_the_host_does() {
        let listening = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let of_host = listening.tcp_congestion().unwrap();
        let congestion = Congestion::begin(&listening);
        listening.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        listening.listen(1).unwrap();
        listening.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listening.into()).unwrap();
        let (_client, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (accepted, peer) = accepted.unwrap();
        let chosen = || SockRef::from(&accepted).tcp_congestion().unwrap();
        congestion.settle(&accepted, peer.ip()).unwrap();
        assert!(chosen().starts_with(UNPACED));
        congestion.settle(&accepted, IpAddr::from([192, 0, 2, 1])).unwrap();
        assert_eq!(chosen(), of_host);
    }
}
