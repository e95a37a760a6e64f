//! Goal: the declarations say what Kafka says. Method: random messages of ours are decoded and encoded again by
//! `kafka-protocol`, a codec generated from Kafka's own definitions by others; the bytes must stay the same. As ours come
//! back the same from our codec (see `round_trip`), the two agree in both directions.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey as OracleKey, RequestKind, ResponseKind};
use ottla_protocol::ApiKey;

use crate::Subject;
use crate::generate::{Random, message};

const MESSAGES_PER_SUBJECT: usize = 10;

/// What the oracle does not have yet. Whoever updates it shortens this list.
const UNKNOWN_TO_THE_ORACLE: &[Subject] = &[
    Subject { api_key: ApiKey::ListOffsets, version: 11, is_request: true },
    Subject { api_key: ApiKey::ListOffsets, version: 11, is_request: false },
    Subject { api_key: ApiKey::OffsetCommit, version: 10, is_request: true },
    Subject { api_key: ApiKey::OffsetFetch, version: 10, is_request: true },
    Subject { api_key: ApiKey::WriteTxnMarkers, version: 2, is_request: true },
    Subject { api_key: ApiKey::WriteTxnMarkers, version: 2, is_request: false },
    Subject { api_key: ApiKey::DescribeLogDirs, version: 5, is_request: true },
    Subject { api_key: ApiKey::DescribeLogDirs, version: 5, is_request: false },
];

#[test]
fn another_codec_reads_and_writes_the_same_bytes() {
    let mut random = Random::from_environment("oracle");
    for subject in Subject::all() {
        let key = OracleKey::try_from(subject.api_key.key()).expect("the oracle knows every API");
        let known = !UNKNOWN_TO_THE_ORACLE.contains(&subject);
        for _ in 0..MESSAGES_PER_SUBJECT {
            let bytes = Bytes::from(message(&mut random, subject.shape(), subject.form()).bytes);
            match through_oracle(subject, key, bytes.clone()) {
                Ok(by_oracle) if known => {
                    assert_eq!(by_oracle, bytes, "{subject:?}: {:#?}", subject.decode(bytes.clone()))
                }
                Err(error) if known => panic!("{subject:?}: {error:#}: {:#?}", subject.decode(bytes.clone())),
                Ok(_) => panic!("the oracle has learnt {subject:?}: take it off the list"),
                Err(_) => {}
            }
        }
    }
}

/// Decodes and encodes by the other codec; what it does not read is an error.
fn through_oracle(
    subject: Subject,
    key: OracleKey,
    mut bytes: Bytes,
) -> Result<BytesMut, Box<dyn std::error::Error + Send + Sync>> {
    let mut encoded = BytesMut::new();
    if subject.is_request {
        RequestKind::decode(key, &mut bytes, subject.version)?.encode(&mut encoded, subject.version)?;
    } else {
        ResponseKind::decode(key, &mut bytes, subject.version)?.encode(&mut encoded, subject.version)?;
    }
    if bytes.is_empty() { Ok(encoded) } else { Err(format!("{} bytes are left", bytes.len()).into()) }
}
