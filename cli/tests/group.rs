//! Goal: the group commands show how far a group is and what holds it up, and let it go on elsewhere, as text and as JSON.
//! Method: the real binary; a member that speaks the classic protocol by hand.

#[expect(dead_code, reason = "each test program uses a part of the harness")]
mod harness;

use harness::classic_member::ClassicMember;
use harness::{Server, json, text, write};
use serde_json::Value;

fn server() -> Server {
    server_with(&[])
}

/// A broker with ten records in each of two partitions, a minute between two of them.
fn server_with(settings: &[&str]) -> Server {
    let at_once = ["--set", "group.initial.rebalance.delay.ms=0"];
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start_in(directory, &[&at_once, settings].concat());
    server.ok(&["topic", "create", "t", "--partitions", "2", "-c", "retention.ms=-1"], "");
    for partition in ["0", "1"] {
        let minute = |index: i64| format!("{{\"value\":\"v\",\"timestamp\":{}}}\n", 1_372_636_800_000 + index * 60_000);
        let records: String = (0..10).map(minute).collect();
        server.ok(&["produce", "t", "--partition", partition, "--format", "json"], records);
    }
    server
}

fn describe(server: &Server, group: &str) -> Value {
    json(&server.ok(&["group", "describe", group, "--output", "json"], ""))[0].take()
}

fn numbers(rows: &Value, key: &str) -> Vec<Option<i64>> {
    rows.as_array().expect("a list").iter().map(|row| row[key].as_i64()).collect()
}

#[test]
fn a_group_is_moved_looked_at_and_deleted() {
    let server = server();
    assert_eq!(server.ok(&["group", "list"], ""), "there are no groups\n");
    let reset = ["group", "reset-offsets", "g", "--topic", "t", "--to"];
    let dry = server.ok(&[reset.as_slice(), &["2013-07-01T00:03:30Z"]].concat(), "");
    assert_eq!(
        dry,
        "TOPIC  PARTITION  COMMITTED  NEW\nt      0          -          4\nt      1          -          4\n"
    );
    assert_eq!(server.ok(&["group", "list"], ""), "there are no groups\n", "nothing was done");
    server.ok(&[reset.as_slice(), &["2013-07-01T00:03:30Z", "--execute"]].concat(), "");
    let listed = json(&server.ok(&["group", "list", "--state", "empty", "--type", "classic", "-o", "json"], ""));
    assert_eq!((&listed[0]["group"], &listed[0]["state"]), (&"g".into(), &"Empty".into()));
    assert_eq!(server.ok(&["group", "list", "--state", "stable"], ""), "there are no such groups\n");

    let group = describe(&server, "g");
    assert_eq!(numbers(&group["partitions"], "committed_offset"), [Some(4), Some(4)]);
    assert_eq!(numbers(&group["partitions"], "lag"), [Some(6), Some(6)]);
    // From the fifth record to the tenth, made a minute apart; and from the fifth until now.
    assert_eq!(group["partitions"][0]["lag_seconds"], 300.0);
    assert!(group["partitions"][0]["waiting_seconds"].as_f64().is_some_and(|seconds| seconds > 1e8), "{group}");
    assert_eq!(group["lag"], 12);
    let reason = group["reasons"][0].as_str().expect("a reason");
    assert!(reason.starts_with("no members") && reason.ends_with("12 records wait"), "{reason}");

    for (how, expected) in [
        (["--shift-by", "-3"], [1, 1]),
        (["--to", "earliest"], [0, 0]),
        (["--to", "-2"], [8, 8]),
        (["--to", "2014-01-01"], [10, 10]),
        (["--to", "7"], [7, 7]),
        (["--shift-by", "100"], [10, 10]),
    ] {
        let arguments =
            [&["group", "reset-offsets", "g", "--all-topics", "--execute", "-o", "json"], &how[..]].concat();
        let done = json(&server.ok(&arguments, ""));
        assert_eq!(numbers(&done, "new_offset"), expected.map(Some), "{how:?}");
        assert_eq!(numbers(&describe(&server, "g")["partitions"], "committed_offset"), expected.map(Some), "{how:?}");
    }
    let caught_up = describe(&server, "g");
    assert_eq!((&caught_up["lag"], &caught_up["partitions"][0]["lag_seconds"]), (&0.into(), &0.0.into()));

    // There is no terminal to ask at.
    for delete in [&["group", "delete", "g"][..], &["group", "delete-offsets", "g", "--topic", "t"]] {
        let refused = server.fails(delete, "y\n");
        assert!(refused.contains("nothing was deleted: say --yes"), "{refused}");
    }
    assert_eq!(numbers(&describe(&server, "g")["partitions"], "partition"), [Some(0), Some(1)]);
    server.ok(&["group", "delete-offsets", "g", "--topic", "t:1", "--yes"], "");
    assert_eq!(numbers(&describe(&server, "g")["partitions"], "partition"), [Some(0)]);
    assert_eq!(server.ok(&["group", "delete", "g", "--yes"], ""), "deleted g\n");
    let gone = "there is no group g: `ottla group list` shows those that there are";
    assert!(server.fails(&["group", "delete", "g", "--yes"], "").contains(gone));
    assert!(server.fails(&["group", "describe", "g"], "").contains(gone));
}

