//! Goal: the topic, cluster and completions commands, as text and as JSON. Method: the real binary.

#[expect(dead_code, reason = "each test program uses a part of the harness")]
mod harness;

use harness::{Server, json, ottla, run, text};

#[test]
fn a_topic_from_creation_to_deletion() {
    let server = Server::start();
    assert!(server.ok(&["topic", "list"], "").contains("no topics"));
    let create = ["topic", "create", "flights", "--partitions", "3", "--config", "retention.ms=-1"];
    assert_eq!(server.ok(&create, ""), "created flights with 3 partitions\n");
    assert!(server.fails(&create, "").contains("TOPIC_ALREADY_EXISTS"));
    let again = [create.as_slice(), &["--if-not-exists"]].concat();
    assert_eq!(server.ok(&again, ""), "flights is already there\n");

    server.ok(&["produce", "flights", "--partition", "1"], "a\nb\n");
    let listed = json(&server.ok(&["topic", "list", "--output", "json"], ""));
    assert_eq!((&listed[0]["topic"], &listed[0]["partitions"]), (&"flights".into(), &3.into()));

    let described = json(&server.ok(&["topic", "describe", "flights", "--output", "json"], ""));
    let partition = &described[0]["partitions"][1];
    assert_eq!((&partition["start_offset"], &partition["end_offset"]), (&0.into(), &2.into()));
    assert_eq!((&partition["leader"], &partition["replicas"]), (&1.into(), &serde_json::json!([1])));
    assert!(partition["size_bytes"].as_i64().is_some_and(|size| size > 0), "{partition}");
    assert_eq!(
        described[0]["configs"],
        serde_json::json!([{"name": "retention.ms", "value": "-1", "source": "topic"}])
    );
    let table = server.ok(&["topic", "describe", "flights"], "");
    assert!(table.starts_with("flights (") && table.contains("3 partitions, 2 offsets"), "{table}");

    assert_eq!(
        server.ok(&["topic", "add-partitions", "flights", "--total", "5"], ""),
        "flights has 5 partitions now\n"
    );
    assert!(server.fails(&["topic", "add-partitions", "flights", "--total", "2"], "").contains("INVALID_PARTITIONS"));
    let refused = server.fails(&["topic", "delete", "flights"], "y\n");
    assert!(refused.contains("delete flights with all records?") && refused.contains("say --yes"), "{refused}");
    server.ok(&["topic", "describe", "flights"], "");
    server.ok(&["topic", "delete", "flights", "--yes"], "");
    assert!(server.fails(&["topic", "describe", "flights"], "").contains("UNKNOWN_TOPIC_OR_PARTITION"));
    assert!(server.fails(&["topic", "delete", "flights", "--yes"], "").contains("UNKNOWN_TOPIC_OR_PARTITION"));
}

#[test]
fn settings_are_set_taken_back_and_edited() {
    let server = Server::start();
    server.ok(&["topic", "create", "t", "-c", "segment.bytes=2000000"], "");
    let alter = ["topic", "alter", "t", "--set", "flush.mode=async", "--delete", "segment.bytes", "--append"];
    server.ok(&[alter.as_slice(), &["cleanup.policy=compact"]].concat(), "");
    let described = json(&server.ok(&["topic", "describe", "t", "--output", "json"], ""));
    let value = |name: &str| {
        let configs = described[0]["configs"].as_array().expect("a list");
        configs.iter().find(|config| config["name"] == name).map(|config| config["value"].clone())
    };
    assert_eq!(value("flush.mode"), Some("async".into()));
    assert_eq!(value("cleanup.policy"), Some("delete,compact".into()));
    assert_eq!(value("segment.bytes"), None);
    let all = server.ok(&["topic", "describe", "t", "--all-configs"], "");
    assert!(all.contains("segment.bytes") && all.contains("1073741824"), "{all}");

    let stderr = server.fails(&["topic", "alter", "t", "--set", "retention.mss=1"], "");
    assert!(stderr.contains("INVALID_CONFIG") && stderr.contains("retention.ms`?"), "{stderr}");
    assert!(server.fails(&["topic", "alter", "t", "--set", "segment.bytes=1"], "").contains("at least 1048576"));
    assert!(server.fails(&["topic", "alter", "t"], "").contains("nothing to change"));
}

