use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use entia_api::body::LogLevel;
use entia_protocol::{EntityId, InvalidId, KindName};

use crate::failure::EXIT_CODES;
use crate::output::Format;

/// Entities as WebAssembly components: make, build, deploy and call them, and run the node that they live in.
#[derive(Debug, Parser)]
#[command(name = "entia", version, after_help = EXIT_CODES, propagate_version = true)]
pub(crate) struct Arguments {
    /// The node to talk to
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "ENTIA_API",
        default_value = "http://127.0.0.1:7070"
    )]
    pub(crate) api: String,
    /// How results and errors are written
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a project for a new kind of entity
    New {
        /// The kind's name, which is also the directory's
        name: String,
    },
    /// Build an entity's component
    Build {
        /// The project
        #[arg(default_value = ".")]
        dir: PathBuf,
    },
    /// Upload a component and make it a kind
    Deploy(Deploy),
    /// Take a kind back to the version before
    Rollback {
        /// The kind
        #[arg(value_parser = KindName::new)]
        kind: KindName,
    },
    /// Call a method of an entity
    Call(Call),
    /// Show where an entity stands: its state, its calls, its last failure
    Inspect {
        /// The entity
        #[arg(value_name = "KIND/KEY")]
        entity: EntityId,
    },
    /// End the quarantine of an entity that failed again and again
    Release {
        /// The entity
        #[arg(value_name = "KIND/KEY")]
        entity: EntityId,
    },
    /// List or delete entities
    Entities(Entities),
    /// List, show or delete kinds
    Kinds(Kinds),
    /// Show what entities wrote to their logs
    Logs(Logs),
    /// Show what happened on the node: deployments, quarantines, messages given up
    Events(Events),
    /// Run a node
    Node(Node),
    /// Write a shell's completion script
    Completions {
        /// The shell
        shell: Shell,
    },
    /// What the node starts to compile a component under limits of its own
    #[command(hide = true)]
    CompileComponent,
}

