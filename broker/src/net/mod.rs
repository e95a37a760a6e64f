//! Listeners, connections, frames: bytes in, bytes out, in order and within bounds.
//!
//! `server_sockets` is all of it; `listener` accepts; `connection` is one client, with `frame_reader` for what comes and
//! `response_writer` for what goes; `memory_pool` bounds what all of them hold; `reaper` ends those that stand still. Knows
//! no message: a request is a frame, an answer a list of pieces.

mod close;
mod connection;
mod connection_state;
mod frame_reader;
mod limits;
mod listener;
mod memory_pool;
mod reaper;
mod response_writer;
mod server_sockets;

#[cfg(test)]
mod net_test;
#[cfg(test)]
mod script_test;

pub(crate) use server_sockets::{BoundSockets, PanicGuard, ServerSockets};
