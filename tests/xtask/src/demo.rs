//! The main job, shown: deploy an entity, call it, kill the node in the middle, and look for what is lost.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::build;

/// Commands that the demo sends, each under a key of its own.
const COMMANDS: usize = 120;
/// The node is killed when so many were answered.
const KILL_AFTER: usize = 50;
/// Callers at once.
const CALLERS: usize = 4;

pub(crate) fn run() -> Result<()> {
    let built = build::everything()?;
    let entia = built.entia;
    let dir = tempfile::tempdir().context("a directory for the node's data")?;

    say("a node starts, with an empty directory");
    let mut node = Node::start(&entia, dir.path(), "127.0.0.1:0")?;
    let api = node.api.clone();

    say("deploy a durable entity");
    let wasm = built.guests.join("counter.wasm");
    show(
        &entia,
        &api,
        &["deploy", &wasm.display().to_string(), "--durable"],
    )?;
    say("call it by name");
    show(
        &entia,
        &api,
        &["call", "counter/alice", "increment", r#"{"by": 5}"#],
    )?;
    show(&entia, &api, &["call", "counter/alice", "value"])?;
    say("what it refuses, it refuses with a reason");
    show_refusal(
        &entia,
        &api,
        &["call", "counter/alice", "increment", r#"{"by": -1}"#],
    )?;

    say(&format!(
        "{CALLERS} callers send {COMMANDS} commands, each under its own key; after {KILL_AFTER} answers: kill -9"
    ));
    let (answered, unanswered) = load_and_kill(&entia, &api, &mut node)?;
    println!(
        "answered {}, without an answer {}",
        answered.len(),
        unanswered.len()
    );

    say("the node starts again, on the same directory");
    let began = Instant::now();
    let address = api.trim_start_matches("http://").to_owned();
    let mut node = Node::start(&entia, dir.path(), &address)?;
    println!("serving again after {} ms", began.elapsed().as_millis());
    say("every command without an answer is repeated, and ten that had one, under the same keys");
    let mut values: BTreeSet<u64> = answered.iter().map(|(_, value)| *value).collect();
    for key in &unanswered {
        values.insert(increment(&entia, &api, *key)?);
    }
    for (key, value) in answered.iter().take(10) {
        let again = increment(&entia, &api, *key)?;
        ensure!(
            again == *value,
            "command {key} answered {value}, and {again} when repeated"
        );
    }
    let value: usize = output(&entia, &api, &["call", "counter/demo", "value"])?
        .trim()
        .parse()?;
    println!(
        "commands {COMMANDS}, counted {value}, different answers {}",
        values.len()
    );
    ensure!(
        value == COMMANDS,
        "the counter shows {value} after {COMMANDS} commands"
    );
    ensure!(values.len() == COMMANDS, "two commands had the same answer");

    say("what the node says of the entity");
    show(&entia, &api, &["inspect", "counter/demo"])?;
    node.stop()?;
    say(&format!(
        "lost: 0   doubled: 0   (of {COMMANDS} commands across a kill -9)"
    ));
    Ok(())
}

/// Answered commands with their answers, and commands whose answer never came.
type Outcome = (Vec<(usize, u64)>, Vec<usize>);

fn load_and_kill(entia: &Path, api: &str, node: &mut Node) -> Result<Outcome> {
    let next = AtomicUsize::new(0);
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let caller = || {
            let (mut done, mut open) = (Vec::new(), Vec::new());
            loop {
                let key = next.fetch_add(1, Ordering::SeqCst);
                if key >= COMMANDS {
                    return (done, open);
                }
                match increment(entia, api, key) {
                    Ok(value) => {
                        done.push((key, value));
                        answered.fetch_add(1, Ordering::SeqCst);
                    }
                    Err(_) => open.push(key),
                }
            }
        };
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(caller)).collect();
        let killed =
            wait_until(|| answered.load(Ordering::SeqCst) >= KILL_AFTER).and_then(|()| node.kill());
        let mut outcome = (Vec::new(), Vec::new());
        for caller in callers {
            let (done, open) = caller.join().expect("a caller does not panic");
            outcome.0.extend(done);
            outcome.1.extend(open);
        }
        killed.map(|()| outcome)
    })
}

fn increment(entia: &Path, api: &str, key: usize) -> Result<u64> {
    let key = format!("demo-{key}");
    let line = output(
        entia,
        api,
        &[
            "call",
            "counter/demo",
            "increment",
            r#"{"by": 1}"#,
            "--key",
            &key,
        ],
    )?;
    Ok(line.trim().parse()?)
}

fn wait_until(condition: impl Fn() -> bool) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        ensure!(Instant::now() < end, "the callers got no answers for 60 s");
        std::thread::yield_now();
    }
    Ok(())
}

/// A node as a process of its own, killed with this program.
struct Node {
    child: Child,
    api: String,
}

impl Node {
    fn start(entia: &Path, data_dir: &Path, http: &str) -> Result<Self> {
        let mut child = Command::new(entia)
            .args(["node", "--http", http, "--data-dir"])
            .arg(data_dir)
            .env("ENTIA_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .context("the node did not start")?;
        let stdout = child.stdout.take().context("the node's output")?;
        let mut lines = BufReader::new(stdout).lines();
        let found = lines.by_ref().map_while(Result::ok).find_map(|line| {
            println!("{line}");
            line.split_whitespace()
                .find(|word| word.starts_with("http://"))
                .map(ToOwned::to_owned)
        });
        let Some(api) = found else {
            bail!("the node ended without serving")
        };
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, api })
    }

    fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        let pid = self.child.id().to_string();
        Command::new("kill")
            .arg(&pid)
            .status()
            .context("kill did not start")?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the node ended with {status}");
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Ended already, most likely.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(what: &str) {
    println!("\n\u{25b8} {what}");
}

/// Prints a command as a person would type it, and what it says.
fn show(entia: &Path, api: &str, arguments: &[&str]) -> Result<()> {
    print_command(arguments);
    print!("{}", output(entia, api, arguments)?);
    Ok(())
}

fn show_refusal(entia: &Path, api: &str, arguments: &[&str]) -> Result<()> {
    print_command(arguments);
    let out = command(entia, api, arguments)
        .output()
        .context("entia did not start")?;
    ensure!(
        !out.status.success(),
        "`entia {}` was not refused",
        arguments.join(" ")
    );
    print!("{}", String::from_utf8_lossy(&out.stderr));
    Ok(())
}

fn print_command(arguments: &[&str]) {
    let quoted = arguments.iter().map(|argument| {
        if argument.contains([' ', '"']) {
            format!("'{argument}'")
        } else {
            (*argument).to_owned()
        }
    });
    println!("$ entia {}", quoted.collect::<Vec<_>>().join(" "));
}

fn output(entia: &Path, api: &str, arguments: &[&str]) -> Result<String> {
    let out = command(entia, api, arguments)
        .output()
        .context("entia did not start")?;
    if !out.status.success() {
        bail!(
            "entia {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&out.stderr).trim()
        );
    }
    Ok(String::from_utf8(out.stdout)?)
}

fn command(entia: &Path, api: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(entia);
    command.args(arguments).env("ENTIA_API", api);
    command
}
