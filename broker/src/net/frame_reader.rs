//! From the bytes of a socket to whole request frames, each one piece of memory.
//!
//! Owns the bytes of the frame that is under way and the permits for them. Knows nothing of what is in a frame.
//!
//! Memory: an idle connection holds none. What a read brings lands in a buffer of the thread; complete small frames in it
//! are copied out together (one allocation a read), and the beginning of another frame goes into a buffer of its own, which
//! then is read into directly. Invariant: every byte that outlives a call is covered by a permit, which lives exactly as long
//! as the memory: the frames carry it. A buffer is sized by what came, not by what a size prefix announces: many times
//! that while it is little and half of the pool is free, otherwise it doubles.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;

use super::close::Close;
use super::limits::{READ_CHUNK_BYTES, SMALL_FRAME_BYTES};
use super::memory_pool::{MemoryPermit, MemoryPool, Share};
use crate::metrics::ConnectionClose;

const PREFIX_BYTES: usize = size_of::<i32>();
/// A buffer grows at least by this much.
const GROWTH_MIN_BYTES: usize = 4 * 1024;
/// Memory that is taken ahead, in terms of what is held: one full chunk gets a small frame all that it needs.
const AHEAD_FACTOR: usize = SMALL_FRAME_BYTES / READ_CHUNK_BYTES;

thread_local! {
    static CHUNK: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_CHUNK_BYTES].into_boxed_slice());
}

/// What a call of [`FrameReader::poll_fill`] came to.
#[derive(Debug)]
pub(super) enum Filled {
    /// There is at least one frame to take.
    Frames,
    /// Nothing more will come.
    End(Close),
}

/// Reads frames from one socket.
pub(super) struct FrameReader {
    pool: Arc<MemoryPool>,
    frame_bytes_max: usize,
    /// The beginning of a size prefix.
    prefix: [u8; PREFIX_BYTES],
    prefix_bytes: usize,
    partial: Option<PartialFrame>,
    frames: VecDeque<Bytes>,
    /// What came behind the last complete frame and ends the connection.
    refused: Option<Close>,
    waiting: Option<Pin<Box<dyn Future<Output = MemoryPermit> + Send>>>,
    bytes_in: u64,
    frames_in: u64,
}

/// A frame whose size is known and whose bytes are not all there.
struct PartialFrame {
    /// What came so far, without the prefix; never longer than the permit.
    bytes: Vec<u8>,
    permit: MemoryPermit,
    size: usize,
}

/// Memory that gives its permit back when the last frame in it is dropped.
struct Pooled {
    bytes: Vec<u8>,
    _permit: MemoryPermit,
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl FrameReader {
    pub(super) fn new(pool: Arc<MemoryPool>, frame_bytes_max: usize) -> Self {
        FrameReader {
            pool,
            frame_bytes_max,
            prefix: [0; PREFIX_BYTES],
            prefix_bytes: 0,
            partial: None,
            frames: VecDeque::new(),
            refused: None,
            waiting: None,
            bytes_in: 0,
            frames_in: 0,
        }
    }

    /// The next complete frame, without its size prefix.
    pub(super) fn take_frame(&mut self) -> Option<Bytes> {
        let frame = self.frames.pop_front();
        if frame.is_some() && self.frames.is_empty() && self.frames.capacity() > 16 {
            self.frames = VecDeque::new();
        }
        frame
    }

    /// Whether there are complete frames.
    pub(super) fn has_frames(&self) -> bool {
        !self.frames.is_empty()
    }

    /// Whether a frame was begun and is not complete.
    pub(super) fn is_receiving(&self) -> bool {
        self.partial.is_some() || self.prefix_bytes > 0
    }

    /// Whether the last fill stopped for want of memory.
    pub(super) fn is_waiting_for_memory(&self) -> bool {
        self.waiting.is_some()
    }

    /// Bytes read since the connection began.
    pub(super) fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    /// Frames completed since the connection began.
    pub(super) fn frames_in(&self) -> u64 {
        self.frames_in
    }

    /// Reads until there is a complete frame, nothing more to read for now, or an end.
    ///
    /// # Errors
    /// What the socket reports.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream) -> Poll<io::Result<Filled>> {
        loop {
            if !self.frames.is_empty() {
                return Poll::Ready(Ok(Filled::Frames));
            }
            if let Some(close) = self.refused.take() {
                return Poll::Ready(Ok(Filled::End(close)));
            }
            let read = match &self.partial {
                Some(_) => ready!(self.poll_read_partial(cx, stream))?,
                None => ready!(self.poll_read_chunk(cx, stream))?,
            };
            if read == 0 {
                let why =
                    if self.is_receiving() { "the client left in the middle of a request" } else { "end of stream" };
                return Poll::Ready(Ok(Filled::End(Close::new(ConnectionClose::Peer, why))));
            }
            self.bytes_in += read as u64;
        }
    }

