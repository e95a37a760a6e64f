//! Goal: `ottla bench` measures what it says, on a topic of its own that is gone afterwards or on one that stays. Method: the
//! real binary; what was sent and read is counted in the topic, times are only held against what cannot be.

#[expect(dead_code, reason = "each test program uses a part of the harness")]
mod harness;

use harness::{Server, json};

/// The one result of a measurement.
fn measured(server: &Server, arguments: &[&str]) -> serde_json::Value {
    let report = json(&server.ok(&[&["bench"], arguments, &["--output", "json"]].concat(), ""));
    assert_eq!(report["results"].as_array().map(Vec::len), Some(1), "{report}");
    report["results"][0].clone()
}

#[test]
fn a_topic_is_made_for_it_and_deleted() {
    let server = Server::start();
    for acks in ["0", "1", "all"] {
        let sent = ["produce", "--records", "2000", "--partitions", "3", "--acks", acks, "--compression", "lz4"];
        let result = measured(&server, &sent);
        assert_eq!((&result["records"], &result["bytes"]), (&2000.into(), &200_000.into()));
        assert_eq!(result["latency_ms"].is_null(), acks == "0", "{result}");
        assert!(result["records_per_second"].as_f64().is_some_and(|rate| rate > 0.0));
    }
    let result = measured(&server, &["fetch", "--records", "3000", "--partitions", "2", "--record-bytes", "10"]);
    assert_eq!((&result["records"], &result["bytes"]), (&3000.into(), &30_000.into()));
    assert_eq!(server.ok(&["topic", "list", "--output", "json"], "").trim(), "[]");
}

#[test]
fn a_topic_that_was_named_stays() {
    let server = Server::start();
    server.ok(&["topic", "create", "t", "--partitions", "2"], "");
    measured(&server, &["produce", "--topic", "t", "--records", "500"]);
    let consumed = server.ok(&["consume", "t", "--until-end", "--format", "%p %S\\n"], "");
    let in_second = consumed.lines().filter(|line| *line == "1 100").count();
    assert_eq!((consumed.lines().count(), in_second), (500, 250));
    assert_eq!(measured(&server, &["fetch", "--topic", "t"])["records"], 500);
    assert!(measured(&server, &["fetch", "--topic", "t", "--records", "1"])["records"].as_u64().is_some_and(|n| n > 0));
    let error = server.fails(&["bench", "fetch", "--topic", "missing"], "");
    assert!(error.contains("missing"), "{error}");
}

#[test]
fn a_rate_and_a_time_bound_what_is_sent() {
    let server = Server::start();
    let result = measured(&server, &["produce", "--seconds", "1", "--rate", "200"]);
    let (records, seconds) = (result["records"].as_u64().expect("a number"), result["seconds"].as_f64());
    assert!((1..=201).contains(&records) && seconds.is_some_and(|seconds| seconds >= 1.0), "{result}");
}

#[test]
fn latency_is_that_of_the_acknowledgement_and_of_the_way_back() {
    let server = Server::start();
    let arguments = ["bench", "latency", "--rate", "100", "--seconds", "1", "--partitions", "2"];
    let report = json(&server.ok(&[arguments.as_slice(), &["--output", "json"]].concat(), ""));
    for (index, what) in ["acknowledged", "received"].into_iter().enumerate() {
        let result = &report["results"][index];
        assert_eq!((&result["what"], &result["records"]), (&what.into(), &100.into()), "{report}");
        let [p50, p99] = ["p50", "p99"].map(|quantile| result["latency_ms"][quantile].as_f64().expect("a number"));
        assert!(0.0 < p50 && p50 <= p99, "{report}");
    }
    let table = server.ok(&arguments, "");
    let rows: Vec<&str> = table.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(rows, ["RECORDS", "acknowledged", "received"], "{table}");
}
