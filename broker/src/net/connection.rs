//! One connection: requests in, answers out in the same order, within bounds.
//!
//! Owns the socket and everything that was asked and not answered; dropping it drops all that waits. One task, and within
//! it one loop: answer what is ready, send, dispatch what was read, read. A request that is answered at once costs one read
//! and one write.
//!
//! Invariants: answers leave in the order of their requests; no request is dispatched while an exclusive one before it is
//! at work; nothing is read while a dispatched request could not be added to what is in flight.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::net::TcpStream;

use super::close::Close;
use super::connection_state::{Activity, ConnectionState, Order};
use super::frame_reader::{Filled, FrameReader};
use super::limits::{ANSWERS_HELD_BYTES, NetLimits, TURN_BYTES};
use super::memory_pool::{MemoryPermit, MemoryPool, Share};
use super::response_writer::ResponseWriter;
use crate::api::{ClientInfo, Dispatch, Dispatched, Inbound, Reply, ReplyFuture};
use crate::metrics::{ConnectionClose, Metrics};

/// What all connections of a broker share.
pub(super) struct Shared {
    pub(super) limits: NetLimits,
    pub(super) request_memory: Arc<MemoryPool>,
    pub(super) response_memory: Arc<MemoryPool>,
    pub(super) dispatch: Arc<dyn Dispatch>,
    pub(super) metrics: Arc<Metrics>,
}

/// A client's connection.
pub(super) struct Connection {
    shared: Arc<Shared>,
    stream: TcpStream,
    client: Arc<ClientInfo>,
    state: Arc<ConnectionState>,
    reader: FrameReader,
    writer: ResponseWriter,
    /// Requests that were dispatched and whose answers are not with the writer, in order.
    pending: VecDeque<Pending>,
    in_flight_requests: usize,
    in_flight_bytes: usize,
    /// Memory of answers that could not be sent at once.
    unsent: Option<MemoryPermit>,
    /// Requests wait because the answers of all connections fill their memory.
    held_back: bool,
    /// Nothing more is read: what the connection ends with after the last answer.
    ending: Option<Close>,
    /// The client closed its end; others may have set `ending`.
    half_closed: bool,
    /// At the end of the last turn, requests were being served and nothing was read meanwhile.
    deaf: bool,
    has_waker: bool,
    counted_in: u64,
    counted_out: u64,
}

struct Pending {
    reply: PendingReply,
    request_bytes: usize,
    exclusive: bool,
}

enum PendingReply {
    Ready(Reply),
    Waiting(ReplyFuture),
}

impl Pending {
    fn is_ready(&self) -> bool {
        matches!(self.reply, PendingReply::Ready(_))
    }

    /// Lets a reply that waits go on.
    fn poll(&mut self, cx: &mut Context<'_>) {
        if let PendingReply::Waiting(future) = &mut self.reply
            && let Poll::Ready(reply) = future.as_mut().poll(cx)
        {
            self.reply = PendingReply::Ready(reply);
        }
    }
}

impl Connection {
    pub(super) fn new(
        shared: Arc<Shared>,
        stream: TcpStream,
        client: Arc<ClientInfo>,
        state: Arc<ConnectionState>,
    ) -> Self {
        let reader = FrameReader::new(Arc::clone(&shared.request_memory), shared.limits.frame_bytes_max);
        Connection {
            shared,
            stream,
            client,
            state,
            reader,
            writer: ResponseWriter::default(),
            pending: VecDeque::new(),
            in_flight_requests: 0,
            in_flight_bytes: 0,
            unsent: None,
            held_back: false,
            ending: None,
            half_closed: false,
            deaf: false,
            has_waker: false,
            counted_in: 0,
            counted_out: 0,
        }
    }

