//! How a message is declared: one line a field, from which encoding and decoding both follow.
//!
//! Owns the `message!` macro, the traits that it implements, and the wire form of each field type. A line reads
//! `name: Type = versions;`, where `versions` is a [`Field`] built by [`since`] and its methods, and may end in
//! `, default value`. The order of the lines is the order on the wire.
//!
//! Invariant: a field outside its versions is neither read nor written; on decoding it has its default, on encoding a value
//! other than the default is an error unless the field is ignorable.

mod declare;
mod value;

pub use value::{Nullable, Records, Value};

use crate::wire::{DecodeError, EncodeError, Reader, Writer};

/// A type with a wire form for each of several versions.
pub trait Message: Sized {
    /// Writes the message in the form of `version`.
    fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError>;

    /// Reads a message in the form of `version`. Bytes behind it are left in the reader.
    fn decode(reader: &mut Reader, version: i16) -> Result<Self, DecodeError>;
}

/// A request, with the type of its answer.
pub trait Request: Message {
    /// The API that it belongs to.
    const API_KEY: crate::ApiKey;
    /// What it is answered with.
    type Response: Message;
}

/// The versions in which a field exists, and how it behaves in them.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    from: i16,
    to: i16,
    /// First version in which the field may be null; past `to` for never.
    null_from: i16,
    ignorable: bool,
    tag: Option<u32>,
    flexible: bool,
}

/// A field that exists from `version` on.
pub const fn since(version: i16) -> Field {
    Field { from: version, to: i16::MAX, null_from: i16::MAX, ignorable: false, tag: None, flexible: true }
}

impl Field {
    /// The last version that has the field.
    pub const fn until(self, version: i16) -> Self {
        Self { to: version, ..self }
    }

    /// From `version` on the field may be null.
    pub const fn null(self, version: i16) -> Self {
        Self { null_from: version, ..self }
    }

    /// The value is dropped without an error in versions that lack the field.
    pub const fn ignorable(self) -> Self {
        Self { ignorable: true, ..self }
    }

    /// The field is written as a tagged field, and only when it differs from its default.
    pub const fn tag(self, tag: u32) -> Self {
        Self { tag: Some(tag), ..self }
    }

    /// The field keeps the older length encoding also in flexible versions.
    pub const fn never_flexible(self) -> Self {
        Self { flexible: false, ..self }
    }

    /// True when `version` has the field.
    pub const fn exists_in(self, version: i16) -> bool {
        self.from <= version && version <= self.to
    }

    /// True when a value that `version` has no place for may be dropped.
    pub const fn is_ignorable(self) -> bool {
        self.ignorable
    }

    /// The tag of a tagged field.
    pub const fn tag_number(self) -> Option<u32> {
        self.tag
    }

    /// The form of this field in a message of `form`.
    pub const fn form(self, form: Form) -> Form {
        Form {
            version: form.version,
            flexible: form.flexible && self.flexible,
            nullable: self.null_from <= form.version,
        }
    }
}

/// True when the tagged fields among these are in the order of their tags.
pub const fn tags_rise(fields: &[Field]) -> bool {
    let mut previous = None;
    let mut index = 0;
    while index < fields.len() {
        if let Some(tag) = fields[index].tag {
            if let Some(previous) = previous
                && previous >= tag
            {
                return false;
            }
            previous = Some(tag);
        }
        index += 1;
    }
    true
}

/// In which of its forms a value is on the wire.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// The version of the message.
    pub version: i16,
    /// Compact lengths and tagged fields (KIP-482).
    pub flexible: bool,
    /// Null is allowed here.
    pub nullable: bool,
}

/// Why a value could not be written; the struct that holds it adds its name.
#[derive(Debug)]
pub enum WriteError {
    /// Null where the version does not allow it.
    Null,
    /// Anything else.
    Encode(EncodeError),
}

impl From<EncodeError> for WriteError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

/// What a type looks like on the wire, for those who walk messages without knowing them: tests, above all.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A number or an id of so many bytes.
    Fixed(usize),
    /// One byte, zero or one.
    Bool,
    /// Text with a length of two bytes, or compact.
    String,
    /// Bytes or record batches with a length of four bytes, or compact.
    Bytes,
    /// A count of four bytes, or compact, and so many elements.
    Array(&'static Shape),
    /// These fields one after the other, then the tagged ones; where it may be null, a byte ahead of it says so.
    Struct(&'static [FieldShape]),
}

/// One line of a declaration.
#[derive(Debug, Clone, Copy)]
pub struct FieldShape {
    /// The field's name.
    pub name: &'static str,
    /// The versions that have it, and how it behaves in them.
    pub field: Field,
    /// What it looks like.
    pub shape: Shape,
}
/// Names the field in an error that came from its value.
pub fn locate(error: WriteError, message: &'static str, field: &'static str, version: i16) -> EncodeError {
    match error {
        WriteError::Null => EncodeError::NullNotAllowed { message, field, version },
        WriteError::Encode(error) => error,
    }
}
