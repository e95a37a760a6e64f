//! Frames and headers: lengths, silence, other protocols, unknown APIs and versions, client ids, tagged fields, pipelines.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ottla_protocol::messages::api_versions::ApiVersionsRequest;
use ottla_protocol::messages::metadata::MetadataRequest;
use ottla_tests::connection::{RawConnection, Reply, decode_response};
use ottla_tests::process::raise_descriptor_limit;
use ottla_tests::wait::{PATIENCE, wait_for};

use crate::victim::Victim;

const FRAME_BYTES_MAX: i32 = 100 << 20;

/// A frame: size, key, version, correlation id 7, the bytes of the client id with its length, the rest.
fn frame(api_key: i16, version: i16, client_id: &[u8], rest: &[u8]) -> Vec<u8> {
    let header = [&api_key.to_be_bytes()[..], &version.to_be_bytes(), &7_i32.to_be_bytes()].concat();
    let body = [&header, client_id, rest].concat();
    [&(body.len() as i32).to_be_bytes()[..], &body].concat()
}

/// Item 10; fewer where the system does not let a process have so many descriptors.
const TRICKLES: usize = 5_000;

const NO_CLIENT_ID: &[u8] = &[0xff, 0xff];

#[test]
fn lengths_that_no_frame_has_close_the_connection() {
    let mut victim = Victim::start().unwrap();
    let lengths = [-1, i32::MIN, i32::MAX, FRAME_BYTES_MAX + 1, 0, 3];
    for length in lengths {
        let bytes = [&length.to_be_bytes()[..], &[0; 3]].concat();
        victim.refuses(&format!("length {length}"), &bytes).unwrap();
    }
    // Nothing was allocated for the two gigabytes, not even for a moment.
    assert!(victim.process().usage().unwrap().resident_bytes_max < 200 << 20);
}

