//! The whole floor over real sockets with a scripted dispatcher: order, bounds, ends of every kind, and that everything is
//! given back afterwards.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::script_test::{CLOSE, Client, ECHO, EXCLUSIVE, FILES, LARGE, NOTHING, PANIC, Server, WAIT, framed};
use crate::metrics::ConnectionClose;
use crate::storage::vfs::{Access, FileSlice, RealVfs, Vfs, VfsFile};

const NO_BYTES: [u8; 0] = [];
/// What the operating system sizes by itself would take in several answers of which the broker then sees nothing more.
const FEW_BYTES_IN_THE_KERNEL: (&str, &str) = ("socket.send.buffer.bytes", "102400");

#[tokio::test]
async fn answers_keep_the_order_of_requests_whatever_overlaps() {
    let server = Server::start(&[]).await;
    let mut client = server.connect().await;
    let requests: [&[u8]; 6] =
        [&[ECHO, 1], &[WAIT, b'a', 2], &[NOTHING, 3], &[ECHO, 4], &[EXCLUSIVE, b'b', 5], &[ECHO, 6]];
    let all: Vec<u8> = requests.iter().flat_map(|request| framed(request)).collect();
    client.0.write_all(&all).await.unwrap();
    assert_eq!(client.receive().await, requests[0]);
    server.until(Duration::ZERO, "the exclusive one is dispatched", |server| server.dispatched() == 5).await;
    server.script.open(b'b');
    // It is done, so the one behind it starts, and still nobody passes the one that waits at the front.
    server.until(Duration::ZERO, "the last one is dispatched", |server| server.dispatched() == 6).await;
    server.script.open(b'a');
    for request in [requests[1], requests[3], requests[4], requests[5]] {
        assert_eq!(client.receive().await, request);
    }
    drop(client);
    server.settled(0).await;
}

#[tokio::test]
async fn an_exclusive_request_holds_back_the_next_one() {
    let server = Server::start(&[]).await;
    let mut client = server.connect().await;
    client.send(&[EXCLUSIVE, b'a']).await;
    client.send(&[ECHO]).await;
    let mut other = server.connect().await;
    other.echoes(&[ECHO, 9]).await;
    server.until(Duration::ZERO, "both arrive", |server| server.metrics.bytes_in.get() == 6 + 5 + 6).await;
    assert_eq!(server.dispatched(), 2, "the exclusive one and the other client's");
    server.script.open(b'a');
    assert_eq!(client.receive().await, [EXCLUSIVE, b'a']);
    assert_eq!(client.receive().await, [ECHO]);
}

