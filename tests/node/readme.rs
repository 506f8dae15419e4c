//! The README's commands work as they are written, one after another, in an empty folder outside the repository.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use entia_tests::entia;
use rustix::process::{Pid, Signal, kill_process_group};

/// The blocks that a reader is meant to run, in order. Those fenced as `console` show output, or are for other places.
fn commands(readme: &str) -> String {
    let mut script = String::new();
    let mut inside = false;
    for line in readme.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside => {
                script.push_str(line);
                script.push('\n');
            }
            _ => {}
        }
    }
    script
}

#[test]
fn only_blocks_of_commands_are_run() {
    let readme = "text\n```sh\none\ntwo\n```\n```console\nthree\n```\n```sh\nfour\n```\n";
    assert_eq!(commands(readme), "one\ntwo\nfour\n");
}

#[test]
fn the_readmes_commands_work_outside_the_repository() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let script = commands(&std::fs::read_to_string(readme).unwrap());
    assert!(
        script.contains("entia new"),
        "the README shows the first entity:\n{script}"
    );

    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("output");
    let written = std::fs::File::create(&output).unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut child = Command::new("sh")
        .args(["-eux", "-c", &script])
        .current_dir(dir.path())
        .env(
            "PATH",
            format!("{}:{path}", entia().parent().unwrap().display()),
        )
        .env("ENTIA_API", format!("http://127.0.0.1:{}", free_port()))
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS")
        .stdin(Stdio::null())
        .stdout(written.try_clone().unwrap())
        .stderr(written)
        .process_group(0)
        .spawn()
        .unwrap();
    let status = child.wait().unwrap();
    // A script that failed leaves its node behind.
    let group = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .unwrap();
    let _ = kill_process_group(group, Signal::KILL);

    let said = std::fs::read_to_string(output).unwrap();
    assert!(status.success(), "{status}\n{said}");
    let titles = said
        .lines()
        .filter(|line| *line == r#"["bread","milk"]"#)
        .count();
    assert_eq!(
        titles, 2,
        "the notes are there before and after the kill -9:\n{said}"
    );
}

/// A port that was free a moment ago. The README's own default may be taken on a machine that runs tests.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
