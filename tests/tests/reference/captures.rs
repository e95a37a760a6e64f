//! Goal: what real clients and Apache Kafka put on the wire, our codec reads and writes. Method: each captured frame is decoded and
//! encoded again; the bytes must stay the same. `kafka-protocol`, a codec by others, must agree.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey as OracleKey, RequestKind, ResponseKind};
use ottla_protocol::ApiKey;
use ottla_protocol::frame::{decode_request_header, decode_response_header, encode_request_raw};
use ottla_protocol::messages::{AnyRequest, AnyResponse};
use ottla_protocol::wire::{Reader, Writer};

/// What `kafka-protocol` does not have yet.
const UNKNOWN_TO_THE_ORACLE: &[(ApiKey, i16)] = &[(ApiKey::ListOffsets, 11), (ApiKey::DescribeLogDirs, 5)];

/// The clients, by folder, with the number of captures that must be there at least.
const CLIENTS: &[(&str, usize)] = &[("kcat-1.7.1", 12), ("confluent-kafka-2.16.1", 28), ("kafka-python-3.0.12", 28)];

struct Capture {
    path: PathBuf,
    api_key: ApiKey,
    version: i16,
    is_request: bool,
    frame: Bytes,
}

fn captures(client: &str) -> Result<Vec<Capture>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/captures").join(client);
    let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    entries.map(|entry| read_capture(entry?.path())).collect()
}

/// A file is named `KEY-API-vVERSION.request` or `.response`.
fn read_capture(path: PathBuf) -> Result<Capture> {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).context("a file has a name")?;
    let mut parts = stem.split('-');
    let key = parts.next().context("a key")?.parse()?;
    let version = parts.nth(1).and_then(|part| part.strip_prefix('v')).context("a version")?.parse()?;
    let api_key = ApiKey::from_i16(key).with_context(|| format!("{stem}: unknown API"))?;
    let is_request = path.extension().is_some_and(|extension| extension == "request");
    let frame = Bytes::from(std::fs::read(&path)?);
    Ok(Capture { is_request, path, api_key, version, frame })
}

/// The body of a frame after it went through our codec, and the whole frame.
fn through_ours(capture: &Capture) -> Result<(Bytes, Bytes)> {
    let mut reader = Reader::new(capture.frame.clone());
    let mut writer = Writer::new();
    let header = if capture.is_request {
        let header = decode_request_header(&mut reader)?;
        ensure!((header.api_key, header.api_version) == (capture.api_key.key(), capture.version), "{header:?}");
        Some(header)
    } else {
        decode_response_header(&mut reader, capture.api_key, capture.version)?;
        None
    };
    let body_start = reader.position();
    let version = capture.version;
    if capture.is_request {
        AnyRequest::decode(capture.api_key, &mut reader, version)?.encode(&mut writer, version)?;
    } else {
        AnyResponse::decode(capture.api_key, &mut reader, version)?.encode(&mut writer, version)?;
    }
    ensure!(reader.remaining() == 0, "{} bytes are left", reader.remaining());
    let body = writer.finish().into_bytes().context("a body in one piece")?;
    let frame = match header {
        Some(header) => encode_request_raw(&header, &body)?.into_bytes().context("a frame in one piece")?.slice(4..),
        None => Bytes::from([&capture.frame[..body_start], &body].concat()),
    };
    Ok((body, frame))
}

#[test]
fn frames_of_real_clients_make_the_round_trip() {
    for (client, count_min) in CLIENTS {
        let captures = captures(client).unwrap();
        assert!(captures.len() >= *count_min, "{client}: {} captures", captures.len());
        for capture in captures {
            let name = capture.path.display();
            let (_, frame) = through_ours(&capture).unwrap_or_else(|error| panic!("{name}: {error:#}"));
            assert_eq!(frame, capture.frame, "{name}");
        }
    }
}

#[test]
fn another_codec_agrees_on_the_frames_of_real_clients() {
    for capture in CLIENTS.iter().flat_map(|(client, _)| captures(client).unwrap()) {
        let (body, _) = through_ours(&capture).unwrap();
        let known = !UNKNOWN_TO_THE_ORACLE.contains(&(capture.api_key, capture.version));
        let name = capture.path.display();
        match (through_oracle(&capture, body.clone()), known) {
            (Ok(by_oracle), true) => assert_eq!(by_oracle, body, "{name}"),
            (Err(error), true) => panic!("{name}: {error}"),
            (Ok(_), false) => panic!("the oracle has learnt {name}: take it off the list"),
            (Err(_), false) => {}
        }
    }
}

fn through_oracle(capture: &Capture, mut body: Bytes) -> Result<BytesMut, Box<dyn std::error::Error + Send + Sync>> {
    let key = OracleKey::try_from(capture.api_key.key()).map_err(|()| "an unknown API")?;
    let mut encoded = BytesMut::new();
    if capture.is_request {
        RequestKind::decode(key, &mut body, capture.version)?.encode(&mut encoded, capture.version)?;
    } else {
        ResponseKind::decode(key, &mut body, capture.version)?.encode(&mut encoded, capture.version)?;
    }
    if body.is_empty() { Ok(encoded) } else { Err(format!("{} bytes are left", body.len()).into()) }
}
