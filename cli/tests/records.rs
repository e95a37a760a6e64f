//! Goal: what is produced is consumed, in every format and from every position. Method: the real binary.

#[expect(dead_code, reason = "each test program uses a part of the harness")]
mod harness;

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use harness::{Server, json, ottla, run, text, write};

#[test]
fn lines_with_keys_headers_and_compression() {
    let server = Server::start();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let produce = ["produce", codec, "--key-separator", ":", "-H", "source=test", "--null-marker", "NULL"];
        server.ok(&[produce.as_slice(), &["--compression", codec]].concat(), "a:1\nb:2:3\nc:NULL\n");
        let consume = ["consume", codec, "--until-end", "--format", "%k|%v|%h|%p|%o|%S\\n"];
        let expected = "a|1|source=test|0|0|1\nb|2:3|source=test|0|1|3\nc||source=test|0|2|-1\n";
        assert_eq!(server.ok(&consume, ""), expected, "{codec}");
    }
}

#[test]
fn acks_of_every_kind_write() {
    let server = Server::start();
    for acks in ["0", "1", "all"] {
        server.ok(&["produce", "t", "--acks", acks], format!("{acks}\n"));
    }
    // Without an answer nobody knows when the first record arrived: it is there by the time the third is answered,
    // since one connection's requests are served in order, but each command has a connection of its own.
    let consumed = server.ok(&["consume", "t", "--max", "3"], "");
    let mut lines: Vec<&str> = consumed.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["0", "1", "all"]);
}

const FLIGHTS: &str = "year,tailnum,name,dep_delay,time_hour\n2013,N14228,\"Air, \"\"O\"\"\",2,2013-01-01T10:00:00Z\n\
                       2013,NA,,NA,2013-07-01T00:00:00Z\n2013,N24211,x,-4.50,2013-12-31T23:00:00Z\n";

#[test]
fn a_csv_file_makes_the_round_trip() {
    let server = Server::start();
    server.ok(&["topic", "create", "flights", "-c", "retention.ms=-1"], "");
    write(&server.path("flights.csv"), FLIGHTS);
    let produce = ["produce", "flights", "flights.csv", "--format", "csv", "--key-column", "tailnum"];
    server.ok(&[produce.as_slice(), &["--timestamp-column", "time_hour"]].concat(), "");
    let consumed = server.ok(&["consume", "flights", "--until-end", "--format", "%k %T %v\\n"], "");
    assert_eq!(
        consumed,
        "N14228 1357034400000 {\"year\":\"2013\",\"tailnum\":\"N14228\",\"name\":\"Air, \\\"O\\\"\",\"dep_delay\":\"2\",\
         \"time_hour\":\"2013-01-01T10:00:00Z\"}\n\
         NA 1372636800000 {\"year\":\"2013\",\"tailnum\":\"NA\",\"name\":\"\",\"dep_delay\":\"NA\",\
         \"time_hour\":\"2013-07-01T00:00:00Z\"}\n\
         N24211 1388530800000 {\"year\":\"2013\",\"tailnum\":\"N24211\",\"name\":\"x\",\"dep_delay\":\"-4.50\",\
         \"time_hour\":\"2013-12-31T23:00:00Z\"}\n"
    );
    let july = ["consume", "flights", "--until-end", "--from", "2013-07-01", "--format", "%k\\n"];
    assert_eq!(server.ok(&july, ""), "NA\nN24211\n");

    server.ok(&["produce", "typed", "flights.csv", "--format", "csv", "--infer"], "");
    let first = json(&server.ok(&["consume", "typed", "--max", "1"], ""));
    assert_eq!((&first["year"], &first["name"]), (&2013.into(), &"Air, \"O\"".into()));
}