#[test]
fn what_is_too_old_goes() {
    let often = ["--set", "log.initial.task.delay.ms=0", "--set", "log.retention.check.interval.ms=10"];
    let server = Server::start_in(tempfile::tempdir().expect("a temporary directory"), &often);
    for (topic, retention) in [("gone", "retention.ms=1000"), ("kept", "retention.ms=-1")] {
        server.ok(&["topic", "create", topic, "-c", retention], "");
        server.ok(&["produce", topic, "--format", "json"], "{\"value\":\"old\",\"timestamp\":1372636800000}\n");
    }
    let start = |topic: &str| {
        let described = json(&server.ok(&["topic", "describe", topic, "--output", "json"], ""));
        described[0]["partitions"][0]["start_offset"].as_i64()
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while start("gone") != Some(1) {
        assert!(std::time::Instant::now() < deadline, "the record is still there");
    }
    assert_eq!(server.ok(&["consume", "gone", "--until-end"], ""), "");
    assert_eq!(start("kept"), Some(0));
}

#[test]
fn the_oldest_records_go_where_one_says() {
    let server = Server::start();
    server.ok(&["topic", "create", "t", "--partitions", "2"], "");
    let line = |day: u32| format!("{{\"value\":\"{day}\",\"timestamp\":{}}}\n", 86_400_000 * u64::from(day));
    let days: String = (1..=9).map(line).collect();
    for partition in ["0", "1"] {
        server.ok(&["produce", "t", "--format", "json", "--partition", partition], &days);
    }
    let starts = || {
        let described = json(&server.ok(&["topic", "describe", "t", "--output", "json"], ""));
        [0, 1].map(|partition: usize| described[0]["partitions"][partition]["start_offset"].as_i64())
    };
    let delete = |arguments: &[&str]| server.ok(&[&["topic", "delete-records", "t", "--yes"], arguments].concat(), "");
    assert_eq!(delete(&["--partition", "1", "--before", "2"]), "t-1 starts at 2 now\n");
    assert_eq!(starts(), [Some(0), Some(2)]);
    assert_eq!(delete(&["--before", "1970-01-06"]), "t-0 starts at 4 now\nt-1 starts at 4 now\n");
    assert_eq!(delete(&["--before", "3"]), "t has nothing before that\n");
    assert_eq!(delete(&["--before", "-2"]), "t-0 starts at 7 now\nt-1 starts at 7 now\n");
    assert_eq!(server.ok(&["consume", "t", "--until-end", "--partition", "0"], ""), "8\n9\n");
    let refused = server.fails(&["topic", "delete-records", "t", "--before", "end"], "");
    assert!(
        refused.contains("delete 4 offsets in 2 partitions of t for good?") && refused.contains("say --yes"),
        "{refused}"
    );
    assert!(
        server
            .fails(&["topic", "delete-records", "t", "--partition", "2", "--before", "end"], "")
            .contains("t-2 does not exist")
    );
    assert!(
        server.fails(&["topic", "delete-records", "u", "--before", "end"], "").contains("UNKNOWN_TOPIC_OR_PARTITION")
    );
    delete(&["--before", "end"]);
    assert_eq!(starts(), [Some(9), Some(9)]);
}

#[test]
fn settings_of_the_brokers_are_shown_and_changed_while_they_run() {
    let server = Server::start();
    let changed = server.ok(&["cluster", "alter", "--set", "log.retention.ms=86400000"], "");
    assert_eq!(changed, "changed 1 setting of all brokers\n");
    assert_eq!(
        server.ok(&["cluster", "alter", "--broker", "1", "--set", "log.retention.ms=3600000"], ""),
        "changed 1 setting of broker 1\n"
    );
    let setting = |name: &str| {
        let all = json(&server.ok(&["cluster", "settings", "--output", "json"], ""));
        all.as_array().expect("a list").iter().find(|setting| setting["name"] == name).cloned()
    };
    let retention = setting("log.retention.ms").expect("it was set");
    assert_eq!((&retention["value"], &retention["source"]), (&"3600000".into(), &"broker".into()));
    server.ok(&["cluster", "alter", "--broker", "1", "--delete", "log.retention.ms"], "");
    assert_eq!(setting("log.retention.ms").expect("of all brokers")["source"], "all brokers");
    let table = server.ok(&["cluster", "settings"], "");
    assert!(table.contains("log.retention.ms") && table.contains("while it runs"), "{table}");
    assert!(server.fails(&["cluster", "alter", "--set", "log.retention.ms=soon"], "").contains("log.retention.ms"));
    assert!(server.fails(&["cluster", "alter"], "").contains("nothing to change"));
}

#[test]
fn the_cluster_shows_its_brokers_and_versions() {
    let server = Server::start();
    let cluster = json(&server.ok(&["cluster", "--output", "json"], ""));
    assert_eq!(cluster["brokers"].as_array().map(Vec::len), Some(1));
    assert_eq!(format!("127.0.0.1:{}", cluster["brokers"][0]["port"]), server.address);
    assert_eq!(cluster["controller"], 1);
    assert!(cluster["cluster_id"].as_str().is_some_and(|id| id.len() == 22), "{cluster}");
    let text = server.ok(&["cluster", "--versions"], "");
    assert!(text.contains("Produce") && text.contains("controller"), "{text}");
}

#[test]
fn nobody_there_is_said_with_the_address() {
    let output = run(ottla().args(["topic", "list", "-b", "127.0.0.1:1"]), b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("127.0.0.1:1"), "{}", text(&output.stderr));
}

#[test]
fn a_wrong_command_line_has_exit_code_2() {
    for arguments in [
        vec!["nonsense"],
        vec!["topic", "create"],
        vec!["consume", "t", "--from", "start"],
        vec!["produce", "t", "--key-column", "k"],
        vec!["consume", "t", "--format", "%q"],
    ] {
        assert_eq!(run(ottla().args(&arguments), b"").status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(ottla().args(["completions", shell]), b"");
        assert!(output.status.success() && text(&output.stdout).contains("add-partitions"), "{shell}");
    }
}
