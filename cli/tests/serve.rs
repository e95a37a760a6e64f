//! Goal: starting and stopping a broker, and every way in which a start is refused. Method: the real binary.

#[expect(dead_code, reason = "each test program uses a part of the harness")]
mod harness;

use std::net::TcpListener;

use harness::{Server, ottla, run, text, write};

#[test]
fn the_banner_and_the_port_file_name_the_address() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let port_file = directory.path().join("address");
    let server = Server::start_in(directory, &["--port-file", port_file.to_str().expect("UTF-8")]);
    assert!(server.banner.starts_with(concat!("ottla ", env!("CARGO_PKG_VERSION"))), "{}", server.banner);
    server.ok(&["cluster"], "");
    assert_eq!(std::fs::read_to_string(&port_file).expect("there"), format!("{}\n", server.address));
    let (code, _directory) = server.stop("TERM");
    assert_eq!(code, Some(0));
    assert!(!port_file.exists());
}

#[test]
fn the_banner_says_what_clients_are_told_where_that_is_another_address() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let advertised = "advertised.listeners=PLAINTEXT://localhost:0";
    let mut server = Server::start_in(directory, &["--set", advertised]);
    let port = server.address.rsplit_once(':').expect("a port").1.to_owned();
    assert!(server.next_line().contains(&format!("advertised    localhost:{port} (")));
    assert_eq!(harness::json(&server.ok(&["cluster", "--output", "json"], ""))["brokers"][0]["host"], "localhost");
}

#[test]
fn both_signals_stop_it_cleanly_and_the_data_stays() {
    let mut directory = tempfile::tempdir().expect("a temporary directory");
    for (index, signal) in ["INT", "TERM"].into_iter().enumerate() {
        let server = Server::start_in(directory, &[]);
        server.ok(&["produce", "kept"], format!("record {index}\n"));
        let code;
        (code, directory) = server.stop(signal);
        assert_eq!(code, Some(0), "{signal}");
    }
    let server = Server::start_in(directory, &[]);
    assert_eq!(server.ok(&["consume", "kept", "--until-end"], ""), "record 0\nrecord 1\n");
    assert!(server.data_dir().join("kept-0").is_dir());
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let server = Server::start();
    server.ok(&["produce", "kept"], "one\ntwo\n");
    let (_, directory) = server.stop("KILL");
    let server = Server::start_in(directory, &[]);
    assert_eq!(server.ok(&["consume", "kept", "--until-end"], ""), "one\ntwo\n");
}

fn refused(arguments: &[&str], variables: &[(&str, &str)], file: Option<(&str, &str)>) -> String {
    let directory = tempfile::tempdir().expect("a temporary directory");
    if let Some((name, content)) = file {
        write(&directory.path().join(name), content);
    }
    let output =
        run(ottla().arg("serve").args(arguments).envs(variables.iter().copied()).current_dir(directory.path()), b"");
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(text(&output.stdout), "");
    stderr
}

#[test]
fn a_mistake_in_the_configuration_stops_the_start() {
    let stderr = refused(&[], &[], Some(("ottla.toml", "\n\"log.retenton.ms\" = 5\n")));
    assert!(stderr.contains("ottla.toml:2") && stderr.contains("did you mean `log.retention.ms`?"), "{stderr}");
    let stderr = refused(&["--set", "num.partitions=none"], &[], None);
    assert!(stderr.contains("`num.partitions` = `none` (from the flag --set)"), "{stderr}");
    let stderr = refused(&[], &[("OTTLA_LISTEN", "nowhere")], None);
    assert!(stderr.contains("OTTLA_LISTEN") && stderr.contains("HOST:PORT"), "{stderr}");
    let stderr = refused(&["--config", "missing.toml"], &[], None);
    assert!(stderr.contains("cannot read the configuration file missing.toml"), "{stderr}");
    let stderr = refused(&[], &[("OTTLA_LOG", "a=b=c")], None);
    assert!(stderr.contains("OTTLA_LOG"), "{stderr}");
}

#[test]
fn a_directory_has_one_broker() {
    let server = Server::start();
    let data = server.data_dir();
    let stderr = refused(&["--listen", "127.0.0.1:0", "--data-dir", data.to_str().expect("UTF-8")], &[], None);
    assert!(stderr.contains(&server.pid().to_string()) && stderr.contains(&*data.to_string_lossy()), "{stderr}");
    server.ok(&["cluster"], "");
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let stderr = refused(&["--listen", &address], &[], None);
    assert!(stderr.contains(&address) && stderr.contains("in use"), "{stderr}");
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let stderr = refused(&["--listen", "127.0.0.1:0", "--data-dir", "/proc/ottla/data"], &[], None);
    assert!(stderr.contains("/proc/ottla"), "{stderr}");
}

#[test]
fn kafkas_own_file_starts_a_broker() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("server.properties");
    write(
        &file,
        "process.roles=broker,controller\nnode.id=7\ncontroller.quorum.bootstrap.servers=localhost:9093\n\
         inter.broker.listener.name=PLAINTEXT\ncontroller.listener.names=CONTROLLER\nnum.network.threads=3\n\
         num.partitions=5\noffsets.topic.replication.factor=1\nlog.retention.hours=168\n",
    );
    let server = Server::start_in(directory, &["--config", "server.properties"]);
    assert_eq!(server.ok(&["topic", "create", "t"], ""), "created t with 5 partitions\n");
    assert_eq!(harness::json(&server.ok(&["cluster", "--output", "json"], ""))["brokers"][0]["id"], 7);
}

#[test]
fn several_listeners_serve_the_same_data() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start_in(directory, &["--listen", "[::1]:0"]);
    let (first, second) = server.address.split_once(", ").expect("two addresses");
    let produce = run(ottla().args(["produce", "t", "-b", first]), b"over IPv4\n");
    assert!(produce.status.success(), "{}", text(&produce.stderr));
    let consume = run(ottla().args(["consume", "t", "--until-end", "-b", second]), b"");
    assert_eq!(text(&consume.stdout), "over IPv4\n", "{}", text(&consume.stderr));
}
