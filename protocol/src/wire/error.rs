//! Why bytes are no message, and why a message can not become bytes.
//!
//! Every error carries what was found and, where there is one, the limit.

use thiserror::Error;

/// Why bytes could not be decoded. The connection that sent them cannot be trusted to be in step any more.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A value goes past the end of the frame or of its tagged field.
    #[error("{what} needs {needed} bytes at position {position}, {left} are left")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes that it needs.
        needed: usize,
        /// Where it starts.
        position: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// A length that no value has.
    #[error("{what} has the length {length}")]
    BadLength {
        /// What was being read.
        what: &'static str,
        /// The length as it was declared.
        length: i64,
    },
    /// Null where the schema has none.
    #[error("{what} is null, which this version does not allow")]
    UnexpectedNull {
        /// What was being read.
        what: &'static str,
    },
    /// A variable-length integer that does not end or does not fit.
    #[error("the variable-length integer at position {position} is longer than {bits} bits")]
    VarintOverflow {
        /// Where it starts.
        position: usize,
        /// Bits that it may have.
        bits: u32,
    },
    /// Text that is not UTF-8.
    #[error("the string at position {position} is not UTF-8")]
    NotUtf8 {
        /// Where its bytes start.
        position: usize,
    },
    /// Tagged fields out of order, or one of them twice (KIP-482 demands ascending tags).
    #[error("tagged field {tag} follows {previous}")]
    TagOrder {
        /// The offending tag.
        tag: u32,
        /// The one before it.
        previous: u32,
    },
    /// A tagged field whose content is shorter than its declared size.
    #[error("tagged field {tag} leaves {left} of its bytes unread")]
    TagSize {
        /// The tag.
        tag: u32,
        /// Bytes that nothing read.
        left: usize,
    },
    /// The decoded form would take more memory than the frame is allowed.
    #[error("decoding needs more than the {budget} bytes of memory that this frame may use")]
    OverBudget {
        /// What the frame may use, in bytes.
        budget: usize,
    },
    /// An API or a version that this codec does not have.
    #[error("api key {api_key} has no version {version} here")]
    Unsupported {
        /// The API.
        api_key: i16,
        /// The version.
        version: i16,
    },
}

/// Why a message could not be encoded: it says something that the version has no words for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A field is set that the version lacks and that must not be dropped.
    #[error("{message}.{field} is set, but version {version} does not have it")]
    NotInVersion {
        /// The message or nested struct.
        message: &'static str,
        /// The field.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// Null in a version that does not allow it.
    #[error("{message}.{field} is null, which version {version} does not allow")]
    NullNotAllowed {
        /// The message or nested struct.
        message: &'static str,
        /// The field.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A value too long for its length field.
    #[error("a value of {length} bytes or elements is longer than the {limit} that its length field can hold")]
    TooLong {
        /// Its length.
        length: usize,
        /// The highest that fits.
        limit: usize,
    },
}
