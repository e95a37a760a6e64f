//! From responses to the bytes of a socket: in order, few system calls, file ranges by `sendfile`.
//!
//! Owns what was answered and not sent. Memory held here is only what responses have in memory; a file range holds its file
//! open and nothing else, however slow the reader is. Invariant: bytes leave in the order in which responses were pushed,
//! and a response whose file is shorter than announced is never completed with anything else.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use ottla_protocol::wire::Segment;
use rustix::fs::sendfile;
use rustix::net::sockopt::set_tcp_cork;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::close::Close;
use super::limits::SENDFILE_FROM_BYTES;
use crate::api::ResponseFrame;
use crate::metrics::ConnectionClose;
use crate::storage::vfs::{FileSlice, read_up_to_at};

/// Pieces of one system call.
const PIECES_MAX: usize = 64;
/// Bytes of files that one system call copies.
const COPY_BYTES: usize = 64 * 1024;
/// Bytes that one `sendfile` may send, so that one fast reader does not keep a thread for the whole of a large answer.
const SENDFILE_BYTES_MAX: usize = 1024 * 1024;

/// What is surely sent at once.
const PACKET_BYTES: usize = 1400;
/// A range of a file that fills several of the largest packets: the reader is woken more than once, whatever goes with it.
const LONG_FILE_BYTES: usize = 256 * 1024;

thread_local! {
    static COPY: RefCell<Box<[u8]>> = RefCell::new(vec![0; COPY_BYTES].into_boxed_slice());
}

/// Sends responses to one socket.
#[derive(Debug, Default)]
pub(super) struct ResponseWriter {
    pieces: VecDeque<Piece>,
    memory_bytes: usize,
    bytes_out: u64,
    finished: Finished,
    /// The socket holds back what does not fill a packet.
    corked: bool,
}

/// Requests whose answers were sent completely.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Finished {
    pub(super) requests: usize,
    /// Bytes of the requests, not of their answers.
    pub(super) request_bytes: usize,
}

#[derive(Debug)]
struct Piece {
    content: Content,
    /// Set on the last piece of a response: the bytes of its request.
    ends_request_of: Option<usize>,
}

#[derive(Debug)]
enum Content {
    Bytes(Bytes),
    File(FileSlice),
}

impl Content {
    fn len(&self) -> usize {
        match self {
            Content::Bytes(bytes) => bytes.len(),
            Content::File(slice) => slice.len,
        }
    }

    fn advance(&mut self, by: usize) {
        match self {
            Content::Bytes(bytes) => bytes.advance(by),
            Content::File(slice) => {
                slice.position += by as u64;
                slice.len -= by;
            }
        }
    }

    /// Whether it is so long that the few bytes before it are not worth waiting for it: they go ahead, and the reader is awake, or on
    /// its way, when it comes.
    fn wakes_its_reader_anyway(&self) -> bool {
        self.is_for_sendfile() && self.len() >= LONG_FILE_BYTES
    }

    fn is_for_sendfile(&self) -> bool {
        matches!(self, Content::File(slice) if slice.len >= SENDFILE_FROM_BYTES && slice.file.as_fd().is_some())
    }
}

impl ResponseWriter {
    /// Puts a response behind those that are there.
    ///
    /// # Errors
    /// When the response refers to a file range that it does not carry, or of another length.
    pub(super) fn push(&mut self, response: ResponseFrame, request_bytes: usize) -> Result<(), Close> {
        let ResponseFrame { segments, files } = response;
        for segment in segments.0 {
            let content = match segment {
                Segment::Bytes(bytes) => Content::Bytes(bytes),
                Segment::External { id, len } => match files.get(id as usize) {
                    Some(slice) if slice.len == len as usize => Content::File(slice.clone()),
                    other => {
                        let held = other.map(|slice| slice.len);
                        let why = format!("the answer refers to {len} bytes of file range {id}, which has {held:?}");
                        return Err(Close::new(ConnectionClose::Unanswerable, why));
                    }
                },
            };
            if content.len() == 0 {
                continue;
            }
            if let Content::Bytes(bytes) = &content {
                self.memory_bytes += bytes.len();
            }
            self.pieces.push_back(Piece { content, ends_request_of: None });
        }
        match self.pieces.back_mut() {
            Some(last) if last.ends_request_of.is_none() => last.ends_request_of = Some(request_bytes),
            _ => return Err(Close::new(ConnectionClose::Unanswerable, "the answer has no bytes")),
        }
        Ok(())
    }

    /// Whether everything was sent.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether what waits to be sent is no range of a file and fits into one packet.
    pub(super) fn is_small(&self) -> bool {
        self.memory_bytes <= PACKET_BYTES && !self.pieces.iter().any(|piece| matches!(piece.content, Content::File(_)))
    }

    /// Bytes in memory that wait to be sent.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Bytes sent since the connection began.
    pub(super) fn bytes_out(&self) -> u64 {
        self.bytes_out
    }