#[tokio::test]
async fn reading_stops_at_64_requests_in_flight_and_goes_on() {
    let server = Server::start(&[]).await;
    let mut client = server.connect().await;
    for number in 0..200_u8 {
        client.send(&[WAIT, b'a', number]).await;
    }
    server.until(Duration::ZERO, "64 are dispatched", |server| server.dispatched() == 64).await;
    server.connect().await.echoes(&[ECHO]).await;
    assert_eq!(server.dispatched(), 65);
    server.script.open(b'a');
    for number in 0..200_u8 {
        assert_eq!(client.receive().await, [WAIT, b'a', number]);
    }
    assert_eq!(server.script.waiting.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn reading_stops_at_the_bytes_in_flight_and_a_single_larger_request_passes() {
    let server = Server::start(&[("connection.max.inflight.bytes", "100000")]).await;
    let mut client = server.connect().await;
    let mut large = vec![7; 300_000];
    large[..2].copy_from_slice(&[WAIT, b'a']);
    client.send(&large).await;
    client.send(&[ECHO]).await;
    server.until(Duration::ZERO, "the large one is dispatched", |server| server.dispatched() == 1).await;
    assert!(server.sockets.request_bytes_in_memory() >= 300_000);
    server.script.open(b'a');
    assert_eq!(client.receive().await, large);
    assert_eq!(client.receive().await, [ECHO]);
    server.settled(1).await;
}

#[tokio::test]
async fn frames_survive_any_fragmentation() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let server = Server::start(&[]).await;
    let mut client = server.connect().await;
    let frames: Vec<Vec<u8>> = (0..60)
        .map(|_| {
            let size = match random.random_range(0..4) {
                0 => random.random_range(1..8),
                1 => random.random_range(1..2_000),
                2 => random.random_range(10_000..40_000),
                _ => random.random_range(100_000..2_500_000),
            };
            let mut frame = vec![ECHO; size];
            random.fill(&mut frame[1..]);
            frame
        })
        .collect();
    let all: Vec<u8> = frames.iter().flat_map(|frame| framed(frame)).collect();
    let (mut reading, mut writing) = client.0.split();
    let write = async {
        let mut rest = &all[..];
        while !rest.is_empty() {
            let step =
                if random.random_bool(0.5) { random.random_range(1..20) } else { random.random_range(1..300_000) };
            let (now, later) = rest.split_at(step.min(rest.len()));
            writing.write_all(now).await.unwrap();
            tokio::task::yield_now().await;
            rest = later;
        }
    };
    let read = async {
        for frame in &frames {
            let size = reading.read_i32().await.unwrap();
            let mut answer = vec![0; usize::try_from(size).unwrap()];
            reading.read_exact(&mut answer).await.unwrap();
            assert!(answer == *frame, "seed {seed}");
        }
    };
    tokio::join!(write, read);
    server.settled(1).await;
}

#[tokio::test]
async fn what_is_no_frame_ends_the_connection_at_once_and_holds_nothing() {
    let cases: [(&[u8], ConnectionClose); 8] = [
        (&(-1_i32).to_be_bytes(), ConnectionClose::FrameSize),
        (&i32::MIN.to_be_bytes(), ConnectionClose::FrameSize),
        (&0_i32.to_be_bytes(), ConnectionClose::FrameSize),
        (&i32::MAX.to_be_bytes(), ConnectionClose::FrameSize),
        (&104_857_601_i32.to_be_bytes(), ConnectionClose::FrameSize),
        (&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01], ConnectionClose::Tls),
        (b"GET / HTTP/1.1\r\n\r\n", ConnectionClose::Http),
        (&[0, 0, 0, 1, CLOSE], ConnectionClose::BadRequest),
    ];
    let server = Server::start(&[]).await;
    for (bytes, kind) in cases {
        let before = server.closed(kind);
        let mut client = server.connect().await;
        // A request before it is answered all the same.
        client.0.write_all(&[&framed(&[ECHO, 1]), bytes].concat()).await.unwrap();
        assert_eq!(client.receive().await, [ECHO, 1], "{kind}");
        assert_eq!(client.rest().await, NO_BYTES, "{kind}");
        server.until(Duration::ZERO, "the end is counted", |server| server.closed(kind) == before + 1).await;
        server.settled(0).await;
    }
}

#[tokio::test]
async fn a_close_lets_earlier_answers_out_and_serves_nothing_later() {
    let server = Server::start(&[]).await;
    let mut client = server.connect().await;
    let requests = [framed(&[WAIT, b'a']), framed(&[CLOSE]), framed(&[ECHO])].concat();
    client.0.write_all(&requests).await.unwrap();
    server.until(Duration::ZERO, "dispatched", |server| server.dispatched() >= 2).await;
    server.script.open(b'a');
    assert_eq!(client.rest().await, framed(&[WAIT, b'a']));
    server.settled(0).await;
}

