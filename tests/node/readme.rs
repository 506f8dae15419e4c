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

/// What a reader does at two terminals, for one shell: `entia dev` runs beside the commands that follow it, which are for
/// when it has deployed, until the comment that says to press Ctrl-C.
fn at_one_terminal(commands: &str) -> String {
    let mut script = String::new();
    for line in commands.lines() {
        script += match line {
            "entia dev" => DEV,
            line if line.starts_with("# Ctrl-C") => "kill $DEV\nwait $DEV",
            line => line,
        };
        script.push('\n');
    }
    script
}

#[test]
fn only_blocks_of_commands_are_run() {
    let readme = "text\n```sh\none\ntwo\n```\n```console\nthree\n```\n```sh\nfour\n```\n";
    assert_eq!(commands(readme), "one\ntwo\nfour\n");
}

#[test]
fn a_command_that_does_not_end_runs_beside_the_others_until_it_is_interrupted() {
    let script = at_one_terminal("one\nentia dev\ntwo\n# Ctrl-C, please\nthree\n");
    assert_eq!(
        script,
        format!("one\n{DEV}\ntwo\nkill $DEV\nwait $DEV\nthree\n")
    );
}

#[test]
fn the_readmes_commands_work_outside_the_repository() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let script = at_one_terminal(&commands(&std::fs::read_to_string(readme).unwrap()));
    for shown in ["entia new", DEV, "wait $DEV", "entia call", "entia deploy"] {
        assert!(
            script.contains(shown),
            "the README shows the first entity, with `{shown}`:\n{script}"
        );
    }
    // The README's own address may be taken on a machine that runs tests.
    let address = format!("127.0.0.1:{}", free_port());
    let script = script.replace("127.0.0.1:7070", &address);

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
        .env("ENTIA_API", format!("http://{address}"))
        .env("ENTIA_HTTP", &address)
        .env_remove("ENTIA_DATA_DIR")
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
    let times = |text: &str| said.lines().filter(|line| *line == text).count();
    assert_eq!(
        times(r#"["bread","milk"]"#),
        2,
        "the notes are there before and after the kill -9:\n{said}"
    );
    for shown in [
        "notebook/ is a new entity; its SDK is in entia-sdk-0.1.0/",
        "stopped; the state is in .entia",
        r#"entia call notebook/mine write '{"title": "title", "text": "text"}'"#,
    ] {
        assert_eq!(times(shown), 1, "the README shows `{shown}`:\n{said}");
    }
}

/// Starts the author's loop, and goes on when it has deployed.
const DEV: &str = "entia dev &
DEV=$!
curl -sf -o /dev/null --retry 300 --retry-delay 1 --retry-all-errors http://127.0.0.1:7070/v1/kinds/notebook";

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
