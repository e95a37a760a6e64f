//! What a connection shows of itself to the reaper, and how it is told to end.
//!
//! Owns the cells between the two. Only the connection's task writes what is shown; the order to end is given once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

use super::close::Close;

/// What a connection was doing at the end of its last turn.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Activity {
    pub(super) bytes_in: u64,
    pub(super) frames_in: u64,
    pub(super) bytes_out: u64,
    /// A request was begun, and the connection is waiting for more of it.
    pub(super) receiving: bool,
    /// It would read if it had memory.
    pub(super) waiting_for_memory: bool,
    /// Answers wait for the client to read.
    pub(super) sending: bool,
    /// Requests are being served.
    pub(super) serving: bool,
    /// The client closed its end.
    pub(super) half_closed: bool,
    /// It holds requests back because answers of all connections fill their memory.
    pub(super) held_back: bool,
    /// It waits for answers and reads nothing meanwhile, so that it does not see the client leave.
    pub(super) deaf: bool,
}

const RECEIVING: u64 = 1;
const WAITING_FOR_MEMORY: u64 = 1 << 1;
const SENDING: u64 = 1 << 2;
const SERVING: u64 = 1 << 3;
const HALF_CLOSED: u64 = 1 << 4;
const HELD_BACK: u64 = 1 << 5;
const DEAF: u64 = 1 << 6;

/// The cells.
#[derive(Debug, Default)]
pub(super) struct ConnectionState {
    bytes_in: AtomicU64,
    frames_in: AtomicU64,
    bytes_out: AtomicU64,
    phase: AtomicU64,
    ordered: AtomicBool,
    order: Mutex<Option<Order>>,
    waker: Mutex<Option<Waker>>,
}

/// How a connection is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    /// Answer what was read, then end.
    Drain,
    /// End now.
    Close(Close),
}

impl ConnectionState {
    /// Shows what the connection does. Relaxed: the reaper looks twice a second and needs no order between the cells.
    pub(super) fn show(&self, activity: &Activity) {
        self.bytes_in.store(activity.bytes_in, Ordering::Relaxed);
        self.frames_in.store(activity.frames_in, Ordering::Relaxed);
        self.bytes_out.store(activity.bytes_out, Ordering::Relaxed);
        let flag = |set: bool, flag: u64| if set { flag } else { 0 };
        let phase = flag(activity.receiving, RECEIVING)
            | flag(activity.waiting_for_memory, WAITING_FOR_MEMORY)
            | flag(activity.sending, SENDING)
            | flag(activity.serving, SERVING)
            | flag(activity.half_closed, HALF_CLOSED)
            | flag(activity.held_back, HELD_BACK)
            | flag(activity.deaf, DEAF);
        self.phase.store(phase, Ordering::Relaxed);
    }

    /// What the connection last showed.
    pub(super) fn activity(&self) -> Activity {
        let phase = self.phase.load(Ordering::Relaxed);
        Activity {
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            frames_in: self.frames_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            receiving: phase & RECEIVING != 0,
            waiting_for_memory: phase & WAITING_FOR_MEMORY != 0,
            sending: phase & SENDING != 0,
            serving: phase & SERVING != 0,
            half_closed: phase & HALF_CLOSED != 0,
            held_back: phase & HELD_BACK != 0,
            deaf: phase & DEAF != 0,
        }
    }

    /// Gives an order and wakes the connection; a later `Close` overrides a `Drain`.
    pub(super) fn give(&self, order: Order) {
        {
            let mut given = self.order.lock();
            if matches!(*given, Some(Order::Close(_))) {
                return;
            }
            *given = Some(order);
        }
        self.ordered.store(true, Ordering::Release);
        self.wake();
    }

    /// The order that was given, if any.
    pub(super) fn order(&self) -> Option<Order> {
        if !self.ordered.load(Ordering::Acquire) {
            return None;
        }
        self.order.lock().clone()
    }

    /// Lets the connection have a turn.
    pub(super) fn wake(&self) {
        let waker = self.waker.lock().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// How to wake the connection: set before its first turn ends, and the same for all its life.
    pub(super) fn set_waker(&self, waker: &Waker) {
        *self.waker.lock() = Some(waker.clone());
    }
}