#[tokio::test]
async fn a_request_that_stands_still_is_closed_and_its_memory_given_back() {
    let server = Server::start(&[]).await;
    let mut silent = Vec::new();
    for prefix in [&[0_u8, 0][..], &[0, 0, 1, 0, 9], &[0x06, 0x40, 0, 0, 9]] {
        let mut client = server.connect().await;
        client.0.write_all(prefix).await.unwrap();
        silent.push(client);
    }
    server.until(Duration::ZERO, "all arrive", |server| server.metrics.bytes_in.get() == 2 + 5 + 5).await;
    let held = server.sockets.request_bytes_in_memory();
    assert!(held <= 8 << 10, "{held} bytes for 12");
    let second = Duration::from_millis(100);
    server.until(second, "they are closed", |server| server.closed(ConnectionClose::Stalled) == 3).await;
    for mut client in silent {
        assert_eq!(client.rest().await, NO_BYTES);
    }
    server.settled(0).await;
}

#[tokio::test]
async fn trickling_connections_are_closed_within_thirty_seconds() {
    const CONNECTIONS: usize = 1_000;
    let server = Server::start(&[]).await;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = server.connect().await;
        client.0.write_all(&[0, 1]).await.unwrap();
        clients.push(client);
    }
    // A byte each 2 s of the broker's time, for 30 s.
    for _ in 0..15 {
        for client in &mut clients {
            let _closed_meanwhile = client.0.try_write(&[9]);
        }
        server.clock.advance(Duration::from_secs(2));
        tokio::time::sleep(super::limits::REAP_INTERVAL + Duration::from_millis(20)).await;
    }
    assert_eq!(server.closed(ConnectionClose::Stalled), CONNECTIONS as u64);
    server.settled(0).await;
}