#[test]
fn every_position_to_start_from() {
    let server = Server::start();
    server.ok(&["produce", "t"], "0\n1\n2\n3\n4\n");
    let from = |position: &str| server.ok(&["consume", "t", "--until-end", "--from", position], "");
    assert_eq!(from("beginning"), "0\n1\n2\n3\n4\n");
    assert_eq!(from("3"), "3\n4\n");
    assert_eq!(from("-2"), "3\n4\n");
    assert_eq!(from("-99"), "0\n1\n2\n3\n4\n");
    assert_eq!(from("end"), "");
    assert_eq!(from("2013-07-01"), "0\n1\n2\n3\n4\n");
    assert_eq!(from("2999-01-01"), "");
    assert_eq!(server.ok(&["consume", "t", "--max", "2"], ""), "0\n1\n");
    assert_eq!(server.ok(&["consume", "t", "--max", "0"], ""), "");
}

#[test]
fn only_the_partitions_asked_for() {
    let server = Server::start();
    server.ok(&["topic", "create", "t", "--partitions", "3"], "");
    for partition in ["0", "1", "2"] {
        server.ok(&["produce", "t", "--partition", partition], format!("in {partition}\n"));
    }
    let consumed = server.ok(&["consume", "t", "--until-end", "--partition", "0,2"], "");
    let mut lines: Vec<&str> = consumed.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["in 0", "in 2"]);
    let stderr = server.fails(&["consume", "t", "--partition", "3"], "");
    assert!(stderr.contains("t-3") && stderr.contains("3 partitions"), "{stderr}");
}

