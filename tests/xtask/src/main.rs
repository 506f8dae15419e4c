//! What engineers run: `cargo xtask demo`, `cargo xtask test`, `cargo xtask bench NAME`,
//! `cargo xtask torture --minutes M`, `cargo xtask sim`, `cargo xtask mutants`, `cargo xtask sweep`, `cargo xtask replay`,
//! `cargo xtask build-entities`.
//!
//! Everything is built with the one profile `ci` and always for the whole workspace: a selection of packages would unify
//! features differently, and compile wasmtime once more.

mod build;
mod demo;
mod foreign;

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};

/// Builds, tests, shows and measures Entia.
#[derive(Parser)]
#[command(name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build everything, run a node, deploy, call, kill it, and show that nothing is lost.
    Demo,
    /// Build everything and run all tests.
    Test {
        /// Handed to `cargo test`, such as a test's name.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measure, beside a floor from the same run.
    Bench {
        /// `local`, `http`, `durable` or `activate`, and the benchmark's options: --json, --check, --seconds S, --pairs N.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        arguments: Vec<String>,
    },
    /// Everything at once for a while: all example entities, hostile ones, redeployments, kill -9; then it has to add up.
    Torture {
        /// How long.
        #[arg(long, value_name = "M", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        minutes: u64,
    },
    /// Run the simulator: a whole cluster in virtual time, under faults drawn from seeds.
    Sim {
        /// --from SEED, --seeds N, --profile P, --mutant RULE, --goes-on; see --help.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Leave out one safety rule of the cluster after the other: the simulator has to notice each.
    Mutants {
        /// --seeds N, --mutant RULE.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Inject each fault at each step of a play.
    Sweep {
        /// --play P, --fault F, --stride N.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run again what the simulator found.
    Replay {
        /// --seed S, --profile P, --keep LIST, --trace: as it was printed.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Build the example entities, and the hostile one of the tests, and print where they are.
    BuildEntities,
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Demo => demo::run(),
        Task::Test { arguments } => test(&arguments),
        Task::Bench { arguments } => bench(&arguments),
        Task::Torture { minutes } => torture(minutes),
        Task::Sim { arguments } => simulate("sim", &arguments),
        Task::Mutants { arguments } => simulate("mutants", &arguments),
        Task::Sweep { arguments } => simulate("sweep", &arguments),
        Task::Replay { arguments } => simulate("replay", &arguments),
        Task::BuildEntities => {
            let guests = build::entities()?;
            println!("{}", guests.display());
            Ok(())
        }
    }
}

/// What every change has to survive in the simulator before its tests run: each fault at every step of the plays, and seeds of the
/// profiles. More seeds are `cargo xtask sim`.
const SIMULATED: [&[&str]; 5] = [
    &["sweep"],
    &["sim", "--profile", "calm", "--seeds", "300"],
    &["sim", "--profile", "default", "--seeds", "700"],
    &["sim", "--profile", "crash", "--seeds", "700"],
    &["sim", "--profile", "clock", "--seeds", "700"],
];

fn test(arguments: &[String]) -> Result<()> {
    let built = build::everything()?;
    if arguments.is_empty() {
        for task in SIMULATED {
            finish(Command::new(built.entia.with_file_name("entia-sim")).args(task))?;
        }
    }
    // All in one invocation, and on: a failure does not hide another.
    finish(
        build::cargo()
            .args(["test", "--workspace", "--profile", "ci", "--no-fail-fast"])
            .args(arguments)
            .env("ENTIA_GUESTS", &built.guests)
            .env("ENTIA_BIN", &built.entia),
    )
}

fn torture(minutes: u64) -> Result<()> {
    let built = build::everything()?;
    // The whole workspace, as always: a selection of packages would compile wasmtime once more.
    finish(
        build::cargo()
            .args([
                "test",
                "--workspace",
                "--profile",
                "ci",
                "--test",
                "torture",
            ])
            .args(["--", "--nocapture"])
            .env("ENTIA_TORTURE_SECONDS", (minutes * 60).to_string())
            .env("ENTIA_GUESTS", &built.guests)
            .env("ENTIA_BIN", &built.entia),
    )
}

fn bench(arguments: &[String]) -> Result<()> {
    let built = build::everything()?;
    finish(
        Command::new(built.entia.with_file_name("entia-bench"))
            .args(arguments)
            .env("ENTIA_GUESTS", &built.guests)
            .env("ENTIA_BIN", &built.entia),
    )
}

fn simulate(task: &str, arguments: &[String]) -> Result<()> {
    let entia = build::programs()?;
    finish(
        Command::new(entia.with_file_name("entia-sim"))
            .arg(task)
            .args(arguments),
    )
}

/// Runs a command to its end.
fn finish(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let status = command
        .status()
        .with_context(|| format!("{program:?} did not start"))?;
    if !status.success() {
        let arguments: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
        bail!(
            "`{} {}` failed: {status}",
            program.to_string_lossy(),
            arguments.join(" ")
        );
    }
    Ok(())
}
