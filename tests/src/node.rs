use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use entia_api::client::Client;
use rustix::process::{Pid, Signal, kill_process};

use crate::Wire;
use crate::guests::entia;

/// A node as a process of its own, killed when dropped.
#[derive(Debug)]
pub struct Node {
    child: Child,
    api: String,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

/// What a node is started with.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    data_dir: PathBuf,
    arguments: Vec<String>,
    log_file: Option<PathBuf>,
}

impl NodeOptions {
    /// The defaults, with a data directory.
    pub fn new(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            arguments: Vec::new(),
            log_file: None,
        }
    }

    /// Adds what the node logs to a file, which then has it from all processes.
    #[must_use]
    pub fn log_file(self, path: &Path) -> Self {
        Self {
            log_file: Some(path.to_owned()),
            ..self
        }
    }

    /// Adds a flag of `entia node`.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.arguments.push(flag.to_owned());
        self
    }

    /// Adds a configuration file.
    #[must_use]
    pub fn config(self, toml: &str) -> Self {
        let path = self.data_dir.with_extension("toml");
        std::fs::write(&path, toml).expect("the tests' directory is writable");
        self.flag("--config").flag(&path.display().to_string())
    }

    /// Runs a node that is expected to refuse to start, and returns what it said.
    pub fn refused(&self) -> Output {
        self.command().output().expect("entia starts")
    }

    /// Starts a node and waits until it serves.
    ///
    /// # Panics
    /// If it ends before; with what it said.
    pub fn start(&self) -> Node {
        let mut log_file = self.log_file.as_ref().map(|path| {
            let file = File::options().create(true).append(true).open(path);
            file.expect("the tests' directory is writable")
        });
        let mut child = self.command().spawn().expect("entia starts");
        let log = Arc::new(Mutex::new(String::new()));
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut stderr = child.stderr.take().expect("it is piped");
        let collector = std::thread::spawn({
            let log = Arc::clone(&log);
            move || {
                let mut buffer = [0; 4096];
                while let Ok(bytes @ 1..) = stderr.read(&mut buffer) {
                    if let Some(file) = &mut log_file {
                        file.write_all(&buffer[..bytes]).expect("as above");
                    }
                    let text = String::from_utf8_lossy(&buffer[..bytes]).into_owned();
                    log.lock()
                        .expect("nobody panics with the log")
                        .push_str(&text);
                }
            }
        });
        let mut line = String::new();
        stdout
            .read_line(&mut line)
            .expect("the node's output is text");
        let Some(api) = line
            .trim()
            .strip_prefix("serving on ")
            .map(ToOwned::to_owned)
        else {
            let status = child.wait();
            collector.join().expect("the collector only reads");
            panic!(
                "the node did not serve: {line:?}, {status:?}\n{}",
                log.lock().expect("as above")
            );
        };
        Node {
            child,
            api,
            log,
            readers: vec![collector],
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(entia());
        command
            .arg("node")
            .args(["--http", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(&self.data_dir)
            .args(&self.arguments)
            .env("ENTIA_LOG", "info,fjall=warn,lsm_tree=warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

impl Node {
    /// Its URL.
    pub fn api(&self) -> &str {
        &self.api
    }

    /// Our own client.
    pub fn client(&self) -> Client {
        Client::new(&self.api).expect("a node prints its URL")
    }

    /// A client that sends what it is told to, right or wrong.
    pub fn wire(&self) -> Wire {
        Wire::new(&self.api)
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("nobody panics with the log").clone()
    }

    /// Runs the command line against this node.
    pub fn entia<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        Command::new(entia())
            .args(arguments)
            .env("ENTIA_API", &self.api)
            .stdin(Stdio::null())
            .output()
            .expect("entia starts")
    }

    /// Deploys a component with the command line.
    ///
    /// # Panics
    /// If it is refused.
    pub fn deploy(&self, component: &Path, flags: &[&str]) {
        let arguments = [OsStr::new("deploy"), component.as_os_str()];
        let out = self.entia(arguments.into_iter().chain(flags.iter().map(OsStr::new)));
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().expect("the process is ours");
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(mut self) -> ExitStatus {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process has an id"), Signal::TERM).expect("the process is ours");
        self.child.wait().expect("the process is ours")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already; either way it has when this returns.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        if std::thread::panicking() {
            eprintln!("--- the node's log ---\n{}", self.log());
        }
    }
}
