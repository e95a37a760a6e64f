//! The codec as a whole, over every message at every version.
//!
//! [`generate`] makes random messages from the declarations; [`round_trip`] decodes and encodes them; [`oracle`] lets an
//! independent codec do the same; [`hostile`] breaks them in every way that a length, a tag or a cut can be wrong.

mod allocations;
mod generate;
mod hostile;
mod oracle;
mod round_trip;

use bytes::Bytes;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::{AnyRequest, AnyResponse};
use ottla_protocol::schema::{Form, Shape};
use ottla_protocol::wire::{DecodeError, EncodeError, Reader, Writer};

/// A request or a response type at one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Subject {
    api_key: ApiKey,
    version: i16,
    is_request: bool,
}

/// Either, decoded.
#[derive(Debug, Clone, PartialEq)]
enum Decoded {
    Request(AnyRequest),
    Response(AnyResponse),
}

impl Subject {
    /// Every type at every version.
    fn all() -> impl Iterator<Item = Subject> {
        ApiKey::ALL.iter().flat_map(|&api_key| {
            api_key
                .versions()
                .flat_map(move |version| [true, false].map(|is_request| Subject { api_key, version, is_request }))
        })
    }

    fn shape(self) -> Shape {
        if self.is_request { AnyRequest::shape(self.api_key) } else { AnyResponse::shape(self.api_key) }
    }

    fn form(self) -> Form {
        let flexible = self.api_key.first_flexible().is_some_and(|first| self.version >= first);
        Form { version: self.version, flexible, nullable: false }
    }

    /// Decodes a message; also returns the bytes that it leaves.
    fn decode(self, bytes: Bytes) -> Result<(Decoded, usize), DecodeError> {
        let mut reader = Reader::new(bytes);
        let decoded = if self.is_request {
            Decoded::Request(AnyRequest::decode(self.api_key, &mut reader, self.version)?)
        } else {
            Decoded::Response(AnyResponse::decode(self.api_key, &mut reader, self.version)?)
        };
        Ok((decoded, reader.remaining()))
    }
}

impl Decoded {
    fn encode(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut writer = Writer::new();
        match self {
            Self::Request(request) => request.encode(&mut writer, version)?,
            Self::Response(response) => response.encode(&mut writer, version)?,
        }
        Ok(writer.finish().into_bytes().expect("nothing decoded is external"))
    }
}
