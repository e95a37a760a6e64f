//! Goal: `ottla log` shows what a broker wrote, finds what somebody damaged, and puts it in order when it is told to.
//! Method: the real binary on the data directory of a real broker that was stopped, killed or still runs.

#[expect(dead_code, reason = "each test program uses a part of the harness")]
mod harness;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use harness::{Server, json, ottla, run, text};
use serde_json::Value;
use tempfile::TempDir;

/// The data of a broker that was stopped: a topic of one partition with three records, each in a batch of its own.
fn stopped() -> (TempDir, PathBuf) {
    let server = Server::start();
    server.ok(&["topic", "create", "t", "--config", "index.interval.bytes=0"], "");
    for line in ["one", "two", "three"] {
        server.ok(&["produce", "t", "--key-separator", "="], format!("{line}={line} value\n"));
    }
    let data = server.data_dir();
    let (code, directory) = server.stop("TERM");
    assert_eq!(code, Some(0));
    (directory, data)
}

fn string(value: &str) -> Vec<u8> {
    [&(value.len() as i16).to_be_bytes()[..], value.as_bytes()].concat()
}

/// Sends one request of a version without tagged fields, and gives the body of the answer.
fn ask(stream: &mut TcpStream, api_key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let header = [&api_key.to_be_bytes()[..], &version.to_be_bytes(), &7i32.to_be_bytes(), &string("test")].concat();
    let frame = [&((header.len() + body.len()) as i32).to_be_bytes()[..], &header, body].concat();
    stream.write_all(&frame).expect("the broker reads");
    let mut size = [0; 4];
    stream.read_exact(&mut size).expect("the broker answers");
    let mut answer = vec![0; i32::from_be_bytes(size) as usize];
    stream.read_exact(&mut answer).expect("all of it");
    answer.split_off(4)
}

/// Commits an offset of partition 0 for a group without members: FindCoordinator v0, OffsetCommit v2.
fn commit(address: &str, group: &str, topic: &str, offset: i64) {
    let mut stream = TcpStream::connect(address).expect("the broker listens");
    let body = [
        string(group),
        (-1i32).to_be_bytes().to_vec(),
        string(""),
        (-1i64).to_be_bytes().to_vec(),
        1i32.to_be_bytes().to_vec(),
        string(topic),
        1i32.to_be_bytes().to_vec(),
        0i32.to_be_bytes().to_vec(),
        offset.to_be_bytes().to_vec(),
        string(""),
    ];
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        ask(&mut stream, 10, 0, &string(group));
        let answer = ask(&mut stream, 8, 2, &body.concat());
        let error_code = i16::from_be_bytes([answer[answer.len() - 2], answer[answer.len() - 1]]);
        if error_code == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "the commit is refused with {error_code}");
        std::thread::yield_now();
    }
}

fn log(arguments: &[&str]) -> Output {
    run(ottla().arg("log").args(arguments), b"")
}

