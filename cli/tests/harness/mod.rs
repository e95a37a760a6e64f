//! Starts the real binary on a free port and runs commands against it.

pub(crate) mod classic_member;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use tempfile::TempDir;

/// The binary under test, without the variables of the user who runs the tests.
pub(crate) fn ottla() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OTTLA_") {
            command.env_remove(name);
        }
    }
    command.env("OTTLA_LOG", "warn");
    command
}

/// A broker process with a data directory of its own; killed when dropped.
pub(crate) struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// `HOST:PORT`.
    pub(crate) address: String,
    /// Everything that was printed up to and with the address.
    pub(crate) banner: String,
    directory: TempDir,
}

impl Server {
    pub(crate) fn start() -> Server {
        Server::start_in(tempfile::tempdir().expect("a temporary directory"), &[])
    }

    pub(crate) fn start_in(directory: TempDir, arguments: &[&str]) -> Server {
        let data = directory.path().join("data");
        let mut child = ottla()
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&data)
            .args(arguments)
            .current_dir(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut banner = String::new();
        let address = loop {
            let read = stdout.read_line(&mut banner).expect("stdout is text");
            assert!(read > 0, "the broker ended without saying where it listens: {banner}");
            let last = banner.lines().next_back().unwrap_or_default();
            if let Some(address) = last.trim().strip_prefix("listening on") {
                break address.trim().to_owned();
            }
        };
        Server { child, stdout, address, banner, directory }
    }

    /// What is printed next.
    pub(crate) fn next_line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("stdout is text");
        line
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, waits for the end and gives the exit code and the directory.
    pub(crate) fn stop(mut self, signal: &str) -> (Option<i32>, TempDir) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), pid.as_str()]).status().expect("kill runs");
        assert!(sent.success());
        let code = self.child.wait().expect("our own child").code();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("stdout is text");
        (code, std::mem::replace(&mut self.directory, tempfile::tempdir().expect("a temporary directory")))
    }

    /// Runs a command against this broker.
    pub(crate) fn run(&self, arguments: &[&str], input: &[u8]) -> Output {
        run(
            ottla().args(arguments).env("OTTLA_BOOTSTRAP_SERVER", &self.address).current_dir(self.directory.path()),
            input,
        )
    }

    /// Runs a command that must succeed, and gives its stdout.
    pub(crate) fn ok(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> String {
        let output = self.run(arguments, input.as_ref());
        assert!(output.status.success(), "{arguments:?} failed: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs a command that must fail with exit code 1, and gives its stderr.
    pub(crate) fn fails(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> String {
        let output = self.run(arguments, input.as_ref());
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stderr)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command with `input` on its stdin to its end.
pub(crate) fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = input.to_vec();
    // A command may end without reading all of it.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("our own child");
    writer.join().expect("the writer does not panic");
    output
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

pub(crate) fn write(path: &Path, content: &str) {
    std::fs::write(path, content).expect("a temporary directory is writable");
}
