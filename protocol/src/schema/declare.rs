//! The `message!` macro: a struct with its defaults, its shape, its encoder and its decoder from one line a field.

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
