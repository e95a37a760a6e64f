//! The least that a broker must do, by one blocking thread that does nothing else: what no broker can be faster than.
//!
//! For a produce: receive, CRC-32C, write to the page cache, a small answer. For a fetch: a small request, sendfile.
//! Each serves one connection until its client closes it and then tells the processor time of its thread.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use ottla_protocol::records::crc32c;

use crate::{cpu, wire};

const ANSWER_BYTES: usize = 60;

/// A server on a thread of its own.
#[derive(Debug)]
pub struct Roofline {
    address: SocketAddr,
    thread: JoinHandle<Result<Duration>>,
}

impl Roofline {
    /// Takes frames, checks them and writes them to `file`.
    ///
    /// # Errors
    /// Those of its sockets and its file.
    pub fn produce(mut file: File) -> Result<Self> {
        Self::start(move |stream| {
            let mut frame = Vec::new();
            let mut answer = [0; 4 + ANSWER_BYTES];
            answer[..4].copy_from_slice(&(ANSWER_BYTES as u32).to_be_bytes());
            while let Some(size) = next_size(stream)? {
                if frame.len() < size {
                    frame.resize(size, 0);
                }
                let frame = &mut frame[..size];
                stream.read_exact(frame)?;
                // Sent back, so that the sum cannot be left out.
                answer[4..8].copy_from_slice(&crc32c(frame).to_be_bytes());
                file.write_all(frame)?;
                stream.write_all(&answer)?;
            }
            Ok(())
        })
    }

    /// Answers every frame with the next `chunk` bytes of `file`, around and around.
    ///
    /// # Errors
    /// Those of its sockets and its file.
    pub fn fetch(file: File, chunk: usize) -> Result<Self> {
        let length = file.metadata()?.len();
        ensure!(length >= chunk as u64, "a file of {length} bytes has no {chunk} to send");
        Self::start(move |stream| {
            let mut request = Vec::new();
            let mut position = 0;
            while let Some(size) = next_size(stream)? {
                request.resize(size, 0);
                stream.read_exact(&mut request)?;
                stream.write_all(&u32::try_from(chunk)?.to_be_bytes())?;
                if position + chunk as u64 > length {
                    position = 0;
                }
                let end = position + chunk as u64;
                while position < end {
                    let left = usize::try_from(end - position)?;
                    let sent = rustix::fs::sendfile(&*stream, &file, Some(&mut position), left)?;
                    ensure!(sent > 0, "the file ended");
                }
            }
            Ok(())
        })
    }

    fn start(mut serve: impl FnMut(&mut TcpStream) -> Result<()> + Send + 'static) -> Result<Self> {
        let listener = wire::listen()?;
        let address = listener.local_addr()?;
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept()?;
            let before = cpu::of_this_thread()?;
            serve(&mut stream)?;
            Ok(cpu::of_this_thread()? - before)
        });
        Ok(Self { address, thread })
    }

    /// The one connection that it serves.
    ///
    /// # Errors
    /// Those of its sockets and its file.
    pub fn connect(&self) -> Result<TcpStream> {
        wire::connect(self.address)
    }

    /// Processor time of the thread. The connection must have been closed.
    ///
    /// # Errors
    /// Those of its sockets and its file.
    pub fn finish(self) -> Result<Duration> {
        self.thread.join().map_err(|_| anyhow!("the thread of the roofline panicked"))?
    }
}

fn next_size(stream: &mut TcpStream) -> Result<Option<usize>> {
    let mut size = [0; 4];
    match stream.read_exact(&mut size) {
        Ok(()) => Ok(Some(u32::from_be_bytes(size) as usize)),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error.into()),
    }
}
