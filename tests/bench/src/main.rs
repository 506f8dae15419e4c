//! Measures Entia beside what its parts can do, in the same run and on the same cores.
//!
//! ```text
//!   core 0: ours ─┐ slices of a second that alternate, so that a noisy moment hits both;
//!           floor ┘ the median of the pairwise ratios is what counts
//!   core 1: load ──► closed loop: calls a second ──► open loop at half of that: latencies from the intended send time
//! ```
//! A floor is the part that bounds ours, bare: none of our crates is in it. A machine that is busy with something else shows
//! in the floor first, so a floor far under what LIMITS.md measured voids its figure.
//!
//! Ours is built with the profile `ci`, that is without link-time optimisation and with our debug assertions, which a release
//! has not; wasmtime, hyper and fjall, on both sides, are built alike and optimised.

mod activate;
mod cores;
mod durable;
mod figure;
mod http;
mod limits;
mod load;
mod local;
mod measure;
mod node;
mod pairs;
mod places;
mod report;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, ValueEnum};

use crate::cores::Cores;
use crate::load::Load;
use crate::measure::{Bench, Plan};
use crate::report::Report;

/// Measures Entia, beside a floor from the same run.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
struct Arguments {
    /// What to measure
    #[arg(value_enum)]
    task: Task,
    /// Print one JSON object a figure
    #[arg(long)]
    json: bool,
    /// Exit non-zero where a goal is missed
    #[arg(long)]
    check: bool,
    /// How long one slice takes, in seconds
    #[arg(long, value_name = "S", value_parser = seconds)]
    seconds: Option<f64>,
    /// Slices of the floor, and as many of ours
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(7..=100))]
    pairs: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Task {
    /// Calls within the process, against a bare run-queue of instances
    Local,
    /// Calls over HTTP, against a bare hyper echo
    Http,
    /// Calls of a durable kind, against bare fjall group commit
    Durable,
    /// Fresh entities, entities that left memory, and a million of them, against bare instances
    Activate,
    /// What the node starts to compile a component
    #[value(hide = true)]
    CompileComponent,
    /// The server that `http` takes as its floor
    #[value(hide = true)]
    FloorHttp,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (measure, slice_default): (fn(&mut Bench) -> Result<()>, f64) = match arguments.task {
        Task::Local => (local::run, 1.0),
        Task::Http => (http::run, 1.0),
        // Twice as many figures; a slice still holds hundreds of fsyncs.
        Task::Durable => (durable::run, 0.6),
        Task::Activate => (activate::run, 1.0),
        Task::CompileComponent => return Ok(entia_wasm::compile::child().into()),
        Task::FloorHttp => return http::floor::serve().map(|()| ExitCode::SUCCESS),
    };
    let slice = Duration::from_secs_f64(arguments.seconds.unwrap_or(slice_default));
    let cores = Cores::of_this_machine()?;
    let mut report = Report::default();
    report.note(cores.describe());
    report.note(report::machine(slice, arguments.pairs));
    let mut bench = Bench {
        load: Load::new(cores.apart())?,
        cores,
        plan: Plan {
            pairs: arguments.pairs as usize,
            slice,
        },
        report,
    };
    measure(&mut bench)?;
    let report = bench.report;
    if arguments.json {
        print!("{}", report.json());
    } else {
        print!("{}", report.table());
    }
    Ok(if arguments.check && report.misses() > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn seconds(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|seconds| (0.05..=60.0).contains(seconds))
        .ok_or_else(|| "it is a number from 0.05 to 60".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_those_of_the_documentation() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
        let arguments = parse("bench durable --json --check --seconds 0.5 --pairs 9").unwrap();
        assert_eq!(arguments.task, Task::Durable);
        assert!(arguments.json && arguments.check);
        assert_eq!((arguments.seconds, arguments.pairs), (Some(0.5), 9));
        assert!(parse("bench local --pairs 6").is_err(), "7 are the fewest");
        assert!(parse("bench local --seconds 0").is_err());
        assert!(parse("bench").is_err());
    }
}
