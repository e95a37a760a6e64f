//! Goal: what is decoded is what was sent, and is sent the same again. Method: random messages of every type at every
//! version, as bytes, are decoded and encoded; bytes and values must be those of before.

use bytes::Bytes;

use crate::Subject;
use crate::generate::{Random, message};

const MESSAGES_PER_SUBJECT: usize = 40;

#[test]
fn every_message_at_every_version_comes_back_as_it_was() {
    let mut random = Random::from_environment("round trip");
    for subject in Subject::all() {
        for _ in 0..MESSAGES_PER_SUBJECT {
            let bytes = Bytes::from(message(&mut random, subject.shape(), subject.form()).bytes);
            let (decoded, left) = subject.decode(bytes.clone()).unwrap_or_else(|error| {
                panic!("{subject:?}: {error}: {bytes:?}");
            });
            assert_eq!(left, 0, "{subject:?} leaves bytes of {bytes:?}");
            let encoded = decoded.encode(subject.version).unwrap_or_else(|error| panic!("{subject:?}: {error}"));
            assert_eq!(encoded, bytes, "{subject:?}: {decoded:#?}");
            assert_eq!(subject.decode(encoded).unwrap().0, decoded, "{subject:?}");
        }
    }
}

/// A field outside its versions decodes to its default, and a default may be encoded at every version: what came in at one
/// version goes out at the same one whatever else the type can hold.
#[test]
fn defaults_are_accepted_by_every_version_of_a_request_without_required_parts() {
    use ottla_protocol::messages::{api_versions::ApiVersionsRequest, produce::ProduceRequest};
    use ottla_protocol::wire::Writer;
    use ottla_protocol::{ApiKey, Message};

    for version in ApiKey::Produce.versions() {
        ProduceRequest::default().encode(&mut Writer::new(), version).unwrap();
    }
    for version in ApiKey::ApiVersions.versions() {
        ApiVersionsRequest::default().encode(&mut Writer::new(), version).unwrap();
    }
}