#[tokio::test]
async fn a_slow_but_steady_request_is_served() {
    let server = Server::start(&[]).await;
    let mut client = server.connect().await;
    let frame = framed(&vec![ECHO; 400_000]);
    for part in frame.chunks(20_000) {
        client.0.write_all(part).await.unwrap();
        server.clock.advance(Duration::from_secs(2));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(client.receive().await.len(), 400_000);
    assert_eq!(server.closed(ConnectionClose::Stalled), 0);
}

#[tokio::test]
async fn idle_connections_are_closed_and_those_that_wait_for_an_answer_are_not() {
    let server = Server::start(&[("connections.max.idle.ms", "60000")]).await;
    let mut idle = server.connect().await;
    idle.echoes(&[ECHO]).await;
    let mut waiting = server.connect().await;
    waiting.send(&[WAIT, b'a']).await;
    server.until(Duration::from_secs(1), "idle", |server| server.closed(ConnectionClose::Idle) == 1).await;
    assert_eq!(idle.rest().await, NO_BYTES);
    server.script.open(b'a');
    assert_eq!(waiting.receive().await, [WAIT, b'a']);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_served_and_hurts_nobody() {
    let server = Server::start(&[FEW_BYTES_IN_THE_KERNEL]).await;
    let mut slow = server.connect().await;
    let large = [&[LARGE][..], &(1_u32 << 20).to_be_bytes()].concat();
    for _ in 0..60 {
        slow.send(&large).await;
    }
    server.until(Duration::ZERO, "it is served for a while", |server| server.dispatched() > 10).await;
    for number in 0..100 {
        server.connect().await.echoes(&[ECHO, number]).await;
    }
    let served = server.dispatched() - 100;
    assert!(served < 25, "{served} answers of 1 MiB wait, 16 MiB are the limit");
    assert!(server.sockets.response_bytes_in_memory() <= 18 << 20);
    let mut other = server.connect().await;
    for _ in 0..60 {
        assert_eq!(slow.receive().await.len(), 1 << 20);
    }
    // Once more, and this time it never reads again.
    for _ in 0..60 {
        slow.send(&large).await;
    }
    let slow_readers = |server: &Server| server.closed(ConnectionClose::SlowReader) == 1;
    server.until(Duration::from_secs(1), "it is closed", slow_readers).await;
    other.echoes(&[ECHO]).await;
    server.until(Duration::ZERO, "answers are dropped", |server| server.sockets.response_bytes_in_memory() == 0).await;
}

#[tokio::test]
async fn answers_beyond_their_memory_end_those_who_do_not_read_soon() {
    let server = Server::start(&[("fetch.memory.bytes", "16777216"), FEW_BYTES_IN_THE_KERNEL]).await;
    let large = [&[LARGE][..], &(4_u32 << 20).to_be_bytes()].concat();
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut client = server.connect().await;
        client.send(&large).await;
        slow.push(client);
    }
    let mut healthy = server.connect().await;
    let time = async {
        loop {
            server.clock.advance(Duration::from_millis(50));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let served = async {
        for number in 0..50 {
            healthy.echoes(&[ECHO, number]).await;
            assert!(server.sockets.response_bytes_in_memory() <= 20 << 20);
        }
        let gone = |server: &Server| server.closed(ConnectionClose::SlowReader) >= 15;
        server.until(Duration::ZERO, "room is made", gone).await;
        healthy.echoes(&[ECHO]).await;
    };
    tokio::select! {
        () = time => unreachable!("time does not end"),
        () = served => {}
    }
}

#[tokio::test]
async fn after_the_clients_end_what_is_ready_is_answered() {
    let server = Server::start(&[]).await;
    let mut client = server.connect().await;
    for number in 0..100 {
        client.send(&[ECHO, number]).await;
    }
    client.0.shutdown().await.unwrap();
    let expected: Vec<u8> = (0..100).flat_map(|number| framed(&[ECHO, number])).collect();
    assert_eq!(client.rest().await, expected);
    server.settled(0).await;
}

#[tokio::test]
async fn waits_go_when_the_socket_does() {
    let server = Server::start(&[]).await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = server.connect().await;
        client.send(&[EXCLUSIVE, b'a']).await;
        clients.push(client);
    }
    // As many in flight as are allowed, and one that is not read any more.
    for client in clients.iter_mut().skip(25) {
        client.send(&[ECHO]).await;
        client.send(&[ECHO; 60_000]).await;
    }
    let waiting = |server: &Server| server.script.waiting.load(Ordering::SeqCst);
    server.until(Duration::ZERO, "all wait", |server| waiting(server) == 50).await;
    drop(clients);
    server.until(Duration::from_millis(100), "none waits", |server| waiting(server) == 0).await;
    server.settled(0).await;
}

#[tokio::test]
async fn partial_requests_that_fill_the_memory_do_not_lock_each_other_out() {
    let server = Server::start(&[("queued.max.request.bytes", "4194304")]).await;
    // Each holds 900 KB of 1,000,000, together more than there is.
    let mut partial = Vec::new();
    for _ in 0..8 {
        let mut client = server.connect().await;
        let frame = framed(&vec![ECHO; 1_000_000]);
        client.0.write_all(&frame[..200_000]).await.unwrap();
        let _takes_what_it_can = client.0.try_write(&frame[200_000..900_000]);
        partial.push(client);
    }
    server.until(Duration::ZERO, "memory is short", |server| server.sockets.request_bytes_in_memory() > 2 << 20).await;
    let mut healthy = server.connect().await;
    healthy.send(&vec![ECHO; 800_000]).await;
    let closed = |server: &Server| server.closed(ConnectionClose::Stalled) + server.closed(ConnectionClose::NoMemory);
    server.until(Duration::from_millis(50), "the stalled ones go", |server| closed(server) >= 8).await;
    assert!(server.sockets.request_bytes_in_memory() <= 4 << 20);
    let mut after = server.connect().await;
    after.echoes(&vec![ECHO; 900_000]).await;
    drop((partial, healthy, after));
    server.settled(0).await;
}

#[tokio::test]
async fn a_request_waits_for_memory_and_goes_on() {
    let server = Server::start(&[("queued.max.request.bytes", "2097152")]).await;
    let mut holding = Vec::new();
    for _ in 0..2 {
        let mut client = server.connect().await;
        let mut frame = vec![1; 1_000_000];
        frame[..2].copy_from_slice(&[WAIT, b'a']);
        client.send(&frame).await;
        holding.push(client);
    }
    server.until(Duration::ZERO, "both are held", |server| server.dispatched() == 2).await;
    let mut next = server.connect().await;
    let frame = vec![ECHO; 500_000];
    let asked = async {
        next.send(&frame).await;
        next.receive().await
    };
    let release = async {
        let came = |server: &Server| server.metrics.bytes_in.get() > 2_000_008;
        server.until(Duration::ZERO, "some of it came", came).await;
        assert!(server.sockets.request_bytes_in_memory() <= 2 << 20);
        server.script.open(b'a');
    };
    assert_eq!(tokio::join!(asked, release).0, frame);
}

#[tokio::test]
async fn connections_beyond_the_limits_are_refused() {
    let server = Server::start(&[("max.connections", "5"), ("max.connections.per.ip", "3")]).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = server.connect().await;
        client.echoes(&[ECHO]).await;
        clients.push(client);
    }
    assert_eq!(server.connect().await.rest().await, NO_BYTES);
    assert_eq!(server.closed(ConnectionClose::TooMany), 1);
    clients.pop();
    server.settled(2).await;
    server.connect().await.echoes(&[ECHO]).await;
}

#[tokio::test]
async fn an_altered_number_of_connections_counts_from_the_next_one_on() {
    let server = Server::start(&[("max.connections.per.ip", "1")]).await;
    let mut first = server.connect().await;
    first.echoes(&[ECHO]).await;
    assert_eq!(server.connect().await.rest().await, NO_BYTES);
    let altered = BTreeMap::from([("max.connections.per.ip".to_owned(), "2".to_owned())]);
    let config = server.config.load().with_dynamic(&altered, &BTreeMap::new()).unwrap();
    server.config.store(Arc::new(config));
    server.connect().await.echoes(&[ECHO]).await;
    first.echoes(&[ECHO]).await;
}

/// A file whose bytes only `read_at` gives.
#[derive(Debug)]
struct Unsendable(Arc<dyn VfsFile>);

impl VfsFile for Unsendable {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(buffer, position)
    }
    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.0.write_at(parts, position)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

#[tokio::test]
async fn file_ranges_are_sent_whole_and_in_their_places() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("segment");
    let content: Vec<u8> = (0..9_000_000_u32).map(|n| (n ^ (n >> 8) ^ (n >> 16)) as u8).collect();
    File::create(&path).unwrap().write_all(&content).unwrap();
    let file = RealVfs.open(&path, Access::Read).unwrap();
    let unsendable: Arc<dyn VfsFile> = Arc::new(Unsendable(Arc::clone(&file)));
    let ranges = [(0, 8_000_000), (5, 17), (100, 0), (1_000, 20_000), (77, 16_383), (3, 5_000), (4_000_000, 1_000_000)];
    let server = Server::start(&[]).await;
    for file in [file, unsendable] {
        let slices = ranges.map(|(position, len)| FileSlice { file: Arc::clone(&file), position, len });
        *server.script.files.lock() = slices.to_vec();
        let mut client = server.connect().await;
        // More of them than a socket holds, so that every kind of partial write comes up.
        for _ in 0..3 {
            client.send(&[FILES]).await;
            client.send(&[ECHO, 5]).await;
        }
        let mut expected = b"head".to_vec();
        for (position, len) in ranges {
            expected.extend_from_slice(&content[position as usize..][..len]);
        }
        expected.extend_from_slice(b"tail");
        for _ in 0..3 {
            assert!(client.receive().await == expected);
            assert_eq!(client.receive().await, [ECHO, 5]);
        }
    }
}

