//! Kafka's wire protocol and record batches: bytes to types and back. No I/O, no async, no clock.
//!
//! [`messages`] has one module an API; [`frame`] puts headers around them; [`wire`] reads and writes values within bounds.
//! Nothing that comes from outside can make this crate panic or allocate more than its budget.

pub mod frame;
pub mod messages;
pub mod records;
pub mod schema;
pub mod wire;

mod api_key;
mod error_code;
mod uuid;

pub use api_key::ApiKey;
pub use error_code::ErrorCode;
pub use schema::{Message, Records, Request};
pub use uuid::{ParseUuidError, Uuid};
