//! `entia-sim replay`.

use clap::Args;
use entia_sim::plan::{Plan, Profile};
use entia_sim::run::Simulation;
use entia_sim::shrink;
use entia_sim::sweep::{self, Play};

use crate::{Changes, play, profile};

/// Which run.
#[derive(Args)]
pub(crate) struct Options {
    /// Its seed.
    #[arg(long)]
    seed: u64,
    /// What kind of trouble.
    #[arg(long, value_parser = profile, default_value = "default")]
    profile: Profile,
    /// Only the faults with these numbers, from 0, or `none`; all if it is not said.
    #[arg(long)]
    keep: Option<String>,
    /// A play instead of a profile.
    #[arg(long, value_parser = play, requires = "fault")]
    play: Option<Play>,
    /// The fault of a sweep.
    #[arg(long, requires = "step")]
    fault: Option<String>,
    /// The step before which it strikes.
    #[arg(long)]
    step: Option<u64>,
    /// Say everything that happens.
    #[arg(long)]
    trace: bool,
    /// Only from this millisecond on.
    #[arg(long, default_value_t = 0)]
    trace_from_ms: u64,
    #[command(flatten)]
    changes: Changes,
}

/// Whether no rule was broken.
pub(crate) fn run(options: &Options) -> bool {
    let Some(plan) = options.plan() else {
        println!("there is no such fault");
        return false;
    };
    println!(
        "seed {}, {} nodes, {:?}",
        plan.seed, plan.nodes, plan.network
    );
    for fault in &plan.faults {
        println!("  {fault}");
    }
    let mut simulation = Simulation::new(plan);
    if options.trace || options.trace_from_ms > 0 {
        simulation = simulation.traced_from(options.trace_from_ms * 1_000_000);
    }
    let report = simulation.run();
    for line in &report.lines {
        println!("{line}");
    }
    println!(
        "{} inputs to {:.3} s; {} answers, {} good; longest gap {:.3} s; trace {:016x}",
        report.steps,
        report.true_time as f64 / 1e9,
        report.answers,
        report.answers_ok,
        report.longest_gap as f64 / 1e9,
        report.trace_hash
    );
    println!("{:?}", report.counters);
    match report.violation {
        Some(violation) => {
            println!("VIOLATION {violation}");
            false
        }
        None => true,
    }
}

impl Options {
    fn plan(&self) -> Option<Plan> {
        let mut plan = match self.play {
            Some(play) => {
                let faults = sweep::faults();
                let name = self.fault.as_deref()?;
                let (_, kind) = faults.into_iter().find(|(it, _)| *it == name)?;
                play.with(self.seed, kind, self.step?)
            }
            None => self.profile.plan(self.seed),
        };
        if let Some(keep) = &self.keep {
            let kept: Vec<usize> = keep.split(',').filter_map(|it| it.parse().ok()).collect();
            plan = shrink::with_faults(&plan, &kept);
        }
        self.changes.apply(&mut plan);
        Some(plan)
    }
}
