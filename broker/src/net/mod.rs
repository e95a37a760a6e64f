//! Listeners, connections, frames: bytes in, bytes out, in order and within bounds.