fn succeeds(arguments: &[&str]) -> String {
    let output = log(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {} {}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn lines(output: &str) -> Vec<Value> {
    output.lines().map(json).collect()
}

fn path(data: &Path, name: &str) -> String {
    data.join(name).to_str().expect("UTF-8").to_owned()
}

fn flip(path: &str, at: usize) {
    let mut content = std::fs::read(path).expect("the file is there");
    content[at] ^= 1;
    std::fs::write(path, content).expect("a temporary directory is writable");
}

const SEGMENT: &str = "t-0/00000000000000000000.log";

#[test]
fn a_dump_shows_batches_records_and_all_files_beside_them() {
    let (_directory, data) = stopped();
    let all = lines(&succeeds(&["dump", &path(&data, "t-0"), "--records", "--output", "json"]));
    let of = |kind: &str| all.iter().filter(|object| object["type"] == kind).collect::<Vec<_>>();
    let batches = of("batch");
    assert_eq!(batches.len(), 3, "{all:#?}");
    for (n, batch) in batches.iter().enumerate() {
        assert_eq!(
            (&batch["base_offset"], &batch["last_offset"], &batch["record_count"]),
            (&n.into(), &n.into(), &1.into())
        );
        assert_eq!(
            (&batch["crc_matches"], &batch["sound"], &batch["codec"]),
            (&true.into(), &true.into(), &"none".into())
        );
        assert!(batch["producer_id"].as_i64().is_some_and(|id| id >= 0), "{batch}");
    }
    let records: Vec<_> = of("record").iter().map(|record| (record["key"].clone(), record["value"].clone())).collect();
    assert_eq!(records[2], ("three".into(), "three value".into()));
    assert!(!of("offset_index_entry").is_empty() && !of("time_index_entry").is_empty(), "{all:#?}");
    assert_eq!(of("producer").len(), 3, "a producer for each command: {all:#?}");
    assert_eq!(of("leader_epoch")[0]["start_offset"], 0);

    let from_second = lines(&succeeds(&["dump", &path(&data, SEGMENT), "--from", "1", "--to", "2", "-o", "json"]));
    assert_eq!(from_second.len(), 1);
    assert_eq!(from_second[0]["base_offset"], 1);

    let dir = data.to_str().expect("UTF-8");
    let shown = succeeds(&["dump", dir, "--topic-partition", "t-0", "--records"]);
    assert!(shown.contains("offsets 0-0, 1 records"), "{shown}");
    assert!(shown.contains("key \"two\" value \"two value\""), "{shown}");
    let metadata = succeeds(&["dump", &path(&data, "__cluster_metadata-0"), "--records"]);
    assert!(metadata.contains("\"type\":\"topic\""), "{metadata}");
    let checkpoints = succeeds(&["dump", dir]);
    assert!(checkpoints.contains("t-0 3"), "{checkpoints}");
}

#[test]
fn commits_of_groups_are_shown_in_words() {
    let server = Server::start();
    server.ok(&["produce", "t"], "a\n");
    let data = server.data_dir();
    commit(&server.address, "readers", "t", 1);
    let (_, _directory) = server.stop("TERM");
    let folders = std::fs::read_dir(&data).expect("there").map(|entry| entry.expect("an entry").path());
    let found = folders
        .filter(|folder| {
            folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("__consumer_offsets-"))
        })
        .flat_map(|folder| lines(&succeeds(&["dump", folder.to_str().expect("UTF-8"), "--records", "-o", "json"])))
        .find(|object| object["type"] == "record");
    let decoded = found.expect("a commit")["decoded"].as_str().expect("words").to_owned();
    assert!(decoded.contains("OffsetCommit") && decoded.contains("readers"), "{decoded}");
}

#[test]
fn a_stopped_broker_leaves_a_sound_directory_and_a_running_one_is_only_warned_of() {
    let (_directory, data) = stopped();
    let dir = data.to_str().expect("UTF-8");
    let report = succeeds(&["verify", dir, "--records"]);
    assert!(report.contains("t-0: sound; offsets 0 to 3, 3 records in 3 batches and 1 segments"), "{report}");
    let parsed = json(&succeeds(&["verify", dir, "--output", "json"]));
    assert_eq!(
        (&parsed["sound"], &parsed["in_use"], &parsed["was_clean"]),
        (&true.into(), &false.into(), &true.into())
    );
    assert!(succeeds(&["repair", dir, "--apply"]).contains("nothing to repair"));
    assert!(!data.join("quarantine").exists(), "what is sound is not touched");

    let server = Server::start();
    server.ok(&["produce", "t"], "a\n");
    let dir = server.data_dir();
    let dir = dir.to_str().expect("UTF-8");
    let output = log(&["verify", dir]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("a broker uses"), "{}", text(&output.stderr));
    let refused = log(&["repair", dir, "--apply"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("stop it first"), "{}", text(&refused.stderr));
    server.ok(&["produce", "t"], "the broker goes on\n");
}

#[test]
fn damage_in_the_middle_is_found_refused_and_taken_out_on_request() {
    let (directory, data) = stopped();
    let (dir, segment) = (data.to_str().expect("UTF-8"), path(&data, SEGMENT));
    let batches = lines(&succeeds(&["dump", &segment, "-o", "json"]));
    let second = batches[1]["position"].as_u64().expect("a position") as usize;
    let before = std::fs::read(&segment).expect("there");
    flip(&segment, second + 70);

    let output = log(&["verify", dir]);
    assert_eq!(output.status.code(), Some(1));
    let found = text(&output.stdout);
    assert!(found.contains("offsets 1 to 1") && found.contains("CORRUPT_MESSAGE"), "{found}");
    let dumped = log(&["dump", &segment, "-o", "json"]);
    assert_eq!(dumped.status.code(), Some(1));
    let wrong: Vec<Value> =
        lines(&text(&dumped.stdout)).into_iter().filter(|object| object["sound"] == false).collect();
    assert_eq!((wrong.len(), &wrong[0]["crc_matches"], &wrong[0]["base_offset"]), (1, &false.into(), &1.into()));

    let dry = log(&["repair", dir, "--drop-damaged"]);
    assert_eq!(dry.status.code(), Some(1));
    assert!(text(&dry.stdout).contains("nothing was changed"), "{}", text(&dry.stdout));
    assert!(!data.join("quarantine").exists());

    let done = succeeds(&["repair", dir, "--drop-damaged", "--apply", "--output", "json"]);
    let done = json(&done);
    assert_eq!((&done["dropped"], &done["left"]), (&1.into(), &serde_json::json!([])));
    let backup = PathBuf::from(done["backup"].as_str().expect("a path"));
    let third = batches[2]["position"].as_u64().expect("a position") as usize;
    let kept = std::fs::read(backup.join(format!("t-0.00000000000000000000.log.{second}.dropped"))).expect("kept");
    let mut damaged = before[second..third].to_vec();
    damaged[70] ^= 1;
    assert_eq!(kept, damaged);
    assert!(succeeds(&["verify", dir, "--records"]).contains("t-0: sound; offsets 0 to 3, 2 records"));

    let server = Server::start_in(directory, &[]);
    assert_eq!(
        server.ok(&["consume", "t", "--until-end"], ""),
        "one value\nthree value\n",
        "readers step over the gap"
    );
    server.ok(&["produce", "t"], "four\n");
    assert_eq!(server.ok(&["consume", "t", "--until-end", "--from", "1"], ""), "three value\nfour\n");
}

#[test]
fn a_consumer_that_meets_damage_is_told_how_to_go_on() {
    let (directory, data) = stopped();
    let segment = path(&data, SEGMENT);
    let batches = lines(&succeeds(&["dump", &segment, "-o", "json"]));
    flip(&segment, batches[1]["position"].as_u64().expect("a position") as usize + 70);
    let server = Server::start_in(directory, &[]);
    for (more, way_on) in [
        (&[][..], "ottla consume t --partition 0 --from OFFSET"),
        (&["--group", "g"][..], "ottla group reset-offsets g --topic t:0 --to OFFSET --execute"),
    ] {
        let output = server.run(&[&["consume", "t", "--until-end"], more].concat(), b"");
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), "one value\n"), "{more:?}");
        let error = text(&output.stderr);
        assert!(error.contains("offset 1 of t-0 is damaged") && error.contains(way_on), "{error}");
    }
    server.ok(&["group", "reset-offsets", "g", "--topic", "t:0", "--to", "2", "--execute"], "");
    assert_eq!(server.ok(&["consume", "t", "--until-end", "--group", "g"], ""), "three value\n");
    assert_eq!(server.ok(&["consume", "t", "--until-end", "--from", "2"], ""), "three value\n");
}

