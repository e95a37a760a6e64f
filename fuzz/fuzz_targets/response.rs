//! Any response that a broker may send to our client: two bytes of API key and two of version choose its type, the body
//! follows.
//!
//! `cargo +nightly fuzz run response`, from the repository's root. See `request` for what must hold.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::AnyResponse;
use ottla_protocol::wire::{Reader, Writer};

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::new(data.to_vec().into());
    let (Ok(key), Ok(version)) = (reader.i16(), reader.i16()) else { return };
    let Some(api_key) = ApiKey::from_i16(key) else { return };
    let Ok(response) = AnyResponse::decode(api_key, &mut reader, version) else { return };
    let encode = |response: &AnyResponse| {
        let mut writer = Writer::new();
        response.encode(&mut writer, version).expect("what was decoded can be encoded");
        writer.finish().into_bytes().expect("nothing decoded is external")
    };
    let encoded = encode(&response);
    let again = AnyResponse::decode(api_key, &mut Reader::new(encoded.clone()), version).expect("our own bytes");
    assert_eq!(encode(&again), encoded);
});
