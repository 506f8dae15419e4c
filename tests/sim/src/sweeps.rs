//! `entia-sim sweep`.

use clap::Args;
use entia_sim::faults::FaultKind;
use entia_sim::sweep::{self, Play};

use crate::{Changes, play, report};

/// Which plays and faults.
#[derive(Args)]
pub(crate) struct Options {
    /// Only this play.
    #[arg(long, value_parser = play)]
    play: Option<Play>,
    /// Only this fault.
    #[arg(long)]
    fault: Option<String>,
    /// Only each so-many-th step.
    #[arg(long, default_value_t = 25)]
    stride: usize,
    /// The plays' seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// On so many threads.
    #[arg(long)]
    threads: Option<usize>,
    /// Go on after a violation.
    #[arg(long)]
    goes_on: bool,
    #[command(flatten)]
    changes: Changes,
}

/// One run of a sweep.
struct Case {
    play: Play,
    name: &'static str,
    fault: FaultKind,
    step: u64,
}

/// Whether no rule was broken.
pub(crate) fn run(options: &Options) -> bool {
    let cases = options.cases();
    println!("{} cases", cases.len());
    let plan = |number: usize| {
        let case = &cases[number];
        let mut plan = case.play.with(options.seed, case.fault, case.step);
        options.changes.apply(&mut plan);
        plan
    };
    let threads = report::threads(options.threads);
    let sum = report::run_all(cases.len(), threads, options.goes_on, &plan);
    sum.print();
    for (number, found) in &sum.broken {
        let case = &cases[*number];
        if let Some(violation) = &found.violation {
            println!("{} at step {}: {violation}", case.name, case.step);
            println!(
                "  again: cargo xtask replay --seed {} --play {} --fault {} --step {}{}",
                options.seed,
                case.play.name(),
                case.name,
                case.step,
                options.changes.words()
            );
        }
    }
    sum.broken.is_empty()
}

impl Options {
    fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for play in Play::ALL {
            if self.play.is_some_and(|only| only != play) {
                continue;
            }
            let steps = play.steps(self.seed);
            for (name, fault) in sweep::faults() {
                if self.fault.as_ref().is_some_and(|only| only != name) {
                    continue;
                }
                let steps = steps.iter().step_by(self.stride.max(1));
                cases.extend(steps.map(|&step| Case {
                    play,
                    name,
                    fault,
                    step,
                }));
            }
        }
        cases
    }
}
