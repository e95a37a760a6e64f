//! Frames: the size prefix, the request and response headers, and a body in between.
//!
//! Owns how the parts are put together; limits on the size of a frame are the caller's, who reads it off the wire.

use bytes::Bytes;

use crate::ApiKey;
use crate::schema::{Message, Request};
use crate::wire::{DecodeError, EncodeError, Reader, Segments, Writer};

/// What precedes the body of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API's key, which may be one that this codec does not know.
    pub api_key: i16,
    /// The version of the body.
    pub api_version: i16,
    /// Chosen by the client, returned with the answer.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<String>,
}

/// Reads a request header of the version that its API key and version ask for, and leaves the reader at the body.
///
/// The tagged fields of a header are read only when the codec knows the API at that version: nobody could find the body of
/// another one.
pub fn decode_request_header(reader: &mut Reader) -> Result<RequestHeader, DecodeError> {
    let api_key = reader.i16()?;
    let api_version = reader.i16()?;
    let correlation_id = reader.i32()?;
    let client_id = reader.string(false)?;
    if let Some(known) = ApiKey::from_i16(api_key).filter(|known| known.has_version(api_version))
        && known.request_header_version(api_version) >= 2
    {
        reader.tagged_fields(|_, _| Ok(false))?;
    }
    Ok(RequestHeader { api_key, api_version, correlation_id, client_id })
}

/// Writes a whole request with its size prefix. `header.api_key` must be the request's.
pub fn encode_request<R: Request>(header: &RequestHeader, request: &R) -> Result<Segments, EncodeError> {
    debug_assert_eq!(header.api_key, R::API_KEY.key());
    let mut writer = begin_request(header)?;
    request.encode(&mut writer, header.api_version)?;
    writer.finish_frame()
}

/// Writes a whole request whose body is already encoded, with its size prefix.
pub fn encode_request_raw(header: &RequestHeader, body: &[u8]) -> Result<Segments, EncodeError> {
    let mut writer = begin_request(header)?;
    writer.raw(body);
    writer.finish_frame()
}

fn begin_request(header: &RequestHeader) -> Result<Writer, EncodeError> {
    let mut writer = Writer::new();
    writer.begin_frame();
    writer.i16(header.api_key);
    writer.i16(header.api_version);
    writer.i32(header.correlation_id);
    writer.string(header.client_id.as_deref(), false)?;
    if ApiKey::from_i16(header.api_key).is_some_and(|known| known.request_header_version(header.api_version) >= 2) {
        writer.unsigned_varint(0);
    }
    Ok(writer)
}

/// Writes a whole response with its size prefix.
pub fn encode_response<M: Message>(
    correlation_id: i32,
    api_key: ApiKey,
    version: i16,
    response: &M,
) -> Result<Segments, EncodeError> {
    let mut writer = Writer::new();
    writer.begin_frame();
    writer.i32(correlation_id);
    if api_key.response_header_version(version) >= 1 {
        writer.unsigned_varint(0);
    }
    response.encode(&mut writer, version)?;
    writer.finish_frame()
}

/// Reads a response header: the correlation id. Leaves the reader at the body.
pub fn decode_response_header(reader: &mut Reader, api_key: ApiKey, version: i16) -> Result<i32, DecodeError> {
    let correlation_id = reader.i32()?;
    if api_key.response_header_version(version) >= 1 {
        reader.tagged_fields(|_, _| Ok(false))?;
    }
    Ok(correlation_id)
}

/// Reads a whole response without its size prefix: the correlation id and the body.
pub fn decode_response<M: Message>(frame: Bytes, api_key: ApiKey, version: i16) -> Result<(i32, M), DecodeError> {
    let mut reader = Reader::new(frame);
    let correlation_id = decode_response_header(&mut reader, api_key, version)?;
    Ok((correlation_id, M::decode(&mut reader, version)?))
}

#[cfg(test)]
#[path = "frame_test.rs"]
mod tests;
