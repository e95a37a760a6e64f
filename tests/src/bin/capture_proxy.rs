//! A TCP proxy between a real client and a broker that keeps the first request of each API and version, and its answer.
//!
//! Files hold frames without their size prefix, as they were on the wire: `KEY-API-vVERSION.request` and `.response`. The
//! broker must advertise the proxy's address, or clients go around it.

use std::collections::{HashMap, HashSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use ottla_protocol::ApiKey;

/// Forwards connections to a broker and keeps one request and response of each API and version.
#[derive(Parser)]
struct Arguments {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
    /// Where the broker is.
    #[arg(long)]
    broker: SocketAddr,
    /// Where the captures go; created if missing.
    #[arg(long)]
    into: PathBuf,
}

/// Frames above this size are taken for something else than Kafka's protocol.
const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.into)?;
    let listener = TcpListener::bind(arguments.listen)?;
    println!("listening on {}", arguments.listen);
    let captures = Arc::new(Captures { directory: arguments.into, seen: Mutex::default() });
    for client in listener.incoming() {
        let client = client?;
        let broker = TcpStream::connect(arguments.broker).context("connect to the broker")?;
        let waiting = Arc::new(Mutex::new(HashMap::new()));
        spawn(Direction::Requests, client.try_clone()?, broker.try_clone()?, &captures, &waiting);
        spawn(Direction::Responses, broker, client, &captures, &waiting);
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Requests,
    Responses,
}

/// Names of captures whose answer is still to come, by correlation id.
type Waiting = Arc<Mutex<HashMap<i32, String>>>;

struct Captures {
    directory: PathBuf,
    seen: Mutex<HashSet<(i16, i16)>>,
}

fn spawn(direction: Direction, from: TcpStream, to: TcpStream, captures: &Arc<Captures>, waiting: &Waiting) {
    let (captures, waiting) = (Arc::clone(captures), Arc::clone(waiting));
    thread::spawn(move || {
        if let Err(error) = forward(direction, from, to, &captures, &waiting) {
            eprintln!("{direction:?}: {error:#}");
        }
    });
}

fn forward(
    direction: Direction,
    mut from: TcpStream,
    mut to: TcpStream,
    captures: &Captures,
    waiting: &Waiting,
) -> Result<()> {
    let mut size = [0; 4];
    loop {
        match from.read_exact(&mut size) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                // The other side may be gone as well.
                let _ = to.shutdown(std::net::Shutdown::Both);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        let length = usize::try_from(i32::from_be_bytes(size))?;
        ensure!((4..=FRAME_BYTES_MAX).contains(&length), "a frame of {length} bytes");
        let mut frame = vec![0; length];
        from.read_exact(&mut frame)?;
        match direction {
            Direction::Requests => captures.keep_request(&frame, waiting)?,
            Direction::Responses => captures.keep_response(&frame, waiting)?,
        }
        to.write_all(&[&size[..], &frame].concat())?;
    }
}

impl Captures {
    fn keep_request(&self, frame: &[u8], waiting: &Waiting) -> Result<()> {
        ensure!(frame.len() >= 8, "a request of {} bytes", frame.len());
        let key = i16::from_be_bytes([frame[0], frame[1]]);
        let version = i16::from_be_bytes([frame[2], frame[3]]);
        let correlation_id = i32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]]);
        if !lock(&self.seen).insert((key, version)) {
            return Ok(());
        }
        let api = ApiKey::from_i16(key).map_or("unknown", ApiKey::name);
        let name = format!("{key:02}-{api}-v{version}");
        write(&self.directory.join(format!("{name}.request")), frame)?;
        lock(waiting).insert(correlation_id, name);
        Ok(())
    }

    fn keep_response(&self, frame: &[u8], waiting: &Waiting) -> Result<()> {
        let correlation_id = i32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]);
        match lock(waiting).remove(&correlation_id) {
            Some(name) => write(&self.directory.join(format!("{name}.response")), frame),
            None => Ok(()),
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| path.display().to_string())
}

/// A thread that panicked leaves the maps as usable as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
