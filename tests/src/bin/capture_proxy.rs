//! A TCP proxy that keeps the requests of a client: one file for each API and version, as the bytes of a frame.

fn main() {}
