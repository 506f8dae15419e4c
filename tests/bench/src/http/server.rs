use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::places;

/// A server as a process of its own, killed when this is dropped. It runs on the core of the thread that started it.
pub(super) struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// The node, from the binary that people run.
    pub(super) fn node(data_dir: &Path) -> Result<Self> {
        let mut command = Command::new(places::entia()?);
        command
            .args(["node", "--http", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir)
            .env("ENTIA_LOG", "warn");
        Self::start(command)
    }

    /// This program again, as the floor.
    pub(super) fn floor() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("floor-http");
        Self::start(command)
    }

    fn start(mut command: Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| format!("{program} did not start"))?;
        let stdout = child.stdout.take().context("a server's output")?;
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let address = lines.find_map(|line| address(&line));
        // Whatever else it says is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        let mut server = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        server.address = address.with_context(|| format!("{program} ended without serving"))?;
        Ok(server)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already, if it fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in a line such as `listening on http://127.0.0.1:7070`.
fn address(line: &str) -> Option<SocketAddr> {
    let words = line.split_whitespace();
    words
        .filter_map(|word| word.strip_prefix("http://"))
        .find_map(|word| word.trim_matches(['/', ',', '.']).parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_address_is_the_url_that_it_prints() {
        let found = |line| address(line).map(|address| address.port());
        assert_eq!(
            found("serving on http://127.0.0.1:4711, data in /tmp"),
            Some(4711)
        );
        assert_eq!(found("starting"), None);
    }
}