#[test]
fn json_copies_a_topic_with_bytes_that_are_no_text() {
    let server = Server::start();
    server.ok(&["produce", "one", "--key", "k", "-H", "a=1", "-H", "a=2"], b"text\n\xff\xfe\n".as_slice());
    let lines = server.ok(&["consume", "one", "--until-end", "--output", "json"], "");
    let second = json(lines.lines().nth(1).expect("two records"));
    assert_eq!(second["value_base64"], "//4=");
    assert_eq!(second["headers"], json(r#"[{"key":"a","value":"1"},{"key":"a","value":"2"}]"#));
    server.ok(&["produce", "two", "--format", "json"], &lines);
    let copied = server.ok(&["consume", "two", "--until-end", "--output", "json"], "");
    assert_eq!(copied, lines.replace("\"topic\":\"one\"", "\"topic\":\"two\""));
}

#[test]
fn mistakes_in_the_input_are_named_with_their_line() {
    let server = Server::start();
    let stderr = server.fails(&["produce", "t", "--key-separator", ":"], "a:1\nb\n");
    assert!(stderr.contains("line 2") && stderr.contains("1 records before it were written"), "{stderr}");
    let stderr = server.fails(&["produce", "bad name"], "a\n");
    assert!(stderr.contains("INVALID_TOPIC_EXCEPTION"), "{stderr}");
    let stderr = server.fails(&["produce", "t", "missing.txt"], "");
    assert!(stderr.contains("cannot open missing.txt"), "{stderr}");
    let stderr = server.fails(&["produce", "t", "--partition", "7"], "a\n");
    assert!(stderr.contains("line 1") && stderr.contains("t-7"), "{stderr}");
    assert!(server.fails(&["consume", "missing"], "").contains("missing"));
}

#[test]
fn a_summary_for_programs() {
    let server = Server::start();
    let summary = json(&server.ok(&["produce", "t", "--output", "json"], "abc\nde\n"));
    assert_eq!((&summary["records"], &summary["bytes"]), (&2.into(), &5.into()));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let server = Server::start();
    let input: String = (0..100_000).map(|number| format!("record {number}\n")).collect();
    server.ok(&["produce", "t"], input);
    let mut child = ottla()
        .args(["consume", "t", "-b", &server.address])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut first = [0; 9];
    let mut stdout = child.stdout.take().expect("stdout is piped");
    stdout.read_exact(&mut first).expect("records come");
    drop(stdout);
    let output = child.wait_with_output().expect("our own child");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!((&first, text(&output.stderr).as_str()), (b"record 0\n", ""));
}

#[test]
fn a_consumer_follows_until_it_is_stopped() {
    let server = Server::start();
    server.ok(&["topic", "create", "t"], "");
    let mut child = ottla()
        .args(["consume", "t", "--from", "beginning", "-b", &server.address])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdout = child.stdout.take().expect("stdout is piped");
    for number in 0..3 {
        server.ok(&["produce", "t"], format!("{number}\n"));
        let mut line = [0; 2];
        stdout.read_exact(&mut line).expect("the record comes at once");
        assert_eq!(text(&line), format!("{number}\n"));
    }
    let pid = child.id().to_string();
    assert!(run(std::process::Command::new("kill").args(["-INT", &pid]), b"").status.success());
    assert_eq!(child.wait().expect("our own child").code(), Some(0));
}

#[test]
fn a_group_goes_on_where_it_left_off() {
    let server = Server::start();
    server.ok(&["produce", "t"], "0\n1\n2\n3\n4\n5\n6\n");
    let group = ["consume", "t", "--group", "g"];
    let with = |more: &[&str]| server.ok(&[&group, more].concat(), "");
    assert_eq!(with(&["--max", "3"]), "0\n1\n2\n");
    assert_eq!(with(&["--max", "2", "--format", "%o:%v\\n"]), "3:3\n4:4\n");
    assert_eq!(with(&["--until-end"]), "5\n6\n");
    server.ok(&["produce", "t2"], "a\nb\n");
    assert_eq!(server.ok(&["consume", "t.*", "--pattern", "--group", "g", "--max", "2"], ""), "a\nb\n");
    let several = server.ok(&["consume", "t", "t2", "--group", "other", "--max", "9"], "");
    let mut lines: Vec<&str> = several.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["0", "1", "2", "3", "4", "5", "6", "a", "b"]);
    let from = server.fails(&[&group[..], &["--from", "5"]].concat(), "");
    assert!(from.contains("reset the group's offsets"), "{from}");
    let several = server.fails(&["consume", "t", "t2"], "");
    assert!(several.contains("--group"), "{several}");
}

#[test]
fn a_member_without_partitions_says_so_and_ends() {
    let server = Server::start();
    server.ok(&["produce", "t"], "0\n");
    let mut first = ottla()
        .args(["consume", "t", "--group", "g"])
        .env("OTTLA_BOOTSTRAP_SERVER", &server.address)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut written = [0; 2];
    first.stdout.as_mut().unwrap().read_exact(&mut written).unwrap();
    let mut second = ottla()
        .args(["consume", "t", "--group", "g", "--until-end"])
        .env("OTTLA_BOOTSTRAP_SERVER", &server.address)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while second.try_wait().unwrap().is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    // Either has ended, or never will.
    for child in [&mut first, &mut second] {
        child.kill().unwrap();
    }
    first.wait().unwrap();
    let second = second.wait_with_output().unwrap();
    let said = text(&second.stderr);
    assert_eq!((second.status.code(), text(&second.stdout).as_str()), (Some(0), ""), "{said}");
    assert!(said.contains("the group g has no partitions for this member, beside 1 other member"), "{said}");
}

#[test]
fn a_member_that_is_told_to_stop_leaves_its_group_behind_what_it_wrote() {
    let server = Server::start();
    server.ok(&["produce", "t"], "0\n1\n2\n");
    let mut child = ottla()
        .args(["consume", "t", "--group", "g"])
        .env("OTTLA_BOOTSTRAP_SERVER", &server.address)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut written = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut written).unwrap();
    assert_eq!(&written, b"0\n1\n2\n");
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    server.ok(&["produce", "t"], "3\n");
    // At once: nobody's session has to end first.
    assert_eq!(server.ok(&["consume", "t", "--group", "g", "--max", "1"], ""), "3\n");
}

#[test]
fn a_topic_that_does_not_exist_is_said_and_not_waited_for() {
    let server = Server::start();
    for more in [&[][..], &["--group", "g"], &["--until-end"]] {
        let error = server.fails(&[&["consume", "no-such-topic"], more].concat(), "");
        assert!(error.contains("UNKNOWN_TOPIC_OR_PARTITION") && error.contains("no-such-topic"), "{error}");
    }
}