#[test]
fn other_protocols_are_closed_and_named_in_the_log() {
    let mut victim = Victim::start().unwrap();
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03rest of a client hello";
    victim.refuses("a TLS client hello", hello).unwrap();
    victim.refuses("an HTTP request", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    for word in ["TLS", "HTTP"] {
        let mut logged = || Ok(victim.process().output().contains(word).then_some(()));
        wait_for(&format!("the log speaks of {word}"), PATIENCE, &mut logged).unwrap();
    }
}

#[test]
fn announced_frames_that_do_not_come_are_given_up_and_take_no_memory() {
    let mut victim = Victim::start().unwrap();
    let mut silent = Vec::new();
    for _ in 0..100 {
        let mut connection = victim.connect().unwrap();
        connection.send_bytes(&[&FRAME_BYTES_MAX.to_be_bytes()[..], &[0]].concat()).unwrap();
        connection.set_read_patience(Duration::from_secs(20)).unwrap();
        silent.push(connection);
    }
    victim.serve_healthy().unwrap();
    assert!(victim.process().usage().unwrap().resident_bytes_max < 200 << 20);
    let started = Instant::now();
    for connection in &mut silent {
        connection.expect_closed().unwrap();
    }
    let taken = started.elapsed();
    assert!((Duration::from_secs(5)..Duration::from_secs(15)).contains(&taken), "closed after {taken:?}");
    drop(silent);
    // A buffer of up to a mebibyte is taken ahead of its bytes as long as half of the pool of 256 MiB is free.
    victim.check_within("100 announced frames", 128 << 20).unwrap();
}

/// Also the two ways to be slow: a trickle is as good as silence, a narrow but steady line is served.
#[test]
fn a_trickle_is_given_up_while_a_slow_line_is_served() {
    let trickles = TRICKLES.min(raise_descriptor_limit().unwrap() / 2);
    let mut victim = Victim::start().unwrap();
    println!("{trickles} trickles");
    let mut trickles: Vec<RawConnection> = (0..trickles).map(|_| victim.connect().unwrap()).collect();
    let mut slow = victim.connect().unwrap();
    let started = Instant::now();
    // The request of a client with a name that takes no room and a body that is ignored: 1 MB at 85 KB/s.
    let served = frame(18, 0, NO_CLIENT_ID, &vec![0; 1_000_000]);
    let mut open = trickles.len();
    let mut sent = 0;
    for tick in 0_usize.. {
        let due = served.len().min((started.elapsed().as_secs_f64() * 85_000.0) as usize);
        slow.send_bytes(&served[sent..due]).unwrap();
        sent = due;
        if tick % 40 == 0 {
            // One byte every two seconds; whoever was closed cannot be written to.
            let bytes = [&[0, 1, 0, 0][..], &[0; 64]].concat();
            let at = tick / 40;
            trickles.retain_mut(|connection| connection.send_bytes(&bytes[at..=at]).is_ok());
            open = trickles.len();
        }
        if sent == served.len() && open == 0 {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{open} trickles are still served");
        // The pace of the attack, not a wait for the broker.
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(matches!(slow.read().unwrap(), Reply::Frame(_)), "the slow line was cut");
    drop((trickles, slow));
    victim.check("trickles").unwrap();
}

#[test]
fn unknown_apis_and_versions_close_the_connection() {
    let mut victim = Victim::start().unwrap();
    let requests =
        [(999, 0), (-1, 0), (i16::MIN, i16::MIN), (4, 7), (52, 0), (0, 2), (0, 14), (1, 3), (3, -1), (19, 127)];
    for (api_key, version) in requests {
        victim.refuses(&format!("key {api_key} v{version}"), &frame(api_key, version, NO_CLIENT_ID, &[0; 40])).unwrap();
    }
    let mut connection = victim.connect().unwrap();
    connection.send_bytes(&frame(18, 127, NO_CLIENT_ID, &[0xff; 9])).unwrap();
    let Reply::Frame(answer) = connection.read().unwrap() else { panic!("ApiVersions v127 was not answered") };
    let (correlation_id, response) = decode_response::<ApiVersionsRequest>(answer, 0).unwrap();
    assert_eq!((correlation_id, response.error_code), (7, 35));
    assert!(response.api_keys.iter().any(|api| (api.api_key, api.max_version) == (18, 4)));
    drop(connection);
    victim.check("ApiVersions v127").unwrap();
}

#[test]
fn client_ids_and_tagged_fields_that_break_the_rules_close_the_connection() {
    let mut victim = Victim::start().unwrap();
    let api_versions = |client_id: &[u8]| frame(18, 0, client_id, &[]);
    victim.refuses("client id of length -2", &api_versions(&[0xff, 0xfe])).unwrap();
    victim.refuses("client id past the end", &api_versions(&[0x7f, 0xff, b'x'])).unwrap();
    victim.refuses("client id not UTF-8", &api_versions(&[0, 2, 0xff, 0xfe])).unwrap();
    // Metadata v12 has a flexible header: what follows the client id is the tagged fields.
    let tagged = |tags: &[u8]| frame(3, 12, NO_CLIENT_ID, &[tags, &[1, 1, 0, 0]].concat());
    let cases: [(&str, &[u8]); 7] = [
        ("a count of 2^32-1", &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ("a tag twice", &[2, 5, 0, 5, 0]),
        ("descending tags", &[2, 6, 0, 5, 0]),
        ("a size past the end", &[1, 5, 0x7f]),
        ("a size of 2^32-1", &[1, 5, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ("a varint of six bytes", &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]),
        ("a varint of 35 bits", &[0xff, 0xff, 0xff, 0xff, 0x7f]),
    ];
    for (what, tags) in cases {
        victim.refuses(what, &tagged(tags)).unwrap();
    }
    let mut connection = victim.connect().unwrap();
    connection.send_bytes(&tagged(&[2, 5, 1, 0xaa, 6, 0])).unwrap();
    assert!(matches!(connection.read().unwrap(), Reply::Frame(_)), "unknown tags in order are skipped");
}

#[test]
fn a_long_client_id_of_control_characters_is_served_and_escaped_in_the_log() {
    let mut victim = Victim::start().unwrap();
    let client_id = "\x1b[31m".repeat(6_553);
    let client_id = [&(client_id.len() as i16).to_be_bytes()[..], client_id.as_bytes()].concat();
    let mut connection = victim.connect().unwrap();
    connection.send_bytes(&frame(18, 0, &client_id, &[])).unwrap();
    assert!(matches!(connection.read().unwrap(), Reply::Frame(_)));
    // A request that makes the broker speak of the client.
    connection.send_bytes(&frame(999, 0, &client_id, &[])).unwrap();
    connection.expect_closed().unwrap();
    drop(connection);
    victim.check("escape sequences").unwrap();
    assert!(!victim.process().output().contains("\x1b[31m\x1b[31m"));
}

#[test]
fn bytes_behind_the_body_and_any_correlation_id_are_served() {
    let mut victim = Victim::start().unwrap();
    let mut connection = victim.connect().unwrap();
    connection.send_bytes(&frame(18, 0, NO_CLIENT_ID, b"what is this?")).unwrap();
    assert!(matches!(connection.read().unwrap(), Reply::Frame(_)));
    for correlation_id in [0, 5, 5, -1, i32::MIN, i32::MAX] {
        let mut bytes = frame(18, 0, NO_CLIENT_ID, &[]);
        bytes[8..12].copy_from_slice(&correlation_id.to_be_bytes());
        connection.send_bytes(&bytes).unwrap();
        let Reply::Frame(answer) = connection.read().unwrap() else { panic!("{correlation_id} was not answered") };
        assert_eq!(answer[..4], correlation_id.to_be_bytes());
    }
    drop(connection);
    victim.check("correlation ids").unwrap();
}

#[test]
fn a_pipeline_that_nobody_reads_from_is_bounded_and_in_order() {
    let mut victim = Victim::start().unwrap();
    let mut connection = victim.connect().unwrap();
    let mut writer = connection.try_clone().unwrap();
    const REQUESTS: i32 = 10_000;
    let sender = std::thread::spawn(move || -> Result<()> {
        for _ in 0..REQUESTS {
            writer.send(12, &MetadataRequest::default())?;
        }
        Ok(())
    });
    // The healthy client is served while the other one's requests and answers pile up.
    for _ in 0..20 {
        victim.serve_healthy().unwrap();
    }
    let growth_max = victim.process().usage().unwrap().resident_bytes_max;
    assert!(growth_max < 200 << 20, "{growth_max} bytes for a pipeline");
    for expected in 1..=REQUESTS {
        let (correlation_id, _) = connection.read_response::<MetadataRequest>(12).unwrap();
        assert_eq!(correlation_id, expected);
    }
    sender.join().unwrap().unwrap();
    drop(connection);
    victim.check("a pipeline").unwrap();
}

#[test]
fn every_frame_that_is_cut_short_closes_the_connection() {
    let mut victim = Victim::start().unwrap();
    let whole = frame(3, 12, b"\0\x04test", &[0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    (|| -> Result<()> {
        for length in 0..whole.len() - 4 {
            let mut bytes = whole[..4 + length].to_vec();
            bytes[..4].copy_from_slice(&(length as i32).to_be_bytes());
            let mut connection = victim.connect()?;
            connection.send_bytes(&bytes)?;
            match connection.read().with_context(|| format!("{length} bytes"))? {
                Reply::Closed => {}
                Reply::Frame(_) => bail!("{length} bytes of a request were answered"),
            }
        }
        ensure!(whole.len() > 20, "the request is long enough to be cut");
        Ok(())
    })()
    .unwrap();
    victim.check("cut requests").unwrap();
}