    /// Reads into the buffer of the frame that is under way.
    fn poll_read_partial(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream) -> Poll<io::Result<usize>> {
        let Some(mut partial) = self.partial.take() else { return Poll::Pending };
        if partial.is_full() && !partial.grow_at_once() {
            let (more, share) = partial.growth();
            let waiting = self.waiting.get_or_insert_with(|| Box::pin(self.pool.take(more, share)));
            match waiting.as_mut().poll(cx) {
                Poll::Ready(more) => partial.grow(more),
                Poll::Pending => {
                    self.partial = Some(partial);
                    return Poll::Pending;
                }
            }
        }
        self.waiting = None;
        let room = partial.permit.bytes() - partial.bytes.len();
        let read = {
            let mut room = (&mut partial.bytes).limit(room);
            pin!(stream.read_buf(&mut room)).poll(cx)
        };
        if partial.bytes.len() == partial.size {
            self.frames_in += 1;
            self.frames.push_back(Bytes::from_owner(Pooled { bytes: partial.bytes, _permit: partial.permit }));
        } else {
            self.partial = Some(partial);
        }
        read
    }

    /// Reads into the thread's buffer and takes apart what came.
    fn poll_read_chunk(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream) -> Poll<io::Result<usize>> {
        // Only when there is something to read: an idle connection holds no memory.
        ready!(stream.poll_read_ready(cx))?;
        let permit = match self.waiting.as_mut() {
            Some(waiting) => ready!(waiting.as_mut().poll(cx)),
            None => match self.pool.try_take(READ_CHUNK_BYTES, Share::Whole) {
                Some(permit) => permit,
                None => {
                    let waiting = self.waiting.insert(Box::pin(self.pool.take(READ_CHUNK_BYTES, Share::Whole)));
                    ready!(waiting.as_mut().poll(cx))
                }
            },
        };
        self.waiting = None;
        CHUNK.with_borrow_mut(|chunk| {
            let carried = self.prefix_bytes;
            chunk[..carried].copy_from_slice(&self.prefix[..carried]);
            let mut buffer = ReadBuf::new(&mut chunk[carried..]);
            ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
            let read = buffer.filled().len();
            self.take_apart(&chunk[..carried + read], permit);
            Poll::Ready(Ok(read))
        })
    }

    /// Cuts `bytes`, which begin with a size prefix, into complete frames and the beginning of another.
    fn take_apart(&mut self, bytes: &[u8], mut permit: MemoryPermit) {
        let mut sizes = Vec::new();
        let mut end = 0;
        let mut begun = None;
        while let Some(prefix) = bytes[end..].first_chunk::<PREFIX_BYTES>() {
            match self.frame_size(*prefix) {
                Err(close) => {
                    self.refused = Some(close);
                    break;
                }
                Ok(size) if size <= bytes.len() - end - PREFIX_BYTES => {
                    sizes.push(size);
                    end += PREFIX_BYTES + size;
                }
                Ok(size) => {
                    begun = Some(size);
                    break;
                }
            }
        }
        if let Some(size) = begun {
            let first = &bytes[end + PREFIX_BYTES..];
            self.partial = Some(PartialFrame::begin(first, size, permit.split(first.len())));
        }
        self.prefix_bytes = 0;
        if begun.is_none() && self.refused.is_none() {
            let rest = &bytes[end..];
            self.prefix_bytes = rest.len();
            self.prefix[..rest.len()].copy_from_slice(rest);
        }
        self.push_frames(&bytes[..end], &sizes, permit);
    }