#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// A component, or a project, which is built first
    #[arg(value_name = "FILE|DIR", default_value = ".")]
    pub(crate) source: PathBuf,
    /// The kind's name; otherwise that of the file or project
    #[arg(long, value_parser = KindName::new)]
    pub(crate) kind: Option<KindName>,
    /// Answer a command only after its state is on disk. Fixed for a kind's life
    #[arg(long)]
    pub(crate) durable: bool,
    /// Set a limit, such as cpu_ms_max=200
    #[arg(long = "limit", value_name = "NAME=VALUE", value_parser = limit)]
    pub(crate) limits: Vec<(String, u64)>,
    /// Give the guest a setting
    #[arg(long = "config", value_name = "NAME=VALUE", value_parser = setting)]
    pub(crate) config: Vec<(String, String)>,
    /// Only show what would change, and try the new version on stored states
    #[arg(long)]
    pub(crate) plan: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Call {
    /// The entity; it begins to exist with its first call
    #[arg(value_name = "KIND/KEY")]
    pub(crate) entity: EntityId,
    /// The method
    pub(crate) method: String,
    /// The arguments as a JSON object, or `-` to read them from standard input
    #[arg(value_name = "JSON", default_value = "{}", hide_default_value = true)]
    pub(crate) arguments: String,
    /// Repeating the call with the same key takes effect once
    #[arg(long, value_name = "IDEMPOTENCY-KEY")]
    pub(crate) key: Option<String>,
    /// How long to wait for the answer
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) deadline_ms: Option<u64>,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Entities {
    #[command(subcommand)]
    pub(crate) action: Option<EntitiesAction>,
    /// Only this kind
    #[arg(long, value_parser = KindName::new)]
    pub(crate) kind: Option<KindName>,
    /// Only keys that begin so
    #[arg(long)]
    pub(crate) prefix: Option<String>,
    /// The most that are listed
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EntitiesAction {
    /// Forget an entity and its state
    Delete {
        /// The entity
        #[arg(value_name = "KIND/KEY")]
        entity: EntityId,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Kinds {
    #[command(subcommand)]
    pub(crate) action: Option<KindsAction>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KindsAction {
    /// Show a kind's limits and methods; with `-o json` their schemas, too
    Show {
        /// The kind
        #[arg(value_parser = KindName::new)]
        kind: KindName,
    },
    /// Remove a kind
    Delete {
        /// The kind
        #[arg(value_parser = KindName::new)]
        kind: KindName,
        /// And its entities with all their states
        #[arg(long)]
        with_entities: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Only this kind, or this entity
    #[arg(value_name = "KIND[/KEY]", value_parser = logs_of)]
    pub(crate) of: Option<LogsOf>,
    /// Only lines at least so grave: trace, debug, info, warn or error
    #[arg(long, value_name = "LEVEL")]
    pub(crate) level: Option<LogLevel>,
    #[command(flatten)]
    pub(crate) last: Last,
}

#[derive(Debug, Args)]
pub(crate) struct Events {
    #[command(flatten)]
    pub(crate) last: Last,
}

/// How much of what the node remembers is shown.
#[derive(Debug, Args)]
pub(crate) struct Last {
    /// Go on with what is to come, until Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// How many of the last are shown first
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
}

/// Whose log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogsOf {
    pub(crate) kind: KindName,
    pub(crate) key: Option<String>,
}

/// The node's settings: these flags win over the environment, and that over the file.
#[derive(Debug, Default, Args)]
pub(crate) struct Node {
    /// Where the node keeps everything
    #[arg(long, value_name = "DIR", env = "ENTIA_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where it serves HTTP; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", env = "ENTIA_HTTP")]
    pub(crate) http: Option<SocketAddr>,
    /// Settings in TOML
    #[arg(long, value_name = "FILE", env = "ENTIA_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Serve on an address that others reach, although the API asks nobody who they are
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Start although the store has lost acknowledged commits
    #[arg(long)]
    pub(crate) accept_loss: bool,
}

fn logs_of(text: &str) -> Result<LogsOf, InvalidId> {
    if !text.contains('/') {
        let kind = KindName::new(text)?;
        return Ok(LogsOf { kind, key: None });
    }
    let entity: EntityId = text.parse()?;
    Ok(LogsOf {
        kind: entity.kind().clone(),
        key: Some(entity.key().to_owned()),
    })
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

fn limit(text: &str) -> Result<(String, u64), String> {
    let (name, value) = setting(text)?;
    let value = value.replace('_', "").parse();
    let value = value.map_err(|_| "a limit's value is a whole number".to_owned())?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Ok(Arguments::try_parse_from(line.split(' '))?.command)
    }

    #[test]
    fn the_commands_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_call_takes_arguments_that_look_like_flags_only_after_its_own() {
        let Command::Call(call) =
            parse("entia call counter/a/b increment {\"by\":1} --key k --deadline-ms 5").unwrap()
        else {
            panic!("it is a call");
        };
        assert_eq!(call.entity.key(), "a/b");
        assert_eq!(call.arguments, "{\"by\":1}");
        assert_eq!(
            (call.key.as_deref(), call.deadline_ms),
            (Some("k"), Some(5))
        );
        let Command::Call(call) = parse("entia call counter/a value -").unwrap() else {
            panic!("it is a call");
        };
        assert_eq!(call.arguments, "-");
    }

    #[test]
    fn a_deployment_takes_many_limits_and_settings() {
        let line = "entia deploy x.wasm --limit cpu_ms_max=200 --limit memory_bytes_max=10_000_000 --config a=b=c --config d=";
        let Command::Deploy(deploy) = parse(line).unwrap() else {
            panic!("it is a deployment");
        };
        let limits = [("cpu_ms_max", 200), ("memory_bytes_max", 10_000_000)];
        assert_eq!(
            deploy.limits,
            limits.map(|(name, value)| (name.to_owned(), value))
        );
        let config = [("a", "b=c"), ("d", "")];
        assert_eq!(
            deploy.config,
            config.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn logs_are_of_all_of_a_kind_or_of_an_entity() {
        let parse = |line: &str| match parse(line).unwrap() {
            Command::Logs(logs) => logs,
            _ => panic!("it asks for logs"),
        };
        assert_eq!(parse("entia logs").of, None);
        let of = parse("entia logs counter").of.unwrap();
        assert_eq!((of.kind.as_str(), of.key), ("counter", None));
        let logs = parse("entia logs counter/a/b -f --limit 5 --level warn");
        assert_eq!(logs.of.unwrap().key.as_deref(), Some("a/b"));
        assert_eq!(logs.level, Some(LogLevel::Warn));
        assert!(logs.last.follow && logs.last.limit == 5);
    }

    #[test]
    fn mistakes_are_usage_errors_with_the_reason() {
        for (line, why) in [
            ("entia call counter value", "KIND/KEY"),
            ("entia call Counter/a value", "a-z"),
            ("entia deploy --limit cpu", "NAME=VALUE"),
            ("entia deploy --limit cpu=fast", "whole number"),
            ("entia call counter/a value --deadline-ms 0", "0 is not in"),
            ("entia kinds show ../x", "a-z"),
            ("entia rollback ../x", "a-z"),
            ("entia logs Counter", "a-z"),
            ("entia logs counter/", "1 to 512 bytes"),
            ("entia logs --level loud", "trace, debug"),
            ("entia logs --limit 0", "0 is not in"),
            ("entia -o xml kinds", "possible values"),
            ("entia entities --kind a delete a/b", "cannot be used"),
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(why), "{line}: {error}");
        }
    }

    #[test]
    fn global_flags_go_anywhere() {
        let arguments = ["entia", "kinds", "-o", "json", "--api", "http://a:1"];
        let arguments = Arguments::try_parse_from(arguments).unwrap();
        assert_eq!(arguments.output, Format::Json);
        assert_eq!(arguments.api, "http://a:1");
    }

    #[test]
    fn help_lists_the_exit_codes() {
        let help = Arguments::command().render_help().to_string();
        assert!(help.contains("3  the entity refused"), "{help}");
    }
}