#[tokio::test]
async fn a_file_that_was_cut_meanwhile_ends_the_connection_instead_of_a_wrong_answer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("segment");
    File::create(&path).unwrap().write_all(&[1; 50_000]).unwrap();
    let file = RealVfs.open(&path, Access::Read).unwrap();
    let server = Server::start(&[]).await;
    for (round, (position, len)) in [(0, 60_000), (49_000, 1_001)].into_iter().enumerate() {
        *server.script.files.lock() = vec![FileSlice { file: Arc::clone(&file), position, len }];
        let mut client = server.connect().await;
        client.send(&[FILES]).await;
        assert!(client.rest().await.len() < len, "no complete answer");
        let counted = |server: &Server| server.closed(ConnectionClose::FileTruncated) == round as u64 + 1;
        server.until(Duration::ZERO, "it is counted", counted).await;
    }
}

/// Memory and descriptors are those of the process, so such a test runs itself in another one: true there.
fn is_alone(name: &str) -> bool {
    const MARK: &str = "OTTLA_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let name = format!("net::net_test::{name}");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let output = child.args([&name, "--exact", "--test-threads=1"]).env(MARK, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

#[tokio::test]
async fn a_thousand_idle_connections_take_little_memory() {
    const CONNECTIONS: usize = 1_000;
    if !is_alone("a_thousand_idle_connections_take_little_memory") {
        return;
    }
    let server = Server::start(&[]).await;
    let before = resident_bytes();
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = server.connect().await;
        client.echoes(&[ECHO; 2_000]).await;
        clients.push(client);
    }
    server.settled(CONNECTIONS).await;
    let each = resident_bytes().saturating_sub(before) / CONNECTIONS;
    // Both ends of a connection are in this process.
    assert!(each < 8 * 1024, "{each} bytes a connection");
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size()
}