    /// What was finished since the last call.
    pub(super) fn take_finished(&mut self) -> Finished {
        std::mem::take(&mut self.finished)
    }

    /// Sends until everything is sent or the socket takes no more for now.
    ///
    /// # Errors
    /// An end of the connection: the socket's error, or a file that is shorter than it was.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>, stream: &TcpStream) -> Poll<Result<(), Close>> {
        while let Some(first) = self.pieces.front() {
            // A range of a file ends with a packet of its own, and the few bytes behind it would make another one.
            if !self.corked && self.pieces.len() > 1 && first.content.is_for_sendfile() {
                self.corked = set_tcp_cork(stream, true).is_ok();
            }
            ready!(stream.poll_write_ready(cx)).map_err(|error| Close::io(&error))?;
            let sent = match &first.content {
                Content::File(slice) if first.content.is_for_sendfile() => self.send_file(stream, slice),
                _ => self.send_memory(stream),
            };
            match sent {
                Ok(0) => return Poll::Ready(Err(truncated(first))),
                Ok(sent) => self.advance(sent),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Err(truncated(first)));
                }
                Err(error) => return Poll::Ready(Err(Close::io(&error))),
            }
        }
        if self.corked {
            set_tcp_cork(stream, false).map_err(|error| Close::io(&error.into()))?;
            self.corked = false;
        }
        if self.pieces.capacity() > PIECES_MAX {
            self.pieces = VecDeque::new();
        }
        Poll::Ready(Ok(()))
    }

    fn send_file(&self, stream: &TcpStream, slice: &FileSlice) -> io::Result<usize> {
        let file = slice.file.as_fd().ok_or(io::ErrorKind::Unsupported)?;
        let mut position = slice.position;
        stream.try_io(Interest::WRITABLE, || {
            Ok(sendfile(stream, file, Some(&mut position), slice.len.min(SENDFILE_BYTES_MAX))?)
        })
    }

    /// Sends the pieces at the front that are in memory or short enough to be copied, in one call.
    fn send_memory(&self, stream: &TcpStream) -> io::Result<usize> {
        COPY.with_borrow_mut(|copy| {
            let (copied, whole) = self.copy_files(copy)?;
            let mut copied = copied.into_iter();
            let mut parts = [IoSlice::new(&[]); PIECES_MAX];
            for (part, piece) in parts.iter_mut().zip(self.pieces.iter().take(whole)) {
                *part = match &piece.content {
                    Content::Bytes(bytes) => IoSlice::new(bytes),
                    Content::File(_) => IoSlice::new(&copy[copied.next().unwrap_or_default()]),
                };
            }
            let mut flags = SendFlags::NOSIGNAL;
            if self.pieces.get(whole).is_some_and(|next| !next.content.wakes_its_reader_anyway()) {
                flags |= SendFlags::MORE;
            }
            stream.try_io(Interest::WRITABLE, || {
                Ok(sendmsg(stream, &parts[..whole], &mut SendAncillaryBuffer::default(), flags)?)
            })
        })
    }

    /// Copies file ranges among the pieces of the next call into `copy`: where each lies in it, and the number of pieces.
    fn copy_files(&self, copy: &mut [u8]) -> io::Result<(Vec<Range<usize>>, usize)> {
        let mut copied = Vec::new();
        let mut used = 0;
        let mut count = 0;
        for piece in self.pieces.iter().take(PIECES_MAX) {
            if let Content::File(slice) = &piece.content {
                if piece.content.is_for_sendfile() || used == copy.len() {
                    break;
                }
                let room = slice.len.min(copy.len() - used);
                let read = read_up_to_at(&*slice.file, &mut copy[used..used + room], slice.position)?;
                if read < room {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                copied.push(used..used + room);
                used += room;
                if room < slice.len {
                    return Ok((copied, count + 1));
                }
            }
            count += 1;
        }
        Ok((copied, count))
    }

    fn advance(&mut self, mut sent: usize) {
        self.bytes_out += sent as u64;
        while let Some(piece) = self.pieces.front_mut() {
            let len = piece.content.len();
            let step = sent.min(len);
            if matches!(piece.content, Content::Bytes(_)) {
                self.memory_bytes -= step;
            }
            if step < len {
                piece.content.advance(step);
                return;
            }
            sent -= step;
            if let Some(request_bytes) = piece.ends_request_of {
                self.finished.requests += 1;
                self.finished.request_bytes += request_bytes;
            }
            self.pieces.pop_front();
        }
    }
}

fn truncated(piece: &Piece) -> Close {
    let why = match &piece.content {
        Content::File(slice) => {
            format!("a file ends before the {} bytes at {} that were to be sent", slice.len, slice.position)
        }
        Content::Bytes(_) => "a file ends before what was to be sent of it".to_owned(),
    };
    Close::new(ConnectionClose::FileTruncated, why)
}
