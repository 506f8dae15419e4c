//! A node's settings: flags, over the environment, over the file, over the defaults.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Deserialize;

use crate::arguments;
use crate::failure::Failure;

/// What the operator said. What is none has its default in the node.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NodeOptions {
    pub(crate) data_dir: PathBuf,
    pub(crate) http: SocketAddr,
    pub(crate) accept_loss: bool,
    pub(crate) tuning: Tuning,
}

/// The bounds that a node has room to choose.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tuning {
    /// Threads that run guests.
    pub(crate) workers: Option<usize>,
    /// Calls under way at once, from the mailbox to the answer.
    pub(crate) calls_max: Option<usize>,
    /// Entities in memory at once.
    pub(crate) activations_max: Option<usize>,
    /// Linear memory of all entities together, in bytes, apart from the first 2 MiB of each.
    pub(crate) memory_bytes_max: Option<u64>,
    /// How long an entity may be idle in memory before it is passivated, in milliseconds.
    pub(crate) idle_ms: Option<u64>,
    /// HTTP connections at once.
    pub(crate) connections_max: Option<usize>,
    /// The longest component, in bytes.
    pub(crate) component_bytes_max: Option<u64>,
    /// Processor time for compiling one component, in seconds.
    pub(crate) compile_s_max: Option<u64>,
    /// How long a shutdown waits for the calls under way, in milliseconds.
    pub(crate) shutdown_ms: Option<u64>,
}

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct File {
    /// Relative to the file's own directory.
    pub(crate) data_dir: Option<PathBuf>,
    http: Option<SocketAddr>,
    insecure: bool,
    pub(crate) tuning: Tuning,
}

impl NodeOptions {
    /// Puts the flags, which clap has filled from the environment where they were not given, over the file.
    pub(crate) fn load(flags: &arguments::Node) -> anyhow::Result<Self> {
        let file = flags.config.as_deref().map(File::read).transpose()?;
        let file = file.unwrap_or_default();
        let data_dir = flags.data_dir.clone().or(file.data_dir).ok_or_else(|| {
            let hint = "give --data-dir DIR, ENTIA_DATA_DIR, or data_dir in the file";
            Failure::new("the node does not know where to keep its data", hint)
        })?;
        let http = flags.http.or(file.http).unwrap_or(HTTP);
        // Nobody is asked who they are, so that nobody but this machine's users may ask.
        let allowed = http.ip().is_loopback() || flags.insecure || file.insecure;
        if !allowed {
            let message =
                format!("{http} can be reached from outside, and the API has no tokens yet");
            let hint = "listen on 127.0.0.1, or pass --insecure if the network is yours alone";
            return Err(Failure::new(message, hint).into());
        }
        Ok(Self {
            data_dir,
            http,
            accept_loss: flags.accept_loss,
            tuning: file.tuning.checked()?,
        })
    }
}

impl File {
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let mut file: Self = toml::from_str(&text).map_err(|error| {
            let message = format!("{} is not a node's settings: {error}", path.display());
            Failure::new(message, "correct the line that it names")
        })?;
        let base = path.parent().unwrap_or(Path::new(""));
        file.data_dir = file.data_dir.map(|dir| base.join(dir));
        Ok(file)
    }
}

impl Tuning {
    /// Zero of any of these is a node that does nothing.
    fn checked(self) -> anyhow::Result<Self> {
        let counts = [
            ("workers", self.workers),
            ("calls_max", self.calls_max),
            ("activations_max", self.activations_max),
            ("connections_max", self.connections_max),
        ];
        let seconds = self.compile_s_max.and_then(|s| usize::try_from(s).ok());
        let mut counts = counts.into_iter().chain([("compile_s_max", seconds)]);
        match counts.find(|(_, count)| *count == Some(0)) {
            Some((name, _)) => {
                let message = format!("tuning.{name} is 0; it is at least 1");
                Err(Failure::new(message, "correct it, or leave it out for the default").into())
            }
            None => Ok(self),
        }
    }
}

const HTTP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7070);

#[cfg(test)]
mod tests {
    use super::*;

    fn load(toml: &str, flags: arguments::Node) -> Result<NodeOptions, String> {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("node.toml");
        std::fs::write(&config, toml).unwrap();
        let config = Some(config);
        let loaded = NodeOptions::load(&arguments::Node { config, ..flags });
        let loaded = loaded.map(|options| NodeOptions {
            data_dir: match options.data_dir.strip_prefix(dir.path()) {
                Ok(below) => below.to_owned(),
                Err(_) => options.data_dir,
            },
            ..options
        });
        loaded.map_err(|error| format!("{error:#}"))
    }

    fn none() -> arguments::Node {
        arguments::Node::default()
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_the_defaults() {
        let toml = "data_dir = \"here\"\nhttp = \"127.0.0.1:1\"\n[tuning]\nworkers = 3\n";
        let options = load(toml, none()).unwrap();
        assert_eq!(options.data_dir, Path::new("here"));
        assert_eq!(options.http.port(), 1);
        assert_eq!(options.tuning.workers, Some(3));
        assert_eq!(options.tuning.calls_max, None);
        let flags = arguments::Node {
            data_dir: Some("there".into()),
            http: Some("[::1]:2".parse().unwrap()),
            ..none()
        };
        let options = load(toml, flags).unwrap();
        assert_eq!(options.data_dir, Path::new("there"));
        assert_eq!(options.http.to_string(), "[::1]:2");
        assert_eq!(load("data_dir = \"d\"", none()).unwrap().http, HTTP);
    }

    #[test]
    fn unknown_keys_and_senseless_values_are_refused_by_name() {
        for (toml, why) in [
            ("data_dri = \"d\"", "unknown field `data_dri`"),
            (
                "data_dir = \"d\"\n[tuning]\nthreads = 3",
                "unknown field `threads`",
            ),
            (
                "data_dir = \"d\"\n[tuning]\nworkers = 0",
                "tuning.workers is 0",
            ),
            ("data_dir = \"d\"\n[tuning]\nworkers = -1", "-1"),
            ("http = \"localhost\"", "socket address"),
            ("http = \"127.0.0.1:1\"", "where to keep its data"),
            ("data_dir = [", "not a node's settings"),
        ] {
            let error = load(toml, none()).unwrap_err();
            assert!(error.contains(why), "{toml}: {error}");
        }
    }

    #[test]
    fn an_address_that_others_reach_has_to_be_wanted() {
        let toml = "data_dir = \"d\"\nhttp = \"0.0.0.0:7070\"\n";
        assert!(load(toml, none()).unwrap_err().contains("from outside"));
        assert!(load(&format!("insecure = true\n{toml}"), none()).is_ok());
        let flags = arguments::Node {
            insecure: true,
            ..none()
        };
        assert!(load(toml, flags).is_ok());
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let config = Some("/nonexistent/node.toml".into());
        let error = NodeOptions::load(&arguments::Node { config, ..none() }).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/node.toml"));
    }
}
