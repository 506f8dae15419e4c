//! `entia dev` as an author uses it: a project made by `entia new`, edits, mistakes, and Ctrl-C.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use entia_tests::{Node, NodeOptions, entia};
use rustix::process::{Pid, Signal, kill_process};

/// A running `entia dev`, killed when dropped.
struct Dev {
    child: Child,
    lines: Receiver<String>,
    said: String,
}

impl Dev {
    fn start(project: &Path, flags: &[&str]) -> Self {
        let mut child = command(project, flags).spawn().unwrap();
        let (send, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let other = send.clone();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = other.send(line);
            }
        });
        Self {
            child,
            lines,
            said: String::new(),
        }
    }

    /// The next line that contains `text`.
    fn wait(&mut self, text: &str) -> String {
        let latest = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(latest - Instant::now()) {
                Ok(line) => {
                    self.said += &format!("{line}\n");
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(error) => panic!("`{text}` did not come ({error}):\n{}", self.said),
            }
        }
    }

    /// Its URL, from its first line.
    fn api(&mut self) -> String {
        let line = self.wait("serving on ");
        let api = line.strip_prefix("serving on ").unwrap();
        api.split(',').next().unwrap().to_owned()
    }

    /// SIGINT, and waits for the end; returns what it said then.
    fn interrupt(mut self) -> (ExitStatus, String) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.unwrap(), Signal::INT).unwrap();
        let mut said = String::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => said += &format!("{line}\n"),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it goes on:\n{}{said}", self.said),
            }
        }
        (self.child.wait().unwrap(), said)
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(project: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(entia());
    command
        .arg("dev")
        .args(flags)
        .current_dir(project)
        .env_remove("ENTIA_API")
        .env_remove("ENTIA_HTTP")
        .env_remove("ENTIA_LOG")
        // What the projects have in common is built once.
        .env(
            "CARGO_TARGET_DIR",
            concat!(env!("CARGO_TARGET_TMPDIR"), "/projects"),
        )
        .env_remove("RUSTFLAGS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn call(api: &str, arguments: &[&str]) -> String {
    let output = Command::new(entia())
        .args(["--api", api, "call"])
        .args(arguments)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn new(parent: &Path, name: &str) {
    let made = Command::new(entia())
        .args(["new", name])
        .current_dir(parent)
        .output();
    assert!(made.unwrap().status.success());
}

/// Writes a file as many editors do: a new one, renamed over the old one.
fn save(path: &Path, text: &str) {
    let beside = path.with_extension("new~");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_author_edits_breaks_mends_and_stops_and_the_state_stays() {
    let dir = tempfile::tempdir().unwrap();
    new(dir.path(), "notebook");
    let project = dir.path().join("notebook");
    let source = project.join("src/lib.rs");
    let first = fs::read_to_string(&source).unwrap();

    let mut dev = Dev::start(&project, &["--http", "127.0.0.1:0"]);
    let api = dev.api();
    dev.wait("built in ");
    dev.wait("deployed notebook as version 1 in ");
    let ready_made = dev.wait("entia call notebook/mine write '{");
    assert!(ready_made.contains(&api), "{ready_made}");
    dev.wait("watching the source");
    // What it printed is pasted into a shell.
    let pasted = Command::new("sh")
        .args([
            "-c",
            &ready_made.replace("entia", &entia().display().to_string()),
        ])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&pasted.stdout),
        "1\n",
        "{}",
        err(&pasted)
    );
    dev.wait("notebook/mine info: ");
    let note = r#"{"title": "milk", "text": "two litres"}"#;
    assert_eq!(call(&api, &["notebook/mine", "write", note]), "2");

    let second = first.replace(
        "    /// All titles, in order.",
        "    /// How many notes there are.\n    pub fn count(&self) -> usize {\n        self.notes.len()\n    }\n\n    /// All titles, in order.",
    );
    assert_ne!(first, second, "the template has the line that is replaced");
    save(&source, &second);
    dev.wait("src/lib.rs changed");
    dev.wait("deployed notebook as version 2 in ");
    dev.wait("new: count() -> integer");
    assert_eq!(call(&api, &["notebook/mine", "count"]), "2");

    save(
        &source,
        &second.replace("self.notes.len()\n", "self.notes.length()\n"),
    );
    dev.wait("error[E0599]");
    dev.wait("error: the project does not build");
    dev.wait("version 2 still runs");
    assert_eq!(call(&api, &["notebook/mine", "count"]), "2");

    let third = second.replace("self.notes.len()\n", "10 + self.notes.len()\n");
    save(&source, &third);
    dev.wait("deployed notebook as version 3 in ");
    assert_eq!(call(&api, &["notebook/mine", "count"]), "12");

    let (status, said) = dev.interrupt();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("stopped; the state is in .entia"), "{said}");

    let mut dev = Dev::start(&project, &["--http", "127.0.0.1:0"]);
    let api = dev.api();
    dev.wait("deployed notebook as version 3");
    assert_eq!(
        call(&api, &["notebook/mine", "count"]),
        "12",
        "a memory kind's state"
    );
    let (status, said) = dev.interrupt();
    assert_eq!(status.code(), Some(0), "{said}");
}

/// A node of our own, which outlives the loop.
fn node(dir: &Path) -> Node {
    NodeOptions::new(&dir.join("data")).start()
}

#[test]
fn a_node_that_runs_already_is_used_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    new(dir.path(), "chat");
    let project = dir.path().join("chat");
    let node = node(dir.path());
    let mut dev = Dev::start(&project, &["--api", node.api(), "-o", "json"]);
    let serving = dev.wait("serving");
    let serving: serde_json::Value = serde_json::from_str(&serving).unwrap();
    assert_eq!(serving["api"], node.api());
    assert!(serving["data_dir"].is_null());
    let deployed = dev.wait(r#""step":"deployed""#);
    let deployed: serde_json::Value = serde_json::from_str(&deployed).unwrap();
    assert_eq!(deployed["version"], 1);
    assert!(!project.join(".entia").exists());

    let (status, said) = dev.interrupt();
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(call(node.api(), &["chat/mine", "titles"]), "[]");

    // What the node refuses is said, and the loop goes on.
    let mut dev = Dev::start(&project, &["--api", node.api(), "--durable"]);
    dev.wait("error: ");
    dev.wait("next: ");
    dev.wait("version 1 still runs");
    dev.wait("watching the source");
    let (status, said) = dev.interrupt();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(node.stop().success());
}

#[test]
fn what_keeps_the_loop_from_starting_is_said_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let said = command(dir.path(), &[]).output().unwrap();
    assert_eq!(said.status.code(), Some(1));
    assert!(err(&said).contains("has no Cargo.toml"), "{}", err(&said));

    new(dir.path(), "chat");
    let project = dir.path().join("chat");
    let node = node(dir.path());
    let taken = node.api().strip_prefix("http://").unwrap();
    let said = command(&project, &["--http", taken]).output().unwrap();
    assert_eq!(said.status.code(), Some(1));
    assert!(err(&said).contains("is taken"), "{}", err(&said));
    assert!(
        err(&said).contains(&format!("--api {}", node.api())),
        "{}",
        err(&said)
    );

    let nobody = ["--api", "http://127.0.0.1:1"];
    let said = command(&project, &nobody).output().unwrap();
    assert_eq!(said.status.code(), Some(1));
    assert!(err(&said).contains("cannot be reached"), "{}", err(&said));
}

/// A first build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);
