//! The only module that names the node and the compiler.

use std::ffi::OsString;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
pub(crate) use entia_node::Node;
use entia_node::{NodeConfig, StartError};
use entia_wasm::compile::{self, Compiler};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::arguments;
use crate::failure::Failure;
use crate::node_options::NodeOptions;

/// `entia node`: runs until it is told to stop by SIGINT or SIGTERM.
pub(crate) fn run(flags: &arguments::Node) -> anyhow::Result<()> {
    let options = NodeOptions::load(flags)?;
    let filter = std::env::var("ENTIA_LOG").unwrap_or_else(|_| LOG.to_owned());
    let filter = EnvFilter::builder()
        .parse(&filter)
        .context("ENTIA_LOG is not a filter such as `info,entia_node=debug`")?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let config = config(options)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let served = runtime.block_on(serve(config));
    // A deployment that still compiles is not waited for: it is not on disk, so it never was.
    runtime.shutdown_timeout(Duration::from_millis(100));
    served
}

/// `entia compile-component`: what the node starts in a process of its own, with limits.
pub(crate) fn compile_component() -> ExitCode {
    ExitCode::from(compile::child())
}

async fn serve(config: NodeConfig) -> anyhow::Result<()> {
    // Before the start, so that a signal during it is not lost.
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let node = Node::start(config).await?;
    // On standard output, for programs that chose port 0 or wait for the node.
    // Whoever closed it does not want to know.
    let _ = writeln!(std::io::stdout(), "serving on http://{}", node.http());
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    tracing::info!("shutting down");
    let cut_off = node.shut_down().await?;
    if cut_off > 0 {
        tracing::warn!("{cut_off} calls took too long and were cut off");
    }
    Ok(())
}

/// Starts a node in this process.
pub(crate) async fn start(options: NodeOptions) -> anyhow::Result<Node> {
    let address = options.http;
    let started = Node::start(config(options)?).await;
    started.map_err(|error| match error {
        StartError::Listen { source, .. } if source.kind() == ErrorKind::AddrInUse => {
            let message = format!("{address} is taken, perhaps by a node that runs already");
            let hint = format!(
                "`--api http://{address}` uses that node; `--http 127.0.0.1:0` takes a free port"
            );
            Failure::new(message, hint).into()
        }
        error => error.into(),
    })
}

/// What a node has unless its settings say otherwise.
pub(crate) fn defaults() -> NodeConfig {
    NodeConfig::new(PathBuf::new(), Compiler::new(PathBuf::new(), Vec::new()))
}

fn config(options: NodeOptions) -> anyhow::Result<NodeConfig> {
    let program = std::env::current_exe().context("the node does not find its own program")?;
    let compiler = Compiler::new(program, vec![OsString::from("compile-component")]);
    let mut config = NodeConfig::new(options.data_dir, compiler);
    let tuning = options.tuning;
    config.http = options.http;
    config.accept_loss = options.accept_loss;
    config.workers = tuning.workers.unwrap_or(config.workers);
    config.calls_max = tuning.calls_max.unwrap_or(config.calls_max);
    config.activations_max = tuning.activations_max.unwrap_or(config.activations_max);
    config.connections_max = tuning.connections_max.unwrap_or(config.connections_max);
    let memory_bytes_max = tuning.memory_bytes_max;
    config.memory_bytes_max = memory_bytes_max.unwrap_or(config.memory_bytes_max);
    if let Some(seconds) = tuning.compile_s_max {
        config.compiler.cpu_seconds_max = seconds;
    }
    let component_bytes_max = tuning.component_bytes_max;
    config.component_bytes_max = component_bytes_max.unwrap_or(config.component_bytes_max);
    let idle = tuning.idle_ms.map(Duration::from_millis);
    config.idle = idle.unwrap_or(config.idle);
    let shutdown = tuning.shutdown_ms.map(Duration::from_millis);
    config.shutdown = shutdown.unwrap_or(config.shutdown);
    Ok(config)
}

/// What is logged unless `ENTIA_LOG` says otherwise. The store's engine tells of its files at `info`.
const LOG: &str = "info,fjall=warn,lsm_tree=warn";
