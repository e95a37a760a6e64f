//! The types that a field can have, and what each looks like on the wire: lengths, nulls, arrays, records.

use bytes::Bytes;

use super::{Form, Shape, WriteError};
use crate::uuid::Uuid;
use crate::wire::{DecodeError, Reader, Writer};

/// A value that can be a field.
pub trait Value: Sized {
    /// What it looks like.
    const SHAPE: Shape;

    /// Writes the value.
    fn write(&self, writer: &mut Writer, form: Form) -> Result<(), WriteError>;

    /// Reads a value.
    fn read(reader: &mut Reader, form: Form) -> Result<Self, DecodeError>;
}

/// A value that has a form for null. `Option` of it is a [`Value`].
pub trait Nullable: Sized {
    /// What it looks like when it is not null.
    const SHAPE: Shape;

    /// Writes the value, or null.
    fn write_option(value: Option<&Self>, writer: &mut Writer, form: Form) -> Result<(), WriteError>;

    /// Reads a value, or null.
    fn read_option(reader: &mut Reader, form: Form) -> Result<Option<Self>, DecodeError>;

    /// The type, for errors.
    const WHAT: &'static str;

    /// Reads a value that must not be null.
    fn read_required(reader: &mut Reader, form: Form) -> Result<Self, DecodeError> {
        Self::read_option(reader, form)?.ok_or(DecodeError::UnexpectedNull { what: Self::WHAT })
    }
}

impl<T: Nullable> Value for Option<T> {
    const SHAPE: Shape = T::SHAPE;

    fn write(&self, writer: &mut Writer, form: Form) -> Result<(), WriteError> {
        if self.is_none() && !form.nullable {
            return Err(WriteError::Null);
        }
        T::write_option(self.as_ref(), writer, form)
    }

    fn read(reader: &mut Reader, form: Form) -> Result<Self, DecodeError> {
        if form.nullable { T::read_option(reader, form) } else { T::read_required(reader, form).map(Some) }
    }
}

macro_rules! fixed_width {
    ($($type:ty => $name:ident;)*) => {$(
        impl Value for $type {
            const SHAPE: Shape = Shape::Fixed(size_of::<$type>());

            #[inline]
            fn write(&self, writer: &mut Writer, _form: Form) -> Result<(), WriteError> {
                writer.$name(*self);
                Ok(())
            }

            fn read(reader: &mut Reader, _form: Form) -> Result<Self, DecodeError> {
                reader.$name()
            }
        }
    )*};
}

fixed_width! {
    i8 => i8;
    i16 => i16;
    u16 => u16;
    i32 => i32;
    u32 => u32;
    i64 => i64;
    f64 => f64;
}

impl Value for bool {
    const SHAPE: Shape = Shape::Bool;

    fn write(&self, writer: &mut Writer, _form: Form) -> Result<(), WriteError> {
        writer.i8(i8::from(*self));
        Ok(())
    }

    fn read(reader: &mut Reader, _form: Form) -> Result<Self, DecodeError> {
        Ok(reader.i8()? != 0)
    }
}

impl Value for Uuid {
    const SHAPE: Shape = Shape::Fixed(16);

    fn write(&self, writer: &mut Writer, _form: Form) -> Result<(), WriteError> {
        writer.raw(&self.0);
        Ok(())
    }

    fn read(reader: &mut Reader, _form: Form) -> Result<Self, DecodeError> {
        reader.uuid().map(Uuid)
    }
}

impl Nullable for String {
    const SHAPE: Shape = Shape::String;
    const WHAT: &'static str = "a string";

    fn write_option(value: Option<&Self>, writer: &mut Writer, form: Form) -> Result<(), WriteError> {
        Ok(writer.string(value.map(String::as_str), form.flexible)?)
    }

    fn read_option(reader: &mut Reader, form: Form) -> Result<Option<Self>, DecodeError> {
        reader.string(form.flexible)
    }
}

impl Nullable for Bytes {
    const SHAPE: Shape = Shape::Bytes;
    const WHAT: &'static str = "a byte field";

    fn write_option(value: Option<&Self>, writer: &mut Writer, form: Form) -> Result<(), WriteError> {
        Ok(writer.bytes(value.map(|bytes| bytes.as_ref()), form.flexible)?)
    }

    fn read_option(reader: &mut Reader, form: Form) -> Result<Option<Self>, DecodeError> {
        reader.bytes(form.flexible)
    }
}

impl<T: Value> Nullable for Vec<T> {
    const SHAPE: Shape = Shape::Array(&T::SHAPE);
    const WHAT: &'static str = "an array";

    fn write_option(value: Option<&Self>, writer: &mut Writer, form: Form) -> Result<(), WriteError> {
        writer.array_length(value.map(Vec::len), form.flexible)?;
        let element_form = Form { nullable: false, ..form };
        value.into_iter().flatten().try_for_each(|element| element.write(writer, element_form))
    }

    fn read_option(reader: &mut Reader, form: Form) -> Result<Option<Self>, DecodeError> {
        let Some(count) = reader.array_length(form.flexible)? else { return Ok(None) };
        reader.charge(count.saturating_mul(size_of::<T>()))?;
        let element_form = Form { nullable: false, ..form };
        // A count may lie up to the number of bytes left, and an element in memory be twenty times as large as on the wire:
        // what is reserved ahead is no more than those bytes. An honest long array grows once or twice.
        let mut elements = Vec::with_capacity(count.min(reader.remaining() / size_of::<T>().max(1) + 1));
        for _ in 0..count {
            elements.push(T::read(reader, element_form)?);
        }
        Ok(Some(elements))
    }
}

macro_rules! required {
    ($([$($generics:tt)*] $type:ty;)*) => {$(
        impl<$($generics)*> Value for $type {
            const SHAPE: Shape = <Self as Nullable>::SHAPE;

            fn write(&self, writer: &mut Writer, form: Form) -> Result<(), WriteError> {
                Self::write_option(Some(self), writer, form)
            }

            fn read(reader: &mut Reader, form: Form) -> Result<Self, DecodeError> {
                Self::read_required(reader, form)
            }
        }
    )*};
}

required! {
    [] String;
    [] Bytes;
    [T: Value] Vec<T>;
}

/// Record batches in a produce request or a fetch response.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Records {
    /// No field at all.
    #[default]
    Null,
    /// Bytes in memory; an empty one is "no records".
    Bytes(Bytes),
    /// `len` bytes that the sender puts in, such as a range of a segment file. Never comes out of decoding.
    External {
        /// The sender's name for them.
        id: u32,
        /// How many there are.
        len: u32,
    },
}

impl Value for Records {
    const SHAPE: Shape = Shape::Bytes;

    fn write(&self, writer: &mut Writer, form: Form) -> Result<(), WriteError> {
        match self {
            Self::Null if !form.nullable => return Err(WriteError::Null),
            Self::Null => writer.bytes(None, form.flexible)?,
            Self::Bytes(bytes) => writer.records(bytes, form.flexible)?,
            Self::External { id, len } => writer.external(*id, *len, form.flexible)?,
        }
        Ok(())
    }

    fn read(reader: &mut Reader, form: Form) -> Result<Self, DecodeError> {
        match reader.bytes(form.flexible)? {
            Some(bytes) => Ok(Self::Bytes(bytes)),
            None if form.nullable => Ok(Self::Null),
            None => Err(DecodeError::UnexpectedNull { what: "records" }),
        }
    }
}
