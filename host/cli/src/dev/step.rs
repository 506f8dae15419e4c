use entia_api::body::ErrorDetail;
use entia_protocol::KindName;
use serde::Serialize;

use crate::dev::changes::Change;
use crate::failure;
use crate::output::{Format, Output};

/// All that `entia dev` says. With `-o json` each is one line with its name as `step`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(crate) enum Step {
    /// There is a node.
    Serving {
        /// Its URL.
        api: String,
        /// Where it keeps everything; none: it was there before.
        data_dir: Option<String>,
    },
    /// Cargo made a component.
    Built { ms: u64 },
    /// The node runs it.
    Deployed {
        kind: KindName,
        version: u64,
        ms: u64,
        entities_live: u64,
        /// What is different for callers; at first all methods.
        changes: Vec<Change>,
        /// A call to try.
        #[serde(skip_serializing_if = "Option::is_none")]
        call: Option<String>,
    },
    /// What was built is what runs already.
    Same { kind: KindName, version: u64 },
    /// It does not build, or the node refused it.
    Failed {
        error: ErrorDetail,
        /// The version that callers go on to meet.
        still_runs: Option<u64>,
    },
    /// Nothing is left to do until a source changes.
    Watching,
    /// Sources changed; the first of them, from the project.
    Changed { paths: Vec<String> },
    /// An entity, or else the node, logged a line.
    Log {
        #[serde(skip_serializing_if = "Option::is_none")]
        entity: Option<String>,
        level: &'static str,
        text: String,
    },
    /// The end.
    Stopped {
        /// Where the state is; none: on a node that goes on without this loop.
        data_dir: Option<String>,
        /// Calls that took longer than a shutdown waits.
        cut_off: usize,
    },
}

impl Output {
    /// Writes what happened, on standard output like any result.
    pub(crate) fn step(&self, step: &Step) {
        let line = match self.format() {
            Format::Json => serde_json::to_string(step).unwrap_or_else(|error| error.to_string()),
            Format::Text => step.text(self),
        };
        // Whoever closed standard output does not want to know; the loop is not about its lines.
        let _ = self.raw(format!("{line}\n").as_bytes());
    }
}

impl Step {
    pub(crate) fn text(&self, output: &Output) -> String {
        match self {
            Self::Serving {
                api,
                data_dir: Some(dir),
            } => format!("serving on {api}, the state is in {dir}"),
            Self::Serving {
                api,
                data_dir: None,
            } => format!("using the node at {api}; entities' log lines are in that node's log"),
            Self::Built { ms } => format!("built in {}", seconds(*ms)),
            Self::Deployed { .. } => self.deployed(output),
            Self::Same { version, .. } => {
                format!("the component is the same: version {version} goes on")
            }
            Self::Failed { error, still_runs } => {
                let still_runs = still_runs.map_or_else(
                    || "nothing runs yet".to_owned(),
                    |version| format!("version {version} still runs"),
                );
                let error = failure::text(error, output);
                format!("{error}\n{}", output.bold(&still_runs))
            }
            Self::Watching => "watching the source; Ctrl-C ends it".to_owned(),
            Self::Changed { paths } => format!("\n{}", changed(paths)),
            Self::Log {
                entity,
                level,
                text,
            } => {
                let who = entity.as_deref().unwrap_or("the node");
                let line = format!("  {who} {level}: {text}");
                match *level {
                    "error" | "warn" => output.yellow(&line),
                    _ => output.dim(&line),
                }
            }
            Self::Stopped { data_dir, cut_off } => stopped(data_dir.as_deref(), *cut_off),
        }
    }

    fn deployed(&self, output: &Output) -> String {
        let Self::Deployed {
            kind,
            version,
            ms,
            entities_live,
            changes,
            call,
        } = self
        else {
            return String::new();
        };
        let deployed = format!("deployed {kind} as version {version}");
        let live = match entities_live {
            1 => "1 entity".to_owned(),
            _ => format!("{entities_live} entities"),
        };
        let mut text = format!(
            "{} in {}, {live} live",
            output.green(&deployed),
            seconds(*ms)
        );
        for change in changes {
            text += &format!("\n  {change}");
        }
        if let Some(call) = call {
            text += &format!("\n\n  {}\n", output.bold(call));
        }
        text
    }
}

fn changed(paths: &[String]) -> String {
    match paths {
        [] => "the source changed".to_owned(),
        [path] => format!("{path} changed"),
        [path, rest @ ..] => format!("{path} and {} more changed", rest.len()),
    }
}

fn stopped(data_dir: Option<&str>, cut_off: usize) -> String {
    let cut_off = match cut_off {
        0 => String::new(),
        calls => format!("; {calls} calls took too long and were cut off"),
    };
    match data_dir {
        Some(dir) => format!("stopped{cut_off}; the state is in {dir}"),
        None => "stopped; the node goes on with what was deployed last".to_owned(),
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1_000, ms % 1_000 / 100)
}