    fn push_frames(&mut self, bytes: &[u8], sizes: &[usize], mut permit: MemoryPermit) {
        if sizes.is_empty() {
            return;
        }
        permit.account_for(bytes.len());
        self.frames_in += sizes.len() as u64;
        let mut all = Bytes::from_owner(Pooled { bytes: bytes.to_vec(), _permit: permit });
        for (index, &size) in sizes.iter().enumerate() {
            let _prefix = all.split_to(PREFIX_BYTES);
            let last = index + 1 == sizes.len();
            self.frames.push_back(if last { std::mem::take(&mut all) } else { all.split_to(size) });
        }
    }

    fn frame_size(&self, prefix: [u8; PREFIX_BYTES]) -> Result<usize, Close> {
        let size = i32::from_be_bytes(prefix);
        match usize::try_from(size) {
            Ok(size) if size > 0 && size <= self.frame_bytes_max => Ok(size),
            _ => Err(self.refuse(prefix, size)),
        }
    }

    /// Tells those who knock with another protocol what they should know.
    fn refuse(&self, prefix: [u8; PREFIX_BYTES], size: i32) -> Close {
        match &prefix {
            [0x16, 0x03, ..] => Close::new(
                ConnectionClose::Tls,
                "this is a TLS handshake, and this listener has no TLS; set security.protocol=PLAINTEXT in the client",
            ),
            b"GET " | b"HEAD" | b"POST" | b"PUT " | b"DELE" | b"OPTI" | b"PATC" | b"CONN" | b"TRAC" => {
                Close::new(ConnectionClose::Http, "this is an HTTP request, and this port speaks Kafka's protocol")
            }
            _ => {
                let limit = self.frame_bytes_max;
                let why = format!("a frame of {size} bytes, allowed are 1 to {limit} (socket.request.max.bytes)");
                Close::new(ConnectionClose::FrameSize, why)
            }
        }
    }
}

impl PartialFrame {
    /// A frame of `size` bytes of which `first` came, with a permit for these.
    fn begin(first: &[u8], size: usize, permit: MemoryPermit) -> Self {
        let mut partial = PartialFrame { bytes: Vec::new(), permit, size };
        partial.take_ahead(first.len());
        partial.bytes.reserve_exact(partial.permit.bytes());
        partial.bytes.extend_from_slice(first);
        partial
    }

    fn is_full(&self) -> bool {
        self.bytes.len() == self.permit.bytes()
    }

    /// Takes memory for bytes to come if there is plenty: many times what is held while that is little, so that the next read
    /// can bring all of a small frame, then twice. A client that announces much and sends nothing gets nearly nothing.
    fn take_ahead(&mut self, held: usize) -> bool {
        let ahead = (held * AHEAD_FACTOR).clamp(GROWTH_MIN_BYTES, SMALL_FRAME_BYTES);
        let target = self.size.min(ahead.max(held * 2));
        target > held && self.permit.try_grow(target - held, Share::Half)
    }

    /// What is needed to go on when memory is short.
    fn growth(&self) -> (usize, Share) {
        let held = self.permit.bytes();
        let more = (self.size - held).min(held.max(GROWTH_MIN_BYTES));
        (more, if self.size <= SMALL_FRAME_BYTES { Share::Whole } else { Share::ThreeQuarters })
    }

    fn grow_at_once(&mut self) -> bool {
        let (more, share) = self.growth();
        let grown = self.take_ahead(self.permit.bytes()) || self.permit.try_grow(more, share);
        if grown {
            self.bytes.reserve_exact(self.permit.bytes() - self.bytes.len());
        }
        grown
    }

    fn grow(&mut self, more: MemoryPermit) {
        self.permit.merge(more);
        self.bytes.reserve_exact(self.permit.bytes() - self.bytes.len());
    }
}
