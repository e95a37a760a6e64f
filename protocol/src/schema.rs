//! How a message is declared: one line a field, from which encoding and decoding both follow.
//!
//! Owns the `message!` macro, the traits that it implements, and the wire form of each field type. A line reads
//! `name: Type = versions;`, where `versions` is a [`Field`] built by [`since`] and its methods, and may end in
//! `, default value`. The order of the lines is the order on the wire.
//!
//! Invariant: a field outside its versions is neither read nor written; on decoding it has its default, on encoding a value
//! other than the default is an error unless the field is ignorable.

use bytes::Bytes;

use crate::uuid::Uuid;
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

/// Names the field in an error that came from its value.
pub fn locate(error: WriteError, message: &'static str, field: &'static str, version: i16) -> EncodeError {
    match error {
        WriteError::Null => EncodeError::NullNotAllowed { message, field, version },
        WriteError::Encode(error) => error,
    }
}

/// Declares messages and their nested structs; see the module's documentation for the form of a line.
///
/// `struct Name` is nested or embedded and takes its form from the message around it; `message Name, flexible N` is one of
/// its own and implements [`Message`]; `request Name => Response, flexible N` implements [`Request`] too, for the API that
/// `Name` without `Request` names. `flexible never` is for messages without compact encodings.
#[macro_export]
#[doc(hidden)]
macro_rules! message {
    () => {};
    ($(#[$meta:meta])* request $api:ident $name:ident => $response:ident, flexible $flexible:tt { $($body:tt)* } $($rest:tt)*) => {
        $crate::message! { $(#[$meta])* message $name, flexible $flexible { $($body)* } }
        impl $crate::schema::Request for $name {
            const API_KEY: $crate::ApiKey = $crate::ApiKey::$api;
            type Response = $response;
        }
        $crate::message! { $($rest)* }
    };
    ($(#[$meta:meta])* message $name:ident, flexible $flexible:tt { $($body:tt)* } $($rest:tt)*) => {
        $crate::message! { $(#[$meta])* struct $name { $($body)* } }
        impl $crate::schema::Message for $name {
            fn encode(&self, writer: &mut $crate::wire::Writer, version: i16) -> Result<(), $crate::wire::EncodeError> {
                let flexible = $crate::message!(@flexible $flexible, version);
                let form = $crate::schema::Form { version, flexible, nullable: false };
                $crate::schema::Value::write(self, writer, form)
                    .map_err(|error| $crate::schema::locate(error, stringify!($name), "", version))
            }

            fn decode(reader: &mut $crate::wire::Reader, version: i16) -> Result<Self, $crate::wire::DecodeError> {
                let flexible = $crate::message!(@flexible $flexible, version);
                let form = $crate::schema::Form { version, flexible, nullable: false };
                <Self as $crate::schema::Value>::read(reader, form)
            }
        }
        $crate::message! { $($rest)* }
    };
    (@flexible never, $version:ident) => { false };
    (@flexible $first:literal, $version:ident) => { $version >= $first };
    (@default $type:ty) => { <$type as Default>::default() };
    (@default $type:ty, $default:expr) => { $default };
    (
        $(#[$meta:meta])* struct $name:ident {
            $($field:ident: $type:ty = $spec:expr $(, default $default:expr)?;)*
        }
        $($rest:tt)*
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $(
                #[doc = concat!("On the wire: `", stringify!($spec), "`", $(", by default `", stringify!($default), "`",)? ".")]
                pub $field: $type,
            )*
        }

        // Tagged fields go out in the order of their lines, and KIP-482 wants their tags to rise.
        const _: () = {
            #[allow(unused_imports, reason = "only the lines of fields use it")]
            use $crate::schema::since;
            assert!($crate::schema::tags_rise(&[$($spec),*]), "declare tagged fields by rising tag");
        };

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $crate::message!(@default $type $(, $default)?),)* }
            }
        }

        impl $crate::schema::Value for $name {
            const SHAPE: $crate::schema::Shape = {
                #[allow(unused_imports, reason = "only the lines of fields use it")]
                use $crate::schema::since;
                $crate::schema::Shape::Struct(&[$(
                    $crate::schema::FieldShape {
                        name: stringify!($field),
                        field: $spec,
                        shape: <$type as $crate::schema::Value>::SHAPE,
                    },
                )*])
            };

            #[allow(unused_variables, unused_mut, reason = "a struct without fields or tags has no use for them")]
            fn write(
                &self,
                writer: &mut $crate::wire::Writer,
                form: $crate::schema::Form,
            ) -> Result<(), $crate::schema::WriteError> {
                #[allow(unused_imports, reason = "only the lines of fields use it")]
                use $crate::schema::since;
                let mut tagged = 0_u32;
                $({
                    const FIELD: $crate::schema::Field = $spec;
                    if !FIELD.exists_in(form.version) {
                        if !FIELD.is_ignorable() && self.$field != $crate::message!(@default $type $(, $default)?) {
                            return Err($crate::wire::EncodeError::NotInVersion {
                                message: stringify!($name),
                                field: stringify!($field),
                                version: form.version,
                            }.into());
                        }
                    } else if FIELD.tag_number().is_some() {
                        tagged += u32::from(self.$field != $crate::message!(@default $type $(, $default)?));
                    } else {
                        $crate::schema::Value::write(&self.$field, writer, FIELD.form(form)).map_err(|error| {
                            $crate::schema::locate(error, stringify!($name), stringify!($field), form.version)
                        })?;
                    }
                })*
                if form.flexible {
                    writer.unsigned_varint(tagged);
                    $({
                        const FIELD: $crate::schema::Field = $spec;
                        if let Some(tag) = FIELD.tag_number() {
                            if FIELD.exists_in(form.version)
                                && self.$field != $crate::message!(@default $type $(, $default)?)
                            {
                                writer.tagged_field(tag, |writer| {
                                    $crate::schema::Value::write(&self.$field, writer, FIELD.form(form)).map_err(
                                        |error| {
                                            let (message, field) = (stringify!($name), stringify!($field));
                                            $crate::schema::locate(error, message, field, form.version)
                                        },
                                    )
                                })?;
                            }
                        }
                    })*
                }
                Ok(())
            }

            #[allow(unused_variables, unused_mut, reason = "a struct without fields or tags has no use for them")]
            fn read(
                reader: &mut $crate::wire::Reader,
                form: $crate::schema::Form,
            ) -> Result<Self, $crate::wire::DecodeError> {
                #[allow(unused_imports, reason = "only the lines of fields use it")]
                use $crate::schema::since;
                let mut message = Self {
                    $($field: {
                        const FIELD: $crate::schema::Field = $spec;
                        if FIELD.exists_in(form.version) && FIELD.tag_number().is_none() {
                            $crate::schema::Value::read(reader, FIELD.form(form))?
                        } else {
                            $crate::message!(@default $type $(, $default)?)
                        }
                    },)*
                };
                if form.flexible {
                    reader.tagged_fields(|reader, tag| {
                        $({
                            const FIELD: $crate::schema::Field = $spec;
                            if FIELD.tag_number() == Some(tag) && FIELD.exists_in(form.version) {
                                message.$field = $crate::schema::Value::read(reader, FIELD.form(form))?;
                                return Ok(true);
                            }
                        })*
                        Ok(false)
                    })?;
                }
                Ok(message)
            }
        }

        impl $crate::schema::Nullable for $name {
            const SHAPE: $crate::schema::Shape = <Self as $crate::schema::Value>::SHAPE;
            const WHAT: &'static str = stringify!($name);

            fn write_option(
                value: Option<&Self>,
                writer: &mut $crate::wire::Writer,
                form: $crate::schema::Form,
            ) -> Result<(), $crate::schema::WriteError> {
                match value {
                    Some(value) => {
                        writer.i8(1);
                        $crate::schema::Value::write(value, writer, form)
                    }
                    None => {
                        writer.i8(-1);
                        Ok(())
                    }
                }
            }

            fn read_option(
                reader: &mut $crate::wire::Reader,
                form: $crate::schema::Form,
            ) -> Result<Option<Self>, $crate::wire::DecodeError> {
                if reader.i8()? < 0 {
                    return Ok(None);
                }
                <Self as $crate::schema::Value>::read(reader, form).map(Some)
            }
        }

        $crate::message! { $($rest)* }
    };
}
