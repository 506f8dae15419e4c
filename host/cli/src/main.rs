//! `entia`: makes, builds, deploys and calls entities, and runs the node that they live in.
//!
//! ```text
//!   arguments ──► one module a command ──► entia_api::client ──► a node
//!                        │
//!                        └──► output (stdout: results) · failure (stderr: what happened, and the exit code)
//! ```

mod arguments;
mod build;
mod call;
mod deploy;
mod entities;
mod failure;
mod kinds;
mod logs;
mod new;
mod node_command;
mod node_options;
mod output;
mod plan;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use entia_api::client::Client;

use crate::arguments::{Arguments, Command};
use crate::output::Output;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Command::CompileComponent = arguments.command {
        return node_command::compile_component();
    }
    let output = Output::new(arguments.output);
    match run(arguments, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error, &output),
    }
}

fn run(arguments: Arguments, output: &Output) -> anyhow::Result<()> {
    let api = &arguments.api;
    match arguments.command {
        Command::New { name } => new::run(&name, output),
        Command::Build { dir } => build::run(&dir, output),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "entia", &mut script);
            output.raw(&script)
        }
        Command::Node(node) => node_command::run(&node),
        Command::CompileComponent => Ok(()),
        Command::Deploy(deploy) => block_on(deploy::run(Client::new(api)?, deploy, output)),
        Command::Rollback { kind } => block_on(deploy::roll_back(Client::new(api)?, &kind, output)),
        Command::Call(call) => block_on(call::run(Client::new(api)?, call, output)),
        Command::Release { entity } => {
            block_on(entities::release(Client::new(api)?, &entity, output))
        }
        Command::Inspect { entity } => {
            block_on(entities::inspect(Client::new(api)?, &entity, output))
        }
        Command::Entities(entities) => block_on(entities::run(Client::new(api)?, entities, output)),
        Command::Logs(logs) => block_on(logs::run(Client::new(api)?, logs, output)),
        Command::Events(events) => block_on(logs::events(Client::new(api)?, events, output)),
        Command::Kinds(kinds) => block_on(kinds::run(Client::new(api)?, kinds, output)),
    }
}

/// One thread is enough for one request.
fn block_on(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(command)
}
