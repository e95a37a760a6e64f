//! A dispatcher that does what the first byte of a request says, and clients that speak to it: the tools of this floor's
//! tests.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use ottla_protocol::wire::{Segment, Segments};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::{BoundSockets, ServerSockets};
use crate::api::{CloseReason, Dispatch, Dispatched, Inbound, Reply, ResponseFrame};
use crate::clock::ManualClock;
use crate::config::BrokerConfig;
use crate::metrics::{ConnectionClose, Metrics};
use crate::storage::vfs::FileSlice;

/// Answers with the request's own bytes.
pub(super) const ECHO: u8 = b'e';
/// Echoes once the gate of the second byte is open; later requests may start.
pub(super) const WAIT: u8 = b'w';
/// Echoes once the gate of the second byte is open; later requests may not start.
pub(super) const EXCLUSIVE: u8 = b'x';
/// Answers nothing.
pub(super) const NOTHING: u8 = b'n';
/// Closes.
pub(super) const CLOSE: u8 = b'c';
/// Answers with so many bytes in memory as the next four bytes say.
pub(super) const LARGE: u8 = b'l';
/// Answers with `head`, the script's file ranges, and `tail`.
pub(super) const FILES: u8 = b'f';
/// Panics.
pub(super) const PANIC: u8 = b'p';

#[derive(Default)]
pub(super) struct Script {
    gates: Mutex<HashMap<u8, Arc<Semaphore>>>,
    pub(super) files: Mutex<Vec<FileSlice>>,
    /// Requests dispatched.
    pub(super) dispatched: AtomicUsize,
    /// Futures of waiting requests that were not dropped.
    pub(super) waiting: Arc<AtomicUsize>,
}

struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Script {
    fn gate(&self, name: u8) -> Arc<Semaphore> {
        Arc::clone(self.gates.lock().entry(name).or_insert_with(|| Arc::new(Semaphore::new(0))))
    }

    /// Lets every request at this gate through.
    pub(super) fn open(&self, name: u8) {
        self.gate(name).close();
    }

    fn wait(&self, frame: Bytes) -> crate::api::ReplyFuture {
        let gate = self.gate(frame[1]);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let waiting = Waiting(Arc::clone(&self.waiting));
        Box::pin(async move {
            let _waiting = waiting;
            // The gate opens by being closed: whoever waits is let through with an error.
            assert!(gate.acquire().await.is_err());
            echo(&frame)
        })
    }

    fn with_files(&self) -> Reply {
        let files = self.files.lock().clone();
        let len: usize = files.iter().map(|slice| slice.len).sum();
        let size = i32::try_from(len + 8).unwrap();
        let mut pieces = vec![Segment::Bytes(Bytes::copy_from_slice(&size.to_be_bytes())), bytes(b"head")];
        for (id, slice) in files.iter().enumerate() {
            pieces.push(Segment::External { id: id as u32, len: slice.len as u32 });
        }
        pieces.push(bytes(b"tail"));
        Reply::Frame(ResponseFrame { segments: Segments(pieces), files })
    }
}

impl Dispatch for Script {
    fn dispatch(&self, inbound: Inbound) -> Dispatched {
        self.dispatched.fetch_add(1, Ordering::SeqCst);
        let frame = inbound.frame;
        match frame[0] {
            ECHO => Dispatched::Ready(echo(&frame)),
            WAIT => Dispatched::Overlapping(self.wait(frame)),
            EXCLUSIVE => Dispatched::Exclusive(self.wait(frame)),
            NOTHING => Dispatched::Ready(Reply::Nothing),
            LARGE => {
                let size = u32::from_be_bytes(frame[1..5].try_into().unwrap());
                Dispatched::Ready(echo(&vec![LARGE; size as usize]))
            }
            FILES => Dispatched::Ready(self.with_files()),
            PANIC => panic!("the script says so"),
            _ => Dispatched::Ready(Reply::Close(CloseReason::BadRequest("the script says so".to_owned()))),
        }
    }
}

fn bytes(text: &'static [u8]) -> Segment {
    Segment::Bytes(Bytes::from_static(text))
}

fn echo(frame: &[u8]) -> Reply {
    Reply::Frame(ResponseFrame {
        segments: Segments(vec![Segment::Bytes(Bytes::from(framed(frame)))]),
        files: Vec::new(),
    })
}

/// A frame with its size prefix.
pub(super) fn framed(frame: &[u8]) -> Vec<u8> {
    let mut framed = i32::try_from(frame.len()).unwrap().to_be_bytes().to_vec();
    framed.extend_from_slice(frame);
    framed
}

/// Sockets over a script, with a clock that the test moves.
pub(super) struct Server {
    pub(super) sockets: ServerSockets,
    pub(super) address: SocketAddr,
    pub(super) script: Arc<Script>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Arc<ManualClock>,
    /// Changed as an alteration of the broker's configuration changes it.
    pub(super) config: Arc<ArcSwap<BrokerConfig>>,
}

impl Server {
    pub(super) async fn start(settings: &[(&str, &str)]) -> Self {
        let mut values = vec![("listeners", "127.0.0.1:0")];
        values.extend_from_slice(settings);
        let config = BrokerConfig::from_values(values).unwrap();
        let bound = BoundSockets::bind(&config).await.unwrap();
        let (script, metrics) = (Arc::new(Script::default()), Arc::new(Metrics::default()));
        let clock = Arc::new(ManualClock::default());
        let address = bound.addresses()[0];
        let config = Arc::new(ArcSwap::from_pointee(config));
        let now = Arc::clone(&config);
        let now = Arc::new(move || now.load_full());
        let sockets = bound.serve(now, Arc::clone(&script) as _, Arc::clone(&metrics), Arc::clone(&clock) as _);
        Server { sockets, address, script, metrics, clock, config }
    }

    pub(super) async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    pub(super) fn dispatched(&self) -> usize {
        self.script.dispatched.load(Ordering::SeqCst)
    }

    pub(super) fn closed(&self, kind: ConnectionClose) -> u64 {
        self.metrics.closed(kind).get()
    }

    /// Waits until `condition` holds, letting `step` of the broker's time pass at each look.
    pub(super) async fn until(&self, step: Duration, what: &str, condition: impl Fn(&Server) -> bool) {
        let wait = async {
            while !condition(self) {
                self.clock.advance(step);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(20), wait).await.is_ok(), "in vain: {what}");
    }

    /// Waits until the connections are as many as said and nothing is held for requests.
    pub(super) async fn settled(&self, connections: usize) {
        let condition = |server: &Server| {
            server.sockets.connections() == connections && server.sockets.request_bytes_in_memory() == 0
        };
        self.until(Duration::ZERO, "all is given back", condition).await;
    }
}

pub(super) struct Client(pub(super) TcpStream);

impl Client {
    pub(super) async fn send(&mut self, frame: &[u8]) {
        self.0.write_all(&framed(frame)).await.unwrap();
    }

    pub(super) async fn receive(&mut self) -> Vec<u8> {
        let size = self.0.read_i32().await.unwrap();
        let mut frame = vec![0; usize::try_from(size).unwrap()];
        self.0.read_exact(&mut frame).await.unwrap();
        frame
    }

    pub(super) async fn echoes(&mut self, frame: &[u8]) {
        self.send(frame).await;
        assert_eq!(self.receive().await, frame);
    }

    /// What comes until the connection ends, by a close or a reset.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = self.0.read(&mut chunk).await {
            rest.extend_from_slice(&chunk[..read]);
        }
        rest
    }
}
