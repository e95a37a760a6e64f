//! Any frame that a client may send, without its size: header and body of a request.
//!
//! What decodes must encode, and what was encoded must come back as the same bytes (not the same as the input's: lengths
//! have longer spellings, and unknown tagged fields are skipped). From the repository's root, seeded by what real clients
//! sent:
//!
//! ```text
//! mkdir -p fuzz/corpus/request
//! cargo +nightly fuzz run request fuzz/corpus/request tests/golden/captures/*/
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_protocol::ApiKey;
use ottla_protocol::frame::decode_request_header;
use ottla_protocol::messages::AnyRequest;
use ottla_protocol::wire::{Reader, Writer};

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::new(data.to_vec().into());
    let Ok(header) = decode_request_header(&mut reader) else { return };
    let Some(api_key) = ApiKey::from_i16(header.api_key) else { return };
    let version = header.api_version;
    let Ok(request) = AnyRequest::decode(api_key, &mut reader, version) else { return };
    let encode = |request: &AnyRequest| {
        let mut writer = Writer::new();
        request.encode(&mut writer, version).expect("what was decoded can be encoded");
        writer.finish().into_bytes().expect("nothing decoded is external")
    };
    let encoded = encode(&request);
    let again = AnyRequest::decode(api_key, &mut Reader::new(encoded.clone()), version).expect("our own bytes");
    assert_eq!(encode(&again), encoded);
});
