//! `entia-sim`: runs the simulator over seeds, shows that it notices what is broken, and replays what it found.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use entia_protocol::cluster::Mutant;
use entia_sim::plan::{Plan, Profile};
use entia_sim::sweep::Play;

mod mutants;
mod replay;
mod report;
mod seeds;
mod sweeps;

/// A whole cluster in one thread and in virtual time, under every fault we can think of.
#[derive(Parser)]
#[command(name = "entia-sim", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run seeds; stop at the first that breaks a rule, and shrink it.
    Sim(seeds::Options),
    /// Leave out one safety rule after the other: each has to be noticed.
    Mutants(mutants::Options),
    /// Inject each fault at each step of a play.
    Sweep(sweeps::Options),
    /// Run one seed again, with the faults that are to be kept, and say what happens.
    Replay(replay::Options),
}

/// What changes a plan, besides its seed and profile.
#[derive(Args, Clone, Copy, Debug, Default)]
struct Changes {
    /// Leave out this safety rule.
    #[arg(long, value_parser = mutant)]
    mutant: Option<Mutant>,
    /// So many nodes.
    #[arg(long)]
    nodes: Option<u64>,
    /// Seconds with faults.
    #[arg(long)]
    seconds: Option<u64>,
}

fn main() -> ExitCode {
    let fine = match Arguments::parse().task {
        Task::Sim(options) => seeds::run(&options),
        Task::Mutants(options) => mutants::run_each(&options),
        Task::Sweep(options) => sweeps::run(&options),
        Task::Replay(options) => replay::run(&options),
    };
    if fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

impl Changes {
    /// Changes a plan.
    fn apply(self, plan: &mut Plan) {
        if let Some(nodes) = self.nodes {
            plan.nodes = nodes;
        }
        if let Some(seconds) = self.seconds {
            plan.duration = std::time::Duration::from_secs(seconds);
        }
        if self.mutant.is_some() {
            std::sync::Arc::make_mut(&mut plan.settings).mutant = self.mutant;
        }
    }

    /// As they are given on the command line.
    fn words(self) -> String {
        let mut words = String::new();
        if let Some(mutant) = self.mutant {
            words += &format!(" --mutant {mutant:?}");
        }
        if let Some(nodes) = self.nodes {
            words += &format!(" --nodes {nodes}");
        }
        if let Some(seconds) = self.seconds {
            words += &format!(" --seconds {seconds}");
        }
        words
    }
}

fn mutant(text: &str) -> Result<Mutant, String> {
    Mutant::ALL
        .into_iter()
        .find(|mutant| format!("{mutant:?}") == text)
        .ok_or_else(|| format!("no such rule; there are {:?}", Mutant::ALL))
}

fn profile(text: &str) -> Result<Profile, String> {
    let names: Vec<_> = Profile::ALL.iter().map(|it| it.name()).collect();
    text.parse()
        .map_err(|_| format!("one of {}", names.join(", ")))
}

fn play(text: &str) -> Result<Play, String> {
    let names: Vec<_> = Play::ALL.iter().map(|it| it.name()).collect();
    Play::ALL
        .into_iter()
        .find(|play| play.name() == text)
        .ok_or_else(|| format!("one of {}", names.join(", ")))
}