#[test]
fn a_group_has_settings_of_its_own() {
    let server = server();
    server.ok(&["group", "reset-offsets", "g", "--topic", "t", "--to", "5", "--execute"], "");
    assert_eq!(describe(&server, "g")["settings"], serde_json::json!({}));
    let alter = ["group", "alter", "g"];
    let set = ["--set", "consumer.session.timeout.ms=50000", "--set", "consumer.heartbeat.interval.ms=7000"];
    assert_eq!(server.ok(&[&alter[..], &set[..]].concat(), ""), "changed 2 settings of g\n");
    assert_eq!(
        server.ok(&[&alter[..], &["--delete", "consumer.heartbeat.interval.ms"]].concat(), ""),
        "changed 1 setting of g\n"
    );
    assert_eq!(describe(&server, "g")["settings"], serde_json::json!({"consumer.session.timeout.ms": "50000"}));
    let table = server.ok(&["group", "describe", "g"], "");
    assert!(table.contains("settings of its own: consumer.session.timeout.ms=50000\n"), "{table}");
    let refused = server.fails(&[&alter[..], &["--set", "consumer.session.timeout.ms=1"]].concat(), "");
    assert!(refused.contains("at least 45000 (`group.consumer.min.session.timeout.ms`)"), "{refused}");
    assert!(server.fails(&alter, "").contains("nothing to change: use --set"));
}

#[test]
fn offsets_come_from_a_file() {
    let server = server();
    let file = server.path("offsets.csv");
    let reset = ["group", "reset-offsets", "g", "--execute", "--from-file", "offsets.csv"];
    write(&file, "t,0,3\nt,1,12\n");
    let output = server.run(&reset, b"");
    assert!(output.status.success());
    let moved = text(&output.stderr);
    assert!(moved.contains("t-1 has offsets from 0 to 10: 10 instead of 12"), "{moved}");
    assert_eq!(numbers(&describe(&server, "g")["partitions"], "committed_offset"), [Some(3), Some(10)]);
    // What is written out is what is read in.
    let reset_as_csv = ["group", "reset-offsets", "g", "--all-topics", "--shift-by", "0", "--output", "csv"];
    assert_eq!(server.ok(&reset_as_csv, ""), "t,0,3\nt,1,10\n");
    let twice = json(&server.ok(&["group", "describe", "g", "g", "--output", "json"], ""));
    assert_eq!(twice.as_array().map(Vec::len), Some(1), "{twice}");
    // One group that is not there keeps nobody from seeing the other.
    let output = server.run(&["group", "describe", "h", "g", "--output", "json"], b"");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(json(&text(&output.stdout))[0]["group"], "g");
    assert!(text(&output.stderr).contains("there is no group h"));
    write(&file, "t,0\n");
    assert!(server.fails(&reset, "").contains("offsets.csv: line 1 has 2 fields"));
    write(&file, "other,t,0,3\n");
    assert!(server.fails(&reset, "").contains("no offsets of the group g"));
    write(&file, "t,7,3\n");
    assert!(server.fails(&reset, "").contains("t-7 does not exist"));
}

#[test]
fn members_and_what_they_have_are_shown_and_keep_their_offsets() {
    let server = server();
    server.ok(&["group", "reset-offsets", "g", "--topic", "t", "--to", "5", "--execute"], "");
    let member = ClassicMember::join(&server.address, "g", "t", &[0]);
    let group = describe(&server, "g");
    assert_eq!((&group["state"], &group["assignor"]), (&"Stable".into(), &"range".into()));
    assert!(group["state_since_ms"].as_i64().is_some_and(|since| since > 1_500_000_000_000), "{group}");
    let shown = &group["members"][0];
    assert_eq!((&shown["member_id"], &shown["client_id"]), (&member.id().into(), &"by-hand".into()));
    assert_eq!(shown["partitions"], serde_json::json!({"t": [0]}));
    assert!(shown["last_heard_ms"].as_i64().is_some_and(|heard| heard > 1_500_000_000_000), "{group}");
    assert_eq!(
        (&group["partitions"][0]["owner"], &group["partitions"][1]["owner"]),
        (&member.id().into(), &Value::Null)
    );
    assert_eq!(group["reasons"], serde_json::json!(["no owner: t:1, which members subscribe to"]));
    let table = server.ok(&["group", "describe", "g"], "");
    assert!(
        table.contains("g (classic, range): Stable since ") && table.contains("1 member, 10 records behind"),
        "{table}"
    );

    let reset = ["group", "reset-offsets", "g", "--topic", "t", "--to", "earliest"];
    let refused = server.fails(&[reset.as_slice(), &["--execute"]].concat(), "");
    assert!(
        refused.contains("g has 1 member (by-hand at /127.0.0.1)") && refused.contains("stop them first"),
        "{refused}"
    );
    let dry = server.run(&reset, b"");
    assert!(dry.status.success() && text(&dry.stderr).contains("--execute would be refused now"));
    assert_eq!(numbers(&describe(&server, "g")["partitions"], "committed_offset"), [Some(5), Some(5)]);
    assert!(server.fails(&["group", "delete", "g", "--yes"], "").contains("stop the group's members first"));
    assert!(server.fails(&["group", "delete-offsets", "g", "--topic", "t", "--yes"], "").contains("still subscribe"));

    member.leave();
    let reason = describe(&server, "g")["reasons"][0].as_str().expect("a reason").to_owned();
    assert!(reason.starts_with("no members since ") && reason.ends_with("10 records wait"), "{reason}");
    server.ok(&[reset.as_slice(), &["--execute"]].concat(), "");
    assert_eq!(describe(&server, "g")["lag"], 20);
}