#[test]
fn a_torn_tail_is_cut_and_kept() {
    let (directory, data) = stopped();
    let (dir, segment) = (data.to_str().expect("UTF-8"), path(&data, SEGMENT));
    let mut content = std::fs::read(&segment).expect("there");
    content.extend_from_slice(b"half a batch");
    std::fs::write(&segment, content).expect("writable");
    let output = log(&["verify", dir]);
    assert!(text(&output.stdout).contains("12 bytes behind the last sound batch"), "{}", text(&output.stdout));
    assert_eq!(log(&["repair", dir]).status.code(), Some(1));
    let done = succeeds(&["repair", dir, "--apply"]);
    assert!(done.contains("everything is sound now"), "{done}");
    let kept =
        walk(&data.join("quarantine")).into_iter().any(|file| std::fs::read(file).expect("there") == b"half a batch");
    assert!(kept);
    let server = Server::start_in(directory, &[]);
    assert_eq!(server.ok(&["consume", "t", "--until-end"], ""), "one value\ntwo value\nthree value\n");
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn a_damaged_cache_is_named_and_built_again() {
    let (_directory, data) = stopped();
    let dir = data.to_str().expect("UTF-8");
    for name in ["00000000000000000000.index", "00000000000000000000.timeindex", "00000000000000000003.snapshot"] {
        let file = path(&data, &format!("t-0/{name}"));
        let before = std::fs::read(&file).expect("there");
        flip(&file, before.len() - 1);
        let output = log(&["verify", dir, "--output", "json"]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        let report = json(&text(&output.stdout));
        let findings = report["partitions"]
            .as_array()
            .expect("a list")
            .iter()
            .flat_map(|p| p["findings"].as_array().expect("a list"));
        let kinds: Vec<_> = findings.map(|finding| (finding["kind"].clone(), finding["file"].clone())).collect();
        assert_eq!(kinds, [("cache".into(), file.clone().into())], "{name}");
        assert!(succeeds(&["repair", dir, "--apply"]).contains("everything is sound now"));
    }
    flip(&path(&data, "recovery-point-offset-checkpoint"), 4);
    assert_eq!(log(&["verify", dir]).status.code(), Some(1));
    assert!(succeeds(&["repair", dir, "--apply"]).contains("everything is sound now"));
}

#[test]
fn what_is_no_data_directory_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(directory.path().join("notes.txt"), "mine").expect("writable");
    let dir = directory.path().to_str().expect("UTF-8");
    for arguments in [["verify", dir], ["repair", dir], ["dump", dir], ["verify", "/no/such/directory"]] {
        let output = log(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!text(&output.stderr).is_empty());
    }
    assert_eq!(log(&["dump", &path(directory.path(), "notes.txt")]).status.code(), Some(2));
    assert_eq!(walk(directory.path()).len(), 1);
}

#[test]
fn bad_bytes_in_any_file_never_make_it_panic() {
    let (_directory, data) = stopped();
    let dir = data.to_str().expect("UTF-8");
    let folder = data.join("t-0");
    let files: Vec<PathBuf> =
        walk(&folder).into_iter().chain(walk(&data).into_iter().filter(|file| file.parent() == Some(&data))).collect();
    // A linear congruence decides; the printed round gives the same bytes again.
    let mut random = 1u64;
    let mut next = |bound: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % bound.max(1)
    };
    for round in 0..40 {
        let file = &files[next(files.len())];
        let Ok(before) = std::fs::read(file) else { continue };
        let mut content = before.clone();
        match next(4) {
            0 => content.truncate(next(content.len())),
            1 => content.fill(0),
            2 => (0..16).for_each(|_| {
                let at = next(content.len());
                if let Some(byte) = content.get_mut(at) {
                    *byte = next(256) as u8;
                }
            }),
            _ => content = (0..next(4096)).map(|_| next(256) as u8).collect(),
        }
        std::fs::write(file, &content).expect("writable");
        for arguments in [
            vec!["verify", dir, "--records"],
            vec!["dump", folder.to_str().expect("UTF-8"), "--records"],
            vec!["dump", dir, "-o", "json"],
        ] {
            let output = log(&arguments);
            let code = output.status.code();
            assert!(
                matches!(code, Some(0 | 1)),
                "round {round}, {}: {code:?} {}",
                file.display(),
                text(&output.stderr)
            );
        }
        std::fs::write(file, &before).expect("writable");
    }
}
