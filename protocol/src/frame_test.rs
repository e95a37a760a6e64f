//! Headers as clients send them, and headers that no honest client sends.

use super::*;
use crate::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use crate::messages::fetch::{FetchResponse, FetchableTopicResponse, PartitionData};
use crate::messages::metadata::MetadataRequest;
use crate::wire::Segment;
use crate::{ErrorCode, Records};

/// An ApiVersions header at `version` with these bytes where the client id belongs.
fn header(version: i16, rest: &[u8]) -> Reader {
    let mut bytes = vec![0, 18];
    bytes.extend(version.to_be_bytes());
    bytes.extend([0xff, 0xff, 0xff, 0xff]);
    bytes.extend(rest);
    Reader::new(Bytes::from(bytes))
}

fn request_header(api_key: ApiKey, api_version: i16) -> RequestHeader {
    RequestHeader { api_key: api_key.key(), api_version, correlation_id: 7, client_id: Some("me".to_owned()) }
}

#[test]
fn a_request_is_read_back_at_every_version() {
    for version in ApiKey::Metadata.versions() {
        let sent = request_header(ApiKey::Metadata, version);
        let body = MetadataRequest { topics: Some(Vec::new()), ..MetadataRequest::default() };
        let frame = encode_request(&sent, &body).unwrap().into_bytes().unwrap();
        assert_eq!(frame[..4], (frame.len() as u32 - 4).to_be_bytes());
        let mut reader = Reader::new(frame.slice(4..));
        assert_eq!(decode_request_header(&mut reader), Ok(sent));
        assert_eq!(MetadataRequest::decode(&mut reader, version), Ok(body));
        assert_eq!(reader.remaining(), 0);
    }
}

#[test]
fn a_client_id_may_be_null_but_not_broken() {
    let expected = RequestHeader { api_key: 18, api_version: 0, correlation_id: -1, client_id: None };
    assert_eq!(decode_request_header(&mut header(0, &[0xff, 0xff])), Ok(expected));
    for (broken, why) in [
        (&[0xff, 0xfe][..], "length -2"),
        (&[0, 3, b'a', b'b'], "past the end"),
        (&[0, 2, 0xc3, 0x28], "not UTF-8"),
        (&[0], "cut"),
    ] {
        assert!(decode_request_header(&mut header(0, broken)).is_err(), "{why}");
    }
}

#[test]
fn tagged_fields_of_a_header_are_skipped_when_they_are_sound() {
    assert!(decode_request_header(&mut header(3, &[0, 0, 1, 9, 1, 0])).is_ok());
    for (broken, why) in [
        (&[0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f][..], "2^32-1 of them"),
        (&[0, 0, 2, 9, 0, 9, 0], "a tag twice"),
        (&[0, 0, 2, 9, 0, 8, 0], "descending tags"),
        (&[0, 0, 1, 9, 2, 0], "a size past the end"),
        (&[0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0], "a count of six bytes"),
        (&[0, 0], "no count"),
    ] {
        assert!(decode_request_header(&mut header(3, broken)).is_err(), "{why}");
    }
}

/// The answer to either is made from the header alone: it must be readable up to the client id.
#[test]
fn headers_of_unknown_apis_and_versions_are_read() {
    let read = decode_request_header(&mut header(127, &[0, 1, b'x', 0xff])).unwrap();
    assert_eq!((read.api_key, read.api_version, read.client_id.as_deref()), (18, 127, Some("x")));
    let mut unknown = Reader::new(Bytes::from_static(&[0x7f, 0xff, 0, 1, 0, 0, 0, 1, 0xff, 0xff]));
    assert_eq!(decode_request_header(&mut unknown).unwrap().api_key, i16::MAX);
}

/// KIP-511: the header ahead of it has no tagged fields in any version, and the body of an unknown version is that of 0.
#[test]
fn api_versions_is_answered_with_the_oldest_header() {
    let body = ApiVersionsResponse { error_code: ErrorCode::UnsupportedVersion.code(), ..Default::default() };
    let frame = encode_response(9, ApiKey::ApiVersions, 0, &body).unwrap().into_bytes().unwrap();
    assert_eq!(frame[..], [0, 0, 0, 10, 0, 0, 0, 9, 0, 35, 0, 0, 0, 0]);
    for version in ApiKey::ApiVersions.versions() {
        let frame = encode_response(9, ApiKey::ApiVersions, version, &body).unwrap().into_bytes().unwrap();
        assert_eq!(decode_response(frame.slice(4..), ApiKey::ApiVersions, version), Ok((9, body.clone())));
    }
    let request = encode_request(&request_header(ApiKey::ApiVersions, 3), &ApiVersionsRequest::default());
    assert_eq!(request.unwrap().len(), 4 + 8 + 4 + 1 + 3);
}

#[test]
fn a_fetch_response_refers_to_its_records() {
    let records = Bytes::from(vec![1; 100_000]);
    let partition = |records| PartitionData { records, ..PartitionData::default() };
    let topic = FetchableTopicResponse {
        partitions: vec![
            partition(Records::Bytes(records.clone())),
            partition(Records::External { id: 3, len: 5_000_000 }),
        ],
        ..FetchableTopicResponse::default()
    };
    let response = FetchResponse { responses: vec![topic], ..FetchResponse::default() };
    for version in ApiKey::Fetch.versions() {
        let segments = encode_response(1, ApiKey::Fetch, version, &response).unwrap();
        let spliced: Vec<_> = segments.0.iter().filter(|segment| segment.len() >= records.len()).collect();
        assert!(matches!(spliced[0], Segment::Bytes(bytes) if bytes.as_ptr() == records.as_ptr()), "copied");
        assert_eq!(*spliced[1], Segment::External { id: 3, len: 5_000_000 });
        let Segment::Bytes(first) = &segments.0[0] else { panic!("a frame begins with its size") };
        assert_eq!(first[..4], (segments.len() as u32 - 4).to_be_bytes());
    }
}