#[tokio::test]
async fn a_stop_answers_what_was_asked_and_ends_what_waits_too_long() {
    let server = Server::start(&[]).await;
    let (mut quick, mut endless, mut idle) = (server.connect().await, server.connect().await, server.connect().await);
    quick.send(&[WAIT, b'a']).await;
    endless.send(&[WAIT, b'b']).await;
    idle.echoes(&[ECHO]).await;
    server.until(Duration::ZERO, "they wait", |server| server.script.waiting.load(Ordering::SeqCst) == 2).await;
    let Server { sockets, script, address, .. } = server;
    let stop = tokio::spawn(sockets.stop(Duration::from_millis(500)));
    assert_eq!(idle.rest().await, NO_BYTES);
    script.open(b'a');
    assert_eq!(quick.rest().await, framed(&[WAIT, b'a']));
    stop.await.unwrap();
    assert_eq!(endless.rest().await, NO_BYTES);
    assert_eq!(script.waiting.load(Ordering::SeqCst), 0);
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn a_panic_ends_service_and_is_told() {
    let server = Server::start(&[]).await;
    let mut panicked = server.sockets.panicked();
    let (mut bystander, mut client) = (server.connect().await, server.connect().await);
    bystander.echoes(&[ECHO]).await;
    client.send(&[PANIC]).await;
    panicked.wait_for(|&panicked| panicked).await.unwrap();
    assert_eq!((client.rest().await, bystander.rest().await), (vec![], vec![]));
}

#[test]
fn without_descriptors_accepting_pauses_and_never_ends() {
    if !is_alone("without_descriptors_accepting_pauses_and_never_ends") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Server::start(&[]).await;
        let mut first = server.connect().await;
        first.echoes(&[ECHO]).await;
        let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
        let limit = rustix::process::Rlimit { current: Some(open + 20), maximum: Some(open + 20) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        // Each connection takes two descriptors of this process: the last ones wait in the backlog.
        let mut clients: Vec<Client> = Vec::new();
        while let Ok(stream) = tokio::net::TcpStream::connect(server.address).await {
            clients.push(Client(stream));
        }
        let failed = |server: &Server| server.metrics.accept_errors.get() > 0;
        server.until(Duration::ZERO, "accept fails", failed).await;
        first.echoes(&[ECHO, 2]).await;
        clients.truncate(2);
        let mut late = server.connect().await;
        late.echoes(&[ECHO, 3]).await;
    });
}