    /// Takes turns until the connection ends, and says why.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Close> {
        if !self.has_waker {
            self.state.set_waker(cx.waker());
            self.has_waker = true;
        }
        match self.state.order() {
            None => {}
            Some(Order::Close(close)) => return Poll::Ready(close),
            Some(Order::Drain) => self.end_with(Close::new(ConnectionClose::Shutdown, "the broker stops")),
        }
        let was_deaf = self.deaf;
        let turn = self.take_turn(cx);
        if was_deaf && self.is_deaf() {
            self.half_closed |= self.has_hung_up();
        }
        self.show();
        turn
    }

    /// Whether requests are being served and nothing is read meanwhile.
    fn is_deaf(&mut self) -> bool {
        !self.pending.is_empty() && self.ending.is_none() && (self.reader.has_frames() || !self.has_room())
    }

    /// Whether the client closed its end, seen without reading what it sent before.
    fn has_hung_up(&self) -> bool {
        let mut polled = [PollFd::new(&self.stream, PollFlags::RDHUP)];
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        poll(&mut polled, Some(&Timespec::default())).is_ok() && polled[0].revents().intersects(gone)
    }

    fn take_turn(&mut self, cx: &mut Context<'_>) -> Poll<Close> {
        let turn_ends_at = self.reader.bytes_in() + TURN_BYTES as u64;
        let mut answers_due_at = self.reader.bytes_in() + ANSWERS_HELD_BYTES as u64;
        loop {
            if let Err(close) = self.collect_replies(cx) {
                return Poll::Ready(close);
            }
            let holds_answers = self.ending.is_none()
                && !self.writer.is_empty()
                && self.writer.is_small()
                && self.reader.bytes_in() < answers_due_at;
            if !holds_answers {
                if let Poll::Ready(Err(close)) = self.writer.poll_flush(cx, &self.stream) {
                    return Poll::Ready(close);
                }
                answers_due_at = self.reader.bytes_in() + ANSWERS_HELD_BYTES as u64;
            }
            self.settle();
            if self.dispatch_frames(cx) {
                continue;
            }
            if let Some(close) = self.ended() {
                return Poll::Ready(close);
            }
            let is_over = self.reader.bytes_in() >= turn_ends_at;
            let filled = if self.ending.is_some() || self.reader.has_frames() || !self.has_room() || is_over {
                Poll::Pending
            } else {
                self.reader.poll_fill(cx, &mut self.stream)
            };
            match filled {
                Poll::Ready(Ok(Filled::Frames)) => {}
                Poll::Ready(Ok(Filled::End(close))) => {
                    self.half_closed = close.kind == ConnectionClose::Peer;
                    self.end_with(close);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Close::io(&error)),
                // Nothing comes that they could wait for.
                Poll::Pending if holds_answers => answers_due_at = 0,
                Poll::Pending => {
                    if is_over {
                        cx.waker().wake_by_ref();
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Moves the replies at the front that are ready to the writer.
    fn collect_replies(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        if let Some(last) = self.pending.back_mut().filter(|last| last.exclusive) {
            last.poll(cx);
        }
        while let Some(mut first) = self.pending.pop_front() {
            first.poll(cx);
            match first.reply {
                PendingReply::Waiting(_) => {
                    self.pending.push_front(first);
                    break;
                }
                PendingReply::Ready(Reply::Frame(response)) => self.writer.push(response, first.request_bytes)?,
                PendingReply::Ready(Reply::Nothing) => self.finish(1, first.request_bytes),
                PendingReply::Ready(Reply::Close(reason)) => {
                    // What came later is not answered, whatever it did.
                    self.pending.clear();
                    self.ending = Some(reason.into());
                    self.half_closed = false;
                }
            }
        }
        if self.pending.is_empty() && self.pending.capacity() > 8 && !self.reader.has_frames() {
            self.pending = VecDeque::new();
        }
        Ok(())
    }

    fn settle(&mut self) {
        let finished = self.writer.take_finished();
        self.finish(finished.requests, finished.request_bytes);
        let memory_bytes = self.writer.memory_bytes();
        match &mut self.unsent {
            Some(_) if memory_bytes == 0 => self.unsent = None,
            Some(unsent) => unsent.account_for(memory_bytes),
            None if memory_bytes > 0 => self.unsent = Some(self.shared.response_memory.account(memory_bytes)),
            None => {}
        }
    }

    fn finish(&mut self, requests: usize, request_bytes: usize) {
        self.in_flight_requests -= requests;
        self.in_flight_bytes -= request_bytes;
    }

    /// Dispatches what was read and may start; whether anything did.
    fn dispatch_frames(&mut self, cx: &mut Context<'_>) -> bool {
        let mut dispatched = false;
        while !self.refuses_requests() && self.has_room() {
            let Some(frame) = self.reader.take_frame() else { break };
            let request_bytes = frame.len();
            self.in_flight_requests += 1;
            self.in_flight_bytes += request_bytes;
            let inbound = Inbound { frame, client: Arc::clone(&self.client) };
            let (reply, exclusive) = match self.shared.dispatch.dispatch(inbound) {
                Dispatched::Ready(reply) => (PendingReply::Ready(reply), false),
                Dispatched::Overlapping(future) => (PendingReply::Waiting(future), false),
                Dispatched::Exclusive(future) => (PendingReply::Waiting(future), true),
            };
            let mut pending = Pending { reply, request_bytes, exclusive };
            pending.poll(cx);
            self.pending.push_back(pending);
            dispatched = true;
        }
        dispatched
    }

    /// Whether another request may be in flight now.
    fn has_room(&mut self) -> bool {
        let limits = &self.shared.limits;
        if self.pending.back().is_some_and(|last| last.exclusive && !last.is_ready()) {
            // Reading on shows when the client leaves, as long as what comes needs no place.
            return !self.reader.has_frames();
        }
        // Only a connection with room of its own is asked whether all of them together have room.
        let unsent = self.writer.memory_bytes();
        let fits = self.in_flight_requests < limits.in_flight_requests_max
            && self.in_flight_bytes + unsent < limits.in_flight_bytes_max;
        let pool = &self.shared.response_memory;
        let share = if unsent > 0 { Share::Half } else { Share::Whole };
        self.held_back = fits && pool.used() > pool.ceiling(share);
        fits && !self.held_back
    }

    /// Whether a close was answered to an earlier request, or the last one must be finished first.
    fn refuses_requests(&self) -> bool {
        let answered_with_close = self.ending.as_ref().is_some_and(|close| !reads_to_the_end(close.kind));
        answered_with_close || self.pending.back().is_some_and(|last| last.exclusive && !last.is_ready())
    }

    /// Stops reading. What was read is served first.
    fn end_with(&mut self, close: Close) {
        self.ending.get_or_insert(close);
    }

    /// Why the connection is over, if it is.
    fn ended(&mut self) -> Option<Close> {
        let close = self.ending.as_ref()?;
        let unserved = reads_to_the_end(close.kind) && self.reader.has_frames();
        (self.pending.is_empty() && self.writer.is_empty() && !unserved).then(|| self.ending.take()).flatten()
    }

    fn show(&mut self) {
        let (bytes_in, bytes_out) = (self.reader.bytes_in(), self.writer.bytes_out());
        let metrics = &self.shared.metrics;
        if bytes_in != self.counted_in {
            metrics.bytes_in.add(bytes_in - self.counted_in);
            self.counted_in = bytes_in;
        }
        if bytes_out != self.counted_out {
            metrics.bytes_out.add(bytes_out - self.counted_out);
            self.counted_out = bytes_out;
        }
        self.deaf = self.is_deaf();
        let reading = self.ending.is_none() && !self.reader.has_frames() && self.has_room();
        self.state.show(&Activity {
            bytes_in,
            frames_in: self.reader.frames_in(),
            bytes_out,
            receiving: reading && self.reader.is_receiving() && !self.reader.is_waiting_for_memory(),
            waiting_for_memory: self.reader.is_waiting_for_memory(),
            sending: !self.writer.is_empty(),
            serving: !self.pending.is_empty(),
            half_closed: self.half_closed,
            held_back: self.held_back,
            deaf: self.deaf,
        });
    }
}

/// Whether requests that were read before the end are still served: not after an answer that was a close.
fn reads_to_the_end(kind: ConnectionClose) -> bool {
    matches!(
        kind,
        ConnectionClose::Peer
            | ConnectionClose::Shutdown
            | ConnectionClose::FrameSize
            | ConnectionClose::Tls
            | ConnectionClose::Http
    )
}
