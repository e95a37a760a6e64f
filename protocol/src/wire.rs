//! Reading and writing primitive values within bounds.
//!
//! [`Reader`] owns the position in one frame, [`Writer`] the bytes of one being made. Neither knows any message.
//!
//! Invariant: nothing is read past the end of the frame, no allocation is larger than what the budget has left, and a
//! length that was read is compared with the bytes at hand before anything else happens with it.

mod error;
mod reader;
mod segments;
mod writer;

pub use error::{DecodeError, EncodeError};
pub use reader::Reader;
pub use segments::{Segment, Segments};
pub use writer::Writer;

#[cfg(test)]
#[path = "wire_test.rs"]
mod tests;