#[test]
fn a_member_that_has_never_committed_has_everything_to_read() {
    let server = server();
    // A group of before: the member by hand looks for no coordinator, and would come before there is one.
    server.ok(&["group", "reset-offsets", "g", "--topic", "t", "--to", "5", "--execute"], "");
    server.ok(&["group", "delete", "g", "--yes"], "");
    let member = ClassicMember::join(&server.address, "g", "t", &[0, 1]);
    let group = describe(&server, "g");
    assert_eq!((&group["state"], &group["lag"]), (&"Stable".into(), &20.into()));
    assert_eq!(group["partitions"][1]["is_never_committed"], true);
    assert_eq!(
        (&group["partitions"][1]["committed_offset"], &group["partitions"][1]["lag"]),
        (&Value::Null, &10.into())
    );
    assert_eq!(group["partitions"][1]["lag_seconds"], 540.0);
    let reason = "nothing committed yet for t:0,1: 20 records there, from the start of the log";
    assert_eq!(group["reasons"], serde_json::json!([reason]));
    let table = server.ok(&["group", "describe", "g"], "");
    assert!(table.contains("1 member, 20 records behind") && table.contains(" never "), "{table}");
    member.leave();
}

#[test]
fn what_was_deleted_ahead_of_a_group_is_said() {
    let server = server_with(&["--set", "log.initial.task.delay.ms=0", "--set", "log.retention.check.interval.ms=10"]);
    server.ok(&["group", "reset-offsets", "g", "--topic", "t", "--to", "5", "--execute"], "");
    server.ok(&["topic", "alter", "t", "--set", "retention.ms=1000"], "");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let group = loop {
        let group = describe(&server, "g");
        if numbers(&group["partitions"], "log_start_offset") == [Some(10), Some(10)] {
            break group;
        }
        assert!(std::time::Instant::now() < deadline, "the records are still there: {group}");
    };
    assert_eq!((&group["lag"], &group["partitions"][0]["committed_offset"]), (&0.into(), &5.into()));
    let reasons = group["reasons"].to_string();
    assert!(reasons.contains("t-1: the committed offset 5 is deleted, the log starts at 10"), "{reasons}");
}

#[test]
fn a_watch_says_which_offsets_stand_still() {
    let server = server();
    server.ok(&["group", "reset-offsets", "g", "--topic", "t:0", "--to", "5", "--execute"], "");
    let script = format!("'{}' group describe g --watch 1 --output json | head -n 2", env!("CARGO_BIN_EXE_ottla"));
    let mut shell = std::process::Command::new("sh");
    let output = harness::run(shell.args(["-c", &script]).env("OTTLA_BOOTSTRAP_SERVER", &server.address), b"");
    let looks = text(&output.stdout);
    let looks: Vec<Value> = looks.lines().map(json).collect();
    let reasons = |look: &Value| look[0]["reasons"].to_string();
    assert!(!reasons(&looks[0]).contains("is stuck"), "{looks:?}");
    assert!(reasons(&looks[1]).contains("t-0 is stuck: the committed offset 5 has not moved"), "{looks:?}");
}

#[test]
fn a_command_line_that_says_too_little_is_refused() {
    let server = server();
    for arguments in [
        vec!["group", "reset-offsets", "g", "--topic", "t"],
        vec!["group", "reset-offsets", "g", "--to", "earliest"],
        vec!["group", "reset-offsets", "g", "--topic", "t", "--from-file", "f"],
        vec!["group", "reset-offsets", "g", "--topic", "t", "--to", "5", "--shift-by", "1"],
        vec!["group", "reset-offsets", "g", "--topic", "t:x", "--to", "5"],
        vec!["group", "delete-offsets", "g"],
        vec!["group", "describe"],
    ] {
        assert_eq!(server.run(&arguments, b"").status.code(), Some(2), "{arguments:?}");
    }
    assert!(server.fails(&["group", "list", "--state", "stale"], "").contains("is no state of a group"));
    assert!(
        server.fails(&["group", "reset-offsets", "g", "--all-topics", "--to", "5"], "").contains("name its topics")
    );
    let shift = ["group", "reset-offsets", "g", "--topic", "t", "--shift-by", "1"];
    assert!(server.fails(&shift, "").contains("has not committed in t-0: use --to"));
}
